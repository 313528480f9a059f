//! Latencies: counted in a histogram of fixed relative error, and the few figures that are shown of them.
//!
//! Histograms are HdrHistogram's, of microseconds with three significant digits from 1 µs to 10 min; what is
//! shorter or longer counts as the shortest or longest. Those of several threads, steps or agents add up
//! without loss. They travel and are kept in HdrHistogram's V2 encoding, which its own tools read.

use hdrhistogram::{
    Histogram,
    serialization::{Deserializer, Serializer, V2Serializer},
};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::slo::SloMetric;

/// The shortest latency that is told apart.
const SHORTEST_US: u64 = 1;

/// The longest latency that is told apart: 10 minutes.
pub const LONGEST_US: u64 = 600_000_000;

const SIGNIFICANT_DIGITS: u8 = 3;

/// Latency of answered calls in microseconds, counted from their intended send time. Without an answered call
/// there is no latency, rather than one of zero.
///
/// In JSON the unit stands in the name of the object: `"latency_us": {"count": 1000, "mean": …, "p50": …}`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Latency {
    /// How many calls the figures rest on, at least 1.
    pub count: u64,
    /// The arithmetic mean.
    #[serde(rename = "mean")]
    pub mean_us: f64,
    /// The median.
    #[serde(rename = "p50")]
    pub p50_us: u64,
    /// The 90th percentile.
    #[serde(rename = "p90")]
    pub p90_us: u64,
    /// The 95th percentile.
    #[serde(rename = "p95")]
    pub p95_us: u64,
    /// The 99th percentile.
    #[serde(rename = "p99")]
    pub p99_us: u64,
    /// The 99.9th percentile.
    #[serde(rename = "p999")]
    pub p999_us: u64,
    /// The longest.
    #[serde(rename = "max")]
    pub max_us: u64,
}

impl Latency {
    /// The figures of a histogram; `None` when it is empty.
    #[must_use]
    pub fn of(histogram: &Histogram<u64>) -> Option<Self> {
        (!histogram.is_empty()).then(|| Self {
            count: histogram.len(),
            mean_us: histogram.mean(),
            p50_us: histogram.value_at_quantile(0.50),
            p90_us: histogram.value_at_quantile(0.90),
            p95_us: histogram.value_at_quantile(0.95),
            p99_us: histogram.value_at_quantile(0.99),
            p999_us: histogram.value_at_quantile(0.999),
            max_us: histogram.max(),
        })
    }

    /// The figure that a constraint limits, in microseconds.
    #[must_use]
    pub const fn figure_us(&self, metric: SloMetric) -> u64 {
        match metric {
            SloMetric::P50 => self.p50_us,
            SloMetric::P90 => self.p90_us,
            SloMetric::P95 => self.p95_us,
            SloMetric::P99 => self.p99_us,
        }
    }
}

/// An empty histogram.
///
/// # Panics
/// Never: the range is a valid one.
#[must_use]
pub fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(SHORTEST_US, LONGEST_US, SIGNIFICANT_DIGITS)
        .expect("1 us to 10 min with 3 digits is a range that it accepts")
}

/// The bytes are no histogram of latencies.
#[derive(Debug, Error)]
pub enum NoHistogram {
    /// They do not decode.
    #[error("not a histogram in HdrHistogram's V2 encoding: {0}")]
    Encoding(String),
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

/// A histogram in HdrHistogram's V2 encoding, neither compressed nor in base64; nothing for an empty one.
///
/// # Panics
/// Never: memory takes all that is written.
#[must_use]
pub fn encode(histogram: &Histogram<u64>) -> Vec<u8> {
    let mut bytes = Vec::new();
    if !histogram.is_empty() {
        V2Serializer::new()
            .serialize(histogram, &mut bytes)
            .expect("memory takes all that is written");
    }
    bytes
}

/// Reads what [`encode`] wrote.
///
/// # Errors
/// [`NoHistogram`] when the bytes are no V2 histogram, or one of another range.
pub fn decode(mut bytes: &[u8]) -> Result<Histogram<u64>, NoHistogram> {
    if bytes.is_empty() {
        return Ok(histogram());
    }
    let read: Histogram<u64> = Deserializer::new()
        .deserialize(&mut bytes)
        .map_err(|error| NoHistogram::Encoding(error.to_string()))?;
    let (lowest, highest, digits) = (read.low(), read.high(), read.sigfig());
    if (lowest, highest, digits) != (SHORTEST_US, LONGEST_US, SIGNIFICANT_DIGITS) {
        return Err(NoHistogram::OtherRange { lowest, highest, digits });
    }
    Ok(read)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn counted(latencies_us: &[u64]) -> Histogram<u64> {
        let mut histogram = histogram();
        latencies_us.iter().for_each(|us| histogram.saturating_record(*us));
        histogram
    }

    proptest! {
        #[test]
        fn figures_are_right_within_a_thousandth(mut latencies in prop::collection::vec(1u64..600_000_000, 1..300)) {
            let found = Latency::of(&counted(&latencies)).unwrap();
            latencies.sort_unstable();
            for (metric, share) in [(SloMetric::P50, 0.5), (SloMetric::P90, 0.9), (SloMetric::P95, 0.95), (SloMetric::P99, 0.99)] {
                let within = |rank: &usize| *rank as f64 >= share * latencies.len() as f64;
                let rank = (1..=latencies.len()).find(within).unwrap();
                let (exact, found) = (latencies[rank - 1] as f64, found.figure_us(metric) as f64);
                prop_assert!((found / exact - 1.0).abs() <= 0.001 || (found - exact).abs() <= 1.0, "{found} is not {exact}");
            }
        }

        #[test]
        fn histograms_come_back_whole(latencies in prop::collection::vec(any::<u64>(), 0..50)) {
            let histogram = counted(&latencies);
            prop_assert_eq!(decode(&encode(&histogram)).unwrap(), histogram);
        }

        #[test]
        fn arbitrary_bytes_are_refused_or_read_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            drop(decode(&bytes));
        }
    }

    #[test]
    fn without_latencies_there_are_no_figures_and_no_bytes() {
        assert_eq!(Latency::of(&histogram()), None);
        assert!(encode(&histogram()).is_empty());
    }

    #[test]
    fn histograms_of_another_range_are_refused() {
        let other = Histogram::<u64>::new_with_bounds(1, 1000, 2).unwrap();
        let mut bytes = Vec::new();
        V2Serializer::new().serialize(&other, &mut bytes).unwrap();
        assert!(matches!(decode(&bytes), Err(NoHistogram::OtherRange { digits: 2, .. })));
    }
}
