//! Latencies in a histogram of fixed relative error, and the few figures that are shown of them.
//!
//! Three significant digits from 1 µs to 10 min: what is shorter or longer counts as the shortest or
//! longest. Histograms of several threads or agents add up without loss.

use std::time::Duration;

use hdrhistogram::serialization::{Deserializer, Serializer, V2Serializer};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::units::as_micros;

const SHORTEST_US: u64 = 1;
const LONGEST_US: u64 = 600_000_000;
const SIGNIFICANT_DIGITS: u8 = 3;

/// How often which latency was seen.
#[derive(Clone, Debug, PartialEq)]
pub struct LatencyHistogram {
    counts: hdrhistogram::Histogram<u64>,
}

/// Bytes are not a histogram of this kind.
#[derive(Debug, Error)]
pub enum HistogramError {
    /// The bytes do not decode.
    #[error("not a histogram in the V2 format: {0}")]
    Format(String),
    /// The histogram holds another range or precision than ours.
    #[error("a histogram from {lowest} to {highest} us with {digits} digits does not fit ours")]
    OtherRange {
        /// The shortest latency that it tells apart.
        lowest: u64,
        /// The longest.
        highest: u64,
        /// Its significant digits.
        digits: u8,
    },
}

impl Default for LatencyHistogram {
    fn default() -> Self {
        Self::new()
    }
}

impl LatencyHistogram {
    /// An empty histogram.
    #[must_use]
    pub fn new() -> Self {
        let counts =
            hdrhistogram::Histogram::new_with_bounds(SHORTEST_US, LONGEST_US, SIGNIFICANT_DIGITS);
        Self { counts: counts.expect("1 us to 10 min with 3 digits is a range that it accepts") }
    }

    /// Counts one latency.
    pub fn record(&mut self, latency: Duration) {
        self.record_us(as_micros(latency));
    }

    /// Counts one latency in microseconds.
    pub fn record_us(&mut self, latency_us: u64) {
        self.counts.saturating_record(latency_us.clamp(SHORTEST_US, LONGEST_US));
    }

    /// Adds what another histogram counted.
    pub fn merge(&mut self, other: &Self) {
        self.counts.add(&other.counts).expect("all of them have the same range");
    }

    /// How many latencies were counted.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.counts.len()
    }

    /// The latency in microseconds that this share of calls did not exceed, within 0.1 %; `None`
    /// when nothing was counted.
    #[must_use]
    pub fn quantile_us(&self, share: f64) -> Option<f64> {
        (self.count() > 0).then(|| self.counts.value_at_quantile(share.clamp(0.0, 1.0)) as f64)
    }

    /// The figures that are shown.
    #[must_use]
    pub fn summary(&self) -> LatencySummary {
        let of_some = |figure: f64| (self.count() > 0).then_some(figure);
        LatencySummary {
            count: self.count(),
            mean_us: of_some(self.counts.mean()),
            p50_us: self.quantile_us(0.50),
            p90_us: self.quantile_us(0.90),
            p95_us: self.quantile_us(0.95),
            p99_us: self.quantile_us(0.99),
            p999_us: self.quantile_us(0.999),
            max_us: of_some(self.counts.max() as f64),
        }
    }

    /// The histogram in HdrHistogram's V2 format, neither compressed nor in base64.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        V2Serializer::new()
            .serialize(&self.counts, &mut bytes)
            .expect("memory takes all that is written");
        bytes
    }

    /// Reads what [`to_bytes`](Self::to_bytes) wrote.
    ///
    /// # Errors
    /// [`HistogramError`] when the bytes are no V2 histogram, or one of another range.
    pub fn from_bytes(mut bytes: &[u8]) -> Result<Self, HistogramError> {
        let counts: hdrhistogram::Histogram<u64> = Deserializer::new()
            .deserialize(&mut bytes)
            .map_err(|error| HistogramError::Format(error.to_string()))?;
        let (lowest, highest, digits) = (counts.low(), counts.high(), counts.sigfig());
        if (lowest, highest, digits) != (SHORTEST_US, LONGEST_US, SIGNIFICANT_DIGITS) {
            return Err(HistogramError::OtherRange { lowest, highest, digits });
        }
        Ok(Self { counts })
    }
}

impl FromIterator<u64> for LatencyHistogram {
    /// From latencies in microseconds.
    fn from_iter<I: IntoIterator<Item = u64>>(latencies_us: I) -> Self {
        let mut histogram = Self::new();
        latencies_us.into_iter().for_each(|latency_us| histogram.record_us(latency_us));
        histogram
    }
}

/// What is shown of latencies, in microseconds. Without any latency there is no figure, not a zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LatencySummary {
    /// How many latencies.
    pub count: u64,
    /// The arithmetic mean.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mean_us: Option<f64>,
    /// The median.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p50_us: Option<f64>,
    /// The 90th percentile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p90_us: Option<f64>,
    /// The 95th percentile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p95_us: Option<f64>,
    /// The 99th percentile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p99_us: Option<f64>,
    /// The 99.9th percentile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p999_us: Option<f64>,
    /// The longest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_us: Option<f64>,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn quantiles_are_right_within_a_thousandth(mut latencies in prop::collection::vec(1u64..600_000_000, 1..300), share in 0.0f64..1.0) {
            let histogram: LatencyHistogram = latencies.iter().copied().collect();
            latencies.sort_unstable();
            let within = |rank: &usize| *rank as f64 >= share * latencies.len() as f64;
            let rank = (1..=latencies.len()).find(within).unwrap();
            let exact = latencies[rank - 1] as f64;
            let found = histogram.quantile_us(share).unwrap();
            prop_assert!((found / exact - 1.0).abs() <= 0.001 || (found - exact).abs() <= 1.0, "{found} is not {exact}");
        }

        #[test]
        fn merging_is_counting_everything_in_one(left in prop::collection::vec(any::<u64>(), 0..50), right in prop::collection::vec(any::<u64>(), 0..50)) {
            let together: LatencyHistogram = left.iter().chain(&right).copied().collect();
            let mut merged: LatencyHistogram = left.into_iter().collect();
            merged.merge(&right.into_iter().collect());
            prop_assert_eq!(&merged, &together);
            prop_assert_eq!(&LatencyHistogram::from_bytes(&merged.to_bytes()).unwrap(), &together);
        }

        #[test]
        fn arbitrary_bytes_are_refused_or_read_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            drop(LatencyHistogram::from_bytes(&bytes));
        }
    }

    #[test]
    fn what_is_out_of_range_counts_at_its_end() {
        let histogram: LatencyHistogram = [0, u64::MAX].into_iter().collect();
        assert_eq!(histogram.quantile_us(0.0), Some(1.0));
        assert!((histogram.summary().max_us.unwrap() / 6e8 - 1.0).abs() < 0.001);
    }

    #[test]
    fn without_latencies_there_are_no_figures() {
        let text = serde_json::to_string(&LatencyHistogram::new().summary()).unwrap();
        assert_eq!(text, r#"{"count":0}"#);
        assert_eq!(
            serde_json::from_str::<LatencySummary>(&text).unwrap(),
            LatencySummary::default()
        );
    }

    #[test]
    fn histograms_of_another_range_are_refused() {
        let other = hdrhistogram::Histogram::<u64>::new_with_bounds(1, 1000, 2).unwrap();
        let mut bytes = Vec::new();
        V2Serializer::new().serialize(&other, &mut bytes).unwrap();
        assert!(matches!(
            LatencyHistogram::from_bytes(&bytes),
            Err(HistogramError::OtherRange { digits: 2, .. })
        ));
    }
}
