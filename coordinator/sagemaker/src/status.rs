//! Our states of jobs and trials in SageMaker's words. They only move forward.

use assay_measure::{outcome::TrialOutcome, printable};
use assay_planning::{
    job_state::{JobState, StopReason},
    out_of_time::MORE_TIME,
    trial_state::{TrialEnd, TrialState},
};

use crate::shapes::jobs::RecommendationJobStatus as Status;

/// `FailureReason` holds at most this many characters.
const LONGEST_REASON: usize = 1024;

/// Where a job stands.
///
/// A job whose time is up goes on to `COMPLETED` or `FAILED`, which `STOPPING` does not lead to: it is still
/// `IN_PROGRESS` while its trials end.
#[must_use]
pub const fn of_job(state: &JobState) -> Status {
    match state {
        JobState::Pending => Status::Pending,
        JobState::Running { .. }
        | JobState::Stopping { why: StopReason::TimeUp | StopReason::NobodyCame { .. } } => {
            Status::InProgress
        }
        JobState::Stopping { why: StopReason::Asked { .. } } => Status::Stopping,
        JobState::Completed { .. } => Status::Completed,
        JobState::Failed { .. } => Status::Failed,
        JobState::Stopped { .. } => Status::Stopped,
    }
}

/// Where a benchmark stands.
///
/// A trial that goes back to the queue, because its agent was lost or its figures could not be believed, is
/// still `IN_PROGRESS` to those who watch; `began_before` says that it has been running.
#[must_use]
pub const fn of_trial(state: &TrialState, began_before: bool) -> Status {
    match state {
        TrialState::Queued | TrialState::Leased { .. } if began_before => Status::InProgress,
        TrialState::Queued | TrialState::Leased { .. } => Status::Pending,
        TrialState::Running { .. } => Status::InProgress,
        TrialState::Cancelling { .. } => Status::Stopping,
        TrialState::Ended { end, .. } => of_end(end),
    }
}

const fn of_end(end: &TrialEnd) -> Status {
    match end {
        TrialEnd::Reported { outcome: TrialOutcome::Measured(_) } => Status::Completed,
        TrialEnd::Reported { outcome: TrialOutcome::Failed(_) } | TrialEnd::Lost { .. } => {
            Status::Failed
        }
        TrialEnd::Reported { outcome: TrialOutcome::Cancelled { .. } }
        | TrialEnd::NotRun { .. } => Status::Stopped,
    }
}

/// Reasons as SageMaker numbers them: `INVALID_INPUT : 1. … 2. …`, cut to what a client accepts.
#[must_use]
pub fn failure_reason(code: &str, reasons: &[String]) -> String {
    let numbered: Vec<String> =
        (1..).zip(reasons).map(|(number, reason)| format!("{number}. {reason}")).collect();
    cut(&format!("{code} : {}", numbered.join(" ")))
}

/// One reason in SageMaker's words, cut to what a client accepts.
#[must_use]
pub fn cut(reason: &str) -> String {
    let in_its_words = reason.replace(MORE_TIME, "allow more with JobDurationInSeconds");
    printable::text(&in_its_words).chars().take(LONGEST_REASON).collect()
}

#[cfg(test)]
mod tests;
