//! What came of a job: recommendation, deployment goals, all runs.

use askama::Template;
use assay_measure::{
    ids::{JobName, TrialId},
    job::{Demand, Goals, Importance, JobSpec},
};
use assay_planning::{
    export::ExportFormat,
    fleet_mix::{self, FleetMix},
    ranking::RankedBy,
    report::JobReport,
};

use crate::{
    drawings::{self, Best, Chart},
    filters,
    frame::Frame,
    goals::{GoalChoice, choices},
    runs::{Links, Panel, Runs, Use, uses},
};

/// The share of a capacity that a demand may use where nobody says, in per cent.
const DEFAULT_HEADROOM_PCT: u8 = 70;

/// A job's page.
#[derive(Clone, Debug, Template)]
#[template(path = "results.html")]
pub struct Results<'a> {
    frame: Frame,
    report: &'a JobReport,
    path: String,
    tab: &'static str,
    goals: [GoalChoice; 3],
    /// As it is written; may be empty.
    demand: String,
    headroom: u8,
    part: Part<'a>,
    sequence: u64,
}

impl<'a> Results<'a> {
    /// The page of a report that was ranked for these goals and this demand. `sequence` is the last entry of the job's
    /// record that it knows of, and `waits_for` what a job that has not begun waits for.
    #[must_use]
    pub fn new(
        frame: Frame,
        report: &'a JobReport,
        (spec, demand): (&JobSpec, Option<Demand>),
        (waits_for, sequence): (&'a str, u64),
    ) -> Self {
        Self {
            frame,
            report,
            path: job_path(&report.name),
            tab: "results",
            goals: choices(report.goals),
            demand: demand.map(|demand| demand.rate.to_string()).unwrap_or_default(),
            headroom: demand.map_or(DEFAULT_HEADROOM_PCT, |demand| demand.headroom_pct),
            part: Part::new(report, spec, demand, waits_for),
            sequence,
        }
    }
}

/// The part of it that is ranked again when goals change, and read again while the job runs.
#[derive(Clone, Debug, Template)]
#[template(path = "results_part.html")]
pub struct Part<'a> {
    report: &'a JobReport,
    waits_for: &'a str,
    panel: Option<Panel<'a>>,
    charts: Vec<Chart>,
    uses: Vec<Use>,
    mix: Option<Mix>,
    runs: Runs<'a>,
    /// The part of a URL that ranks and sizes the same; may be empty.
    asked: String,
}

impl<'a> Part<'a> {
    #[must_use]
    pub fn new(
        report: &'a JobReport,
        spec: &JobSpec,
        demand: Option<Demand>,
        waits_for: &'a str,
    ) -> Self {
        let title = if report.status.is_final() { "Recommendation" } else { "Best so far" };
        let best = report.recommendation();
        Self {
            report,
            waits_for,
            panel: best.map(|best| Panel { best, title, id: "recommendation".to_owned() }),
            charts: drawings::of_report(report, Best::Marked),
            uses: best.map(|best| uses(report, best, spec)).unwrap_or_default(),
            mix: demand.map(|demand| Mix::of(report, demand)),
            runs: Runs::of(report, report.goals.is_some(), Links::Trials),
            asked: asked(report.goals, demand),
        }
    }
}

fn asked(goals: Option<Goals>, demand: Option<Demand>) -> String {
    let goals = goals.map(|Goals { cost, latency, throughput }| {
        format!("cost={cost}&latency={latency}&throughput={throughput}")
    });
    let demand = demand
        .map(|Demand { rate, headroom_pct }| format!("demand={rate}&headroom={headroom_pct}"));
    let pairs: Vec<String> = goals.into_iter().chain(demand).collect();
    if pairs.is_empty() { String::new() } else { format!("?{}", pairs.join("&")) }
}

/// The cheapest fleet for the demand, or why there is none.
#[derive(Clone, Debug)]
pub(crate) struct Mix(pub(crate) Result<FleetMix, String>);

impl Mix {
    pub(crate) fn of(report: &JobReport, demand: Demand) -> Self {
        Self(fleet_mix::of_report(report, demand).map_err(|error| error.to_string()))
    }

    /// `3 × ml.c5.large, 1 × ml.m5.large`.
    pub(crate) fn parts(mix: &FleetMix) -> String {
        let part =
            |part: &fleet_mix::MixPart| format!("{} × {}", part.instance_count, part.instance_type);
        mix.parts.iter().map(part).collect::<Vec<_>>().join(", ")
    }
}

/// Of a job's page. Names hold nothing that a URL would read otherwise.
#[must_use]
pub fn job_path(name: &JobName) -> String {
    format!("/jobs/{name}")
}

/// Of a trial's page.
#[must_use]
pub fn trial_path(trial: &TrialId) -> String {
    let id = trial.to_string();
    let number = id.rsplit_once('/').map_or(&*id, |(_, number)| number);
    format!("{}/trials/{number}", job_path(&trial.job()))
}
