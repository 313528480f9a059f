//! What other arrivals would have met: the target's own course of service times, under fresh load.
//!
//! The misses of a run depend on the luck of its arrivals and on the services that the target happened
//! to take. Services are read off the answers ([`super::service_times`]); arrivals are known to be
//! Poisson. So the run is repeated with several independent streams of arrivals of any rate, each
//! request served as those were that came at about that moment. Averaged over streams, the luck of
//! arrivals is gone, and slow moments of the target keep their length and weight.
//!
//! That trusts the split into waiting and service, which is wrong for a target that serves in batches
//! or otherwise out of order; [`super::estimation`] compares it with what was observed. A target that
//! tells its batches needs no such split: how long each took in relation to its size is known.

use std::collections::BTreeMap;

use rand_chacha::{
    ChaCha8Rng,
    rand_core::{Rng, SeedableRng},
};

use super::{
    batching::{BatchQueue, Batching},
    limit::Limit,
    queue_model::{GRID_REACH, QueueModel, multiplier},
    replay::Segment,
    service_times::{Servers, ServiceReader},
};
use crate::schedule::derive_seed;

/// Separates these streams from all that are really sent.
const FRESH_LOAD: u64 = 0xF5E5;

/// Streams of arrivals: so many requests per second are looked at in all, but never fewer nor more
/// streams than this. A fast target sends enough for its luck to even out.
const REQUESTS_PER_S: f64 = 800.0;
const FEWEST_STREAMS: f64 = 2.0;
const MOST_STREAMS: f64 = 8.0;
/// Requests at the beginning of a segment that are looked at, so that deciding costs little.
const MOST_PER_SEGMENT: usize = 1_500;
/// The same for a target that tells its batches, which are looked at faster and come in larger numbers.
const MOST_PER_SEGMENT_IN_BATCHES: usize = 6_000;
const FEWEST_STREAMS_IN_BATCHES: u64 = 4;
/// Requests, or batches, that share their services: those that came one after the other.
const CHUNK: usize = 24;
/// Rates beyond the plateau by this factor overload the target, whatever the stream.
const TOP_RATE: f64 = 1.2;
/// Misses that none at all stands for: between none and one.
const FEWEST_MISSES: f64 = 0.5;
/// So many segments' worth of trust that the streams' luck is the same for target and model.
const TRUST_IN_MODEL: f64 = 1.0;

/// What a segment leaves for fresh load.
#[derive(Debug)]
struct ResampledSegment {
    from_idle: bool,
    lasted_us: f64,
    /// The part of it that is looked at.
    covered_us: f64,
    /// When the services were taken: the arrivals of requests, the beginnings of batches.
    taken_us: Vec<u32>,
    /// In microseconds; of batches in relation to what their sizes let expect.
    services: Vec<f32>,
    /// Per stream, the arrivals of the highest rate: when, and a number that is uniform in (0, 1].
    arriving: Vec<Vec<(f64, f64)>>,
    number: u64,
}

/// The run so far under fresh load.
#[derive(Debug)]
pub(super) struct ResampledArrivals {
    limits: Vec<Limit>,
    reader: ServiceReader,
    batching: Option<Batching>,
    seed: u64,
    streams: u64,
    top_rate: f64,
    resampled: Vec<ResampledSegment>,
    replays: BTreeMap<(usize, i32), Replay>,
    /// Per constraint, how much of the streams' luck with the model is luck with the target too.
    control_coefficients: Vec<f64>,
}

/// Fresh load of one rate.
#[derive(Debug)]
struct Replay {
    /// Of the highest rate.
    share: f64,
    limit: Limit,
    overhead_us: f64,
    contention: f64,
    service_us: f64,
    batching: Option<Batching>,
    /// The model's services in relation to those of the closed loop.
    times: f64,
    streams: Vec<Stream>,
    segments: Vec<Seen>,
}

#[derive(Debug)]
struct Stream {
    seed: u64,
    target: Servers,
    model: Servers,
    /// The same for a target that tells its batches.
    target_batches: BatchQueue,
    model_batches: BatchQueue,
}

/// What all streams together saw of a segment.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    requests: f64,
    misses: f64,
    modelled: f64,
}

