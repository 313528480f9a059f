//! What a trial has reported and the coordinator has not acknowledged yet.

use std::collections::BTreeMap;

use assay_measure::outcome::{StepReport, TrialOutcome};
use assay_proto::v1::{StepFinished, TrialFinished, agent_message::Message};

use crate::link::{Acknowledged, Lease};

/// The reports of one trial.
#[derive(Debug, Default)]
pub(super) struct Reports {
    steps: BTreeMap<u32, StepReport>,
    outcome: Option<Box<TrialOutcome>>,
}

impl Reports {
    /// Keeps a step; returns the message that reports it.
    pub(super) fn add_step(&mut self, lease: &Lease, step: StepReport) -> Message {
        let message = step_finished(lease, &step);
        self.steps.insert(step.index, step);
        message
    }

    /// Keeps the outcome; returns the message that reports it.
    pub(super) fn set_outcome(&mut self, lease: &Lease, outcome: TrialOutcome) -> Message {
        let message = trial_finished(lease, &outcome);
        self.outcome = Some(Box::new(outcome));
        message
    }

    /// Forgets what is stored elsewhere now.
    pub(super) fn acknowledge(&mut self, what: Acknowledged) {
        match what {
            Acknowledged::Step(index) => {
                self.steps.remove(&index);
            }
            Acknowledged::Outcome => self.outcome = None,
        }
    }

    /// Nothing is left to be acknowledged.
    pub(super) fn are_done(&self) -> bool {
        self.steps.is_empty() && self.outcome.is_none()
    }

    /// Everything not acknowledged, steps first.
    pub(super) fn unacknowledged(&self, lease: &Lease) -> Vec<Message> {
        let steps = self.steps.values().map(|step| step_finished(lease, step));
        let outcome = self.outcome.iter().map(|outcome| trial_finished(lease, outcome));
        steps.chain(outcome).collect()
    }
}

fn step_finished(lease: &Lease, step: &StepReport) -> Message {
    Message::StepFinished(StepFinished {
        trial_id: lease.trial.to_string(),
        lease_token: lease.token.to_string(),
        step: Some(step.clone().into()),
    })
}

fn trial_finished(lease: &Lease, outcome: &TrialOutcome) -> Message {
    Message::TrialFinished(TrialFinished {
        trial_id: lease.trial.to_string(),
        lease_token: lease.token.to_string(),
        outcome: Some(outcome.clone().into()),
    })
}
