//! When a main run has seen enough.

use std::time::Duration;

use super::Mode;

/// Below this rate requests, not seconds, say how much was seen.
const LOW_RATE: f64 = 30.0;
/// Requests that a constraint needs at low rates: the rarer a miss may be, the more.
const REQUESTS_PER_BUDGET: f64 = 100.0;
const FEWEST_REQUESTS: f64 = 3_000.0;
const MOST_REQUESTS: f64 = 10_000.0;
/// A machine that got slower under the burn-in needs so much time to settle at the load of the
/// answer. Its heat then follows the luck of arrivals so slowly that no affordable run averages it
/// out, so that is all it gets, and the interval says what is left open.
const THROTTLED_RUN: Duration = Duration::from_secs(86);

/// How long a run must and may last, and how narrow its interval shall be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct StopRule {
    /// Half-width of the interval, relative.
    pub(super) half_width: f64,
    /// Separate episodes of misses: fewer say nothing about how often they come.
    pub(super) episodes: u32,
    /// The shortest run.
    pub(super) shortest: Duration,
    /// The longest run.
    pub(super) longest: Duration,
    /// One segment.
    pub(super) segment: Duration,
    at_low_rates: bool,
}

/// What a run has reached so far.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Progress {
    pub(super) half_width: f64,
    pub(super) episodes: u32,
    pub(super) drifting: bool,
    /// From the beginning of the run.
    pub(super) elapsed: Duration,
    /// From the oldest segment that still counts.
    pub(super) counted: Duration,
    pub(super) rate: f64,
    /// The smallest share of misses that a constraint allows.
    pub(super) budget: f64,
}

impl StopRule {
    /// `throttled`: the machine got slower under the burn-in.
    pub(super) const fn of(mode: Mode, throttled: bool) -> Self {
        match mode {
            Mode::Quick => Self {
                half_width: 0.03,
                episodes: 6,
                shortest: Duration::from_secs(12),
                // With warm-up, staircase, probe and confirmation that makes a minute and a bit.
                longest: Duration::from_secs(40),
                segment: Duration::from_secs(3),
                at_low_rates: false,
            },
            Mode::Full => Self {
                half_width: 0.02,
                episodes: 12,
                shortest: if throttled { THROTTLED_RUN } else { Duration::from_secs(30) },
                longest: if throttled { THROTTLED_RUN } else { Duration::from_secs(225) },
                segment: Duration::from_secs(5),
                at_low_rates: true,
            },
        }
    }

    /// The interval is as narrow as was asked, and rests on enough.
    pub(super) fn is_precise(&self, progress: &Progress) -> bool {
        progress.half_width <= self.half_width
            && progress.episodes >= self.episodes
            && !progress.drifting
    }

    /// The run may end now.
    pub(super) fn is_met(&self, progress: &Progress) -> bool {
        self.is_precise(progress)
            && progress.elapsed >= self.least(progress)
            && progress.counted >= self.shortest / 2
    }

    fn least(&self, progress: &Progress) -> Duration {
        let mut least = self.shortest;
        if self.at_low_rates && progress.rate < LOW_RATE {
            let requests = (REQUESTS_PER_BUDGET / progress.budget.max(1e-6))
                .clamp(FEWEST_REQUESTS, MOST_REQUESTS);
            let lasting = Duration::try_from_secs_f64(requests / progress.rate.max(1e-3))
                .unwrap_or(self.longest);
            least = least.max(lasting.min(self.longest));
        }
        least
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENOUGH: Progress = Progress {
        half_width: 0.01,
        episodes: 12,
        drifting: false,
        elapsed: Duration::from_secs(30),
        counted: Duration::from_secs(30),
        rate: 100.0,
        budget: 0.05,
    };

    #[test]
    fn every_condition_is_needed() {
        let rule = StopRule::of(Mode::Full, false);
        assert!(rule.is_met(&ENOUGH));
        for lacking in [
            Progress { half_width: 0.021, ..ENOUGH },
            Progress { half_width: f64::NAN, ..ENOUGH },
            Progress { episodes: 11, ..ENOUGH },
            Progress { drifting: true, ..ENOUGH },
            Progress { elapsed: Duration::from_secs(29), ..ENOUGH },
            Progress { counted: Duration::from_secs(14), ..ENOUGH },
            Progress { rate: 20.0, ..ENOUGH },
        ] {
            assert!(!rule.is_met(&lacking), "{lacking:?}");
        }
    }

    #[test]
    fn a_throttled_machine_gets_time_to_settle_and_no_more() {
        let rule = StopRule::of(Mode::Full, true);
        assert!(!rule.is_met(&Progress { elapsed: Duration::from_secs(74), ..ENOUGH }));
        assert_eq!(rule.longest, THROTTLED_RUN);
    }

    #[test]
    fn slow_targets_are_judged_by_requests_in_full_mode() {
        let slow = |seconds, budget| Progress {
            rate: 20.0,
            elapsed: Duration::from_secs(seconds),
            budget,
            ..ENOUGH
        };
        let rule = StopRule::of(Mode::Full, false);
        assert!(!rule.is_met(&slow(149, 0.05)) && rule.is_met(&slow(150, 0.05)));
        assert!(!rule.is_met(&slow(224, 0.01)) && rule.is_met(&slow(225, 0.01)));
        assert!(StopRule::of(Mode::Quick, false).is_met(&slow(12, 0.01)));
    }
}
