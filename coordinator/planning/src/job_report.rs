//! Assembles the `assay.job/1` document from what is stored of a job.

use std::collections::BTreeMap;

use assay_measure::{
    ids::{InstanceTypeName, TrialId},
    job::{Demand, Goals, JobSpec, JobStatus},
    outcome::StepReport,
};
use jiff::Timestamp;

use crate::{planner::Plan, prices::PriceQuote, report::JobReport, trial_state::TrialEnd};

/// Everything that a report is made of.
#[derive(Clone, Debug, PartialEq)]
pub struct JobFacts {
    /// What was asked for.
    pub spec: JobSpec,
    /// Where it stands.
    pub status: JobStatus,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
    /// What was planned.
    pub plan: Plan,
    /// What came of the trials; those without an entry have not ended.
    pub trials: BTreeMap<TrialId, TrialFacts>,
    /// Prices as they were when the job was created.
    pub prices: BTreeMap<InstanceTypeName, PriceQuote>,
    /// What else people should know, such as why the job failed.
    pub warnings: Vec<String>,
}

/// What came of a trial.
#[derive(Clone, Debug, PartialEq)]
pub struct TrialFacts {
    /// How it ended; absent while it has not.
    pub end: Option<TrialEnd>,
    /// Its steps so far, in order.
    pub steps: Vec<StepReport>,
    /// How often it was measured again.
    pub repeats: u32,
}

/// What a reader may ask differently of the same measurements.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Overrides {
    /// Other goals.
    pub goals: Option<Goals>,
    /// Another demand.
    pub demand: Option<Demand>,
}

/// The report.
#[must_use]
pub fn build(facts: &JobFacts, overrides: Overrides) -> JobReport {
    todo!("{facts:?}{overrides:?}")
}
