//! One trial, from the artifacts to the figures: fetch, sandbox, start, check, measure, cool down, judge.
//!
//! Whatever the model does (raise, crash, hang, eat memory, not even load) ends the trial with its
//! reason and never the agent. The host's exit, its memory and the wish to cancel are watched at
//! every stage; when the trial is over, however it went, nothing of it is left running.

mod cancellation;
mod comparison;
mod endpoint;
mod failure;
mod file_names;
mod levels;
mod measurement;
mod measuring;
mod observability;
mod problem;
mod record;
mod stops;

use std::{collections::BTreeMap, path::PathBuf, sync::Arc, time::Duration};

use assay_measure::{
    hardware::{LimitInForce, Utilization},
    ids::EndpointName,
    load_profile::LoadProfile,
    outcome::{FailureKind, Progress, Stage, StepResult, TrialOutcome},
    schedule::recorded,
    search::Outlook,
    trial::{ServedModel, TrialSpec, TrialSubject, Work},
    units::Bytes,
    validity::{Evidence, judge},
};
use tokio::sync::mpsc;

use crate::{
    artifact_cache::{ArtifactCache, CachedArtifact},
    clock::Clock,
    confinement::means::Means,
    hardware::{
        evidence,
        facts::{Machine, host_facts},
        sampler::Sampler,
    },
    link::coordinator::Coordinator,
    model_host::{self, ModelHost, Serving, Surroundings, client},
    payload::Payload,
    sandbox::{Allotment, Sandbox, mounts::Hierarchies, watchdog},
    target::{Address, Target},
};
pub use cancellation::Cancellation;
use failure::{Stop, failed};
use file_names::FileNames;
use measuring::Measuring;
use observability::Observability;
use record::Record;

/// How long the machine is watched without load at the end.
const COOL_DOWN: Duration = Duration::from_secs(2);
/// Checking every body of a large payload must not take longer than measuring.
const CHECK_AT_MOST: Duration = Duration::from_secs(20);

/// The staircase looks at several users in front of each worker; so many passes may wait for each other.
const LONGEST_QUEUE_OF_PASSES: u32 = 16;

/// What a running trial says of itself.
#[derive(Debug)]
pub enum TrialEvent {
    /// How far it is. Lost when nobody listens.
    Progressed(Progress),
    /// A step came to its end. Kept until acknowledged.
    StepFinished(Box<StepResult>),
}

/// What all trials of this agent share.
#[derive(Debug)]
pub struct Runner {
    pub coordinator: Coordinator,
    pub cache: ArtifactCache,
    /// The model host program, if the user named one.
    pub host_program: Option<PathBuf>,
    /// Libraries of custom operators for every model, as absolute paths.
    pub operator_libraries: Vec<PathBuf>,
    pub machine: Machine,
    /// The control groups of this process.
    pub hierarchies: Hierarchies,
    /// What this machine has to keep a model in.
    pub means: Means,
    /// Running servers that the operator lets this agent load, by name.
    pub endpoints: BTreeMap<EndpointName, Target>,
}

impl Runner {
    /// Runs one trial to its end.
    pub async fn run(
        self: Arc<Self>,
        spec: TrialSpec,
        events: mpsc::UnboundedSender<TrialEvent>,
        cancellation: Cancellation,
    ) -> TrialOutcome {
        let mut trial = Trial::new(self, Arc::new(spec), events);
        let outcome = tokio::select! {
            outcome = trial.perform() => outcome.unwrap_or_else(|stop| TrialOutcome::Failed(stop.into_failure())),
            by = cancellation.cancelled() => TrialOutcome::Cancelled { by },
        };
        let outcome = trial.file_names.in_outcome(outcome);
        trial.clean_up().await;
        outcome
    }
}

