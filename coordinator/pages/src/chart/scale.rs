//! Axes as numbers: what a scale spans, where a value lies on it, and which round values have ticks.

use assay_measure::figures;

use super::{drawable, text};

/// What is nearer to zero than this is zero.
const SMALLEST: f64 = 1e-100;
/// The least space between two labels side by side.
const GAP: f64 = 10.0;
/// The least distance from label to label, one above the other.
const ROW: f64 = 18.0;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Linear,
    Log,
    /// Values are `-log10(1 - quantile)`: each nine of a percentile is as wide as the one before it.
    Nines,
}

/// The values that an axis spans; never empty, always finite.
#[derive(Debug, Clone, Copy)]
pub(super) struct Domain {
    kind: Kind,
    low: f64,
    high: f64,
}

/// A domain laid over pixels.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scale {
    domain: Domain,
    start: f64,
    end: f64,
}

/// A value with its label.
#[derive(Debug, Clone)]
pub(super) struct Tick {
    pub(super) value: f64,
    pub(super) label: String,
}

impl Domain {
    /// From one value to another, at least a little apart.
    pub(super) fn linear(low: f64, high: f64) -> Self {
        let least = low.abs().max(high.abs()) * 1e-3;
        let (low, high) = if high - low > least.max(SMALLEST) {
            (low, high)
        } else if least > SMALLEST {
            (low - 100.0 * least, high + 100.0 * least)
        } else {
            (0.0, 1.0)
        };
        Self { kind: Kind::Linear, low, high }
    }

    /// From zero to a little more than the largest of these values.
    pub(super) fn from_zero(values: impl Iterator<Item = f64>) -> Self {
        Self::linear(0.0, values.filter(|value| drawable(*value)).fold(0.0, f64::max) * 1.05)
    }

