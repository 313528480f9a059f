//! Models and payloads from where users keep them: `s3://`, `http(s)://`, `file://`.
//!
//! A file arrives in pieces, in the directory of uploads, and is bounded in size and patience. S3's endpoint
//! and credentials come from the coordinator's environment (`AWS_ENDPOINT_URL_S3`, `AWS_ENDPOINT_URL`,
//! `AWS_ACCESS_KEY_ID`, …). Local files are read below the directories that the operator allowed, and
//! nowhere else: what counts is the file that was really opened, so no link and no race leads out of them.
//! `http(s)://` is asked for directly, because object stores drop the query that pre-signed URLs live by.

use std::{
    io,
    os::{fd::AsRawFd, unix::fs::OpenOptionsExt},
    path::{Path, PathBuf},
    sync::Once,
    time::Duration,
};

use assay_measure::units::Bytes;
use bytes::Bytes as Chunk;
use futures_util::{StreamExt, stream::BoxStream};
use http::StatusCode;
use object_store::{
    BackoffConfig, ClientOptions, ObjectStoreExt, RetryConfig, aws::AmazonS3Builder,
};
use reqwest::{Client, Response, Url};
use thiserror::Error;
use tokio::{io::AsyncReadExt, sync::Semaphore, task::spawn_blocking, time::timeout};

use self::surroundings::Surroundings;
use crate::artifacts::{ArtifactError, Artifacts, Received};

mod surroundings;

/// Until the other side has taken the connection.
const CONNECTS_WITHIN: Duration = Duration::from_secs(10);
/// Until the first byte, repetitions included.
const ANSWERS_WITHIN: Duration = Duration::from_secs(60);
const GOES_ON_WITHIN: Duration = Duration::from_secs(30);
const PIECE: usize = 1 << 18;
const RETRIES: usize = 3;
const LONGEST_NAME: usize = 100;
/// More at once would only share the same disk and the same line.
const AT_ONCE: usize = 4;

/// Where files may come from.
#[derive(Debug)]
pub(crate) struct Sources {
    directories: Vec<PathBuf>,
    at_once: Semaphore,
    surroundings: Surroundings,
}

/// A file cannot be had. URLs are shown without their query, which may hold a signature.
#[derive(Debug, Error)]
pub(crate) enum FetchError {
    #[error("{0} is not an s3://, http://, https:// or file:// URL of a file")]
    NotAUrl(String),
    #[error("{0} is not below a directory that this server may read files from")]
    NotAllowed(String),
    #[error("{0} does not exist")]
    Missing(String),
    #[error("{0} is not a file object")]
    NotAFile(String),
    #[error("access to {0} was denied")]
    Denied(String),
    #[error("{0} is empty")]
    Empty(String),
    #[error("{url} has more than {limit}")]
    TooLarge { url: String, limit: Bytes },
    #[error("{url} did not answer within {seconds} s{via}", seconds = .patience.as_secs())]
    TimedOut { url: String, via: String, patience: Duration },
    #[error("{url} cannot be read{via}: {cause}")]
    Failed { url: String, via: String, cause: String },
    #[error(
        "{url} cannot be read with {missing} not set where the coordinator runs, and no instance role to take \
         their place (AWS_SKIP_SIGNATURE=true is for public buckets)"
    )]
    NoCredentials { url: String, missing: String },
    #[error("{url} cannot be stored: {cause}")]
    Storing { url: String, cause: String },
}

/// Two libraries below ask the process which cryptography to use, before they make a client.
pub(crate) fn name_cryptography() {
    static PROVIDER: Once = Once::new();
    PROVIDER.call_once(|| drop(rustls::crypto::ring::default_provider().install_default()));
}

impl Sources {
    /// Files may come from below these directories, named without links and dots, and from the network.
    pub(crate) fn below(directories: Vec<PathBuf>) -> Self {
        name_cryptography();
        let surroundings = Surroundings::of_this_process();
        Self { directories, at_once: Semaphore::new(AT_ONCE), surroundings }
    }

    /// Fetches a whole file, to be looked at before it is kept.
    pub(crate) async fn fetch(
        &self,
        url: &str,
        artifacts: &Artifacts,
        limit: Bytes,
    ) -> Result<Received, FetchError> {
        let fetched = self.try_to_fetch(url, artifacts, limit).await;
        fetched.map_err(|error| self.surroundings.explain(url, error))
    }

