//! One function per state: what each event makes of it.

use std::time::Duration;

use assay_measure::{ids::LeaseToken, outcome::TrialOutcome, validity::Verdict};
use jiff::Timestamp;

use super::{
    MOST_LOSSES, MOST_REPEATS, Trial, TrialEffect, TrialEnd, TrialInput, TrialInputDenied,
    TrialState,
};
use crate::lease::Lease;

type Transition = Result<(Trial, Vec<TrialEffect>), TrialInputDenied>;

impl Trial {
    pub(super) fn when_queued(
        &self,
        event: TrialInput,
        now: Timestamp,
        term: Duration,
    ) -> Transition {
        match event {
            TrialInput::Granted { agent, token } => {
                let lease = Lease::grant(agent.clone(), token.clone(), now, term);
                Ok((
                    self.at(TrialState::Leased { lease }),
                    vec![TrialEffect::StartOnAgent { agent, token }],
                ))
            }
            TrialInput::CancelAsked { by } => {
                let ended = TrialState::Ended { end: TrialEnd::NotRun { by }, ended_at: now };
                Ok((self.at(ended), vec![TrialEffect::Concluded]))
            }
            TrialInput::ClockAdvanced => Ok((self.clone(), Vec::new())),
            TrialInput::Began { .. }
            | TrialInput::Heard { .. }
            | TrialInput::Resumed { .. }
            | TrialInput::Returned { .. }
            | TrialInput::Forgotten { .. }
            | TrialInput::Finished { .. } => Err(TrialInputDenied::StaleToken),
        }
    }

    pub(super) fn when_leased(
        &self,
        lease: &Lease,
        event: TrialInput,
        now: Timestamp,
        term: Duration,
    ) -> Transition {
        let renewed = || lease.clone().renewed(now, term);
        match event {
            TrialInput::Granted { .. } => Err(TrialInputDenied::NotQueued(lease.agent().clone())),
            TrialInput::Began { token } | TrialInput::Resumed { token } => {
                proven(lease, &token)?;
                Ok((self.at(TrialState::Running { lease: renewed(), began_at: now }), Vec::new()))
            }
            TrialInput::Heard { token } => {
                proven(lease, &token)?;
                Ok((self.at(TrialState::Leased { lease: renewed() }), Vec::new()))
            }
            TrialInput::Returned { token } => {
                proven(lease, &token)?;
                let agent = lease.agent().clone();
                let reason = format!("agent {agent} could not take it");
                let effects =
                    vec![TrialEffect::ReleaseAgent { agent }, TrialEffect::Requeued { reason }];
                Ok((self.at(TrialState::Queued), effects))
            }
            TrialInput::Forgotten { token } => {
                proven(lease, &token)?;
                Ok(self.lost(lease, now))
            }
            TrialInput::Finished { token, outcome, time_left } => {
                proven(lease, &token)?;
                Ok(self.finished(lease, outcome, time_left, now))
            }
            TrialInput::ClockAdvanced if lease.has_expired(now) => Ok(self.lost(lease, now)),
            TrialInput::ClockAdvanced => Ok((self.clone(), Vec::new())),
            TrialInput::CancelAsked { by } => Ok(self.cancelling(lease, by)),
        }
    }

    pub(super) fn when_running(
        &self,
        lease: &Lease,
        began_at: Timestamp,
        event: TrialInput,
        now: Timestamp,
        term: Duration,
    ) -> Transition {
        match event {
            TrialInput::Granted { .. } => Err(TrialInputDenied::NotQueued(lease.agent().clone())),
            TrialInput::Began { token }
            | TrialInput::Heard { token }
            | TrialInput::Resumed { token } => {
                proven(lease, &token)?;
                let lease = lease.clone().renewed(now, term);
                Ok((self.at(TrialState::Running { lease, began_at }), Vec::new()))
            }
            TrialInput::Returned { token } => {
                proven(lease, &token)?;
                Err(TrialInputDenied::AlreadyBegun)
            }
            TrialInput::Forgotten { token } => {
                proven(lease, &token)?;
                Ok(self.lost(lease, now))
            }
            TrialInput::Finished { token, outcome, time_left } => {
                proven(lease, &token)?;
                Ok(self.finished(lease, outcome, time_left, now))
            }
            TrialInput::ClockAdvanced if lease.has_expired(now) => Ok(self.lost(lease, now)),
            TrialInput::ClockAdvanced => Ok((self.clone(), Vec::new())),
            TrialInput::CancelAsked { by } => Ok(self.cancelling(lease, by)),
        }
    }

