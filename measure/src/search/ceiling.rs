//! Rates that must not be exceeded whatever latency says: calls fail there, or the generator lags.
//!
//! No queue model explains errors, so the largest good rate is bracketed by halving the distance
//! (on the logarithm) between the largest rate that was fine and the smallest that was not. Segments
//! at one rate are judged together: a rate may turn out bad, or be cleared, as more calls are seen.

use super::{Estimate, LimitedBy, SearchFailure, observed::Calls};
use crate::units::Rate;

/// The bracket is narrow enough when its ends differ by less than this.
const NARROW: f64 = 1.02;
/// Without any good rate yet, the next try is so much lower than the bad one.
const RETREAT: f64 = 0.6;

#[derive(Clone, Debug)]
pub(super) struct Ceiling {
    allowed_error_share: f64,
    tried: Vec<Tried>,
}

#[derive(Clone, Copy, Debug)]
struct Tried {
    rate: f64,
    calls: Calls,
    generator_lags: bool,
}

impl Ceiling {
    pub(super) const fn new(allowed_error_share: f64) -> Self {
        Self { allowed_error_share, tried: Vec::new() }
    }

    pub(super) fn observe(&mut self, rate: f64, calls: Calls, generator_lags: bool) {
        // Rates repeat to the last bit, or are different rates.
        match self.tried.iter_mut().find(|tried| tried.rate.total_cmp(&rate).is_eq()) {
            Some(tried) => {
                tried.calls.answered += calls.answered;
                tried.calls.failed += calls.failed;
                tried.generator_lags |= generator_lags;
            }
            None => self.tried.push(Tried { rate, calls, generator_lags }),
        }
    }

    fn judge(&self, tried: &Tried) -> Option<LimitedBy> {
        if tried.calls.fail_beyond(self.allowed_error_share) {
            Some(LimitedBy::Errors)
        } else if tried.generator_lags {
            Some(LimitedBy::Generator)
        } else {
            None
        }
    }

    fn smallest_bad(&self) -> Option<(Tried, LimitedBy)> {
        let bad = self.tried.iter().filter_map(|tried| Some((*tried, self.judge(tried)?)));
        bad.min_by(|(one, _), (other, _)| one.rate.total_cmp(&other.rate))
    }

    /// Rates below every bad one that were fine, ascending.
    fn good_rates(&self) -> Vec<f64> {
        let below = self.smallest_bad().map_or(f64::INFINITY, |(bad, _)| bad.rate);
        let is_good = |tried: &&Tried| tried.rate < below && tried.calls.answered > 0;
        let mut rates: Vec<f64> =
            self.tried.iter().filter(is_good).map(|tried| tried.rate).collect();
        rates.sort_by(f64::total_cmp);
        rates
    }

    /// The largest rate to try next, and what holds it back.
    pub(super) fn limit(&self) -> Option<(f64, LimitedBy)> {
        let (bad, by) = self.smallest_bad()?;
        let next = match self.good_rates().last() {
            None => bad.rate * RETREAT,
            Some(good) if bad.rate / good < NARROW => *good,
            Some(good) => (good * bad.rate).sqrt(),
        };
        Some((next, by))
    }

    /// The bracket as an estimate, when there is a bad rate and a good one. Its lower end is the next
    /// lower rate that was fine too.
    pub(super) fn estimate(&self) -> Option<(Estimate, LimitedBy)> {
        let (bad, by) = self.smallest_bad()?;
        let good = self.good_rates();
        let value = *good.last()?;
        let low = good.iter().rev().nth(1).copied().unwrap_or(value * RETREAT);
        let rate = |rate: f64| Rate::per_second(rate).ok();
        Some((Estimate { value: rate(value)?, low: rate(low)?, high: rate(bad.rate)? }, by))
    }

    /// Why there is no rate at all, when none of those tried was good.
    pub(super) fn failure(&self) -> Option<SearchFailure> {
        let (bad, by) = self.smallest_bad()?;
        if !self.good_rates().is_empty() {
            return None;
        }
        match by {
            LimitedBy::Generator => Some(SearchFailure::GeneratorLags { rate_per_s: bad.rate }),
            LimitedBy::Errors | LimitedBy::Slo | LimitedBy::Saturation | LimitedBy::Load => {
                let (share, allowed) = (bad.calls.failed_share(), self.allowed_error_share);
                Some(SearchFailure::TooManyErrors { share, allowed })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn calls(answered: u64, failed: u64) -> Calls {
        Calls { answered, failed, outstanding: 0 }
    }

    #[test]
    fn the_bracket_closes_on_the_rate_where_errors_begin() {
        let mut ceiling = Ceiling::new(0.01);
        assert!(ceiling.limit().is_none());
        let mut rate = 100.0;
        for _ in 0..12 {
            ceiling.observe(
                rate,
                if rate > 40.0 { calls(900, 100) } else { calls(1000, 0) },
                false,
            );
            rate = ceiling.limit().unwrap().0;
        }
        let (estimate, by) = ceiling.estimate().unwrap();
        assert_eq!(by, LimitedBy::Errors);
        assert!(estimate.value.as_per_second() <= 40.0 && estimate.high.as_per_second() > 40.0);
        assert!(estimate.value.as_per_second() > 38.8 && estimate.low < estimate.value);
    }

    #[test]
    fn a_rate_that_turns_bad_falls_back_on_the_next_lower_one() {
        let mut ceiling = Ceiling::new(0.01);
        for rate in [30.0, 50.0] {
            ceiling.observe(rate, calls(100, 1), false);
        }
        ceiling.observe(50.0, calls(50, 20), false);
        let (estimate, _) = ceiling.estimate().unwrap();
        assert_eq!((estimate.value.as_per_second(), estimate.high.as_per_second()), (30.0, 50.0));
        assert_eq!(ceiling.failure(), None);
        ceiling.observe(30.0, calls(0, 50), false);
        assert!(matches!(ceiling.failure(), Some(SearchFailure::TooManyErrors { .. })));
    }

    #[test]
    fn a_lagging_generator_bounds_the_rate_too() {
        let mut ceiling = Ceiling::new(0.01);
        ceiling.observe(10.0, calls(100, 0), false);
        ceiling.observe(20.0, calls(100, 0), true);
        assert_eq!(ceiling.limit().unwrap().1, LimitedBy::Generator);
        assert_eq!(ceiling.failure(), None);
        ceiling.observe(10.0, calls(100, 0), true);
        assert_eq!(ceiling.failure(), Some(SearchFailure::GeneratorLags { rate_per_s: 10.0 }));
    }
}
