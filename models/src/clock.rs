//! The one place where this program reads the clock.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use rustix::time::{ClockId, Timespec, clock_gettime};

pub(crate) fn now() -> Instant {
    Instant::now()
}

/// A moment, and the same in nanoseconds as the kernel's monotonic clock counts it for all processes.
#[must_use]
pub(crate) fn moment() -> (Instant, u64) {
    let reading = || {
        let at = now();
        let Timespec { tv_sec, tv_nsec } = clock_gettime(ClockId::Monotonic);
        let part = |number: i64| u64::try_from(number).unwrap_or(0);
        let nanoseconds = part(tv_sec).saturating_mul(1_000_000_000).saturating_add(part(tv_nsec));
        (at.elapsed(), (at, nanoseconds))
    };
    // Whoever is interrupted between the two readings reads different moments: the quickest counts.
    (0..8).map(|_| reading()).min_by_key(|(took, _)| *took).unwrap_or_else(reading).1
}

/// The time of day, in milliseconds since 1970; for people to read, never to subtract.
pub(crate) fn unix_time_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
