//! The document `assay.capacity/1` and its table.

use std::{fmt::Write, time::Duration};

use assay_measure::{
    hardware::Utilization,
    latency::Latency,
    outcome::StepResult,
    search::{Answer, Confirmation, SearchPlan},
    validity::{Validity, Verdict},
};
use serde::Serialize;

use super::{GeneratorReport, figure, first_failure, grouped, latency_table, line, seconds, table};
use crate::{
    capacity::SearchRun,
    load::figures::{ErrorCounts, FirstFailure},
};

/// `assay.capacity/1`: how much a target carries.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CapacityReport {
    /// `assay.capacity/1`.
    pub schema: &'static str,
    pub target: String,
    pub constraints: Vec<String>,
    /// `quick` or `full`.
    pub mode: &'static str,
    pub seed: u64,
    /// The largest rate within the constraints; the plateau without any. Absent when there is no answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_invocations_per_min: Option<f64>,
    /// Its 95 % confidence interval.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ci95: Option<[f64; 2]>,
    /// What keeps it from being more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limited_by: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plateau_invocations_per_min: Option<f64>,
    /// The fewest users that reach it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plateau_users: Option<u32>,
    /// `held`, `missed`, `not_run` or `not_needed`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub confirmation: Option<Confirmation>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latency_us: Option<Latency>,
    pub steps: Vec<StepResult>,
    /// Requests that failed, in all steps.
    pub errors_by_kind: ErrorCounts,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_failure: Option<FirstFailure>,
    /// The load generator's own part.
    pub generator: GeneratorReport,
    /// Whether it can be believed.
    pub validity: Validity,
    /// It ended before its time.
    pub interrupted: bool,
    /// How long the search took.
    pub duration_s: f64,
}

impl CapacityReport {
    /// The report of a search, with or without an answer.
    #[must_use]
    pub fn of(
        target: String,
        plan: &SearchPlan,
        run: &SearchRun,
        validity: Validity,
        took: Duration,
    ) -> Self {
        let totals = run.totals();
        let answer = run.answer();
        let capacity = answer.map(|answer| answer.capacity);
        let saturated = run.steps.iter().any(|step| step.generator_saturated);
        Self {
            schema: "assay.capacity/1",
            target,
            constraints: plan.constraints.iter().map(ToString::to_string).collect(),
            mode: plan.mode.word(),
            seed: plan.seed,
            max_invocations_per_min: capacity.map(|found| found.value.as_per_minute()),
            ci95: capacity.map(|found| [found.low.as_per_minute(), found.high.as_per_minute()]),
            limited_by: answer.map(|answer| answer.limited_by.word()),
            plateau_invocations_per_min: answer.map(|answer| answer.plateau.value.as_per_minute()),
            plateau_users: answer.map(|answer| answer.plateau_users),
            confirmation: answer.map(|answer| answer.confirmation),
            latency_us: Latency::of(&run.answer_figures().latency),
            steps: run.steps.iter().map(|step| step.result(Utilization::default())).collect(),
            errors_by_kind: totals.errors,
            first_failure: totals.first_failure.clone(),
            generator: GeneratorReport::of(&totals, saturated),
            validity,
            interrupted: answer.is_none(),
            duration_s: took.as_secs_f64(),
        }
    }

    /// The report as a person reads it, 80 columns wide.
    #[must_use]
    pub fn table(&self, answer: Option<&Answer>) -> String {
        let mut text = String::new();
        line(&mut text, "Target", &self.target);
        let constraints = if self.constraints.is_empty() {
            "none".to_owned()
        } else {
            self.constraints.join(", ")
        };
        line(&mut text, "Constraint", &constraints);
        self.step_table(&mut text);
        first_failure(&mut text, self.first_failure.as_ref());
        if let Some(answer) = answer {
            latency_table(
                &mut text,
                &[("latency", self.latency_us), ("lag", self.generator.lag_us)],
            );
            text.push('\n');
            answer_in_words(&mut text, answer);
        }
        let took = seconds(Duration::from_secs_f64(self.duration_s));
        let requests = grouped(self.generator.requests as f64);
        line(&mut text, "Took", &format!("{took}, {requests} requests"));
        line(&mut text, "Validity", self.validity.verdict.word());
        for finding in &self.validity.findings {
            let kind =
                if finding.severity == Verdict::Valid { "note" } else { finding.severity.word() };
            let _ = writeln!(
                text,
                "    {kind}: {} {} (threshold {})",
                finding.name,
                rounded(finding.value),
                rounded(finding.threshold)
            );
        }
        text
    }

    fn step_table(&self, text: &mut String) {
        let heads = ["STEP", "LOAD", "ANSWERS/MIN", "P50", "P95", "P99", "ERRORS", "MEETS"];
        let row = |step: &StepResult| {
            let load = match (step.users, step.offered) {
                (Some(users), _) => format!("{users} users"),
                (None, Some(rate)) => format!("{}/min", grouped(rate.as_per_minute())),
                (None, None) => String::new(),
            };
            let of = |pick| figure(step.latency.as_ref(), pick);
            let meets = step.accepted.map_or("", |accepted| if accepted { "yes" } else { "no" });
            [
                step.purpose.to_string(),
                load,
                grouped(step.achieved.as_per_minute()),
                of(|l| l.p50_us),
                of(|l| l.p95_us),
                of(|l| l.p99_us),
                step.failed_calls.to_string(),
                meets.to_owned(),
            ]
        };
        table(text, heads, self.steps.iter().map(row));
    }
}

fn answer_in_words(text: &mut String, answer: &Answer) {
    let Answer { capacity, plateau, plateau_users, limited_by, .. } = answer;
    let half_width = (capacity.high.as_per_minute() - capacity.low.as_per_minute()) / 2.0;
    let (found, half_width) = (grouped(capacity.value.as_per_minute()), grouped(half_width));
    let found = format!("{found} ± {half_width} invocations/min, limited by {limited_by}");
    line(text, "Capacity", &found);
    let plateau = grouped(plateau.value.as_per_minute());
    line(text, "Plateau", &format!("{plateau}/min from {plateau_users} users on"));
}

fn rounded(value: f64) -> String {
    if value.abs() >= 100.0 { format!("{value:.0}") } else { format!("{value:.2}") }
}
