//! The state of a job, and what follows from each thing that happens to it.
//!
//! ```text
//!            TrialBegan              AllTrialsEnded{measured > 0}
//!  Pending ────────────► Running ───────────────────────────────► Completed
//!     │                     │      AllTrialsEnded{measured = 0}
//!     │                     ├───────────────────────────────────► Failed
//!     │                     │  StopAsked · TimeUp
//!     │  StopAsked, TimeUp  ▼              AllTrialsEnded
//!     ├─────────────────► Stopping ─────► Stopped (asked) · Completed or Failed (time is up)
//!     │  NobodyCame         ▲
//!     ├─────────────────────┘
//!     │  AllTrialsEnded{measured = 0} · FoundImpossible
//!     └─────────────────────────────────► Failed
//! ```
//! A job only moves forward. Trials have their own states, in [`crate::trial_state`]; the caller counts
//! them and says when the last has ended.

use std::collections::BTreeSet;

use assay_measure::{ids::JobName, job::JobStatus};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::{out_of_time, waiting::NOBODY_CAME};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "status", rename_all = "snake_case")]
pub enum JobState {
    Pending,
    /// At least one trial has begun.
    Running {
        /// When the first trial began.
        started_at: Timestamp,
    },
    Stopping {
        why: StopReason,
    },
    /// Every trial has ended and at least one was measured.
    Completed {
        finished_at: Timestamp,
    },
    Failed {
        finished_at: Timestamp,
        reason: String,
    },
    /// Somebody stopped it; what was measured stands.
    Stopped {
        finished_at: Timestamp,
        by: String,
    },
}

/// Why a job is being stopped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StopReason {
    Asked {
        by: String,
    },
    /// The job's time limit has passed.
    TimeUp,
    /// Nobody was there to measure any of it.
    NobodyCame {
        /// What it waited for, for people.
        reason: String,
    },
}

/// Something that happened to a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JobInput {
    TrialBegan,
    /// The last open trial ended.
    AllTrialsEnded {
        /// How many trials were measured, whatever the verdict.
        measured: u32,
        /// Why the others were not, in one line; empty when there are none.
        why_not: String,
    },
    StopAsked {
        by: String,
    },
    /// Its time limit has passed.
    TimeUp,
    /// For as long as it may take in all, no agent was there that would take a trial of it.
    NobodyCame {
        /// What it waited for, for people.
        reason: String,
    },
    /// It cannot be carried out at all.
    FoundImpossible {
        reason: String,
    },
}

/// The event does not fit the state; nothing changed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum JobInputDenied {
    #[error("the job has ended already: {0}")]
    AlreadyEnded(JobStatus),
    #[error("the job is stopping already")]
    AlreadyStopping,
    #[error("the job has begun")]
    AlreadyBegun,
}

/// A job name was used before.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("job name {name} is taken")]
pub struct JobNameTaken {
    pub name: JobName,
    /// A free name like it.
    pub suggestion: JobName,
}

impl JobNameTaken {
    /// One thing to do next.
    #[must_use]
    pub fn hint(&self) -> String {
        format!("names are never used twice; {} is free", self.suggestion)
    }
}

/// Where its page would be, jobs are made by form.
const RESERVED: &str = "new";

/// Names are unique for ever: refuses one that is taken, or that no job may have.
///
/// # Errors
/// [`JobNameTaken`] with a free name like it.
pub fn claim_name(name: &JobName, taken: &BTreeSet<JobName>) -> Result<(), JobNameTaken> {
    if taken.contains(name) || name.as_str() == RESERVED {
        return Err(JobNameTaken {
            name: name.clone(),
            suggestion: free_name_like(name.as_str(), taken),
        });
    }
    Ok(())
}

fn free_name_like(name: &str, taken: &BTreeSet<JobName>) -> JobName {
    let stem: String = name.chars().take(52).collect();
    let stem = stem.trim_end_matches('-');
    (2_u64..)
        .filter_map(|number| JobName::new(format!("{stem}-{number}")).ok())
        .find(|name| !taken.contains(name))
        .expect("fewer jobs than numbers exist, and a valid name stays valid with a number")
}

impl JobState {
    /// The status that people see.
    #[must_use]
    pub const fn status(&self) -> JobStatus {
        match self {
            Self::Pending => JobStatus::Pending,
            Self::Running { .. } => JobStatus::Running,
            Self::Stopping { .. } => JobStatus::Stopping,
            Self::Completed { .. } => JobStatus::Completed,
            Self::Failed { .. } => JobStatus::Failed,
            Self::Stopped { .. } => JobStatus::Stopped,
        }
    }

