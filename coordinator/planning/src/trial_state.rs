//! The state of a trial, and what follows from each thing that happens to it.
//!
//! ```text
//!           Granted           Heard
//!  Queued ──────────► Leased ───────► Running ───Finished──► Ended(Reported)
//!   ▲ │                 │  │             │ │
//!   │ │  Returned       │  └─────Finished┼─┘  an invalid measurement goes back to Queued, twice
//!   ├─┼─────────────────┘                │
//!   │ │  Forgotten, given back by an agent that ends, lease expired: one loss more, from Leased and Running
//!   ├─┼──────────────────────────────────┤      the third loss ends it: Ended(Lost)
//!     │  CancelAsked                     │ CancelAsked, from Leased and Running
//!     └─► Ended(NotRun)       Cancelling ◄┘ ──Finished, Forgotten, expired──► Ended(Reported)
//! ```
//! Every report proves itself with the token of the current lease; an older token is refused, so a
//! trial that was given to another agent is never reported twice. An agent that comes back while its
//! lease still stands goes on (`Resumed`).

use std::time::Duration;

use assay_measure::{
    ids::{AgentName, LeaseToken},
    outcome::TrialOutcome,
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::lease::Lease;

mod transitions;

/// A trial is given up after it was lost this many times.
pub const MOST_LOSSES: u32 = 3;

/// An invalid trial is measured again this many times.
pub const MOST_REPEATS: u32 = 2;

/// A trial's history and present state.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Trial {
    pub state: TrialState,
    /// How often its agent was lost.
    pub losses: u32,
    /// How often it was measured again because the figures could not be believed.
    pub repeats: u32,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum TrialState {
    Queued,
    /// Given to an agent that has not begun.
    Leased {
        /// The agent's right to it.
        lease: Lease,
    },
    Running {
        /// The agent's right to it.
        lease: Lease,
        began_at: Timestamp,
    },
    /// The agent was told to stop, and still cleans up.
    Cancelling {
        /// The agent's right to it.
        lease: Lease,
        by: String,
    },
    Ended {
        end: TrialEnd,
        ended_at: Timestamp,
    },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "end", rename_all = "snake_case")]
pub enum TrialEnd {
    /// With what an agent reported, or cancelled while one had it.
    Reported { outcome: TrialOutcome },
    /// Its agents went away once too often.
    Lost { losses: u32, last_agent: AgentName },
    /// It never began, or was waiting to begin again.
    NotRun { by: String },
}

/// Something that happened to a trial.
#[derive(Clone, Debug, PartialEq)]
pub enum TrialInput {
    /// It was given to an agent.
    Granted {
        agent: AgentName,
        /// The token for it, never used before.
        token: LeaseToken,
    },
    /// Its agent says something of it, and proves by the token that it has the trial.
    Told {
        token: LeaseToken,
        what: Told,
    },
    /// Time passed; a lease may have run out.
    ClockAdvanced,
    CancelAsked {
        by: String,
    },
}

/// What an agent says of a trial.
#[derive(Clone, Debug, PartialEq)]
pub enum Told {
    /// It was heard of: a heartbeat, progress, a step. The first time begins the trial.
    Heard,
    /// The agent came back after its connection broke (or the coordinator restarted) and still has the trial.
    Resumed,
    /// The agent refused it before it began: it is busy or shutting down.
    Returned,
    /// The agent came back without it: it restarted, or never heard of it.
    Forgotten,
    /// How it ended.
    Finished {
        outcome: TrialOutcome,
        /// This trial's fair share of what is left of the job's time.
        time_left: Duration,
    },
}

/// What the caller must do after a transition. An agent is free for another trial once no lease names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TrialEffect {
    /// Tell the agent to run it.
    StartOnAgent {
        agent: AgentName,
        token: LeaseToken,
    },
    /// Tell the agent to stop it; the agent reports its end.
    CancelOnAgent {
        agent: AgentName,
        token: LeaseToken,
        by: String,
    },
    /// What was measured so far belongs to a run that does not count: drop its steps.
    DiscardSteps,
    /// It waits for an agent again.
    Requeued {
        reason: String,
    },
    Concluded,
}

/// The event does not fit the state; nothing changed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum TrialInputDenied {
    /// The trial was given to another agent since, or has ended; the report does not count and the
    /// agent may forget it.
    #[error("the lease has ended; the report does not count")]
    StaleToken,
    #[error("agent {0} has the trial")]
    NotQueued(AgentName),
    #[error("the trial has begun")]
    AlreadyBegun,
    #[error("the trial has ended")]
    AlreadyEnded,
    #[error("the trial is being cancelled")]
    Cancelling,
}

impl Trial {
    /// A trial that waits for an agent.
    #[must_use]
    pub const fn queued() -> Self {
        Self { state: TrialState::Queued, losses: 0, repeats: 0 }
    }

    #[must_use]
    pub const fn lease(&self) -> Option<&Lease> {
        match &self.state {
            TrialState::Leased { lease }
            | TrialState::Running { lease, .. }
            | TrialState::Cancelling { lease, .. } => Some(lease),
            TrialState::Queued | TrialState::Ended { .. } => None,
        }
    }

    /// How it ended, if it has.
    #[must_use]
    pub const fn end(&self) -> Option<&TrialEnd> {
        match &self.state {
            TrialState::Ended { end, .. } => Some(end),
            TrialState::Queued
            | TrialState::Leased { .. }
            | TrialState::Running { .. }
            | TrialState::Cancelling { .. } => None,
        }
    }

    /// Whether it waits for an agent.
    #[must_use]
    pub const fn is_queued(&self) -> bool {
        matches!(self.state, TrialState::Queued)
    }

    /// One word for the state: `queued`, `leased`, `running`, `cancelling` or `ended`.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self.state {
            TrialState::Queued => "queued",
            TrialState::Leased { .. } => "leased",
            TrialState::Running { .. } => "running",
            TrialState::Cancelling { .. } => "cancelling",
            TrialState::Ended { .. } => "ended",
        }
    }
}

impl TrialEnd {
    /// The measurement, if it was measured.
    #[must_use]
    pub fn measurement(&self) -> Option<&assay_measure::outcome::TrialResult> {
        match self {
            Self::Reported { outcome: TrialOutcome::Measured(measurement) } => Some(measurement),
            Self::Reported {
                outcome: TrialOutcome::Failed(_) | TrialOutcome::Cancelled { .. },
            }
            | Self::Lost { .. }
            | Self::NotRun { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests;
