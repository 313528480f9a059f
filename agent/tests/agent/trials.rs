//! Trials and their endings: each with its reason, and never the agent's end.

use std::{sync::Arc, time::Duration};

use assay_agent::{
    runner::{Cancellation, TrialEvent},
    sandbox::mounts::Hierarchies,
};
use assay_measure::{
    configuration::{Allocator, Graph, Precision},
    hardware::{LimitInForce, Shape},
    load_profile::{LoadProfile, Recording},
    outcome::{Failure, FailureKind, OutputDeviation, Stage, TrialOutcome, TrialResult},
    schedule::{Arrivals, Load, Phase},
    search::{Mode, Purpose, SearchPlan},
    trial::{ServedModel, TrialSpec, Work},
    units::{Bytes, Rate},
    validity::{FindingName, Verdict},
};
use rustix::process::{Signal, kill_process};
use tokio::sync::mpsc;

use crate::support::{Place, TestCoordinator, fake_host, until_gone, users_for};

async fn run(place: &Place, spec: TrialSpec) -> (TrialOutcome, Vec<TrialEvent>) {
    let (events, mut received) = mpsc::unbounded_channel();
    let outcome = Arc::clone(&place.runner).run(spec, events, Cancellation::default()).await;
    let mut all = Vec::new();
    while let Ok(event) = received.try_recv() {
        all.push(event);
    }
    (outcome, all)
}

async fn failure_of(behaviour: &str) -> Failure {
    let coordinator = TestCoordinator::start().await;
    let place = Place::new(&coordinator);
    failure(&place, place.spec(&coordinator, behaviour)).await
}

pub(crate) async fn failure(place: &Place, spec: TrialSpec) -> Failure {
    match run(place, spec).await.0 {
        TrialOutcome::Failed(failure) => failure,
        other @ (TrialOutcome::Measured(_) | TrialOutcome::Cancelled { .. }) => panic!("{other:?}"),
    }
}

pub(crate) async fn measured(place: &Place, spec: TrialSpec) -> (TrialResult, Vec<TrialEvent>) {
    match run(place, spec).await {
        (TrialOutcome::Measured(measurement), events) => (*measurement, events),
        (other, _) => panic!("{other:?}"),
    }
}

fn served(spec: &mut TrialSpec) -> &mut ServedModel {
    spec.subject.served_mut().unwrap()
}

fn one_cpu() -> Option<Shape> {
    Some(Shape { vcpus: 1, memory_bytes: Bytes::mib(96) })
}

#[tokio::test]
async fn recorded_arrivals_are_fetched_and_replayed() {
    let coordinator = TestCoordinator::start().await;
    let place = Place::new(&coordinator);
    let mut spec = place.spec(&coordinator, "serve:1000");
    let times: String = (0..200).map(|number| format!("{}\n", f64::from(number) / 200.0)).collect();
    let recorded = |content: &str| {
        Work::Load(LoadProfile::Recorded(Recording {
            artifact: coordinator.add_artifact("arrivals.txt", content.as_bytes()),
            arrivals: 200,
            duration: Duration::from_secs(1),
        }))
    };
    spec.work = recorded(&times);
    let (measurement, events) = measured(&place, spec.clone()).await;
    assert_eq!((measurement.calls, measurement.failed_calls), (200, 0), "{measurement:?}");
    let steps = events.iter().filter(|event| matches!(event, TrialEvent::StepFinished(_)));
    assert_eq!(steps.count(), 1);

    spec.work = recorded("0\n0.5\n0.25\n");
    let failure = failure(&place, spec).await;
    assert_eq!(failure.kind, FailureKind::PayloadRejected);
    let wrong = "the trace arrivals.txt cannot be replayed: line 3: \"0.25\" lies before";
    assert!(failure.message.starts_with(wrong), "{}", failure.message);
}

