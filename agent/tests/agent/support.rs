//! A scripted coordinator, and everything needed to run an agent against it.

use std::{
    collections::{BTreeMap, HashMap},
    num::NonZeroU32,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use assay_agent::{
    artifact_cache::ArtifactCache,
    confinement::means::Means,
    daemon::{self, EndRequest, Ended},
    hardware::facts::{Machine, host_facts},
    identity::{InstanceType, Source, host_fingerprint},
    link::{
        Introduction,
        coordinator::{Coordinates, Coordinator},
    },
    runner::Runner,
    sandbox::mounts::Hierarchies,
};
use assay_measure::{
    configuration::Configuration,
    ids::{AgentName, InstanceTypeName, Sha256, TrialId},
    load_profile::LoadProfile,
    outcome::TrialOutcome,
    schedule::{Load, Phase},
    trial::{ArtifactRef, Payload, ServedModel, TrialSpec, TrialSubject, Work},
    units::Bytes,
};
use assay_proto::v1::{
    self, Acknowledge, AgentMessage, ArtifactChunk, CoordinatorMessage, FetchArtifactRequest,
    HeartbeatSeen, Register, Registered, acknowledge, agent_message, coordinator_message,
};
use sha2::Digest;
use tokio::{
    sync::{Notify, mpsc},
    task::JoinSet,
};
use tokio_stream::{
    StreamExt,
    wrappers::{ReceiverStream, TcpListenerStream},
};
use tonic::{Request, Response, Status, Streaming};

/// Everything waited for happens within this, or the test fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// A coordinator that says what it is told to.
#[derive(Clone)]
pub(crate) struct TestCoordinator {
    pub(crate) url: String,
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    changed: Notify,
}

/// What was received, and how to answer.
pub(crate) struct State {
    pub(crate) registrations: Vec<Register>,
    pub(crate) authorizations: Vec<Option<String>>,
    pub(crate) heartbeats: Vec<v1::Heartbeat>,
    pub(crate) progress: Vec<v1::TrialProgress>,
    pub(crate) steps: Vec<v1::StepFinished>,
    pub(crate) outcomes: Vec<v1::TrialFinished>,
    pub(crate) declined: Vec<v1::TrialDeclined>,
    pub(crate) fetches: Vec<FetchArtifactRequest>,
    /// Answer every registration with this.
    pub(crate) refuse: Option<Status>,
    pub(crate) held_trial_stands: bool,
    pub(crate) lease_stands: bool,
    /// Acknowledge every report at once: with this word on staleness.
    pub(crate) acknowledge: Option<Acknowledged>,
    /// A report of more bytes ends the stream, as one beyond the message limit does.
    pub(crate) largest_report: usize,
    pub(crate) too_large: usize,
    artifacts: HashMap<String, Vec<u8>>,
    stream: Option<mpsc::Sender<Result<CoordinatorMessage, Status>>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Acknowledged {
    Stored,
    Stale,
}

impl TestCoordinator {
    pub(crate) async fn start() -> Self {
        let state = State {
            registrations: vec![],
            authorizations: vec![],
            heartbeats: vec![],
            progress: vec![],
            steps: vec![],
            outcomes: vec![],
            declined: vec![],
            fetches: vec![],
            refuse: None,
            held_trial_stands: true,
            lease_stands: true,
            acknowledge: Some(Acknowledged::Stored),
            largest_report: usize::MAX,
            too_large: 0,
            artifacts: HashMap::new(),
            stream: None,
        };
        let shared = Arc::new(Shared { state: Mutex::new(state), changed: Notify::new() });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let service =
            v1::agent_service_server::AgentServiceServer::new(Service(Arc::clone(&shared)));
        // Ends with the test's runtime.
        tokio::spawn(
            tonic::transport::Server::builder()
                .add_service(service)
                .serve_with_incoming(TcpListenerStream::new(listener)),
        );
        Self { url, shared }
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap()
    }

    /// Waits until the state fulfils a condition.
    pub(crate) async fn until<T>(
        &self,
        what: &str,
        mut condition: impl FnMut(&State) -> Option<T>,
    ) -> T {
        let wait = async {
            loop {
                let changed = self.shared.changed.notified();
                if let Some(found) = condition(&self.state()) {
                    return found;
                }
                changed.await;
            }
        };
        tokio::time::timeout(PATIENCE, wait)
            .await
            .unwrap_or_else(|_| panic!("waited in vain for {what}"))
    }

    pub(crate) async fn until_attached(&self, times: usize) {
        self.until("a registration", |state| {
            (state.registrations.len() >= times && state.stream.is_some()).then_some(())
        })
        .await;
    }

    pub(crate) async fn outcome(&self) -> TrialOutcome {
        let finished = self.until("an outcome", |state| state.outcomes.last().cloned()).await;
        finished.outcome.unwrap().try_into().unwrap()
    }

    /// Says something on the current stream.
    pub(crate) async fn say(&self, message: coordinator_message::Message) {
        let stream = self.state().stream.clone().expect("no agent is attached");
        stream.send(Ok(CoordinatorMessage { message: Some(message) })).await.unwrap();
    }

    pub(crate) async fn start_trial(&self, token: &str, spec: &TrialSpec) {
        let start =
            v1::StartTrial { lease_token: token.to_owned(), spec: Some(spec.clone().into()) };
        self.say(coordinator_message::Message::StartTrial(start)).await;
    }

    /// Ends the current stream, as a restart or a broken network does.
    pub(crate) fn cut(&self) {
        self.state().stream = None;
    }

    pub(crate) fn add_artifact(&self, name: &str, content: &[u8]) -> ArtifactRef {
        let sha256 = hex::encode(sha2::Sha256::digest(content));
        self.state().artifacts.insert(sha256.clone(), content.to_vec());
        ArtifactRef {
            name: name.to_owned(),
            sha256: Sha256::new(sha256).unwrap(),
            size_bytes: Bytes::new(content.len() as u64),
        }
    }

    /// Has other bytes delivered than those announced.
    pub(crate) fn damage(&self, artifact: &ArtifactRef) {
        self.state().artifacts.insert(artifact.sha256.to_string(), b"something else".to_vec());
    }
}

struct Service(Arc<Shared>);

impl Service {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap()
    }
}

fn is_too_large(shared: &Shared, message: &agent_message::Message) -> bool {
    let mut state = shared.state.lock().unwrap();
    let is_report = matches!(
        message,
        agent_message::Message::StepFinished(_) | agent_message::Message::TrialFinished(_)
    );
    let too_large = is_report && message.encoded_len() > state.largest_report;
    state.too_large += usize::from(too_large);
    drop(state);
    shared.changed.notify_waiters();
    too_large
}

fn note(shared: &Shared, message: agent_message::Message) -> Vec<CoordinatorMessage> {
    let mut state = shared.state.lock().unwrap();
    let acknowledge = |trial_id: &str, lease_token: &str, what, how| CoordinatorMessage {
        message: Some(coordinator_message::Message::Acknowledge(Acknowledge {
            trial_id: trial_id.to_owned(),
            lease_token: lease_token.to_owned(),
            what: Some(what),
            stale: how == Acknowledged::Stale,
        })),
    };
    let mut answers = Vec::new();
    match message {
        agent_message::Message::Register(_) => {}
        agent_message::Message::Heartbeat(heartbeat) => {
            state.heartbeats.push(heartbeat);
            let seen = HeartbeatSeen { lease_stands: state.lease_stands };
            answers.push(CoordinatorMessage {
                message: Some(coordinator_message::Message::HeartbeatSeen(seen)),
            });
        }
        agent_message::Message::TrialProgress(progress) => state.progress.push(progress),
        agent_message::Message::StepFinished(step) => {
            let index = step.step.as_ref().unwrap().index;
            let what = acknowledge::What::StepIndex(index);
            answers.extend(
                state
                    .acknowledge
                    .map(|how| acknowledge(&step.trial_id, &step.lease_token, what, how)),
            );
            state.steps.push(step);
        }
        agent_message::Message::TrialFinished(finished) => {
            let what = acknowledge::What::Outcome(true);
            answers.extend(
                state
                    .acknowledge
                    .map(|how| acknowledge(&finished.trial_id, &finished.lease_token, what, how)),
            );
            state.outcomes.push(finished);
        }
        agent_message::Message::TrialDeclined(declined) => state.declined.push(declined),
    }
    drop(state);
    shared.changed.notify_waiters();
    answers
}

#[tonic::async_trait]
impl v1::agent_service_server::AgentService for Service {
    type AttachStream = ReceiverStream<Result<CoordinatorMessage, Status>>;

    async fn attach(
        &self,
        request: Request<Streaming<AgentMessage>>,
    ) -> Result<Response<Self::AttachStream>, Status> {
        let authorization =
            request.metadata().get("authorization").map(|value| value.to_str().unwrap().to_owned());
        let mut incoming = request.into_inner();
        let first = incoming.message().await?.and_then(|message| message.message);
        let Some(agent_message::Message::Register(register)) = first else {
            return Err(Status::invalid_argument("the first message must be a registration"));
        };
        let (sender, receiver) = mpsc::channel(64);
        let registered = {
            let mut state = self.state();
            state.registrations.push(register);
            state.authorizations.push(authorization);
            if let Some(status) = state.refuse.clone() {
                self.0.changed.notify_waiters();
                return Err(status);
            }
            state.stream = Some(sender.clone());
            Registered {
                heartbeat_interval_us: 200_000,
                lease_us: 2_000_000,
                coordinator_version: "test".to_owned(),
                held_trial_stands: state.held_trial_stands,
            }
        };
        let hello = CoordinatorMessage {
            message: Some(coordinator_message::Message::Registered(registered)),
        };
        sender.send(Ok(hello)).await.unwrap();
        self.0.changed.notify_waiters();
        let shared = Arc::clone(&self.0);
        // Weak: the stream ends once the state forgets it.
        let weak = sender.downgrade();
        drop(sender);
        tokio::spawn(async move {
            while let Ok(Some(AgentMessage { message: Some(message) })) = incoming.message().await {
                if is_too_large(&shared, &message) {
                    let refused = Status::out_of_range("decoded message length too large");
                    let Some(sender) = weak.upgrade() else { return };
                    sender.send(Err(refused)).await.ok();
                    return;
                }
                for answer in note(&shared, message) {
                    let Some(sender) = weak.upgrade() else { return };
                    sender.send(Ok(answer)).await.ok();
                }
            }
        });
        Ok(Response::new(ReceiverStream::new(receiver)))
    }

    type FetchArtifactStream =
        futures_util::stream::BoxStream<'static, Result<ArtifactChunk, Status>>;

    async fn fetch_artifact(
        &self,
        request: Request<FetchArtifactRequest>,
    ) -> Result<Response<Self::FetchArtifactStream>, Status> {
        let request = request.into_inner();
        let mut state = self.state();
        state.fetches.push(request.clone());
        let content = state.artifacts.get(&request.sha256).cloned();
        let content = content.ok_or_else(|| Status::not_found("no such artifact"))?;
        let offset = usize::try_from(request.offset_bytes).unwrap();
        let chunks: Vec<_> = content[offset..]
            .chunks(7)
            .map(|chunk| Ok(ArtifactChunk { data: bytes::Bytes::copy_from_slice(chunk) }))
            .collect();
        Ok(Response::new(Box::pin(tokio_stream::iter(chunks).map(|chunk| chunk))))
    }
}

/// The program in `examples/fake_host.rs`.
pub(crate) fn fake_host() -> PathBuf {
    example("fake_host")
}

/// A program in `examples`, which cargo builds with the tests.
pub(crate) fn example(name: &str) -> PathBuf {
    let own = std::env::current_exe().unwrap();
    let path = own.ancestors().nth(2).unwrap().join("examples").join(name);
    assert!(
        path.is_file(),
        "{} is missing: run `cargo test -p assay-agent` or build its examples",
        path.display()
    );
    path
}

/// An agent's surroundings; the cache is removed with it.
pub(crate) struct Place {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) runner: Arc<Runner>,
    coordinator: Coordinator,
}

