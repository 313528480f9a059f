//! Requests that cannot be granted, with the reason and one thing to do next.

use assay_measure::ids::{AgentName, JobName, TrialId};
use assay_planning::{job_state::JobNameTaken, planner::PlanError};
use thiserror::Error;

/// A client's request cannot be granted; nothing changed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(crate) enum Refused {
    #[error(transparent)]
    NameTaken(#[from] JobNameTaken),
    #[error(transparent)]
    Plan(#[from] PlanError),
    #[error("there is no job {0}")]
    NoSuchJob(JobName),
    #[error("job {0} has ended already")]
    JobEnded(JobName),
    #[error("job {0} has not ended")]
    JobActive(JobName),
    #[error("there is no agent {0}")]
    NoSuchAgent(AgentName),
    #[error("agent {0} is connected")]
    AgentConnected(AgentName),
    #[error("agent {agent} may still be running trial {trial}")]
    AgentHoldsTrial { agent: AgentName, trial: TrialId },
}

impl Refused {
    /// One thing to do next.
    pub(crate) fn hint(&self) -> String {
        match self {
            Self::NameTaken(taken) => taken.hint(),
            Self::Plan(error) => error.hint(),
            Self::NoSuchJob(_) => "`assay jobs list` shows all jobs".to_owned(),
            Self::JobEnded(name) => format!("`assay jobs describe {name}` shows what came of it"),
            Self::JobActive(name) => format!("stop it first: `assay jobs stop {name}`"),
            Self::NoSuchAgent(_) => "`assay agents list` shows all agents".to_owned(),
            Self::AgentConnected(name) => {
                format!("end it first; `assay agents drain {name}` lets it finish its trial")
            }
            Self::AgentHoldsTrial { .. } => "wait until its lease has run out".to_owned(),
        }
    }
}

/// An agent may not register.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(crate) enum AttachDenied {
    #[error("an agent named {0} is connected already")]
    NameConnected(AgentName),
}

impl AttachDenied {
    /// One thing to do next.
    pub(crate) fn hint(&self) -> String {
        match self {
            Self::NameConnected(_) => {
                "give this one a name of its own with --name, or wait until the other is gone"
                    .to_owned()
            }
        }
    }
}
