//! A report as tables: columns of one kind each, with the unit in their name.

use assay_measure::{
    latency::Latency,
    outcome::{StepResult, TrialResult},
};

use super::{JOB, entries, why_no_entries};
use crate::report::{Entry, JobReport};

/// Columns of the same length.
#[derive(Clone, Debug, PartialEq)]
pub struct Table {
    pub columns: Vec<Column>,
    /// How many rows each of them has.
    pub rows: usize,
}

/// A column with its name.
#[derive(Clone, Debug, PartialEq)]
pub struct Column {
    pub name: &'static str,
    pub values: Values,
}

/// What is missing is absent.
#[derive(Clone, Debug, PartialEq)]
pub enum Values {
    Text(Vec<Option<String>>),
    Real(Vec<Option<f64>>),
    Whole(Vec<Option<u64>>),
    Flag(Vec<Option<bool>>),
}

/// One row per candidate, in the order ranking, rejected, failed. A job without candidates has one row,
/// of the list `job`, with the reason why there are none.
#[must_use]
pub fn of_trials(report: &JobReport) -> Table {
    let job = report.name.as_str();
    let candidates = entries(report).map(|(list, entry)| Trial {
        job,
        list,
        entry: Some(entry),
        reason: entry.reason.as_deref(),
    });
    let mut rows: Vec<Trial<'_>> = candidates.collect();
    let nothing = why_no_entries(report);
    rows.extend(nothing.map(|reason| Trial { job, list: JOB, entry: None, reason: Some(reason) }));
    table(&trial_columns(), &rows)
}

/// One row per step of load. Instance types that share a trial share its steps: they are there once, under the first.
#[must_use]
pub fn of_steps(report: &JobReport) -> Table {
    let mut seen = Vec::new();
    let mut rows = Vec::new();
    for (list, entry) in entries(report) {
        if entry.trial.as_ref().is_some_and(|trial| seen.contains(&trial)) {
            continue;
        }
        seen.extend(&entry.trial);
        let job = report.name.as_str();
        rows.extend(entry.steps.iter().map(|step| Step { job, list, entry, step }));
    }
    table(&step_columns(), &rows)
}

struct Trial<'a> {
    job: &'a str,
    list: &'static str,
    entry: Option<&'a Entry>,
    reason: Option<&'a str>,
}

struct Step<'a> {
    job: &'a str,
    list: &'static str,
    entry: &'a Entry,
    step: &'a StepResult,
}

impl Trial<'_> {
    fn result(&self) -> Option<&TrialResult> {
        self.entry?.result.as_deref()
    }

    fn latency(&self) -> Option<&Latency> {
        self.entry?.latency()
    }
}

/// How a column's value is found in a row.
enum Get<R> {
    Text(fn(&R) -> Option<String>),
    Real(fn(&R) -> Option<f64>),
    Whole(fn(&R) -> Option<u64>),
    Flag(fn(&R) -> Option<bool>),
}

