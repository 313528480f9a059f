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
        self.ns.fetch_add(ns, Relaxed);
        self.count.fetch_add(1, Relaxed);
    }

    fn read(&self) -> Duration {
        Duration { count: self.count.load(Relaxed), ns: self.ns.load(Relaxed) }
    }
}

/// A count with the total time, in nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Duration {
    pub count: u64,
    pub ns: u64,
}

/// What was served since the start.
#[derive(Debug, Default)]
pub(crate) struct Statistics {
    requests: AtomicU64,
    abandoned: AtomicU64,
    nan_outputs: AtomicU64,
    last_inference_ms: AtomicU64,
    success: Timed,
    fail: Timed,
    // The parts of the successes. They have no counts of their own: tools that read them (Triton's
    // perf_analyzer among them) take it as broken when the counts of one request's parts differ.
    queue_ns: AtomicU64,
    decode_ns: AtomicU64,
    forward_ns: AtomicU64,
    encode_ns: AtomicU64,
    /// Requests by the size of the batch that they were part of; index 0 is size 1.
    by_batch_size: Box<[Timed]>,
}

/// All figures at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Snapshot {
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
    /// The part of `success` spent waiting for a worker.
    pub queue: Duration,
    /// The part of `success` spent decoding payloads.
    pub compute_input: Duration,
    /// The part of `success` spent in forward passes, counted once per request that shared one.
    pub compute_infer: Duration,
    /// The part of `success` spent encoding answers.
    pub compute_output: Duration,
    /// Forward passes by batch size, smallest first, sizes never seen left out; whatever became of
    /// their requests.
    pub batches: Vec<Batches>,
}

/// The forward passes of one batch size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Batches {
    /// How many requests shared a pass.
    pub size: u64,
    /// How many passes there were, and how long they took.
    pub passes: Duration,
}

impl Snapshot {
    pub(crate) fn batch_count(&self) -> u64 {
        self.batches.iter().map(|batches| batches.passes.count).sum()
    }
}

impl Statistics {
    /// Nothing served yet; batches will hold at most `max_batch` requests.
    pub(crate) fn new(max_batch: u32) -> Self {
        let sizes = usize::try_from(max_batch.clamp(1, 65_536)).unwrap_or(1);
        let by_batch_size = std::iter::repeat_with(Timed::default).take(sizes).collect();
        Self { by_batch_size, ..Self::default() }
    }

    #[must_use]
    pub(crate) fn request_arrived(&self) -> Request<'_> {
        self.requests.fetch_add(1, Relaxed);
        let now = clock::now();
        Request {
            statistics: self,
            arrived: now,
            phase_began: now,
            parts: Parts::default(),
            ending: Ending::Abandoned,
        }
    }

    /// Counts what the engine answered; called on the engine's thread, so that it counts even when the
    /// caller is gone.
    pub(crate) fn inferred(&self, answer: &Inferred) {
        if answer.nan_outputs > 0 {
            self.nan_outputs.fetch_add(answer.nan_outputs, Relaxed);
        }
        let size = usize::try_from(answer.batch_size.max(1)).unwrap_or(usize::MAX);
        let cell = &self.by_batch_size[(size - 1).min(self.by_batch_size.len() - 1)];
        cell.add(answer.compute_us.saturating_mul(1000));
        self.last_inference_ms.store(clock::unix_time_ms(), Relaxed);
    }

    pub(crate) fn snapshot(&self) -> Snapshot {
        let batches = self.by_batch_size.iter().zip(1u64..).filter_map(|(cell, size)| {
            // Every member of a batch reports the pass's time: divide what was counted per request.
            let Duration { count, ns } = cell.read();
            (count > 0).then_some(Batches {
                size,
                passes: Duration { count: count.div_ceil(size), ns: ns / size },
            })
        });
        let success = self.success.read();
        let part = |ns: &AtomicU64| Duration { count: success.count, ns: ns.load(Relaxed) };
        Snapshot {
            requests: self.requests.load(Relaxed),
            abandoned: self.abandoned.load(Relaxed),
            nan_outputs: self.nan_outputs.load(Relaxed),
            last_inference_ms: self.last_inference_ms.load(Relaxed),
            success,
            fail: self.fail.read(),
            queue: part(&self.queue_ns),
            compute_input: part(&self.decode_ns),
            compute_infer: part(&self.forward_ns),
            compute_output: part(&self.encode_ns),
            batches: batches.collect(),
        }
    }
}

