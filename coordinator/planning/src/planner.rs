//! From what a user asks for to the list of trials: a plan that leaves no choices to those who carry it out.
//!
//! A candidate is an instance type × a configuration. A type that an agent offers is measured on it; any
//! other one is emulated (when the job allows it) on the largest machine that may emulate, the same one
//! for all of the job. Emulated types with the same number of processors share one trial per
//! configuration, held to the smallest memory among them; should that run out, the larger ones get
//! a trial of their own ([`Plan::after_outcome`]).

use std::time::Duration;

use assay_measure::{
    configuration::Configuration,
    hardware::Shape,
    ids::{HostFingerprint, InstanceTypeName, TrialId},
    job::JobSpec,
    outcome::TrialOutcome,
    trial::TrialSpec,
};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::{
    catalogue::{Catalogue, UnknownInstanceType},
    fleet::AgentView,
};

/// More candidates than this are a mistake in the sweep.
pub const MOST_CANDIDATES: usize = 500;

/// What to do for a job.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// Instance type × configuration, in the order asked for.
    pub candidates: Vec<Candidate>,
    /// What is run, in order; several candidates may share one.
    pub trials: Vec<PlannedTrial>,
    /// What was asked for and cannot be done.
    pub rejections: Vec<Rejection>,
    /// What people should know about the plan.
    pub warnings: Vec<String>,
}

/// One candidate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Candidate {
    /// The instance type.
    pub instance_type: InstanceTypeName,
    /// Its processors and memory.
    pub shape: Shape,
    /// It is measured on another machine, held to that shape.
    pub emulated: bool,
    /// How the model is served.
    pub configuration: Configuration,
    /// The trial that measures it.
    pub trial: TrialId,
    /// The instruction set of the type is another than that of the emulating machine.
    pub foreign_architecture: bool,
}

/// One trial to run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PlannedTrial {
    /// What the agent is told.
    pub spec: TrialSpec,
    /// Where it may run.
    pub placement: Placement,
    /// Roughly how long it takes.
    pub expected: Duration,
}

/// Where a trial may run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Placement {
    /// On any machine of this type.
    Native(InstanceTypeName),
    /// On this machine, held to a smaller shape.
    Emulated(HostFingerprint),
}

/// A candidate that was asked for and cannot be measured.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rejection {
    /// The instance type.
    pub instance_type: InstanceTypeName,
    /// The configuration; absent when the type fails with every one.
    pub configuration: Option<Configuration>,
    /// Why, with the figures that matter.
    pub reason: String,
}

/// There is no plan.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum PlanError {
    /// An instance type that nobody knows.
    #[error(transparent)]
    UnknownInstanceType(#[from] UnknownInstanceType),
    /// No agent offers anything to measure on; try again when one has connected.
    #[error("no agent is connected, so there is nothing to measure on")]
    NoAgents,
    /// The sweep multiplies out to too many.
    #[error("the sweep makes {count} candidates; at most {MOST_CANDIDATES} can be planned")]
    TooMany {
        /// How many.
        count: usize,
    },
}

impl PlanError {
    /// One thing to do next.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::UnknownInstanceType(unknown) => unknown.hint(),
            Self::NoAgents => {
                "start `assay-agent run --server URL` on a candidate machine".to_owned()
            }
            Self::TooMany { .. } => "sweep fewer settings at a time".to_owned(),
        }
    }
}

/// Plans a job over the agents that are connected now.
///
/// # Errors
/// [`PlanError`] when a type is unknown, there is nothing to measure on yet, or the sweep is too large.
/// A type that is known but cannot be measured is a rejection in the plan instead.
pub fn plan(job: &JobSpec, catalogue: &Catalogue, fleet: &[AgentView]) -> Result<Plan, PlanError> {
    todo!("{job:?}{catalogue:?}{fleet:?}")
}

/// Refuses instance types that neither the catalogue nor the fleet knows and that come without a shape.
/// Job creation asks this before anything is stored.
///
/// # Errors
/// [`UnknownInstanceType`] with the closest known name.
pub fn check_instance_types(
    job: &JobSpec,
    catalogue: &Catalogue,
    fleet: &[AgentView],
) -> Result<(), UnknownInstanceType> {
    todo!("{job:?}{catalogue:?}{fleet:?}")
}

impl Plan {
    /// The trial of this name.
    #[must_use]
    pub fn trial(&self, id: &TrialId) -> Option<&PlannedTrial> {
        self.trials.iter().find(|trial| trial.spec.id == *id)
    }

    /// The candidates that a trial measures.
    pub fn candidates_of<'a>(&'a self, id: &'a TrialId) -> impl Iterator<Item = &'a Candidate> {
        self.candidates.iter().filter(move |candidate| candidate.trial == *id)
    }

    /// Roughly how long the whole plan takes, given that machines work side by side.
    #[must_use]
    pub fn expected(&self) -> Duration {
        todo!()
    }

    /// Takes in how a trial ended: when a shared one ran out of memory, the candidates with more
    /// memory than it allowed get a new trial, which is added to the plan. Returns the names of new
    /// trials; empty in every other case, and when called twice for the same trial.
    pub fn after_outcome(&mut self, id: &TrialId, outcome: &TrialOutcome) -> Vec<TrialId> {
        todo!("{id}{outcome:?}")
    }
}
