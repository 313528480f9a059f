//! Who may use the API: signatures, and what the operator can and cannot open.

use std::{fs, path::Path, time::SystemTime};

use aws_credential_types::Credentials;
use aws_sigv4::{
    http_request::{SignableBody, SignableRequest, SigningSettings, sign},
    sign::v4::SigningParams,
};

use super::post;
use crate::{
    sagemaker::keys::KeysFileError,
    server::{RunningServer, Server},
    settings::{AwsAuth, AwsSettings, Listen, ServerSettings},
    start_error::StartError,
};

const ID: &str = "AKIAEXAMPLE000000001";
pub(super) const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
pub(super) const BODY: &str = "{\"SortBy\": \"Name\"}";
const TARGET: &str = "SageMaker.ListModels";

fn settings(directory: &Path, address: &str, auth: AwsAuth) -> ServerSettings {
    ServerSettings {
        aws: AwsSettings { auth, ..AwsSettings::default() },
        ..ServerSettings::new(Listen::At(address.parse().unwrap()), directory.join("data"))
    }
}

fn with_keys(directory: &Path) -> AwsAuth {
    let keys_file = directory.join("keys.toml");
    let keys = format!("[ci]\naccess_key_id = \"{ID}\"\nsecret_access_key = \"{SECRET}\"\n");
    fs::write(&keys_file, keys).unwrap();
    AwsAuth::SigV4 { keys_file }
}

pub(super) async fn start(directory: &Path) -> RunningServer {
    let auth = with_keys(directory);
    Server::start(settings(directory, "127.0.0.1:0", auth)).await.unwrap()
}

/// The headers of a request that a client with this secret signs at this time.
pub(super) fn signed(url: &str, secret: &str, at: SystemTime) -> Vec<(&'static str, String)> {
    let mut headers = vec![
        ("host", url.trim_start_matches("http://").to_owned()),
        ("content-type", "application/x-amz-json-1.1".to_owned()),
        ("x-amz-target", TARGET.to_owned()),
    ];
    let identity = Credentials::new(ID, secret, None, None, "test").into();
    let terms = SigningParams::builder()
        .identity(&identity)
        .region("us-east-1")
        .name("sagemaker")
        .time(at)
        .settings(SigningSettings::default())
        .build()
        .unwrap()
        .into();
    let to_sign = headers.iter().map(|(name, value)| (*name, value.as_str()));
    let body = SignableBody::Bytes(BODY.as_bytes());
    let request = SignableRequest::new("POST", format!("{url}/"), to_sign, body).unwrap();
    let (instructions, _) = sign(request, &terms).unwrap().into_parts();
    let (added, _) = instructions.into_parts();
    headers.extend(added.into_iter().map(|header| (header.name(), header.value().to_owned())));
    headers
}

