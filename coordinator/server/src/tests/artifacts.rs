//! Files over the wire, and the jobs that need them.

use assay_proto::v1::{self, agent_service_client::AgentServiceClient};
use tonic::Code;

use super::support::{Coordinator, MODEL, PAYLOAD, artifact, job_spec, upload};

const OTHER_PAYLOAD: &[u8] = b"another payload";

fn fetch(sha256: &str, offset_bytes: u64) -> v1::FetchArtifactRequest {
    v1::FetchArtifactRequest { sha256: sha256.to_owned(), offset_bytes }
}

impl Coordinator {
    async fn has(&self, content: &[u8]) -> bool {
        let request = fetch(artifact(content).sha256.as_str(), 0);
        let mut agents = AgentServiceClient::new(self.channel().await);
        match agents.fetch_artifact(request).await {
            Ok(_) => true,
            Err(missing) => {
                assert_eq!(missing.code(), Code::NotFound, "{missing}");
                false
            }
        }
    }

    async fn stop_and_delete(&self, name: &str) {
        self.stop(name).await.unwrap();
        self.reaches(name, v1::JobStatus::Stopped).await;
        self.delete(name).await;
    }

    async fn delete(&self, name: &str) {
        let request = v1::DeleteJobRequest { name: name.to_owned() };
        self.jobs().await.delete_job(request).await.unwrap();
    }
}

#[tokio::test]
async fn a_file_comes_back_as_it_was_uploaded() {
    let coordinator = Coordinator::start().await;
    let mut jobs = coordinator.jobs().await;
    assert!(upload(&mut jobs, artifact(MODEL).into(), MODEL).await.unwrap());
    assert!(!upload(&mut jobs, artifact(MODEL).into(), MODEL).await.unwrap());
    let mut agents = AgentServiceClient::new(coordinator.channel().await);
    let sha256 = artifact(MODEL).sha256;
    // From the beginning, from the middle where an earlier fetch broke, from its very end.
    for offset in [0, 3, MODEL.len()] {
        let request = fetch(sha256.as_str(), offset as u64);
        let mut chunks = agents.fetch_artifact(request).await.unwrap().into_inner();
        let mut content = Vec::new();
        while let Some(chunk) = chunks.message().await.unwrap() {
            content.extend_from_slice(&chunk.data);
        }
        assert_eq!(content, MODEL[offset..]);
    }
    for beyond in [MODEL.len() as u64 + 1, u64::MAX] {
        let refused = agents.fetch_artifact(fetch(sha256.as_str(), beyond)).await.err().unwrap();
        assert_eq!(refused.code(), Code::OutOfRange, "{refused}");
    }
    let missing = agents.fetch_artifact(fetch(&"0".repeat(64), 0)).await.err().unwrap();
    assert_eq!(missing.code(), Code::NotFound);
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
    let request = fetch(&header.sha256, 0);
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

#[tokio::test]
async fn the_files_of_a_deleted_job_go_with_the_last_job_that_refers_to_them() {
    let mut coordinator = Coordinator::start().await;
    let mut jobs = coordinator.jobs().await;
    upload(&mut jobs, artifact(OTHER_PAYLOAD).into(), OTHER_PAYLOAD).await.unwrap();
    let mut sibling = job_spec("sibling", &["ml.c5.large"]);
    sibling.payload.artifact = artifact(OTHER_PAYLOAD);
    for content in [MODEL, PAYLOAD] {
        upload(&mut jobs, artifact(content).into(), content).await.unwrap();
    }
    for spec in [job_spec("first", &["ml.c5.large"]), sibling] {
        let request = v1::CreateJobRequest { spec: Some(spec.into()) };
        jobs.create_job(request).await.unwrap();
    }
    // Its model was uploaded for a job that never comes, of which a restart knows nothing.
    upload(&mut jobs, artifact(MODEL).into(), MODEL).await.unwrap();
    coordinator.restart().await;

    coordinator.stop_and_delete("first").await;
    assert!(!coordinator.has(PAYLOAD).await, "nobody needs it any more");
    assert!(coordinator.has(MODEL).await && coordinator.has(OTHER_PAYLOAD).await);
    coordinator.stop_and_delete("sibling").await;
    assert!(!coordinator.has(MODEL).await && !coordinator.has(OTHER_PAYLOAD).await);
    coordinator.create(job_spec("later", &["ml.c5.large"])).await.unwrap();
    assert!(coordinator.has(MODEL).await);
}

#[tokio::test]
async fn what_was_told_to_be_there_still_is_when_its_job_comes() {
    let coordinator = Coordinator::start().await;
    coordinator.create(job_spec("old", &["ml.c5.large"])).await.unwrap();
    let mut jobs = coordinator.jobs().await;
    for content in [MODEL, PAYLOAD] {
        assert!(!upload(&mut jobs, artifact(content).into(), content).await.unwrap());
    }
    coordinator.stop_and_delete("old").await;
    let request = v1::CreateJobRequest { spec: Some(job_spec("newer", &["ml.c5.large"]).into()) };
    jobs.create_job(request).await.unwrap();
    coordinator.stop_and_delete("newer").await;
    assert!(!coordinator.has(MODEL).await && !coordinator.has(PAYLOAD).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_job_that_is_accepted_has_its_files_whatever_is_deleted_meanwhile() {
    let coordinator = Coordinator::start().await;
    let mut accepted = 0;
    coordinator.create(job_spec("job-0", &["ml.c5.large"])).await.unwrap();
    for round in 1..40 {
        let (old, new) = (format!("job-{}", round - 1), format!("job-{round}"));
        coordinator.stop(&old).await.unwrap();
        coordinator.reaches(&old, v1::JobStatus::Stopped).await;
        let request = v1::CreateJobRequest { spec: Some(job_spec(&new, &["ml.c5.large"]).into()) };
        let mut jobs = coordinator.jobs().await;
        let (created, ()) = tokio::join!(jobs.create_job(request), coordinator.delete(&old));
        match created {
            Ok(_) => {
                accepted += 1;
                assert!(coordinator.has(MODEL).await && coordinator.has(PAYLOAD).await, "{new}");
            }
            // The deletion was first.
            Err(refused) => {
                assert_eq!(refused.code(), Code::NotFound, "{refused}");
                coordinator.create(job_spec(&new, &["ml.c5.large"])).await.unwrap();
            }
        }
    }
    assert!(accepted > 0, "no job was created while another was deleted");
}
