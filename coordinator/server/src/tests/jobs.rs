//! What clients may expect of jobs.

use std::time::Duration;

use assay_measure::{
    configuration::Graph,
    outcome::{Failure, FailureKind, TrialOutcome},
    payload_file,
    search::Mode,
    trial::ArtifactRef,
    units::Bytes,
};
use assay_proto::v1::{self, JobStatus, job_event, trial_spec::Work};
use tonic::Code;

use super::support::{Coordinator, FakeAgent, artifact, held, invalid, job_spec, measured};

#[tokio::test]
async fn a_job_goes_from_its_creation_to_a_ranking() {
    let coordinator = Coordinator::start().await;
    let mut agent = FakeAgent::attach(&coordinator, "a").await;
    let created =
        coordinator.create(job_spec("first", &["ml.c5.large", "ml.m5.large"])).await.unwrap();
    assert_eq!(created.job.unwrap().status(), JobStatus::Pending);
    // Both have two processors, so one trial measures both.
    assert_eq!(created.trials.len(), 1);
    assert_eq!(created.trials[0].instance_types, ["ml.c5.large", "ml.m5.large"]);
    assert!(created.trials[0].emulated);

    let start = agent.expect_start().await;
    let trial = held(&start);
    assert!(agent.heartbeat(Some(trial.clone())).await);
    assert_eq!(coordinator.job("first").await.status(), JobStatus::Running);
    for index in 0..3 {
        let acknowledged = agent.step(&trial, index).await;
        assert_eq!(acknowledged.what, Some(v1::acknowledge::What::StepIndex(index)));
        assert!(!acknowledged.stale);
    }
    assert!(!agent.finish(&trial, measured()).await.stale);

    let job = coordinator.reaches("first", JobStatus::Completed).await;
    assert_eq!((job.trials_total, job.trials_ended), (1, 1));
    assert!(job.recommended_instance_type.is_some());
    assert!(job.finished_at.is_some());
    let report = coordinator.document("first").await;
    assert_eq!(report["schema"], "assay.job/1");
    assert_eq!(report["ranking"].as_array().unwrap().len(), 2);
    assert_eq!(report["ranking"][0]["steps"].as_array().unwrap().len(), 3);
    assert_eq!(report["recommendation"]["instance_type"], job.recommended_instance_type.unwrap());
}

#[tokio::test]
async fn a_job_whose_name_was_used_is_refused_even_after_it_was_deleted() {
    let mut coordinator = Coordinator::start().await;
    coordinator.create(job_spec("taken", &["ml.c5.large"])).await.unwrap();
    let again = coordinator.create(job_spec("taken", &["ml.c5.large"])).await.unwrap_err();
    assert_eq!(again.code(), Code::AlreadyExists);
    assert!(again.message().contains("taken-2 is free"), "{}", again.message());

    let delete = v1::DeleteJobRequest { name: "taken".to_owned() };
    let mut jobs = coordinator.jobs().await;
    let refused = jobs.delete_job(delete.clone()).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    coordinator.stop("taken").await.unwrap();
    coordinator.reaches("taken", JobStatus::Stopped).await;
    jobs.delete_job(delete.clone()).await.unwrap();
    assert_eq!(jobs.delete_job(delete).await.unwrap_err().code(), Code::NotFound);

    let again = coordinator.create(job_spec("taken", &["ml.c5.large"])).await.unwrap_err();
    assert_eq!(again.code(), Code::AlreadyExists);
    coordinator.restart().await;
    let again = coordinator.create(job_spec("taken", &["ml.c5.large"])).await.unwrap_err();
    assert_eq!(again.code(), Code::AlreadyExists);
}

#[tokio::test]
async fn an_unknown_instance_type_is_refused_with_the_one_that_was_probably_meant() {
    let coordinator = Coordinator::start().await;
    let refused = coordinator.create(job_spec("typo", &["ml.c5.lrage"])).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    assert!(refused.message().contains("unknown instance type"), "{}", refused.message());
    assert!(refused.message().contains("hint: did you mean ml.c5.large?"), "{}", refused.message());
    // Nothing was stored, so the name is free.
    coordinator.create(job_spec("typo", &["ml.c5.large"])).await.unwrap();
}

