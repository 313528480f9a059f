//! The one clock of measurement: monotonic nanoseconds since an origin, and processor time of a thread.
//!
//! Everything the load generator records is a difference on this clock. Wall-clock time has no place here.

use rustix::time::{ClockId, Timespec, clock_gettime};

/// A monotonic clock that counts from the moment it was made. Copies share their origin.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    origin_ns: u64,
}

impl Clock {
    /// A clock that reads 0 now.
    #[must_use]
    pub fn start() -> Self {
        Self { origin_ns: nanoseconds(clock_gettime(ClockId::Monotonic)) }
    }

    /// Nanoseconds since the origin.
    #[must_use]
    pub fn now_ns(&self) -> u64 {
        nanoseconds(clock_gettime(ClockId::Monotonic)).saturating_sub(self.origin_ns)
    }

    /// Nanoseconds from the origin to a moment of the kernel's monotonic clock; none before it.
    #[must_use]
    pub fn since_start_ns(&self, monotonic_ns: u64) -> Option<u64> {
        monotonic_ns.checked_sub(self.origin_ns)
    }

    /// The same moment as the kernel's monotonic clock counts it, for timers with absolute times.
    #[must_use]
    pub fn absolute(&self, at_ns: u64) -> Timespec {
        let total = self.origin_ns.saturating_add(at_ns);
        Timespec {
            tv_sec: i64::try_from(total / 1_000_000_000).unwrap_or(i64::MAX),
            tv_nsec: i64::try_from(total % 1_000_000_000).unwrap_or(0),
        }
    }
}

/// Processor time that the calling thread has used, in nanoseconds.
#[must_use]
pub fn thread_cpu_ns() -> u64 {
    nanoseconds(clock_gettime(ClockId::ThreadCPUTime))
}

fn nanoseconds(time: Timespec) -> u64 {
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    let rest = u64::try_from(time.tv_nsec).unwrap_or(0);
    seconds.saturating_mul(1_000_000_000).saturating_add(rest)
}
