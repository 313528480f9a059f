//! What messages carry, in the types of this program.

use assay_measure::job::JobStatus;
use assay_proto::v1;
use jiff::Timestamp;

/// The status that a message carries, if it is one that this program knows.
pub(crate) fn status(wire: i32) -> Option<JobStatus> {
    v1::JobStatus::try_from(wire).ok()?.try_into().ok()
}

/// A wire timestamp in the range that can be told.
pub(crate) fn time(at: Option<prost_types::Timestamp>) -> Option<Timestamp> {
    at.and_then(|at| Timestamp::new(at.seconds, at.nanos).ok())
}