/// A trial under way: what it holds is released by [`Trial::clean_up`].
struct Trial {
    runner: Arc<Runner>,
    spec: Arc<TrialSpec>,
    file_names: FileNames,
    events: mpsc::UnboundedSender<TrialEvent>,
    clock: Clock,
    sampler: Option<Arc<Sampler>>,
    sandbox: Option<Sandbox>,
    host: Option<ModelHost>,
    measuring: Option<Measuring>,
    /// The names of the payload's bodies, as far as they have any.
    body_names: Vec<String>,
    /// What people should know besides the figures.
    remarks: Vec<String>,
    /// Processes killed on this machine for want of memory, before the host was started.
    oom_kills_before: u64,
}

/// What is there once the host serves.
struct Serves {
    address: std::net::SocketAddr,
    payload: Payload,
    ready_after: Duration,
    allotment: Allotment,
    sampler: Arc<Sampler>,
}

impl Trial {
    fn new(
        runner: Arc<Runner>,
        spec: Arc<TrialSpec>,
        events: mpsc::UnboundedSender<TrialEvent>,
    ) -> Self {
        let file_names = FileNames::of_trial(&spec, &runner.cache);
        Self {
            runner,
            spec,
            file_names,
            events,
            clock: Clock::start(),
            sampler: None,
            sandbox: None,
            host: None,
            measuring: None,
            body_names: Vec::new(),
            remarks: Vec::new(),
            oom_kills_before: failure::machine_oom_kills(),
        }
    }

    async fn perform(&mut self) -> Result<TrialOutcome, Stop> {
        let spec = Arc::clone(&self.spec);
        match &spec.subject {
            TrialSubject::Served(served) => self.perform_on_model(served).await,
            TrialSubject::Endpoint { endpoint } => self.perform_on_endpoint(endpoint).await,
        }
    }

    async fn perform_on_model(&mut self, served: &ServedModel) -> Result<TrialOutcome, Stop> {
        // A shape that does not fit is told before anything is fetched.
        let allotment = Allotment::of(&self.runner.machine, served.emulated)
            .map_err(|error| failed(FailureKind::Sandbox, &error))?;
        self.progress(Stage::Fetching, format!("fetching {}", served.model.name), 0.0);
        let model = self.fetch(served.model.clone()).await?;
        let payload = self.read_payload().await?;
        let outputs = self.compare_outputs(served, &model, &payload, &allotment).await?;
        self.progress(
            Stage::Starting,
            format!("starting the model host: {}", served.configuration),
            0.02,
        );
        let serves = self.start_host(served, &model, payload, allotment).await?;
        self.progress(Stage::WarmingUp, "checking the payload".to_owned(), 0.04);
        let pass = self.check_payload(&serves).await?;
        let outlook = self.look_ahead(served, pass)?;
        self.give_slow_passes_time(pass);
        let record = self.measure(&serves, outlook).await?;
        self.check_still_answers(&serves).await?;
        self.progress(Stage::CoolingDown, "watching the machine without load".to_owned(), 0.97);
        let (idle, statistics) = self.cool_down(&serves).await?;
        let context = measurement::Context {
            spec: &self.spec,
            host: host_facts(&self.runner.machine),
            limits_in_force: self.limits_in_force(),
            statistics: statistics.unwrap_or_default(),
            idle,
            outputs,
            remarks: std::mem::take(&mut self.remarks),
            ready_after: serves.ready_after,
            took: Duration::from_nanos(self.clock.now_ns()),
            sampler: &serves.sampler,
            observability: Observability::Process,
            model_vcpus: serves.allotment.model_cpus.len(),
            shares_cores: serves.allotment.spare_cpus.is_empty(),
        };
        Ok(TrialOutcome::Measured(Box::new(measurement::measurement(record, context))))
    }

    /// What held for the host: how much it got, and what kept it in.
    fn limits_in_force(&self) -> Vec<LimitInForce> {
        let sandbox = self.sandbox.as_ref().map(Sandbox::limits_in_force).unwrap_or_default();
        let host = self.host.as_ref().map(ModelHost::in_force).unwrap_or_default();
        [sandbox, host].concat()
    }