#[tokio::test]
async fn a_fixed_load_is_measured_with_latency_utilization_and_limits() {
    let coordinator = TestCoordinator::start().await;
    let place = Place::new(&coordinator);
    let mut spec = place.spec(&coordinator, "serve:2000");
    served(&mut spec).emulated = one_cpu();
    let open =
        Load::Open { rate: Rate::per_second(50.0).unwrap(), arrivals: Arrivals::Poisson, seed: 3 };
    spec.work = Work::Load(LoadProfile::Phases(vec![
        Phase { load: Load::Closed { users: 2 }, duration: Duration::from_millis(500) },
        Phase { load: open, duration: Duration::from_millis(1500) },
    ]));
    let (measurement, events) = measured(&place, spec).await;
    let latency = measurement.latency.unwrap();
    assert!(latency.count > 20 && latency.p50_us >= 2000, "{measurement:?}");
    assert_eq!(measurement.failed_calls, 0, "{measurement:?}");
    let limits = &measurement.limits_in_force;
    assert!(limits.contains(&LimitInForce::NoPrivileges), "{limits:?}");
    if rustix::process::geteuid().is_root() {
        assert!(limits.contains(&LimitInForce::OwnUser), "{limits:?}");
    }
    assert!(
        measurement.utilization.host_memory_bytes.is_some_and(|bytes| bytes.count() > 0),
        "{measurement:?}"
    );
    assert!(
        measurement.utilization.cpu_pct.is_some() && measurement.idle.is_some(),
        "{measurement:?}"
    );
    assert!(measurement.harness.sampler_cpu_s > 0.0 && measurement.harness.cpu_share_pct > 0.0);
    assert_eq!(
        measurement.configuration.as_ref().unwrap().allocator,
        Allocator::Default,
        "as the host reports it"
    );
    assert!(measurement.ready_after > Duration::ZERO && measurement.took > Duration::from_secs(3));
    assert!(measurement.answer.is_none());
    let steps: Vec<_> = events
        .iter()
        .filter_map(|event| match event {
            TrialEvent::StepFinished(step) => Some((step.index, step.purpose, step.users)),
            TrialEvent::Progressed(_) => None,
        })
        .collect();
    assert_eq!(steps, vec![(0, Purpose::Fixed, Some(2)), (1, Purpose::Fixed, None)]);
    let stages: Vec<Stage> = events
        .iter()
        .filter_map(|event| match event {
            TrialEvent::Progressed(progress) => Some(progress.stage),
            TrialEvent::StepFinished(_) => None,
        })
        .collect();
    assert!(stages.is_sorted() && stages.contains(&Stage::CoolingDown), "{stages:?}");
}

#[tokio::test]
async fn a_search_finds_the_plateau_of_a_host_that_serves_one_call_at_a_time() {
    let coordinator = TestCoordinator::start().await;
    let place = Place::new(&coordinator);
    let mut spec = place.spec(&coordinator, "serve:10000");
    spec.work = Work::Search(SearchPlan {
        constraints: vec![],
        mode: Mode::Quick,
        seed: 1,
        max_duration: Duration::from_secs(8),
        soak: None,
        skip_thermal_check: false,
        max_error_share: 0.01,
    });
    let (measurement, events) = measured(&place, spec).await;
    let answer = measurement.answer.as_ref().unwrap();
    let found = answer.capacity.value.as_per_second();
    // What the host was seen to carry: 100/s on a machine with time for it, and never more.
    let carried: Vec<f64> = events
        .iter()
        .filter_map(|event| match event {
            TrialEvent::StepFinished(step) => Some(step.achieved.as_per_second()),
            TrialEvent::Progressed(_) => None,
        })
        .collect();
    let most = carried.iter().copied().fold(0.0, f64::max);
    assert!(most <= 103.0, "one call at a time of 10 ms each: {carried:?}");
    assert!((0.85 * most..=1.02 * most).contains(&found), "{found} of {carried:?}");
    assert!(measurement.latency.is_some() && measurement.calls > 100);
    assert!(measurement.utilization.samples >= 2, "{measurement:?}");
}

#[tokio::test]
async fn nan_outputs_are_allowed_and_counted() {
    let coordinator = TestCoordinator::start().await;
    let place = Place::new(&coordinator);
    let (measurement, _) = measured(&place, place.spec(&coordinator, "nan")).await;
    assert!(measurement.nan_outputs > 0, "{measurement:?}");
}

#[tokio::test]
async fn a_model_that_raises_on_the_third_call_ends_the_trial_with_its_message() {
    let failure = failure_of("raise-from:3").await;
    assert_eq!(failure.kind, FailureKind::ModelRaised);
    assert!(failure.message.contains("RuntimeError: boom in forward()"), "{failure:?}");
}

