//! Loads with stopping conditions: where they stop, and what they answer.

use std::time::Duration;

use assay_agent::runner::TrialEvent;
use assay_measure::{
    load_profile::LoadProfile,
    outcome::FailureKind,
    schedule::{Load, Phase},
    stepped_load::{FlatInvocations, SteppedLoad, StopCause, StoppingConditions},
    trial::Work,
    units::Rate,
};

use crate::{
    support::{Place, TestCoordinator},
    trials::{failure, measured},
};

/// One user more every so many milliseconds, up to `most`.
fn stairs(most: u32, milliseconds: u64) -> Vec<Phase> {
    let duration = Duration::from_millis(milliseconds);
    (1..=most).map(|users| Phase { load: Load::Closed { users }, duration }).collect()
}

#[tokio::test]
async fn a_load_stops_where_more_users_bring_no_more_and_answers_with_the_start_of_the_plateau() {
    let coordinator = TestCoordinator::start().await;
    let place = Place::new(&coordinator);
    let mut spec = place.spec(&coordinator, "serve:20000");
    let load = SteppedLoad::new(stairs(20, 2000), StoppingConditions::default()).unwrap();
    spec.work = Work::Load(LoadProfile::Stepped(load));
    let (measurement, events) = measured(&place, spec).await;
    let answer = measurement.answer.as_ref().unwrap();
    assert_eq!(measurement.stopped_by, Some(StopCause::FlatInvocations), "{answer:?}");
    // Exactly 50/s, and one user is enough for it: the host serves one call at a time.
    let found = answer.capacity.value.as_per_second();
    assert!((40.0..50.5).contains(&found), "{found}");
    assert!(answer.plateau_users <= 2, "{answer:?}");
    let latency = measurement.latency.unwrap();
    assert!(latency.p50_us >= 20_000 && latency.count > 50);
    assert!(measurement.utilization.samples > 0);
    let steps = events.iter().filter(|event| matches!(event, TrialEvent::StepFinished(_))).count();
    assert!((3..12).contains(&steps), "{steps} steps of 20 were needed");
}

#[tokio::test]
async fn a_load_stops_at_a_latency_threshold_and_at_enough_invocations() {
    let slow = StoppingConditions {
        latency: vec!["p95<=50ms".parse().unwrap()],
        flat_invocations: FlatInvocations::Continue,
        ..StoppingConditions::default()
    };
    let enough = StoppingConditions {
        max_invocations: Some(Rate::per_minute(3000.0).unwrap()),
        ..StoppingConditions::default()
    };
    for (behaviour, stopping, cause) in [
        ("serve:20000", slow, StopCause::Latency),
        ("serve:5000", enough, StopCause::MaxInvocations),
    ] {
        let coordinator = TestCoordinator::start().await;
        let place = Place::new(&coordinator);
        let mut spec = place.spec(&coordinator, behaviour);
        spec.work =
            Work::Load(LoadProfile::Stepped(SteppedLoad::new(stairs(8, 2000), stopping).unwrap()));
        let (measurement, _) = measured(&place, spec).await;
        assert_eq!(measurement.stopped_by, Some(cause), "{measurement:?}");
        assert!(measurement.answer.is_some());
    }
}

#[tokio::test]
async fn more_failed_calls_than_allowed_from_the_start_are_told_with_the_first_of_them() {
    let coordinator = TestCoordinator::start().await;
    let place = Place::new(&coordinator);
    let mut spec = place.spec(&coordinator, "raise-every:20");
    let load = SteppedLoad::new(stairs(2, 2000), StoppingConditions::default()).unwrap();
    spec.work = Work::Load(LoadProfile::Stepped(load));
    let failure = failure(&place, spec).await;
    assert_eq!(failure.kind, FailureKind::ModelRaised, "{failure:?}");
    assert!(failure.message.contains("boom"), "{failure:?}");
    assert!(
        failure.detail.starts_with("5.0 % of the calls of 1 user(s) fail, 1.0 %"),
        "{failure:?}"
    );
}

#[tokio::test]
async fn a_host_too_slow_for_the_threshold_from_the_start_is_told_with_both_figures() {
    let coordinator = TestCoordinator::start().await;
    let place = Place::new(&coordinator);
    let mut spec = place.spec(&coordinator, "serve:20000");
    let stopping = StoppingConditions {
        latency: vec!["p95<=1ms".parse().unwrap()],
        ..StoppingConditions::default()
    };
    spec.work =
        Work::Load(LoadProfile::Stepped(SteppedLoad::new(stairs(2, 2000), stopping).unwrap()));
    let failure = failure(&place, spec).await;
    assert_eq!(failure.kind, FailureKind::TooSlow);
    assert!(failure.message.starts_with("the p95 of 1 user(s) is "), "{failure:?}");
    assert!(failure.message.ends_with("the threshold is 1.0 ms"), "{failure:?}");
    // A negative answer is judged like a figure: by what else the machine did meanwhile.
    assert!(failure.validity.is_some() && failure.took > Duration::ZERO, "{failure:?}");
}