    async fn try_to_fetch(
        &self,
        url: &str,
        artifacts: &Artifacts,
        limit: Bytes,
    ) -> Result<Received, FetchError> {
        let _turn = self.at_once.acquire().await;
        let shown = without_query(url);
        let patient = |patience| {
            let url = shown.clone();
            move |_| FetchError::TimedOut { url, via: String::new(), patience }
        };
        let opening = timeout(ANSWERS_WITHIN, self.open(url, &shown));
        let mut source = opening.await.map_err(patient(ANSWERS_WITHIN))??;
        let mut reception = artifacts.receive(file_name(&shown), limit);
        let mut is_empty = true;
        loop {
            let next = timeout(GOES_ON_WITHIN, source.next(&shown));
            let Some(chunk) = next.await.map_err(patient(GOES_ON_WITHIN))?? else { break };
            is_empty &= chunk.is_empty();
            if !reception.take(chunk).await {
                break;
            }
        }
        if is_empty {
            // Its empty file is gone before anybody is told.
            drop(reception.finish().await);
            return Err(FetchError::Empty(shown));
        }
        reception.finish().await.map_err(|error| match error {
            ArtifactError::LargerThan { limit, .. } => FetchError::TooLarge { url: shown, limit },
            error @ (ArtifactError::TooLarge { .. }
            | ArtifactError::WrongSize { .. }
            | ArtifactError::WrongChecksum { .. }
            | ArtifactError::Io(_)
            | ArtifactError::Writer(_)) => {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "a file cannot be stored"
                );
                FetchError::Storing { url: shown, cause: with_causes(&error) }
            }
        })
    }

    async fn open(&self, url: &str, shown: &str) -> Result<Source, FetchError> {
        let not_a_url = || FetchError::NotAUrl(shown.to_owned());
        if let Some(rest) = url.strip_prefix("s3://") {
            let (bucket, key) = rest.split_once('/').ok_or_else(not_a_url)?;
            return from_s3(bucket, key, shown).await;
        }
        let parsed = Url::parse(url).map_err(|_| not_a_url())?;
        match parsed.scheme() {
            "http" | "https" => from_web(parsed, shown).await,
            "file" => {
                let path = parsed.to_file_path().map_err(|()| not_a_url())?;
                let directories = self.directories.clone();
                let shown = shown.to_owned();
                let opened = spawn_blocking(move || open_file(&path, &directories, &shown)).await;
                let file = opened.expect("opening a file does not panic")?;
                Ok(Source::File(tokio::fs::File::from_std(file)))
            }
            _ => Err(not_a_url()),
        }
    }
}

/// A file that arrives in pieces.
enum Source {
    S3(BoxStream<'static, object_store::Result<Chunk>>),
    Web(Box<Response>),
    File(tokio::fs::File),
}

impl Source {
    async fn next(&mut self, shown: &str) -> Result<Option<Chunk>, FetchError> {
        match self {
            Self::S3(stream) => {
                stream.next().await.transpose().map_err(|error| from_object_store(error, shown))
            }
            Self::Web(response) => {
                response.chunk().await.map_err(|error| failed(shown, error.without_url()))
            }
            Self::File(file) => {
                let mut piece = Vec::with_capacity(PIECE);
                file.take(PIECE as u64)
                    .read_to_end(&mut piece)
                    .await
                    .map_err(|error| failed(shown, error))?;
                Ok((!piece.is_empty()).then(|| piece.into()))
            }
        }
    }
}

/// The client is made here and not at the start: a machine without certificates serves local files all the same.
async fn from_web(url: Url, shown: &str) -> Result<Source, FetchError> {
    let client = Client::builder().connect_timeout(CONNECTS_WITHIN).read_timeout(GOES_ON_WITHIN);
    let asked = async { client.build()?.get(url).send().await };
    let response = asked.await.map_err(|error| failed(shown, error.without_url()))?;
    match response.status() {
        status if status.is_success() => Ok(Source::Web(Box::new(response))),
        StatusCode::NOT_FOUND | StatusCode::GONE => Err(FetchError::Missing(shown.to_owned())),
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
            Err(FetchError::Denied(shown.to_owned()))
        }
        status => {
            let cause = format!("the server answered {status}");
            Err(FetchError::Failed { url: shown.to_owned(), via: String::new(), cause })
        }
    }
}

