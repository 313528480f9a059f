//! Replaying the arrivals that were really sent through the model, and inverting for its multiplier.
//!
//! The misses of the target and of the model go up and down with the same bursts of arrivals. So the
//! multiplier at which the replay misses as often as the target did is known far better than any
//! share of misses. Replays are kept per multiplier and only carried on as segments arrive, so that
//! deciding costs little, however long the run.

use std::collections::BTreeMap;

use super::{
    Batch,
    batching::{BatchQueue, Batching},
    limit::Limit,
    queue_model::{GRID_REACH, QueueModel, multiplier},
};

/// The most arrivals kept for replay (4 bytes each). Beyond it, which takes minutes at tens of
/// thousands per second, the oldest segments no longer count.
const MOST_ARRIVALS: usize = 6_000_000;
/// Misses that a run without any stands for: between none and one.
const FEWEST_MISSES: f64 = 0.5;

/// One stretch of open loop as it was observed.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Segment {
    /// The step.
    pub(super) index: u32,
    /// The rate that was asked for, per second.
    pub(super) rate: f64,
    /// Nothing was outstanding when it began.
    pub(super) from_idle: bool,
    /// When it began, in microseconds since the search began.
    pub(super) started_us: u64,
    /// When it ended.
    pub(super) ended_us: u64,
    /// Intended send times, in microseconds since `started_us`, ascending.
    pub(super) arrivals_us: Vec<u32>,
    /// From there to the answer, in microseconds; infinite while there is none.
    pub(super) latencies_us: Vec<f32>,
    /// How many there are, also when they were dropped for want of room.
    pub(super) requests: u64,
    /// Misses per constraint.
    pub(super) misses: Vec<u32>,
    /// Separate episodes of misses of the constraint that has most.
    pub(super) episodes: u32,
    /// The pace of the target itself: latency of requests that found no queue, in microseconds, or the
    /// service of one request at a time as batches tell it.
    pub(super) pace_us: Option<f64>,
    /// Batches that began in it, as the target reported them.
    pub(super) batches: Vec<Batch>,
}

/// All segments of a run, and what the model makes of them.
#[derive(Debug)]
pub(super) struct Trace {
    limits: Vec<Limit>,
    segments: Vec<Segment>,
    /// Segments before this one were dropped for want of room.
    first_kept: usize,
    arrivals_kept: usize,
    replays: BTreeMap<i32, Replay>,
}

/// The model at one multiplier, having seen some of the segments.
#[derive(Debug)]
struct Replay {
    /// When each server is free again, used in turn: with equal service times that is first come,
    /// first served.
    free_at_us: Vec<f64>,
    next_server: usize,
    /// The same for a model that serves in batches.
    batches: BatchQueue,
    /// Misses per segment, one entry per constraint.
    misses: Vec<Vec<u32>>,
}

impl Trace {
    pub(super) fn new(limits: Vec<Limit>) -> Self {
        Self {
            limits,
            segments: Vec::new(),
            first_kept: 0,
            arrivals_kept: 0,
            replays: BTreeMap::new(),
        }
    }

    pub(super) fn limits(&self) -> &[Limit] {
        &self.limits
    }

    pub(super) fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// Segments before this one have lost their arrivals.
    pub(super) fn first_kept(&self) -> usize {
        self.first_kept
    }

    pub(super) fn push(&mut self, segment: Segment) {
        self.arrivals_kept += segment.arrivals_us.len();
        self.segments.push(segment);
        while self.arrivals_kept > MOST_ARRIVALS && self.first_kept + 1 < self.segments.len() {
            let oldest = &mut self.segments[self.first_kept].arrivals_us;
            self.arrivals_kept -= oldest.len();
            *oldest = Vec::new();
            self.first_kept += 1;
        }
    }

    /// Misses that the target had in these segments.
    pub(super) fn observed(&self, constraint: usize, included: &[usize]) -> u64 {
        included.iter().map(|at| u64::from(self.segments[*at].misses[constraint])).sum()
    }

    /// Misses that the model has in these segments at one multiplier of the grid.
    fn modelled(
        &mut self,
        model: &QueueModel,
        constraint: usize,
        included: &[usize],
        grid: i32,
    ) -> u64 {
        let replay = self.replays.entry(grid).or_insert_with(|| Replay::idle(model.servers));
        replay.catch_up(model, &self.limits, &self.segments, grid);
        included.iter().map(|at| u64::from(replay.misses[*at][constraint])).sum()
    }

    /// The position on the grid at which the model has so many misses of a constraint, between two
    /// multipliers by straight interpolation. The search begins at `from`, and ends at the ends of
    /// the grid.
    pub(super) fn invert(
        &mut self,
        model: &QueueModel,
        constraint: usize,
        included: &[usize],
        from: f64,
        misses: f64,
    ) -> f64 {
        let observed = misses.max(FEWEST_MISSES);
        #[expect(clippy::cast_possible_truncation, reason = "clamped to the grid")]
        let mut grid = from.floor().clamp(f64::from(-GRID_REACH), f64::from(GRID_REACH)) as i32;
        let mut missed = self.modelled(model, constraint, included, grid) as f64;
        while missed < observed && grid < GRID_REACH {
            grid += 1;
            missed = self.modelled(model, constraint, included, grid) as f64;
        }
        if missed < observed {
            return f64::from(GRID_REACH);
        }
        // Slower servers never miss less, so the crossing is found by walking down.
        while grid > -GRID_REACH {
            let below = self.modelled(model, constraint, included, grid - 1) as f64;
            if below < observed {
                return f64::from(grid - 1) + (observed - below) / (missed - below);
            }
            missed = below;
            grid -= 1;
        }
        f64::from(-GRID_REACH)
    }

