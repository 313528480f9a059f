//! The coordinator's clock: the one place where the time of day is read.
//!
//! The day's time is read once, at the start; from then on it moves with tokio's clock, so leases and
//! deadlines neither jump when an administrator sets the clock nor run while a test has paused it.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

/// Tells what time it is. Copies agree with each other.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    started_at: Timestamp,
    started: Instant,
}

impl Clock {
    /// Starts at the time of day.
    pub(crate) fn start() -> Self {
        Self { started_at: Timestamp::now(), started: Instant::now() }
    }

    /// The time now, in whole microseconds: what is kept and what is told at once are the same.
    pub(crate) fn now(&self) -> Timestamp {
        let passed = SignedDuration::try_from(self.started.elapsed());
        let now = self
            .started_at
            .saturating_add(passed.unwrap_or(SignedDuration::MAX))
            .unwrap_or(Timestamp::MAX);
        Timestamp::from_microsecond(now.as_microsecond()).unwrap_or(now)
    }

    /// The time of day, which an administrator may set: for comparing with clocks of other machines,
    /// never for deadlines.
    #[expect(
        clippy::unused_self,
        reason = "time is asked of a clock, so that this file has it all"
    )]
    pub(crate) fn time_of_day(&self) -> Timestamp {
        Timestamp::now()
    }

    /// When tokio's clock will show this time; now, if it has passed.
    pub(crate) fn instant_of(&self, at: Timestamp) -> Instant {
        let ahead = at.duration_since(self.now());
        Instant::now() + Duration::try_from(ahead).unwrap_or(Duration::ZERO)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn times_are_whole_microseconds_and_never_go_back() {
        let clock = Clock::start();
        let first = clock.now();
        assert_eq!(Timestamp::from_microsecond(first.as_microsecond()).unwrap(), first);
        assert!(clock.now() >= first);
    }

    #[tokio::test]
    async fn a_deadline_that_has_passed_is_due_at_once() {
        let clock = Clock::start();
        let before = clock.now();
        assert!(clock.instant_of(before) <= Instant::now());
        let ahead = before.saturating_add(SignedDuration::from_secs(60)).unwrap();
        assert!(clock.instant_of(ahead) > Instant::now() + Duration::from_secs(59));
    }
}
