//! What happens to a job, in the order in which it happened: the record that watchers follow.

use std::time::Duration;

use assay_measure::{
    ids::{AgentName, InstanceTypeName, TrialId},
    job::JobStatus,
    outcome::{Progress, StepResult, TrialOutcome},
    trial::TrialSubject,
};
use assay_planning::planner::{Plan, PlannedTrial, Serving};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// One entry of a job's record.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct JobEvent {
    /// Ascends from 1 without gaps within a job; 0 for what is not stored.
    pub(crate) sequence: u64,
    pub(crate) at: Timestamp,
    pub(crate) what: Happening,
}

/// What can happen to a job.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "happening", rename_all = "snake_case")]
pub(crate) enum Happening {
    /// The job moved, or waits for another reason.
    StatusChanged {
        status: JobStatus,
        reason: String,
    },
    /// An agent began a trial.
    TrialStarted {
        trial: TrialBrief,
        agent: AgentName,
    },
    /// A trial came further; not stored.
    TrialProgressed {
        trial: TrialId,
        progress: Progress,
    },
    /// A step came to its end. Kept as a reference to the step, and read from there.
    #[serde(skip)]
    StepFinished {
        trial: TrialId,
        step: Box<StepResult>,
    },
    TrialEnded {
        trial: TrialId,
        outcome: Box<TrialOutcome>,
    },
    /// A trial waits for an agent again.
    TrialReturned {
        trial: TrialId,
        reason: String,
    },
}

/// A trial as people are told of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct TrialBrief {
    pub(crate) id: TrialId,
    pub(crate) instance_types: Vec<InstanceTypeName>,
    /// How the model is served, or what is loaded instead.
    #[serde(flatten)]
    pub(crate) serving: Serving,
    /// It runs on another machine, held to the type's shape.
    pub(crate) emulated: bool,
    /// Roughly how long it takes.
    pub(crate) expected: Duration,
}

impl TrialBrief {
    /// A planned trial, with those who share it.
    pub(crate) fn of(plan: &Plan, trial: &PlannedTrial) -> Self {
        let shared_by = plan.candidates_of(&trial.id);
        Self {
            id: trial.id.clone(),
            instance_types: shared_by.map(|candidate| candidate.instance_type.clone()).collect(),
            serving: match &trial.subject {
                TrialSubject::Served(served) => Serving::Configured(served.configuration.clone()),
                TrialSubject::Endpoint { endpoint } => Serving::Endpoint(endpoint.clone()),
            },
            emulated: trial.subject.emulated().is_some(),
            expected: trial.expected,
        }
    }
}
