use std::{fs, os::unix::fs::symlink};

use axum::{Router, routing::get};
use tempfile::TempDir;
use tokio::net::TcpListener;

use super::*;

/// A directory that is allowed, one that is not, and where files are kept.
struct Bench {
    scratch: TempDir,
    artifacts: Artifacts,
    sources: Sources,
}

impl Bench {
    fn new() -> Self {
        let scratch = tempfile::tempdir().unwrap();
        for folder in ["allowed", "allowed-not", "kept"] {
            fs::create_dir(scratch.path().join(folder)).unwrap();
        }
        let artifacts = Artifacts::open(&scratch.path().join("kept"), Bytes::mib(1)).unwrap();
        let sources = Sources::below(vec![scratch.path().canonicalize().unwrap().join("allowed")]);
        Self { scratch, artifacts, sources }
    }

    fn url(&self, path: &str) -> String {
        format!("file://{}/{path}", self.scratch.path().display())
    }

    async fn fetch(&self, url: &str, limit: u64) -> Result<Received, FetchError> {
        self.sources.fetch(url, &self.artifacts, Bytes::new(limit)).await
    }

    async fn refused(&self, url: &str) -> FetchError {
        self.fetch(url, 100).await.unwrap_err()
    }
}

#[tokio::test]
async fn a_file_below_an_allowed_directory_is_kept_under_its_checksum() {
    let bench = Bench::new();
    let folder = bench.scratch.path().join("allowed/deep one");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("model.pt"), "abc").unwrap();
    let received = bench.fetch(&bench.url("allowed/deep%20one/model.pt"), 3).await.unwrap();
    assert_eq!(fs::read(received.path()).unwrap(), b"abc");
    let artifact = received.keep().await.unwrap();
    assert_eq!(artifact.name, "model.pt");
    assert!(artifact.sha256.as_str().starts_with("ba7816bf"));
    assert!(bench.artifacts.holds(&artifact));
}

#[tokio::test]
async fn no_path_and_no_link_leads_out_of_the_allowed_directories() {
    let bench = Bench::new();
    let at = |path: &str| bench.scratch.path().join(path);
    fs::write(at("secret"), "secret").unwrap();
    fs::write(at("allowed-not/secret"), "secret").unwrap();
    symlink(at("secret"), at("allowed/link")).unwrap();
    symlink("../secret", at("allowed/relative")).unwrap();
    symlink(at("allowed-not"), at("allowed/folder")).unwrap();
    for path in [
        "secret",
        "no-such-file",
        "allowed/../secret",
        "allowed/%2e%2e/secret",
        "allowed/link",
        "allowed/relative",
        "allowed/folder/secret",
        "allowed-not/secret",
    ] {
        let refused = bench.refused(&bench.url(path)).await;
        assert!(matches!(refused, FetchError::NotAllowed(_)), "{path}: {refused}");
    }
}

#[tokio::test]
async fn without_an_allowed_directory_no_file_is_read() {
    let bench = Bench::new();
    fs::write(bench.scratch.path().join("allowed/model.pt"), "abc").unwrap();
    let nothing = Sources::below(Vec::new());
    let url = bench.url("allowed/model.pt");
    let refused = nothing.fetch(&url, &bench.artifacts, Bytes::mib(1)).await.unwrap_err();
    assert!(matches!(refused, FetchError::NotAllowed(_)), "{refused}");
}

#[tokio::test]
async fn what_is_missing_empty_too_large_or_no_file_is_said_so_and_leaves_nothing() {
    let bench = Bench::new();
    let at = |path: &str| bench.scratch.path().join(path);
    fs::write(at("allowed/empty"), "").unwrap();
    fs::write(at("allowed/large"), [0; 101]).unwrap();
    let said = async |path: &str| bench.refused(&bench.url(path)).await;
    assert!(matches!(said("allowed/none").await, FetchError::Missing(_)));
    assert!(matches!(said("allowed/empty").await, FetchError::Empty(_)));
    assert!(matches!(said("allowed/large").await, FetchError::TooLarge { .. }));
    assert!(matches!(said("allowed").await, FetchError::NotAFile(_)));
    assert_eq!(fs::read_dir(at("kept/unfinished")).unwrap().count(), 0);
}

#[tokio::test]
async fn what_is_no_url_of_a_file_is_refused() {
    let bench = Bench::new();
    for url in [
        "",
        "model.pt",
        "ftp://host/model.pt",
        "s3://bucket",
        "s3://bucket/",
        "s3:///key",
        "file://host/x",
    ] {
        let refused = bench.refused(url).await;
        assert!(matches!(refused, FetchError::NotAUrl(_)), "{url}: {refused}");
    }
}

#[tokio::test]
async fn the_web_is_asked_with_the_query_and_errors_are_told_without_it() {
    let bench = Bench::new();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let signed = async |request: axum::extract::Request| match request.uri().query() {
        Some("signature=7") => Ok("abc"),
        Some(_) | None => Err(StatusCode::FORBIDDEN),
    };
    let router = Router::new()
        .route("/model.pt", get(signed))
        .route("/broken", get(async || StatusCode::BAD_GATEWAY));
    let serving = tokio::spawn(async move { axum::serve(listener, router).await });
    let received = bench.fetch(&format!("{base}/model.pt?signature=7"), 3).await.unwrap();
    assert_eq!(received.keep().await.unwrap().name, "model.pt");
    let refused = bench.refused(&format!("{base}/model.pt?signature=8")).await;
    assert!(matches!(refused, FetchError::Denied(_)));
    assert!(!refused.to_string().contains("signature"), "{refused}");
    assert!(matches!(bench.refused(&format!("{base}/none")).await, FetchError::Missing(_)));
    let refused = bench.refused(&format!("{base}/broken")).await.to_string();
    assert!(refused.contains("502"), "{refused}");
    serving.abort();
}

#[test]
fn names_are_short_and_never_empty() {
    assert_eq!(file_name("s3://bucket/deep/model.tar.gz"), "model.tar.gz");
    assert_eq!(file_name("https://host/payload.tar.gz?X-Amz-Signature=1/2"), "payload.tar.gz");
    assert_eq!(file_name("https://host/"), "file");
    assert_eq!(file_name(&format!("s3://bucket/{}", "x".repeat(300))).len(), 100);
}
