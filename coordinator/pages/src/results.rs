//! What came of a job: recommendation, deployment goals, all runs.

use askama::Template;
use assay_measure::{
    ids::{JobName, TrialId},
    job::{Demand, Goals, Importance, JobSpec},
};
use assay_planning::{
    fleet_mix::{self, FleetMix},
    ranking::RankedBy,
    report::{Entry, JobReport},
    snippet::{self, NoSnippet, Recommended},
};

use crate::{
    drawings::{self, Chart},
    filters,
    frame::Frame,
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
    rows: Vec<Row<'a>>,
    charts: Vec<Chart>,
    /// The recommendation as text to be run.
    uses: Vec<Use>,
    mix: Option<Mix>,
    has_sizing: bool,
    has_emulated: bool,
}

impl<'a> Part<'a> {
    #[must_use]
    pub fn new(
        report: &'a JobReport,
        spec: &JobSpec,
        demand: Option<Demand>,
        waits_for: &'a str,
    ) -> Self {
        let ranked = report.ranking.iter().map(|entry| {
            let class = if entry.rank == Some(1) { "best" } else { "" };
            let verdict = if entry.is_suspect() {
                format!("suspect: {}", entry.doubts())
            } else {
                entry.validity.as_ref().map_or("", |validity| validity.verdict.word()).to_owned()
            };
            Row { entry, class, verdict }
        });
        let others = report.rejected.iter().map(|entry| (entry, "rejected"));
        let others = others.chain(report.failed.iter().map(|entry| (entry, "failed")));
        let others =
            others.map(|(entry, list)| Row { entry, class: "out", verdict: list.to_owned() });
        let rows: Vec<Row<'_>> = ranked.chain(others).collect();
        Self {
            report,
            waits_for,
            charts: drawings::of_report(report),
            uses: uses(report, spec),
            mix: demand.map(|demand| Mix::of(report, demand)),
            has_sizing: rows.iter().any(|row| row.entry.sizing.is_some()),
            has_emulated: rows.iter().any(|row| row.entry.emulated),
            rows,
        }
    }
}

/// The recommendation as text to be run.
#[derive(Clone, Debug)]
struct Use {
    title: &'static str,
    /// The text, or why there is none.
    text: Result<String, String>,
}

fn uses(report: &JobReport, spec: &JobSpec) -> Vec<Use> {
    let (Some(entry), Some(model)) = (report.recommendation(), &report.model) else {
        return Vec::new();
    };
    let recommended = Recommended {
        entry,
        model: &model.name,
        inputs: &spec.inputs,
        sizing: entry.sizing.as_ref(),
    };
    let of = |title, text: Result<String, NoSnippet>| Use {
        title,
        text: text.map_err(|error| error.to_string()),
    };
    vec![
        of("On this machine", snippet::command_line(recommended)),
        of("Kubernetes", snippet::kubernetes(recommended)),
        of("SageMaker, with boto3", snippet::boto3(recommended)),
    ]
}

/// The cheapest fleet for the demand, or why there is none.
#[derive(Clone, Debug)]
struct Mix(Result<FleetMix, String>);

impl Mix {
    fn of(report: &JobReport, demand: Demand) -> Self {
        Self(fleet_mix::of_report(report, demand).map_err(|error| error.to_string()))
    }

    /// `3 × ml.c5.large, 1 × ml.m5.large`.
    fn parts(mix: &FleetMix) -> String {
        let part =
            |part: &fleet_mix::MixPart| format!("{} × {}", part.instance_count, part.instance_type);
        mix.parts.iter().map(part).collect::<Vec<_>>().join(", ")
    }
}

#[derive(Clone, Debug)]
struct Row<'a> {
    entry: &'a Entry,
    class: &'static str,
    /// The list that it is in instead of the ranking, or what its figures are worth.
    verdict: String,
}

impl Row<'_> {
    /// Why it is not ranked.
    fn reason(&self) -> Option<&str> {
        let is_out = self.entry.rank.is_none();
        is_out.then(|| self.entry.reason.as_deref().unwrap_or("no reason was given"))
    }

    /// Of its trial's page.
    fn path(&self) -> Option<String> {
        self.entry.trial.as_ref().map(trial_path)
    }
}

#[derive(Clone, Debug)]
struct GoalChoice {
    name: &'static str,
    title: &'static str,
    importance: Importance,
}

/// What nobody has chosen begins with cost, which contains throughput already.
fn choices(goals: Option<Goals>) -> [GoalChoice; 3] {
    let goals = goals.unwrap_or(Goals {
        cost: Importance::Highest,
        latency: Importance::Low,
        throughput: Importance::Lowest,
    });
    [
        GoalChoice { name: "cost", title: "Cost", importance: goals.cost },
        GoalChoice { name: "latency", title: "Latency", importance: goals.latency },
        GoalChoice { name: "throughput", title: "Throughput", importance: goals.throughput },
    ]
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
