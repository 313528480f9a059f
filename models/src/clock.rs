//! The one place where this program reads the clock.

use std::time::Instant;

/// The monotonic time.
#[must_use]
pub fn now() -> Instant {
    Instant::now()
}
