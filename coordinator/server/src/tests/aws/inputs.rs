//! What the model takes, as the clients of SageMaker declare it.

use std::fs;

use flate2::{Compression, write::GzEncoder};
use serde_json::json;

use crate::tests::{aws_jobs::Bench, support::FakeAgent};

const CREATE: &str = "CreateInferenceRecommendationsJob";

fn payload(bench: &Bench, name: &str) {
    let mut archive = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
    let mut header = tar::Header::new_ustar();
    header.set_size(3);
    header.set_mode(0o644);
    archive.append_data(&mut header, name, b"abc".as_slice()).unwrap();
    let archive = archive.into_inner().unwrap().finish().unwrap();
    fs::write(bench.coordinator.files().join("payload.tar.gz"), archive).unwrap();
}

#[tokio::test]
async fn pictures_are_declared_also_when_only_their_names_say_that_they_are_some() {
    let bench = Bench::start().await;
    let mut agent = FakeAgent::attach(&bench.coordinator, "a").await;
    payload(&bench, "cat.jpg");
    let mut request = bench.request("demo");
    request["InputConfig"]["ContainerConfig"]["DataInputConfig"] =
        json!("{'input0': [1,3,256,256]}");
    bench.ok(CREATE, request).await;
    let start = agent.expect_start().await;
    let spec = start.spec.as_ref().unwrap();
    assert_eq!(spec.payload.as_ref().unwrap().content_type, "image/jpeg");
    assert_eq!(spec.inputs, ["input0=float32[1,3,256,256]"]);
    let log = json!({
        "logGroupName": "/aws/sagemaker/InferenceRecommendationsJobs",
        "logStreamName": "demo/execution", "startFromHead": true,
    });
    let log = bench.ok("GetLogEvents", log).await.to_string();
    assert!(log.contains("DataInputConfig means input0=float32[1,3,256,256]"), "{log}");
    assert!(
        log.contains("without effect on what is measured: Image of the model's container"),
        "{log}"
    );
}

#[tokio::test]
async fn the_size_that_pictures_are_cropped_to_is_told_where_nobody_declares_it() {
    let bench = Bench::start().await;
    let mut request = bench.request("demo");
    let container = request["InputConfig"]["ContainerConfig"].as_object_mut().unwrap();
    container.remove("DataInputConfig");
    container["PayloadConfig"]["SupportedContentTypes"] = json!(["image/jpeg"]);
    bench.ok(CREATE, request).await;
    let log = json!({
        "logGroupName": "/aws/sagemaker/InferenceRecommendationsJobs",
        "logStreamName": "demo/execution", "startFromHead": true,
    });
    let log = bench.ok("GetLogEvents", log).await.to_string();
    assert!(log.contains("cropped to 224 by 224 pixels"), "{log}");
}

#[tokio::test]
async fn what_is_not_understood_is_refused_at_once() {
    let bench = Bench::start().await;
    let mut request = bench.request("demo");
    request["InputConfig"]["ContainerConfig"]["DataInputConfig"] = json!("1x3x256x256");
    let (code, message) = bench.refused(CREATE, request).await;
    assert_eq!(code, "ValidationException");
    assert!(message.contains("DataInputConfig \"1x3x256x256\" is not understood"), "{message}");
}
