//! Whether the target's own speed moved during a run.
//!
//! Two witnesses: the latency of requests that found no queue, segment by segment, which is sensitive
//! and does not depend on bursts of arrivals; and the multiplier of the first half of the run against
//! the second, which also sees what only shows under load.

use crate::statistics::{batch_means, mean, mean_interval, student_t_quantile, variance};

/// A change below this is no drift however certain: it moves the answer by less than the interval.
const SMALLEST_PACE_CHANGE: f64 = 0.01;
/// One-sided confidence of Student's test, high because the test is repeated after every segment.
const CHANGE_CONFIDENCE: f64 = 0.9995;
/// The fewest segments that are compared, half against half.
const FEWEST_SEGMENTS: usize = 6;
/// A change of the multiplier below this is noise even in long runs.
const SMALLEST_MULTIPLIER_CHANGE: f64 = 0.02;
/// In half-widths of the whole run's inversion; the difference of two halves has a standard error of
/// about 0.9 half-widths.
const MULTIPLIER_HALF_WIDTHS: f64 = 2.5;
/// Episodes of misses that each half needs before its multiplier is compared.
pub(super) const FEWEST_EPISODES: u32 = 6;

/// The relative change of speed between the first and the second half, when it is beyond chance.
/// Negative is slower.
pub(super) fn of_pace(paces_us: &[f64]) -> Option<f64> {
    if paces_us.len() < FEWEST_SEGMENTS {
        return None;
    }
    let (before, after) = paces_us.split_at(paces_us.len() / 2);
    of_means(before, after, SMALLEST_PACE_CHANGE).map(|change| -change)
}

/// How far the mean of paces that wander slowly may be from where they are in the long run, as the
/// half-width of its logarithm: by quarters, since neighbouring segments are alike.
pub(super) fn wander(paces_us: &[f64]) -> Option<f64> {
    const QUARTERS: usize = 4;
    let found = mean_interval(&batch_means(paces_us, QUARTERS))?;
    let reach = found.half_width / found.mean;
    reach.is_finite().then_some(reach)
}

/// The relative change from some values to later ones, when it is beyond chance and larger than
/// `smallest`.
pub(super) fn of_means(before: &[f64], after: &[f64], smallest: f64) -> Option<f64> {
    let (first, second) = (mean(before)?, mean(after)?);
    // The spread within the parts, so that the drift itself does not count as noise; its trend within
    // a part does, which only makes the test slower to call.
    let standard_error =
        (variance(before)? / before.len() as f64 + variance(after)? / after.len() as f64).sqrt();
    let change = second / first - 1.0;
    let freedom = (before.len() + after.len()) as f64 - 2.0;
    let deviates = student_t_quantile(CHANGE_CONFIDENCE, freedom);
    let beyond_chance = (second - first).abs() > deviates * standard_error;
    (beyond_chance && change.is_finite() && change.abs() > smallest).then_some(change)
}

/// The same from the logarithms of the two halves' multipliers.
pub(super) fn of_multipliers(first: f64, second: f64, half_width: f64) -> Option<f64> {
    let change = second - first;
    let threshold = SMALLEST_MULTIPLIER_CHANGE.max(MULTIPLIER_HALF_WIDTHS * half_width);
    (change.abs() > threshold).then(|| (-change).exp_m1())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_steady_pace_is_no_drift_and_a_slowing_one_is() {
        assert_eq!(of_pace(&[100.0, 101.0, 99.0, 100.5, 99.5, 100.0, 101.0, 100.0]), None);
        let slower = of_pace(&[100.0, 100.1, 100.2, 100.1, 103.0, 103.1, 103.2, 103.1]).unwrap();
        assert!((-0.04..-0.02).contains(&slower), "{slower}");
        assert!(of_pace(&[104.0, 104.1, 104.0, 100.0, 100.1, 100.0]).unwrap() > 0.0);
    }

    #[test]
    fn few_or_broken_figures_are_no_drift() {
        assert_eq!(of_pace(&[1.0, 2.0]), None);
        assert_eq!(of_pace(&[f64::NAN; 8]), None);
        assert_eq!(of_pace(&[0.0; 8]), None);
        assert_eq!(of_multipliers(f64::NAN, 0.0, 0.01), None);
    }

    #[test]
    fn multipliers_must_differ_by_more_than_their_doubt() {
        assert_eq!(of_multipliers(0.0, 0.05, 0.03), None);
        assert!(of_multipliers(0.0, 0.05, 0.01).unwrap() < 0.0);
    }
}
