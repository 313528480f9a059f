//! The exact waiting time behind one server of equal service times (A. K. Erlang, 1909):
//! `P(W ≤ t) = (1−ρ) Σ_{k=0}^{⌊t/D⌋} [λ(kD−t)]^k / k! · e^{−λ(kD−t)}`.
//!
//! The terms alternate and cancel, so the sum is taken with twice the digits of an `f64`. The search
//! itself uses another formula; that the two agree is what its tests rest on.

use std::ops::{Add, Mul};

/// A number as the unevaluated sum of two floats, about 32 digits (T. J. Dekker, Numerische
/// Mathematik 18, 1971).
#[derive(Clone, Copy, Debug)]
struct Wide {
    high: f64,
    low: f64,
}

impl Wide {
    fn of(value: f64) -> Self {
        Self { high: value, low: 0.0 }
    }

    fn exp(self) -> Self {
        // e^x = (e^{x/2^k})^{2^k}, with Taylor's series for the small argument.
        const HALVINGS: i32 = 6;
        let small = self * Self::of(0.5_f64.powi(HALVINGS));
        let (mut sum, mut term) = (Self::of(1.0), Self::of(1.0));
        for k in 1..32 {
            term = term * small * reciprocal(f64::from(k));
            sum = sum + term;
        }
        (0..HALVINGS).fold(sum, |power, _| power * power)
    }
}

fn reciprocal(value: f64) -> Wide {
    let high = 1.0 / value;
    Wide { high, low: high.mul_add(-value, 1.0) / value }
}

impl Add for Wide {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        let sum = self.high + other.high;
        let kept = sum - self.high;
        let lost = (self.high - (sum - kept)) + (other.high - kept) + self.low + other.low;
        let high = sum + lost;
        Self { high, low: lost - (high - sum) }
    }
}

impl Mul for Wide {
    type Output = Self;
    fn mul(self, other: Self) -> Self {
        let product = self.high * other.high;
        let lost = self.high.mul_add(other.high, -product)
            + (self.high * other.low + self.low * other.high);
        let high = product + lost;
        Self { high, low: lost - (high - product) }
    }
}

/// The share of requests that wait longer than `wait` service times at a utilization in (0, 1). Good to
/// many digits up to 25 service times; the terms outgrow even these digits far beyond.
#[must_use]
pub fn share_waiting_longer(utilization: f64, wait: f64) -> f64 {
    let mut sum = Wide::of(0.0);
    let mut k = 0.0;
    while k <= wait {
        let x = Wide::of(utilization) * (Wide::of(k) + Wide::of(-wait));
        let mut term = (x * Wide::of(-1.0)).exp();
        let mut factor = 1.0;
        while factor <= k {
            term = term * x * reciprocal(factor);
            factor += 1.0;
        }
        sum = sum + term;
        k += 1.0;
    }
    let served = sum * (Wide::of(1.0) + Wide::of(-utilization));
    1.0 - served.high - served.low
}

/// The largest rate per second at which at most `budget` of the requests take longer than
/// `latency_s`, for one server of `service_s`.
#[must_use]
pub fn capacity(service_s: f64, latency_s: f64, budget: f64) -> f64 {
    let wait = (latency_s - service_s) / service_s;
    let (mut low, mut high) = (0.001, 0.999);
    for _ in 0..50 {
        let middle = f64::midpoint(low, high);
        if share_waiting_longer(middle, wait) <= budget {
            low = middle;
        } else {
            high = middle;
        }
    }
    low / service_s
}
