//! Jobs that say exactly what to try: environments, loads with stopping conditions, limits on trials and time.

use std::{collections::BTreeMap, num::NonZeroU32, time::Duration};

use assay_measure::{
    environment::EnvironmentRanges,
    hardware::Shape,
    job::{JobSpec, Sweep},
    load_profile::LoadProfile,
    outcome::TrialOutcome,
    schedule::{Load, Phase},
    stepped_load::{SteppedLoad, StopCause, StoppingConditions},
    units::{Bytes, Rate},
};
use assay_proto::v1::{self, JobStatus, trial_spec::Work};
use serde_json::Value;
use tonic::Code;

use super::support::{Coordinator, FakeAgent, held, job_spec, measured, registration};

/// A job on three types of one, two and three processors, so of three trials.
fn three_trials(name: &str) -> JobSpec {
    let mut spec = job_spec(name, &["own.one", "own.two", "own.three"]);
    for (vcpus, candidate) in (1..).zip(&mut spec.instance_types) {
        candidate.shape = Some(Shape { vcpus, memory_bytes: Bytes::gib(1) });
        candidate.price = "0.05".parse().ok();
    }
    spec
}

async fn report(coordinator: &Coordinator, name: &str) -> Value {
    coordinator.document(name).await
}

#[tokio::test]
async fn the_time_in_which_a_model_must_be_ready_reaches_the_agent_and_is_shown() {
    let coordinator = Coordinator::start().await;
    let mut agent = FakeAgent::attach(&coordinator, "a").await;
    let mut spec = job_spec("slow", &["ml.c5.large"]);
    spec.ready_timeout = Some(Duration::from_secs(600));
    coordinator.create(spec.clone()).await.unwrap();
    let start = agent.expect_start().await;
    assert_eq!(start.spec.as_ref().unwrap().ready_within_us, 600_000_000);
    assert_eq!(report(&coordinator, "slow").await["ready_timeout_s"], 600.0);

    let mut jobs = coordinator.jobs().await;
    spec.name = "hurried".parse().unwrap();
    for (refused, timeout_us) in [("no time", 0), ("longer than a day", 90_000_000_000)] {
        let mut wire = v1::JobSpec::from(spec.clone());
        wire.ready_timeout_us = Some(timeout_us);
        let request = v1::CreateJobRequest { spec: Some(wire) };
        let status = jobs.create_job(request).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument);
        assert!(status.message().contains(refused), "{status}");
    }
    let mut wire = v1::JobSpec::from(spec);
    (wire.model, wire.endpoint) = (None, Some("prod".to_owned()));
    let status = jobs.create_job(v1::CreateJobRequest { spec: Some(wire) }).await.unwrap_err();
    assert!(status.message().contains("ready_timeout_us"), "{status}");
}

#[tokio::test]
async fn the_environment_of_a_candidate_reaches_the_agent_with_the_settings_it_asks_for() {
    let coordinator = Coordinator::start().await;
    let mut agent = FakeAgent::attach(&coordinator, "a").await;
    let mut spec = job_spec("variables", &["ml.c5.large"]);
    spec.sweep = Sweep::default();
    let values = |values: &[&str]| values.iter().map(|value| (*value).to_owned()).collect();
    let ranges = [
        ("OMP_NUM_THREADS".to_owned(), values(&["1", "2"])),
        ("ONEDNN_VERBOSE".to_owned(), values(&["none"])),
    ];
    spec.instance_types[0].environment = EnvironmentRanges::new(BTreeMap::from(ranges)).unwrap();
    let created = coordinator.create(spec.clone()).await.unwrap();
    assert_eq!(created.trials.len(), 2);
    for threads in ["1", "2"] {
        let start = agent.expect_start().await;
        let configuration = start.spec.as_ref().unwrap().configuration.as_ref().unwrap();
        assert_eq!(configuration.environment["OMP_NUM_THREADS"], threads);
        assert_eq!(configuration.environment["ONEDNN_VERBOSE"], "none");
        assert_eq!(configuration.intra_op_threads.to_string(), threads);
        agent.finish(&held(&start), measured()).await;
    }
    coordinator.reaches("variables", JobStatus::Completed).await;

    // What no Rust client can even write down is refused at the door.
    let mut jobs = coordinator.jobs().await;
    spec.name = "preload".parse().unwrap();
    let mut wire = v1::JobSpec::from(spec);
    wire.instance_types[0].environment[0].name = "LD_PRELOAD".to_owned();
    let request = v1::CreateJobRequest { spec: Some(wire) };
    let refused = jobs.create_job(request).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    assert!(refused.message().contains("LD_PRELOAD cannot be varied"), "{}", refused.message());
}

