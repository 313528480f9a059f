//! What is said before an operation is reached.

use serde_json::json;

use super::post;
use crate::tests::support::{Coordinator, within};

const JSON: (&str, &str) = ("content-type", "application/x-amz-json-1.1");
const LIST: (&str, &str) = ("x-amz-target", "SageMaker.ListModels");

#[tokio::test]
async fn every_answer_carries_a_request_id_of_its_own_and_the_content_type() {
    let coordinator = Coordinator::start().await;
    let mut ids = Vec::new();
    for (target, status) in [("SageMaker.ListModels", 200), ("SageMaker.Nothing", 404)] {
        let answer = post(&coordinator.url, &[JSON, ("x-amz-target", target)], b"{}").await;
        assert_eq!(answer.status, status, "{answer:?}");
        assert_eq!(answer.headers["content-type"], "application/x-amz-json-1.1");
        assert_eq!(answer.headers["content-length"], answer.body.len().to_string());
        assert!(answer.headers.contains_key("date"));
        ids.push(answer.headers["x-amzn-requestid"].clone());
    }
    assert_eq!(ids[0].len(), 36);
    assert_ne!(ids[0], ids[1]);
}

#[tokio::test]
async fn an_unknown_operation_is_a_4xx_that_names_the_known_ones() {
    let coordinator = Coordinator::start().await;
    let message =
        coordinator.aws_refused("CreateTrainingJob", &json!({}), "UnknownOperationException").await;
    assert!(message.contains("SageMaker.CreateTrainingJob"), "{message}");
    assert!(message.contains("Logs_20140328.GetLogEvents"), "{message}");
    let without = post(&coordinator.url, &[JSON], b"{}").await.refusal();
    assert_eq!(without.0, "UnknownOperationException");
    assert!(without.1.contains("X-Amz-Target is missing"), "{}", without.1);
}

#[tokio::test]
async fn what_is_no_json_of_this_api_is_refused_and_the_coordinator_goes_on() {
    let coordinator = Coordinator::start().await;
    let deep = "[".repeat(100_000);
    let deep_member = format!("{{\"NameContains\": {deep}");
    for (content_type, body, expected) in [
        ("application/json", "{}", "\"application/x-amz-json-1.1\" is expected"),
        ("text/plain", "{}", "\"text/plain\""),
        ("application/x-amz-json-1.1", "{", "not JSON"),
        ("application/x-amz-json-1.1", "[]", "not a JSON object"),
        ("application/x-amz-json-1.1", "\u{0}", "not JSON"),
        ("application/x-amz-json-1.1", deep.as_str(), "not JSON"),
        ("application/x-amz-json-1.1", deep_member.as_str(), "not JSON"),
        ("application/x-amz-json-1.1", "{\"MaxResults\": \"5\"}", "STRING_VALUE"),
        ("application/x-amz-json-1.1", "{\"MaxResults\": 1e999}", "not JSON"),
        ("application/x-amz-json-1.1", "{\"MaxResults\": 99999999999}", "Integer"),
    ] {
        let headers = [LIST, ("content-type", content_type)];
        let (code, message) = post(&coordinator.url, &headers, body.as_bytes()).await.refusal();
        assert_eq!(code, "SerializationException", "{message}");
        assert!(message.contains(expected), "{message}");
    }
    let not_text = post(&coordinator.url, &[JSON, LIST], b"{\"NameContains\": \"\xff\"}").await;
    assert_eq!(not_text.refusal().0, "SerializationException");
    coordinator.aws_ok("ListModels", &json!({})).await;
}

#[tokio::test]
async fn limits_that_are_broken_are_all_named() {
    let coordinator = Coordinator::start().await;
    let request = json!({"MaxResults": 101, "SortBy": "Cost", "NameContains": "a b"});
    let message = coordinator.aws_refused("ListModels", &request, "ValidationException").await;
    assert!(message.starts_with("3 validation errors detected: "), "{message}");
    for expected in ["'maxResults'", "'sortBy'", "'nameContains'"] {
        assert!(message.contains(expected), "{message}");
    }
    let logs = coordinator
        .aws("Logs_20140328.GetLogEvents", &json!({"logGroupName": "", "logStreamName": "a"}))
        .await;
    assert_eq!(logs.refusal().0, "InvalidParameterException");
    assert!(logs.json().get("message").is_some(), "{logs:?}");
}

#[tokio::test]
async fn a_request_beyond_a_megabyte_is_refused_after_it_was_sent() {
    let coordinator = Coordinator::start().await;
    let largest = format!("{{\"Unknown\": \"{}\"}}", "x".repeat((1 << 20) - 15));
    assert_eq!(largest.len(), 1 << 20);
    assert_eq!(post(&coordinator.url, &[JSON, LIST], largest.as_bytes()).await.status, 200);
    for size in [(1 << 20) + 1, 5 << 20] {
        let body = vec![b' '; size];
        let (code, message) = post(&coordinator.url, &[JSON, LIST], &body).await.refusal();
        assert_eq!(code, "ValidationException");
        assert!(message.contains("more than 1048576 bytes"), "{message}");
    }
}

#[tokio::test]
async fn clients_at_the_same_time_lose_nothing() {
    let coordinator = Coordinator::start().await;
    let mut clients = tokio::task::JoinSet::new();
    for number in 0..40 {
        let url = coordinator.url.clone();
        clients.spawn(async move {
            let body = json!({
                // Two clients want each name.
                "ModelName": format!("model-{}", number / 2),
                "PrimaryContainer": {"Image": "any", "ModelDataUrl": "s3://b/m.pt"},
                "ExecutionRoleArn": "arn:aws:iam::123456789012:role/r",
            });
            let headers = [JSON, ("x-amz-target", "SageMaker.CreateModel")];
            post(&url, &headers, body.to_string().as_bytes()).await.status
        });
    }
    let mut statuses = clients.join_all().await;
    statuses.sort_unstable();
    assert_eq!(statuses, [vec![200; 20], vec![400; 20]].concat());
    let listed = coordinator.aws_ok("ListModels", &json!({})).await;
    assert_eq!(listed["Models"].as_array().unwrap().len(), 20);
}

#[tokio::test]
async fn the_api_speaks_http_2_as_well() {
    let coordinator = Coordinator::start().await;
    crate::sagemaker::fetch::name_cryptography();
    let client = reqwest::Client::builder().no_proxy().http2_prior_knowledge().build().unwrap();
    let request = client.post(&coordinator.url).header(JSON.0, JSON.1).header(LIST.0, LIST.1);
    let answer = within("an answer", request.body("{}").send()).await.unwrap();
    assert_eq!((answer.version(), answer.status().as_u16()), (http::Version::HTTP_2, 200));
    assert_eq!(answer.bytes().await.unwrap(), "{\"Models\":[]}");
}
