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
    /// When it happened.
    pub(crate) at: Timestamp,
    /// What.
    pub(crate) what: Happening,
}

/// What can happen to a job.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "happening", rename_all = "snake_case")]
pub(crate) enum Happening {
    /// The job moved, or waits for another reason.
    StatusChanged {
        /// Where it stands now.
        status: JobStatus,
        /// Why; may be empty.
        reason: String,
    },
    /// An agent began a trial.
    TrialStarted {
        /// The trial.
        trial: TrialBrief,
        /// The agent.
        agent: AgentName,
    },
    /// A trial came further; not stored.
    TrialProgressed {
        /// The trial.
        trial: TrialId,
        /// How far.
        progress: Progress,
    },
    /// A step came to its end. Kept as a reference to the step, and read from there.
    #[serde(skip)]
    StepFinished {
        /// The trial.
        trial: TrialId,
        /// The step.
        step: Box<StepResult>,
    },
    /// A trial came to its end.
    TrialEnded {
        /// The trial.
        trial: TrialId,
        /// How.
        outcome: Box<TrialOutcome>,
    },
    /// A trial waits for an agent again.
    TrialReturned {
        /// The trial.
        trial: TrialId,
        /// Why.
        reason: String,
    },
}

/// A trial as people are told of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct TrialBrief {
    /// Its name.
    pub(crate) id: TrialId,
    /// The instance types that share it.
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
