//! The state of a trial, and what follows from each thing that happens to it.
//!
//! ```text
//!           Granted           Began
//!  Queued ──────────► Leased ───────► Running ───Finished──► Ended(Reported)
//!   ▲ │                 │  │             │ │
//!   │ │  Returned       │  └─────Finished┼─┘  an invalid measurement goes back to Queued, twice
//!   ├─┼─────────────────┘                │
//!   │ │  Forgotten, lease expired: one loss more, from Leased and Running
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
    validity::Verdict,
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::lease::Lease;

/// A trial is given up after it was lost this many times.
pub const MOST_LOSSES: u32 = 3;

/// An invalid trial is measured again this many times.
pub const MOST_REPEATS: u32 = 2;

/// A trial's history and present state.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Trial {
    /// Where it stands.
    pub state: TrialState,
    /// How often its agent was lost.
    pub losses: u32,
    /// How often it was measured again because the figures could not be believed.
    pub repeats: u32,
}

/// Where a trial stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum TrialState {
    /// Waiting for an agent.
    Queued,
    /// Given to an agent that has not begun.
    Leased {
        /// The agent's right to it.
        lease: Lease,
    },
    /// An agent measures it.
    Running {
        /// The agent's right to it.
        lease: Lease,
        /// When the agent began.
        began_at: Timestamp,
    },
    /// The agent was told to stop, and still cleans up.
    Cancelling {
        /// The agent's right to it.
        lease: Lease,
        /// Who cancelled it.
        by: String,
    },
    /// Nothing changes any more.
    Ended {
        /// How.
        end: TrialEnd,
        /// When.
        ended_at: Timestamp,
    },
}

/// How a trial ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "end", rename_all = "snake_case")]
pub enum TrialEnd {
    /// With what an agent reported, or cancelled while one had it.
    Reported {
        /// The outcome.
        outcome: TrialOutcome,
    },
    /// Its agents went away once too often.
    Lost {
        /// How often.
        losses: u32,
        /// The last of them.
        last_agent: AgentName,
    },
    /// It never began, or was waiting to begin again.
    NotRun {
        /// Who cancelled it.
        by: String,
    },
}

/// Something that happened to a trial.
#[derive(Clone, Debug, PartialEq)]
pub enum TrialEvent {
    /// It was given to an agent.
    Granted {
        /// The agent.
        agent: AgentName,
        /// The token for it, never used before.
        token: LeaseToken,
    },
    /// The agent began.
    Began {
        /// The agent's proof.
        token: LeaseToken,
    },
    /// The agent was heard of: a heartbeat, progress, a step.
    Heard {
        /// The agent's proof.
        token: LeaseToken,
    },
    /// The agent came back after its connection broke (or the coordinator restarted) and still has the trial.
    Resumed {
        /// The agent's proof.
        token: LeaseToken,
    },
    /// The agent refused it before it began: it is busy or shutting down.
    Returned {
        /// The agent's proof.
        token: LeaseToken,
    },
    /// The agent came back without it: it restarted, or never heard of it.
    Forgotten {
        /// The token of the lease that the agent held.
        token: LeaseToken,
    },
    /// The agent reports how it ended.
    Finished {
        /// The agent's proof.
        token: LeaseToken,
        /// The outcome.
        outcome: TrialOutcome,
    },
    /// Time passed; a lease may have run out.
    ClockAdvanced,
    /// Somebody cancelled it.
    CancelAsked {
        /// Who.
        by: String,
    },
}

/// What the caller must do after a transition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TrialEffect {
    /// Tell the agent to run it.
    StartOnAgent {
        /// The agent.
        agent: AgentName,
        /// The token to report with.
        token: LeaseToken,
    },
    /// Tell the agent to stop it; the agent reports its end.
    CancelOnAgent {
        /// The agent.
        agent: AgentName,
        /// The token of its lease.
        token: LeaseToken,
    },
    /// The agent is free for another trial.
    ReleaseAgent {
        /// The agent.
        agent: AgentName,
    },
    /// The report is durable once the new state is stored: tell the agent that it may forget it.
    AcknowledgeReport {
        /// The agent.
        agent: AgentName,
        /// The token of its lease.
        token: LeaseToken,
    },
    /// What was measured so far belongs to a run that does not count: drop its steps.
    DiscardSteps,
    /// It waits for an agent again.
    Requeued {
        /// Why, for people.
        reason: String,
    },
    /// It has ended.
    Concluded,
}