    fn progress(&self, stage: Stage, message: String, fraction: f64) {
        let left = measuring::expected_duration(&self.spec.work).mul_f64(1.0 - fraction);
        let progress = Progress { stage, message, fraction, left };
        // Whoever listened has gone; the trial will be told so.
        let _ = self.events.send(TrialEvent::Progressed(progress));
    }

    async fn fetch(
        &self,
        artifact: assay_measure::trial::ArtifactRef,
    ) -> Result<CachedArtifact, Stop> {
        let source = || self.runner.coordinator.fetch(&artifact.sha256);
        let fetched = self.runner.cache.get(&artifact, source).await;
        fetched.map_err(|error| failed(FailureKind::ArtifactUnavailable, &error))
    }

    async fn read_payload(&mut self) -> Result<Payload, Stop> {
        let artifact = self.fetch(self.spec.payload.artifact.clone()).await?;
        let spec = Arc::clone(&self.spec);
        let read = move || {
            let content_type = &spec.payload.content_type;
            if spec.payload.is_archive {
                Payload::read_archive(&artifact.path, content_type)
            } else {
                Payload::read_body(&artifact.path, content_type)
            }
        };
        let read = tokio::task::spawn_blocking(read).await;
        let payload = read
            .map_err(|error| failed(FailureKind::Internal, &error))?
            .map_err(|error| failed(FailureKind::PayloadRejected, &error))?;
        self.body_names.clone_from(&payload.names);
        self.remarks.extend(payload.passed_over.sentence());
        self.read_recording().await?;
        Ok(payload)
    }

    /// A load that was recorded becomes the phase that it is.
    async fn read_recording(&mut self) -> Result<(), Stop> {
        let Work::Load(LoadProfile::Recorded(recording)) = &self.spec.work else { return Ok(()) };
        let name = recording.artifact.name.clone();
        let file = self.fetch(recording.artifact.clone()).await?;
        let read = move || {
            let text = std::fs::read_to_string(&file.path).map_err(|error| error.to_string())?;
            recorded::parse(&text).map_err(|error| error.to_string())
        };
        let phase = tokio::task::spawn_blocking(read)
            .await
            .map_err(|error| failed(FailureKind::Internal, &error))?
            .map_err(|error| {
                let message = format!("the trace {name} cannot be replayed: {error}");
                Stop::new(FailureKind::PayloadRejected, message, String::new())
            })?;
        let work = Work::Load(LoadProfile::Phases(vec![phase]));
        self.spec = Arc::new(TrialSpec { work, ..TrialSpec::clone(&self.spec) });
        Ok(())
    }

    fn start_sampler(&mut self, cpus: Vec<u32>, memory: Bytes) -> Result<Arc<Sampler>, Stop> {
        let sampler = Sampler::start(self.clock, cpus, memory)
            .map_err(|error| failed(FailureKind::Internal, &error))?;
        Ok(Arc::clone(self.sampler.insert(Arc::new(sampler))))
    }

    async fn start_host(
        &mut self,
        served: &ServedModel,
        model: &CachedArtifact,
        payload: Payload,
        allotment: Allotment,
    ) -> Result<Serves, Stop> {
        let not_started =
            |error: &dyn std::error::Error| failed(FailureKind::HostStartFailed, error);
        let program = model_host::find_program(self.runner.host_program.as_deref())
            .map_err(|error| not_started(&error))?;
        let sampler = self.start_sampler(allotment.model_cpus.clone(), allotment.memory)?;
        let sandbox = self.sandbox.insert(Sandbox::set_up(&allotment, &self.runner.hierarchies));
        let serving = Serving {
            model: &model.path,
            configuration: &served.configuration,
            inputs: &self.spec.inputs,
        };
        let started_ns = self.clock.now_ns();
        let around = Surroundings {
            program: &program,
            sandbox,
            means: self.runner.means,
            operator_libraries: &self.runner.operator_libraries,
        };
        let host = ModelHost::start(&around, &serving).map_err(|error| not_started(&error))?;
        let host = self.host.insert(host);
        sampler.watch_host(Some(host.process_id()));
        let limit = sandbox.watched_memory();
        let process_id = host.process_id();
        let ready = tokio::select! {
            ready = host.ready(served.ready_within) => ready,
            used = over_limit(process_id, limit) => return Err(self.over_memory(used).await),
        };
        let address = match ready {
            Ok(address) => address,
            Err(problem) => return Err(self.not_ready(problem).await),
        };
        let ready_after = Duration::from_nanos(self.clock.now_ns().saturating_sub(started_ns));
        Ok(Serves { address, payload, ready_after, allotment, sampler })
    }

