//! What a trial has reported and the coordinator has not acknowledged yet.

use std::collections::BTreeMap;

use assay_measure::outcome::{Failure, FailureKind, StepResult, TrialOutcome};
use assay_proto::v1::{StepFinished, TrialFinished, agent_message::Message};

use crate::link::{Acknowledged, Lease};

/// The largest report that is sent; coordinators take messages of 4 MiB, and proxies often less than
/// they say.
const LARGEST_REPORT: usize = 3 << 20;

/// The reports of one trial.
#[derive(Debug, Default)]
pub(super) struct Reports {
    steps: BTreeMap<u32, StepResult>,
    outcome: Option<Box<TrialOutcome>>,
    /// The outcome was refused, and what stands in its place only says so.
    outcome_refused: bool,
}

/// What became of reports that were refused for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AfterRefusal {
    /// There was none.
    Nothing,
    /// What is left can be sent.
    Lighter,
    /// Not even the reason can be reported.
    Hopeless,
}

impl Reports {
    /// Keeps a step; returns the message that reports it. One that is too large goes without its
    /// histogram.
    pub(super) fn add_step(&mut self, lease: &Lease, mut step: StepResult) -> Message {
        let mut message = step_finished(lease, &step);
        let size = message.encoded_len();
        if size > LARGEST_REPORT {
            tracing::warn!(trial = %lease.trial, step = step.index, size, "the histogram is too large to send");
            step.histogram = Vec::new();
            message = step_finished(lease, &step);
        }
        self.steps.insert(step.index, step);
        message
    }

    /// Keeps the outcome, its texts cut to what can be sent; returns the message that reports it.
    pub(super) fn set_outcome(&mut self, lease: &Lease, outcome: TrialOutcome) -> Message {
        let mut outcome = outcome.bounded();
        let mut message = trial_finished(lease, &outcome);
        let size = message.encoded_len();
        if size > LARGEST_REPORT {
            outcome = unsent(format!(
                "the report of the outcome has {size} bytes, more than the {LARGEST_REPORT} that can be sent"
            ));
            message = trial_finished(lease, &outcome);
        }
        self.outcome = Some(Box::new(outcome));
        message
    }

    /// The coordinator refused something for good, so it is not sent again. It does not say what: the
    /// largest step is given up, and after the steps the outcome, in whose place stands the reason.
    pub(super) fn refuse(&mut self, lease: &Lease, reason: &str) -> AfterRefusal {
        let largest_step = self
            .steps
            .values()
            .map(|step| (step_finished(lease, step).encoded_len(), step.index))
            .max();
        let outcome = self.outcome.as_ref().map(|outcome| trial_finished(lease, outcome));
        let outcome_size = outcome.map(|message| message.encoded_len());
        match (largest_step, outcome_size) {
            (None, None) => AfterRefusal::Nothing,
            (Some((size, index)), outcome) if outcome.is_none_or(|outcome| outcome <= size) => {
                tracing::error!(trial = %lease.trial, step = index, size, reason, "the report of a step was refused for good; it is dropped");
                self.steps.remove(&index);
                AfterRefusal::Lighter
            }
            _ if self.outcome_refused => AfterRefusal::Hopeless,
            _ => {
                tracing::error!(trial = %lease.trial, reason, "the report of the outcome was refused for good");
                let told = format!("the coordinator refused the report of the outcome: {reason}");
                self.outcome = Some(Box::new(unsent(told)));
                self.outcome_refused = true;
                AfterRefusal::Lighter
            }
        }
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

/// Stands in the place of an outcome that cannot be reported.
fn unsent(message: String) -> TrialOutcome {
    let failure = Failure::new(FailureKind::Internal, message, String::new());
    TrialOutcome::Failed(failure)
}

fn step_finished(lease: &Lease, step: &StepResult) -> Message {
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