#[tokio::test]
async fn a_model_that_segfaults_ends_the_trial_and_not_the_agent() {
    for behaviour in ["crash-from:1", "crash-from:3"] {
        let failure = failure_of(behaviour).await;
        assert_eq!(failure.kind, FailureKind::HostCrashed, "{failure:?}");
        assert!(failure.message.contains("was killed by signal 11 (SIGSEGV)"), "{failure:?}");
        assert!(failure.detail.contains("fake host"), "its last words are kept: {failure:?}");
    }
}

#[tokio::test]
async fn a_model_that_hangs_is_given_up_after_the_request_timeout() {
    for behaviour in ["hang-from:1", "hang-from:3"] {
        let failure = failure_of(behaviour).await;
        assert_eq!(failure.kind, FailureKind::ModelHangs, "{behaviour}: {failure:?}");
    }
}

#[tokio::test]
async fn a_model_that_allocates_without_end_runs_out_of_memory_alone() {
    for hierarchies in [Hierarchies::of_this_process(), Hierarchies::default()] {
        let coordinator = TestCoordinator::start().await;
        let place = Place::with(&coordinator, hierarchies, fake_host());
        let mut spec = place.spec(&coordinator, "eat-from:3");
        served(&mut spec).emulated = one_cpu();
        spec.request_timeout = Duration::from_secs(20);
        spec.work = users_for(1, 10_000);
        let failure = failure(&place, spec).await;
        assert_eq!(failure.kind, FailureKind::OutOfMemory, "{failure:?}");
        assert!(failure.message.contains("96 MiB"), "{failure:?}");
    }
}

#[tokio::test]
async fn a_host_that_dies_in_the_middle_of_a_step_ends_the_trial() {
    let coordinator = TestCoordinator::start().await;
    let place = Place::new(&coordinator);
    let mut spec = place.spec(&coordinator, "serve:1000");
    spec.work = users_for(2, 20_000);
    let murder = async {
        let host = place.host_process().await;
        tokio::time::sleep(Duration::from_millis(1000)).await;
        kill_process(host, Signal::TERM).unwrap();
    };
    let (failure, ()) = tokio::join!(failure(&place, spec), murder);
    assert_eq!(failure.kind, FailureKind::HostCrashed);
    assert_eq!(
        failure.message,
        "the model host was killed by signal 15 (SIGTERM) during step 0 (fixed, 2 users)"
    );
}

#[tokio::test]
async fn a_payload_that_the_model_does_not_take_is_told_in_the_hosts_words() {
    let failure = failure_of("reject").await;
    assert_eq!(failure.kind, FailureKind::PayloadRejected);
    assert_eq!(
        failure.message,
        "the model does not take body 1 of the payload: wrong shape: expected 3 channels, got 4"
    );
}

#[tokio::test]
async fn a_host_that_does_not_come_up_is_told_by_what_happened() {
    let rejected = failure_of("bad-model").await;
    assert_eq!(rejected.kind, FailureKind::ModelRejected);
    assert_eq!(rejected.message, "cannot load the model: it is a state dict, not TorchScript");
    assert_eq!(failure_of("exit-early").await.kind, FailureKind::HostStartFailed);
    assert_eq!(failure_of("segfault-early").await.kind, FailureKind::HostCrashed);

    let coordinator = TestCoordinator::start().await;
    let place = Place::new(&coordinator);
    let mut spec = place.spec(&coordinator, "silent");
    served(&mut spec).ready_within = Duration::from_millis(300);
    let late = failure(&place, spec).await;
    assert_eq!(late.kind, FailureKind::HostNotReady);
    assert_eq!(
        late.message,
        "the model host was not ready within 0.3 s: it was still loading the model; allow more with --ready-timeout"
    );

    let nowhere =
        Place::with(&coordinator, Hierarchies::default(), "/nonexistent/assay-host".into());
    let missing = failure(&nowhere, nowhere.spec(&coordinator, "serve")).await;
    assert_eq!(missing.kind, FailureKind::HostStartFailed);
    let no_program = Place::with(&coordinator, Hierarchies::default(), "/etc/hostname".into());
    let not_executable = failure(&no_program, no_program.spec(&coordinator, "serve")).await;
    assert_eq!(not_executable.kind, FailureKind::HostStartFailed, "{not_executable:?}");
}