#[tokio::test]
async fn stopping_a_job_cancels_what_runs_and_keeps_finished_steps() {
    let coordinator = Coordinator::start().await;
    let mut agent = FakeAgent::attach(&coordinator, "a").await;
    // Three shapes, so three trials, of which one runs.
    let types = ["ml.c5.large", "ml.c5.xlarge", "ml.t2.medium"];
    coordinator.create(job_spec("halted", &types)).await.unwrap();
    let trial = held(&agent.expect_start().await);
    agent.step(&trial, 0).await;

    assert_eq!(coordinator.stop("halted").await.unwrap().status(), JobStatus::Stopping);
    let cancel = agent.expect_cancel().await;
    assert_eq!((cancel.trial_id.as_str(), cancel.by.as_str()), (trial.trial_id.as_str(), "ada"));
    let outcome = TrialOutcome::Cancelled { by: cancel.by };
    assert!(!agent.finish(&trial, outcome).await.stale);

    let job = coordinator.reaches("halted", JobStatus::Stopped).await;
    assert_eq!(job.reason, "stopped by ada");
    assert_eq!(job.trials_ended, job.trials_total);
    let steps =
        coordinator.record("halted").await.into_iter().filter_map(|event| match event.event {
            Some(job_event::Event::StepFinished(finished)) => finished.step,
            _ => None,
        });
    assert_eq!(steps.map(|step| step.histogram).collect::<Vec<_>>(), [[1, 2, 3, 0]]);
    let again = coordinator.stop("halted").await.unwrap_err();
    assert_eq!(again.code(), Code::FailedPrecondition);
    assert_eq!(coordinator.stop("never").await.unwrap_err().code(), Code::NotFound);
}

#[tokio::test]
async fn one_job_is_stopped_while_the_trial_of_another_goes_on() {
    let coordinator = Coordinator::start().await;
    let mut first = FakeAgent::attach(&coordinator, "a").await;
    let mut second = FakeAgent::attach(&coordinator, "b").await;
    coordinator.create(job_spec("one", &["ml.c5.large"])).await.unwrap();
    let mut other = job_spec("two", &["local"]);
    other.emulate = false;
    coordinator.create(other).await.unwrap();
    let (one, two) = (held(&first.expect_start().await), held(&second.expect_start().await));
    first.step(&one, 0).await;
    second.step(&two, 0).await;

    coordinator.stop("one").await.unwrap();
    assert_eq!(first.expect_cancel().await.trial_id, one.trial_id);
    first.finish(&one, TrialOutcome::Cancelled { by: "ada".to_owned() }).await;
    coordinator.reaches("one", JobStatus::Stopped).await;

    assert!(second.heartbeat(Some(two.clone())).await);
    assert!(!second.step(&two, 1).await.stale);
    second.finish(&two, measured()).await;
    coordinator.reaches("two", JobStatus::Completed).await;
}

#[tokio::test]
async fn a_job_fails_with_the_reason_when_nothing_could_be_measured() {
    let coordinator = Coordinator::start().await;
    let mut agent = FakeAgent::attach(&coordinator, "a").await;
    coordinator.create(job_spec("hopeless", &["ml.c5.large"])).await.unwrap();
    let trial = held(&agent.expect_start().await);
    let failure = Failure::new(
        FailureKind::ModelRejected,
        "not a TorchScript file".to_owned(),
        String::new(),
    );
    agent.finish(&trial, TrialOutcome::Failed(failure)).await;
    let job = coordinator.reaches("hopeless", JobStatus::Failed).await;
    assert!(job.reason.contains("not a TorchScript file"), "{}", job.reason);
    assert_eq!(job.recommended_instance_type, None);
}