impl ResampledArrivals {
    pub(super) fn new(limits: Vec<Limit>, model: &QueueModel, plateau: f64, seed: u64) -> Self {
        Self {
            control_coefficients: vec![1.0; limits.len()],
            limits,
            reader: ServiceReader::of(model),
            batching: model.batching,
            seed,
            streams: if model.batching.is_some() {
                streams(plateau).max(FEWEST_STREAMS_IN_BATCHES)
            } else {
                streams(plateau)
            },
            top_rate: plateau * TOP_RATE,
            resampled: Vec::new(),
            replays: BTreeMap::new(),
        }
    }

    pub(super) fn push(&mut self, segment: &Segment) {
        let lasted_us = segment.ended_us.saturating_sub(segment.started_us) as f64;
        let covered_us = |most: usize| {
            segment.arrivals_us.get(most).map_or(lasted_us, |at| f64::from(*at).min(lasted_us))
        };
        let (covered_us, taken_us, services) = if let Some(batching) = &self.batching {
            let (taken_us, services) = course_of_batches(segment, batching);
            (covered_us(MOST_PER_SEGMENT_IN_BATCHES), taken_us, services)
        } else {
            let mut services = self.reader.read(segment);
            let mut taken_us = segment.arrivals_us.clone();
            services.truncate(MOST_PER_SEGMENT);
            taken_us.truncate(MOST_PER_SEGMENT);
            (covered_us(MOST_PER_SEGMENT), taken_us, services)
        };
        let number = self.resampled.len() as u64;
        // Without services there is nothing that arrivals could meet.
        let until_us = if services.is_empty() { 0.0 } else { covered_us };
        let arriving = (0..self.streams)
            .map(|stream| {
                arrivals(self.top_rate, until_us, (stream_seed(self.seed, stream), number))
            })
            .collect();
        let from_idle = segment.from_idle;
        self.resampled.push(ResampledSegment {
            from_idle,
            lasted_us,
            covered_us,
            taken_us,
            services,
            arriving,
            number,
        });
    }

    /// The position on the model's grid whose rate constraint `number` allows, going by the segments
    /// included. The search begins at `from`.
    pub(super) fn invert(
        &mut self,
        model: &mut QueueModel,
        number: usize,
        included: &[usize],
        from: f64,
    ) -> f64 {
        let mut excess = |grid| self.excess(model, number, included, grid);
        #[expect(clippy::cast_possible_truncation, reason = "clamped to the grid")]
        let mut grid = from.floor().clamp(f64::from(-GRID_REACH), f64::from(GRID_REACH)) as i32;
        let mut here = excess(grid);
        // Further up the grid rates are lower, so fewer requests miss.
        while here > 0.0 {
            if grid == GRID_REACH {
                return f64::from(GRID_REACH);
            }
            grid += 1;
            here = excess(grid);
        }
        while grid > -GRID_REACH {
            let below = excess(grid - 1);
            if below > 0.0 {
                return f64::from(grid - 1) + below / (below - here);
            }
            here = below;
            grid -= 1;
        }
        f64::from(-GRID_REACH)
    }

    fn seen(&mut self, model: &mut QueueModel, number: usize, grid: i32) -> &[Seen] {
        let limit = self.limits[number];
        let rate = model.root_at(number, limit, grid);
        let share = (rate / self.top_rate).min(1.0);
        let seeds = (0..self.streams).map(|stream| stream_seed(self.seed, stream));
        let replay = self
            .replays
            .entry((number, grid))
            .or_insert_with(|| Replay::idle(model, limit, grid, share, seeds));
        for segment in &self.resampled[replay.segments.len()..] {
            replay.carry_on(segment);
        }
        &replay.segments
    }

    /// The logarithm of the misses at a rate over those allowed.
    fn excess(
        &mut self,
        model: &mut QueueModel,
        number: usize,
        included: &[usize],
        grid: i32,
    ) -> f64 {
        let (budget, share) = (self.limits[number].budget, self.control_coefficients[number]);
        let segments = self.seen(model, number, grid);
        let mut sum = Seen::default();
        for seen in included.iter().map(|at| segments[*at]) {
            sum.requests += seen.requests;
            sum.misses += seen.misses;
            sum.modelled += seen.modelled;
        }
        let allowed = share * sum.modelled + (1.0 - share) * budget * sum.requests;
        (sum.misses.max(FEWEST_MISSES) / allowed.max(FEWEST_MISSES)).ln()
    }