#[tokio::test]
async fn a_search_without_time_for_a_few_passes_ends_at_once_and_says_how_long_it_needs() {
    let coordinator = TestCoordinator::start().await;
    let place = Place::new(&coordinator);
    let mut spec = place.spec(&coordinator, "serve:60000");
    spec.work = Work::Search(SearchPlan {
        constraints: vec!["p90<=1s".parse().unwrap()],
        mode: Mode::Quick,
        seed: 1,
        max_duration: Duration::from_millis(100),
        soak: None,
        skip_thermal_check: false,
        max_error_share: 0.01,
    });
    let failure = failure(&place, spec).await;
    assert_eq!(failure.kind, FailureKind::OutOfTime);
    let said = &failure.message;
    assert!(
        said.starts_with("a pass takes 0.") && said.contains("s of this search hold about"),
        "{said}"
    );
    assert!(said.contains("a believable p90 needs 100, in about "), "{said}");
}

#[tokio::test]
async fn an_instance_type_larger_than_this_machine_fails_with_figures() {
    let coordinator = TestCoordinator::start().await;
    let place = Place::without_host(&coordinator);
    let mut spec = place.spec(&coordinator, "serve");
    served(&mut spec).emulated = Some(Shape { vcpus: 4096, memory_bytes: Bytes::gib(1) });
    let failure = failure(&place, spec).await;
    assert_eq!(failure.kind, FailureKind::Sandbox);
    assert!(
        failure.message.starts_with("an instance type of 4096 vCPU and 1 GiB does not fit"),
        "{failure:?}"
    );
}

#[tokio::test]
async fn artifacts_that_cannot_be_had_or_are_damaged_are_told_by_name() {
    let coordinator = TestCoordinator::start().await;
    let place = Place::new(&coordinator);
    let mut spec = place.spec(&coordinator, "serve");
    coordinator.damage(&served(&mut spec).model.clone());
    let damaged = failure(&place, spec.clone()).await;
    assert_eq!(damaged.kind, FailureKind::ArtifactUnavailable);
    assert!(damaged.message.starts_with("model.pt is damaged"), "{damaged:?}");
    served(&mut spec).model.sha256 = "0".repeat(64).parse().unwrap();
    let missing = failure(&place, spec).await;
    assert_eq!(missing.kind, FailureKind::ArtifactUnavailable);
    assert_eq!(missing.message, "cannot fetch model.pt: the coordinator does not have it");
}

#[tokio::test]
async fn a_payload_that_is_no_archive_is_refused_before_the_host_starts() {
    let coordinator = TestCoordinator::start().await;
    let place = Place::without_host(&coordinator);
    let mut spec = place.spec(&coordinator, "serve");
    spec.payload.is_archive = true;
    let failure = failure(&place, spec).await;
    assert_eq!(failure.kind, FailureKind::PayloadRejected);
}

#[tokio::test]
async fn a_cancelled_trial_ends_at_once_and_leaves_no_process() {
    let coordinator = TestCoordinator::start().await;
    let place = Place::new(&coordinator);
    let mut spec = place.spec(&coordinator, "serve:1000");
    spec.work = users_for(2, 60_000);
    let cancellation = Cancellation::default();
    let (events, _received) = mpsc::unbounded_channel();
    let trial = Arc::clone(&place.runner).run(spec, events, cancellation.clone());
    let cancel = async {
        let host = place.host_process().await;
        tokio::time::sleep(Duration::from_millis(300)).await;
        cancellation.cancel("a person");
        host
    };
    let both = async { tokio::join!(trial, cancel) };
    let (outcome, host) = tokio::time::timeout(Duration::from_secs(10), both)
        .await
        .expect("cancelling took too long");
    assert_eq!(outcome, TrialOutcome::Cancelled { by: "a person".to_owned() });
    until_gone(host).await;
}

#[tokio::test]
async fn the_limits_in_force_are_those_that_could_be_had() {
    let coordinator = TestCoordinator::start().await;
    let place = Place::with(&coordinator, Hierarchies::default(), fake_host());
    let mut spec = place.spec(&coordinator, "serve");
    served(&mut spec).emulated = one_cpu();
    let (measurement, _) = measured(&place, spec).await;
    assert_eq!(
        measurement.limits_in_force[..2],
        [LimitInForce::CpuSetAffinity, LimitInForce::MemoryWatchdog]
    );
}