/// The event does not fit the state; nothing changed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum TrialEventDenied {
    /// The trial was given to another agent since, or has ended; the report does not count and the
    /// agent may forget it.
    #[error("the lease has ended; the report does not count")]
    StaleToken,
    /// An agent has it.
    #[error("agent {0} has the trial")]
    NotQueued(AgentName),
    /// It has begun.
    #[error("the trial has begun")]
    AlreadyBegun,
    /// Nothing changes any more.
    #[error("the trial has ended")]
    AlreadyEnded,
    /// It is being cancelled.
    #[error("the trial is being cancelled")]
    Cancelling,
}

impl Trial {
    /// A trial that waits for an agent.
    #[must_use]
    pub const fn queued() -> Self {
        Self { state: TrialState::Queued, losses: 0, repeats: 0 }
    }

    /// What follows from an event; `term` is how long a lease lasts from now.
    ///
    /// # Errors
    /// [`TrialEventDenied`] when the event does not fit; the state is unchanged.
    pub fn apply(
        &self,
        event: TrialEvent,
        now: Timestamp,
        term: Duration,
    ) -> Result<(Self, Vec<TrialEffect>), TrialEventDenied> {
        match (&self.state, event) {
            (TrialState::Queued, event) => self.from_queued(event, now, term),
            (TrialState::Ended { .. }, TrialEvent::ClockAdvanced) => Ok((self.clone(), Vec::new())),
            (
                TrialState::Ended { .. },
                TrialEvent::Granted { .. } | TrialEvent::CancelAsked { .. },
            ) => Err(TrialEventDenied::AlreadyEnded),
            (
                TrialState::Ended { .. },
                TrialEvent::Began { .. }
                | TrialEvent::Heard { .. }
                | TrialEvent::Resumed { .. }
                | TrialEvent::Returned { .. }
                | TrialEvent::Forgotten { .. }
                | TrialEvent::Finished { .. },
            ) => Err(TrialEventDenied::StaleToken),
            (TrialState::Leased { lease }, event) => self.from_leased(lease, event, now, term),
            (TrialState::Running { lease, began_at }, event) => {
                self.from_running(lease, *began_at, event, now, term)
            }
            (TrialState::Cancelling { lease, by }, event) => {
                self.from_cancelling(lease, by, event, now)
            }
        }
    }

    /// The lease in force.
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

type Transition = Result<(Trial, Vec<TrialEffect>), TrialEventDenied>;

impl Trial {
    fn from_queued(&self, event: TrialEvent, now: Timestamp, term: Duration) -> Transition {
        match event {
            TrialEvent::Granted { agent, token } => {
                let lease = Lease::grant(agent.clone(), token.clone(), now, term);
                Ok((
                    self.at(TrialState::Leased { lease }),
                    vec![TrialEffect::StartOnAgent { agent, token }],
                ))
            }
            TrialEvent::CancelAsked { by } => {
                let ended = TrialState::Ended { end: TrialEnd::NotRun { by }, ended_at: now };
                Ok((self.at(ended), vec![TrialEffect::Concluded]))
            }
            TrialEvent::ClockAdvanced => Ok((self.clone(), Vec::new())),
            TrialEvent::Began { .. }
            | TrialEvent::Heard { .. }
            | TrialEvent::Resumed { .. }
            | TrialEvent::Returned { .. }
            | TrialEvent::Forgotten { .. }
            | TrialEvent::Finished { .. } => Err(TrialEventDenied::StaleToken),
        }
    }

