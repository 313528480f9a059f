//! The load generator: carries out steps of load exactly as planned and reports what came of them.
//!
//! Dedicated threads send and measure ([`worker`]); the caller's thread plans, merges and decides.
//! Steps are submitted with [`Generator::submit`], any number ahead, and handed back in the same order
//! with [`Generator::wait_next`]. A step that `continues` starts at the very
//! end of its predecessor; any other waits until nothing is in flight.
//!
//! Open loop: a request's latency counts from its intended send time, whatever the target or this
//! program was doing then, and it never waits for another one unless every allowed connection is busy.
//! Closed loop: every user sends again at once after an answer; there is no intended time, so the
//! actual one stands in.

use std::{
    collections::{HashMap, VecDeque},
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    },
    thread::JoinHandle,
    time::Duration,
};

use assay_measure::{
    input_spec::InputSpec,
    schedule::Load,
    search::{StepObservation, StepPlan},
};
use rustix::fd::OwnedFd;
use thiserror::Error;

use self::{
    exchange::{Exchange, words},
    figures::{EndedStep, SATURATED_CPU_SHARE, SATURATED_LAG_US, StepEnd, StepFigures},
    http1::Http1,
    http2::Http2,
    infer_request::RequestError,
    pacing::Scheduling,
    run::{Assignment, Gate, Keep, Part, Work},
    worker::{Lines, Settings, Worker},
};
use crate::{
    clock::Clock,
    payload::Payload,
    target::{Address, Target},
};

mod chunked;
mod exchange;
pub mod figures;
pub mod frames;
pub mod hpack;
mod http1;
mod http2;
pub mod infer_request;
pub mod pacing;
mod pool;
mod response;
mod run;
#[cfg(test)]
pub(crate) mod scripted_server;
mod worker;

/// The most requests in one open-loop step; their send times are held in memory.
pub const ARRIVALS_LIMIT: usize = assay_measure::schedule::recorded::TIMES_LIMIT;

#[derive(Clone, Debug)]
pub struct GeneratorOptions {
    /// Sending threads; at least 1.
    pub threads: u32,
    /// The most connections in open loop, all threads together. In closed loop every user has one.
    pub connections: u32,
    /// A request that takes longer has failed.
    pub request_timeout: Duration,
    /// The target is given up when nothing has accepted a connection for so long.
    pub give_up_after: Duration,
    /// How long before a send time a thread stops sleeping and looks at the clock instead.
    pub spin: Duration,
    pub scheduling: Scheduling,
    /// Keep one sample for every request: the search needs them, a long fixed load does not.
    pub keep_samples: bool,
    /// Keep figures for every second.
    pub keep_seconds: bool,
}

impl Default for GeneratorOptions {
    fn default() -> Self {
        Self {
            threads: 1,
            connections: 1024,
            request_timeout: Duration::from_secs(30),
            give_up_after: Duration::from_secs(5),
            spin: Duration::from_micros(20),
            scheduling: Scheduling::default(),
            keep_samples: true,
            keep_seconds: false,
        }
    }
}

/// The generator cannot do its work.
#[derive(Debug, Error)]
pub enum GeneratorError {
    /// Target, payload and declared inputs do not make a request.
    #[error(transparent)]
    Request(#[from] RequestError),
    #[error("cannot {what}")]
    System { what: &'static str, source: io::Error },
    /// A step would send more requests than fit into memory.
    #[error(
        "a step of {duration_s} s would send more than {ARRIVALS_LIMIT} requests; make it shorter"
    )]
    TooManyArrivals { duration_s: u64 },
    /// The generator has ended: it was cancelled, or the target is gone.
    #[error("the load generator has ended")]
    Ended,
    #[error("a sending thread failed: {0}")]
    Thread(String),
}

/// Stops a generator from any thread.
#[derive(Clone, Debug)]
pub struct CancelHandle {
    cancelled: Arc<AtomicBool>,
    doorbells: Vec<Arc<OwnedFd>>,
}

impl CancelHandle {
    /// Ends all steps at once; [`Generator::wait_next`] still hands out what they came to.
    pub fn cancel(&self) {
        self.cancelled.store(true, Ordering::Relaxed);
        self.doorbells.iter().for_each(|doorbell| ring(doorbell));
    }
}

/// A running load generator. Dropping it cancels what is in flight.
#[derive(Debug)]
pub struct Generator {
    clock: Clock,
    threads: Vec<Thread>,
    parts: Receiver<Part>,
    collected: HashMap<u32, Vec<Part>>,
    cancel: CancelHandle,
    /// Steps submitted and not returned, by their numbers in order.
    submitted: VecDeque<u32>,
}

