//! Servers whose capacity is known, in simulated time.
//!
//! A server is `workers` that take up to `max_batch` queued requests at a time, first come, first
//! served; noise, throttling, contention and a noisy neighbour stretch the service times. Shared by
//! the tests of the search and by the example that prints its table.

use std::collections::VecDeque;

use assay_measure::search::Batch;
use rand_chacha::{
    ChaCha8Rng,
    rand_core::{Rng, SeedableRng},
};

mod driver;
mod known_servers;
mod truth;

#[allow(unused_imports, reason = "which of these are used differs from test to test")]
mod shared {
    pub(crate) use super::{
        driver::{Driver, Finished, drive, drive_with},
        known_servers::{held_out_servers, known_servers, uneven_batching_servers},
        truth::{Truth, miss_share, simulated_truth},
    };
}
#[allow(unused_imports, reason = "see above")]
pub(crate) use shared::*;

/// What a server is like.
#[derive(Clone, Debug)]
pub(crate) struct ServerKind {
    pub(crate) name: &'static str,
    pub(crate) constraint: &'static str,
    pub(crate) workers: usize,
    pub(crate) max_batch: usize,
    /// Service time of a batch of n: `fixed_s + n × per_request_s`.
    pub(crate) fixed_s: f64,
    pub(crate) per_request_s: f64,
    /// Coefficient of variation of lognormal noise on service times.
    pub(crate) noise: f64,
    /// Share of services that take four times as long.
    pub(crate) stragglers: f64,
    pub(crate) throttle: Option<Throttle>,
    /// Each other busy worker stretches service by this share.
    pub(crate) contention: f64,
    /// A neighbour stretches service by this share in 6 % of all seconds.
    pub(crate) neighbour: f64,
    /// Time on the wire, which keeps no worker busy.
    pub(crate) network_s: f64,
    /// Requests beyond so many in the queue are refused at once.
    pub(crate) queue_limit: Option<usize>,
    /// Requests that fail, in [0, 1].
    pub(crate) failing: f64,
    /// The load generator lags above this rate per second.
    pub(crate) generator_limit: Option<f64>,
}

/// Slows down as the running mean of utilization rises from `cool` to `hot`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Throttle {
    pub(crate) slowdown: f64,
    pub(crate) time_constant_s: f64,
    pub(crate) cool: f64,
    pub(crate) hot: f64,
}

impl ServerKind {
    /// One worker of 10 ms with nothing special about it.
    pub(crate) const fn plain(name: &'static str, constraint: &'static str) -> Self {
        Self {
            name,
            constraint,
            workers: 1,
            max_batch: 1,
            fixed_s: 0.010,
            per_request_s: 0.0,
            noise: 0.0,
            stragglers: 0.0,
            throttle: None,
            contention: 0.0,
            neighbour: 0.0,
            network_s: 0.0,
            queue_limit: None,
            failing: 0.0,
            generator_limit: None,
        }
    }

    /// Requests per second when all workers are busy with full batches.
    pub(crate) fn saturation(&self) -> f64 {
        let batch_s = self.fixed_s + self.per_request_s * self.max_batch as f64;
        let slowed = 1.0 + self.contention * (self.workers - 1) as f64;
        (self.workers * self.max_batch) as f64 / (batch_s * slowed)
    }
}

#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) kind: ServerKind,
    free_at: Vec<f64>,
    queue: VecDeque<(f64, usize)>,
    /// When request n is over, once that is decided.
    ended: Vec<Option<(f64, bool)>>,
    heat: (f64, f64),
    /// Batches begun and not handed out, when they are reported at all.
    batches: Option<Vec<Batch>>,
    random: ChaCha8Rng,
    /// Where on the neighbour's own clock the search begins.
    origin_s: f64,
}

impl Server {
    pub(crate) fn new(kind: ServerKind, seed: u64) -> Self {
        let mut random = ChaCha8Rng::seed_from_u64(seed ^ 0x5EED_0F5E_12E5);
        let origin_s = uniform(&mut random) * 1e7;
        Self {
            free_at: vec![0.0; kind.workers],
            queue: VecDeque::new(),
            ended: Vec::new(),
            heat: (0.0, 0.0),
            batches: None,
            random,
            origin_s,
            kind,
        }
    }

    /// The same server, telling of its batches.
    pub(crate) fn telling(kind: ServerKind, seed: u64) -> Self {
        Self { batches: Some(Vec::new()), ..Self::new(kind, seed) }
    }

    /// The batches begun by then that were not handed out before.
    fn batches_until(&mut self, until_us: u64) -> Vec<Batch> {
        let Some(batches) = &mut self.batches else { return Vec::new() };
        let (begun, later) =
            batches.drain(..).partition(|batch: &Batch| batch.started_us < until_us);
        *batches = later;
        begun
    }

