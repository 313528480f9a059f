//! Small statistics: spread, batch means, jackknife, Student's t, binomial tests.
//!
//! Every function is total: empty, infinite or NaN input gives `None` or a neutral value, never a
//! panic. What is computed here is what the search and the validity rules need, nothing more.

/// The arithmetic mean; `None` for no values.
#[must_use]
pub fn mean(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

/// The unbiased variance (divisor `n − 1`), by Welford's recurrence (Technometrics 4, 1962), which
/// does not cancel when the mean is large; `None` for fewer than two values.
#[must_use]
pub fn variance(values: &[f64]) -> Option<f64> {
    if values.len() < 2 {
        return None;
    }
    let (mut mean, mut squares) = (0.0, 0.0);
    for (seen, value) in values.iter().enumerate() {
        let before = value - mean;
        mean += before / (seen + 1) as f64;
        squares += before * (value - mean);
    }
    Some(squares / (values.len() - 1) as f64)
}

/// The middle value, or the mean of the two middle ones; `None` for no values. NaN sorts last.
#[must_use]
pub fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let upper = *sorted.get(sorted.len() / 2)?;
    if sorted.len() % 2 == 1 {
        return Some(upper);
    }
    Some(f64::midpoint(sorted[sorted.len() / 2 - 1], upper))
}

/// A mean with the half-width of its two-sided 95 % confidence interval.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MeanInterval {
    /// The mean.
    pub mean: f64,
    /// Half of the interval's width.
    pub half_width: f64,
}

/// The mean of independent values with Student's interval, `t(0.975, n−1) · s / √n`; `None` for
/// fewer than two values.
#[must_use]
pub fn mean_interval(values: &[f64]) -> Option<MeanInterval> {
    let spread = variance(values)?;
    let count = values.len() as f64;
    let half_width = student_t_quantile(0.975, count - 1.0) * (spread / count).sqrt();
    Some(MeanInterval { mean: mean(values)?, half_width })
}

/// The means of `batches` consecutive stretches of equal length (a rest shorter than one batch is
/// dropped from the front, where the warm-up is). Batch means of a correlated series are nearly
/// independent once batches are longer than the correlation (Law and Kelton, *Simulation Modeling
/// and Analysis*, section 9.5.3). Empty when there are fewer values than batches.
#[must_use]
pub fn batch_means(values: &[f64], batches: usize) -> Vec<f64> {
    let length = values.len().checked_div(batches).unwrap_or(0);
    if length == 0 {
        return Vec::new();
    }
    let skipped = values.len() - length * batches;
    values[skipped..].chunks_exact(length).filter_map(mean).collect()
}

/// The half-width of the 95 % interval of an estimate from its leave-one-group-out values:
/// `t(0.975, ν) · √((g−1)/g · Σ dᵢ²)` with `dᵢ = xᵢ − x̄` (Tukey 1958; Efron and Tibshirani, *An
/// Introduction to the Bootstrap*, eq. 11.5).
///
/// `ν` is `g − 1`, or less when a few groups make most of the spread: a variance estimated from
/// values of kurtosis `κ` is worth `2g / (κ − 1)` degrees of freedom (Satterthwaite, Biometrics
/// Bulletin 2, 1946, with the variance of a sample variance; `κ = 3` gives `g`). `None` for fewer
/// than two groups.
#[must_use]
pub fn jackknife_half_width(left_out: &[f64]) -> Option<f64> {
    let groups = left_out.len() as f64;
    let centre = mean(left_out)?;
    let standard_error = (groups - 1.0) / groups.sqrt() * variance(left_out)?.sqrt();
    if standard_error <= 0.0 {
        return Some(0.0);
    }
    let power =
        |exponent: i32| left_out.iter().map(|value| (value - centre).powi(exponent)).sum::<f64>();
    let kurtosis = groups * power(4) / power(2).powi(2);
    let worth = if kurtosis > 1.0 { 2.0 * groups / (kurtosis - 1.0) } else { groups };
    Some(student_t_quantile(0.975, worth.clamp(1.0, groups - 1.0)) * standard_error)
}

/// The natural logarithm of the gamma function for positive arguments: Stirling's series (DLMF
/// 5.11.1) after shifting the argument above 24 by the recurrence.
#[must_use]
pub fn ln_gamma(x: f64) -> f64 {
    let (mut shifted, mut correction) = (x, 0.0);
    while shifted < 24.0 {
        correction -= shifted.ln();
        shifted += 1.0;
    }
    let inverse = 1.0 / shifted;
    let square = inverse * inverse;
    let series =
        inverse * (1.0 / 12.0 - square * (1.0 / 360.0 - square * (1.0 / 1260.0 - square / 1680.0)));
    correction + (shifted - 0.5) * shifted.ln() - shifted
        + 0.5 * std::f64::consts::TAU.ln()
        + series
}