fn table<R>(columns: &[(&'static str, Get<R>)], rows: &[R]) -> Table {
    let column = |(name, get): &(&'static str, Get<R>)| Column {
        name,
        values: match get {
            Get::Text(of) => Values::Text(rows.iter().map(of).collect()),
            Get::Real(of) => Values::Real(rows.iter().map(of).collect()),
            Get::Whole(of) => Values::Whole(rows.iter().map(of).collect()),
            Get::Flag(of) => Values::Flag(rows.iter().map(of).collect()),
        },
    };
    Table { columns: columns.iter().map(column).collect(), rows: rows.len() }
}

type Columns<R> = Vec<(&'static str, Get<R>)>;

fn trial_columns<'a>() -> Columns<Trial<'a>> {
    vec![
        ("job", Get::Text(|row| Some(row.job.to_owned()))),
        ("list", Get::Text(|row| Some(row.list.to_owned()))),
        ("rank", Get::Whole(|row| row.entry?.rank.map(u64::from))),
        ("score", Get::Real(|row| row.entry?.score)),
        ("instance_type", Get::Text(|row| Some(row.entry?.instance_type.to_string()))),
        ("emulated", Get::Flag(|row| Some(row.entry?.emulated))),
        ("configuration", Get::Text(|row| row.entry?.serving())),
        ("usd_per_hour", Get::Real(|row| Some(row.entry?.price.as_ref()?.usd_per_hour.as_usd()))),
        ("price_estimate", Get::Flag(|row| Some(row.entry?.price.as_ref()?.estimate))),
        ("cost_per_hour_usd", Get::Real(|row| row.entry?.cost_per_hour_usd)),
        ("cost_per_inference_usd", Get::Real(|row| row.entry?.cost_per_inference_usd)),
        ("cost_per_million_usd", Get::Real(|row| row.entry?.cost_per_million_usd)),
        ("max_invocations_per_min", Get::Real(|row| row.entry?.max_invocations_per_min)),
        ("max_invocations_per_min_low", Get::Real(|row| Some(row.entry?.max_invocations_ci95?[0]))),
        (
            "max_invocations_per_min_high",
            Get::Real(|row| Some(row.entry?.max_invocations_ci95?[1])),
        ),
        ("plateau_invocations_per_min", Get::Real(|row| row.entry?.plateau_invocations_per_min())),
        ("latency_mean_us", Get::Real(|row| Some(row.latency()?.mean_us))),
        ("latency_p50_us", Get::Whole(|row| Some(row.latency()?.p50_us))),
        ("latency_p90_us", Get::Whole(|row| Some(row.latency()?.p90_us))),
        ("latency_p95_us", Get::Whole(|row| Some(row.latency()?.p95_us))),
        ("latency_p99_us", Get::Whole(|row| Some(row.latency()?.p99_us))),
        ("cpu_utilization_pct", Get::Real(|row| row.entry?.cpu_utilization_pct())),
        ("memory_utilization_pct", Get::Real(|row| row.entry?.memory_utilization_pct)),
        ("energy_j_per_inference", Get::Real(|row| row.result()?.energy_j_per_inference)),
        ("output_deviation_max", Get::Real(|row| Some(row.result()?.output_deviation?.max))),
        ("output_deviation_mean", Get::Real(|row| Some(row.result()?.output_deviation?.mean))),
        ("meets", Get::Flag(|row| Some(row.entry?.meets))),
        ("verdict", Get::Text(|row| Some(row.entry?.validity.as_ref()?.verdict.word().to_owned()))),
        ("reason", Get::Text(|row| row.reason.map(str::to_owned))),
    ]
}

fn step_columns<'a>() -> Columns<Step<'a>> {
    vec![
        ("job", Get::Text(|row| Some(row.job.to_owned()))),
        ("list", Get::Text(|row| Some(row.list.to_owned()))),
        ("instance_type", Get::Text(|row| Some(row.entry.instance_type.to_string()))),
        ("configuration", Get::Text(|row| row.entry.serving())),
        ("trial", Get::Text(|row| row.entry.trial.as_ref().map(ToString::to_string))),
        ("step", Get::Whole(|row| Some(row.step.index.into()))),
        ("purpose", Get::Text(|row| Some(row.step.purpose.word().to_owned()))),
        ("began_after_s", Get::Real(|row| Some(row.step.started.as_secs_f64()))),
        ("duration_s", Get::Real(|row| Some(row.step.duration.as_secs_f64()))),
        ("users", Get::Whole(|row| row.step.users.map(u64::from))),
        ("offered_per_min", Get::Real(|row| Some(row.step.offered?.as_per_minute()))),
        ("achieved_per_min", Get::Real(|row| Some(row.step.achieved.as_per_minute()))),
        ("answered_calls", Get::Whole(|row| Some(row.step.latency.as_ref()?.count))),
        ("failed_calls", Get::Whole(|row| Some(row.step.failed_calls))),
        ("missed_calls", Get::Whole(|row| row.step.missed_calls)),
        ("accepted", Get::Flag(|row| row.step.accepted)),
        ("latency_mean_us", Get::Real(|row| Some(row.step.latency.as_ref()?.mean_us))),
        ("latency_p50_us", Get::Whole(|row| Some(row.step.latency.as_ref()?.p50_us))),
        ("latency_p90_us", Get::Whole(|row| Some(row.step.latency.as_ref()?.p90_us))),
        ("latency_p95_us", Get::Whole(|row| Some(row.step.latency.as_ref()?.p95_us))),
        ("latency_p99_us", Get::Whole(|row| Some(row.step.latency.as_ref()?.p99_us))),
        ("latency_p999_us", Get::Whole(|row| Some(row.step.latency.as_ref()?.p999_us))),
        ("latency_max_us", Get::Whole(|row| Some(row.step.latency.as_ref()?.max_us))),
        ("cpu_utilization_pct", Get::Real(|row| row.step.utilization.cpu_pct)),
        ("memory_utilization_pct", Get::Real(|row| row.step.utilization.memory_pct)),
        ("steal_pct", Get::Real(|row| row.step.utilization.steal_pct)),
        ("other_cpu_pct", Get::Real(|row| row.step.utilization.other_cpu_pct)),
    ]
}
