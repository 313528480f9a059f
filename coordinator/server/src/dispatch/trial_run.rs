//! A trial of a job that has not ended.

use std::collections::BTreeMap;

use assay_measure::{
    ids::{AgentName, LeaseToken, TrialId},
    outcome::{Failure, FailureKind, StepResult, TrialOutcome},
};
use assay_planning::{
    job_report::TrialFacts,
    trial_state::{Told, Trial, TrialEnd, TrialInput},
};
use jiff::Timestamp;

use crate::store::TrialRecord;

#[derive(Clone, Debug)]
pub(super) struct TrialRun {
    pub(super) id: TrialId,
    pub(super) trial: Trial,
    /// The lease whose steps count.
    pub(super) run: Option<LeaseToken>,
    /// Steps of that run, which are stored; without their histograms.
    pub(super) steps: BTreeMap<u32, StepResult>,
    /// The agent that should have it says it does not. Until then its own report may still come;
    /// afterwards the trial counts as lost, long before the lease runs out.
    pub(super) unclaimed_until: Option<Timestamp>,
    /// Agents that were offered it and declined, and what they said last; until one begins.
    pub(super) declined: BTreeMap<AgentName, String>,
}

impl TrialRun {
    pub(super) fn queued(id: TrialId) -> Self {
        Self {
            id,
            trial: Trial::queued(),
            run: None,
            steps: BTreeMap::new(),
            unclaimed_until: None,
            declined: BTreeMap::new(),
        }
    }

    pub(super) fn record(&self) -> TrialRecord {
        TrialRecord { id: self.id.clone(), trial: self.trial.clone(), run: self.run.clone() }
    }

    /// Whether what is stored of it is out of date. A mere renewal of the lease is not stored: after a restart
    /// every lease is renewed anyway.
    pub(super) fn differs_in_store(&self, before: &Trial) -> bool {
        let token = |trial: &Trial| trial.lease().map(|lease| lease.token().clone());
        let after = &self.trial;
        before.word() != after.word()
            || (before.losses, before.repeats) != (after.losses, after.repeats)
            || token(before) != token(after)
    }

    /// Steps that were measured so far do not count; those of this run will.
    pub(super) fn start_over(&mut self, run: Option<LeaseToken>) {
        self.run = run;
        self.steps.clear();
    }

    /// Whether it was measured, or is, under this lease.
    pub(super) fn is_run_of(&self, token: &LeaseToken) -> bool {
        self.run.as_ref() == Some(token)
    }

    pub(super) fn is_held_by(&self, name: &AgentName) -> bool {
        self.trial.lease().is_some_and(|lease| lease.agent() == name)
    }

    /// When its lease counts as run out.
    pub(super) fn next_deadline(&self) -> Option<Timestamp> {
        let lease = self.trial.lease()?;
        let expiry = lease.expires_at();
        Some(self.unclaimed_until.map_or(expiry, |until| until.min(expiry)))
    }

    pub(super) fn end_of_lease(&self, now: Timestamp) -> TrialInput {
        match self.trial.lease() {
            Some(lease) if !lease.has_expired(now) => {
                TrialInput::Told { token: lease.token().clone(), what: Told::Forgotten }
            }
            Some(_) | None => TrialInput::ClockAdvanced,
        }
    }
}

impl From<&TrialRun> for TrialFacts {
    fn from(active: &TrialRun) -> Self {
        Self {
            end: active.trial.end().cloned(),
            steps: active.steps.values().cloned().collect(),
            repeats: active.trial.repeats,
        }
    }
}

/// How a trial ended, in the words that watchers know.
pub(super) fn outcome_of(end: &TrialEnd) -> TrialOutcome {
    match end {
        TrialEnd::Reported { outcome } => outcome.clone(),
        TrialEnd::Lost { losses, last_agent } => TrialOutcome::Failed(Failure::new(
            FailureKind::Internal,
            format!("the agent was lost {losses} times, last {last_agent}"),
            String::new(),
        )),
        TrialEnd::NotRun { by } => TrialOutcome::Cancelled { by: by.clone() },
    }
}
