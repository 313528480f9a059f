//! A coordinator on a scratch directory, clients, and an agent whose every move the test decides.

use std::{collections::HashMap, future::Future, num::NonZeroU32, path::PathBuf, time::Duration};

use assay_measure::{
    configuration::{Configuration, Graph},
    environment::BaseEnvironment,
    hardware::{HostFacts, Utilization},
    job::{CandidateType, JobSpec, JobSubject, ResourceLimits, Sweep},
    latency::Latency,
    outcome::{HarnessFigures, StepResult, TrialOutcome, TrialResult},
    search::{Answer, Confirmation, Estimate, LimitedBy, Mode, Purpose},
    trial::{ArtifactRef, Payload},
    units::{Bytes, Rate},
    validity::{Finding, FindingName, Validity, Verdict},
};
use assay_proto::v1::{
    self, agent_message, agent_service_client::AgentServiceClient, coordinator_message,
    fleet_service_client::FleetServiceClient, job_service_client::JobServiceClient,
    upload_artifact_request::Part,
};
use sha2::{Digest, Sha256};
use tempfile::TempDir;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming, transport::Channel};

use crate::{
    server::{RunningServer, Server, ServerFailed},
    settings::{AwsSettings, Listen, ServerSettings},
};

/// No wait in these tests is longer.
const PATIENCE: Duration = Duration::from_secs(20);

/// Waits, but not for ever.
pub(super) async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, future).await {
        Ok(value) => value,
        Err(_) => panic!("waited too long for {what}"),
    }
}

pub(super) struct Coordinator {
    pub(super) scratch: TempDir,
    lease_term: Duration,
    running: Option<RunningServer>,
    pub(super) url: String,
}

impl Coordinator {
    /// With leases that no test outlives.
    pub(super) async fn start() -> Self {
        Self::with_lease_term(Duration::from_secs(600)).await
    }

    pub(super) async fn with_lease_term(lease_term: Duration) -> Self {
        let scratch = tempfile::tempdir().unwrap();
        let mut coordinator = Self { scratch, lease_term, running: None, url: String::new() };
        coordinator.restart().await;
        coordinator
    }

    /// The directory that the SageMaker API may read files from.
    pub(super) fn files(&self) -> PathBuf {
        self.scratch.path().canonicalize().unwrap().join("files")
    }

    pub(crate) fn settings(&self) -> ServerSettings {
        let listen = Listen::At("127.0.0.1:0".parse().unwrap());
        std::fs::create_dir_all(self.files()).unwrap();
        let aws = AwsSettings { file_url_dirs: vec![self.files()], ..AwsSettings::default() };
        ServerSettings {
            aws,
            lease_term: self.lease_term,
            heartbeat_interval: self.lease_term / 6,
            ..ServerSettings::new(listen, self.scratch.path().join("data"))
        }
    }

    /// Ends the coordinator as a crash would, and starts another on the same directory.
    pub(super) async fn restart(&mut self) {
        if let Some(mut running) = self.running.take() {
            running.crash().await;
        }
        let running = within("the start", Server::start(self.settings())).await.unwrap();
        self.url = running.url();
        self.running = Some(running);
    }

    pub(super) async fn ended(&mut self) -> Result<(), ServerFailed> {
        self.running.as_mut().unwrap().wait().await
    }

    pub(super) async fn shut_down(mut self, deadline: Duration) {
        self.running.take().unwrap().shut_down(deadline).await.unwrap();
    }

    pub(super) async fn channel(&self) -> Channel {
        within("a connection", Channel::from_shared(self.url.clone()).unwrap().connect())
            .await
            .unwrap()
    }

    pub(super) async fn jobs(&self) -> JobServiceClient<Channel> {
        JobServiceClient::new(self.channel().await)
    }

    pub(super) async fn fleet(&self) -> FleetServiceClient<Channel> {
        FleetServiceClient::new(self.channel().await)
    }

    /// Uploads what [`job_spec`] refers to, and creates the job.
    pub(super) async fn create(&self, spec: JobSpec) -> Result<v1::CreateJobResponse, Status> {
        let mut jobs = self.jobs().await;
        for content in [MODEL, PAYLOAD] {
            upload(&mut jobs, artifact(content).into(), content).await?;
        }
        let request = v1::CreateJobRequest { spec: Some(spec.into()) };
        within("the job", jobs.create_job(request)).await.map(tonic::Response::into_inner)
    }

