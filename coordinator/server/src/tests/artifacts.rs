//! Files over the wire, and the jobs that need them.

use assay_proto::v1::{self, agent_service_client::AgentServiceClient};
use tonic::Code;

use super::support::{Coordinator, MODEL, artifact, job_spec, upload};

#[tokio::test]
async fn a_file_comes_back_as_it_was_uploaded() {
    let coordinator = Coordinator::start().await;
    let mut jobs = coordinator.jobs().await;
    assert!(upload(&mut jobs, artifact(MODEL).into(), MODEL).await.unwrap());
    assert!(!upload(&mut jobs, artifact(MODEL).into(), MODEL).await.unwrap());
    let mut agents = AgentServiceClient::new(coordinator.channel().await);
    let request = v1::FetchArtifactRequest { sha256: artifact(MODEL).sha256.to_string() };
    let mut chunks = agents.fetch_artifact(request).await.unwrap().into_inner();
    let mut content = Vec::new();
    while let Some(chunk) = chunks.message().await.unwrap() {
        content.extend_from_slice(&chunk.data);
    }
    assert_eq!(content, MODEL);
    let request = v1::FetchArtifactRequest { sha256: "0".repeat(64) };
    assert_eq!(agents.fetch_artifact(request).await.err().unwrap().code(), Code::NotFound);
}

#[tokio::test]
async fn a_file_with_another_checksum_than_announced_is_refused_and_not_kept() {
    let coordinator = Coordinator::start().await;
    let mut jobs = coordinator.jobs().await;
    let mut header: v1::ArtifactRef = artifact(MODEL).into();
    header.sha256 = "0".repeat(64);
    let refused = upload(&mut jobs, header.clone(), MODEL).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    assert!(refused.message().contains(artifact(MODEL).sha256.as_str()), "{}", refused.message());
    let request = v1::FetchArtifactRequest { sha256: header.sha256 };
    let mut agents = AgentServiceClient::new(coordinator.channel().await);
    assert_eq!(agents.fetch_artifact(request).await.err().unwrap().code(), Code::NotFound);
}

#[tokio::test]
async fn a_job_whose_model_was_not_uploaded_is_refused() {
    let coordinator = Coordinator::start().await;
    let request = v1::CreateJobRequest { spec: Some(job_spec("bare", &["ml.c5.large"]).into()) };
    let refused = coordinator.jobs().await.create_job(request).await.unwrap_err();
    assert_eq!(refused.code(), Code::NotFound);
    assert!(refused.message().contains("model"), "{}", refused.message());
}
