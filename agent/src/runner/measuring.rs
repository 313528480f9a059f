//! The measuring itself, on a thread of its own: asks the search (or the fixed load) for steps, has the
//! load generator perform them, and reports each one.
//!
//! Where the model leaves processors to spare, this thread, the sending threads and the sampler stay
//! on those. Where it does not, they compete with the model: the sending threads run at real-time
//! priority where that is permitted, so that requests leave on time, and take what they need from
//! the model; how much that is stands in the result (`cpu_share_pct`).

use std::{
    collections::VecDeque,
    io,
    sync::{Arc, Mutex, PoisonError},
    thread::JoinHandle,
    time::Duration,
};

use assay_measure::{
    load_profile::LoadProfile,
    outcome::{Progress, Stage},
    schedule::{Load, Phase},
    search::{Mode, Purpose, SearchPlan, StepObservation, StepPlan},
    stepped_load::{SteppedLoad, StopCause},
    trial::{TrialSpec, Work},
};
use thiserror::Error;
use tokio::sync::{mpsc, oneshot};

use super::{
    CHECK_AT_MOST, TrialEvent,
    levels::Levels,
    observability::Observability,
    problem::Problem,
    record::{Measured, Record, span_ns},
    stops::Stops,
};
use crate::{
    capacity::{self, SearchEnd, SearchEvent, StepRecord, fixed_step, one_request},
    clock::Clock,
    hardware::sampler::Sampler,
    load::{
        Generator, GeneratorOptions,
        figures::{ErrorKind, StepEnd},
        pacing::Scheduling,
    },
    model_host::batch_log::BatchLog,
    payload::Payload,
    sandbox::cpu_set,
    target::{Address, Target},
};

/// A step of which more calls than this fail with an error of the model tells enough.
const FAILING_ALTOGETHER: f64 = 0.5;

pub(super) struct Settings {
    pub(super) spec: Arc<TrialSpec>,
    pub(super) target: Target,
    pub(super) address: Address,
    pub(super) payload: Payload,
    /// Every body is tried once before any load, which nobody else has done.
    pub(super) tries_bodies: bool,
    pub(super) spare_cpus: Vec<u32>,
    pub(super) clock: Clock,
    pub(super) sampler: Arc<Sampler>,
    pub(super) observability: Observability,
    pub(super) events: mpsc::UnboundedSender<TrialEvent>,
    pub(super) batch_log: Option<BatchLog>,
    /// What is to be said at every step: that there will be few requests.
    pub(super) outlook: Option<String>,
}

