//! The fitted model of the target: first come, first served, by `c` servers of equal service time.
//!
//! Its one free parameter is a multiplier of the service time. [`super::replay`] finds the multiplier
//! that explains what was observed; this file turns a multiplier into the rate that a constraint
//! allows. Multipliers lie on a geometric grid, and what lies between is interpolated.

use std::collections::BTreeMap;

use super::{
    batching::Batching,
    deterministic_queue::{SMALLEST_UTILIZATION, largest_utilization},
    limit::Limit,
    long_run::{LongRun, LongRunRate},
};

/// The natural logarithm of the ratio of neighbouring multipliers. Interpolation over 1.5 % is wrong
/// by less than 0.01 %, far below any interval that a search can reach.
pub(super) const GRID_STEP: f64 = 0.015;
/// The grid reaches from 1/5 to 5: beyond that the staircase has told nothing about the target.
pub(super) const GRID_REACH: i32 = 107;
/// More servers than users would ever be tried with.
const MOST_SERVERS: f64 = 4096.0;

/// The multiplier at a position of the grid, which may be fractional.
pub(super) fn multiplier(position: f64) -> f64 {
    (position * GRID_STEP).exp()
}

/// First come, first served, by equal servers.
#[derive(Clone, Debug)]
pub(super) struct QueueModel {
    /// Requests served at once.
    pub(super) servers: usize,
    /// Service time at multiplier 1, in microseconds.
    pub(super) service_us: f64,
    /// Time that a request takes on top without occupying a server (network, parsing).
    pub(super) overhead_us: f64,
    /// By what share each other busy server stretches a service. Equal services leave it out; it shows
    /// where services are looked at one by one.
    pub(super) contention: f64,
    /// How the servers share services, where batches tell it. `service_us` is then that of a request
    /// alone.
    pub(super) batching: Option<Batching>,
    /// Answers for batches what a formula does for equal services.
    long_run: Option<LongRun>,
    /// Rates found so far, per constraint and grid position.
    roots: BTreeMap<(usize, i32), LongRunRate>,
}

impl QueueModel {
    /// From the closed loop: `plateau` answers per second at saturation, `unloaded_us` the median
    /// latency of a request that is alone. Little's law gives the number of servers.
    pub(super) fn fitted(plateau: f64, unloaded_us: f64) -> Self {
        Self::contending(plateau * unloaded_us / 1e6, 0.0, plateau, unloaded_us)
    }

