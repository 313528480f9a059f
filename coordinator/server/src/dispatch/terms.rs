//! How long the coordinator waits for what.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

/// How patient the coordinator is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terms {
    /// How often agents give signs of life.
    pub(crate) heartbeat_interval: Duration,
    /// How long a lease lasts without one.
    pub(crate) lease_term: Duration,
}

pub(super) fn later(at: Timestamp, by: Duration) -> Timestamp {
    let by = SignedDuration::try_from(by).unwrap_or(SignedDuration::MAX);
    at.saturating_add(by).unwrap_or(Timestamp::MAX)
}
