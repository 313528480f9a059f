//! The books of one step on one sending thread: what was sent, how it ended, and when the step is over.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
    time::Duration,
};

use assay_measure::{
    latency::histogram,
    search::{Sample, Verdict},
};
use hdrhistogram::Histogram;

use super::{
    exchange::{Ended, Ending, Ticket},
    figures::{FirstFailure, SecondFigures, StepEnd, StepFigures},
};
use crate::clock::thread_cpu_ns;

const SECOND_NS: u64 = 1_000_000_000;

/// A step as the sending threads get it: nothing left to decide.
#[derive(Debug)]
pub(crate) struct Assignment {
    /// The step's number, as in its plan.
    pub(crate) index: u32,
    pub(crate) work: Work,
    pub(crate) duration_ns: u64,
    pub(crate) continues: bool,
    pub(crate) submitted_ns: u64,
    pub(crate) verdict_after_ns: u64,
    pub(crate) gate: Arc<Gate>,
}

/// What one thread does in a step.
#[derive(Debug)]
pub(crate) enum Work {
    Users(u32),
    /// Intended send times as offsets in microseconds, ascending.
    Arrivals(Vec<u64>),
}

/// Where the sending threads agree on the start of a step.
#[derive(Debug)]
pub(crate) struct Gate {
    threads: u32,
    ready: AtomicU32,
    /// 0 while undecided.
    start_ns: AtomicU64,
}

impl Gate {
    pub(crate) fn new(threads: u32) -> Self {
        Self { threads, ready: AtomicU32::new(0), start_ns: AtomicU64::new(0) }
    }

    /// The start, proposed by the first thread that asks.
    pub(crate) fn propose(&self, start_ns: u64) -> u64 {
        let start_ns = start_ns.max(1);
        match self.start_ns.compare_exchange(0, start_ns, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => start_ns,
            Err(decided) => decided,
        }
    }

    /// This thread has nothing in flight any more; the last one to say so proposes the start.
    pub(crate) fn arrive(&self, now_ns: u64) {
        if self.ready.fetch_add(1, Ordering::AcqRel) + 1 == self.threads {
            // Time for the other threads to notice.
            self.propose(now_ns + if self.threads > 1 { 500_000 } else { 0 });
        }
    }

    /// The start, once it is agreed.
    pub(crate) fn start_ns(&self) -> Option<u64> {
        Some(self.start_ns.load(Ordering::Acquire)).filter(|&start| start > 0)
    }
}

/// One thread's part of a step that has ended.
#[derive(Debug)]
pub(crate) struct Part {
    pub(crate) index: u32,
    pub(crate) started_ns: u64,
    pub(crate) elapsed_ns: u64,
    pub(crate) samples: Vec<Sample>,
    pub(crate) figures: StepFigures,
    pub(crate) open_loop: bool,
    pub(crate) end: StepEnd,
}

/// A step that one thread is carrying out, or whose last answers it still awaits.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) id: u32,
    pub(crate) assignment: Assignment,
    pub(crate) started_ns: u64,
    pub(crate) end_ns: u64,
    next_arrival: usize,
    in_flight: u64,
    last_intended_ns: u64,
    samples: Option<Vec<Sample>>,
    pub(crate) figures: StepFigures,
    cpu_started_ns: u64,
    offering: bool,
    second: Option<SecondFigures>,
}

/// What a run keeps beside histograms.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Keep {
    pub(crate) samples: bool,
    pub(crate) seconds: bool,
}

impl Run {
    pub(crate) fn begin(id: u32, assignment: Assignment, started_ns: u64, keep: Keep) -> Self {
        Self {
            id,
            end_ns: started_ns.saturating_add(assignment.duration_ns),
            assignment,
            started_ns,
            next_arrival: 0,
            in_flight: 0,
            last_intended_ns: started_ns,
            samples: keep.samples.then(Vec::new),
            figures: StepFigures::default(),
            cpu_started_ns: thread_cpu_ns(),
            offering: true,
            second: keep.seconds.then(|| SecondFigures::new(0)),
        }
    }

    pub(crate) fn users(&self) -> Option<u32> {
        match self.assignment.work {
            Work::Users(users) => Some(users),
            Work::Arrivals(_) => None,
        }
    }

    /// When the next request is meant to be sent.
    pub(crate) fn next_intended_ns(&self) -> Option<u64> {
        match &self.assignment.work {
            Work::Users(_) => None,
            Work::Arrivals(at_us) => {
                at_us.get(self.next_arrival).map(|at| self.started_ns + at * 1000)
            }
        }
    }

    /// The next request was handled at `now_ns`: it is sent, or waits for a connection.
    pub(crate) fn dispatched(&mut self, intended_ns: u64, now_ns: u64) {
        self.next_arrival += 1;
        self.in_flight += 1;
        self.figures.sent += 1;
        self.last_intended_ns = intended_ns;
        self.figures.lag.saturating_record(micros(now_ns.saturating_sub(intended_ns)));
    }

