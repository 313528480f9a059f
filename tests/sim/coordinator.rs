//! A coordinator on a scratch directory, as clients see it, and its sudden end.

use std::{future::Future, net::SocketAddr, sync::Mutex, time::Duration};

use assay_proto::v1::{
    self, fleet_service_client::FleetServiceClient, job_service_client::JobServiceClient,
    upload_artifact_request::Part,
};
use assay_server::{
    server::{RunningServer, Server},
    settings::{Listen, ServerSettings},
};
use assay_tests::wait::until_async;
use tempfile::TempDir;
use tonic::{
    Code, Response, Status,
    transport::{Channel, Endpoint},
};

use crate::figures::{MODEL, PAYLOAD, artifact};

/// No wait of this suite is longer.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Waits, but not for ever.
pub(crate) async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, future).await {
        Ok(value) => value,
        Err(_) => panic!("waited too long for {what}"),
    }
}

/// How patient a coordinator is with its agents.
#[derive(Clone, Copy)]
pub(crate) struct Terms {
    pub(crate) heartbeat_interval: Duration,
    pub(crate) lease_term: Duration,
}

impl Terms {
    /// No lease runs out within a test, and who was forgotten is noticed soon.
    pub(crate) const PATIENT: Self = Self {
        heartbeat_interval: Duration::from_millis(100),
        lease_term: Duration::from_secs(600),
    };
    /// However slow the machine, nobody is held to be lost.
    pub(crate) const CALM: Self =
        Self { heartbeat_interval: Duration::from_secs(5), lease_term: Duration::from_secs(600) };
    /// A silent agent is soon lost.
    pub(crate) const BRIEF: Self = Self {
        heartbeat_interval: Duration::from_millis(100),
        lease_term: Duration::from_millis(1500),
    };
}

pub(crate) struct Coordinator {
    scratch: TempDir,
    terms: Terms,
    running: Mutex<Option<(RunningServer, Channel)>>,
}

impl Coordinator {
    /// Started, with the model and payload of all jobs uploaded.
    pub(crate) async fn start(terms: Terms) -> Self {
        let scratch = tempfile::tempdir().unwrap();
        let coordinator = Self { scratch, terms, running: Mutex::new(None) };
        coordinator.begin().await;
        for content in [MODEL, PAYLOAD] {
            let parts = [Part::Header(artifact(content).into()), Part::Data(content.into())];
            let parts = parts.map(|part| v1::UploadArtifactRequest { part: Some(part) });
            coordinator.jobs().upload_artifact(tokio_stream::iter(parts)).await.unwrap();
        }
        coordinator
    }

    async fn begin(&self) {
        // The one before may need a moment to let go of the data directory.
        let running = until_async("a coordinator to start", PATIENCE, async || {
            let listen = Listen::At("127.0.0.1:0".parse().unwrap());
            let settings = ServerSettings {
                heartbeat_interval: self.terms.heartbeat_interval,
                lease_term: self.terms.lease_term,
                ..ServerSettings::new(listen, self.scratch.path().join("data"))
            };
            Server::start(settings).await.ok()
        });
        let running = running.await;
        let channel = Endpoint::from_shared(running.url()).unwrap().connect_lazy();
        *self.running.lock().unwrap() = Some((running, channel));
    }

    /// Ends it as a crash would, between any two of its steps, and starts another on its data.
    pub(crate) async fn crash_and_restart(&self) {
        drop(self.running.lock().unwrap().take());
        self.begin().await;
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.running.lock().unwrap().as_ref().unwrap().0.address()
    }

    fn channel(&self) -> Channel {
        self.running.lock().unwrap().as_ref().unwrap().1.clone()
    }

    pub(crate) fn jobs(&self) -> JobServiceClient<Channel> {
        JobServiceClient::new(self.channel())
    }

    pub(crate) fn fleet(&self) -> FleetServiceClient<Channel> {
        FleetServiceClient::new(self.channel())
    }

    /// Creates a job of this name, however often the coordinator has to be asked.
    pub(crate) async fn create(&self, spec: v1::JobSpec) {
        until_async("a job to be created", PATIENCE, async || {
            let request = v1::CreateJobRequest { spec: Some(spec.clone()) };
            match answered(self.jobs().create_job(request).await) {
                Some(Ok(_)) => Some(()),
                // The answer to an earlier try was lost.
                Some(Err(refused)) if refused.code() == Code::AlreadyExists => Some(()),
                Some(Err(refused)) => panic!("the job was refused: {refused}"),
                None => None,
            }
        })
        .await;
    }

