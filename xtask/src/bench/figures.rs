//! Medians of a few rounds, and how they are printed.

use anyhow::{Context, Result};
use serde_json::Value;

/// One figure, measured several times.
#[derive(Debug, Default, Clone)]
pub(crate) struct Figure {
    rounds: Vec<f64>,
}

impl Figure {
    pub(crate) fn add(&mut self, value: f64) {
        self.rounds.push(value);
    }

    /// One more round that may have said nothing.
    pub(crate) fn add_if_known(&mut self, value: Option<f64>) {
        self.rounds.extend(value);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rounds.is_empty()
    }

    /// Round by round against another figure: what a slow change of the machine does to both cancels out.
    pub(crate) fn ratio_to(&self, other: &Self) -> Self {
        self.rounds.iter().zip(&other.rounds).map(|(ours, theirs)| ours / theirs).collect()
    }

    /// Round by round, how much more than another figure.
    pub(crate) fn less(&self, other: &Self) -> Self {
        self.rounds.iter().zip(&other.rounds).map(|(ours, theirs)| ours - theirs).collect()
    }

    /// The middle one, or the mean of the middle two; 0 before the first round.
    pub(crate) fn median(&self) -> f64 {
        let mut sorted = self.rounds.clone();
        sorted.sort_by(f64::total_cmp);
        match (sorted.len(), sorted.len() / 2) {
            (0, _) => 0.0,
            (length, middle) if length % 2 == 1 => sorted[middle],
            (_, middle) => f64::midpoint(sorted[middle - 1], sorted[middle]),
        }
    }

    /// The mean of all rounds.
    pub(crate) fn mean(&self) -> f64 {
        self.rounds.iter().sum::<f64>() / self.rounds.len() as f64
    }

    /// The coefficient of variation in per cent: (sample) standard deviation ÷ mean.
    pub(crate) fn variation_percent(&self) -> f64 {
        let mean = self.mean();
        let squares: f64 = self.rounds.iter().map(|value| (value - mean).powi(2)).sum();
        let degrees_of_freedom = (self.rounds.len() as f64 - 1.0).max(1.0);
        (squares / degrees_of_freedom).sqrt() / mean * 100.0
    }

    /// The median with the least and the greatest round, each with that many decimals.
    pub(crate) fn shown(&self, decimals: usize) -> String {
        let least = self.rounds.iter().copied().fold(f64::INFINITY, f64::min);
        let greatest = self.rounds.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        format!("{:.decimals$} ({least:.decimals$}–{greatest:.decimals$})", self.median())
    }
}

impl FromIterator<f64> for Figure {
    fn from_iter<I: IntoIterator<Item = f64>>(rounds: I) -> Self {
        Self { rounds: rounds.into_iter().collect() }
    }
}

/// Whether a goal was reached, in words.
pub(crate) fn verdict(met: bool) -> &'static str {
    if met { "met" } else { "missed" }
}

/// The number at `pointer` of the JSON that a program printed.
pub(crate) fn number(json: &str, pointer: &str) -> Result<f64> {
    let value: Value =
        serde_json::from_str(json).with_context(|| format!("no JSON: {json:.200}"))?;
    number_in(&value, pointer)
}

/// The number at `pointer`.
pub(crate) fn number_in(value: &Value, pointer: &str) -> Result<f64> {
    let found = value.pointer(pointer).and_then(Value::as_f64);
    found.with_context(|| format!("no number at {pointer} in {:.200}", value.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_of_the_rounds() {
        assert!((Figure::from_iter([3.0, 1.0, 2.0]).median() - 2.0).abs() < 1e-12);
        assert!((Figure::from_iter([4.0, 1.0, 2.0, 3.0]).median() - 2.5).abs() < 1e-12);
        assert_eq!(Figure::from_iter([3.0, 1.0, 2.0]).shown(1), "2.0 (1.0–3.0)");
    }

    #[test]
    fn variation_is_the_sample_standard_deviation_as_a_share_of_the_mean() {
        let figure = Figure::from_iter([98.0, 100.0, 102.0]);
        assert!((figure.mean() - 100.0).abs() < 1e-12);
        assert!((figure.variation_percent() - 2.0).abs() < 1e-12);
        assert!(Figure::from_iter([100.0]).variation_percent().abs() < 1e-12);
    }

    #[test]
    fn a_missing_number_is_an_error_that_shows_the_json() {
        assert!((number("{\"a\": {\"b\": 2}}", "/a/b").unwrap() - 2.0).abs() < 1e-12);
        let error = number("{\"a\": null}", "/a").unwrap_err().to_string();
        assert!(error.contains("/a") && error.contains("null"), "{error}");
    }
}
