//! Servers whose capacity is known, in simulated time, and a driver that puts a search before them.
//!
//! A server is `workers` that take up to `max_batch` queued requests at a time, first come, first
//! served; noise, throttling, contention and a noisy neighbour stretch the service times. Shared by
//! the tests of the search and by the example that prints its table.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, VecDeque},
    time::Duration,
};

use assay_measure::{
    schedule::{Arrivals, Load},
    search::{Next, Sample, Search, StepObservation, StepPlan, Verdict},
    units::Rate,
};
use rand_chacha::{
    ChaCha8Rng,
    rand_core::{Rng, SeedableRng},
};

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

/// The servers of the prototype's table, A to F.
pub(crate) fn known_servers() -> Vec<ServerKind> {
    let throttle = Throttle { slowdown: 0.20, time_constant_s: 40.0, cool: 0.55, hot: 0.80 };
    vec![
        ServerKind::plain("A  one worker, 10 ms", "p95<=50ms"),
        ServerKind {
            workers: 4,
            fixed_s: 0.020,
            ..ServerKind::plain("B  four workers, 20 ms", "p99<=60ms")
        },
        ServerKind {
            workers: 2,
            max_batch: 8,
            fixed_s: 0.008,
            per_request_s: 0.0015,
            ..ServerKind::plain("C  two workers, batches of 8", "p95<=60ms")
        },
        ServerKind {
            noise: 0.3,
            stragglers: 0.005,
            ..ServerKind::plain("D  noise and stragglers", "p95<=80ms")
        },
        ServerKind {
            throttle: Some(throttle),
            ..ServerKind::plain("E  throttles when hot", "p95<=50ms")
        },
        ServerKind {
            workers: 4,
            fixed_s: 0.020,
            noise: 0.1,
            contention: 0.10,
            neighbour: 0.30,
            ..ServerKind::plain("F  contention, noisy neighbour", "p99<=90ms")
        },
    ]
}

/// A server at work.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) kind: ServerKind,
    free_at: Vec<f64>,
    queue: VecDeque<(f64, usize)>,
    /// When request n is over, once that is decided.
    ended: Vec<Option<(f64, bool)>>,
    heat: (f64, f64),
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
            random,
            origin_s,
            kind,
        }
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
            let end = start + self.service_s(worker, start, batch.len());
            self.free_at[worker] = end;
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

/// What a whole search came to.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) end: Next,
    /// When the last load ended, from the beginning of the search.
    pub(crate) seconds: f64,
    pub(crate) steps: Vec<StepPlan>,
}

/// Performs steps on a server, one after the other, in simulated time.
#[derive(Debug)]
pub(crate) struct Driver {
    server: Server,
    /// Where the last step ended.
    ended_s: f64,
    /// Requests of the step after the one performed, when it was begun for it.
    ahead: Option<(u32, Vec<(f64, usize)>)>,
    /// When verdicts of the last step were in.
    now_s: f64,
}

impl Driver {
    pub(crate) fn new(server: Server) -> Self {
        Self { server, ended_s: 0.0, ahead: None, now_s: 0.0 }
    }

    /// Performs `step`; `following` is asked for already, and continues it.
    pub(crate) fn perform(
        &mut self,
        step: &StepPlan,
        following: Option<&StepPlan>,
    ) -> StepObservation {
        let begins_s = if step.continues {
            self.ended_s
        } else {
            self.server.drain().max(self.now_s).max(self.ended_s)
        };
        let ends_s = begins_s + step.duration.as_secs_f64();
        self.ended_s = ends_s;
        let (samples, now_s) = match &step.load {
            Load::Closed { users } => (self.closed(*users, begins_s, ends_s), ends_s),
            Load::Open { .. } | Load::Replay { .. } => {
                let verdicts_s = ends_s + step.verdict_after.as_secs_f64();
                (self.open(step, following, begins_s, verdicts_s), verdicts_s)
            }
        };
        self.now_s = self.now_s.max(now_s);
        StepObservation {
            index: step.index,
            started_us: micros(begins_s),
            elapsed_us: micros(ends_s) - micros(begins_s),
            generator_saturated: self.generator_lags(step, &samples),
            samples,
        }
    }

    fn generator_lags(&self, step: &StepPlan, samples: &[Sample]) -> bool {
        let rate = match &step.load {
            Load::Open { rate, .. } => rate.as_per_second(),
            Load::Closed { .. } | Load::Replay { .. } => {
                samples.len() as f64 / step.duration.as_secs_f64()
            }
        };
        self.server.kind.generator_limit.is_some_and(|most| rate > most)
    }