    #[must_use]
    pub const fn finished_at(&self) -> Option<Timestamp> {
        match self {
            Self::Pending | Self::Running { .. } | Self::Stopping { .. } => None,
            Self::Completed { finished_at }
            | Self::Failed { finished_at, .. }
            | Self::Stopped { finished_at, .. } => Some(*finished_at),
        }
    }

    /// What follows from an event. Another status is to be announced, and one that is `Stopping` now cancels
    /// every trial that has not ended; when none is open, `AllTrialsEnded` is due at once.
    ///
    /// # Errors
    /// [`JobInputDenied`] when the event does not fit; the state is unchanged.
    pub fn apply(&self, event: JobInput, now: Timestamp) -> Result<Self, JobInputDenied> {
        match self {
            Self::Pending => Ok(from_pending(event, now)),
            Self::Running { started_at } => from_running(*started_at, event, now),
            Self::Stopping { why } => from_stopping(why, event, now),
            Self::Completed { .. } | Self::Failed { .. } | Self::Stopped { .. } => {
                Err(JobInputDenied::AlreadyEnded(self.status()))
            }
        }
    }
}

impl StopReason {
    /// In whose name open trials are cancelled.
    #[must_use]
    pub fn in_whose_name(&self) -> &str {
        match self {
            Self::Asked { by } => by,
            Self::TimeUp => out_of_time::TIME_LIMIT,
            Self::NobodyCame { .. } => NOBODY_CAME,
        }
    }
}

fn from_pending(event: JobInput, now: Timestamp) -> JobState {
    match event {
        JobInput::TrialBegan => JobState::Running { started_at: now },
        JobInput::AllTrialsEnded { measured, why_not } => ended(measured, why_not, now),
        JobInput::StopAsked { by } => JobState::Stopping { why: StopReason::Asked { by } },
        JobInput::TimeUp => JobState::Stopping { why: StopReason::TimeUp },
        JobInput::NobodyCame { reason } => {
            JobState::Stopping { why: StopReason::NobodyCame { reason } }
        }
        JobInput::FoundImpossible { reason } => JobState::Failed { finished_at: now, reason },
    }
}

fn from_running(
    started_at: Timestamp,
    event: JobInput,
    now: Timestamp,
) -> Result<JobState, JobInputDenied> {
    match event {
        JobInput::TrialBegan => Ok(JobState::Running { started_at }),
        JobInput::AllTrialsEnded { .. } | JobInput::StopAsked { .. } | JobInput::TimeUp => {
            Ok(from_pending(event, now))
        }
        JobInput::FoundImpossible { .. } | JobInput::NobodyCame { .. } => {
            Err(JobInputDenied::AlreadyBegun)
        }
    }
}

fn from_stopping(
    why: &StopReason,
    event: JobInput,
    now: Timestamp,
) -> Result<JobState, JobInputDenied> {
    match (why, event) {
        // An agent may report the beginning of a trial whose cancelling is still on its way.
        (_, JobInput::TrialBegan) => Ok(JobState::Stopping { why: why.clone() }),
        (StopReason::Asked { by }, JobInput::AllTrialsEnded { .. }) => {
            Ok(JobState::Stopped { finished_at: now, by: by.clone() })
        }
        (StopReason::TimeUp, JobInput::AllTrialsEnded { measured, why_not }) => {
            Ok(ended(measured, why_not, now))
        }
        (StopReason::NobodyCame { reason }, JobInput::AllTrialsEnded { measured, .. }) => {
            Ok(ended(measured, reason.clone(), now))
        }
        (StopReason::TimeUp | StopReason::NobodyCame { .. }, JobInput::StopAsked { by }) => {
            Ok(JobState::Stopping { why: StopReason::Asked { by } })
        }
        (StopReason::Asked { .. }, JobInput::StopAsked { .. })
        | (_, JobInput::TimeUp | JobInput::FoundImpossible { .. } | JobInput::NobodyCame { .. }) => {
            Err(JobInputDenied::AlreadyStopping)
        }
    }
}

fn ended(measured: u32, why_not: String, now: Timestamp) -> JobState {
    if measured > 0 {
        return JobState::Completed { finished_at: now };
    }
    let reason =
        if why_not.is_empty() { "there was nothing to measure".to_owned() } else { why_not };
    JobState::Failed { finished_at: now, reason }
}

#[cfg(test)]
mod tests;
