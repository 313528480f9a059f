//! What each event makes of a trial.

use std::time::Duration;

use assay_measure::{outcome::TrialOutcome, validity::Verdict};
use jiff::Timestamp;

use super::{
    MOST_LOSSES, MOST_REPEATS, Told, Trial, TrialEffect, TrialEnd, TrialInput, TrialInputDenied,
    TrialState,
};
use crate::lease::Lease;

type Next = (Trial, Vec<TrialEffect>);

impl Trial {
    /// What follows from an event; `term` is how long a lease lasts from now.
    ///
    /// # Errors
    /// [`TrialInputDenied`] when the event does not fit; the state is unchanged.
    pub fn apply(
        &self,
        event: TrialInput,
        now: Timestamp,
        term: Duration,
    ) -> Result<Next, TrialInputDenied> {
        match event {
            TrialInput::Granted { agent, token } => {
                self.grantable()?;
                let lease = Lease::grant(agent.clone(), token.clone(), now, term);
                let start = TrialEffect::StartOnAgent { agent, token };
                Ok((self.at(TrialState::Leased { lease }), vec![start]))
            }
            TrialInput::Told { token, what } => {
                let proven = self.lease().filter(|lease| lease.is_proven_by(&token));
                let lease = proven.ok_or(TrialInputDenied::StaleToken)?;
                self.told(lease, what, now, term)
            }
            TrialInput::ClockAdvanced => {
                Ok(match self.lease().filter(|lease| lease.has_expired(now)) {
                    Some(lease) => self.abandoned(lease, now),
                    None => self.unchanged(),
                })
            }
            TrialInput::CancelAsked { by } => self.cancelled(by, now),
        }
    }

    fn grantable(&self) -> Result<(), TrialInputDenied> {
        match (self.lease(), self.end()) {
            (Some(lease), _) => Err(TrialInputDenied::NotQueued(lease.agent().clone())),
            (None, Some(_)) => Err(TrialInputDenied::AlreadyEnded),
            (None, None) => Ok(()),
        }
    }

    fn told(
        &self,
        lease: &Lease,
        what: Told,
        now: Timestamp,
        term: Duration,
    ) -> Result<Next, TrialInputDenied> {
        let began_at = match &self.state {
            TrialState::Cancelling { by, .. } => {
                return Ok(self.told_while_cancelling(lease, by, what, now));
            }
            TrialState::Running { began_at, .. } => Some(*began_at),
            TrialState::Queued | TrialState::Leased { .. } | TrialState::Ended { .. } => None,
        };
        Ok(match (what, began_at) {
            (Told::Heard | Told::Resumed, _) => {
                let (lease, began_at) = (lease.clone().renewed(now, term), began_at.unwrap_or(now));
                (self.at(TrialState::Running { lease, began_at }), Vec::new())
            }
            (Told::Returned, Some(_)) => return Err(TrialInputDenied::AlreadyBegun),
            (Told::Returned, None) => {
                let reason = format!("agent {} could not take it", lease.agent());
                (self.at(TrialState::Queued), vec![TrialEffect::Requeued { reason }])
            }
            (Told::Forgotten, _) => self.abandoned(lease, now),
            (Told::Finished { outcome, time_left }, _) => {
                self.finished(lease, outcome, time_left, now)
            }
        })
    }

    /// The lease is not renewed while cancelling: what is left of it is the grace for cleaning up.
    fn told_while_cancelling(&self, lease: &Lease, by: &str, what: Told, now: Timestamp) -> Next {
        match what {
            Told::Heard => self.unchanged(),
            // The connection broke, and the request to stop may have gone down with it.
            Told::Resumed => (self.clone(), vec![cancel(lease, by)]),
            // It was through before the request arrived; what was measured stands.
            Told::Finished { outcome: outcome @ TrialOutcome::Measured(_), .. } => {
                self.ended(TrialEnd::Reported { outcome }, now)
            }
            Told::Returned | Told::Forgotten | Told::Finished { .. } => self.abandoned(lease, now),
        }
    }

    fn cancelled(&self, by: String, now: Timestamp) -> Result<Next, TrialInputDenied> {
        match &self.state {
            TrialState::Queued => Ok(self.ended(TrialEnd::NotRun { by }, now)),
            TrialState::Leased { lease } | TrialState::Running { lease, .. } => {
                let effects = vec![cancel(lease, &by)];
                Ok((self.at(TrialState::Cancelling { lease: lease.clone(), by }), effects))
            }
            TrialState::Cancelling { .. } => Err(TrialInputDenied::Cancelling),
            TrialState::Ended { .. } => Err(TrialInputDenied::AlreadyEnded),
        }
    }

    fn finished(
        &self,
        lease: &Lease,
        outcome: TrialOutcome,
        time_left: Duration,
        now: Timestamp,
    ) -> Next {
        // Nobody asked for it here: the agent was asked to end in the middle of the trial, which is as good as
        // losing the agent and sooner known.
        if let TrialOutcome::Cancelled { by } = &outcome {
            return self.lost(lease, format!("agent {} gave it back: {by}", lease.agent()), now);
        }
        let findings = invalidating(&outcome);
        // A repetition that the job's end would cut short leaves less than the figures at hand.
        let may_repeat = outcome.took() <= time_left && self.repeats < MOST_REPEATS;
        let Some(findings) = findings.filter(|_| may_repeat) else {
            return self.ended(TrialEnd::Reported { outcome }, now);
        };
        let again = Self { repeats: self.repeats + 1, ..self.at(TrialState::Queued) };
        let reason = format!("measurement invalid ({findings})");
        (again, vec![TrialEffect::DiscardSteps, TrialEffect::Requeued { reason }])
    }

    /// The agent does not have it any more, or was not heard of for the length of its lease.
    fn abandoned(&self, lease: &Lease, now: Timestamp) -> Next {
        if let TrialState::Cancelling { by, .. } = &self.state {
            let outcome = TrialOutcome::Cancelled { by: by.clone() };
            return self.ended(TrialEnd::Reported { outcome }, now);
        }
        self.lost(lease, format!("agent {} was lost", lease.agent()), now)
    }

    /// Without its agent the trial is another's to measure, or at its end after too many losses.
    fn lost(&self, lease: &Lease, reason: String, now: Timestamp) -> Next {
        let losses = self.losses + 1;
        let lost = Self { losses, ..self.at(TrialState::Queued) };
        if losses >= MOST_LOSSES {
            return lost.ended(TrialEnd::Lost { losses, last_agent: lease.agent().clone() }, now);
        }
        (lost, vec![TrialEffect::DiscardSteps, TrialEffect::Requeued { reason }])
    }

    fn ended(&self, end: TrialEnd, now: Timestamp) -> Next {
        (self.at(TrialState::Ended { end, ended_at: now }), vec![TrialEffect::Concluded])
    }

    fn unchanged(&self) -> Next {
        (self.clone(), Vec::new())
    }

    fn at(&self, state: TrialState) -> Self {
        Self { state, losses: self.losses, repeats: self.repeats }
    }
}

fn cancel(lease: &Lease, by: &str) -> TrialEffect {
    let (agent, token) = (lease.agent().clone(), lease.token().clone());
    TrialEffect::CancelOnAgent { agent, token, by: by.to_owned() }
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
