//! The agent and its coordinator: registration, reports until acknowledged, leases, endings.

use std::time::Duration;

use assay_agent::{daemon::Ended, link::coordinator::Refusal};
use assay_measure::outcome::{FailureKind, TrialOutcome};
use assay_proto::v1::{self, coordinator_message::Message};
use tonic::Status;

use crate::support::{Acknowledged, Place, TestCoordinator, until_gone, users_for};

#[tokio::test]
async fn an_agent_introduces_itself_and_gives_signs_of_life() {
    let coordinator = TestCoordinator::start().await;
    let place = Place::new(&coordinator);
    let mut agent = place.agent("a1");
    coordinator.until("two heartbeats", |state| (state.heartbeats.len() >= 2).then_some(())).await;
    {
        let state = coordinator.state();
        let register = &state.registrations[0];
        assert_eq!(
            (register.name.as_str(), register.protocol_version),
            ("a1", assay_proto::PROTOCOL_VERSION)
        );
        assert_eq!(
            (register.instance_type.as_str(), register.instance_type_source.as_str()),
            ("local", "local")
        );
        assert_eq!(register.labels["rack"], "7");
        assert!(
            register.host.as_ref().unwrap().vcpus > 0
                && register.emulates
                && register.running.is_none()
        );
        assert_eq!(register.host_fingerprint.len(), 64);
        assert_eq!(state.authorizations[0].as_deref(), Some("Bearer secret"));
        assert!(state.heartbeats[0].running.is_none());
    }
    agent.ask_to_end().await;
    assert!(matches!(agent.ended().await, Ended::Asked));
}

#[tokio::test]
async fn a_refused_agent_ends_with_a_reason_and_does_not_ask_again() {
    for (status, exit_code) in [
        (Status::already_exists("an agent named a1 is connected"), 1),
        (Status::failed_precondition("this coordinator speaks version 2"), 1),
        (Status::unauthenticated("unknown token"), 4),
    ] {
        let coordinator = TestCoordinator::start().await;
        coordinator.state().refuse = Some(status.clone());
        let place = Place::new(&coordinator);
        let Ended::Refused(refusal) = place.agent("a1").ended().await else {
            panic!("{status} was accepted")
        };
        assert_eq!(refusal.exit_code(), exit_code);
        assert!(refusal.to_string().contains(status.message()) && !refusal.hint().is_empty());
        assert_eq!(coordinator.state().registrations.len(), 1);
    }
}

#[tokio::test]
async fn the_ghost_of_the_own_stream_is_waited_out() {
    let coordinator = TestCoordinator::start().await;
    let place = Place::new(&coordinator);
    let _agent = place.agent("a1");
    coordinator.until_attached(1).await;
    coordinator.state().refuse = Some(Status::already_exists("an agent named a1 is connected"));
    coordinator.cut();
    coordinator.until("an attempt", |state| (state.registrations.len() >= 2).then_some(())).await;
    coordinator.state().refuse = None;
    coordinator.until_attached(3).await;
}

#[tokio::test]
async fn a_token_that_is_no_longer_valid_ends_an_agent_that_was_attached() {
    let coordinator = TestCoordinator::start().await;
    let place = Place::new(&coordinator);
    let mut agent = place.agent("a1");
    coordinator.until_attached(1).await;
    coordinator.state().refuse = Some(Status::unauthenticated("the token was withdrawn"));
    coordinator.cut();
    assert!(matches!(agent.ended().await, Ended::Refused(Refusal::Unauthenticated(_))));
}

