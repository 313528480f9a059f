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
        Self {
            started_at: Timestamp::now(),
            started: Instant::now(),
        }
    }

    /// The time now.
    pub(crate) fn now(&self) -> Timestamp {
        let passed = SignedDuration::try_from(self.started.elapsed());
        self.started_at
            .saturating_add(passed.unwrap_or(SignedDuration::MAX))
            .unwrap_or(Timestamp::MAX)
    }

    /// When tokio's clock will show this time; never in the past.
    pub(crate) fn instant_of(&self, at: Timestamp) -> Instant {
        let ahead = at.duration_since(self.now());
        Instant::now() + Duration::try_from(ahead).unwrap_or(Duration::ZERO)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_clock_moves_with_the_timers() {
        let clock = Clock::start();
        let before = clock.now();
        tokio::time::advance(Duration::from_secs(90)).await;
        assert_eq!(
            clock.now().duration_since(before),
            SignedDuration::from_secs(90)
        );
        assert_eq!(clock.instant_of(before), Instant::now());
    }
}