    /// Books a request that has ended.
    pub(crate) fn ended(&mut self, ended: &Ended) {
        if !ended.ticket.closed {
            self.in_flight -= 1;
        }
        let latency_us = micros(ended.at_ns.saturating_sub(ended.ticket.intended_ns));
        let answered = matches!(ended.ending, Ending::Answered);
        self.turn_second(ended.at_ns);
        if answered {
            self.figures.answered += 1;
            let since_ns = ended.at_ns.saturating_sub(self.started_ns);
            self.figures.last_answer = self.figures.last_answer.max(Duration::from_nanos(since_ns));
            self.figures.latency.saturating_record(latency_us);
            let service_us = micros(ended.at_ns.saturating_sub(ended.ticket.sent_ns));
            self.figures.service_time.saturating_record(service_us);
        }
        if let Some(second) = &mut self.second {
            second.answered += u64::from(answered);
            second.failed += u64::from(!answered);
            if answered {
                second.latency.saturating_record(latency_us);
            }
        }
        if let Ending::Failed(fault) = &ended.ending {
            self.figures.errors.add(fault.kind);
            self.figures.first_failure.get_or_insert_with(|| FirstFailure {
                at_us: ended.at_ns / 1000,
                kind: fault.kind,
                message: fault.message.clone(),
                status: fault.status,
                body: fault.excerpt.clone(),
            });
        }
        let verdict = if answered { Verdict::Answered } else { Verdict::Failed };
        self.sample(&ended.ticket, latency_us, verdict);
    }

    fn sample(&mut self, ticket: &Ticket, latency_us: u64, verdict: Verdict) {
        if let Some(samples) = &mut self.samples {
            samples.push(Sample { intended_us: ticket.intended_ns / 1000, latency_us, verdict });
        }
    }

    /// Closes the seconds that have passed.
    fn turn_second(&mut self, now_ns: u64) {
        let Some(second) = &mut self.second else { return };
        let index = now_ns.saturating_sub(self.started_ns) / SECOND_NS;
        if index > second.index {
            let full = std::mem::replace(second, SecondFigures::new(index));
            self.keep_second(full);
        }
    }

    fn keep_second(&mut self, mut full: SecondFigures) {
        if full.answered + full.failed == 0 {
            return;
        }
        // A long run holds thousands of these: give back the buckets above the largest value.
        let mut latency = Histogram::new_with_bounds(1, full.latency.max().max(2), 3)
            .unwrap_or_else(|_| histogram());
        if latency.add(&full.latency).is_ok() {
            full.latency = latency;
        }
        self.figures.seconds.push(full);
    }

    /// No more load is offered from here on: books the processor time.
    pub(crate) fn stop_offering(&mut self, now_ns: u64) {
        if self.offering {
            self.offering = false;
            let cpu_ns = thread_cpu_ns().saturating_sub(self.cpu_started_ns);
            self.figures.generator_cpu = Duration::from_nanos(cpu_ns);
            let elapsed = now_ns.saturating_sub(self.started_ns).max(1);
            self.figures.busiest_thread_share = cpu_ns as f64 / elapsed as f64;
        }
    }

    pub(crate) fn is_offering(&self) -> bool {
        self.offering
    }

    /// When every verdict will be final at the latest; `None` while load is still offered.
    pub(crate) fn final_at_ns(&self) -> Option<u64> {
        if self.offering {
            return None;
        }
        if self.users().is_some() || self.in_flight == 0 {
            return Some(self.end_ns);
        }
        Some(
            self.end_ns.max(self.last_intended_ns.saturating_add(self.assignment.verdict_after_ns)),
        )
    }

    /// Closes the books of a closed loop.
    pub(crate) fn finish_users(mut self, in_flight: u64, now_ns: u64, end: StepEnd) -> Part {
        self.figures.outstanding = in_flight;
        self.finish(now_ns, end)
    }

    /// Closes the books of an open loop. `open` are its requests without an answer.
    pub(crate) fn finish_arrivals(mut self, open: &[Ticket], now_ns: u64, end: StepEnd) -> Part {
        self.figures.outstanding = open.len() as u64;
        for ticket in open {
            let so_far_ns = now_ns.saturating_sub(ticket.intended_ns);
            self.sample(ticket, micros(so_far_ns), Verdict::Outstanding);
            if so_far_ns >= self.assignment.verdict_after_ns {
                self.figures.latency.saturating_record(micros(so_far_ns));
            }
        }
        self.finish(now_ns, end)
    }

    fn finish(mut self, now_ns: u64, end: StepEnd) -> Part {
        self.stop_offering(now_ns);
        let open_loop = self.users().is_none();
        if let Some(second) = self.second.take() {
            self.keep_second(second);
        }
        let elapsed_ns = now_ns.min(self.end_ns).saturating_sub(self.started_ns);
        Part {
            index: self.assignment.index,
            started_ns: self.started_ns,
            elapsed_ns,
            samples: self.samples.unwrap_or_default(),
            figures: self.figures,
            open_loop,
            end,
        }
    }
}

/// Whole microseconds, at least 1 so that the histogram counts it.
fn micros(nanoseconds: u64) -> u64 {
    (nanoseconds / 1000).max(1)
}
