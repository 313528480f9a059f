//! How much a target that serves in batches could carry in the long run, by simulation.
//!
//! No formula knows the waiting time of such a queue, so one long Poisson stream is sent through it, the
//! same for every rate and pace: only the clock is stretched. The same stream also goes to one server of
//! equal services and of the same saturation, whose queue follows the same bursts and is known exactly:
//! what that one misses too often or too seldom is the stream's luck, and is taken off (a control
//! variate). What is left of it is told along with the rate.

use rand_chacha::{
    ChaCha8Rng,
    rand_core::{Rng, SeedableRng},
};

use super::{
    batching::{Batching, serve},
    deterministic_queue::share_waiting_longer,
    limit::Limit,
};
use crate::statistics::{mean, mean_interval};

/// Requests in the stream.
const REQUESTS: usize = 1 << 18;
/// The beginning of it, with which the root is first looked for.
const ROUGHLY: usize = REQUESTS / 4;
/// Services that are waited for at most, when the control is tuned.
const LONGEST_WAIT: f64 = 1e4;
/// Busier than this a queue does not settle within the stream.
const BUSIEST: f64 = 0.9995;
/// Parts of the stream whose misses are compared to tell its luck.
const PARTS: usize = 32;
/// How far to either side of a first guess the root is looked for, and then further.
const REACH: f64 = 0.02;
/// Guesses within the bracket. Batches group anew at every change of the rate, which moves the misses by a
/// per cent or so at random: then no guess is close for sure, and all are made.
const MOST_GUESSES: u32 = 6;
/// Misses this close to the budget, on the logarithm, are on it: less than a hundredth of a per cent of the
/// rate.
const CLOSE: f64 = 1e-3;

/// A stream that can be sent through any batching.
#[derive(Clone)]
pub(super) struct LongRun {
    /// Arrivals at one per unit of time.
    arrivals: Vec<f64>,
}

impl std::fmt::Debug for LongRun {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "LongRun of {} requests", self.arrivals.len())
    }
}

/// The rate at which a constraint is just met.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct LongRunRate {
    pub(super) rate: f64,
    /// Half-width of the 95 % interval of its logarithm, for the luck of the stream.
    pub(super) half_width: f64,
}

impl LongRun {
    pub(super) fn new(seed: u64) -> Self {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let mut at = 0.0;
        let arrivals = (0..REQUESTS)
            .map(|_| {
                let uniform = ((random.next_u64() >> 11) as f64 + 1.0) / (1_u64 << 53) as f64;
                at -= uniform.ln();
                at
            })
            .collect();
        Self { arrivals }
    }

    /// The largest rate per second at which at most the budget misses, when service takes `times` as
    /// long as `batching` says and every request `overhead_us` on top. `near`: what it may be about.
    pub(super) fn allowed(
        &self,
        batching: &Batching,
        times: f64,
        overhead_us: f64,
        limit: Limit,
        near: Option<f64>,
    ) -> LongRunRate {
        let batching = Batching {
            fixed_us: batching.fixed_us * times,
            per_request_us: batching.per_request_us * times,
            ..*batching
        };
        let within_us = limit.latency_us - overhead_us;
        if within_us < batching.service_us(1) {
            return LongRunRate { rate: 0.0, half_width: 0.0 };
        }
        let queue = Queue { arrivals: &self.arrivals, batching, within_us, budget: limit.budget };
        queue.root(near)
    }
}

/// The stream before one queue.
struct Queue<'a> {
    arrivals: &'a [f64],
    batching: Batching,
    within_us: f64,
    budget: f64,
}

/// A rate, and how many requests miss at it in each part of the stream.
struct Tried {
    rate: f64,
    misses: [u32; PARTS],
}