    fn from_leased(
        &self,
        lease: &Lease,
        event: TrialEvent,
        now: Timestamp,
        term: Duration,
    ) -> Transition {
        let renewed = || lease.clone().renewed(now, term);
        match event {
            TrialEvent::Granted { .. } => Err(TrialEventDenied::NotQueued(lease.agent().clone())),
            TrialEvent::Began { token } | TrialEvent::Resumed { token } => {
                proven(lease, &token)?;
                Ok((self.at(TrialState::Running { lease: renewed(), began_at: now }), Vec::new()))
            }
            TrialEvent::Heard { token } => {
                proven(lease, &token)?;
                Ok((self.at(TrialState::Leased { lease: renewed() }), Vec::new()))
            }
            TrialEvent::Returned { token } => {
                proven(lease, &token)?;
                let agent = lease.agent().clone();
                let reason = format!("agent {agent} could not take it");
                let effects =
                    vec![TrialEffect::ReleaseAgent { agent }, TrialEffect::Requeued { reason }];
                Ok((self.at(TrialState::Queued), effects))
            }
            TrialEvent::Forgotten { token } => {
                proven(lease, &token)?;
                Ok(self.lost(lease, now))
            }
            TrialEvent::Finished { token, outcome } => {
                proven(lease, &token)?;
                Ok(self.finished(lease, outcome, now))
            }
            TrialEvent::ClockAdvanced if lease.has_expired(now) => Ok(self.lost(lease, now)),
            TrialEvent::ClockAdvanced => Ok((self.clone(), Vec::new())),
            TrialEvent::CancelAsked { by } => Ok(self.cancelling(lease, by)),
        }
    }

    fn from_running(
        &self,
        lease: &Lease,
        began_at: Timestamp,
        event: TrialEvent,
        now: Timestamp,
        term: Duration,
    ) -> Transition {
        match event {
            TrialEvent::Granted { .. } => Err(TrialEventDenied::NotQueued(lease.agent().clone())),
            TrialEvent::Began { token }
            | TrialEvent::Heard { token }
            | TrialEvent::Resumed { token } => {
                proven(lease, &token)?;
                let lease = lease.clone().renewed(now, term);
                Ok((self.at(TrialState::Running { lease, began_at }), Vec::new()))
            }
            TrialEvent::Returned { token } => {
                proven(lease, &token)?;
                Err(TrialEventDenied::AlreadyBegun)
            }
            TrialEvent::Forgotten { token } => {
                proven(lease, &token)?;
                Ok(self.lost(lease, now))
            }
            TrialEvent::Finished { token, outcome } => {
                proven(lease, &token)?;
                Ok(self.finished(lease, outcome, now))
            }
            TrialEvent::ClockAdvanced if lease.has_expired(now) => Ok(self.lost(lease, now)),
            TrialEvent::ClockAdvanced => Ok((self.clone(), Vec::new())),
            TrialEvent::CancelAsked { by } => Ok(self.cancelling(lease, by)),
        }
    }

    /// The lease is not renewed while cancelling: what is left of it is the grace for cleaning up.
    fn from_cancelling(
        &self,
        lease: &Lease,
        by: &str,
        event: TrialEvent,
        now: Timestamp,
    ) -> Transition {
        let cancelled = || TrialOutcome::Cancelled { by: by.to_owned() };
        match event {
            TrialEvent::Granted { .. } => Err(TrialEventDenied::NotQueued(lease.agent().clone())),
            TrialEvent::CancelAsked { .. } => Err(TrialEventDenied::Cancelling),
            TrialEvent::Began { token } | TrialEvent::Heard { token } => {
                proven(lease, &token)?;
                Ok((self.clone(), Vec::new()))
            }
            TrialEvent::Resumed { token } => {
                proven(lease, &token)?;
                // The connection broke, and the request to stop may have gone down with it.
                Ok((
                    self.clone(),
                    vec![TrialEffect::CancelOnAgent { agent: lease.agent().clone(), token }],
                ))
            }
            TrialEvent::Returned { token } | TrialEvent::Forgotten { token } => {
                proven(lease, &token)?;
                Ok(self.reported(lease, cancelled(), now))
            }
            TrialEvent::Finished { token, outcome } => {
                proven(lease, &token)?;
                let outcome = match outcome {
                    // It was through before the request arrived; what was measured stands.
                    TrialOutcome::Measured(measurement) => TrialOutcome::Measured(measurement),
                    TrialOutcome::Failed(_) | TrialOutcome::Cancelled { .. } => cancelled(),
                };
                Ok(self.reported(lease, outcome, now))
            }
            TrialEvent::ClockAdvanced if lease.has_expired(now) => {
                Ok(self.reported(lease, cancelled(), now))
            }
            TrialEvent::ClockAdvanced => Ok((self.clone(), Vec::new())),
        }
    }