    /// Learns how much of the streams' luck with the model is luck with the target: the slope of the
    /// one's misses over the other's, segment by segment, at a position of the grid.
    pub(super) fn fit_control_coefficient(
        &mut self,
        model: &mut QueueModel,
        number: usize,
        included: &[usize],
        position: f64,
    ) {
        #[expect(clippy::cast_possible_truncation, reason = "positions stay within the grid")]
        let grid = position.round() as i32;
        let budget = self.limits[number].budget;
        let segments = self.seen(model, number, grid);
        let (mut together, mut squares) = (0.0, 0.0);
        for seen in included.iter().map(|at| segments[*at]) {
            let allowed = budget * seen.requests;
            together += (seen.modelled - allowed) * (seen.misses - allowed);
            squares += (seen.modelled - allowed).powi(2);
        }
        let trust = TRUST_IN_MODEL * squares / included.len().max(1) as f64;
        let slope = (together + trust) / (squares + trust);
        self.control_coefficients[number] =
            if slope.is_nan() { 1.0 } else { slope.clamp(0.0, 1.0) };
    }

    /// Forgets the replays far from `position`, which would otherwise be carried on for nothing.
    pub(super) fn settle_near(&mut self, position: f64) {
        const REACH: f64 = 10.0;
        self.replays.retain(|(_, grid), _| (f64::from(*grid) - position).abs() <= REACH);
    }
}

impl Replay {
    fn idle(
        model: &QueueModel,
        limit: Limit,
        grid: i32,
        share: f64,
        seeds: impl Iterator<Item = u64>,
    ) -> Self {
        let stream = |seed| Stream {
            seed,
            target: Servers::idle(model.servers),
            model: Servers::idle(model.servers),
            target_batches: BatchQueue::idle(model.servers),
            model_batches: BatchQueue::idle(model.servers),
        };
        Self {
            share,
            limit,
            overhead_us: model.overhead_us,
            contention: model.contention,
            service_us: model.service_us * multiplier(f64::from(grid)),
            batching: model.batching,
            times: multiplier(f64::from(grid)),
            streams: seeds.map(stream).collect(),
            segments: Vec::new(),
        }
    }

    fn carry_on(&mut self, segment: &ResampledSegment) {
        let seen = match self.batching {
            Some(batching) => self.serve_in_batches(segment, &batching),
            None => self.serve_in_turn(segment),
        };
        self.segments.push(seen);
    }

    fn serve_in_turn(&mut self, segment: &ResampledSegment) -> Seen {
        let mut seen = Seen::default();
        for (stream, arriving) in self.streams.iter_mut().zip(&segment.arriving) {
            if segment.from_idle {
                stream.target.reset();
                stream.model.reset();
            }
            let mut course = Course::of(segment);
            for (at, mark) in thinned(arriving, self.share) {
                let latency_us = |servers: &mut Servers, unhindered_us: f64, contention: f64| {
                    let start = servers.start(at);
                    let service_us = unhindered_us * servers.slowdown(start, contention);
                    servers.occupy(start + service_us);
                    start - at + service_us + self.overhead_us
                };
                let unhindered_us = course.service(at, || mark);
                let of_target = latency_us(&mut stream.target, unhindered_us, self.contention);
                let of_model = latency_us(&mut stream.model, self.service_us, 0.0);
                // Half a microsecond is what rounding of times makes of equality.
                let longest_us = self.limit.latency_us + 0.5;
                seen.requests += 1.0;
                seen.misses += f64::from(u8::from(of_target > longest_us));
                seen.modelled += f64::from(u8::from(of_model > longest_us));
            }
            stream.target.shift(-segment.lasted_us);
            stream.model.shift(-segment.lasted_us);
        }
        seen
    }

    /// What waits at the end is served, and counted, with the next segment.
    fn serve_in_batches(&mut self, segment: &ResampledSegment, batching: &Batching) -> Seen {
        let mut seen = Seen::default();
        let longest_us = self.limit.latency_us + 0.5 - self.overhead_us;
        let late = |arrivals: &[f64], end: f64| {
            arrivals.iter().take_while(|at| end - **at > longest_us).count() as f64
        };
        for (stream, arriving) in self.streams.iter_mut().zip(&segment.arriving) {
            if segment.from_idle {
                stream.target_batches.reset();
                stream.model_batches.reset();
            }
            for (at, _) in thinned(arriving, self.share) {
                stream.target_batches.arrive(at);
                stream.model_batches.arrive(at);
            }
            let mut course = Course::of(segment);
            let mut chunk = 0;
            // Where no batch was seen, nothing is known about what still waits.
            let is_blank = segment.services.is_empty();
            let until_us = if is_blank { f64::NEG_INFINITY } else { segment.covered_us };
            stream.target_batches.serve(
                batching,
                until_us,
                |start, requests| {
                    let ratio = course.service(start, || {
                        chunk += 1;
                        uniform_of(derive_seed(stream.seed, segment.number, chunk))
                    });
                    batching.service_us(requests) * ratio
                },
                |arrivals, end| {
                    seen.requests += arrivals.len() as f64;
                    seen.misses += late(arrivals, end);
                },
            );
            stream.model_batches.serve(
                batching,
                until_us,
                |_, requests| batching.service_us(requests) * self.times,
                |arrivals, end| seen.modelled += late(arrivals, end),
            );
            stream.target_batches.shift(-segment.lasted_us);
            stream.model_batches.shift(-segment.lasted_us);
        }
        seen
    }
}

