//! What a step came to, in numbers: counts, errors by kind, histograms, the generator's own weight.
//!
//! Every sending thread fills its own part; parts are merged on the caller's thread.

use std::{fmt, iter::Sum, time::Duration};

use assay_measure::{
    latency::{Latency, histogram},
    schedule::Load,
    search::StepObservation,
};
use hdrhistogram::Histogram;
use serde::{Serialize, Serializer};

/// Median lag above which an open-loop schedule was not kept. A scheduler's hiccups on saturated cores
/// stay far below it at the median; a generator that cannot keep up passes it within a second.
pub const SATURATED_LAG_US: u64 = 5_000;

/// Share of a core that a sending thread uses when it, and not the target, limits a closed loop.
pub const SATURATED_CPU_SHARE: f64 = 0.95;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorKind {
    /// No connection could be made.
    Connect,
    Timeout,
    /// The connection broke before the answer was whole.
    Reset,
    /// An answer with an error status.
    Status,
    /// An answer that breaks the protocol or a limit.
    Malformed,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ErrorCounts {
    /// No connection could be made.
    pub connect: u64,
    pub timeout: u64,
    pub reset: u64,
    pub status: u64,
    pub malformed: u64,
}

impl ErrorCounts {
    #[must_use]
    pub const fn total(&self) -> u64 {
        self.connect + self.timeout + self.reset + self.status + self.malformed
    }

    pub fn add(&mut self, kind: ErrorKind) {
        match kind {
            ErrorKind::Connect => self.connect += 1,
            ErrorKind::Timeout => self.timeout += 1,
            ErrorKind::Reset => self.reset += 1,
            ErrorKind::Status => self.status += 1,
            ErrorKind::Malformed => self.malformed += 1,
        }
    }

    pub fn merge(&mut self, other: &Self) {
        self.connect += other.connect;
        self.timeout += other.timeout;
        self.reset += other.reset;
        self.status += other.status;
        self.malformed += other.malformed;
    }
}

/// The first request that failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FirstFailure {
    /// When it ended, in microseconds since the generator started.
    #[serde(skip)]
    pub at_us: u64,
    pub kind: ErrorKind,
    pub message: String,
    /// The status of the response: HTTP's, or gRPC's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// The first 2 KiB of the response's body, in JSON as text; empty when there was none.
    #[serde(skip_serializing_if = "Vec::is_empty", serialize_with = "as_text")]
    pub body: Vec<u8>,
}

fn as_text<S: Serializer>(body: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&String::from_utf8_lossy(body))
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StepEnd {
    Complete,
    /// It was cancelled; the figures cover what was done until then.
    Cancelled,
    /// Nothing accepted connections for too long; the figures cover what was done until then.
    TargetLost {
        reason: String,
    },
}

/// One second of a step.
#[derive(Clone)]
pub struct SecondFigures {
    /// Counts from 0 within the step.
    pub index: u64,
    pub answered: u64,
    pub failed: u64,
    /// Latency of those answered, in microseconds.
    pub latency: Histogram<u64>,
}

#[derive(Clone)]
pub struct StepFigures {
    /// Requests that the step began with, still in flight from the closed-loop step it continues.
    pub carried_in: u64,
    pub sent: u64,
    pub answered: u64,
    /// When the last of them came, from the beginning of the step.
    pub last_answer: Duration,
    /// Answers that came during this step to requests of earlier ones, whose books were closed already.
    pub late_answers: u64,
    pub errors: ErrorCounts,
    /// Requests still in flight when the observation was handed in.
    /// `carried_in + sent = answered + errors.total() + outstanding`.
    pub outstanding: u64,
    /// Requests that had to wait in the generator because every connection was busy.
    pub waited: u64,
    pub first_failure: Option<FirstFailure>,
    /// From intended send time to the last byte of the answer, in microseconds. Requests whose verdict
    /// became final without an answer are in it with the time they had taken by then.
    pub latency: Histogram<u64>,
    /// From the actual send time, of the requests answered.
    pub service_time: Histogram<u64>,
    /// How late the generator itself handled a request, of all requests in open loop.
    pub lag: Histogram<u64>,
    /// Processor time of the sending threads.
    pub generator_cpu: Duration,
    /// The largest share of a core that one sending thread used, 0 to 1.
    pub busiest_thread_share: f64,
    pub connections_opened: u64,
    /// Second by second, if asked for.
    pub seconds: Vec<SecondFigures>,
}

