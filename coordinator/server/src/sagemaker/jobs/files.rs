//! Fetches the files of a job after it was accepted, and hands them to it; or says why they cannot be had.
//!
//! Whatever a crash interrupts begins again at the next start ([`resume`]). A job that is stopped meanwhile
//! stops the fetching.

use std::{fmt, sync::Arc};

use assay_measure::{
    ids::JobName,
    job::JobStatus,
    trial::{ArtifactRef, Payload},
    units::Bytes,
};
use assay_sagemaker::status;
use tokio::{sync::broadcast::error::RecvError, task::spawn_blocking};

use super::{
    inputs,
    intake::{Intake, Subject},
};
use crate::{
    archives,
    artifacts::Received,
    dispatch::{Event, Supply},
    job_event::Happening,
    sagemaker::{Api, parsed},
    store::{
        Change, StoreError,
        registry::{Kind, ResourceQuery},
    },
};

/// The largest archive of payloads: more than agents take of bodies.
const PAYLOAD_LIMIT: Bytes = Bytes::gib(2);
const FALLBACK_CONTENT_TYPE: &str = "application/octet-stream";

/// Goes on with what the last coordinator had not fetched, and forgets requests whose job never came to be.
pub(crate) async fn resume(api: Arc<Api>) {
    if let Err(error) = try_to_resume(&api).await {
        tracing::error!(%error, "jobs that wait for their files cannot be read");
    }
}

async fn try_to_resume(api: &Arc<Api>) -> Result<(), StoreError> {
    for resource in api.store.resources(&ResourceQuery::all(Kind::Job)).await? {
        let Ok(name) = resource.name.parse::<JobName>() else { continue };
        let job = api.store.job(&name).await?;
        let Some(job) = job else {
            api.store.remove(Kind::Job, &resource.name).await?;
            continue;
        };
        if job.status.is_final() || !job.spec.awaits_files() {
            continue;
        }
        match parsed::<Intake>(resource.document) {
            Ok(intake) => begin(api, name, intake.subject),
            Err(error) => give_up(api, name, error.message).await,
        }
    }
    Ok(())
}

/// Fetches the files of a job beside everything else.
pub(crate) fn begin(api: &Arc<Api>, job: JobName, subject: Subject) {
    let owned = Arc::clone(api);
    api.background.run(async move {
        let fetched = tokio::select! {
            fetched = fetch(&owned, &subject) => fetched,
            () = is_ending(&owned, &job) => return,
        };
        let supplied = match fetched {
            Ok(fetched) => supply(&owned, &job, &subject, fetched).await,
            Err(reasons) => Err(reasons),
        };
        if let Err(reasons) = supplied {
            give_up(&owned, job, status::failure_reason("INVALID_INPUT", &reasons)).await;
        }
    });
}

/// Keeps the files and hands them to their job, as one: a file that is kept belongs to a job at once.
async fn supply(
    api: &Api,
    job: &JobName,
    subject: &Subject,
    fetched: Fetched,
) -> Result<(), Vec<String>> {
    let Fetched { model, payload, content_type } = fetched;
    // Only now is it known what the bodies are, when the request did not say it.
    let inputs = inputs::of(subject, Some(&content_type)).map_err(|error| vec![error.message])?;
    let hold = api.artifacts.hold().await;
    let model = match model {
        Some(model) => Some(keep(api, model).await.map_err(|cause| vec![no_model(&cause)])?),
        None => None,
    };
    let artifact = keep(api, payload).await.map_err(|cause| vec![no_payload(&cause)])?;
    let payload = Payload { artifact, is_archive: true, content_type };
    let supplied = |answer| Event::SupplyJob {
        name: job.clone(),
        files: Box::new(Supply { model, payload, inputs: inputs.declared }),
        hold: Some(hold),
        answer,
    };
    if let Ok(Err(refused)) = api.dispatch.ask(supplied).await {
        tracing::info!(%job, %refused, "a job does not need its files any more");
    }
    Ok(())
}

async fn give_up(api: &Api, job: JobName, reason: String) {
    let given_up = |answer| Event::GiveUpJob { name: job.clone(), reason, answer };
    if let Ok(Err(refused)) = api.dispatch.ask(given_up).await {
        tracing::info!(%job, %refused, "a job without files has ended already");
    }
}