    pub(super) async fn get(&self, name: &str) -> v1::GetJobResponse {
        let request = v1::GetJobRequest { name: name.to_owned(), ..v1::GetJobRequest::default() };
        let mut jobs = self.jobs().await;
        within("a job", jobs.get_job(request)).await.unwrap().into_inner()
    }

    /// The `assay.job/1` document of a job, as a client renders it.
    pub(super) async fn document(&self, name: &str) -> serde_json::Value {
        let report = crate::report_wire::from_wire(self.get(name).await.report.unwrap()).unwrap();
        serde_json::to_value(report).unwrap()
    }

    pub(super) async fn job(&self, name: &str) -> v1::Job {
        self.get(name).await.job.unwrap()
    }

    pub(super) async fn stop(&self, name: &str) -> Result<v1::Job, Status> {
        let request = v1::StopJobRequest { name: name.to_owned(), by: "ada".to_owned() };
        let mut jobs = self.jobs().await;
        let stopped = within("a stop", jobs.stop_job(request)).await?;
        Ok(stopped.into_inner().job.unwrap())
    }

    pub(super) async fn watch(&self, name: &str, after_sequence: u64) -> Streaming<v1::JobEvent> {
        let request = v1::WatchJobRequest { name: name.to_owned(), after_sequence };
        let mut jobs = self.jobs().await;
        within("a watch", jobs.watch_job(request)).await.unwrap().into_inner()
    }

    /// A job's record to its end.
    pub(super) async fn record(&self, name: &str) -> Vec<v1::JobEvent> {
        let mut events = self.watch(name, 0).await;
        let mut record = Vec::new();
        while let Some(event) = within("the record's end", events.message()).await.unwrap() {
            record.push(event);
        }
        record
    }