#[derive(Debug, Error)]
#[error("cannot start the measuring thread")]
pub(super) struct NotStarted(#[from] io::Error);

/// Measuring under way. Dropping it stops the load and waits for the thread.
#[derive(Debug)]
pub(super) struct Measuring {
    stops: Stops,
    thread: Option<JoinHandle<()>>,
    finished: Option<oneshot::Receiver<Result<Record, Problem>>>,
    current: Arc<Mutex<Option<String>>>,
}

impl Measuring {
    pub(super) fn start(settings: Settings) -> Result<Self, NotStarted> {
        let stops = Stops::default();
        let current = Arc::new(Mutex::new(None));
        let (sender, finished) = oneshot::channel();
        let (for_thread, shown) = (stops.clone(), Arc::clone(&current));
        let thread = std::thread::Builder::new().name("measuring".to_owned()).spawn(move || {
            let measured = begin(settings, &for_thread, shown).and_then(|mut driver| {
                driver.stay_on_spare_cpus();
                driver.drive()
            });
            // Nobody listens when the trial was cancelled.
            let _ = sender.send(measured);
        })?;
        Ok(Self { stops, thread: Some(thread), finished: Some(finished), current })
    }

    /// Waits for the end. To be asked for once.
    pub(super) fn take_finished(
        &mut self,
    ) -> impl Future<Output = Result<Record, Problem>> + use<> {
        let finished = self.finished.take();
        async move {
            let gone =
                || Problem::Generator("the measuring thread ended without a word".to_owned());
            finished.ok_or_else(gone)?.await.unwrap_or_else(|_| Err(gone()))
        }
    }

    /// Ends the load at once.
    pub(super) fn stop(&self) {
        self.stops.stop();
    }

    /// The step that is being performed, in words.
    pub(super) fn current_step(&self) -> Option<String> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Measuring {
    fn drop(&mut self) {
        self.stop();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the measuring thread panicked");
        }
    }
}

/// Everything up to the first load.
fn begin(
    settings: Settings,
    stops: &Stops,
    current: Arc<Mutex<Option<String>>>,
) -> Result<Driver, Problem> {
    if settings.tries_bodies {
        // With a generator of its own: the search counts its time from the start of the other one.
        let mut generator = generator(&settings, stops)?;
        let timeout = settings.spec.request_timeout;
        try_bodies(&mut generator, settings.payload.bodies.len(), timeout)?;
    }
    let base_ns = settings.clock.now_ns();
    let generator = generator(&settings, stops)?;
    let observer = Observer { settings, base_ns, last_answer_ns: base_ns, current };
    Ok(Driver { generator, observer })
}

fn generator(settings: &Settings, stops: &Stops) -> Result<Generator, Problem> {
    let cpus = settings.spare_cpus.iter().filter_map(|&cpu| usize::try_from(cpu).ok()).collect();
    let options = GeneratorOptions {
        request_timeout: settings.spec.request_timeout,
        scheduling: Scheduling { realtime: true, cpus },
        ..GeneratorOptions::default()
    };
    let Settings { target, address, payload, spec, .. } = settings;
    let generator = Generator::start(target, address, Some(payload), &spec.inputs, &options)
        .map_err(Problem::of_generator)?;
    stops.include(generator.cancel_handle());
    Ok(generator)
}

/// About how long the work takes, for people who wait.
pub(super) fn expected_duration(work: &Work) -> Duration {
    match work {
        Work::Search(plan) => {
            let typical = match plan.mode {
                Mode::Quick => Duration::from_secs(50),
                Mode::Full => Duration::from_secs(150),
            };
            (typical + plan.soak.unwrap_or_default()).min(plan.max_duration)
        }
        Work::Load(load) => load.duration(),
    }
}

struct Driver {
    generator: Generator,
    observer: Observer,
}

impl Driver {
    fn stay_on_spare_cpus(&self) {
        let spare = &self.observer.settings.spare_cpus;
        if !spare.is_empty()
            && let Err(error) = rustix::thread::sched_setaffinity(None, &cpu_set(spare))
        {
            tracing::debug!(%error, "the measuring thread shares the model's processors");
        }
    }

    fn drive(&mut self) -> Result<Record, Problem> {
        let spec = Arc::clone(&self.observer.settings.spec);
        let measured = match &spec.work {
            Work::Search(plan) => self.search(plan),
            Work::Load(LoadProfile::Phases(phases)) => self.hold(phases),
            Work::Load(LoadProfile::Stepped(load)) => self.hold_until_stopped(load),
            // It was read, and became a phase, before anything was served.
            Work::Load(LoadProfile::Recorded(_)) => {
                Err(Problem::Generator("the recorded arrivals were not read".to_owned()))
            }
        };
        let base_ns = self.observer.base_ns;
        let elapsed_ns = self.observer.settings.clock.now_ns().saturating_sub(base_ns);
        Ok(Record { measured: measured?, base_ns, elapsed: Duration::from_nanos(elapsed_ns) })
    }

    fn search(&mut self, plan: &SearchPlan) -> Result<Measured, Problem> {
        let Self { generator, observer } = self;
        let cancel = generator.cancel_handle();
        let mut problem = None;
        let log = observer.settings.batch_log.as_ref();
        let mut reader = log.map(|log| log.reader(generator.clock()));
        let batches = |step: &StepObservation| {
            reader.as_mut().map_or_else(Vec::new, |reader| reader.of_step(step))
        };
        let run = capacity::search(generator, plan, batches, |event| match event {
            SearchEvent::StepPlanned(step) => observer.planned(step),
            SearchEvent::StepFinished(record) => {
                observer.finished(record);
                if problem.is_none() {
                    problem = observer.check(record).err();
                    if problem.is_some() {
                        cancel.cancel();
                    }
                }
            }
        })
        .map_err(Problem::of_generator)?;
        if let Some(problem) = problem {
            return Err(problem);
        }
        match &run.end {
            SearchEnd::Answered(_) => Ok(Measured::Search(Box::new(run))),
            SearchEnd::Failed(failure) => {
                let first_failure =
                    run.steps.iter().find_map(|step| step.figures.first_failure.clone());
                Err(Problem::Search {
                    failure: failure.clone(),
                    first_failure: first_failure.map(Box::new),
                })
            }
            SearchEnd::TargetLost { reason } => Err(Problem::TargetLost { reason: reason.clone() }),
            SearchEnd::Cancelled => Err(Problem::Generator("the load was cancelled".to_owned())),
        }
    }

    fn hold(&mut self, phases: &[Phase]) -> Result<Measured, Problem> {
        let mut in_flight = VecDeque::new();
        let mut steps = Vec::new();
        for (index, phase) in (0..).zip(phases) {
            in_flight.push_back(self.begin(index, phase)?);
            // One phase ahead, so that the next follows without a gap.
            if in_flight.len() > 1 {
                steps.push(self.take(&mut in_flight)?.0);
            }
        }
        while !in_flight.is_empty() {
            steps.push(self.take(&mut in_flight)?.0);
        }
        Ok(Measured::Fixed(steps))
    }

    fn hold_until_stopped(&mut self, load: &SteppedLoad) -> Result<Measured, Problem> {
        let mut levels = Levels::new(load);
        let mut in_flight = VecDeque::new();
        let mut next = (0..).zip(load.segments());
        let mut stopped_by = None;
        while stopped_by.is_none() {
            // One segment ahead, so that the next follows without a gap.
            while in_flight.len() < 2
                && let Some((index, segment)) = next.next()
            {
                in_flight.push_back(self.begin(index, &segment.phase)?);
            }
            if in_flight.is_empty() {
                break;
            }
            let (record, observation) = self.take(&mut in_flight)?;
            stopped_by = levels.add(record, &observation);
        }
        // Whatever is in flight is of no use any more.
        self.generator.cancel_handle().cancel();
        levels.answer(stopped_by.unwrap_or(StopCause::LoadEnded))
    }

    /// Hands a segment of fixed load to the generator.
    fn begin(&mut self, index: u32, phase: &Phase) -> Result<StepPlan, Problem> {
        let step = fixed_step(index, phase, self.observer.settings.spec.request_timeout);
        self.generator.submit(&step).map_err(Problem::of_generator)?;
        self.observer.planned(&step);
        Ok(step)
    }

    /// Waits for the oldest step in flight.
    fn take(
        &mut self,
        in_flight: &mut VecDeque<StepPlan>,
    ) -> Result<(StepRecord, StepObservation), Problem> {
        let result = self.generator.wait_next().map_err(Problem::of_generator)?;
        let (Some(result), Some(step)) = (result, in_flight.pop_front()) else {
            return Err(Problem::TargetLost { reason: "the load generator has ended".to_owned() });
        };
        let (end, observation) = (result.end.clone(), result.observation.clone());
        let record = StepRecord::new(step, &[], 1.0, result);
        self.observer.finished(&record);
        match end {
            StepEnd::Complete | StepEnd::Cancelled => {}
            StepEnd::TargetLost { reason } => return Err(Problem::TargetLost { reason }),
        }
        self.observer.check(&record)?;
        Ok((record, observation))
    }
}

/// Watches steps: reports them, and looks whether going on makes sense.
struct Observer {
    settings: Settings,
    /// The generator's origin on the trial's clock.
    base_ns: u64,
    last_answer_ns: u64,
    current: Arc<Mutex<Option<String>>>,
}

impl Observer {
    fn planned(&self, step: &StepPlan) {
        // A step that does not follow another without a pause begins now.
        self.settings.sampler.mark();
        let words = in_words(step);
        *self.current.lock().unwrap_or_else(PoisonError::into_inner) =
            Some(format!("step {} ({words})", step.index));
        let expected = expected_duration(&self.settings.spec.work);
        let elapsed =
            Duration::from_nanos(self.settings.clock.now_ns().saturating_sub(self.base_ns));
        let share = elapsed.as_secs_f64() / expected.as_secs_f64().max(1e-3);
        let stage =
            if step.purpose == Purpose::WarmUp { Stage::WarmingUp } else { Stage::Searching };
        let progress = Progress {
            stage,
            message: match &self.settings.outlook {
                Some(outlook) => format!("{words}; {outlook}"),
                None => words,
            },
            // Measuring takes as long as it takes: the estimate never says that it is over.
            fraction: (0.05 + 0.9 * share).min(0.95),
            left: expected.saturating_sub(elapsed),
        };
        let _ = self.settings.events.send(TrialEvent::Progressed(progress));
    }

    fn finished(&self, record: &StepRecord) {
        self.settings.sampler.mark();
        let (from_ns, to_ns) = span_ns(self.base_ns, record);
        let sampled = self.settings.sampler.window(from_ns, to_ns);
        let report = record.result(self.settings.observability.narrowed(sampled));
        let _ = self.settings.events.send(TrialEvent::StepFinished(Box::new(report)));
    }

    fn check(&mut self, record: &StepRecord) -> Result<(), Problem> {
        let figures = &record.figures;
        let words = || format!("step {} ({})", record.plan.index, in_words(&record.plan));
        if let Some(failure) = &figures.first_failure {
            let calls = (figures.answered + figures.errors.total()).max(1) as f64;
            // A full queue (503) and time-outs are what overload looks like; the search knows that.
            let of_the_model = failure.kind == ErrorKind::Status && failure.status != Some(503);
            let altogether = figures.errors.status as f64 / calls > FAILING_ALTOGETHER;
            let broken = figures.errors.reset + figures.errors.connect + figures.errors.malformed;
            if (of_the_model && altogether) || (broken > 0 && figures.answered == 0) {
                return Err(Problem::Failing { step: words(), failure: Box::new(failure.clone()) });
            }
        }
        let now_ns = self.settings.clock.now_ns();
        // Far beyond capacity every answer is late, and yet the model does not hang.
        let answers = figures.answered + figures.late_answers;
        if answers > 0 {
            self.last_answer_ns = now_ns;
        }
        let silent_for = Duration::from_nanos(now_ns.saturating_sub(self.last_answer_ns));
        let sent = figures.sent + figures.carried_in > 0;
        if sent && answers == 0 && silent_for > self.settings.spec.request_timeout {
            return Err(Problem::Hangs { step: words(), silent_for });
        }
        Ok(())
    }
}

/// A step in words, such as `staircase, 4 users` or `main, open loop 2120/min`.
fn in_words(step: &StepPlan) -> String {
    let purpose = step.purpose;
    match &step.load {
        Load::Closed { users: 1 } => format!("{purpose}, 1 user"),
        Load::Closed { users } => format!("{purpose}, {users} users"),
        Load::Open { rate, .. } => format!("{purpose}, open loop {:.0}/min", rate.as_per_minute()),
        Load::Replay { at_us } => format!("{purpose}, {} recorded calls", at_us.len()),
    }
}

/// Sends bodies one at a time, each once: what an endpoint does not take is told before any load.
fn try_bodies(generator: &mut Generator, bodies: usize, timeout: Duration) -> Result<(), Problem> {
    for number in 0..bodies {
        if Duration::from_nanos(generator.clock().now_ns()) > CHECK_AT_MOST {
            tracing::info!(
                number,
                of = bodies,
                "the rest of the payload is not checked one by one"
            );
            return Ok(());
        }
        let index = u32::try_from(number).unwrap_or(u32::MAX);
        // Beyond it the request has failed.
        let step = one_request(index, timeout + Duration::from_secs(1));
        generator.submit(&step).map_err(Problem::of_generator)?;
        let result = generator.wait_next().map_err(Problem::of_generator)?;
        let gone = || Problem::Generator("the load was cancelled".to_owned());
        let result = result.ok_or_else(gone)?;
        match result.end {
            StepEnd::Complete => {}
            StepEnd::Cancelled => return Err(gone()),
            StepEnd::TargetLost { reason } => return Err(Problem::TargetLost { reason }),
        }
        if let Some(failure) = result.figures.first_failure {
            return Err(Problem::BodyRefused { number, failure: Box::new(failure) });
        }
    }
    Ok(())
}