impl Place {
    pub(crate) fn new(coordinator: &TestCoordinator) -> Self {
        Self::with(coordinator, Hierarchies::of_this_process(), fake_host())
    }

    /// A place in which starting a host fails: whatever else is told was found out before.
    pub(crate) fn without_host(coordinator: &TestCoordinator) -> Self {
        Self::with(coordinator, Hierarchies::default(), "/nonexistent/assay-host".into())
    }

    pub(crate) fn with(
        coordinator: &TestCoordinator,
        hierarchies: Hierarchies,
        host: PathBuf,
    ) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let coordinates = Coordinates {
            url: coordinator.url.clone(),
            ca_certificate: None,
            token: Some("secret".to_owned()),
        };
        let coordinator = Coordinator::new(&coordinates).unwrap();
        let runner = Arc::new(Runner {
            coordinator: coordinator.clone(),
            cache: ArtifactCache::open(folder.path().join("cache"), Bytes::mib(100)).unwrap(),
            host_program: Some(host),
            operator_libraries: Vec::new(),
            machine: Machine::here(),
            hierarchies,
            means: Means::of_this_process(),
            endpoints: BTreeMap::new(),
        });
        Self { folder, runner, coordinator }
    }

    /// The same with an endpoint that the agent may load.
    pub(crate) fn offering(mut self, name: &str, url: &str) -> Self {
        let runner = Arc::get_mut(&mut self.runner).expect("no trial has begun");
        runner.endpoints.insert(name.parse().unwrap(), url.parse().unwrap());
        self
    }

    /// Runs the agent in the background.
    pub(crate) fn agent(&self, name: &str) -> Agent {
        let introduction = Introduction {
            name: AgentName::new(name).unwrap(),
            instance_type: InstanceType {
                name: InstanceTypeName::new("local").unwrap(),
                source: Source::Local,
            },
            fingerprint: host_fingerprint(),
            host: host_facts(&Machine::here()),
            labels: BTreeMap::from([("rack".to_owned(), "7".to_owned())]),
            emulates: true,
            endpoints: self.runner.endpoints.keys().cloned().collect(),
        };
        let (end, end_requests) = mpsc::channel(4);
        let mut task = JoinSet::new();
        task.spawn(daemon::run(
            self.coordinator.clone(),
            introduction,
            Arc::clone(&self.runner),
            end_requests,
        ));
        Agent { end, task }
    }

    /// The processes of hosts that serve a model of this place's cache.
    pub(crate) fn host_processes(&self) -> Vec<rustix::process::Pid> {
        let cache = self.folder.path().display().to_string();
        let serves = |id: &i32| {
            let line = std::fs::read(format!("/proc/{id}/cmdline")).unwrap_or_default();
            let mut words = line.split(|byte| *byte == 0).map(String::from_utf8_lossy);
            let program = words.next().unwrap_or_default().into_owned();
            program.contains("host") && words.any(|word| word.starts_with(&cache))
        };
        let entries = std::fs::read_dir("/proc").unwrap().flatten();
        let ids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
        ids.filter(serves).filter_map(rustix::process::Pid::from_raw).collect()
    }

    /// The host's process, once it runs.
    pub(crate) async fn host_process(&self) -> rustix::process::Pid {
        for _ in 0..1000 {
            if let Some(process) = self.host_processes().pop() {
                return process;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("the host did not start");
    }

    /// A file that tells the fake host what to do.
    pub(crate) fn model(told: &[(&str, &str)]) -> String {
        told.iter().map(|(word, what)| format!("{word} {what}\n")).collect()
    }

    /// A trial of a host that behaves as `behaviour` says, under a short fixed load.
    pub(crate) fn spec(&self, coordinator: &TestCoordinator, behaviour: &str) -> TrialSpec {
        let two = NonZeroU32::new(2).unwrap();
        let configuration = Configuration::cpu(two, NonZeroU32::MIN);
        let model = Self::model(&[("host", behaviour)]);
        TrialSpec {
            id: TrialId::new("demo/0").unwrap(),
            instance_type: InstanceTypeName::new("ml.c5.large").unwrap(),
            subject: TrialSubject::Served(ServedModel {
                emulated: None,
                configuration,
                model: coordinator.add_artifact("model.pt", model.as_bytes()),
                ready_within: Duration::from_secs(10),
            }),
            payload: Payload {
                artifact: coordinator.add_artifact("body.json", b"[1,2,3]"),
                is_archive: false,
                content_type: "application/json".to_owned(),
            },
            inputs: vec!["float32[1,3]".parse().unwrap()],
            work: users_for(2, 400),
            request_timeout: Duration::from_secs(1),
        }
    }
}

/// So many users for so many milliseconds.
pub(crate) fn users_for(users: u32, milliseconds: u64) -> Work {
    Work::Load(LoadProfile::Phases(vec![Phase {
        load: Load::Closed { users },
        duration: Duration::from_millis(milliseconds),
    }]))
}

pub(crate) struct Agent {
    end: mpsc::Sender<EndRequest>,
    task: JoinSet<Ended>,
}

impl Agent {
    pub(crate) async fn ask_to_end(&self) {
        self.end.send(EndRequest { by: "SIGTERM".to_owned() }).await.unwrap();
    }

    pub(crate) async fn ended(&mut self) -> Ended {
        let ended = tokio::time::timeout(PATIENCE, self.task.join_next()).await;
        ended.expect("the agent did not end").unwrap().unwrap()
    }
}

/// Waits until a process is gone, or only waits to be reaped by somebody else.
pub(crate) async fn until_gone(process: rustix::process::Pid) {
    for _ in 0..500 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", process.as_raw_nonzero()))
            .unwrap_or_default();
        if stat.is_empty() || stat.contains(") Z ") {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{process:?} still runs");
}