    /// Waits until a job's status is this.
    pub(super) async fn reaches(&self, name: &str, status: v1::JobStatus) -> v1::Job {
        within("a status", async {
            loop {
                let job = self.job(name).await;
                if job.status() == status {
                    return job;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        })
        .await
    }
}

pub(super) async fn upload(
    jobs: &mut JobServiceClient<Channel>,
    header: v1::ArtifactRef,
    content: &'static [u8],
) -> Result<bool, Status> {
    let parts = [Part::Header(header)]
        .into_iter()
        .chain(content.chunks(4).map(|chunk| Part::Data(bytes::Bytes::from_static(chunk))))
        .map(|part| v1::UploadArtifactRequest { part: Some(part) });
    let parts: Vec<_> = parts.collect();
    let answer = within("an upload", jobs.upload_artifact(tokio_stream::iter(parts))).await?;
    Ok(answer.into_inner().stored)
}

pub(crate) const MODEL: &[u8] = b"a model, for all that the coordinator knows";
pub(crate) const PAYLOAD: &[u8] = b"a payload";

pub(crate) fn artifact(content: &[u8]) -> ArtifactRef {
    ArtifactRef {
        name: "file.pt".to_owned(),
        sha256: hex::encode(Sha256::digest(content)).parse().unwrap(),
        size_bytes: Bytes::new(content.len() as u64),
    }
}

/// One configuration on each of these instance types, emulated where no agent has them.
pub(crate) fn job_spec(name: &str, instance_types: &[&str]) -> JobSpec {
    let one = NonZeroU32::MIN;
    let candidate = |name: &&str| CandidateType::named(name.parse().unwrap());
    JobSpec {
        name: name.parse().unwrap(),
        subject: JobSubject::Model { model: artifact(MODEL) },
        payload: Payload {
            artifact: artifact(PAYLOAD),
            is_archive: false,
            content_type: "application/octet-stream".to_owned(),
        },
        inputs: Vec::new(),
        environment: BaseEnvironment::default(),
        instance_types: instance_types.iter().map(candidate).collect(),
        emulate: true,
        sweep: Sweep {
            workers: vec![one],
            intra_op_threads: vec![one],
            graph: vec![Graph::Plain],
            ..Sweep::default()
        },
        constraints: Vec::new(),
        goals: None,
        mode: Mode::Quick,
        seed: 1,
        soak: None,
        load: None,
        limits: ResourceLimits::default(),
        region: "us-east-1".to_owned(),
        demand: None,
        max_duration: Duration::from_secs(1800),
        ready_timeout: None,
        price_overrides: Vec::new(),
    }
}

pub(crate) fn host() -> HostFacts {
    HostFacts {
        cpu_model: "test".to_owned(),
        vcpus: 4,
        memory_bytes: Bytes::gib(32),
        architecture: "x86_64".to_owned(),
        ..HostFacts::default()
    }
}

pub(crate) fn registration(name: &str) -> v1::Register {
    v1::Register {
        name: name.to_owned(),
        protocol_version: assay_proto::PROTOCOL_VERSION,
        agent_version: "0".to_owned(),
        instance_type: "local".to_owned(),
        instance_type_source: "local".to_owned(),
        host_fingerprint: format!("host-of-{name}"),
        host: Some(host().into()),
        labels: HashMap::new(),
        running: None,
        emulates: true,
        endpoints: Vec::new(),
    }
}

/// An agent that does only what the test says.
pub(super) struct FakeAgent {
    say: mpsc::Sender<v1::AgentMessage>,
    heard: Streaming<v1::CoordinatorMessage>,
    pub(super) registered: v1::Registered,
}

impl FakeAgent {
    pub(super) async fn attach(coordinator: &Coordinator, name: &str) -> Self {
        Self::attach_as(coordinator, registration(name)).await.unwrap()
    }

    pub(super) async fn attach_as(
        coordinator: &Coordinator,
        register: v1::Register,
    ) -> Result<Self, Status> {
        let (say, messages) = mpsc::channel(16);
        say.send(message(agent_message::Message::Register(register))).await.unwrap();
        let mut client = AgentServiceClient::new(coordinator.channel().await);
        let answer = within("registration", client.attach(ReceiverStream::new(messages))).await?;
        let mut heard = answer.into_inner();
        let first = within("registration", heard.message()).await?.and_then(|first| first.message);
        let Some(coordinator_message::Message::Registered(registered)) = first else {
            panic!("expected the registration's answer, got {first:?}");
        };
        Ok(Self { say, heard, registered })
    }

    pub(super) async fn say(&self, what: agent_message::Message) {
        self.say.send(message(what)).await.unwrap();
    }

    /// The next command that is not about heartbeats; `None` when the connection has ended.
    pub(super) async fn hear(&mut self) -> Option<coordinator_message::Message> {
        use coordinator_message::Message;
        loop {
            match within("a command", self.heard.message()).await {
                Ok(Some(v1::CoordinatorMessage { message: Some(Message::HeartbeatSeen(_)) })) => {}
                Ok(Some(command)) => return command.message,
                Ok(None) | Err(_) => return None,
            }
        }
    }

    pub(super) async fn expect_start(&mut self) -> v1::StartTrial {
        match self.hear().await {
            Some(coordinator_message::Message::StartTrial(start)) => start,
            other => panic!("expected a trial, got {other:?}"),
        }
    }

    pub(super) async fn expect_start_in_time(&mut self) -> v1::StartTrial {
        within("a trial", async {
            loop {
                self.say(agent_message::Message::Heartbeat(v1::Heartbeat { running: None })).await;
                let heard = tokio::time::timeout(Duration::from_millis(100), self.heard.message());
                let Ok(heard) = heard.await else { continue };
                if let Some(coordinator_message::Message::StartTrial(start)) =
                    heard.unwrap().unwrap().message
                {
                    return start;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        })
        .await
    }

    pub(super) async fn expect_cancel(&mut self) -> v1::CancelTrial {
        match self.hear().await {
            Some(coordinator_message::Message::CancelTrial(cancel)) => cancel,
            other => panic!("expected a cancel, got {other:?}"),
        }
    }

    pub(super) async fn expect_acknowledge(&mut self) -> v1::Acknowledge {
        match self.hear().await {
            Some(coordinator_message::Message::Acknowledge(acknowledge)) => acknowledge,
            other => panic!("expected an acknowledgement, got {other:?}"),
        }
    }

    /// The answer to a heartbeat: whether the lease stands.
    pub(super) async fn heartbeat(&mut self, running: Option<v1::HeldTrial>) -> bool {
        self.say(agent_message::Message::Heartbeat(v1::Heartbeat { running })).await;
        loop {
            let heard =
                within("a heartbeat's answer", self.heard.message()).await.unwrap().unwrap();
            if let Some(coordinator_message::Message::HeartbeatSeen(seen)) = heard.message {
                return seen.lease_stands;
            }
        }
    }

    pub(super) async fn step(&mut self, held: &v1::HeldTrial, index: u32) -> v1::Acknowledge {
        self.say(agent_message::Message::StepFinished(v1::StepFinished {
            trial_id: held.trial_id.clone(),
            lease_token: held.lease_token.clone(),
            step: Some(step(index).into()),
        }))
        .await;
        self.expect_acknowledge().await
    }

    pub(super) async fn finish(
        &mut self,
        held: &v1::HeldTrial,
        outcome: TrialOutcome,
    ) -> v1::Acknowledge {
        self.say(agent_message::Message::TrialFinished(v1::TrialFinished {
            trial_id: held.trial_id.clone(),
            lease_token: held.lease_token.clone(),
            outcome: Some(outcome.into()),
        }))
        .await;
        self.expect_acknowledge().await
    }
}

fn message(message: agent_message::Message) -> v1::AgentMessage {
    v1::AgentMessage { message: Some(message) }
}

pub(crate) fn held(start: &v1::StartTrial) -> v1::HeldTrial {
    v1::HeldTrial {
        trial_id: start.spec.as_ref().unwrap().id.clone(),
        lease_token: start.lease_token.clone(),
    }
}

pub(crate) fn step(index: u32) -> StepResult {
    StepResult {
        users: Some(index + 1),
        achieved: Rate::per_second(40.0).unwrap(),
        latency: Some(latency()),
        histogram: vec![1, 2, 3, index.to_le_bytes()[0]],
        ..StepResult::unmeasured(index, Purpose::Staircase, Duration::from_millis(1500))
    }
}

fn latency() -> Latency {
    Latency {
        count: 60,
        mean_us: 25_000.5,
        p50_us: 25_000,
        p90_us: 26_000,
        p95_us: 27_000,
        p99_us: 28_000,
        p999_us: 29_000,
        max_us: 30_000,
    }
}

/// A measurement that can be believed.
pub(crate) fn measured() -> TrialOutcome {
    measured_with(Validity::from_findings(Vec::new()))
}

pub(crate) fn invalid() -> TrialOutcome {
    let finding = Finding {
        name: FindingName::GeneratorSaturated,
        value: 2.0,
        threshold: 1.0,
        severity: Verdict::Invalid,
    };
    measured_with(Validity::from_findings(vec![finding]))
}

fn measured_with(validity: Validity) -> TrialOutcome {
    let rate = |per_second| Rate::per_second(per_second).unwrap();
    let estimate = Estimate { value: rate(40.0), low: rate(39.0), high: rate(41.0) };
    TrialOutcome::Measured(Box::new(TrialResult {
        answer: Some(Answer {
            capacity: estimate,
            plateau: estimate,
            plateau_users: 1,
            limited_by: LimitedBy::Saturation,
            confirmation: Confirmation::NotNeeded,
            answer_steps: vec![0],
            drift: None,
            precise: true,
            samples: 600,
            out_of_time: false,
        }),
        stopped_by: None,
        latency: Some(latency()),
        utilization: Utilization::default(),
        idle: None,
        validity,
        host: host(),
        limits_in_force: Vec::new(),
        configuration: Some(Configuration::cpu(NonZeroU32::MIN, NonZeroU32::MIN)),
        harness: HarnessFigures::default(),
        energy_j_per_inference: None,
        output_deviation: None,
        comparison_failure: None,
        remarks: Vec::new(),
        nan_outputs: 0,
        calls: 600,
        failed_calls: 0,
        first_error: None,
        ready_after: Duration::from_secs(1),
        took: Duration::from_secs(30),
    }))
}
