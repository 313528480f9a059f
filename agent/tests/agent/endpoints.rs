//! Trials on endpoints: servers that run already, loaded as they are, and whatever they do wrong.

use std::{
    io::{BufRead, BufReader, Write},
    process::{Child, Command, Stdio},
    sync::Arc,
    time::Duration,
};

use assay_agent::runner::{Cancellation, TrialEvent};
use assay_measure::{
    outcome::{FailureKind, TrialOutcome},
    search::{Mode, Purpose, SearchPlan},
    trial::{TrialSpec, TrialSubject, Work},
    validity::FindingName,
};
use tokio::sync::mpsc;

use crate::{
    support::{Place, TestCoordinator, fake_host, users_for},
    trials::{failure, measured},
};

/// A server that was there before any trial, and is there after it.
struct Existing {
    child: Child,
    url: String,
}

impl Existing {
    fn start(behaviour: &str) -> Self {
        let mut model = tempfile::NamedTempFile::new().unwrap();
        writeln!(model, "host {behaviour}").unwrap();
        let mut child = Command::new(fake_host())
            .arg("serve")
            .arg(model.path())
            .args(["--listen", "127.0.0.1:0"])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let url = line.trim().strip_prefix("listening ").unwrap().to_owned();
        Self { child, url }
    }

    fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }
}

impl Drop for Existing {
    fn drop(&mut self) {
        // Gone already is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A trial on the endpoint `mine`, under a short fixed load.
fn spec(place: &Place, coordinator: &TestCoordinator) -> TrialSpec {
    let subject = TrialSubject::Endpoint { endpoint: "mine".parse().unwrap() };
    TrialSpec { subject, ..place.spec(coordinator, "never started") }
}

#[tokio::test]
async fn an_endpoint_is_measured_as_it_runs_and_left_alone() {
    let coordinator = TestCoordinator::start().await;
    let mut existing = Existing::start("serve:2000");
    let place = Place::without_host(&coordinator).offering("mine", &existing.url);
    let (measurement, events) = measured(&place, spec(&place, &coordinator)).await;
    assert_eq!(measurement.configuration, None);
    assert!(measurement.limits_in_force.is_empty());
    assert!(measurement.calls > 20 && measurement.failed_calls == 0, "{measurement:?}");
    assert!(measurement.latency.unwrap().p50_us >= 2000, "{measurement:?}");
    let steps = events.iter().filter(|event| matches!(event, TrialEvent::StepFinished(_)));
    assert_eq!(steps.count(), 1, "the bodies that were tried before are no step");
    // On this machine, but not known which of its processes.
    assert!(measurement.utilization.cpu_pct.is_some());
    assert_eq!(measurement.utilization.other_cpu_pct, None);
    let findings = || measurement.validity.findings.iter().map(|found| found.name);
    assert!(!findings().any(|name| name == FindingName::OtherLoad), "it is no disturbance itself");
    assert!(existing.is_running());
}

#[tokio::test]
async fn the_capacity_of_an_endpoint_is_searched_like_that_of_a_model() {
    let coordinator = TestCoordinator::start().await;
    let existing = Existing::start("serve:5000");
    let place = Place::without_host(&coordinator).offering("mine", &existing.url);
    let mut spec = spec(&place, &coordinator);
    spec.work = Work::Search(SearchPlan {
        constraints: Vec::new(),
        mode: Mode::Quick,
        seed: 1,
        max_duration: Duration::from_secs(8),
        soak: None,
        skip_thermal_check: false,
        max_error_share: 0.01,
    });
    let (measurement, events) = measured(&place, spec).await;
    let answer = measurement.answer.unwrap();
    let per_second = answer.plateau.value.as_per_second();
    assert!((100.0..=205.0).contains(&per_second), "one call of 5 ms at a time: {per_second}/s");
    let purposes = events.iter().filter_map(|event| match event {
        TrialEvent::StepFinished(step) => Some(step.purpose),
        TrialEvent::Progressed(_) => None,
    });
    assert!(purposes.clone().any(|purpose| purpose == Purpose::Staircase));
}

#[tokio::test]
async fn an_endpoint_that_cannot_be_loaded_is_told_by_what_happened() {
    let coordinator = TestCoordinator::start().await;
    for (behaviour, kind, part) in [
        ("reject", FailureKind::PayloadRejected, "does not take body 1 of the payload"),
        ("raise-from:0", FailureKind::ModelRaised, "failed on body 1 of the payload"),
        ("hang-from:0", FailureKind::ModelHangs, "no answer to body 1 of the payload"),
        ("crash-from:0", FailureKind::EndpointUnavailable, "endpoint mine hung up on body 1"),
        ("crash-from:5", FailureKind::EndpointUnavailable, "endpoint mine went away under load"),
    ] {
        let existing = Existing::start(behaviour);
        let place = Place::without_host(&coordinator).offering("mine", &existing.url);
        let failure = failure(&place, spec(&place, &coordinator)).await;
        assert_eq!(failure.kind, kind, "{behaviour}: {failure:?}");
        assert!(failure.message.contains(part), "{behaviour}: {failure:?}");
    }
}

#[tokio::test]
async fn an_endpoint_that_is_down_or_not_offered_any_more_is_told_as_that() {
    let coordinator = TestCoordinator::start().await;
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let place = Place::without_host(&coordinator).offering("mine", &url);
    let down = failure(&place, spec(&place, &coordinator)).await;
    assert_eq!(down.kind, FailureKind::EndpointUnavailable);
    assert!(down.message.starts_with("cannot connect to 127.0.0.1:"), "{down:?}");
    let place = Place::without_host(&coordinator).offering("renamed", &url);
    let gone = failure(&place, spec(&place, &coordinator)).await;
    assert_eq!(gone.kind, FailureKind::EndpointUnavailable);
    assert_eq!(gone.message, "this agent offers no endpoint mine");
}

#[tokio::test]
async fn a_cancelled_trial_leaves_the_endpoint_alone_at_once() {
    let coordinator = TestCoordinator::start().await;
    let mut existing = Existing::start("hang-from:3");
    let place = Place::without_host(&coordinator).offering("mine", &existing.url);
    let mut spec = spec(&place, &coordinator);
    spec.work = users_for(2, 60_000);
    spec.request_timeout = Duration::from_secs(60);
    let (events, mut received) = mpsc::unbounded_channel();
    let cancellation = Cancellation::default();
    let trial = tokio::spawn(Arc::clone(&place.runner).run(spec, events, cancellation.clone()));
    // Until it is under load, which never ends by itself.
    let searching = async {
        while let Some(event) = received.recv().await {
            if let TrialEvent::Progressed(progress) = event
                && progress.stage == assay_measure::outcome::Stage::Searching
            {
                return;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(20), searching).await.unwrap();
    cancellation.cancel("ada");
    let outcome = tokio::time::timeout(Duration::from_secs(10), trial).await.unwrap().unwrap();
    assert_eq!(outcome, TrialOutcome::Cancelled { by: "ada".to_owned() });
    assert!(existing.is_running());
}
