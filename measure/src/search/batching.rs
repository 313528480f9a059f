//! Servers that take several waiting requests at a time, as their own reports of batches show them.
//!
//! A batch of `n` takes `a + b·n`; a free worker takes what waits, up to the largest batch, and may wait
//! a moment for more. All of it is read off the batches, nothing is taken from a configuration: what a
//! target does counts, not what it was told. From the answers alone such a target cannot be understood,
//! since its requests do not begin in the order and at the times that a plain queue would give them.

use std::collections::BTreeMap;

use super::Batch;
use crate::statistics::{mean, median};

/// Fewer batches of more than one request are chance meetings, not batching.
const FEWEST_BATCHES: u64 = 5;

/// Workers, their batches, and how long these take.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Batching {
    /// Batches served at once.
    pub(super) workers: usize,
    /// Requests in the largest batch.
    pub(super) most: usize,
    /// What a batch takes whatever its size, in microseconds.
    pub(super) fixed_us: f64,
    /// What each of its requests adds.
    pub(super) per_request_us: f64,
    /// How long a worker waits for more, counted from the arrival of the batch's first request.
    pub(super) delay_us: f64,
}

impl Batching {
    /// Service time of a batch of `requests`.
    pub(super) fn service_us(&self, requests: usize) -> f64 {
        self.fixed_us + self.per_request_us * requests as f64
    }

    /// Requests per second of workers that are always busy with the largest batch.
    pub(super) fn saturation(&self) -> f64 {
        (self.workers * self.most) as f64 * 1e6 / self.service_us(self.most)
    }

    /// How long a batch took in relation to what its size lets expect.
    pub(super) fn service_ratio(&self, batch: &Batch) -> f64 {
        let requests = usize::try_from(batch.requests).unwrap_or(usize::MAX);
        batch.service_us() / self.service_us(requests)
    }

    /// The mean of that over a step: the pace of the target itself, whatever the sizes of its batches.
    pub(super) fn pace_us(&self, batches: &[Batch]) -> Option<f64> {
        let ratios: Vec<f64> = batches.iter().map(|batch| self.service_ratio(batch)).collect();
        mean(&ratios).map(|ratio| ratio * self.service_us(1))
    }
}

/// What batches have shown so far.
#[derive(Clone, Debug, Default)]
pub(super) struct BatchesSeen {
    workers: usize,
    largest: u32,
    /// Batches of more than one request.
    shared: u64,
    /// Number and summed service time in microseconds, by size.
    by_size: BTreeMap<u32, (u64, f64)>,
    lone_waits_us: Vec<f64>,
}

impl BatchesSeen {
    /// Takes the batches of a step; `is_single_user`: of a single user.
    pub(super) fn add(&mut self, batches: &[Batch], is_single_user: bool) {
        self.workers = self.workers.max(busiest(batches));
        for batch in batches.iter().filter(|batch| batch.requests > 0) {
            self.largest = self.largest.max(batch.requests);
            self.shared += u64::from(batch.requests > 1);
            let (count, sum_us) = self.by_size.entry(batch.requests).or_default();
            *count += 1;
            *sum_us += batch.service_us();
        }
        if is_single_user {
            self.lone_waits_us.extend(batches.iter().map(|batch| batch.waited_us as f64));
        }
    }

    /// The batching seen, if batches of more than one request were.
    pub(super) fn batching(&self) -> Option<Batching> {
        if self.shared < FEWEST_BATCHES {
            return None;
        }
        let (fixed_us, per_request_us) = self.line()?;
        Some(Batching {
            workers: self.workers.max(1),
            most: usize::try_from(self.largest).ok()?,
            fixed_us,
            per_request_us,
            delay_us: median(&self.lone_waits_us).unwrap_or(0.0),
        })
    }

    /// The same with the times of later batches, if these are of several sizes: what a target takes at
    /// the load that matters counts, not what it took alone or saturated.
    pub(super) fn retime(&mut self, batches: &[Batch]) {
        let mut later = Self::default();
        later.add(batches, false);
        self.workers = self.workers.max(later.workers);
        self.largest = self.largest.max(later.largest);
        self.shared += later.shared;
        if later.by_size.len() > 1 {
            self.by_size = later.by_size;
        }
    }

    /// Whether later batches were larger, or more of them in service at once, than any before.
    pub(super) fn outgrown_by(&mut self, batches: &[Batch]) -> bool {
        let (workers, largest) = (self.workers, self.largest);
        self.workers = workers.max(busiest(batches));
        self.largest = batches.iter().map(|batch| batch.requests).fold(largest, u32::max);
        self.workers > workers || self.largest > largest
    }