/// The regularized incomplete beta function `I_x(a, b)`: the continued fraction DLMF 8.17.22 by
/// Lentz's method, on the side where it converges fast.
#[must_use]
pub fn incomplete_beta(a: f64, b: f64, x: f64) -> f64 {
    if x.is_nan() || a.is_nan() || b.is_nan() || x <= 0.0 {
        return 0.0;
    }
    if x >= 1.0 {
        return 1.0;
    }
    if x > (a + 1.0) / (a + b + 2.0) {
        return 1.0 - incomplete_beta(b, a, 1.0 - x);
    }
    let front =
        (ln_gamma(a + b) - ln_gamma(a) - ln_gamma(b) + a * x.ln() + b * (-x).ln_1p()).exp() / a;
    front * beta_fraction(a, b, x)
}

fn beta_fraction(a: f64, b: f64, x: f64) -> f64 {
    const TINY: f64 = 1e-300;
    // A few dozen terms settle ordinary arguments; about √max(a, b) are needed for huge ones.
    const MOST_TERMS: u32 = 5000;
    let away_from_zero = |value: f64| if value.abs() < TINY { TINY } else { value };
    let (mut c, mut d) = (1.0, 1.0 / away_from_zero(1.0 - (a + b) * x / (a + 1.0)));
    let mut fraction = d;
    for term in 1..MOST_TERMS {
        let m = f64::from(term);
        let even = m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m));
        d = 1.0 / away_from_zero(1.0 + even * d);
        c = away_from_zero(1.0 + even / c);
        fraction *= c * d;
        let odd = -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0));
        d = 1.0 / away_from_zero(1.0 + odd * d);
        c = away_from_zero(1.0 + odd / c);
        let factor = c * d;
        fraction *= factor;
        if (factor - 1.0).abs() < 1e-15 {
            break;
        }
    }
    fraction
}

/// The quantile of Student's t distribution, `probability` in (0, 1), by bisection on
/// `P(T ≤ t) = 1 − I_{ν/(ν+t²)}(ν/2, 1/2) / 2` for `t ≥ 0` (Abramowitz and Stegun 26.7.1). Infinite for no degree of
/// freedom.
#[must_use]
pub fn student_t_quantile(probability: f64, degrees_of_freedom: f64) -> f64 {
    if degrees_of_freedom.is_nan() || degrees_of_freedom <= 0.0 {
        return f64::INFINITY;
    }
    if probability < 0.5 {
        return -student_t_quantile(1.0 - probability, degrees_of_freedom);
    }
    let below = |t: f64| {
        1.0 - 0.5
            * incomplete_beta(
                degrees_of_freedom / 2.0,
                0.5,
                degrees_of_freedom / (degrees_of_freedom + t * t),
            )
    };
    let mut high = 1.0;
    while below(high) < probability && high < 1e12 {
        high *= 2.0;
    }
    let mut low = 0.0;
    for _ in 0..80 {
        let middle = f64::midpoint(low, high);
        if below(middle) < probability {
            low = middle;
        } else {
            high = middle;
        }
    }
    f64::midpoint(low, high)
}

/// The probability of at least `successes` among `trials` when each succeeds with `share`
/// (`I_share(k, n − k + 1)`, DLMF 8.17.5).
#[must_use]
pub fn binomial_at_least(successes: u64, trials: u64, share: f64) -> f64 {
    if successes == 0 {
        return 1.0;
    }
    if successes > trials {
        return 0.0;
    }
    incomplete_beta(successes as f64, (trials - successes + 1) as f64, share)
}