impl Queue<'_> {
    fn root(&self, near: Option<f64>) -> LongRunRate {
        let busiest = self.batching.saturation() * BUSIEST;
        let around = |rate: f64| (rate * (1.0 - REACH), (rate * (1.0 + REACH)).min(busiest));
        let (mut low, mut high) = around(near.unwrap_or_else(|| self.rough_root(busiest)));
        let (mut below, mut above) = (self.excess(low), self.excess(high));
        while below > 0.0 && low > busiest * 1e-3 {
            (high, above) = (low, below);
            low *= 1.0 - REACH;
            below = self.excess(low);
        }
        while above < 0.0 && high < busiest {
            (low, below) = (high, above);
            high = (high * (1.0 + REACH)).min(busiest);
            above = self.excess(high);
        }
        if below > 0.0 || above < 0.0 {
            let rate = if above < 0.0 { high } else { low };
            return LongRunRate { rate, half_width: REACH };
        }
        let slope = (above - below) / (high / low).ln();
        let settled = |mut tried: Tried, luck: f64| {
            for _ in 0..MOST_GUESSES {
                let found = self.excess_of(&tried) - luck;
                if found.abs() < CLOSE {
                    break;
                }
                tried = self.tried((tried.rate * (-found / slope).exp()).min(busiest));
            }
            tried
        };
        let on_budget = settled(self.tried(low * (-below / slope).exp()), 0.0);
        let (luck, half_width) = self.luck(&on_budget);
        LongRunRate { rate: settled(on_budget, luck).rate, half_width: half_width / slope }
    }

    fn rough_root(&self, busiest: f64) -> f64 {
        let rough = Queue { arrivals: &self.arrivals[..ROUGHLY], ..*self };
        let (mut low, mut high) = (0.0, busiest);
        for _ in 0..7 {
            let middle = f64::midpoint(low, high);
            *(if rough.excess(middle) <= 0.0 { &mut low } else { &mut high }) = middle;
        }
        f64::midpoint(low, high)
    }

    /// Sends the stream at a rate.
    fn tried(&self, rate: f64) -> Tried {
        let mut misses = [0; PARTS];
        let mut number = 0;
        self.serve(rate, |arrivals, missed| {
            if missed > 0 {
                misses[number * PARTS / self.arrivals.len()] += missed;
            }
            number += arrivals;
        });
        Tried { rate, misses }
    }

    fn excess(&self, rate: f64) -> f64 {
        self.excess_of(&self.tried(rate))
    }

    /// The logarithm of the misses over those allowed.
    fn excess_of(&self, tried: &Tried) -> f64 {
        let misses: u32 = tried.misses.iter().sum();
        let allowed = self.budget * self.arrivals.len() as f64;
        (f64::from(misses).max(0.5) / allowed).ln()
    }

    /// By how much the stream's luck raised the logarithm of its misses, and the half-width of what is
    /// not known about that.
    fn luck(&self, tried: &Tried) -> (f64, f64) {
        let late = tried.misses.map(f64::from);
        let (waits, expected) = self.control(tried.rate);
        let Some(usual) = mean(&late).filter(|usual| *usual > 0.0) else { return (0.0, REACH) };
        let relative: Vec<f64> = late.iter().map(|late| late / usual - 1.0).collect();
        let control: Vec<f64> = waits.iter().map(|waits| waits / expected - 1.0).collect();
        let middle = mean(&control).unwrap_or(0.0);
        let (mut both, mut squares) = (0.0, 0.0);
        for (late, waits) in relative.iter().zip(&control) {
            both += late * (waits - middle);
            squares += (waits - middle).powi(2);
        }
        let slope = if squares > 0.0 { both / squares } else { 0.0 };
        let left: Vec<f64> =
            relative.iter().zip(&control).map(|(late, waits)| late - slope * waits).collect();
        mean_interval(&left).map_or((0.0, REACH), |found| (slope * middle, found.half_width))
    }

    /// Requests per part that wait too long for one server of equal services, and how many there would
    /// be in the long run. It saturates where the batches do; too long is what the budget's share waits.
    fn control(&self, rate: f64) -> (Vec<f64>, f64) {
        let utilization = rate / self.batching.saturation();
        let (mut short, mut long) = (0.0, 1.0);
        let share = |wait| share_waiting_longer(1, utilization, wait);
        while share(long) > self.budget && long < LONGEST_WAIT {
            (short, long) = (long, long * 2.0);
        }
        for _ in 0..8 {
            let middle = f64::midpoint(short, long);
            *(if share(middle) > self.budget { &mut short } else { &mut long }) = middle;
        }
        let mut waits = vec![0.0; PARTS];
        let (mut free, limit) = (0.0_f64, long * utilization);
        for (number, at) in self.arrivals.iter().enumerate() {
            let start = free.max(*at);
            free = start + utilization;
            if start - at > limit {
                waits[number * PARTS / self.arrivals.len()] += 1.0;
            }
        }
        (waits, share(long) * self.arrivals.len() as f64 / PARTS as f64)
    }

    /// Tells of every batch how many requests it has and how many of them miss.
    fn serve(&self, rate: f64, mut late: impl FnMut(usize, u32)) {
        // Times are in mean gaps between arrivals, so the stream need not be stretched.
        let gaps_per_us = rate / 1e6;
        let batching = Batching {
            fixed_us: self.batching.fixed_us * gaps_per_us,
            per_request_us: self.batching.per_request_us * gaps_per_us,
            delay_us: self.batching.delay_us * gaps_per_us,
            ..self.batching
        };
        // Half a microsecond is what rounding of times makes of equality.
        let within = (self.within_us + 0.5) * gaps_per_us;
        let mut free_at = vec![f64::NEG_INFINITY; batching.workers];
        serve(
            &batching,
            self.arrivals,
            &mut free_at,
            f64::INFINITY,
            |_, requests| batching.service_us(requests),
            |arrivals, end| {
                let missed = arrivals.iter().take_while(|at| end - **at > within).count();
                late(arrivals.len(), u32::try_from(missed).unwrap_or(u32::MAX));
            },
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::search::deterministic_queue::largest_utilization;

    #[test]
    fn without_batches_the_rate_is_that_of_equal_services() {
        let long_run = LongRun::new(7);
        for (workers, limit) in [
            (1, Limit { latency_us: 50_000.0, budget: 0.05 }),
            (4, Limit { latency_us: 30_000.0, budget: 0.01 }),
        ] {
            let batching = Batching {
                workers,
                most: 1,
                fixed_us: 8_000.0,
                per_request_us: 2_000.0,
                delay_us: 0.0,
            };
            let found = long_run.allowed(&batching, 1.0, 1_000.0, limit, None);
            let wait = (limit.latency_us - 11_000.0) / 10_000.0;
            let exact = largest_utilization(workers, wait, limit.budget) * workers as f64 * 100.0;
            let error = (found.rate / exact).ln().abs();
            assert!(error < found.half_width.max(2e-4) * 1.5, "{found:?} is not {exact}");
            assert!(found.half_width < 0.01, "{found:?}");
        }
    }

    #[test]
    fn a_hint_changes_nothing_that_is_known_and_an_impossible_limit_allows_nothing() {
        let long_run = LongRun::new(8);
        let batching = Batching {
            workers: 2,
            most: 8,
            fixed_us: 8_000.0,
            per_request_us: 1_500.0,
            delay_us: 0.0,
        };
        let limit = Limit { latency_us: 60_000.0, budget: 0.05 };
        let found = long_run.allowed(&batching, 1.0, 0.0, limit, None);
        for hint in [0.5, 0.97, 1.04] {
            let hinted = long_run.allowed(&batching, 1.0, 0.0, limit, Some(hint * found.rate));
            let apart = (hinted.rate / found.rate).ln().abs();
            assert!(apart < found.half_width, "{hinted:?} is not {found:?}");
        }
        // By sixty simulations of a million requests each.
        assert!((found.rate / 759.77 - 1.0).abs() < 0.002, "{found:?}");
        assert!(found.half_width < 0.002, "{found:?}");
        let none = Limit { latency_us: 9_000.0, budget: 0.05 };
        assert!(long_run.allowed(&batching, 1.0, 0.0, none, None).rate <= 0.0);
    }
}
