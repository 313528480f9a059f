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
use jiff::{Timestamp, tz::TimeZone};
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

/// What the caller must do after a transition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JobEffect {
    AnnounceStatus(JobStatus),
    /// Cancel every trial that has not ended, in this name. When none is open, `AllTrialsEnded` is due at once.
    CancelOpenTrials {
        by: String,
    },
    Conclude,
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

/// Names are unique for ever: refuses one that is taken.
///
/// # Errors
/// [`JobNameTaken`] with a free name like it.
pub fn claim_name(name: &JobName, taken: &BTreeSet<JobName>) -> Result<(), JobNameTaken> {
    if taken.contains(name) {
        return Err(JobNameTaken {
            name: name.clone(),
            suggestion: free_name_like(name.as_str(), taken),
        });
    }
    Ok(())
}

/// A free name for a job on a model file: its stem and the day, `resnet18-2026-11-22`, numbered when taken.
#[must_use]
pub fn default_name(model_file: &str, now: Timestamp, taken: &BTreeSet<JobName>) -> JobName {
    let file = model_file.rsplit('/').next().unwrap_or(model_file);
    let stem = file.split('.').next().unwrap_or(file);
    let day = now.to_zoned(TimeZone::UTC).date();
    let letters: String =
        stem.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    let letters = letters.trim_matches('-');
    let stem: String =
        if letters.is_empty() { "job".to_owned() } else { letters.chars().take(48).collect() };
    let wanted = format!("{}-{day}", stem.trim_matches('-'));
    match JobName::new(wanted.as_str()) {
        Ok(name) if !taken.contains(&name) => name,
        Ok(_) | Err(_) => free_name_like(&wanted, taken),
    }
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

    /// What follows from an event.
    ///
    /// # Errors
    /// [`JobInputDenied`] when the event does not fit; the state is unchanged.
    pub fn apply(
        &self,
        event: JobInput,
        now: Timestamp,
    ) -> Result<(Self, Vec<JobEffect>), JobInputDenied> {
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

fn from_pending(event: JobInput, now: Timestamp) -> (JobState, Vec<JobEffect>) {
    match event {
        JobInput::TrialBegan => announced(JobState::Running { started_at: now }, None),
        JobInput::AllTrialsEnded { measured, why_not } => concluded(ended(measured, why_not, now)),
        JobInput::StopAsked { by } => stopping(StopReason::Asked { by }),
        JobInput::TimeUp => stopping(StopReason::TimeUp),
        JobInput::NobodyCame { reason } => stopping(StopReason::NobodyCame { reason }),
        JobInput::FoundImpossible { reason } => {
            concluded(JobState::Failed { finished_at: now, reason })
        }
    }
}

fn from_running(
    started_at: Timestamp,
    event: JobInput,
    now: Timestamp,
) -> Result<(JobState, Vec<JobEffect>), JobInputDenied> {
    match event {
        JobInput::TrialBegan => Ok((JobState::Running { started_at }, Vec::new())),
        JobInput::AllTrialsEnded { measured, why_not } => {
            Ok(concluded(ended(measured, why_not, now)))
        }
        JobInput::StopAsked { by } => Ok(stopping(StopReason::Asked { by })),
        JobInput::TimeUp => Ok(stopping(StopReason::TimeUp)),
        JobInput::FoundImpossible { .. } | JobInput::NobodyCame { .. } => {
            Err(JobInputDenied::AlreadyBegun)
        }
    }
}

fn from_stopping(
    why: &StopReason,
    event: JobInput,
    now: Timestamp,
) -> Result<(JobState, Vec<JobEffect>), JobInputDenied> {
    match (why, event) {
        // An agent may report the beginning of a trial whose cancelling is still on its way.
        (_, JobInput::TrialBegan) => Ok((JobState::Stopping { why: why.clone() }, Vec::new())),
        (StopReason::Asked { by }, JobInput::AllTrialsEnded { .. }) => {
            Ok(concluded(JobState::Stopped { finished_at: now, by: by.clone() }))
        }
        (StopReason::TimeUp, JobInput::AllTrialsEnded { measured, why_not }) => {
            Ok(concluded(ended(measured, why_not, now)))
        }
        (StopReason::NobodyCame { reason }, JobInput::AllTrialsEnded { measured, .. }) => {
            Ok(concluded(ended(measured, reason.clone(), now)))
        }
        (StopReason::TimeUp | StopReason::NobodyCame { .. }, JobInput::StopAsked { by }) => {
            Ok((JobState::Stopping { why: StopReason::Asked { by } }, Vec::new()))
        }
        (StopReason::Asked { .. }, JobInput::StopAsked { .. } | JobInput::TimeUp)
        | (StopReason::TimeUp | StopReason::NobodyCame { .. }, JobInput::TimeUp) => {
            Err(JobInputDenied::AlreadyStopping)
        }
        (_, JobInput::FoundImpossible { .. } | JobInput::NobodyCame { .. }) => {
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

fn stopping(why: StopReason) -> (JobState, Vec<JobEffect>) {
    let by = match &why {
        StopReason::Asked { by } => by.clone(),
        StopReason::TimeUp => out_of_time::TIME_LIMIT.to_owned(),
        StopReason::NobodyCame { .. } => NOBODY_CAME.to_owned(),
    };
    announced(JobState::Stopping { why }, Some(JobEffect::CancelOpenTrials { by }))
}

fn concluded(state: JobState) -> (JobState, Vec<JobEffect>) {
    announced(state, Some(JobEffect::Conclude))
}

fn announced(state: JobState, then: Option<JobEffect>) -> (JobState, Vec<JobEffect>) {
    let effects = std::iter::once(JobEffect::AnnounceStatus(state.status())).chain(then).collect();
    (state, effects)
}

#[cfg(test)]
mod tests;