async fn ask(url: &str, headers: &[(&'static str, String)], body: &str) -> (u16, String) {
    let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let answer = post(url, &headers, body.as_bytes()).await;
    assert!(answer.headers.contains_key("x-amzn-requestid"));
    match answer.status {
        200 => (200, String::new()),
        status => (status, answer.refusal().0),
    }
}

#[tokio::test]
async fn a_signed_request_is_answered_and_every_other_is_refused_with_the_code_of_aws() {
    let scratch = tempfile::tempdir().unwrap();
    let running = start(scratch.path()).await;
    let url = running.url();
    let now = SystemTime::now();
    let minutes = |count: u64| std::time::Duration::from_secs(60 * count);
    let refused = |status: u16, code: &str| (status, code.to_owned());

    let right = signed(&url, SECRET, now);
    assert_eq!(ask(&url, &right, BODY).await, (200, String::new()));
    assert_eq!(ask(&url, &right, BODY).await, (200, String::new()));
    for (what, headers, body) in [
        ("wrong secret", signed(&url, &format!("{SECRET}x"), now), BODY),
        ("tampered body", right.clone(), "{\"SortBy\": \"CreationTime\"}"),
        ("replayed", signed(&url, SECRET, now - minutes(6)), BODY),
        ("clock ahead", signed(&url, SECRET, now + minutes(6)), BODY),
    ] {
        let expected = refused(403, "InvalidSignatureException");
        assert_eq!(ask(&url, &headers, body).await, expected, "{what}");
    }
    let mut unknown = right.clone();
    for (name, value) in &mut unknown {
        if *name == "authorization" {
            *value = value.replace(ID, "AKIAEXAMPLE000000009");
        }
    }
    assert_eq!(ask(&url, &unknown, BODY).await, refused(403, "UnrecognizedClientException"));
    let unsigned: Vec<_> =
        right.iter().filter(|(name, _)| *name != "authorization").cloned().collect();
    let expected = refused(403, "MissingAuthenticationTokenException");
    assert_eq!(ask(&url, &unsigned, BODY).await, expected);
    let mut incomplete = right.clone();
    incomplete.retain(|(name, _)| *name != "x-amz-date");
    assert_eq!(ask(&url, &incomplete, BODY).await, refused(403, "IncompleteSignatureException"));
}

#[tokio::test]
async fn who_may_not_ask_does_not_learn_which_operations_exist() {
    let scratch = tempfile::tempdir().unwrap();
    let running = start(scratch.path()).await;
    let headers = [("x-amz-target", "SageMaker.CreateTrainingJob".to_owned())];
    let (status, code) = ask(&running.url(), &headers, "{}").await;
    assert_eq!((status, code.as_str()), (403, "MissingAuthenticationTokenException"));
}

#[tokio::test]
async fn unsigned_requests_are_refused_off_loopback_at_the_start() {
    let scratch = tempfile::tempdir().unwrap();
    let (tls, _) = crate::tests::starting::certificate(scratch.path());
    let token_file = scratch.path().join("tokens");
    fs::write(&token_file, "alpha\n").unwrap();
    let everywhere = |auth| ServerSettings {
        tls: Some(tls.clone()),
        token_file: Some(token_file.clone()),
        ..settings(scratch.path(), "0.0.0.0:0", auth)
    };
    let refused = Server::start(everywhere(AwsAuth::Off)).await.unwrap_err();
    assert!(matches!(refused, StartError::AwsUnprotected(_)), "{refused:?}");
    assert!(refused.hint().unwrap().contains("--aws-auth sigv4"));
    assert!(!scratch.path().join("data").exists());
    Server::start(everywhere(with_keys(scratch.path()))).await.unwrap();
}

#[tokio::test]
async fn where_tokens_are_wanted_nobody_gets_in_without_a_signature() {
    let scratch = tempfile::tempdir().unwrap();
    let token_file = scratch.path().join("tokens");
    fs::write(&token_file, "alpha\n").unwrap();
    let running = Server::start(ServerSettings {
        token_file: Some(token_file),
        ..settings(scratch.path(), "127.0.0.1:0", AwsAuth::Unsaid)
    })
    .await
    .unwrap();
    for authorization in ["Bearer alpha", "AWS4-HMAC-SHA256 x"] {
        let headers = [
            ("content-type", "application/x-amz-json-1.1".to_owned()),
            ("x-amz-target", TARGET.to_owned()),
            ("authorization", authorization.to_owned()),
        ];
        let (status, code) = ask(&running.url(), &headers, BODY).await;
        assert_eq!((status, code.as_str()), (400, "AccessDeniedException"));
    }
}

#[tokio::test]
async fn settings_that_cannot_be_used_are_refused_before_anything_is_written() {
    let scratch = tempfile::tempdir().unwrap();
    let base = || settings(scratch.path(), "127.0.0.1:0", AwsAuth::Unsaid);
    let start = async |aws: AwsSettings| {
        let refused = Server::start(ServerSettings { aws, ..base() }).await.unwrap_err();
        assert!(refused.hint().is_some(), "{refused}");
        assert!(!scratch.path().join("data").exists());
        refused
    };
    let keys_file = scratch.path().join("no-keys.toml");
    let missing = AwsSettings {
        auth: AwsAuth::SigV4 { keys_file: keys_file.clone() },
        ..AwsSettings::default()
    };
    let refused = start(missing.clone()).await;
    assert!(matches!(refused, StartError::AwsKeys(KeysFileError::Unreadable { .. })), "{refused}");
    fs::write(&keys_file, "ci = 1\n").unwrap();
    let refused = start(missing).await;
    assert!(matches!(refused, StartError::AwsKeys(KeysFileError::Malformed { .. })), "{refused}");
    let account = AwsSettings { account: "me".to_owned(), ..AwsSettings::default() };
    assert!(matches!(start(account).await, StartError::AwsAccount(_)));
    for path in [scratch.path().join("nothing"), keys_file] {
        let dirs = AwsSettings { file_url_dirs: vec![path], ..AwsSettings::default() };
        assert!(matches!(start(dirs).await, StartError::FileUrlDir { .. }));
    }
}
