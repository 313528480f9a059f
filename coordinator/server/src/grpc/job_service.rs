//! `JobService`: files, jobs and their records.

use std::pin::Pin;

use assay_measure::{
    configuration::UnknownWord,
    ids::JobName,
    job::{JobSpec, JobStatus},
    load_profile::LoadProfile,
    payload_file, printable,
    trial::{ArtifactRef, Payload},
    units::as_micros,
};
use assay_planning::{
    export::ExportTable,
    job_report::{self, Overrides},
};
use assay_proto::{
    refusal,
    v1::{self, job_service_server::JobService, upload_artifact_request::Part},
};
use futures_util::{Stream, stream};
use tokio::task::spawn_blocking;
use tonic::{Code, Request, Response, Status, Streaming};

use super::{
    Shared, job_wire,
    status::{id, refuse},
    watch::Watch,
};
use crate::{
    archives,
    artifacts::Hold,
    bundle::{self, Bundle},
    dispatch::{Created, Event, Refused},
    exports::{self, Wanted},
    job_files, report_wire,
    store::{Change, JobQuery, JobSummary},
};

const DEFAULT_PAGE: u32 = 100;
const LARGEST_PAGE: u32 = 1000;

impl Shared {
    async fn summary(&self, name: &JobName) -> Result<JobSummary, Status> {
        let job = self.store.job(name).await?;
        Ok(job.ok_or_else(|| Refused::NoSuchJob(name.clone()))?)
    }

    /// The job's files must be there, and be what the job says they are.
    fn check_artifact(&self, what: &str, artifact: &ArtifactRef) -> Result<(), Status> {
        if artifact.is_awaited() {
            return Err(refuse(
                Code::InvalidArgument,
                format_args!("the {what} {:?} is empty", artifact.name),
                "upload the whole file",
            ));
        }
        match self.artifacts.size_of(&artifact.sha256) {
            None => Err(refuse(
                Code::NotFound,
                format_args!(
                    "the {what} {:?} (sha256:{}) was not uploaded",
                    artifact.name, artifact.sha256
                ),
                "upload it first",
            )),
            Some(size) if size != artifact.size_bytes => Err(refusal(
                Code::InvalidArgument,
                format!(
                    "the {what} {:?} has {} bytes, not {}",
                    artifact.name,
                    size.count(),
                    artifact.size_bytes.count()
                ),
            )),
            Some(_) => Ok(()),
        }
    }

    /// Checks a job and its files, which stay until the hold ends.
    pub(crate) async fn check(&self, spec: &JobSpec) -> Result<Hold, Status> {
        if let Some((what, hint)) = contradiction(spec) {
            return Err(refuse(Code::InvalidArgument, what, hint));
        }
        let hold = self.artifacts.hold().await;
        if let Some(model) = spec.model() {
            self.check_artifact("model", model)?;
        }
        self.check_artifact("payload", &spec.payload.artifact)?;
        if let Some(recording) = spec.load.as_ref().and_then(LoadProfile::artifact) {
            self.check_artifact("recorded load", recording)?;
        }
        self.check_bodies(&spec.payload).await?;
        Ok(hold)
    }

    /// Checks a job and its files, and hands it to the loop.
    pub(crate) async fn create(&self, spec: JobSpec) -> Result<Created, Status> {
        let hold = Some(self.check(&spec).await?);
        let files = job_files::of(&spec);
        let create = |answer| Event::CreateJob { spec: Box::new(spec), hold, answer };
        let created = self.dispatch.ask(create).await??;
        for file in &files {
            self.artifacts.fulfil(file, self.clock.now());
        }
        Ok(created)
    }

    /// No agent is asked to send what is no payload, or too large for one.
    async fn check_bodies(&self, payload: &Payload) -> Result<(), Status> {
        let artifact = &payload.artifact;
        let unfit = |why: &dyn std::error::Error| {
            refuse(
                Code::InvalidArgument,
                format_args!("the payload {:?} cannot be sent: {why}", artifact.name),
                "give one file, or a tar.gz of plain files, within these limits",
            )
        };
        if !payload.is_archive {
            return payload_file::check_body(artifact.size_bytes.count())
                .map_err(|over| unfit(&over));
        }
        let path = self.artifacts.path(&artifact.sha256);
        let checked = spawn_blocking(move || archives::check_payload(&path)).await;
        let checked = checked.map_err(|error| refusal(Code::Internal, error.to_string()))?;
        checked.map(drop).map_err(|why| unfit(&why))
    }
}

#[tonic::async_trait]
impl JobService for Shared {
    type ExportJobStream =
        Pin<Box<dyn Stream<Item = Result<v1::ExportJobResponse, Status>> + Send>>;
    type WatchJobStream = Pin<Box<dyn Stream<Item = Result<v1::JobEvent, Status>> + Send>>;