/// Wilson's score interval for a share (Journal of the American Statistical Association 22, 1927),
/// at `deviates` standard normal deviates (1.96 for 95 %). The whole of [0, 1] for no trials.
#[must_use]
pub fn wilson_interval(successes: u64, trials: u64, deviates: f64) -> (f64, f64) {
    if trials == 0 {
        return (0.0, 1.0);
    }
    let (n, share, square) = (trials as f64, successes as f64 / trials as f64, deviates * deviates);
    let centre = (share + square / (2.0 * n)) / (1.0 + square / n);
    let reach = deviates / (1.0 + square / n)
        * (share * (1.0 - share) / n + square / (4.0 * n * n)).max(0.0).sqrt();
    ((centre - reach).max(0.0), (centre + reach).min(1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(found: f64, expected: f64, tolerance: f64) {
        assert!(
            (found - expected).abs() <= tolerance,
            "{found} is not {expected} within {tolerance}"
        );
    }

    #[test]
    fn students_quantiles_are_those_of_the_printed_tables() {
        // Abramowitz and Stegun, table 26.10, and the two-sided 95 % column of any textbook.
        for (freedom, expected) in [
            (1.0, 12.706_205),
            (4.0, 2.776_445),
            (9.0, 2.262_157),
            (19.0, 2.093_024),
            (1e6, 1.959_966),
        ] {
            close(student_t_quantile(0.975, freedom), expected, 2e-6);
            close(student_t_quantile(0.025, freedom), -expected, 2e-6);
        }
        close(student_t_quantile(0.99, 9.0), 2.821_438, 1e-6);
        assert!(student_t_quantile(0.975, 0.0).is_infinite());
    }

    #[test]
    fn gamma_and_beta_match_closed_forms() {
        close(ln_gamma(0.5), std::f64::consts::PI.sqrt().ln(), 1e-13);
        close(ln_gamma(11.0), 3_628_800.0_f64.ln(), 1e-12);
        // I_x(2, 3) = 6x² − 8x³ + 3x⁴.
        for x in [0.1, 0.5, 0.9] {
            close(
                incomplete_beta(2.0, 3.0, x),
                6.0 * x * x - 8.0 * x.powi(3) + 3.0 * x.powi(4),
                1e-13,
            );
        }
    }

    #[test]
    fn binomial_tails_are_sums_of_their_terms() {
        // P(X ≥ 2) for n = 3, p = 1/4 is 3·(1/16)·(3/4) + 1/64.
        close(binomial_at_least(2, 3, 0.25), 10.0 / 64.0, 1e-14);
        close(binomial_at_least(20, 20, 0.5), 0.5_f64.powi(20), 1e-18);
        close(binomial_at_least(0, 5, 0.1), 1.0, 0.0);
        close(binomial_at_least(6, 5, 0.1), 0.0, 0.0);
    }

    #[test]
    fn wilsons_interval_is_the_published_one() {
        // Newcombe (Statistics in Medicine 17, 1998), table I, method 3: 81 of 263 and 0 of 20.
        let (low, high) = wilson_interval(81, 263, 1.959_964);
        close(low, 0.2553, 5e-5);
        close(high, 0.3662, 5e-5);
        let (low, high) = wilson_interval(0, 20, 1.959_964);
        close(low, 0.0, 1e-15);
        close(high, 0.1611, 5e-5);
        assert_eq!(wilson_interval(0, 0, 1.96), (0.0, 1.0));
    }

    #[test]
    fn the_jackknife_of_a_mean_is_students_interval() {
        let values = [3.0, 5.0, 8.0, 1.0, 4.0];
        let left_out: Vec<f64> = (0..5).map(|skip| (21.0 - values[skip]) / 4.0).collect();
        close(
            jackknife_half_width(&left_out).unwrap(),
            mean_interval(&values).unwrap().half_width,
            1e-12,
        );
    }

    #[test]
    fn one_group_that_stands_out_costs_degrees_of_freedom() {
        let even = [1.0, -1.0, 1.0, -1.0, 1.0, -1.0, 1.0, -1.0, 1.0, -1.0];
        let lone = [3.162_278, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0];
        let width_per_error = |values: &[f64]| {
            jackknife_half_width(values).unwrap()
                / (9.0 / 10.0_f64.sqrt() * variance(values).unwrap().sqrt())
        };
        close(width_per_error(&even), student_t_quantile(0.975, 9.0), 1e-9);
        // κ = 10 · (0.9⁴ + 9 · 0.1⁴) / (0.9² + 9 · 0.1²)² = 8.111…
        close(width_per_error(&lone), student_t_quantile(0.975, 20.0 / (73.0 / 9.0 - 1.0)), 1e-6);
        assert_eq!(jackknife_half_width(&[2.0; 5]), Some(0.0));
    }

    #[test]
    fn batches_drop_the_front_and_keep_equal_lengths() {
        assert_eq!(batch_means(&[9.0, 1.0, 3.0, 5.0, 7.0], 2), vec![2.0, 6.0]);
        assert!(batch_means(&[1.0], 2).is_empty());
        assert!(batch_means(&[1.0], 0).is_empty());
    }

    #[test]
    fn spread_of_large_numbers_does_not_cancel() {
        close(variance(&[1e9 + 4.0, 1e9 + 7.0, 1e9 + 13.0, 1e9 + 16.0]).unwrap(), 30.0, 1e-6);
        assert_eq!(variance(&[1.0]), None);
        assert_eq!(median(&[5.0, 1.0, 3.0, 2.0]), Some(2.5));
        assert_eq!(median(&[]), None);
    }
}