    /// The same with servers that slow each other down, and whose number is known better.
    pub(super) fn contending(
        servers: f64,
        contention: f64,
        plateau: f64,
        unloaded_us: f64,
    ) -> Self {
        let plateau = plateau.max(1e-6);
        // `max` before `min` also turns NaN into one server.
        #[expect(clippy::manual_clamp, reason = "clamp keeps NaN")]
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "within 1..=4096"
        )]
        let servers = servers.round().max(1.0).min(MOST_SERVERS) as usize;
        let service_us = servers as f64 * 1e6 / plateau;
        Self {
            servers,
            service_us,
            overhead_us: (unloaded_us - service_us).max(0.0),
            contention,
            batching: None,
            long_run: None,
            roots: BTreeMap::new(),
        }
    }

    /// From batches, with the median latency of one request at a time; `seed` is that of the long run.
    pub(super) fn in_batches(batching: Batching, unloaded_us: f64, seed: u64) -> Self {
        let service_us = batching.service_us(1);
        Self {
            servers: batching.workers,
            service_us,
            overhead_us: (unloaded_us - service_us - batching.delay_us).max(0.0),
            contention: 0.0,
            batching: Some(batching),
            long_run: Some(LongRun::new(seed)),
            roots: BTreeMap::new(),
        }
    }

    /// The largest rate per second at which constraint `number` holds, at a position of the grid.
    pub(super) fn allowed_rate(&mut self, number: usize, limit: Limit, position: f64) -> f64 {
        let below = position.floor();
        #[expect(clippy::cast_possible_truncation, reason = "positions stay within the grid")]
        let grid = below as i32;
        let (low, high) =
            (self.root_at(number, limit, grid), self.root_at(number, limit, grid + 1));
        (low.ln() + (high.ln() - low.ln()) * (position - below)).exp()
    }

    /// What the servers can do at most, per second, at a position of the grid.
    pub(super) fn saturation(&self, position: f64) -> f64 {
        let at_pace_one = match &self.batching {
            Some(batching) => batching.saturation(),
            None => self.servers as f64 * 1e6 / self.service_us,
        };
        at_pace_one / multiplier(position)
    }

    /// The rate at which constraint `number` is just met at a point of the grid.
    pub(super) fn root_at(&mut self, number: usize, limit: Limit, grid: i32) -> f64 {
        if let Some(root) = self.roots.get(&(number, grid)) {
            return root.rate;
        }
        let least = SMALLEST_UTILIZATION * self.saturation(f64::from(grid));
        let mut root = self.exact_root(number, limit, grid);
        root.rate = root.rate.max(least);
        self.roots.insert((number, grid), root);
        root.rate
    }

    /// By how much the logarithm of the rate allowed rises with that of the share that may miss. Batches,
    /// which are known one by one, leave no such doubt.
    pub(super) fn rate_per_miss(&self, limit: Limit, position: f64) -> f64 {
        const FACTOR: f64 = 1.25;
        if self.batching.is_some() {
            return 0.0;
        }
        let [more, less] = [limit.budget * FACTOR, limit.budget / FACTOR]
            .map(|budget| self.equal_servers_root(Limit { budget, ..limit }, position));
        (more / less).ln() / (2.0 * FACTOR.ln())
    }

    /// How well the rates about a position are known, as the half-width of their logarithm.
    pub(super) fn root_half_width(&self, number: usize, position: f64) -> f64 {
        #[expect(clippy::cast_possible_truncation, reason = "positions stay within the grid")]
        let grid = position.floor() as i32;
        self.roots.get(&(number, grid)).map_or(0.0, |root| root.half_width)
    }

    fn exact_root(&self, number: usize, limit: Limit, grid: i32) -> LongRunRate {
        let times = multiplier(f64::from(grid));
        if let (Some(batching), Some(long_run)) = (&self.batching, &self.long_run) {
            let neighbour = |other: i32| {
                let root = self.roots.get(&(number, other))?;
                Some(root.rate * multiplier(f64::from(other - grid)))
            };
            let near = neighbour(grid - 1).or_else(|| neighbour(grid + 1));
            return long_run.allowed(batching, times, self.overhead_us, limit, near);
        }
        LongRunRate { rate: self.equal_servers_root(limit, f64::from(grid)), half_width: 0.0 }
    }

    fn equal_servers_root(&self, limit: Limit, position: f64) -> f64 {
        let service = self.service_us * multiplier(position);
        let wait = (limit.latency_us - self.overhead_us - service) / service;
        largest_utilization(self.servers, wait, limit.budget) * self.saturation(position)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const P95_50MS: Limit = Limit { latency_us: 50_000.0, budget: 0.05 };

    #[test]
    fn littles_law_tells_the_servers_apart() {
        let single = QueueModel::fitted(100.0, 10_000.0);
        assert_eq!((single.servers, single.service_us), (1, 10_000.0));
        let four = QueueModel::fitted(200.0, 20_000.0);
        assert_eq!((four.servers, four.service_us), (4, 20_000.0));
        let distant = QueueModel::fitted(100.0, 12_000.0);
        assert_eq!((distant.servers, distant.overhead_us), (1, 2_000.0));
    }

    #[test]
    fn the_rate_falls_as_service_gets_slower() {
        let mut model = QueueModel::fitted(100.0, 10_000.0);
        assert!((model.allowed_rate(0, P95_50MS, 0.0) - 69.377).abs() < 1e-3);
        let rates: Vec<f64> =
            (-20..120).map(|k| model.allowed_rate(0, P95_50MS, f64::from(k) + 0.3)).collect();
        assert!(rates.is_sorted_by(|before, after| before >= after), "{rates:?}");
        assert!(rates.iter().all(|rate| rate.is_finite() && *rate > 0.0));
    }

    #[test]
    fn more_misses_allow_a_higher_rate() {
        let model = QueueModel::fitted(100.0, 10_000.0);
        let per_miss = model.rate_per_miss(P95_50MS, 0.0);
        let root = |budget| model.equal_servers_root(Limit { budget, ..P95_50MS }, 0.0);
        assert!((root(0.055) / root(0.05) - 1.1_f64.powf(per_miss)).abs() < 1e-3, "{per_miss}");
        assert!(per_miss > 0.1);
    }

    #[test]
    fn nonsense_from_the_staircase_gives_a_usable_model() {
        for (plateau, lone) in [(0.0, 0.0), (1e9, 1e12), (f64::NAN, 5.0), (5.0, f64::NAN)] {
            let mut model = QueueModel::fitted(plateau, lone);
            assert!(model.allowed_rate(0, P95_50MS, 0.0).is_finite());
        }
    }
}
