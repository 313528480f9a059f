//! Pauses between attempts to dial: doubling, with jitter, so that a fleet does not return as one.

use std::{
    hash::{BuildHasher, Hasher, RandomState},
    time::Duration,
};

const FIRST: Duration = Duration::from_millis(250);
const LONGEST: Duration = Duration::from_secs(15);

/// The pauses of one series of attempts.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    attempts: u32,
}

impl Backoff {
    /// The next pause: half of it certain, half of it chance.
    pub(super) fn next_pause(&mut self) -> Duration {
        let factor = 1u32.checked_shl(self.attempts.min(16)).unwrap_or(u32::MAX);
        self.attempts = self.attempts.saturating_add(1);
        let whole = FIRST.saturating_mul(factor).min(LONGEST);
        // Keys of the standard hash map are random: enough chance for this, without a generator.
        let chance = RandomState::new().build_hasher().finish() as f64 / u64::MAX as f64;
        whole / 2 + (whole / 2).mul_f64(chance.clamp(0.0, 1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_a_limit() {
        let mut backoff = Backoff::default();
        let pauses: Vec<Duration> = (0..40).map(|_| backoff.next_pause()).collect();
        assert!(pauses[0] >= FIRST / 2 && pauses[0] <= FIRST);
        assert!(pauses[3] >= FIRST * 4 && pauses[3] <= FIRST * 8);
        assert!(pauses[39] >= LONGEST / 2 && pauses[39] <= LONGEST);
    }
}