    /// A logarithmic axis around the values above zero.
    pub(super) fn log(values: impl Iterator<Item = f64>) -> Self {
        let positive = values.filter(|value| drawable(*value) && *value > SMALLEST);
        let logs = positive.map(f64::log10);
        let (low, high) = logs.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), log| {
            (low.min(log), high.max(log))
        });
        let (low, high) = if low <= high { (low, high) } else { (0.0, 0.0) };
        let pad = ((high - low) * 0.1).max(0.15);
        Self { kind: Kind::Log, low: 10f64.powf(low - pad), high: 10f64.powf(high + pad) }
    }

    /// A percentile axis from the least to so many nines.
    pub(super) fn nines(most: f64) -> Self {
        Self { kind: Kind::Nines, low: 0.0, high: most.clamp(0.5, 15.0) }
    }

    /// The scale whose low end is at the first pixel and whose high end is at the second.
    pub(super) fn over(self, start: f64, end: f64) -> Scale {
        Scale { domain: self, start, end }
    }

    /// Where a value lies between the ends, as a share; outside values lie at the nearer end.
    fn share(self, value: f64) -> f64 {
        let share = match self.kind {
            Kind::Linear | Kind::Nines => (value - self.low) / (self.high - self.low),
            Kind::Log if value > 0.0 => {
                (value.log10() - self.low.log10()) / (self.high.log10() - self.low.log10())
            }
            Kind::Log => 0.0,
        };
        if share.is_nan() { 0.0 } else { share.clamp(0.0, 1.0) }
    }

    /// The ticks of an axis from left to right.
    pub(super) fn ticks_across(self, length: f64) -> Vec<Tick> {
        self.ticks(length, 64.0, |one, other| {
            f64::midpoint(text::width(&one.label), text::width(&other.label)) + GAP
        })
    }

    /// The ticks of an axis from bottom to top.
    pub(super) fn ticks_down(self, length: f64) -> Vec<Tick> {
        self.ticks(length, 44.0, |_, _| ROW)
    }

    /// The densest of the round values that have this much space.
    fn ticks(self, length: f64, usual: f64, apart: impl Fn(&Tick, &Tick) -> f64) -> Vec<Tick> {
        let fits = |ticks: &[Tick]| {
            ticks.windows(2).all(|pair| {
                let distance = (self.share(pair[1].value) - self.share(pair[0].value)) * length;
                distance >= apart(&pair[0], &pair[1])
            })
        };
        match self.kind {
            Kind::Linear => self.linear_ticks(length / usual, fits),
            Kind::Log => self.log_ticks(length / usual, fits),
            Kind::Nines => self.nines_ticks(fits),
        }
    }

    /// Multiples of 1, 2 or 5 times a power of ten, about so many.
    fn linear_ticks(self, count: f64, fits: impl Fn(&[Tick]) -> bool) -> Vec<Tick> {
        let span = self.high - self.low;
        let rough = span / count.max(1.0);
        let mut power = floor_log(rough);
        loop {
            for factor in [1.0, 2.0, 5.0] {
                let step = factor * power_of_ten(power);
                if step < rough * 0.999 {
                    continue;
                }
                let ticks = self.multiples(step, power);
                if fits(&ticks) {
                    return ticks;
                }
            }
            power += 1;
        }
    }

    fn multiples(self, step: f64, power: i32) -> Vec<Tick> {
        let first = (self.low / step - 1e-9).ceil();
        let count = whole((self.high / step + 1e-9).floor() - first);
        let values = (0..=count).map(|index| (first + index as f64) * step);
        // Below the span's rounding a multiple may lie outside.
        values
            .filter(|value| *value <= self.high + step * 1e-6)
            .map(|value| Tick { value, label: figure(value, power) })
            .collect()
    }

    /// Decades with 2 and 5 between them, decades alone, or only some of them; even steps within a single decade.
    fn log_ticks(self, count: f64, fits: impl Fn(&[Tick]) -> bool) -> Vec<Tick> {
        let fine = self.decades(1, &[1.0, 2.0, 5.0]);
        if fine.len() < 3 {
            return self.linear_ticks(count.min(5.0), fits);
        }
        if fits(&fine) {
            return fine;
        }
        let mut every = 1;
        loop {
            let ticks = self.decades(every, &[1.0]);
            if fits(&ticks) {
                return ticks;
            }
            every += 1;
        }
    }

    fn decades(self, every: i32, factors: &[f64]) -> Vec<Tick> {
        let first = floor_log(self.low);
        let last = floor_log(self.high);
        (first..=last)
            .filter(|power| power.rem_euclid(every) == 0)
            .flat_map(|power| factors.iter().map(move |factor| (power, *factor)))
            .map(|(power, factor)| (power, factor * power_of_ten(power)))
            .filter(|(_, value)| (self.low..=self.high).contains(value))
            .map(|(power, value)| Tick { value, label: figure(value, power) })
            .collect()
    }

    /// 0 %, 50 %, 90 %, 99 %, 99.9 % and so on.
    fn nines_ticks(self, fits: impl Fn(&[Tick]) -> bool) -> Vec<Tick> {
        let most = whole(self.high + 1e-9);
        let nines = (1..=most).map(|count| {
            let label = match count {
                1 => "90 %".to_owned(),
                2 => "99 %".to_owned(),
                _ => format!("99.{} %", "9".repeat(count - 2)),
            };
            Tick { value: count as f64, label }
        });
        let half = Tick { value: 2f64.log10(), label: "50 %".to_owned() };
        let all: Vec<Tick> = std::iter::once(half).chain(nines).collect();
        for every in 1.. {
            let ticks: Vec<Tick> = all.iter().step_by(every).cloned().collect();
            if fits(&ticks) {
                return ticks;
            }
        }
        all
    }
}

impl Scale {
    /// Where a value lies, in pixels.
    pub(super) fn at(&self, value: f64) -> f64 {
        self.start + self.domain.share(value) * (self.end - self.start)
    }

    /// The value at the high end.
    pub(super) fn high(&self) -> f64 {
        self.domain.high
    }
}

/// A tick's value where the steps have this power of ten: `1 500`, `0.25`, `2×10⁹`.
fn figure(value: f64, power: i32) -> String {
    let magnitude = value.abs();
    if magnitude < power_of_ten(power) * 1e-6 {
        return "0".to_owned();
    }
    if magnitude >= 1e7 || power < -4 {
        let exponent = floor_log(magnitude);
        let mantissa = value / power_of_ten(exponent);
        let decimals = usize::try_from((exponent - power).min(6)).unwrap_or(0);
        let mantissa = format!("{mantissa:.decimals$}");
        let mantissa = match mantissa.split_once('.') {
            Some(_) => mantissa.trim_end_matches('0').trim_end_matches('.'),
            None => &mantissa,
        };
        let ten = format!("10{}", superscript(exponent));
        return match mantissa {
            "1" => ten,
            "-1" => format!("-{ten}"),
            _ => format!("{mantissa}×{ten}"),
        };
    }
    match usize::try_from(-power) {
        Ok(decimals) if decimals > 0 => format!("{value:.decimals$}"),
        Ok(_) | Err(_) => figures::grouped(value),
    }
}