#[tokio::test]
async fn a_trial_is_run_and_reported_and_the_agent_is_free_again() {
    let coordinator = TestCoordinator::start().await;
    let place = Place::new(&coordinator);
    let _agent = place.agent("a1");
    coordinator.until_attached(1).await;
    coordinator.start_trial("aa01", &place.spec(&coordinator, "serve")).await;
    assert!(matches!(coordinator.outcome().await, TrialOutcome::Measured(_)));
    {
        let state = coordinator.state();
        assert_eq!(state.steps.len(), 1);
        assert_eq!(
            (state.steps[0].trial_id.as_str(), state.steps[0].lease_token.as_str()),
            ("demo/0", "aa01")
        );
        assert!(!state.steps[0].step.as_ref().unwrap().histogram.is_empty());
        assert!(!state.progress.is_empty());
        let held = state.heartbeats.iter().filter_map(|heartbeat| heartbeat.running.as_ref());
        assert!(held.map(|held| held.lease_token.as_str()).all(|token| token == "aa01"));
    }
    coordinator.start_trial("aa02", &place.spec(&coordinator, "reject")).await;
    coordinator
        .until("the second outcome", |state| (state.outcomes.len() == 2).then_some(()))
        .await;
    assert!(coordinator.state().declined.is_empty());
}

#[tokio::test]
async fn reports_are_sent_again_after_reconnecting_until_they_are_acknowledged() {
    let coordinator = TestCoordinator::start().await;
    coordinator.state().acknowledge = None;
    let place = Place::new(&coordinator);
    let _agent = place.agent("a1");
    coordinator.until_attached(1).await;
    coordinator.start_trial("aa01", &place.spec(&coordinator, "serve")).await;
    let first = coordinator.outcome().await;
    coordinator.cut();
    coordinator
        .until("both reports again", |state| {
            (state.steps.len() >= 2 && state.outcomes.len() >= 2).then_some(())
        })
        .await;
    assert_eq!(coordinator.outcome().await, first);
    {
        let mut state = coordinator.state();
        let held = state.registrations.last().unwrap().running.clone().unwrap();
        assert_eq!((held.trial_id.as_str(), held.lease_token.as_str()), ("demo/0", "aa01"));
        state.acknowledge = Some(Acknowledged::Stored);
    }
    coordinator.cut();
    coordinator
        .until("all acknowledged", |state| {
            (state.steps.len() >= 3 && state.outcomes.len() >= 3).then_some(())
        })
        .await;
    let seen = coordinator.state().heartbeats.len();
    coordinator
        .until("a free heartbeat", |state| {
            state.heartbeats.iter().skip(seen).find(|h| h.running.is_none()).map(|_| ())
        })
        .await;
    coordinator.cut();
    coordinator.until_attached(4).await;
    assert!(coordinator.state().registrations[3].running.is_none());
    assert_eq!(coordinator.state().outcomes.len(), 3, "an acknowledged report is not sent again");
}

#[tokio::test]
async fn a_trial_goes_on_while_the_coordinator_is_gone() {
    let coordinator = TestCoordinator::start().await;
    let place = Place::new(&coordinator);
    let _agent = place.agent("a1");
    coordinator.until_attached(1).await;
    let mut spec = place.spec(&coordinator, "serve:1000");
    spec.work = users_for(1, 3000);
    coordinator.start_trial("aa01", &spec).await;
    let host = place.host_process().await;
    coordinator.cut();
    coordinator.until_attached(2).await;
    assert_eq!(place.host_processes(), [host], "the trial was begun anew");
    assert_eq!(coordinator.state().registrations[1].running.as_ref().unwrap().lease_token, "aa01");
    assert!(matches!(coordinator.outcome().await, TrialOutcome::Measured(_)));
    assert_eq!(coordinator.state().outcomes.len(), 1);
}

