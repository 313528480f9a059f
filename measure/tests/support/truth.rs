//! The capacity of a simulated server, from long runs.

use std::time::Duration;

use assay_measure::{
    schedule::{Arrivals, Load},
    statistics::variance,
    units::Rate,
};

use super::{Server, ServerKind};

/// Searches are given other seeds.
const FIRST_SEED: u64 = 490_001;

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

/// The largest rate at which the constraint holds in steady state: bisection with one seed finds about
/// where, and the misses of all seeds at two rates about there tell the rest. The arrivals are the same at
/// every rate, which keeps the search smooth.
pub(crate) fn simulated_truth(
    kind: &ServerKind,
    limit: Duration,
    budget: f64,
    requests: usize,
    seeds: u64,
) -> Truth {
    const APART: f64 = 0.01;
    let share = |rate: f64, seed: u64| miss_share(kind, rate, limit, requests, FIRST_SEED + seed);
    let (mut low, mut high) = (0.4 * kind.saturation(), kind.saturation());
    for _ in 0..8 {
        let middle = f64::midpoint(low, high);
        *(if share(middle, 0) <= budget { &mut low } else { &mut high }) = middle;
    }
    let (low, high) = (low * (1.0 - APART), high * (1.0 + APART));
    let shares: Vec<[f64; 2]> =
        (0..seeds).map(|seed| [share(low, seed), share(high, seed)]).collect();
    let root = |shares: &[[f64; 2]]| {
        let [below, above] = [0, 1]
            .map(|end| shares.iter().map(|both| both[end]).sum::<f64>() / shares.len() as f64);
        low * (high / low).powf((budget / below).ln() / (above / below).ln())
    };
    let each: Vec<f64> = shares.chunks(1).map(root).collect();
    Truth { rate: root(&shares), standard_error: standard_error(&each) }
}

fn standard_error(values: &[f64]) -> f64 {
    variance(values).map_or(0.0, |spread| (spread / values.len() as f64).sqrt())
}

/// A capacity, and how well it is known.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Truth {
    pub(crate) rate: f64,
    pub(crate) standard_error: f64,
}

impl Truth {
    /// Whether an interval holds it.
    pub(crate) fn lies_within(self, low: f64, high: f64) -> bool {
        (low..=high).contains(&self.rate)
    }

    /// Whether an interval may hold it, as far as can be told from a truth that is not known better.
    pub(crate) fn may_lie_within(self, low: f64, high: f64) -> bool {
        let doubt = 2.0 * self.standard_error;
        self.rate >= low - doubt && self.rate <= high + doubt
    }
}