    async fn upload_artifact(
        &self,
        request: Request<Streaming<v1::UploadArtifactRequest>>,
    ) -> Result<Response<v1::UploadArtifactResponse>, Status> {
        let mut parts = request.into_inner();
        let Some(Part::Header(header)) = parts.message().await?.and_then(|first| first.part) else {
            return Err(refusal(
                Code::InvalidArgument,
                "the first message of an upload must be its header",
            ));
        };
        let artifact: ArtifactRef = header.try_into()?;
        // Promised first: what is told to be there must still be there when the job comes.
        self.artifacts.promise(&artifact.sha256, self.clock.now()).await;
        if self.artifacts.holds(&artifact) {
            return Ok(Response::new(v1::UploadArtifactResponse { stored: false }));
        }
        let mut upload = self.artifacts.begin(artifact.clone())?;
        while let Some(message) = parts.message().await? {
            let Some(Part::Data(data)) = message.part else {
                return Err(refusal(
                    Code::InvalidArgument,
                    "an upload has one header and then data",
                ));
            };
            if !upload.take(data).await {
                break;
            }
        }
        upload.finish().await?;
        let stored = Change::ArtifactStored { artifact, at: self.clock.now() };
        self.store.commit(vec![stored]).await?;
        Ok(Response::new(v1::UploadArtifactResponse { stored: true }))
    }

    async fn create_job(
        &self,
        request: Request<v1::CreateJobRequest>,
    ) -> Result<Response<v1::CreateJobResponse>, Status> {
        let spec = request
            .into_inner()
            .spec
            .ok_or_else(|| refusal(Code::InvalidArgument, "no job specification"))?;
        let spec: JobSpec = spec.try_into()?;
        let name = spec.name.clone();
        let created = self.create(spec).await?;
        Ok(Response::new(v1::CreateJobResponse {
            job: Some(job_wire::job(self.summary(&name).await?)),
            trials: created.trials.iter().map(job_wire::planned_trial).collect(),
            warnings: created.warnings,
            expected_us: as_micros(created.expected),
        }))
    }

    async fn get_job(
        &self,
        request: Request<v1::GetJobRequest>,
    ) -> Result<Response<v1::GetJobResponse>, Status> {
        let v1::GetJobRequest { name, goals, demand, with_histograms } = request.into_inner();
        let name: JobName = id(&name)?;
        let overrides = Overrides {
            goals: goals.map(TryInto::try_into).transpose()?,
            demand: demand.map(TryInto::try_into).transpose()?,
        };
        let summary = self.summary(&name).await?;
        let store = &self.store;
        let facts = store.job_facts(&name).await?;
        let mut facts = facts.ok_or_else(|| Refused::NoSuchJob(name.clone()))?;
        if with_histograms {
            facts.add_histograms(store.histograms(&name, None).await?);
        }
        let report = job_report::build(&facts, overrides);
        Ok(Response::new(v1::GetJobResponse {
            spec: Some(summary.spec.clone().into()),
            job: Some(job_wire::job(summary)),
            report: Some(report_wire::to_wire(report)),
        }))
    }

    async fn export_job(
        &self,
        request: Request<v1::ExportJobRequest>,
    ) -> Result<Response<Self::ExportJobStream>, Status> {
        let v1::ExportJobRequest { name, format, table, goals, demand } = request.into_inner();
        let name: JobName = id(&name)?;
        let unknown = |error: UnknownWord| {
            refusal(Code::InvalidArgument, printable::line(&error.to_string()))
        };
        let table = if table.is_empty() {
            ExportTable::default()
        } else {
            table.parse().map_err(unknown)?
        };
        let overrides = Overrides {
            goals: goals.map(TryInto::try_into).transpose()?,
            demand: demand.map(TryInto::try_into).transpose()?,
        };
        let wanted = Wanted { format: format.parse().map_err(unknown)?, table, overrides };
        let files = exports::files(self, &name, wanted).await?;
        let parts = files.into_iter().flat_map(job_wire::exported);
        Ok(Response::new(Box::pin(stream::iter(parts.map(Ok)))))
    }

    async fn import_job(
        &self,
        request: Request<Streaming<v1::ImportJobRequest>>,
    ) -> Result<Response<v1::ImportJobResponse>, Status> {
        let mut pieces = request.into_inner();
        let mut file = Vec::new();
        while let Some(v1::ImportJobRequest { data }) = pieces.message().await? {
            if file.len() + data.len() > bundle::LARGEST_FILE {
                let what = format!("the file has more than {} MiB", bundle::LARGEST_FILE >> 20);
                return Err(refusal(Code::ResourceExhausted, what));
            }
            file.extend_from_slice(&data);
        }
        let bundle = Bundle::read(file).await?;
        let name = bundle.spec.name.clone();
        let import = |answer| Event::ImportJob { bundle: Box::new(bundle), answer };
        self.dispatch.ask(import).await??;
        let job = job_wire::job(self.summary(&name).await?);
        Ok(Response::new(v1::ImportJobResponse { job: Some(job) }))
    }