/// Poisson arrivals of a segment, with a number for each by which lower rates are thinned.
fn arrivals(rate: f64, until_us: f64, (stream_seed, segment): (u64, u64)) -> Vec<(f64, f64)> {
    let mut random = ChaCha8Rng::seed_from_u64(derive_seed(stream_seed, 0, segment));
    let mean_gap_us = 1e6 / rate;
    let mut at = 0.0;
    std::iter::from_fn(|| {
        at -= mean_gap_us * uniform(&mut random).ln();
        (at < until_us).then(|| (at, uniform(&mut random)))
    })
    .collect()
}

/// A share of the arrivals: of one stream for all rates, so that neighbouring rates are alike. Each with
/// a number that is uniform in (0, 1) and its own.
fn thinned(arrivals: &[(f64, f64)], share: f64) -> impl Iterator<Item = (f64, f64)> {
    arrivals.iter().map(move |(at, mark)| (*at, mark / share)).filter(|(_, mark)| *mark < 1.0)
}

fn stream_seed(seed: u64, number: u64) -> u64 {
    derive_seed(seed, FRESH_LOAD, number)
}

/// When batches began, and how long they took in relation to what their sizes let expect.
fn course_of_batches(segment: &Segment, batching: &Batching) -> (Vec<u32>, Vec<f32>) {
    segment
        .batches
        .iter()
        .map(|batch| {
            let began_us = batch.started_us.saturating_sub(segment.started_us);
            #[expect(clippy::cast_possible_truncation, reason = "seven digits are enough")]
            let ratio = batching.service_ratio(batch) as f32;
            (u32::try_from(began_us).unwrap_or(u32::MAX), ratio)
        })
        .unzip()
}

/// The services of a segment, handed out about when they were taken.
struct Course<'a> {
    segment: &'a ResampledSegment,
    chunk: Option<usize>,
    next: usize,
}

impl<'a> Course<'a> {
    const fn of(segment: &'a ResampledSegment) -> Self {
        Self { segment, chunk: None, next: 0 }
    }

    /// The service of what arrives or begins at `at_us`; `lot` draws uniformly from [0, 1).
    ///
    /// A chunk of neighbours is handed out in turn from a place found by lot: none twice before all
    /// had their turn, so that a rare long service does not come in pairs.
    fn service(&mut self, at_us: f64, lot: impl FnOnce() -> f64) -> f64 {
        let services = &self.segment.services;
        let arrived = |chunk: usize| {
            self.segment.taken_us.get(chunk * CHUNK).is_some_and(|at| f64::from(*at) <= at_us)
        };
        let mut chunk = self.chunk.unwrap_or(0);
        while arrived(chunk + 1) {
            chunk += 1;
        }
        if self.chunk != Some(chunk) {
            self.chunk = Some(chunk);
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "within a chunk"
            )]
            let lot = (lot() * CHUNK as f64) as usize;
            self.next = lot;
        }
        let first = chunk * CHUNK;
        let length = CHUNK.min(services.len() - first);
        self.next += 1;
        f64::from(services[first + self.next % length])
    }
}

fn streams(plateau: f64) -> u64 {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped")]
    let streams = (REQUESTS_PER_S / plateau).clamp(FEWEST_STREAMS, MOST_STREAMS) as u64;
    streams
}

/// Uniform in (0, 1].
fn uniform(random: &mut ChaCha8Rng) -> f64 {
    uniform_of(random.next_u64())
}

fn uniform_of(bits: u64) -> f64 {
    ((bits >> 11) as f64 + 1.0) / (1_u64 << 53) as f64
}

#[cfg(test)]
mod tests;