/// A step that has ended: what the search sees, what reports show, and how it ended.
#[derive(Clone, Debug)]
pub struct EndedStep {
    pub observation: StepObservation,
    pub figures: StepFigures,
    pub end: StepEnd,
}

impl EndedStep {
    /// What rates are told of: the time of the load, and for recorded arrivals, which may all come at once, the
    /// time until the last of them was answered.
    #[must_use]
    pub fn lasted(&self, load: &Load) -> Duration {
        let elapsed = Duration::from_micros(self.observation.elapsed_us);
        match load {
            Load::Replay { .. } => elapsed.max(self.figures.last_answer),
            Load::Open { .. } | Load::Closed { .. } => elapsed,
        }
    }
}

impl Default for StepFigures {
    fn default() -> Self {
        Self {
            carried_in: 0,
            late_answers: 0,
            sent: 0,
            answered: 0,
            last_answer: Duration::ZERO,
            errors: ErrorCounts::default(),
            outstanding: 0,
            waited: 0,
            first_failure: None,
            latency: histogram(),
            service_time: histogram(),
            lag: histogram(),
            generator_cpu: Duration::ZERO,
            busiest_thread_share: 0.0,
            connections_opened: 0,
            seconds: Vec::new(),
        }
    }
}

impl<'a> Sum<&'a Self> for StepFigures {
    fn sum<I: Iterator<Item = &'a Self>>(parts: I) -> Self {
        let mut all = Self::default();
        parts.for_each(|part| all.merge(part));
        all
    }
}

impl StepFigures {
    /// Adds figures of another thread, or of another step of the same kind.
    pub fn merge(&mut self, other: &Self) {
        self.carried_in += other.carried_in;
        self.late_answers += other.late_answers;
        self.sent += other.sent;
        self.answered += other.answered;
        self.last_answer = self.last_answer.max(other.last_answer);
        self.errors.merge(&other.errors);
        self.outstanding += other.outstanding;
        self.waited += other.waited;
        let earlier = |a: &FirstFailure, b: &FirstFailure| b.at_us < a.at_us;
        match (&mut self.first_failure, &other.first_failure) {
            (Some(mine), Some(theirs)) if earlier(mine, theirs) => *mine = theirs.clone(),
            (mine @ None, Some(theirs)) => *mine = Some(theirs.clone()),
            (Some(_), Some(_)) | (_, None) => {}
        }
        add(&mut self.latency, &other.latency);
        add(&mut self.service_time, &other.service_time);
        add(&mut self.lag, &other.lag);
        self.generator_cpu += other.generator_cpu;
        self.busiest_thread_share = self.busiest_thread_share.max(other.busiest_thread_share);
        self.connections_opened += other.connections_opened;
    }
}

impl fmt::Debug for StepFigures {
    /// Counts and percentiles: the buckets of a histogram are of no use to a reader.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { carried_in, sent, answered, errors, outstanding, first_failure, .. } = self;
        let (latency, lag) = (Latency::of(&self.latency), Latency::of(&self.lag));
        write!(f, "{carried_in} carried in, {sent} sent, {answered} answered, {errors:?}, ")?;
        write!(f, "{outstanding} open, {first_failure:?}, latency {latency:?}, lag {lag:?}")
    }
}

impl SecondFigures {
    pub(crate) fn new(index: u64) -> Self {
        Self { index, answered: 0, failed: 0, latency: histogram() }
    }
}

impl fmt::Debug for SecondFigures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { index, answered, failed, .. } = self;
        write!(f, "second {index}: {answered} answered, {failed} failed")
    }
}

/// Adds a histogram of the same bounds.
pub(crate) fn add(histogram: &mut Histogram<u64>, other: &Histogram<u64>) {
    histogram.add(other).expect("all histograms here have the same bounds");
}

/// Joins seconds that several threads kept of the same step.
pub(crate) fn merge_seconds(mut seconds: Vec<SecondFigures>) -> Vec<SecondFigures> {
    seconds.sort_by_key(|second| second.index);
    let mut merged: Vec<SecondFigures> = Vec::with_capacity(seconds.len());
    for second in seconds {
        match merged.last_mut().filter(|last| last.index == second.index) {
            Some(last) => {
                last.answered += second.answered;
                last.failed += second.failed;
                let mut both = histogram();
                add(&mut both, &last.latency);
                add(&mut both, &second.latency);
                last.latency = both;
            }
            None => merged.push(second),
        }
    }
    merged
}