    pub(crate) async fn job(&self, name: &str) -> v1::Job {
        self.get(name).await.job.unwrap()
    }

    pub(crate) async fn get(&self, name: &str) -> v1::GetJobResponse {
        let request = v1::GetJobRequest { name: name.to_owned(), ..v1::GetJobRequest::default() };
        within("a job", self.jobs().get_job(request)).await.unwrap().into_inner()
    }

    /// Waits until the job has ended; in vain, it says how things stand.
    pub(crate) async fn ended(&self, name: &str) -> v1::Job {
        use v1::JobStatus::{Completed, Failed, Stopped};
        let ended = async {
            loop {
                let job = self.job(name).await;
                if matches!(job.status(), Completed | Failed | Stopped) {
                    return job;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        match tokio::time::timeout(PATIENCE, ended).await {
            Ok(job) => job,
            Err(_) => {
                let (job, agents) = (self.job(name).await, self.agents().await);
                panic!("waited in vain for the end of {job:?}\namong {agents:#?}");
            }
        }
    }

    /// How many trials of these jobs have ended.
    pub(crate) async fn trials_ended(&self, jobs: &[&str]) -> u32 {
        let mut ended = 0;
        for name in jobs {
            ended += self.job(name).await.trials_ended;
        }
        ended
    }

    /// Waits until at least so many trials of these jobs have ended.
    pub(crate) async fn until_trials_ended(&self, jobs: &[&str], at_least: u32) {
        until_async(&format!("{at_least} ended trials"), PATIENCE, async || {
            (self.trials_ended(jobs).await >= at_least).then_some(())
        })
        .await;
    }

    /// The record of a job that has ended.
    pub(crate) async fn record(&self, name: &str) -> Vec<v1::JobEvent> {
        self.ended(name).await;
        let request = v1::WatchJobRequest { name: name.to_owned(), after_sequence: 0 };
        let mut events = self.jobs().watch_job(request).await.unwrap().into_inner();
        let mut record = Vec::new();
        while let Some(event) = within("the record's end", events.message()).await.unwrap() {
            record.push(event);
        }
        record
    }

    /// What is in the record of a job that goes on, once this holds of it.
    pub(crate) async fn records(
        &self,
        name: &str,
        what: &str,
        holds: impl Fn(&v1::JobEvent) -> bool,
    ) {
        let request = v1::WatchJobRequest { name: name.to_owned(), after_sequence: 0 };
        let mut events = self.jobs().watch_job(request).await.unwrap().into_inner();
        within(what, async {
            loop {
                match events.message().await.unwrap() {
                    Some(event) if holds(&event) => return,
                    Some(_) => {}
                    None => panic!("the record of {name} ends without {what}"),
                }
            }
        })
        .await;
    }

    pub(crate) async fn until_connected(&self, name: &str) {
        until_async("an agent to connect", PATIENCE, async || {
            self.agent(name).await.filter(|agent| agent.connected)
        })
        .await;
    }

    pub(crate) async fn agent(&self, name: &str) -> Option<v1::Agent> {
        self.agents().await.into_iter().find(|agent| agent.name == name)
    }

    async fn agents(&self) -> Vec<v1::Agent> {
        let request = v1::ListAgentsRequest {};
        let agents = within("the agents", self.fleet().list_agents(request)).await.unwrap();
        agents.into_inner().agents
    }

    pub(crate) async fn drain(&self, name: &str, draining: bool) {
        until_async("a drain", PATIENCE, async || {
            let request = v1::DrainAgentRequest { name: name.to_owned(), draining };
            answered(self.fleet().drain_agent(request).await)
        })
        .await
        .unwrap();
    }
}

/// `None` when the question or the answer was lost on the way.
pub(crate) fn answered<T>(asked: Result<Response<T>, Status>) -> Option<Result<T, Status>> {
    match asked {
        Ok(answer) => Some(Ok(answer.into_inner())),
        Err(status)
            if matches!(status.code(), Code::Unavailable | Code::Unknown | Code::Cancelled) =>
        {
            None
        }
        Err(status) => Some(Err(status)),
    }
}