    /// Sends every body once: what the model does not take is told before any load. Returns the time of the
    /// fastest.
    async fn check_payload(&mut self, serves: &Serves) -> Result<Duration, Stop> {
        let begun_ns = self.clock.now_ns();
        let mut fastest = Duration::MAX;
        // Becoming ready took several passes: one that takes less is no hang.
        let timeout = self.spec.request_timeout.max(serves.ready_after);
        for (checked, body) in serves.payload.bodies.iter().enumerate() {
            let spent = Duration::from_nanos(self.clock.now_ns().saturating_sub(begun_ns));
            if spent > CHECK_AT_MOST {
                tracing::info!(
                    checked,
                    of = serves.payload.bodies.len(),
                    "the rest of the payload is not checked one by one"
                );
                break;
            }
            let content_type = serves.payload.content_type.clone();
            let (address, sent_ns) = (serves.address, self.clock.now_ns());
            let call =
                async move { client::invoke(address, &content_type, body.clone(), timeout).await };
            let answer = self.watching(call).await?;
            self.judge_check(checked, answer).await?;
            let took = Duration::from_nanos(self.clock.now_ns().saturating_sub(sent_ns));
            fastest = fastest.min(took);
        }
        Ok(fastest)
    }

    /// Whether the search will have too few requests, and that it makes no sense at all.
    fn look_ahead(&self, served: &ServedModel, pass: Duration) -> Result<Option<String>, Stop> {
        let Work::Search(plan) = &self.spec.work else { return Ok(None) };
        let outlook = Outlook::of(plan, pass, served.configuration.workers);
        if outlook.is_hopeless() {
            return Err(Stop::without_time(&outlook));
        }
        if !outlook.is_poor() {
            return Ok(None);
        }
        let told = format!("{outlook}; allow more with --ready-timeout and --max-duration");
        tracing::warn!(trial = %self.spec.id, "{told}");
        self.progress(Stage::WarmingUp, told.clone(), 0.04);
        Ok(Some(told))
    }

    /// Long passes that wait for each other are no hang.
    fn give_slow_passes_time(&mut self, pass: Duration) {
        let queue = pass.saturating_mul(LONGEST_QUEUE_OF_PASSES);
        if queue > self.spec.request_timeout {
            let mut spec = TrialSpec::clone(&self.spec);
            spec.request_timeout = queue;
            self.spec = Arc::new(spec);
        }
    }

    /// A short load can be over before a hanging model is noticed: it must answer once more.
    async fn check_still_answers(&mut self, serves: &Serves) -> Result<(), Stop> {
        let Some(body) = serves.payload.bodies.first().cloned() else { return Ok(()) };
        let content_type = serves.payload.content_type.clone();
        let (address, timeout) = (serves.address, self.spec.request_timeout);
        let call = async move { client::invoke(address, &content_type, body, timeout).await };
        match self.watching(call).await? {
            // An error now and then is in the figures already.
            Ok(_) => Ok(()),
            silence @ Err(_) => self.judge_check(0, silence).await,
        }
    }