/// A trial of another graph or precision, whose comparison behaves as told.
fn compared(
    coordinator: &TestCoordinator,
    place: &Place,
    dtype: Precision,
    how: &str,
) -> TrialSpec {
    let mut spec = place.spec(coordinator, "serve:1000");
    served(&mut spec).configuration.dtype = dtype;
    served(&mut spec).configuration.graph = Graph::Optimized;
    let model = Place::model(&[("host", "serve:1000"), ("compare", how)]);
    served(&mut spec).model = coordinator.add_artifact("model.pt", model.as_bytes());
    spec
}

#[tokio::test]
async fn the_deviation_of_outputs_is_measured_where_they_may_differ_and_nowhere_else() {
    let coordinator = TestCoordinator::start().await;
    let place = Place::new(&coordinator);
    let suspicion = |measurement: &TrialResult| {
        let findings = &measurement.validity.findings;
        let found = findings.iter().find(|found| found.name == FindingName::OutputDeviation);
        found.map(|found| (found.value, found.severity))
    };
    let mut plain = compared(&coordinator, &place, Precision::Float32, "0.5,0.25");
    served(&mut plain).configuration.graph = Graph::Plain;
    let (measurement, _) = measured(&place, plain).await;
    assert_eq!((measurement.output_deviation, measurement.comparison_failure), (None, None));

    let same = compared(&coordinator, &place, Precision::Float32, "0.00005,0.00001");
    let (measurement, _) = measured(&place, same).await;
    let deviation = OutputDeviation { max: 5e-5, mean: 1e-5 };
    assert_eq!(measurement.output_deviation, Some(deviation));
    assert_eq!(suspicion(&measurement), None);

    let wrong = compared(&coordinator, &place, Precision::Float32, "0.5,0.25");
    let (measurement, _) = measured(&place, wrong).await;
    assert_eq!(suspicion(&measurement), Some((0.5, Verdict::Suspect)));

    let rounded = compared(&coordinator, &place, Precision::Bfloat16, "0.5,0.25");
    let (measurement, _) = measured(&place, rounded).await;
    assert_eq!(measurement.output_deviation.map(|deviation| deviation.max), Some(0.5));
    assert_eq!(suspicion(&measurement), None, "precision changes outputs on purpose");
}

#[tokio::test]
async fn outputs_beyond_comparing_make_an_optimized_graph_suspect() {
    let coordinator = TestCoordinator::start().await;
    let place = Place::new(&coordinator);
    let spec = compared(&coordinator, &place, Precision::Float32, "outputs");
    let (measurement, _) = measured(&place, spec).await;
    assert_eq!(measurement.comparison_failure.as_deref(), Some("it does not work: told so"));
    let findings = &measurement.validity.findings;
    assert!(
        findings.iter().any(|found| found.name == FindingName::OutputDeviation),
        "{findings:?}"
    );
}

#[tokio::test]
async fn a_failure_to_compare_is_told_and_the_trial_goes_on() {
    for (how, why) in [
        ("plain", "it does not work: told so"),
        ("hang", "comparing was not done within 1.0 s"),
        ("segfault", "the model host was killed by signal 11 (SIGSEGV)"),
    ] {
        let coordinator = TestCoordinator::start().await;
        let place = Place::new(&coordinator);
        let mut spec = compared(&coordinator, &place, Precision::Bfloat16, how);
        served(&mut spec).ready_within = Duration::from_secs(1);
        let (measurement, _) = measured(&place, spec).await;
        assert_eq!(measurement.comparison_failure.as_deref(), Some(why));
        assert_eq!(measurement.output_deviation, None);
        assert_eq!(place.host_processes(), []);
    }
}

#[tokio::test]
async fn a_configuration_that_cannot_run_ends_the_trial_before_it_is_served() {
    for (how, kind) in [("engine", FailureKind::ModelRejected), ("model", FailureKind::ModelRaised)]
    {
        let coordinator = TestCoordinator::start().await;
        let place = Place::new(&coordinator);
        let failure =
            failure(&place, compared(&coordinator, &place, Precision::Bfloat16, how)).await;
        assert_eq!((failure.kind, failure.message.as_str()), (kind, "it does not work: told so"));
    }
}