/// Starts a long trial, takes its lease away in one of three ways, and sees that it is forgotten.
async fn lease_is_lost(take_away: impl AsyncFnOnce(&TestCoordinator)) {
    let coordinator = TestCoordinator::start().await;
    let place = Place::new(&coordinator);
    let _agent = place.agent("a1");
    coordinator.until_attached(1).await;
    let mut spec = place.spec(&coordinator, "serve:1000");
    spec.work = users_for(1, 60_000);
    coordinator.start_trial("aa01", &spec).await;
    let host = place.host_process().await;
    take_away(&coordinator).await;
    until_gone(host).await;
    {
        let mut state = coordinator.state();
        (state.lease_stands, state.held_trial_stands) = (true, true);
        state.acknowledge = Some(Acknowledged::Stored);
    }
    coordinator
        .until("a free heartbeat", |state| state.heartbeats.last()?.running.is_none().then_some(()))
        .await;
    // A moment for the old trial to be cleared away.
    tokio::time::sleep(Duration::from_millis(500)).await;
    coordinator.start_trial("aa02", &place.spec(&coordinator, "reject")).await;
    let outcome =
        coordinator.until("the next outcome", |state| state.outcomes.first().cloned()).await;
    assert_eq!(outcome.lease_token, "aa02", "the lost trial was reported");
}

#[tokio::test]
async fn a_lease_that_was_lost_while_disconnected_is_forgotten() {
    lease_is_lost(async |coordinator| {
        coordinator.state().held_trial_stands = false;
        coordinator.cut();
    })
    .await;
}

#[tokio::test]
async fn a_lease_that_a_heartbeat_finds_lost_is_forgotten() {
    lease_is_lost(async |coordinator| coordinator.state().lease_stands = false).await;
}

#[tokio::test]
async fn a_report_under_a_stale_token_stops_the_trial() {
    lease_is_lost(async |coordinator| {
        let acknowledge = v1::Acknowledge {
            trial_id: "demo/0".to_owned(),
            lease_token: "aa01".to_owned(),
            what: Some(v1::acknowledge::What::StepIndex(0)),
            stale: true,
        };
        coordinator.say(Message::Acknowledge(acknowledge)).await;
    })
    .await;
}

#[tokio::test]
async fn a_second_trial_is_declined_while_one_runs_and_when_draining() {
    let coordinator = TestCoordinator::start().await;
    let place = Place::new(&coordinator);
    let _agent = place.agent("a1");
    coordinator.until_attached(1).await;
    let mut spec = place.spec(&coordinator, "serve:1000");
    spec.work = users_for(1, 60_000);
    coordinator.start_trial("aa01", &spec).await;
    coordinator.start_trial("aa02", &spec).await;
    let declined = coordinator.until("a refusal", |state| state.declined.first().cloned()).await;
    assert_eq!(
        (declined.lease_token.as_str(), declined.reason.as_str()),
        ("aa02", "busy with demo/0")
    );

    let cancel = v1::CancelTrial {
        trial_id: "demo/0".into(),
        lease_token: "aa01".into(),
        by: "jobs stop".into(),
    };
    coordinator.say(Message::CancelTrial(cancel)).await;
    assert_eq!(coordinator.outcome().await, TrialOutcome::Cancelled { by: "jobs stop".to_owned() });

    coordinator.say(Message::Drain(v1::Drain { draining: true })).await;
    coordinator
        .until("a free heartbeat", |state| state.heartbeats.last()?.running.is_none().then_some(()))
        .await;
    coordinator.start_trial("aa03", &spec).await;
    let declined = coordinator.until("a refusal", |state| state.declined.get(1).cloned()).await;
    assert_eq!(declined.reason, "draining");
}

#[tokio::test]
async fn a_trial_that_makes_no_sense_is_declined() {
    let coordinator = TestCoordinator::start().await;
    let place = Place::new(&coordinator);
    let _agent = place.agent("a1");
    coordinator.until_attached(1).await;
    let mut spec: v1::TrialSpec = place.spec(&coordinator, "serve").into();
    spec.configuration.as_mut().unwrap().workers = 0;
    coordinator
        .say(Message::StartTrial(v1::StartTrial { lease_token: "aa01".into(), spec: Some(spec) }))
        .await;
    let declined = coordinator.until("a refusal", |state| state.declined.first().cloned()).await;
    assert_eq!(declined.trial_id, "demo/0");
    assert!(declined.reason.contains("workers"), "{declined:?}");
}