    fn closed(&mut self, users: u32, begins_s: f64, ends_s: f64) -> Vec<Sample> {
        let mut ready: BinaryHeap<Reverse<(u64, usize)>> =
            (0..users as usize).map(|u| Reverse((nanos(begins_s), u))).collect();
        let mut waiting: Vec<(usize, usize, f64)> = Vec::new();
        let mut samples = Vec::new();
        loop {
            let next_ready =
                ready.peek().map_or(f64::INFINITY, |Reverse((at, _))| *at as f64 / 1e9);
            let next_start = self.server.next_start().map_or(f64::INFINITY, |(_, start)| start);
            if next_ready.min(next_start) >= ends_s {
                break;
            }
            if next_start < next_ready {
                self.server.work_until(next_start.next_up());
            } else if let Some(Reverse((_, user))) = ready.pop() {
                waiting.push((self.server.offer(next_ready), user, next_ready));
            }
            let ended = &self.server.ended;
            waiting.retain(|(number, user, sent_s)| match ended[*number] {
                None => true,
                Some((at_s, answered)) => {
                    // Whoever is refused tries again a little later.
                    ready.push(Reverse((nanos(if answered { at_s } else { at_s + 1e-3 }), *user)));
                    if at_s <= ends_s {
                        samples.push(sample(*sent_s, at_s, answered));
                    }
                    false
                }
            });
        }
        samples.sort_by_key(|sample| sample.intended_us);
        samples
    }

    fn open(
        &mut self,
        step: &StepPlan,
        following: Option<&StepPlan>,
        begins_s: f64,
        verdicts_s: f64,
    ) -> Vec<Sample> {
        let sent = match self.ahead.take() {
            Some((index, sent)) if index == step.index => sent,
            _ => self.send(step, begins_s),
        };
        if let Some(next) = following.filter(|next| next.continues) {
            let requests = self.send(next, self.ended_s);
            self.ahead = Some((next.index, requests));
        }
        self.server.work_until(verdicts_s);
        sent.into_iter()
            .map(|(at_s, number)| {
                match self.server.ended[number].filter(|(ended_s, _)| *ended_s <= verdicts_s) {
                    Some((ended_s, answered)) => sample(at_s, ended_s, answered),
                    None => {
                        Sample { verdict: Verdict::Outstanding, ..sample(at_s, verdicts_s, true) }
                    }
                }
            })
            .collect()
    }

    fn send(&mut self, step: &StepPlan, begins_s: f64) -> Vec<(f64, usize)> {
        let offsets = step.load.send_times(step.duration).expect("open loop has send times");
        offsets
            .map(|offset_us| {
                let at_s = begins_s + offset_us as f64 / 1e6;
                (at_s, self.server.offer(at_s))
            })
            .collect()
    }
}

fn sample(sent_s: f64, ended_s: f64, answered: bool) -> Sample {
    let intended_us = micros(sent_s);
    Sample {
        intended_us,
        latency_us: micros(ended_s).saturating_sub(intended_us),
        verdict: if answered { Verdict::Answered } else { Verdict::Failed },
    }
}

fn micros(seconds: f64) -> u64 {
    whole((seconds * 1e6).round())
}

fn nanos(seconds: f64) -> u64 {
    whole((seconds * 1e9).round())
}

/// Drives a search to its end, asking ahead whenever it lets one.
pub(crate) fn drive(mut search: Search, server: Server) -> Finished {
    let mut driver = Driver::new(server);
    let mut in_flight: VecDeque<StepPlan> = VecDeque::new();
    let mut steps = Vec::new();
    loop {
        let next = search.next();
        match next {
            Next::Step(step) => {
                in_flight.push_back(step.clone());
                steps.push(step);
            }
            Next::Wait => {
                let step = in_flight.pop_front().expect("a search waits for steps in flight only");
                let observation = driver.perform(&step, in_flight.front());
                search.observe(&observation).expect("the step is in flight");
            }
            Next::Done(_) | Next::Failed(_) => {
                return Finished { end: next, seconds: driver.ended_s.max(driver.now_s), steps };
            }
        }
    }
}

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

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "times are not negative, the cast saturates"
)]
fn whole(value: f64) -> u64 {
    value as u64
}