#[tokio::test]
async fn an_invalid_trial_is_measured_again_twice_and_then_stands_without_a_recommendation() {
    let coordinator = Coordinator::start().await;
    let mut agent = FakeAgent::attach(&coordinator, "a").await;
    coordinator.create(job_spec("doubtful", &["ml.c5.large"])).await.unwrap();
    let mut tokens = Vec::new();
    for _ in 0..3 {
        let trial = held(&agent.expect_start().await);
        assert!(!tokens.contains(&trial.lease_token));
        agent.step(&trial, 0).await;
        assert!(!agent.finish(&trial, invalid()).await.stale);
        tokens.push(trial.lease_token);
    }
    let job = coordinator.reaches("doubtful", JobStatus::Completed).await;
    assert_eq!(job.recommended_instance_type, None);
    let report = coordinator.document("doubtful").await;
    assert_eq!(report["failed"].as_array().unwrap().len(), 1);
    // Steps of the discarded runs are in the record, not in the report.
    assert_eq!(report["failed"][0]["steps"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn the_full_trial_of_a_type_makes_up_for_its_quick_trials_that_were_measured_again() {
    let coordinator = Coordinator::start().await;
    let mut agent = FakeAgent::attach(&coordinator, "a").await;
    let mut given = Vec::new();
    for (name, first) in [("undisturbed", measured()), ("disturbed", invalid())] {
        let mut spec = job_spec(name, &["ml.c5.large"]);
        spec.mode = Mode::Full;
        spec.sweep.graph = vec![Graph::Plain, Graph::Optimized];
        coordinator.create(spec).await.unwrap();
        let trial = held(&agent.expect_start().await);
        let is_repeated = first == invalid();
        agent.finish(&trial, first).await;
        for _ in 0..=u32::from(is_repeated) {
            let trial = held(&agent.expect_start().await);
            agent.finish(&trial, measured()).await;
        }
        let full = agent.expect_start().await;
        let Some(Work::Search(search)) = full.spec.as_ref().unwrap().work.clone() else {
            panic!("no search: {full:?}")
        };
        given.push(Duration::from_micros(search.max_duration_us));
        agent.finish(&held(&full), measured()).await;
        coordinator.reaches(name, JobStatus::Completed).await;
    }
    let TrialOutcome::Measured(repeated) = measured() else { panic!("not measured") };
    assert_eq!(given[0] - given[1], repeated.took);
}

#[tokio::test]
async fn a_job_that_no_agent_can_measure_waits_for_one_that_can() {
    let coordinator = Coordinator::start().await;
    let mut spec = job_spec("patient", &["ml.c5.large"]);
    spec.emulate = false;
    let created = coordinator.create(spec).await.unwrap();
    assert_eq!(created.job.unwrap().status(), JobStatus::Pending);
    let mut other = FakeAgent::attach(&coordinator, "other").await;
    assert!(other.heartbeat(None).await);
    let waiting = coordinator.job("patient").await;
    assert_eq!(waiting.status(), JobStatus::Pending);
    assert_eq!(waiting.reason, "no agent can measure ml.c5.large");

    let mut register = super::support::registration("right");
    register.instance_type = "ml.c5.large".to_owned();
    let mut right = FakeAgent::attach_as(&coordinator, register).await.unwrap();
    let start = right.expect_start().await;
    assert_eq!(start.spec.as_ref().unwrap().emulated, None);
    right.finish(&held(&start), measured()).await;
    let job = coordinator.reaches("patient", JobStatus::Completed).await;
    assert_eq!(job.reason, "");
}

#[tokio::test]
async fn an_instance_type_larger_than_the_emulating_machine_fails_at_once_with_the_reason() {
    let coordinator = Coordinator::start().await;
    let _agent = FakeAgent::attach(&coordinator, "a").await;
    coordinator.create(job_spec("giant", &["ml.m5.24xlarge"])).await.unwrap();
    let job = coordinator.reaches("giant", JobStatus::Failed).await;
    assert!(job.reason.contains("ml.m5.24xlarge"), "{}", job.reason);
    let report = coordinator.document("giant").await;
    let reason = report["rejected"][0]["reason"].as_str().unwrap();
    assert!(reason.contains("larger than the machine"), "{report}");
}

#[tokio::test]
async fn a_job_ends_at_its_time_limit() {
    let coordinator = Coordinator::start().await;
    let mut agent = FakeAgent::attach(&coordinator, "a").await;
    let mut spec = job_spec("brief", &["ml.c5.large", "ml.t2.medium"]);
    spec.max_duration = Duration::from_millis(300);
    coordinator.create(spec).await.unwrap();
    let trial = held(&agent.expect_start().await);
    agent.step(&trial, 0).await;
    let cancel = agent.expect_cancel().await;
    assert!(cancel.by.contains("time limit"), "{}", cancel.by);
    agent.finish(&trial, measured()).await;
    // What was measured stands; what was not begun is reported as such.
    let job = coordinator.reaches("brief", JobStatus::Completed).await;
    assert_eq!(job.trials_ended, job.trials_total);
}

#[tokio::test]
async fn jobs_are_listed_newest_first_in_pages() {
    let coordinator = Coordinator::start().await;
    for name in ["alpha-1", "beta", "alpha-2", "alpha-3"] {
        coordinator.create(job_spec(name, &["ml.c5.large"])).await.unwrap();
    }
    let mut jobs = coordinator.jobs().await;
    let mut request = v1::ListJobsRequest {
        page_size: 2,
        name_contains: "alpha".to_owned(),
        ..Default::default()
    };
    let first = jobs.list_jobs(request.clone()).await.unwrap().into_inner();
    let names = |page: &v1::ListJobsResponse| {
        page.jobs.iter().map(|job| job.name.clone()).collect::<Vec<_>>()
    };
    assert_eq!(names(&first), ["alpha-3", "alpha-2"]);
    request.page_token = first.next_page_token;
    let second = jobs.list_jobs(request.clone()).await.unwrap().into_inner();
    assert_eq!((names(&second), second.next_page_token.as_str()), (vec!["alpha-1".to_owned()], ""));

    request.page_token = String::new();
    request.status = Some(JobStatus::Running.into());
    assert!(jobs.list_jobs(request.clone()).await.unwrap().into_inner().jobs.is_empty());
    request.page_token = "x".to_owned();
    assert_eq!(jobs.list_jobs(request).await.unwrap_err().code(), Code::InvalidArgument);
}

#[tokio::test]
async fn a_job_that_ran_out_of_time_has_failed_and_says_what_allows_more() {
    let coordinator = Coordinator::start().await;
    let mut agent = FakeAgent::attach(&coordinator, "a").await;
    coordinator.create(job_spec("hurried", &["ml.c5.large"])).await.unwrap();
    let trial = held(&agent.expect_start().await);
    let failure = Failure::new(
        FailureKind::OutOfTime,
        "the search ran out of time after 40 s".to_owned(),
        String::new(),
    );
    agent.finish(&trial, TrialOutcome::Failed(failure)).await;
    let job = coordinator.reaches("hurried", JobStatus::Failed).await;
    let told = "the search ran out of time after 40 s; allow more with --max-duration";
    assert_eq!(job.reason, told);
}

#[tokio::test]
async fn a_payload_that_cannot_be_sent_is_refused_before_there_is_a_job() {
    let coordinator = Coordinator::start().await;
    let mut no_archive = job_spec("payload", &["ml.c5.large"]);
    no_archive.payload.is_archive = true;
    let refused = coordinator.create(no_archive).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    assert!(refused.message().contains("wrong file type"), "{}", refused.message());

    let mut large = job_spec("payload", &["ml.c5.large"]);
    let size = payload_file::BODY_LIMIT + 1;
    large.payload.artifact = ArtifactRef {
        size_bytes: Bytes::new(size),
        ..artifact(b"a file that only pretends to be large")
    };
    let file = coordinator.scratch.path().join("data/artifacts");
    let file = std::fs::File::create(file.join(large.payload.artifact.sha256.as_str())).unwrap();
    file.set_len(size).unwrap();
    let refused = coordinator.create(large).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    let told = refused.message();
    assert!(told.contains("268435457 bytes") && told.contains("256 MiB"), "{told}");
    // Nothing was stored, so the name is free.
    coordinator.create(job_spec("payload", &["ml.c5.large"])).await.unwrap();
}

/// What is between gRPC's own limit and ours is refused for what it says, and not for its size.
#[tokio::test]
async fn a_specification_is_read_up_to_a_limit_that_is_told() {
    let coordinator = Coordinator::start().await;
    let mut jobs = coordinator.jobs().await;
    let mut named = async |length: usize| {
        let mut spec: v1::JobSpec = job_spec("long", &["ml.c5.large"]).into();
        spec.name = "x".repeat(length);
        jobs.create_job(v1::CreateJobRequest { spec: Some(spec) }).await.unwrap_err()
    };
    let long = named(assay_proto::LARGEST_REQUEST - 4096).await;
    assert_eq!(long.code(), Code::InvalidArgument, "{}", &long.message()[..200]);
    let too_long = named(assay_proto::LARGEST_REQUEST).await;
    assert_eq!(too_long.code(), Code::OutOfRange, "{}", too_long.message());
    assert!(too_long.message().contains("the limit is: 16777216 bytes"), "{}", too_long.message());
    coordinator
        .create(job_spec("next", &["ml.c5.large"]))
        .await
        .expect("the connection is as it was");
}
