//! Counters and times of the running host, cheap enough for every request: relaxed atomics, no locks.
//!
//! Each figure is exact on its own; a snapshot taken while requests are answered may show a request in
//! one figure and not yet in the next.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Instant,
};

use crate::{clock, engine::Inferred};

/// How often something happened, and how long it took altogether.
#[derive(Debug, Default)]
struct Timed {
    count: AtomicU64,
    ns: AtomicU64,
}

impl Timed {
    fn add(&self, ns: u64) {
        self.count.fetch_add(1, Relaxed);
        self.ns.fetch_add(ns, Relaxed);
    }

    fn read(&self) -> Duration {
        Duration { count: self.count.load(Relaxed), ns: self.ns.load(Relaxed) }
    }
}

/// A count with the total time, in nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Duration {
    /// How often.
    pub count: u64,
    /// How long altogether.
    pub ns: u64,
}

/// What was served since the start.
#[derive(Debug)]
pub struct Statistics {
    requests: AtomicU64,
    abandoned: AtomicU64,
    nan_outputs: AtomicU64,
    last_inference_ms: AtomicU64,
    success: Timed,
    fail: Timed,
    queue: Timed,
    compute_input: Timed,
    compute_infer: Timed,
    compute_output: Timed,
    /// Requests by the size of the batch that they were part of; index 0 is size 1.
    by_batch_size: Box<[Timed]>,
}

/// All figures at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// Inference requests that arrived, whatever came of them.
    pub requests: u64,
    /// Those whose caller went away before the answer; part of `fail`.
    pub abandoned: u64,
    /// Elements of outputs that were NaN.
    pub nan_outputs: u64,
    /// When the last forward pass ended, in milliseconds since the epoch; 0 is never.
    pub last_inference_ms: u64,
    /// Requests answered with outputs, from the first byte decoded to the answer encoded.
    pub success: Duration,
    /// Requests answered with an error, or not at all.
    pub fail: Duration,
    /// Waiting for a worker.
    pub queue: Duration,
    /// Decoding payloads.
    pub compute_input: Duration,
    /// Forward passes, counted once per request that shared one.
    pub compute_infer: Duration,
    /// Encoding answers.
    pub compute_output: Duration,
    /// Forward passes by batch size, smallest first, sizes never seen left out.
    pub batches: Vec<Batches>,
}

/// The forward passes of one batch size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Batches {
    /// How many requests shared a pass.
    pub size: u64,
    /// How many passes there were, and how long they took.
    pub passes: Duration,
}

impl Snapshot {
    /// Forward passes altogether.
    #[must_use]
    pub fn batch_count(&self) -> u64 {
        self.batches.iter().map(|batches| batches.passes.count).sum()
    }
}

impl Statistics {
    /// Nothing served yet; batches will hold at most `max_batch` requests.
    #[must_use]
    pub fn new(max_batch: u32) -> Self {
        let sizes = usize::try_from(max_batch.clamp(1, 65_536)).unwrap_or(1);
        Self {
            requests: AtomicU64::new(0),
            abandoned: AtomicU64::new(0),
            nan_outputs: AtomicU64::new(0),
            last_inference_ms: AtomicU64::new(0),
            success: Timed::default(),
            fail: Timed::default(),
            queue: Timed::default(),
            compute_input: Timed::default(),
            compute_infer: Timed::default(),
            compute_output: Timed::default(),
            by_batch_size: std::iter::repeat_with(Timed::default).take(sizes).collect(),
        }
    }