    /// Puts the host under load until there is an answer.
    async fn measure(&mut self, serves: &Serves, outlook: Option<String>) -> Result<Record, Stop> {
        let target = Target::Http {
            host: serves.address.ip().to_string(),
            port: serves.address.port(),
            path: Some("/invocations".to_owned()),
        };
        let settings = measuring::Settings {
            spec: Arc::clone(&self.spec),
            target,
            address: Address::Tcp(serves.address),
            payload: serves.payload.clone(),
            tries_bodies: false,
            spare_cpus: serves.allotment.spare_cpus.clone(),
            clock: self.clock,
            sampler: Arc::clone(&serves.sampler),
            observability: Observability::Process,
            events: self.events.clone(),
            batch_log: self.host.as_ref().and_then(ModelHost::batch_log).cloned(),
            outlook,
        };
        self.load(settings).await
    }

    async fn load(&mut self, settings: measuring::Settings) -> Result<Record, Stop> {
        let (sampler, observability) = (Arc::clone(&settings.sampler), settings.observability);
        let from_ns = sampler.mark();
        let mut measuring =
            Measuring::start(settings).map_err(|error| failed(FailureKind::Generator, &error))?;
        let finished = measuring.take_finished();
        // Held by the trial, so that it is stopped however this ends.
        self.measuring = Some(measuring);
        match self.watching(finished).await? {
            Ok(record) => Ok(record),
            Err(problem) if problem.may_be_disturbed() => {
                let seen = observability.narrowed(self.window_until_now(&sampler, from_ns).await);
                let memory = self.runner.machine.memory;
                let machine = (observability != Observability::Nothing)
                    .then(|| evidence::of_window(&seen, memory));
                let validity = judge(&Evidence { machine, ..Evidence::default() });
                let took = Duration::from_nanos(self.clock.now_ns());
                Err(self.explain(problem).await.judged(validity, took))
            }
            Err(problem) => Err(self.explain(problem).await),
        }
    }

    /// Silence, to see what the machine does without load.
    async fn cool_down(
        &mut self,
        serves: &Serves,
    ) -> Result<(Utilization, Option<client::HostStatistics>), Stop> {
        let from_ns = serves.sampler.mark();
        self.watching(tokio::time::sleep(COOL_DOWN)).await?;
        let idle = self.window_until_now(&serves.sampler, from_ns).await;
        let statistics = self.watching(client::statistics(serves.address)).await?;
        Ok((idle, statistics))
    }

    async fn window_until_now(&self, sampler: &Arc<Sampler>, from_ns: u64) -> Utilization {
        let to_ns = sampler.mark();
        let sampler = Arc::clone(sampler);
        let window = tokio::task::spawn_blocking(move || sampler.window(from_ns, to_ns));
        window.await.unwrap_or_default()
    }

    /// Awaits something while the host lives within its memory. Its end ends the trial.
    async fn watching<T>(&mut self, work: impl Future<Output = T>) -> Result<T, Stop> {
        let Some(host) = &mut self.host else { return Ok(work.await) };
        let limit = self.sandbox.as_ref().and_then(Sandbox::watched_memory);
        let process_id = host.process_id();
        tokio::select! {
            // A host that died makes calls fail, too: its death is the reason.
            biased;
            exit = host.exited() => Err(self.host_died(exit).await),
            used = over_limit(process_id, limit) => Err(self.over_memory(used).await),
            done = work => Ok(done),
        }
    }

    /// Ends everything this trial has started.
    async fn clean_up(mut self) {
        if let Some(measuring) = &self.measuring {
            measuring.stop();
        }
        if let Some(mut host) = self.host.take() {
            host.kill().await;
        }
        let (measuring, sandbox, sampler) =
            (self.measuring.take(), self.sandbox.take(), self.sampler.take());
        // Joining threads and removing groups may take some milliseconds.
        let release = tokio::task::spawn_blocking(move || {
            drop(measuring);
            drop(sandbox);
            drop(sampler);
        });
        if release.await.is_err() {
            tracing::error!("cleaning up after a trial panicked");
        }
    }
}

async fn over_limit(process_id: u32, limit: Option<Bytes>) -> Bytes {
    match limit {
        Some(limit) => watchdog::exceeded(process_id, limit).await,
        None => std::future::pending().await,
    }
}