    /// A request arrives; its number. Times must not go back.
    fn offer(&mut self, at_s: f64) -> usize {
        self.work_until(at_s);
        let number = self.ended.len();
        let is_refused = self.kind.queue_limit.is_some_and(|most| self.queue.len() >= most);
        let fails = is_refused
            || (self.kind.failing > 0.0 && uniform(&mut self.random) < self.kind.failing);
        self.ended.push(fails.then_some((at_s + 1e-4, false)));
        if !fails {
            self.queue.push_back((at_s, number));
        }
        number
    }

    fn next_start(&self) -> Option<(usize, f64)> {
        let (arrived, _) = self.queue.front()?;
        let (worker, free) = self.free_at.iter().enumerate().min_by(|a, b| a.1.total_cmp(b.1))?;
        Some((worker, free.max(*arrived)))
    }

    /// Begins every service that begins before `until_s`.
    fn work_until(&mut self, until_s: f64) {
        while let Some((worker, start)) = self.next_start().filter(|(_, start)| *start < until_s) {
            let mut batch = Vec::new();
            while batch.len() < self.kind.max_batch
                && self.queue.front().is_some_and(|(at, _)| *at <= start)
            {
                batch.extend(self.queue.pop_front());
            }
            let service_s = self.service_s(worker, start, batch.len());
            let end = start + service_s;
            self.free_at[worker] = end;
            if let (Some(told), Some((first, _))) = (&mut self.batches, batch.first()) {
                told.push(Batch {
                    started_us: whole((start * 1e6).round()),
                    requests: u32::try_from(batch.len()).expect("a batch is small"),
                    service_ns: whole((service_s * 1e9).round()),
                    waited_us: whole(((start - first) * 1e6).round()),
                });
            }
            for (_, number) in batch {
                self.ended[number] = Some((end + self.kind.network_s, true));
            }
        }
    }

    fn service_s(&mut self, worker: usize, start: f64, batch: usize) -> f64 {
        let mut service =
            (self.kind.fixed_s + self.kind.per_request_s * batch as f64) * self.noise();
        if let Some(throttle) = self.kind.throttle {
            if start > self.heat.1 {
                self.heat.0 *= (-(start - self.heat.1) / throttle.time_constant_s).exp();
                self.heat.1 = start;
            }
            let share =
                ((self.heat.0 - throttle.cool) / (throttle.hot - throttle.cool)).clamp(0.0, 1.0);
            service *= 1.0 + throttle.slowdown * share;
        }
        if self.kind.contention > 0.0 {
            let others = self
                .free_at
                .iter()
                .enumerate()
                .filter(|(k, free)| *k != worker && **free > start)
                .count();
            service *= 1.0 + self.kind.contention * others as f64;
        }
        if self.kind.neighbour > 0.0 && neighbour_is_loud(self.origin_s + start) {
            service *= 1.0 + self.kind.neighbour;
        }
        if let Some(throttle) = self.kind.throttle {
            self.heat.0 += service / throttle.time_constant_s / self.kind.workers as f64;
        }
        service
    }

    fn noise(&mut self) -> f64 {
        if self.kind.noise <= 0.0 {
            return 1.0;
        }
        let variance = (1.0 + self.kind.noise * self.kind.noise).ln();
        let factor = (variance.sqrt() * normal(&mut self.random) - variance / 2.0).exp();
        if self.kind.stragglers <= 0.0 {
            return factor;
        }
        let straggles = uniform(&mut self.random) < self.kind.stragglers;
        factor * if straggles { 4.0 } else { 1.0 } / (1.0 + 3.0 * self.kind.stragglers)
    }

    /// Works everything off; when the last of it is over.
    fn drain(&mut self) -> f64 {
        self.work_until(f64::INFINITY);
        self.free_at.iter().copied().fold(0.0, f64::max) + self.kind.network_s
    }
}

fn neighbour_is_loud(at_s: f64) -> bool {
    let second = whole(at_s);
    let mixed = second.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let mixed = (mixed ^ (mixed >> 32)).wrapping_mul(0xD6E8_FEB8_6659_FD93);
    (mixed >> 33) % 1000 < 60
}

fn uniform(random: &mut ChaCha8Rng) -> f64 {
    (random.next_u64() >> 11) as f64 / (1_u64 << 53) as f64
}

/// Box and Muller, the cosine only.
fn normal(random: &mut ChaCha8Rng) -> f64 {
    let radius = (-2.0 * (1.0 - uniform(random)).ln()).sqrt();
    radius * (std::f64::consts::TAU * uniform(random)).cos()
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "times are not negative, the cast saturates"
)]
fn whole(value: f64) -> u64 {
    value as u64
}