/// Where the time of one request went, in nanoseconds.
#[derive(Clone, Copy, Debug, Default)]
struct Parts {
    decode: u64,
    queue: u64,
    forward: u64,
    encode: u64,
}

/// One request on its way; dropped without an ending, it counts as abandoned.
#[derive(Debug)]
pub(crate) struct Request<'a> {
    statistics: &'a Statistics,
    arrived: Instant,
    phase_began: Instant,
    parts: Parts,
    ending: Ending,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    Answered,
    Failed,
    Abandoned,
}

impl Request<'_> {
    /// The payload has been read off the network: decoding begins.
    pub(crate) fn body_read(&mut self) {
        self.phase_began = clock::now();
        self.arrived = self.phase_began;
    }

    /// The payload has become tensors.
    pub(crate) fn decoded(&mut self) {
        self.parts.decode = elapsed_ns(self.phase_began);
    }

    /// The outputs are there: encoding begins.
    pub(crate) fn outputs_arrived(&mut self, answer: &Inferred) {
        self.parts.queue = answer.queue_us.saturating_mul(1000);
        self.parts.forward = answer.compute_us.saturating_mul(1000);
        self.phase_began = clock::now();
    }

    /// The request is answered, with outputs or with an error.
    pub(crate) fn ended<T, E>(mut self, outcome: &Result<T, E>) {
        self.parts.encode = elapsed_ns(self.phase_began);
        self.ending = if outcome.is_ok() { Ending::Answered } else { Ending::Failed };
    }
}

impl Drop for Request<'_> {
    fn drop(&mut self) {
        let Self { statistics, arrived, parts, ending, .. } = self;
        let whole = elapsed_ns(*arrived);
        match ending {
            Ending::Answered => {
                statistics.decode_ns.fetch_add(parts.decode, Relaxed);
                statistics.queue_ns.fetch_add(parts.queue, Relaxed);
                statistics.forward_ns.fetch_add(parts.forward, Relaxed);
                statistics.encode_ns.fetch_add(parts.encode, Relaxed);
                statistics.success.add(whole);
            }
            Ending::Failed => statistics.fail.add(whole),
            Ending::Abandoned => {
                statistics.abandoned.fetch_add(1, Relaxed);
                statistics.fail.add(whole);
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

    const ANSWERED: Result<(), ()> = Ok(());
    const FAILED: Result<(), ()> = Err(());

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
        statistics.request_arrived().ended(&ANSWERED);
        statistics.request_arrived().ended(&FAILED);
        drop(statistics.request_arrived());
        let snapshot = statistics.snapshot();
        assert_eq!(
            (snapshot.requests, snapshot.success.count, snapshot.fail.count, snapshot.abandoned),
            (3, 1, 2, 1)
        );
    }
    #[test]
    fn the_parts_of_answered_requests_have_equal_counts_whatever_else_happens() {
        let statistics = Statistics::new(1);
        for ending in [Ending::Answered, Ending::Failed, Ending::Abandoned, Ending::Answered] {
            let mut request = statistics.request_arrived();
            request.body_read();
            request.decoded();
            statistics.inferred(&answer(1, 10, 0));
            request.outputs_arrived(&answer(1, 10, 0));
            match ending {
                Ending::Answered => request.ended(&ANSWERED),
                Ending::Failed => request.ended(&FAILED),
                Ending::Abandoned => drop(request),
            }
        }
        let snapshot = statistics.snapshot();
        let parts = [
            snapshot.queue,
            snapshot.compute_input,
            snapshot.compute_infer,
            snapshot.compute_output,
        ];
        assert!(parts.iter().all(|part| part.count == 2), "{parts:?}");
        assert_eq!(
            (snapshot.queue.ns, snapshot.compute_infer.ns, snapshot.batch_count()),
            (6_000, 20_000, 4)
        );
    }
}