    fn at(&self, state: TrialState) -> Self {
        Self { state, losses: self.losses, repeats: self.repeats }
    }

    fn cancelling(&self, lease: &Lease, by: String) -> (Self, Vec<TrialEffect>) {
        let effect = TrialEffect::CancelOnAgent {
            agent: lease.agent().clone(),
            token: lease.token().clone(),
        };
        (self.at(TrialState::Cancelling { lease: lease.clone(), by }), vec![effect])
    }

    fn finished(
        &self,
        lease: &Lease,
        outcome: TrialOutcome,
        now: Timestamp,
    ) -> (Self, Vec<TrialEffect>) {
        let invalid = match &outcome {
            TrialOutcome::Measured(measurement) => measurement.validity.verdict == Verdict::Invalid,
            TrialOutcome::Failed(_) | TrialOutcome::Cancelled { .. } => false,
        };
        if !invalid || self.repeats >= MOST_REPEATS {
            return self.reported(lease, outcome, now);
        }
        let again =
            Self { state: TrialState::Queued, losses: self.losses, repeats: self.repeats + 1 };
        let reason = "its figures could not be believed".to_owned();
        let mut effects = acknowledged(lease);
        effects.extend([TrialEffect::DiscardSteps, TrialEffect::Requeued { reason }]);
        (again, effects)
    }

    fn reported(
        &self,
        lease: &Lease,
        outcome: TrialOutcome,
        now: Timestamp,
    ) -> (Self, Vec<TrialEffect>) {
        let mut effects = acknowledged(lease);
        effects.push(TrialEffect::Concluded);
        (self.at(TrialState::Ended { end: TrialEnd::Reported { outcome }, ended_at: now }), effects)
    }

    fn lost(&self, lease: &Lease, now: Timestamp) -> (Self, Vec<TrialEffect>) {
        let agent = lease.agent().clone();
        let losses = self.losses + 1;
        let release = TrialEffect::ReleaseAgent { agent: agent.clone() };
        if losses >= MOST_LOSSES {
            let end = TrialEnd::Lost { losses, last_agent: agent };
            let state = TrialState::Ended { end, ended_at: now };
            return (
                Self { state, losses, repeats: self.repeats },
                vec![release, TrialEffect::Concluded],
            );
        }
        let reason = format!("agent {agent} was lost");
        let effects = vec![release, TrialEffect::DiscardSteps, TrialEffect::Requeued { reason }];
        (Self { state: TrialState::Queued, losses, repeats: self.repeats }, effects)
    }
}

fn proven(lease: &Lease, token: &LeaseToken) -> Result<(), TrialEventDenied> {
    if lease.is_proven_by(token) { Ok(()) } else { Err(TrialEventDenied::StaleToken) }
}

fn acknowledged(lease: &Lease) -> Vec<TrialEffect> {
    let (agent, token) = (lease.agent().clone(), lease.token().clone());
    vec![
        TrialEffect::AcknowledgeReport { agent: agent.clone(), token },
        TrialEffect::ReleaseAgent { agent },
    ]
}

impl TrialEnd {
    /// The measurement, if it was measured.
    #[must_use]
    pub fn measurement(&self) -> Option<&assay_measure::outcome::Measurement> {
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