    /// Fixed part and slope by least squares; neither is negative.
    fn line(&self) -> Option<(f64, f64)> {
        let (mut count, mut size, mut time, mut sizes, mut both) = (0.0, 0.0, 0.0, 0.0, 0.0);
        for (requests, (batches, sum_us)) in &self.by_size {
            let (n, batches) = (f64::from(*requests), *batches as f64);
            count += batches;
            size += n * batches;
            sizes += n * n * batches;
            time += sum_us;
            both += n * sum_us;
        }
        let spread = sizes - size * size / count;
        let slope = if spread > 0.0 { (both - size * time / count) / spread } else { 0.0 };
        let fixed = (time - slope * size) / count;
        let line = if slope < 0.0 {
            (time / count, 0.0)
        } else if fixed < 0.0 {
            (0.0, both / sizes)
        } else {
            (fixed, slope)
        };
        (line.0 + line.1 > 0.0 && (line.0 + line.1).is_finite()).then_some(line)
    }
}

/// The most batches in service at one moment.
fn busiest(batches: &[Batch]) -> usize {
    let mut changes: Vec<(u64, bool)> = batches
        .iter()
        .flat_map(|batch| {
            let started_ns = batch.started_us.saturating_mul(1000);
            // A start is known to the microsecond, so an end within one is no overlap.
            let ended_ns = started_ns.saturating_add(batch.service_ns.saturating_sub(1000));
            [(started_ns, true), (ended_ns, false)]
        })
        .collect();
    // An end comes before a start of the same moment.
    changes.sort_unstable();
    let (mut now, mut most) = (0_usize, 0);
    for (_, begins) in changes {
        now = if begins { now + 1 } else { now.saturating_sub(1) };
        most = most.max(now);
    }
    most
}

/// Workers and what waits for them, in microseconds from any origin.
#[derive(Clone, Debug)]
pub(super) struct BatchQueue {
    free_at_us: Vec<f64>,
    waiting_us: Vec<f64>,
}

impl BatchQueue {
    pub(super) fn idle(workers: usize) -> Self {
        Self { free_at_us: vec![f64::NEG_INFINITY; workers.max(1)], waiting_us: Vec::new() }
    }

    /// A request arrives, not before those that are waiting.
    pub(super) fn arrive(&mut self, at_us: f64) {
        self.waiting_us.push(at_us);
    }

    /// Serves every batch that begins before `until_us`: `service_us` says how long one takes, from its
    /// beginning and its size, and `ended` is told its arrivals and its end.
    pub(super) fn serve(
        &mut self,
        batching: &Batching,
        until_us: f64,
        service_us: impl FnMut(f64, usize) -> f64,
        ended: impl FnMut(&[f64], f64),
    ) {
        let served =
            serve(batching, &self.waiting_us, &mut self.free_at_us, until_us, service_us, ended);
        self.waiting_us.drain(..served);
    }

    /// Moves the clock.
    pub(super) fn shift(&mut self, by_us: f64) {
        self.free_at_us.iter_mut().chain(&mut self.waiting_us).for_each(|at| *at += by_us);
    }

    /// Nothing is in service or waiting any more.
    pub(super) fn reset(&mut self) {
        self.free_at_us.fill(f64::NEG_INFINITY);
        self.waiting_us.clear();
    }
}

/// Serves arrivals in order; how many were served.
pub(super) fn serve(
    batching: &Batching,
    arrivals: &[f64],
    free_at: &mut [f64],
    until: f64,
    mut service: impl FnMut(f64, usize) -> f64,
    mut ended: impl FnMut(&[f64], f64),
) -> usize {
    let mut first = 0;
    while let Some(arrived) = arrivals.get(first) {
        let (worker, free) = earliest(free_at);
        let mut start = free.max(*arrived);
        if batching.delay_us > 0.0 {
            let full = arrivals.get(first + batching.most - 1).copied().unwrap_or(f64::INFINITY);
            start = start.max((arrived + batching.delay_us).min(full));
        }
        if start >= until {
            break;
        }
        let rest = &arrivals[first..arrivals.len().min(first + batching.most)];
        let size = 1 + rest[1..].iter().take_while(|at| **at <= start).count();
        let end = start + service(start, size);
        free_at[worker] = end;
        ended(&rest[..size], end);
        first += size;
    }
    first
}