#[derive(Debug)]
struct Thread {
    assignments: Sender<Assignment>,
    doorbell: Arc<OwnedFd>,
    handle: Option<JoinHandle<Result<(), rustix::io::Errno>>>,
}

impl Generator {
    /// Starts the sending threads. Times in observations count from here. `inputs` are the tensors that
    /// a raw body holds, one after another; only gRPC targets need them.
    ///
    /// # Errors
    /// [`GeneratorError`] when the target and payload do not fit, or the system refuses threads or descriptors.
    pub fn start(
        target: &Target,
        address: &Address,
        payload: Option<&Payload>,
        inputs: &[InputSpec],
        options: &GeneratorOptions,
    ) -> Result<Self, GeneratorError> {
        pacing::raise_file_limit();
        match target {
            Target::Http { .. } | Target::Unix { .. } => {
                Self::spawn::<Http1>(http1::Requests::encode(target, payload), address, options)
            }
            Target::Grpc { model, .. } => {
                let requests = http2::Requests::encode(target, model, payload, inputs)?;
                Self::spawn::<Http2>(requests, address, options)
            }
        }
    }

    fn spawn<E: Exchange + Send + 'static>(
        requests: E::Requests,
        address: &Address,
        options: &GeneratorOptions,
    ) -> Result<Self, GeneratorError> {
        let requests = Arc::new(requests);
        let clock = Clock::start();
        let (parts_in, parts) = channel();
        let cancelled = Arc::new(AtomicBool::new(false));
        let mut generator = Self {
            clock,
            threads: Vec::new(),
            parts,
            collected: HashMap::new(),
            cancel: CancelHandle { cancelled: Arc::clone(&cancelled), doorbells: Vec::new() },
            submitted: VecDeque::new(),
        };
        let threads = options.threads.max(1);
        for thread in 0..threads {
            let doorbell =
                Arc::new(worker::doorbell().map_err(|errno| system("make an eventfd", errno))?);
            let (assignments, inbox) = channel();
            let settings = Settings {
                clock,
                address: address.clone(),
                thread,
                threads,
                connections: (options.connections / threads).max(1) as usize,
                request_timeout: options.request_timeout,
                give_up_after: options.give_up_after,
                spin: options.spin,
                keep: Keep { samples: options.keep_samples, seconds: options.keep_seconds },
            };
            let lines = Lines {
                assignments: inbox,
                parts: parts_in.clone(),
                cancelled: Arc::clone(&cancelled),
                doorbell: Arc::clone(&doorbell),
            };
            let worker = Worker::<E>::new(settings, Arc::clone(&requests), lines)
                .map_err(|errno| system("set up epoll", errno))?;
            let scheduling = options.scheduling.clone();
            let handle = std::thread::Builder::new()
                .name(format!("load-{thread}"))
                .spawn(move || {
                    pacing::prepare_thread(&scheduling);
                    worker.run()
                })
                .map_err(|source| GeneratorError::System { what: "start a thread", source })?;
            generator.cancel.doorbells.push(Arc::clone(&doorbell));
            generator.threads.push(Thread { assignments, doorbell, handle: Some(handle) });
        }
        Ok(generator)
    }

    /// Something that can stop this generator from another thread.
    #[must_use]
    pub fn cancel_handle(&self) -> CancelHandle {
        self.cancel.clone()
    }

    /// The clock on which observations are told.
    #[must_use]
    pub fn clock(&self) -> Clock {
        self.clock
    }

    /// Has a step performed after those submitted before. Returns at once.
    ///
    /// # Errors
    /// [`GeneratorError::Ended`] when nothing is sent any more, [`GeneratorError::TooManyArrivals`].
    pub fn submit(&mut self, plan: &StepPlan) -> Result<(), GeneratorError> {
        let threads = self.threads.len();
        let submitted_ns = self.clock.now_ns();
        let gate = Arc::new(Gate::new(u32::try_from(threads).unwrap_or(1)));
        for (thread, work) in self.threads.iter().zip(divide(plan, threads)?) {
            let assignment = Assignment {
                index: plan.index,
                work,
                duration_ns: nanoseconds(plan.duration),
                continues: plan.continues,
                submitted_ns,
                verdict_after_ns: nanoseconds(plan.verdict_after),
                gate: Arc::clone(&gate),
            };
            thread.assignments.send(assignment).map_err(|_| GeneratorError::Ended)?;
            ring(&thread.doorbell);
        }
        self.submitted.push_back(plan.index);
        Ok(())
    }

    /// Waits until every verdict of the oldest step in flight is final. `None` when no step is in flight,
    /// or the generator has ended and everything was handed out.
    ///
    /// # Errors
    /// [`GeneratorError::Thread`] when a sending thread failed.
    pub fn wait_next(&mut self) -> Result<Option<EndedStep>, GeneratorError> {
        while let Some(&oldest) = self.submitted.front() {
            if self.collected.get(&oldest).is_some_and(|parts| parts.len() == self.threads.len()) {
                return Ok(self.hand_out(oldest));
            }
            match self.parts.recv_timeout(Duration::from_millis(500)) {
                Ok(part) => self.collected.entry(part.index).or_default().push(part),
                Err(RecvTimeoutError::Timeout) => {
                    if self
                        .threads
                        .iter()
                        .any(|thread| thread.handle.as_ref().is_none_or(JoinHandle::is_finished))
                    {
                        // One thread that lost the target takes the others with it.
                        self.cancel.cancel();
                    }
                }
                Err(RecvTimeoutError::Disconnected) => {
                    self.join()?;
                    // Whatever some thread has done of it; nothing more comes.
                    if let Some(result) = self.hand_out(oldest) {
                        return Ok(Some(result));
                    }
                }
            }
        }
        Ok(None)
    }

    fn hand_out(&mut self, index: u32) -> Option<EndedStep> {
        self.submitted.pop_front();
        self.collected.remove(&index).map(merge)
    }

    fn join(&mut self) -> Result<(), GeneratorError> {
        for thread in &mut self.threads {
            let Some(handle) = thread.handle.take() else { continue };
            match handle.join() {
                Ok(Ok(())) => {}
                Ok(Err(errno)) => return Err(GeneratorError::Thread(words(errno))),
                Err(_) => return Err(GeneratorError::Thread("it panicked".to_owned())),
            }
        }
        Ok(())
    }
}