async fn from_s3(bucket: &str, key: &str, shown: &str) -> Result<Source, FetchError> {
    let not_a_url = |_| FetchError::NotAUrl(shown.to_owned());
    let key = object_store::path::Path::parse(key).map_err(not_a_url)?;
    if bucket.is_empty() || key.is_root() {
        return Err(FetchError::NotAUrl(shown.to_owned()));
    }
    // A model takes as long as it takes: the time between two pieces is bounded, not the whole.
    let options = ClientOptions::new()
        .with_allow_http(true)
        .with_connect_timeout(CONNECTS_WITHIN)
        .with_read_timeout(GOES_ON_WITHIN)
        .with_timeout_disabled();
    let retry = RetryConfig {
        backoff: BackoffConfig::default(),
        max_retries: RETRIES,
        retry_timeout: ANSWERS_WITHIN,
    };
    let store = AmazonS3Builder::from_env()
        .with_bucket_name(bucket)
        .with_client_options(options)
        .with_retry(retry)
        .build()
        .map_err(|error| failed(shown, error))?;
    let found = store.get(&key).await.map_err(|error| from_object_store(error, shown))?;
    Ok(Source::S3(found.into_stream()))
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "the enum is another crate's and open; what is not told apart is a failure with its cause"
)]
fn from_object_store(error: object_store::Error, shown: &str) -> FetchError {
    match error {
        object_store::Error::NotFound { .. } => FetchError::Missing(shown.to_owned()),
        object_store::Error::PermissionDenied { .. }
        | object_store::Error::Unauthenticated { .. } => FetchError::Denied(shown.to_owned()),
        other => failed(shown, other),
    }
}

/// Opens a plain file below one of the directories. What was opened is looked at, not its name.
fn open_file(
    path: &Path,
    directories: &[PathBuf],
    shown: &str,
) -> Result<std::fs::File, FetchError> {
    let is_below = |path: &Path| directories.iter().any(|directory| path.starts_with(directory));
    let not_allowed = || FetchError::NotAllowed(shown.to_owned());
    // Whoever asks for a file elsewhere does not learn whether it exists.
    let told = |error: io::Error| {
        if !is_below(path) {
            not_allowed()
        } else if error.kind() == io::ErrorKind::NotFound {
            FetchError::Missing(shown.to_owned())
        } else if error.kind() == io::ErrorKind::PermissionDenied {
            FetchError::Denied(shown.to_owned())
        } else {
            failed(shown, error)
        }
    };
    let real = path.canonicalize().map_err(told)?;
    if !is_below(&real) {
        return Err(not_allowed());
    }
    // A pipe would otherwise hold the opening until somebody writes to it.
    let flags = rustix::fs::OFlags::NONBLOCK | rustix::fs::OFlags::NOCTTY;
    let flags = i32::try_from(flags.bits()).expect("flags of open(2) are an int");
    let mut options = std::fs::OpenOptions::new();
    let file = options.read(true).custom_flags(flags).open(&real).map_err(told)?;
    let opened = std::fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd())).map_err(told)?;
    if !is_below(&opened) {
        return Err(not_allowed());
    }
    if !file.metadata().map_err(told)?.is_file() {
        return Err(FetchError::NotAFile(shown.to_owned()));
    }
    Ok(file)
}

fn failed(shown: &str, error: impl std::error::Error) -> FetchError {
    FetchError::Failed { url: shown.to_owned(), via: String::new(), cause: with_causes(&error) }
}

/// An error and what led to it, each once: libraries tend to repeat their sources.
fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}

fn without_query(url: &str) -> String {
    // A key in S3 may contain either character.
    if url.starts_with("s3://") {
        return url.to_owned();
    }
    url.split(['?', '#']).next().unwrap_or_default().to_owned()
}

/// The last part of a URL, which tells people and extensions what it is.
pub(crate) fn file_name(url: &str) -> String {
    let shown = without_query(url);
    let name: String = shown
        .rsplit('/')
        .next()
        .unwrap_or_default()
        .chars()
        .filter(|c| !c.is_control())
        .take(LONGEST_NAME)
        .collect();
    if name.is_empty() { "file".to_owned() } else { name }
}

#[cfg(test)]
mod tests;