/// Ready once the job is being stopped or has ended; never when that cannot be seen.
async fn is_ending(api: &Api, job: &JobName) {
    let Ok(mut events) = api.dispatch.watch() else { return };
    loop {
        match events.recv().await {
            Ok(published) if published.job == *job => {
                if let Happening::StatusChanged { status, .. } = &published.event.what
                    && (status.is_final() || *status == JobStatus::Stopping)
                {
                    return;
                }
            }
            Ok(_) => {}
            Err(RecvError::Lagged(_)) => {
                if let Ok(Some(found)) = api.store.job(job).await
                    && found.status.is_final()
                {
                    return;
                }
            }
            Err(RecvError::Closed) => std::future::pending().await,
        }
    }
}

/// All files, whole and looked into, and not kept yet.
struct Fetched {
    /// Absent for an endpoint, which has its model already.
    model: Option<Received>,
    payload: Received,
    content_type: String,
}

/// All files; when one cannot be had, everything that is wrong with them.
async fn fetch(api: &Api, subject: &Subject) -> Result<Fetched, Vec<String>> {
    let model = async {
        let is_wanted = !subject.model_url.is_empty();
        if is_wanted { model(api, subject).await.map(Some) } else { Ok(None) }
    };
    let (model, payload) = tokio::join!(model, payload(api, subject));
    match (model, payload) {
        (Ok(model), Ok((payload, content_type))) => Ok(Fetched { model, payload, content_type }),
        (model, payload) => Err(model.err().into_iter().chain(payload.err()).collect()),
    }
}

fn no_model(cause: &dyn fmt::Display) -> String {
    format!("ModelError: the model data cannot be used: {cause}.")
}

fn no_payload(cause: &dyn fmt::Display) -> String {
    format!("PayloadError: the sample payload cannot be used: {cause}.")
}

async fn model(api: &Api, subject: &Subject) -> Result<Received, String> {
    let url = &subject.model_url;
    let received = api
        .sources
        .fetch(url, &api.artifacts, MODEL_LIMIT)
        .await
        .map_err(|error| no_model(&error))?;
    let (received, checked) =
        checked(received, archives::check_model).await.map_err(|error| no_model(&error))?;
    checked.map_err(|error| no_model(&format_args!("{url}: {error}")))?;
    Ok(received)
}

/// Only the limit of the store itself counts.
const MODEL_LIMIT: Bytes = Bytes::new(u64::MAX);

/// The archive, and the content type of what is in it.
async fn payload(api: &Api, subject: &Subject) -> Result<(Received, String), String> {
    let url = &subject.payload_url;
    let received = api
        .sources
        .fetch(url, &api.artifacts, PAYLOAD_LIMIT)
        .await
        .map_err(|error| no_payload(&error))?;
    let (received, content) =
        checked(received, archives::check_payload).await.map_err(|error| no_payload(&error))?;
    let content = content.map_err(|error| no_payload(&format_args!("{url}: {error}")))?;
    let suggested = content.content_type.unwrap_or(FALLBACK_CONTENT_TYPE);
    let content_type = subject.content_type.clone().unwrap_or_else(|| suggested.to_owned());
    Ok((received, content_type))
}

/// Looks at a file where blocking is allowed.
async fn checked<T: Send + 'static>(
    received: Received,
    check: fn(&std::path::Path) -> T,
) -> Result<(Received, T), tokio::task::JoinError> {
    spawn_blocking(move || {
        let found = check(received.path());
        (received, found)
    })
    .await
}

/// A file that is there already, of another job with the same model say, is not written again.
async fn keep(api: &Api, received: Received) -> Result<ArtifactRef, String> {
    if api.artifacts.holds(received.artifact()) {
        return Ok(received.artifact().clone());
    }
    let artifact = received.keep().await.map_err(not_kept)?;
    let stored = Change::ArtifactStored { artifact: artifact.clone(), at: api.clock.now() };
    api.store.commit(vec![stored]).await.map_err(not_kept)?;
    Ok(artifact)
}

fn not_kept(error: impl std::error::Error) -> String {
    tracing::error!(%error, "a fetched file cannot be kept");
    "it cannot be stored".to_owned()
}
