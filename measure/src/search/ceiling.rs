//! Rates that must not be exceeded whatever latency says: calls fail there, or the generator lags.
//!
//! No queue model explains errors, so the largest good rate is bracketed by halving the distance
//! (on the logarithm) between the largest rate that was fine and the smallest that was not.

use super::{Estimate, LimitedBy};
use crate::units::Rate;

/// The bracket is narrow enough when its ends differ by less than this.
const NARROW: f64 = 1.03;
/// Without any good rate yet, the next try is so much lower than the bad one.
const RETREAT: f64 = 0.6;

#[derive(Clone, Debug)]
pub(super) struct Ceiling {
    good: f64,
    bad: Option<(f64, LimitedBy)>,
}

impl Ceiling {
    pub(super) const fn none() -> Self {
        Self { good: 0.0, bad: None }
    }

    pub(super) fn rate_was_good(&mut self, rate: f64) {
        if self.bad.is_none_or(|(bad, _)| rate < bad) {
            self.good = self.good.max(rate);
        }
    }

    pub(super) fn rate_was_bad(&mut self, rate: f64, by: LimitedBy) {
        if self.bad.is_none_or(|(bad, _)| rate < bad) {
            self.bad = Some((rate, by));
        }
        // A rate once thought good may turn out bad; what is below remains to be shown again.
        if self.good >= rate {
            self.good = 0.0;
        }
    }

    /// The largest rate to try next, and what holds it back.
    pub(super) fn limit(&self) -> Option<(f64, LimitedBy)> {
        let (bad, by) = self.bad?;
        let next = if self.good <= 0.0 {
            bad * RETREAT
        } else if self.is_narrow() {
            self.good
        } else {
            (self.good * bad).sqrt()
        };
        Some((next, by))
    }

    /// Nothing left to try below a bad rate.
    pub(super) fn is_narrow(&self) -> bool {
        self.bad.is_none_or(|(bad, _)| self.good > 0.0 && bad / self.good < NARROW)
    }

    /// The bracket as an estimate, when there is a bad rate and a good one.
    pub(super) fn estimate(&self) -> Option<(Estimate, LimitedBy)> {
        let (bad, by) = self.bad?;
        let good = Rate::per_second(self.good).ok().filter(|good| *good > Rate::ZERO)?;
        Some((Estimate { value: good, low: good, high: Rate::per_second(bad).ok()? }, by))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bracket_closes_on_the_rate_where_errors_begin() {
        let mut ceiling = Ceiling::none();
        assert!(ceiling.limit().is_none() && ceiling.is_narrow());
        let mut rate = 100.0;
        let mut tries = 0;
        while !ceiling.is_narrow() || ceiling.limit().is_none() {
            if rate > 40.0 {
                ceiling.rate_was_bad(rate, LimitedBy::Errors);
            } else {
                ceiling.rate_was_good(rate);
            }
            rate = ceiling.limit().unwrap().0;
            tries += 1;
            assert!(tries < 15);
        }
        let (estimate, by) = ceiling.estimate().unwrap();
        assert_eq!(by, LimitedBy::Errors);
        assert!(estimate.value.as_per_second() <= 40.0 && estimate.high.as_per_second() > 40.0);
        assert!(estimate.value.as_per_second() > 38.8);
    }

    #[test]
    fn a_good_rate_that_turns_bad_is_no_longer_trusted() {
        let mut ceiling = Ceiling::none();
        ceiling.rate_was_good(50.0);
        ceiling.rate_was_bad(50.0, LimitedBy::Errors);
        assert!(ceiling.estimate().is_none());
        assert!(ceiling.limit().unwrap().0 < 50.0);
    }
}