impl Drop for Generator {
    fn drop(&mut self) {
        self.cancel.cancel();
        if let Err(error) = self.join() {
            tracing::error!(%error, "the load generator ended badly");
        }
    }
}

/// Splits a step over threads: users in shares, arrivals in turn.
fn divide(plan: &StepPlan, threads: usize) -> Result<Vec<Work>, GeneratorError> {
    if let Load::Closed { users } = &plan.load {
        let count = u32::try_from(threads).unwrap_or(1);
        return Ok((0..count)
            .map(|thread| Work::Users(users / count + u32::from(thread < users % count)))
            .collect());
    }
    let expected = match &plan.load {
        Load::Closed { .. } => 0.0,
        Load::Open { rate, .. } => rate.as_per_second() * plan.duration.as_secs_f64(),
        Load::Replay { at_us } => at_us.len() as f64,
    };
    if expected > ARRIVALS_LIMIT as f64 {
        return Err(GeneratorError::TooManyArrivals { duration_s: plan.duration.as_secs() });
    }
    let mut shares: Vec<Vec<u64>> = vec![Vec::new(); threads];
    for (number, at_us) in plan.load.send_times(plan.duration).into_iter().flatten().enumerate() {
        shares[number % threads].push(at_us);
    }
    Ok(shares.into_iter().map(Work::Arrivals).collect())
}

/// One result from the parts of all threads.
fn merge(parts: Vec<Part>) -> EndedStep {
    let mut result = EndedStep {
        observation: StepObservation { started_us: u64::MAX, ..StepObservation::default() },
        figures: StepFigures::default(),
        end: StepEnd::Complete,
    };
    let mut open_loop = false;
    let mut seconds = Vec::new();
    for mut part in parts {
        let observation = &mut result.observation;
        observation.index = part.index;
        observation.started_us = observation.started_us.min(part.started_ns / 1000);
        observation.elapsed_us = observation.elapsed_us.max(part.elapsed_ns / 1000);
        observation.samples.append(&mut part.samples);
        result.figures.merge(&part.figures);
        seconds.append(&mut part.figures.seconds);
        open_loop = part.open_loop;
        if matches!(result.end, StepEnd::Complete) || matches!(part.end, StepEnd::TargetLost { .. })
        {
            result.end = part.end;
        }
    }
    result.observation.samples.sort_by_key(|sample| sample.intended_us);
    result.figures.seconds = figures::merge_seconds(seconds);
    result.observation.generator_saturated = if open_loop {
        result.figures.lag.value_at_quantile(0.5) > SATURATED_LAG_US
    } else {
        result.figures.busiest_thread_share > SATURATED_CPU_SHARE
    };
    result
}

fn ring(doorbell: &OwnedFd) {
    // Fails only when the counter is full, and then the bell rings already.
    let _ = rustix::io::write(doorbell, &1u64.to_ne_bytes());
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

fn system(what: &'static str, errno: rustix::io::Errno) -> GeneratorError {
    GeneratorError::System { what, source: errno.into() }
}

#[cfg(test)]
mod tests;