    async fn list_jobs(
        &self,
        request: Request<v1::ListJobsRequest>,
    ) -> Result<Response<v1::ListJobsResponse>, Status> {
        let request = request.into_inner();
        let size = match request.page_size {
            0 => DEFAULT_PAGE,
            size => size.min(LARGEST_PAGE),
        };
        let query = JobQuery {
            before_number: page_start(&request.page_token)?,
            status: request.status.map(job_status).transpose()?,
            name_contains: request.name_contains,
            model_contains: String::new(),
            instance_type: String::new(),
            limit: size + 1,
        };
        let mut jobs = self.store.jobs(&query).await?;
        let full = usize::try_from(size).unwrap_or(usize::MAX);
        let more = jobs.len() > full;
        jobs.truncate(full);
        let next_page_token = match jobs.last() {
            Some(last) if more => last.number.to_string(),
            Some(_) | None => String::new(),
        };
        let jobs = jobs.into_iter().map(job_wire::job).collect();
        Ok(Response::new(v1::ListJobsResponse { jobs, next_page_token }))
    }

    async fn watch_job(
        &self,
        request: Request<v1::WatchJobRequest>,
    ) -> Result<Response<Self::WatchJobStream>, Status> {
        let v1::WatchJobRequest { name, after_sequence } = request.into_inner();
        let name: JobName = id(&name)?;
        self.summary(&name).await?;
        let watch = Watch::new(self.clone(), name, after_sequence)?;
        let events = stream::unfold(Some(watch), async |watch| {
            let mut watch = watch?;
            match watch.next().await {
                Ok(Some(event)) => Some((Ok(job_wire::job_event(&event)), Some(watch))),
                Ok(None) => None,
                Err(status) => Some((Err(status), None)),
            }
        });
        Ok(Response::new(Box::pin(events)))
    }

    async fn stop_job(
        &self,
        request: Request<v1::StopJobRequest>,
    ) -> Result<Response<v1::StopJobResponse>, Status> {
        let v1::StopJobRequest { name, by } = request.into_inner();
        let name: JobName = id(&name)?;
        let by = if by.is_empty() { "a client".to_owned() } else { by };
        let stop = |answer| Event::StopJob { name: name.clone(), by, answer };
        self.dispatch.ask(stop).await??;
        let job = job_wire::job(self.summary(&name).await?);
        Ok(Response::new(v1::StopJobResponse { job: Some(job) }))
    }

    async fn delete_job(
        &self,
        request: Request<v1::DeleteJobRequest>,
    ) -> Result<Response<v1::DeleteJobResponse>, Status> {
        let name: JobName = id(&request.into_inner().name)?;
        let files = job_files::of(&self.summary(&name).await?.spec);
        self.dispatch.ask(|answer| Event::DeleteJob { name, answer }).await??;
        let Self { artifacts, store, clock, .. } = self;
        if let Err(error) = job_files::remove_unneeded(&files, artifacts, store, clock.now()).await
        {
            // The job is gone all the same, and what is left of it takes nothing but room.
            tracing::warn!(%error, "a deleted job's files cannot be removed");
        }
        Ok(Response::new(v1::DeleteJobResponse {}))
    }
}

fn job_status(wire: i32) -> Result<JobStatus, Status> {
    let status = v1::JobStatus::try_from(wire).unwrap_or(v1::JobStatus::Unspecified);
    Ok(status.try_into()?)
}

fn page_start(token: &str) -> Result<Option<u64>, Status> {
    if token.is_empty() {
        return Ok(None);
    }
    let number = token
        .parse()
        .map_err(|_| refusal(Code::InvalidArgument, format!("{token:?} is not a page token")))?;
    Ok(Some(number))
}

/// What cannot be carried out whatever the fleet, with one thing to do about it.
fn contradiction(spec: &JobSpec) -> Option<(&'static str, &'static str)> {
    if spec.max_duration.is_zero() {
        return Some(("the job may take no time at all", "give --max-duration, such as 30m"));
    }
    match &spec.load {
        Some(LoadProfile::Phases(phases)) if phases.is_empty() => {
            Some(("the fixed load has no phases", "give at least one phase"))
        }
        Some(LoadProfile::Phases(phases))
            if phases.iter().any(|phase| phase.duration.is_zero()) =>
        {
            Some(("a phase of the fixed load has no duration", "give every phase a duration"))
        }
        Some(_) if spec.soak.is_some() => Some((
            "a fixed load is not searched for, so there is no answer to soak",
            "leave out --soak, or make the last phase longer",
        )),
        Some(_) | None => None,
    }
}
