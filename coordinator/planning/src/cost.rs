//! What a candidate costs per hour, per inference and per million, with the interval that its capacity carries.
//!
//! The figures here are for showing; candidates are compared as integers, by [`CostKey`].

use std::cmp::Ordering;

use assay_measure::{
    money::{PricePerHour, compare_cost, cost_per_inference_usd},
    search::Estimate,
    units::Rate,
};
use serde::{Deserialize, Serialize};

/// A rate in whole milli-invocations per minute: what reports show and rankings compare.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct MilliPerMinute(u64);

impl MilliPerMinute {
    #[must_use]
    pub fn from_rate(rate: Rate) -> Self {
        let milli = (rate.as_per_minute() * 1000.0).round();
        // A rate is finite and not negative; `as` saturates far above any real one.
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "saturating is what is wanted"
        )]
        Self(milli as u64)
    }

    #[must_use]
    pub const fn new(milli: u64) -> Self {
        Self(milli)
    }

    #[must_use]
    pub const fn count(self) -> u64 {
        self.0
    }

    /// Invocations per minute, to three decimals.
    #[must_use]
    pub fn as_per_minute(self) -> f64 {
        self.0 as f64 / 1000.0
    }
}

/// A capacity with its 95 % confidence interval, as reports show it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capacity {
    pub value: MilliPerMinute,
    pub low: MilliPerMinute,
    /// The upper end.
    pub high: MilliPerMinute,
}

impl From<Estimate> for Capacity {
    fn from(estimate: Estimate) -> Self {
        let value = MilliPerMinute::from_rate(estimate.value);
        Self {
            value,
            low: MilliPerMinute::from_rate(estimate.low).min(value),
            high: MilliPerMinute::from_rate(estimate.high).max(value),
        }
    }
}

/// A price and the work it buys, for comparing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CostKey {
    /// The price of the whole endpoint.
    pub per_hour: PricePerHour,
    pub rate: MilliPerMinute,
}

impl CostKey {
    /// Cheaper per inference is less; a rate of zero costs infinitely much.
    #[must_use]
    pub fn compare(self, other: Self) -> Ordering {
        compare_cost((self.per_hour, self.rate.count()), (other.per_hour, other.rate.count()))
    }

    /// Dollars per inference: `cost_per_hour / (60 × max invocations per minute)`.
    #[must_use]
    pub fn per_inference_usd(self) -> f64 {
        cost_per_inference_usd(self.per_hour, self.rate.as_per_minute())
    }
}

/// The cost of a candidate, as reports show it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CostFigures {
    /// Dollars per hour for the whole endpoint.
    pub per_hour_usd: f64,
    /// Dollars per inference.
    pub per_inference_usd: f64,
    /// Its 95 % confidence interval; the upper end is absent when the capacity may be zero.
    pub per_inference_ci95: (f64, Option<f64>),
    /// Dollars per million inferences.
    pub per_million_usd: f64,
}

/// The cost that follows from a price and a capacity above zero.
#[must_use]
pub fn cost_of(per_hour: PricePerHour, capacity: Capacity) -> CostFigures {
    let at = |rate| CostKey { per_hour, rate }.per_inference_usd();
    let per_inference_usd = at(capacity.value);
    CostFigures {
        per_hour_usd: per_hour.as_usd(),
        per_inference_usd,
        per_inference_ci95: (
            at(capacity.high),
            (capacity.low.count() > 0).then(|| at(capacity.low)),
        ),
        per_million_usd: per_inference_usd * 1e6,
    }
}
