//! What a search can come to, told before it begins from the time that one request takes.
//!
//! A percentile needs requests, and requests need time: with a pass of half a minute not even the time of a
//! full search holds enough of them. Whoever waits should hear that at the start, with figures.

use std::{fmt, num::NonZeroU32, time::Duration};

use super::SearchPlan;
use crate::validity::thresholds;

/// The share of a search in which requests count for the answer; the rest warms up and looks around.
const MEASURED_SHARE: f64 = 0.5;
/// One request to see that the target answers, and two of a single user: less shows nothing at all.
const FEWEST_PASSES: u32 = 3;
/// The percentile that is shown where no constraint names one: 95 %.
const SHOWN_PERCENTILE_BUDGET: f64 = 0.05;

/// How many requests fit into a search, and how many it should have.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Outlook {
    /// The time of one request on its own.
    pub pass: Duration,
    /// The time that the search has.
    pub allowed: Duration,
    /// About so many requests count in that time.
    pub fitting: u64,
    /// The percentile that is asked for, in per cent.
    pub percentile: f64,
    /// With fewer requests it is not to be believed.
    pub needed: u64,
    /// The time that a search takes that has so many.
    pub needed_time: Duration,
}

impl Outlook {
    /// Of a search on a target with so many workers, each of which takes `pass` for a request.
    #[must_use]
    pub fn of(plan: &SearchPlan, pass: Duration, workers: NonZeroU32) -> Self {
        let budgets = plan.constraints.iter().map(|slo| slo.miss_budget());
        let budget = budgets.min_by(f64::total_cmp).unwrap_or(SHOWN_PERCENTILE_BUDGET);
        let needed = (thresholds::CALLS_BEYOND_PERCENTILE / budget).round();
        // A microsecond stands for a target too fast to be timed.
        let pass_s = pass.as_secs_f64().max(1e-6) / f64::from(workers.get()) / MEASURED_SHARE;
        let needed_time = Duration::try_from_secs_f64(needed * pass_s).unwrap_or(Duration::MAX);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "counts of requests, not negative; saturation is what is wanted"
        )]
        let count = |requests: f64| requests as u64;
        Self {
            pass,
            allowed: plan.max_duration,
            fitting: count(plan.max_duration.as_secs_f64() / pass_s),
            percentile: (1.0 - budget) * 100.0,
            needed: count(needed),
            needed_time,
        }
    }

    /// Too few requests fit for the percentile to be believed.
    #[must_use]
    pub const fn is_poor(&self) -> bool {
        self.fitting < self.needed
    }

    /// The time does not even hold what shows that the target answers.
    #[must_use]
    pub fn is_hopeless(&self) -> bool {
        self.allowed < self.pass.saturating_mul(FEWEST_PASSES)
    }
}

impl fmt::Display for Outlook {
    /// `a pass takes 40.0 s: the 75 s of this search hold about 0 that count, and a believable p95 needs 200, in
    /// about 267 min`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "a pass takes {:.1} s: the {:.0} s of this search hold about {} that count, and a believable p{} needs \
             {}, in about {:.0} min",
            self.pass.as_secs_f64(),
            self.allowed.as_secs_f64(),
            self.fitting,
            (self.percentile * 10.0).round() / 10.0,
            self.needed,
            (self.needed_time.as_secs_f64() / 60.0).ceil(),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::search::Mode;

    fn plan(seconds: u64, constraints: &[&str]) -> SearchPlan {
        SearchPlan {
            constraints: constraints.iter().map(|slo| slo.parse().unwrap()).collect(),
            mode: Mode::Quick,
            seed: 1,
            max_duration: Duration::from_secs(seconds),
            soak: None,
            skip_thermal_check: false,
            max_error_share: 0.01,
        }
    }

    fn of(seconds: u64, constraints: &[&str], pass_ms: u64, workers: u32) -> Outlook {
        let workers = NonZeroU32::new(workers).unwrap();
        Outlook::of(&plan(seconds, constraints), Duration::from_millis(pass_ms), workers)
    }

    #[test]
    fn a_pass_of_half_a_minute_is_told_to_be_too_long_with_the_time_that_would_do() {
        let outlook = of(75, &[], 40_000, 1);
        assert!(outlook.is_poor() && outlook.is_hopeless());
        assert_eq!(
            outlook.to_string(),
            "a pass takes 40.0 s: the 75 s of this search hold about 0 that count, and a believable p95 needs \
             200, in about 267 min"
        );
    }

    #[test]
    fn what_is_needed_goes_by_the_tightest_constraint_and_what_fits_by_the_workers() {
        let one = of(240, &["p95<=5s", "p99<=9s"], 2_000, 1);
        assert_eq!((one.fitting, one.needed), (60, 1000));
        assert!(one.is_poor() && !one.is_hopeless());
        assert_eq!(of(240, &[], 2_000, 4).fitting, 240);
        assert!(!of(240, &[], 2_000, 4).is_poor());
    }

    #[test]
    fn a_fast_target_has_nothing_to_say() {
        let fast = of(75, &["p99<=50ms"], 0, 1);
        assert!(!fast.is_poor() && !fast.is_hopeless());
    }
}