    /// Counts a request that has arrived.
    #[must_use]
    pub fn request_arrived(&self) -> Request<'_> {
        self.requests.fetch_add(1, Relaxed);
        let now = clock::now();
        Request { statistics: self, arrived: now, phase_began: now, outcome: Outcome::Abandoned }
    }

    /// Counts what the engine answered; called on the engine's thread, so that it counts even when the
    /// caller is gone.
    pub fn inferred(&self, answer: &Inferred) {
        let compute_ns = answer.compute_us.saturating_mul(1000);
        self.queue.add(answer.queue_us.saturating_mul(1000));
        self.compute_infer.add(compute_ns);
        if answer.nan_outputs > 0 {
            self.nan_outputs.fetch_add(answer.nan_outputs, Relaxed);
        }
        let size = usize::try_from(answer.batch_size.max(1)).unwrap_or(usize::MAX);
        let cell = &self.by_batch_size[(size - 1).min(self.by_batch_size.len() - 1)];
        cell.add(compute_ns);
        self.last_inference_ms.store(clock::unix_time_ms(), Relaxed);
    }

    /// All figures now.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        let batches = self.by_batch_size.iter().zip(1u64..).filter_map(|(cell, size)| {
            // Every member of a batch reports the pass's time: divide what was counted per request.
            let Duration { count, ns } = cell.read();
            (count > 0).then_some(Batches {
                size,
                passes: Duration { count: count.div_ceil(size), ns: ns / size },
            })
        });
        Snapshot {
            requests: self.requests.load(Relaxed),
            abandoned: self.abandoned.load(Relaxed),
            nan_outputs: self.nan_outputs.load(Relaxed),
            last_inference_ms: self.last_inference_ms.load(Relaxed),
            success: self.success.read(),
            fail: self.fail.read(),
            queue: self.queue.read(),
            compute_input: self.compute_input.read(),
            compute_infer: self.compute_infer.read(),
            compute_output: self.compute_output.read(),
            batches: batches.collect(),
        }
    }
}

/// One request on its way; dropped without an ending, it counts as abandoned.
#[derive(Debug)]
pub struct Request<'a> {
    statistics: &'a Statistics,
    arrived: Instant,
    phase_began: Instant,
    outcome: Outcome,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Answered,
    Failed,
    Abandoned,
}

impl Request<'_> {
    /// The payload has been read off the network: decoding begins.
    pub fn body_read(&mut self) {
        self.phase_began = clock::now();
        self.arrived = self.phase_began;
    }

    /// The payload has become tensors.
    pub fn decoded(&self) {
        self.statistics.compute_input.add(elapsed_ns(self.phase_began));
    }

    /// The outputs are there: encoding begins.
    pub fn outputs_arrived(&mut self) {
        self.phase_began = clock::now();
    }

    /// The answer is encoded.
    pub fn answered(mut self) {
        self.statistics.compute_output.add(elapsed_ns(self.phase_began));
        self.outcome = Outcome::Answered;
    }

    /// The request is answered with an error.
    pub fn failed(mut self) {
        self.outcome = Outcome::Failed;
    }
}

impl Drop for Request<'_> {
    fn drop(&mut self) {
        let whole = elapsed_ns(self.arrived);
        match self.outcome {
            Outcome::Answered => self.statistics.success.add(whole),
            Outcome::Failed => self.statistics.fail.add(whole),
            Outcome::Abandoned => {
                self.statistics.abandoned.fetch_add(1, Relaxed);
                self.statistics.fail.add(whole);
            }
        }
    }
}

fn elapsed_ns(since: Instant) -> u64 {
    u64::try_from(clock::now().saturating_duration_since(since).as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(batch_size: u32, compute_us: u64, nan_outputs: u64) -> Inferred {
        Inferred { outputs: Vec::new(), batch_size, queue_us: 3, compute_us, nan_outputs }
    }

    #[test]
    fn a_batch_counts_once_however_many_requests_it_served() {
        let statistics = Statistics::new(4);
        statistics.inferred(&answer(1, 10, 0));
        for _ in 0..6 {
            statistics.inferred(&answer(3, 20, 2));
        }
        let snapshot = statistics.snapshot();
        let passes = |count, ns| Duration { count, ns };
        assert_eq!(
            snapshot.batches,
            [
                Batches { size: 1, passes: passes(1, 10_000) },
                Batches { size: 3, passes: passes(2, 40_000) }
            ]
        );
        assert_eq!((snapshot.batch_count(), snapshot.nan_outputs), (3, 12));
        assert_eq!(snapshot.queue, passes(7, 21_000));
    }

    #[test]
    fn a_batch_larger_than_announced_is_still_counted() {
        let statistics = Statistics::new(1);
        statistics.inferred(&answer(9, 10, 0));
        assert_eq!(statistics.snapshot().batch_count(), 1);
    }

    #[test]
    fn every_request_ends_in_exactly_one_way() {
        let statistics = Statistics::new(1);
        statistics.request_arrived().answered();
        statistics.request_arrived().failed();
        drop(statistics.request_arrived());
        let snapshot = statistics.snapshot();
        assert_eq!(
            (snapshot.requests, snapshot.success.count, snapshot.fail.count, snapshot.abandoned),
            (3, 1, 2, 1)
        );
    }
}
