//! Running out of time, in words: it says nothing about a candidate, so it is never told as a constraint
//! that was missed, and every telling says what allows more.

use assay_measure::{
    job::JobSpec,
    outcome::{Failure, FailureKind},
};

/// What allows more time, on the command line. Other interfaces put their own word in its place.
pub const MORE_TIME: &str = "allow more with --max-duration";

/// In whose name a job's open trials are cancelled when its time is up.
pub const TIME_LIMIT: &str = "the job's time limit";

/// In whose name trials that wait are cancelled when the time to begin them is over.
pub const TIME_TO_BEGIN: &str = "the job's time to begin trials";

/// Why a trial failed; one that ran out of time also says what allows more.
#[must_use]
pub fn why_failed(failure: &Failure) -> String {
    if failure.kind == FailureKind::OutOfTime {
        return format!("{}; {MORE_TIME}", failure.message);
    }
    failure.message.clone()
}

/// Why a trial that was cancelled in the name of the job's time was not measured; `None` when somebody
/// else cancelled it.
#[must_use]
pub fn why_cancelled(by: &str, spec: &JobSpec) -> Option<String> {
    let after = match by {
        TIME_LIMIT => spec.max_duration,
        TIME_TO_BEGIN => spec.working_time(),
        _ => return None,
    };
    Some(format!("not measured: the job ran out of time after {after:?}; {MORE_TIME}"))
}