#[tokio::test]
async fn a_load_with_stopping_conditions_is_ranked_by_its_plateau_and_says_why_it_stopped() {
    let coordinator = Coordinator::start().await;
    let mut agent = FakeAgent::attach(&coordinator, "a").await;
    let mut spec = job_spec("stairs", &["ml.c5.large"]);
    let users = |users| Phase { load: Load::Closed { users }, duration: Duration::from_secs(30) };
    let stopping = StoppingConditions {
        max_invocations: Some(Rate::per_minute(2400.0).unwrap()),
        ..StoppingConditions::default()
    };
    let load = SteppedLoad::new(vec![users(1), users(2)], stopping).unwrap();
    spec.load = Some(LoadProfile::Stepped(load));
    coordinator.create(spec.clone()).await.unwrap();
    let start = agent.expect_start().await;
    let Some(Work::Stepped(load)) = start.spec.clone().unwrap().work else {
        panic!("not a stepped load: {start:?}");
    };
    assert_eq!(load.phases.len(), 2);
    assert_eq!(load.stopping.unwrap().max_invocations_per_s, Some(40.0));
    let TrialOutcome::Measured(mut measurement) = measured() else { panic!() };
    measurement.stopped_by = Some(StopCause::MaxInvocations);
    agent.finish(&held(&start), TrialOutcome::Measured(measurement)).await;
    coordinator.reaches("stairs", JobStatus::Completed).await;
    let entry = report(&coordinator, "stairs").await["ranking"][0].clone();
    assert_eq!(entry["stopped_by"], "max_invocations");
    assert_eq!(entry["max_invocations_per_min"], 2400.0);
    let told = entry["warnings"].as_array().unwrap().iter().any(|warning| {
        warning.as_str().unwrap().contains("where the invocations asked for were reached")
    });
    assert!(told, "{entry:#}");

    spec.name = "search".parse().unwrap();
    let mut wire = v1::JobSpec::from(spec);
    wire.fixed_load = None;
    let request = v1::CreateJobRequest { spec: Some(wire) };
    let refused = coordinator.jobs().await.create_job(request).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    assert!(refused.message().contains("need a fixed load"), "{}", refused.message());
}

#[tokio::test]
async fn trials_beyond_the_limit_are_listed_as_not_measured_with_that_reason() {
    let coordinator = Coordinator::start().await;
    let mut agent = FakeAgent::attach(&coordinator, "a").await;
    let mut spec = three_trials("few");
    spec.limits.most_trials = NonZeroU32::new(2);
    assert_eq!(coordinator.create(spec).await.unwrap().trials.len(), 2);
    for _ in 0..2 {
        let trial = held(&agent.expect_start().await);
        agent.finish(&trial, measured()).await;
    }
    let job = coordinator.reaches("few", JobStatus::Completed).await;
    assert_eq!((job.trials_total, job.trials_ended), (2, 2));
    let rejected = report(&coordinator, "few").await["rejected"].clone();
    assert_eq!(rejected[0]["instance_type"], "own.three");
    assert_eq!(rejected[0]["reason"], "not measured: the job may run at most 2 trials");
}

#[tokio::test]
async fn no_more_trials_run_at_once_than_the_job_may() {
    let coordinator = Coordinator::start().await;
    let register = |name: &str, kind: &str| v1::Register {
        instance_type: kind.to_owned(),
        emulates: false,
        ..registration(name)
    };
    let mut first = FakeAgent::attach_as(&coordinator, register("a", "ml.c5.large")).await.unwrap();
    let mut second =
        FakeAgent::attach_as(&coordinator, register("b", "ml.m5.large")).await.unwrap();
    let mut spec = job_spec("one-at-a-time", &["ml.c5.large", "ml.m5.large"]);
    spec.limits.most_at_once = Some(NonZeroU32::MIN);
    coordinator.create(spec).await.unwrap();
    let one = held(&first.expect_start().await);
    assert!(first.heartbeat(Some(one.clone())).await);
    // Whatever it was told comes before the answer to its heartbeat.
    assert!(second.heartbeat(None).await);
    let fleet = coordinator.fleet().await.list_agents(v1::ListAgentsRequest {}).await.unwrap();
    let running: Vec<_> =
        fleet.into_inner().agents.into_iter().filter_map(|agent| agent.running_trial_id).collect();
    assert_eq!(running, std::slice::from_ref(&one.trial_id));
    first.finish(&one, measured()).await;
    let two = held(&second.expect_start().await);
    second.finish(&two, measured()).await;
    coordinator.reaches("one-at-a-time", JobStatus::Completed).await;
}

#[tokio::test]
async fn after_its_duration_a_job_begins_no_trial_and_completes_with_what_runs() {
    let coordinator = Coordinator::start().await;
    let mut agent = FakeAgent::attach(&coordinator, "a").await;
    let mut spec = three_trials("brief");
    spec.limits.begin_within = Some(Duration::from_millis(300));
    coordinator.create(spec).await.unwrap();
    let trial = held(&agent.expect_start().await);
    agent.step(&trial, 0).await;
    super::support::within("the end of what waits", async {
        while coordinator.job("brief").await.trials_ended < 2 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    assert_eq!(coordinator.job("brief").await.status(), JobStatus::Running);
    assert!(agent.heartbeat(Some(trial.clone())).await, "what runs goes on");
    assert!(!agent.finish(&trial, measured()).await.stale);
    let job = coordinator.reaches("brief", JobStatus::Completed).await;
    assert_eq!((job.trials_total, job.trials_ended), (3, 3));
    let report = report(&coordinator, "brief").await;
    assert_eq!(report["ranking"].as_array().unwrap().len(), 1);
    let reason = report["failed"][0]["reason"].as_str().unwrap();
    assert_eq!(
        reason,
        "not measured: the job ran out of time after 300ms; allow more with --max-duration"
    );
}
