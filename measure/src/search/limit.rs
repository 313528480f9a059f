//! A latency constraint in the search's units.

use crate::slo::Slo;

/// One latency constraint as the model sees it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Limit {
    /// A request that takes longer misses.
    pub(super) latency_us: f64,
    /// The share that may miss.
    pub(super) budget: f64,
}

impl Limit {
    pub(super) fn of(slo: &Slo) -> Self {
        Self { latency_us: slo.limit().as_secs_f64() * 1e6, budget: slo.miss_budget() }
    }
}
