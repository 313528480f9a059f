//! Constraints a candidate must hold, in the grammar `METRIC<=LIMIT`, such as `p95<=50ms`.

use std::{fmt, str::FromStr, time::Duration};

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::{configuration::word_enum, units::parse_duration};

word_enum!(
    /// The latency figure that a constraint limits.
    SloMetric, "SLO metric", "p50, p90, p95, p99" {
        /// The median.
        P50 = "p50",
        /// The 90th percentile.
        P90 = "p90",
        /// The 95th percentile.
        P95 = "p95",
        /// The 99th percentile.
        P99 = "p99",
    }
);

impl SloMetric {
    /// The quantile, in (0, 1).
    #[must_use]
    pub const fn quantile(self) -> f64 {
        match self {
            Self::P50 => 0.50,
            Self::P90 => 0.90,
            Self::P95 => 0.95,
            Self::P99 => 0.99,
        }
    }
}

/// A latency constraint: at most `1 − quantile` of calls may take longer than `limit`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Slo {
    metric: SloMetric,
    limit: Duration,
}

/// A text is not a constraint.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum SloError {
    /// No `<=` in it.
    #[error("{0:?} is not a constraint; write it like p95<=50ms")]
    Shape(String),
    /// The part before `<=`.
    #[error(transparent)]
    Metric(#[from] crate::configuration::UnknownWord),
    /// The part after `<=`.
    #[error(transparent)]
    Limit(#[from] crate::units::UnitError),
    /// The limit is outside 1 µs to 10 min.
    #[error("the limit of {0:?} must lie between 1us and 10m")]
    Range(String),
}

impl Slo {
    /// A constraint on a percentile of latency.
    ///
    /// # Errors
    /// [`SloError::Range`] when the limit is not between 1 µs and 10 min, what histograms hold.
    pub fn new(metric: SloMetric, limit: Duration) -> Result<Self, SloError> {
        if limit < Duration::from_micros(1) || limit > Duration::from_secs(600) {
            return Err(SloError::Range(format!("{metric}<={limit:?}")));
        }
        Ok(Self { metric, limit })
    }

    /// The figure that is limited.
    #[must_use]
    pub const fn metric(self) -> SloMetric {
        self.metric
    }

    /// The largest latency allowed for it.
    #[must_use]
    pub const fn limit(self) -> Duration {
        self.limit
    }

    /// The share of calls that may take longer, `1 − quantile`.
    #[must_use]
    pub fn miss_budget(self) -> f64 {
        1.0 - self.metric.quantile()
    }
}

impl fmt::Display for Slo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let micros = self.limit.as_micros();
        if micros.is_multiple_of(1_000_000) {
            write!(f, "{}<={}s", self.metric, micros / 1_000_000)
        } else if micros.is_multiple_of(1000) {
            write!(f, "{}<={}ms", self.metric, micros / 1000)
        } else {
            write!(f, "{}<={}us", self.metric, micros)
        }
    }
}

impl FromStr for Slo {
    type Err = SloError;
    fn from_str(text: &str) -> Result<Self, SloError> {
        let (metric, limit) =
            text.split_once("<=").ok_or_else(|| SloError::Shape(text.to_owned()))?;
        Self::new(metric.trim().parse()?, parse_duration(limit)?)
    }
}

impl TryFrom<String> for Slo {
    type Error = SloError;
    fn try_from(text: String) -> Result<Self, SloError> {
        text.parse()
    }
}

impl From<Slo> for String {
    fn from(slo: Slo) -> Self {
        slo.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn constraints_survive_their_own_text() {
        for text in ["p95<=50ms", "p99<=2s", "p50<=250us"] {
            assert_eq!(text.parse::<Slo>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_is_not_a_constraint_says_why() {
        assert!(matches!("p95<50ms".parse::<Slo>(), Err(SloError::Shape(_))));
        assert!(matches!("p42<=50ms".parse::<Slo>(), Err(SloError::Metric(_))));
        assert!(matches!("p95<=50".parse::<Slo>(), Err(SloError::Limit(_))));
        assert!(matches!("p95<=0ms".parse::<Slo>(), Err(SloError::Range(_))));
        assert!(matches!("p95<=11m".parse::<Slo>(), Err(SloError::Range(_))));
    }
}