fn superscript(exponent: i32) -> String {
    const DIGITS: [char; 10] = ['⁰', '¹', '²', '³', '⁴', '⁵', '⁶', '⁷', '⁸', '⁹'];
    exponent
        .to_string()
        .chars()
        .map(|character| {
            let digit = character.to_digit(10).and_then(|digit| usize::try_from(digit).ok());
            digit.map_or('⁻', |digit| DIGITS[digit])
        })
        .collect()
}

fn power_of_ten(power: i32) -> f64 {
    10f64.powi(power)
}

/// The power of ten at or below a value above zero.
#[expect(clippy::cast_possible_truncation, reason = "an exponent of a double has three digits")]
fn floor_log(value: f64) -> i32 {
    (value.log10() + 1e-9).floor() as i32
}

/// The whole part of a value as a count: zero below zero.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a cast from a double stops at the ends of the integer's range"
)]
pub(super) fn whole(value: f64) -> usize {
    value as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(ticks: &[Tick]) -> Vec<&str> {
        ticks.iter().map(|tick| tick.label.as_str()).collect()
    }

    #[test]
    fn linear_ticks_are_round() {
        let ticks = Domain::linear(0.0, 2400.0).ticks_across(600.0);
        assert_eq!(labels(&ticks), ["0", "500", "1 000", "1 500", "2 000"]);
        let ticks = Domain::linear(-4.0, 9.0).ticks_across(300.0);
        assert_eq!(labels(&ticks), ["0", "5"]);
        let ticks = Domain::linear(0.0, 0.7).ticks_down(300.0);
        assert_eq!(labels(&ticks), ["0", "0.2", "0.4", "0.6"]);
    }

    #[test]
    fn log_ticks_are_decades_with_two_and_five() {
        let ticks = Domain::log([4.0, 700.0].into_iter()).ticks_down(300.0);
        assert_eq!(labels(&ticks), ["5", "10", "20", "50", "100", "200", "500", "1 000"]);
        let ticks = Domain::log([1e-9, 1e9].into_iter()).ticks_across(300.0);
        assert!(labels(&ticks).contains(&"10⁻⁸"), "{ticks:?}");
        let ticks = Domain::log([46.0, 46.0].into_iter()).ticks_down(300.0);
        assert!(ticks.len() >= 3, "{ticks:?}");
    }

    #[test]
    fn percentile_ticks_have_one_nine_after_the_other() {
        let ticks = Domain::nines(4.2).ticks_across(600.0);
        assert_eq!(labels(&ticks), ["50 %", "90 %", "99 %", "99.9 %", "99.99 %"]);
    }

    #[test]
    fn a_value_outside_lies_at_the_nearer_end() {
        let scale = Domain::linear(0.0, 10.0).over(100.0, 0.0);
        let places = [scale.at(-5.0), scale.at(5.0), scale.at(50.0), scale.at(f64::NAN)];
        assert_eq!(places.map(whole), [100, 50, 0, 100]);
    }

    #[test]
    fn ticks_never_overlap_whatever_the_range() {
        for low in [-1e99, -1e9, -3.7, 0.0, 1e-9, 1e-3, 0.999, 7.0, 12_345.678, 1e9] {
            for span in [0.0, 1e-12, 1e-9, 1e-3, 0.5, 1.0, 33.3, 1e4, 1e9, 1e99] {
                for length in [40.0, 200.0, 1100.0] {
                    check(Domain::linear(low, low + span), length);
                    check(Domain::log([low, low + span].into_iter()), length);
                    check(Domain::nines(span), length);
                }
            }
        }
    }

    fn check(domain: Domain, length: f64) {
        let scale = domain.over(0.0, length);
        let across = domain.ticks_across(length);
        assert!(across.len() <= 60, "{domain:?}");
        for pair in across.windows(2) {
            let widths = f64::midpoint(text::width(&pair[0].label), text::width(&pair[1].label));
            assert!(scale.at(pair[1].value) - scale.at(pair[0].value) >= widths, "{domain:?}");
            assert_ne!(pair[0].label, pair[1].label, "{domain:?}");
        }
        for pair in domain.ticks_down(length).windows(2) {
            assert!(scale.at(pair[1].value) - scale.at(pair[0].value) >= ROW, "{domain:?}");
        }
    }
}