fn earliest(free_at: &[f64]) -> (usize, f64) {
    let mut best = (0, free_at[0]);
    for (worker, free) in free_at.iter().enumerate().skip(1) {
        if *free < best.1 {
            best = (worker, *free);
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const BATCHING: Batching =
        Batching { workers: 2, most: 4, fixed_us: 800.0, per_request_us: 100.0, delay_us: 0.0 };

    /// Two workers in turn, with batches of these sizes.
    fn told(sizes: &[u32]) -> Vec<Batch> {
        let batch = |(number, requests): (u64, &u32)| Batch {
            started_us: number * 1_000,
            requests: *requests,
            service_ns: 1_500_000 + 20_000 * u64::from(*requests),
            waited_us: 30,
        };
        (0..).zip(sizes).map(batch).collect()
    }

    #[test]
    fn batches_tell_workers_sizes_times_and_the_wait_for_more() {
        let mut seen = BatchesSeen::default();
        seen.add(&told(&[1, 1, 1]), true);
        assert_eq!(seen.batching(), None, "nothing is shared");
        seen.add(&told(&[2, 8, 3, 8, 4, 8]), false);
        let found = seen.batching().unwrap();
        assert_eq!((found.workers, found.most), (2, 8));
        assert!((found.fixed_us - 1_500.0).abs() < 1e-6 && (found.delay_us - 30.0).abs() < 1e-6);
        assert!((found.per_request_us - 20.0).abs() < 1e-6, "{found:?}");
        assert!(!seen.outgrown_by(&told(&[8, 8])) && seen.outgrown_by(&told(&[9])));
        assert_eq!(seen.batching().unwrap().most, 9);
    }

    #[test]
    fn later_batches_retime_only_when_they_are_of_several_sizes() {
        let slower = |sizes: &[u32]| -> Vec<Batch> {
            let slow = |batch: Batch| Batch { service_ns: 2 * batch.service_ns, ..batch };
            told(sizes).into_iter().map(slow).collect()
        };
        let mut seen = BatchesSeen::default();
        seen.add(&told(&[1, 2, 8, 8, 8, 8, 8]), false);
        seen.retime(&slower(&[8, 8]));
        assert!((seen.batching().unwrap().fixed_us - 1_500.0).abs() < 1e-6);
        seen.retime(&slower(&[1, 3, 5]));
        let found = seen.batching().unwrap();
        assert!((found.fixed_us - 3_000.0).abs() < 1e-6 && found.most == 8, "{found:?}");
    }

    #[test]
    fn one_after_the_other_is_one_worker() {
        let batch =
            |started_us| Batch { started_us, requests: 1, service_ns: 1_000_400, waited_us: 0 };
        assert_eq!(busiest(&[batch(0), batch(1_000), batch(2_001)]), 1);
        assert_eq!(busiest(&[batch(0), batch(998)]), 2);
        assert_eq!(busiest(&[]), 0);
    }

    #[test]
    fn a_worker_waits_for_more_but_not_beyond_a_full_batch() {
        let batching = Batching { delay_us: 500.0, ..BATCHING };
        let mut queue = BatchQueue::idle(1);
        for at in [0.0, 100.0, 700.0, 701.0, 702.0, 703.0, 900.0] {
            queue.arrive(at);
        }
        let mut ends = Vec::new();
        queue.serve(
            &batching,
            f64::INFINITY,
            |_, _| 10.0,
            |arrivals, end| {
                ends.push((arrivals.len(), end));
            },
        );
        assert_eq!(ends, vec![(2, 510.0), (4, 713.0), (1, 1_410.0)]);
    }

    proptest! {
        #[test]
        fn serving_piece_by_piece_is_serving_at_once(
            gaps in prop::collection::vec(0.0_f64..900.0, 1..200), delay in 0.0_f64..400.0,
        ) {
            let batching = Batching { delay_us: delay, ..BATCHING };
            let service = |_: f64, requests: usize| batching.service_us(requests);
            let mut at = 0.0;
            let arrivals: Vec<f64> = gaps.iter().map(|gap| { at += gap; at }).collect();
            let (mut whole, mut pieces) = (BatchQueue::idle(2), BatchQueue::idle(2));
            let (mut expected, mut found) = (Vec::new(), Vec::new());
            arrivals.iter().for_each(|at| whole.arrive(*at));
            whole.serve(&batching, f64::INFINITY, service, |all, end| expected.push((all.len(), end)));
            let mut rest = arrivals.as_slice();
            let mut until = 0.0;
            while !rest.is_empty() {
                until += 1_000.0;
                let now = rest.partition_point(|at| *at < until);
                rest[..now].iter().for_each(|at| pieces.arrive(*at));
                rest = &rest[now..];
                pieces.serve(&batching, until, service, |all, end| found.push((all.len(), end)));
            }
            pieces.serve(&batching, f64::INFINITY, service, |all, end| found.push((all.len(), end)));
            prop_assert_eq!(found, expected);
        }
    }
}