    /// The lease is not renewed while cancelling: what is left of it is the grace for cleaning up.
    pub(super) fn when_cancelling(
        &self,
        lease: &Lease,
        by: &str,
        event: TrialInput,
        now: Timestamp,
    ) -> Transition {
        let cancelled = || TrialOutcome::Cancelled { by: by.to_owned() };
        match event {
            TrialInput::Granted { .. } => Err(TrialInputDenied::NotQueued(lease.agent().clone())),
            TrialInput::CancelAsked { .. } => Err(TrialInputDenied::Cancelling),
            TrialInput::Began { token } | TrialInput::Heard { token } => {
                proven(lease, &token)?;
                Ok((self.clone(), Vec::new()))
            }
            TrialInput::Resumed { token } => {
                proven(lease, &token)?;
                // The connection broke, and the request to stop may have gone down with it.
                Ok((
                    self.clone(),
                    vec![TrialEffect::CancelOnAgent { agent: lease.agent().clone(), token }],
                ))
            }
            TrialInput::Returned { token } | TrialInput::Forgotten { token } => {
                proven(lease, &token)?;
                Ok(self.reported(lease, cancelled(), now))
            }
            TrialInput::Finished { token, outcome, .. } => {
                proven(lease, &token)?;
                let outcome = match outcome {
                    // It was through before the request arrived; what was measured stands.
                    TrialOutcome::Measured(measurement) => TrialOutcome::Measured(measurement),
                    TrialOutcome::Failed(_) | TrialOutcome::Cancelled { .. } => cancelled(),
                };
                Ok(self.reported(lease, outcome, now))
            }
            TrialInput::ClockAdvanced if lease.has_expired(now) => {
                Ok(self.reported(lease, cancelled(), now))
            }
            TrialInput::ClockAdvanced => Ok((self.clone(), Vec::new())),
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
        time_left: Duration,
        now: Timestamp,
    ) -> (Self, Vec<TrialEffect>) {
        // Nobody asked for it here: the agent was asked to end in the middle of the trial.
        if let TrialOutcome::Cancelled { by } = &outcome {
            return self.given_back(lease, by, now);
        }
        let Some(findings) = invalidating(&outcome) else {
            return self.reported(lease, outcome, now);
        };
        // A repetition that the job's end would cut short leaves less than the figures at hand.
        let fits = outcome.took() <= time_left;
        if !fits || self.repeats >= MOST_REPEATS {
            return self.reported(lease, outcome, now);
        }
        let again =
            Self { state: TrialState::Queued, losses: self.losses, repeats: self.repeats + 1 };
        let reason = format!("measurement invalid ({findings})");
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
        self.gone(lease, format!("agent {} was lost", lease.agent()), now)
    }

    /// An agent that ends gives its trial back, which is as good as losing the agent and sooner known.
    fn given_back(&self, lease: &Lease, by: &str, now: Timestamp) -> (Self, Vec<TrialEffect>) {
        let reason = format!("agent {} gave it back: {by}", lease.agent());
        let (trial, mut effects) = self.gone(lease, reason, now);
        let (agent, token) = (lease.agent().clone(), lease.token().clone());
        effects.insert(0, TrialEffect::AcknowledgeReport { agent, token });
        (trial, effects)
    }

    /// Without its agent the trial is another's to measure, or at its end after too many losses.
    fn gone(&self, lease: &Lease, reason: String, now: Timestamp) -> (Self, Vec<TrialEffect>) {
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
        let effects = vec![release, TrialEffect::DiscardSteps, TrialEffect::Requeued { reason }];
        (Self { state: TrialState::Queued, losses, repeats: self.repeats }, effects)
    }
}

fn proven(lease: &Lease, token: &LeaseToken) -> Result<(), TrialInputDenied> {
    if lease.is_proven_by(token) { Ok(()) } else { Err(TrialInputDenied::StaleToken) }
}

fn acknowledged(lease: &Lease) -> Vec<TrialEffect> {
    let (agent, token) = (lease.agent().clone(), lease.token().clone());
    vec![
        TrialEffect::AcknowledgeReport { agent: agent.clone(), token },
        TrialEffect::ReleaseAgent { agent },
    ]
}

/// What makes an outcome invalid, for people; `None` for one that stands. That a constraint cannot be met is
/// as easily the fault of a disturbed minute as a low figure is.
fn invalidating(outcome: &TrialOutcome) -> Option<String> {
    let validity = match outcome {
        TrialOutcome::Measured(measurement) => &measurement.validity,
        TrialOutcome::Failed(failure) => failure.validity.as_ref()?,
        TrialOutcome::Cancelled { .. } => return None,
    };
    if validity.verdict != Verdict::Invalid {
        return None;
    }
    let invalid = validity.findings.iter().filter(|f| f.severity == Verdict::Invalid);
    let told = invalid.map(|f| format!("{} {:.1}, threshold {:.1}", f.name, f.value, f.threshold));
    Some(told.collect::<Vec<_>>().join("; "))
}
