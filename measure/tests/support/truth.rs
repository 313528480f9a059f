//! The capacity of a simulated server, from long runs.

use std::time::Duration;

use assay_measure::{
    schedule::{Arrivals, Load},
    units::Rate,
};

use super::{Server, ServerKind};

/// The share of requests that take longer than the limit in a long run at a rate.
pub(crate) fn miss_share(
    kind: &ServerKind,
    rate: f64,
    limit: Duration,
    requests: usize,
    seed: u64,
) -> f64 {
    let mut server = Server::new(kind.clone(), seed);
    server.heat.0 = (rate / kind.saturation()).min(1.0);
    let load = Load::Open {
        rate: Rate::per_second(rate).expect("a rate"),
        arrivals: Arrivals::Poisson,
        seed: seed ^ 0xABCD,
    };
    let sent = load.send_times(Duration::from_secs(u64::MAX / 2_000_000)).expect("open loop");
    let arrivals: Vec<f64> = sent.take(requests).map(|at| at as f64 / 1e6).collect();
    for at in &arrivals {
        server.offer(*at);
    }
    server.drain();
    let warm = requests / 20;
    let late = arrivals
        .iter()
        .zip(&server.ended)
        .skip(warm)
        .filter(|(at, ended)| ended.is_none_or(|(end, _)| end - **at > limit.as_secs_f64() + 5e-7))
        .count();
    late as f64 / (requests - warm) as f64
}

/// The largest rate at which the constraint holds in steady state, by bisection over long runs; the
/// arrivals are the same at every rate, which keeps the search smooth.
pub(crate) fn simulated_truth(
    kind: &ServerKind,
    limit: Duration,
    budget: f64,
    requests: usize,
    seeds: u64,
) -> Truth {
    let root = |seed| {
        let (mut low, mut high) = (0.4 * kind.saturation(), kind.saturation());
        for _ in 0..12 {
            let middle = f64::midpoint(low, high);
            if miss_share(kind, middle, limit, requests, seed) <= budget {
                low = middle;
            } else {
                high = middle;
            }
        }
        f64::midpoint(low, high)
    };
    let roots: Vec<f64> = (0..seeds).map(|seed| root(90_001 + seed)).collect();
    let mean = roots.iter().sum::<f64>() / seeds as f64;
    let spread: f64 = roots.iter().map(|root| (root - mean).powi(2)).sum();
    Truth { rate: mean, standard_error: (spread / (seeds * (seeds - 1).max(1)) as f64).sqrt() }
}

/// A capacity, and how well it is known.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Truth {
    pub(crate) rate: f64,
    pub(crate) standard_error: f64,
}

impl Truth {
    /// Whether an interval holds it, as far as can be told.
    pub(crate) fn lies_within(self, low: f64, high: f64) -> bool {
        (low - 2.0 * self.standard_error..=high + 2.0 * self.standard_error).contains(&self.rate)
    }
}