    /// Misses that the model has in these segments at a position of the grid.
    pub(super) fn modelled_at(
        &mut self,
        model: &QueueModel,
        constraint: usize,
        included: &[usize],
        position: f64,
    ) -> f64 {
        let below = position.floor();
        #[expect(clippy::cast_possible_truncation, reason = "positions stay within the grid")]
        let grid = below as i32;
        let [low, high] =
            [grid, grid + 1].map(|grid| self.modelled(model, constraint, included, grid) as f64);
        low + (high - low) * (position - below)
    }

    /// Forgets all replays: the model is another one.
    pub(super) fn forget_replays(&mut self) {
        self.replays.clear();
    }

    /// Changes what segments say about the target's pace.
    pub(super) fn set_paces(&mut self, pace_us: impl Fn(&Segment) -> Option<f64>) {
        for segment in &mut self.segments {
            segment.pace_us = pace_us(segment);
        }
    }

    /// Forgets the replays far from `position`, which would otherwise be carried on for nothing.
    pub(super) fn settle_near(&mut self, position: f64) {
        const REACH: f64 = 15.0;
        self.replays.retain(|grid, _| (f64::from(*grid) - position).abs() <= REACH);
    }
}

impl Replay {
    fn idle(servers: usize) -> Self {
        Self {
            free_at_us: vec![0.0; servers.max(1)],
            next_server: 0,
            batches: BatchQueue::idle(servers),
            misses: Vec::new(),
        }
    }

    fn catch_up(&mut self, model: &QueueModel, limits: &[Limit], segments: &[Segment], grid: i32) {
        let service_us = model.service_us * multiplier(f64::from(grid));
        let waits_us: Vec<f64> =
            limits.iter().map(|limit| limit.latency_us - model.overhead_us - service_us).collect();
        for segment in &segments[self.misses.len()..] {
            if let Some(batching) = &model.batching {
                let times = multiplier(f64::from(grid));
                self.serve_in_batches(segment, batching, times, model.overhead_us, limits);
                continue;
            }
            if segment.from_idle {
                self.free_at_us.fill(0.0);
            }
            let mut misses = vec![0; waits_us.len()];
            if self.free_at_us.len() == 1 {
                self.serve_alone(segment, service_us, &waits_us, &mut misses);
            } else {
                self.serve(segment, service_us, &waits_us, &mut misses);
            }
            self.misses.push(misses);
        }
    }

    fn serve(&mut self, segment: &Segment, service_us: f64, waits_us: &[f64], misses: &mut [u32]) {
        let began_us = segment.started_us as f64;
        for offset in &segment.arrivals_us {
            let at = began_us + f64::from(*offset);
            let free_at = &mut self.free_at_us[self.next_server];
            let start = free_at.max(at);
            *free_at = start + service_us;
            self.next_server += 1;
            if self.next_server == self.free_at_us.len() {
                self.next_server = 0;
            }
            for (missed, most) in misses.iter_mut().zip(waits_us) {
                *missed += u32::from(start - at > *most);
            }
        }
    }

    /// The same in batches. What still waits at the end of a segment is served with the next one, and
    /// counted where it arrived.
    fn serve_in_batches(
        &mut self,
        segment: &Segment,
        batching: &Batching,
        times: f64,
        overhead_us: f64,
        limits: &[Limit],
    ) {
        let (began_us, ended_us) = (segment.started_us as f64, segment.ended_us as f64);
        let (mut before, mut within) = (vec![0; limits.len()], vec![0; limits.len()]);
        let mut count = |arrivals: &[f64], end: f64| {
            for (number, limit) in limits.iter().enumerate() {
                // Half a microsecond is what rounding of times makes of equality.
                let longest_us = limit.latency_us - overhead_us + 0.5;
                for at in arrivals.iter().take_while(|at| end - **at > longest_us) {
                    let misses = if *at < began_us { &mut before } else { &mut within };
                    misses[number] += 1;
                }
            }
        };
        let service_us = |_: f64, requests| batching.service_us(requests) * times;
        if segment.from_idle {
            self.batches.serve(batching, f64::INFINITY, service_us, &mut count);
            self.batches.reset();
        }
        for offset in &segment.arrivals_us {
            self.batches.arrive(began_us + f64::from(*offset));
        }
        self.batches.serve(batching, ended_us, service_us, &mut count);
        if let Some(last) = self.misses.last_mut() {
            last.iter_mut().zip(&before).for_each(|(misses, more)| *misses += more);
        }
        self.misses.push(within);
    }

    /// The same for one server, whose state stays in a register.
    fn serve_alone(
        &mut self,
        segment: &Segment,
        service_us: f64,
        waits_us: &[f64],
        misses: &mut [u32],
    ) {
        let began_us = segment.started_us as f64;
        let mut free_at = self.free_at_us[0];
        for offset in &segment.arrivals_us {
            let at = began_us + f64::from(*offset);
            let start = free_at.max(at);
            free_at = start + service_us;
            for (missed, most) in misses.iter_mut().zip(waits_us) {
                *missed += u32::from(start - at > *most);
            }
        }
        self.free_at_us[0] = free_at;
    }
}

#[cfg(test)]
mod tests;
