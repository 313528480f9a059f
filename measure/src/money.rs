//! Money as integers: a price is a whole number of pico-dollars (10⁻¹² USD) per hour.
//!
//! Costs are compared by cross-multiplying integers, never by dividing floats; `f64` appears only
//! in figures that are shown.

use std::{cmp::Ordering, fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use thiserror::Error;

const PICO_PER_USD: u64 = 1_000_000_000_000;

/// A price per hour, in pico-dollars. At most about 18 million dollars an hour.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PricePerHour(u64);

/// A text is not an amount in dollars.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{0:?} is not a price in dollars; write it like 0.204")]
pub struct NotAPrice(pub String);

impl PricePerHour {
    /// From whole pico-dollars.
    #[must_use]
    pub const fn from_pico_usd(pico: u64) -> Self {
        Self(pico)
    }

    /// The whole number of pico-dollars.
    #[must_use]
    pub const fn pico_usd(self) -> u64 {
        self.0
    }

    /// The price in dollars per hour, for showing and for derived figures.
    #[must_use]
    pub fn as_usd(self) -> f64 {
        // The nearest f64 to the decimal text: parsing rounds once, dividing would round twice.
        self.to_string().parse().unwrap_or(f64::NAN)
    }

    /// This price times a number of instances; `None` when it overflows.
    #[must_use]
    pub fn times(self, count: u32) -> Option<Self> {
        self.0.checked_mul(u64::from(count)).map(Self)
    }

    /// This price times a ratio given in per mille (1 200 is × 1.2), rounded half up.
    #[must_use]
    pub fn scaled_per_mille(self, per_mille: u32) -> Option<Self> {
        let scaled = (u128::from(self.0) * u128::from(per_mille) + 500) / 1000;
        u64::try_from(scaled).ok().map(Self)
    }
}

/// Cost per inference in dollars: `cost_per_hour / (60 × max invocations per minute)`.
///
/// Infinite when nothing could be invoked.
#[must_use]
pub fn cost_per_inference_usd(price: PricePerHour, max_invocations_per_min: f64) -> f64 {
    price.as_usd() / (60.0 * max_invocations_per_min)
}

/// Compares two costs per unit of work, `price / rate`, without dividing: `a/x < b/y ⇔ a·y < b·x`.
///
/// Rates are whole milli-invocations per minute. A rate of zero costs infinitely much.
#[must_use]
pub fn compare_cost(a: (PricePerHour, u64), b: (PricePerHour, u64)) -> Ordering {
    let left = u128::from(a.0.0) * u128::from(b.1);
    let right = u128::from(b.0.0) * u128::from(a.1);
    match (a.1, b.1) {
        (0, 0) => Ordering::Equal,
        (0, _) => Ordering::Greater,
        (_, 0) => Ordering::Less,
        (_, _) => left.cmp(&right),
    }
}

impl fmt::Display for PricePerHour {
    /// Dollars as a decimal without trailing zeros, no currency sign: `0.204`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, rest) = (self.0 / PICO_PER_USD, self.0 % PICO_PER_USD);
        if rest == 0 {
            return write!(f, "{whole}");
        }
        let digits = format!("{rest:012}");
        write!(f, "{whole}.{}", digits.trim_end_matches('0'))
    }
}

impl FromStr for PricePerHour {
    type Err = NotAPrice;
    fn from_str(text: &str) -> Result<Self, NotAPrice> {
        let bad = || NotAPrice(text.to_owned());
        let number = text.trim().trim_start_matches('$');
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        let all_digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
        if (whole.is_empty() && fraction.is_empty())
            || !all_digits(whole)
            || !all_digits(fraction)
            || fraction.len() > 12
        {
            return Err(bad());
        }
        let whole: u64 = if whole.is_empty() { 0 } else { whole.parse().map_err(|_| bad())? };
        let fraction: u64 = format!("{fraction:0<12}").parse().map_err(|_| bad())?;
        whole
            .checked_mul(PICO_PER_USD)
            .and_then(|pico| pico.checked_add(fraction))
            .map(Self)
            .ok_or_else(bad)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The three rows published with the page this project began from, as float32 widened to double.
    #[test]
    #[expect(
        clippy::float_cmp,
        clippy::cast_possible_truncation,
        reason = "golden to the last bit"
    )]
    fn the_three_published_rows_come_out_to_the_last_bit() {
        for (price, rate, expected) in [
            ("0.204", 648.0, 5.246_913_588_052_848e-6_f64),
            ("0.115", 655.0, 2.926_208_708_231_57e-6),
            ("0.115", 570.0, 3.362_573_124_832_124_4e-6),
        ] {
            let cost = cost_per_inference_usd(price.parse().unwrap(), rate);
            assert_eq!(f64::from(cost as f32), expected, "{price} at {rate}/min");
        }
    }

    #[test]
    fn prices_survive_text_and_refuse_nonsense() {
        for text in ["0.204", "18.8319875", "3", "0.000000000001"] {
            assert_eq!(text.parse::<PricePerHour>().unwrap().to_string(), text);
        }
        for bad in ["", ".", "-1", "1e3", "0.0000000000001", "NaN", "99999999999"] {
            assert!(bad.parse::<PricePerHour>().is_err(), "{bad:?} was accepted");
        }
    }

    #[test]
    fn costs_compare_without_dividing() {
        let price = |text: &str| text.parse::<PricePerHour>().unwrap();
        assert_eq!(compare_cost((price("0.2"), 1000), (price("0.1"), 400)), Ordering::Less);
        assert_eq!(compare_cost((price("0.2"), 1000), (price("0.1"), 500)), Ordering::Equal);
        assert_eq!(compare_cost((price("0.2"), 0), (price("9"), 1)), Ordering::Greater);
    }
}
