//! Forward passes of a few microseconds on a machine with one processor: the thread that brings a
//! request runs it, in the place of a worker with nothing to do.
//!
//! Handing a request over and its answer back wakes two threads. Where there is another processor, that
//! buys the next request's decoding meanwhile; where there is none, it buys only a server that goes on
//! answering during the pass, and such a pass is over before anybody would have noticed.

use std::{cell::Cell, sync::Arc, time::Duration};

use assay_measure::configuration::Device;

use super::{EngineSettings, queue::Queue, team::Shared, worker::Request};
use crate::torch;

/// As long as a dozen system calls take.
pub const LONGEST_CALLER_PASS: Duration = Duration::from_micros(50);

/// Works in a worker's place.
pub(super) struct CallerRuns(Arc<Shared>);

impl CallerRuns {
    /// `None` where handing over is better: with processors to spare, batches to gather, several
    /// threads in a pass, or another device.
    pub(super) fn new(settings: &EngineSettings, shared: Arc<Shared>) -> Option<Self> {
        let one = settings.processors.get() == 1
            && settings.max_batch.get() == 1
            && settings.intra_op_threads.get() == 1
            && settings.device == Device::Cpu;
        one.then_some(Self(shared))
    }

    /// Runs the request on this thread, or gives it back.
    pub(super) fn run(&self, queue: &Queue<Request>, request: Request) -> Result<(), Request> {
        if !self.0.last_pass_was_short() {
            return Err(request);
        }
        let Some(_turn) = queue.take_turn() else { return Err(request) };
        use_one_thread();
        self.0.worker.serve_surely(vec![request]);
        Ok(())
    }
}

/// libtorch keeps the number for each thread that calls it.
fn use_one_thread() {
    thread_local!(static DONE: Cell<bool> = const { Cell::new(false) });
    if !DONE.replace(true) {
        torch::set_intra_op_threads(1);
    }
}