#[tokio::test]
async fn a_trial_that_fails_leaves_the_agent_ready_for_the_next() {
    let coordinator = TestCoordinator::start().await;
    let place = Place::new(&coordinator);
    let _agent = place.agent("a1");
    coordinator.until_attached(1).await;
    coordinator.start_trial("aa01", &place.spec(&coordinator, "crash-from:2")).await;
    let TrialOutcome::Failed(failure) = coordinator.outcome().await else { panic!("measured") };
    assert_eq!(failure.kind, FailureKind::HostCrashed);
    coordinator
        .until("a free heartbeat", |state| state.heartbeats.last()?.running.is_none().then_some(()))
        .await;
    coordinator.start_trial("aa02", &place.spec(&coordinator, "serve")).await;
    coordinator
        .until("the second outcome", |state| (state.outcomes.len() == 2).then_some(()))
        .await;
    assert!(matches!(coordinator.outcome().await, TrialOutcome::Measured(_)));
}

#[tokio::test]
async fn an_agent_that_is_asked_to_end_cancels_reports_and_leaves_no_process() {
    let coordinator = TestCoordinator::start().await;
    let place = Place::new(&coordinator);
    let mut agent = place.agent("a1");
    coordinator.until_attached(1).await;
    let mut spec = place.spec(&coordinator, "serve:1000");
    spec.work = users_for(1, 60_000);
    coordinator.start_trial("aa01", &spec).await;
    let host = place.host_process().await;
    agent.ask_to_end().await;
    assert!(matches!(agent.ended().await, Ended::Asked));
    until_gone(host).await;
    let by = "the agent was ended by SIGTERM".to_owned();
    assert_eq!(coordinator.outcome().await, TrialOutcome::Cancelled { by });
}

#[tokio::test]
async fn the_second_request_to_end_does_not_wait_for_an_acknowledgement() {
    let coordinator = TestCoordinator::start().await;
    coordinator.state().acknowledge = None;
    let place = Place::new(&coordinator);
    let mut agent = place.agent("a1");
    coordinator.until_attached(1).await;
    coordinator.start_trial("aa01", &place.spec(&coordinator, "serve")).await;
    coordinator.outcome().await;
    agent.ask_to_end().await;
    agent.ask_to_end().await;
    assert!(matches!(agent.ended().await, Ended::Killed));
}

#[tokio::test]
async fn a_report_that_is_refused_for_good_is_not_sent_again_and_the_trial_ends_with_the_reason() {
    let coordinator = TestCoordinator::start().await;
    coordinator.state().largest_report = 300;
    let place = Place::new(&coordinator);
    let _agent = place.agent("a1");
    coordinator.until_attached(1).await;
    coordinator.start_trial("aa01", &place.spec(&coordinator, "serve")).await;
    let TrialOutcome::Failed(failure) = coordinator.outcome().await else { panic!("measured") };
    assert_eq!(failure.kind, FailureKind::Internal);
    let told =
        "the coordinator refused the report of the outcome: decoded message length too large";
    assert!(failure.message.starts_with(told), "{}", failure.message);
    // Once for the step, once for the outcome: neither came a second time.
    assert_eq!(coordinator.state().too_large, 2);
    coordinator
        .until("a free heartbeat", |state| state.heartbeats.last()?.running.is_none().then_some(()))
        .await;
}

#[tokio::test]
async fn an_agent_whose_every_report_is_refused_gives_the_trial_up() {
    let coordinator = TestCoordinator::start().await;
    coordinator.state().largest_report = 60;
    let place = Place::new(&coordinator);
    let _agent = place.agent("a1");
    coordinator.until_attached(1).await;
    coordinator.start_trial("aa01", &place.spec(&coordinator, "reject")).await;
    coordinator.until("both refusals", |state| (state.too_large == 2).then_some(())).await;
    coordinator
        .until("a free heartbeat", |state| state.heartbeats.last()?.running.is_none().then_some(()))
        .await;
    assert_eq!(coordinator.state().too_large, 2);
}
