//! What agents may expect, and what they may not do.

use std::time::Duration;

use assay_proto::v1::{self, JobStatus, agent_message::Message, coordinator_message};
use tonic::Code;

use super::support::{Coordinator, FakeAgent, held, job_spec, measured, registration, within};

#[tokio::test]
async fn an_agent_of_another_protocol_version_is_refused_with_both_versions() {
    let coordinator = Coordinator::start().await;
    let mut register = registration("a");
    register.protocol_version = assay_proto::PROTOCOL_VERSION + 7;
    let refused = FakeAgent::attach_as(&coordinator, register).await.err().unwrap();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    let (theirs, ours) = (assay_proto::PROTOCOL_VERSION + 7, assay_proto::PROTOCOL_VERSION);
    assert!(refused.message().contains(&format!("version {theirs}")), "{}", refused.message());
    assert!(refused.message().contains(&format!("version {ours}")), "{}", refused.message());
}

#[tokio::test]
async fn a_second_agent_of_a_connected_name_is_refused_until_the_first_has_left() {
    let coordinator = Coordinator::start().await;
    let first = FakeAgent::attach(&coordinator, "twin").await;
    let refused = FakeAgent::attach_as(&coordinator, registration("twin")).await.err().unwrap();
    assert_eq!(refused.code(), Code::AlreadyExists);
    drop(first);
    within("the name to be free", async {
        while FakeAgent::attach_as(&coordinator, registration("twin")).await.is_err() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn an_agent_that_proves_its_lease_takes_over_from_its_half_dead_connection() {
    let coordinator = Coordinator::start().await;
    let mut old = FakeAgent::attach(&coordinator, "a").await;
    coordinator.create(job_spec("kept", &["ml.c5.large"])).await.unwrap();
    let trial = held(&old.expect_start().await);
    old.step(&trial, 0).await;

    let mut stranger = registration("a");
    stranger.running = Some(trial.clone());
    stranger.host_fingerprint = "another-host".to_owned();
    let refused = FakeAgent::attach_as(&coordinator, stranger).await.err().unwrap();
    assert_eq!(refused.code(), Code::AlreadyExists);

    let mut register = registration("a");
    register.running = Some(trial.clone());
    let mut new = FakeAgent::attach_as(&coordinator, register).await.unwrap();
    assert!(new.registered.held_trial_stands);
    assert_eq!(old.hear().await, None);
    // Step 0 again: its acknowledgement might have been lost.
    assert!(!new.step(&trial, 0).await.stale);
    assert!(!new.step(&trial, 1).await.stale);
    new.finish(&trial, measured()).await;
    coordinator.reaches("kept", JobStatus::Completed).await;
    let steps = coordinator.record("kept").await;
    let steps =
        steps.iter().filter(|e| matches!(e.event, Some(v1::job_event::Event::StepFinished(_))));
    assert_eq!(steps.count(), 2);
}

#[tokio::test]
async fn a_message_before_the_registration_is_refused() {
    let coordinator = Coordinator::start().await;
    let mut client = v1::agent_service_client::AgentServiceClient::new(coordinator.channel().await);
    let heartbeat =
        v1::AgentMessage { message: Some(Message::Heartbeat(v1::Heartbeat { running: None })) };
    let refused = client.attach(tokio_stream::iter([heartbeat])).await.err().unwrap();
    assert_eq!(refused.code(), Code::FailedPrecondition);
}

#[tokio::test]
async fn a_lost_agent_returns_its_trial_to_the_queue_and_its_old_token_is_refused() {
    let coordinator = Coordinator::with_lease_term(Duration::from_millis(600)).await;
    let mut lost = FakeAgent::attach(&coordinator, "lost").await;
    coordinator.create(job_spec("again", &["ml.c5.large"])).await.unwrap();
    let old = held(&lost.expect_start().await);
    lost.step(&old, 0).await;
    // The connection stays and nothing is heard over it.
    let returned = within("the end of the lease", async {
        let mut events = coordinator.watch("again", 0).await;
        loop {
            let event = events.message().await.unwrap().unwrap().event;
            if let Some(v1::job_event::Event::TrialReturned(returned)) = event {
                return returned;
            }
        }
    })
    .await;
    assert_eq!(returned.trial_id, old.trial_id);
    assert_eq!(lost.hear().await, None);

    let mut back = FakeAgent::attach(&coordinator, "lost").await;
    let new = held(&back.expect_start().await);
    assert_eq!(new.trial_id, old.trial_id);
    assert_ne!(new.lease_token, old.lease_token);
    assert!(back.step(&old, 1).await.stale);
    assert!(back.finish(&old, measured()).await.stale);
    assert!(!back.step(&new, 0).await.stale);
    assert!(!back.finish(&new, measured()).await.stale);
    coordinator.reaches("again", JobStatus::Completed).await;
}

#[tokio::test]
async fn two_agents_of_one_host_never_measure_at_the_same_time() {
    let coordinator = Coordinator::start().await;
    let shared =
        |name| v1::Register { host_fingerprint: "one-host".to_owned(), ..registration(name) };
    let mut first = FakeAgent::attach_as(&coordinator, shared("a")).await.unwrap();
    let mut second = FakeAgent::attach_as(&coordinator, shared("b")).await.unwrap();
    coordinator
        .create(job_spec("pair", &["ml.c5.large", "ml.t2.medium", "ml.c5.xlarge"]))
        .await
        .unwrap();
    let total = coordinator.job("pair").await.trials_total;
    assert!(total >= 2);
    for _ in 0..total {
        let (start, on_first) = tokio::select! {
            start = first.expect_start() => (start, true),
            start = second.expect_start() => (start, false),
        };
        // Nothing reaches the other one while this trial runs: its heartbeat is answered first thing.
        let (busy, idle) =
            if on_first { (&mut first, &mut second) } else { (&mut second, &mut first) };
        assert!(busy.heartbeat(Some(held(&start))).await);
        let running: Vec<_> = coordinator
            .fleet()
            .await
            .list_agents(v1::ListAgentsRequest {})
            .await
            .unwrap()
            .into_inner()
            .agents
            .into_iter()
            .filter_map(|agent| agent.running_trial_id)
            .collect();
        assert_eq!(running, [held(&start).trial_id]);
        idle.heartbeat(None).await;
        busy.finish(&held(&start), measured()).await;
    }
    coordinator.reaches("pair", JobStatus::Completed).await;
}

#[tokio::test]
async fn a_drained_agent_finishes_its_trial_and_gets_no_other() {
    let coordinator = Coordinator::start().await;
    let mut agent = FakeAgent::attach(&coordinator, "a").await;
    coordinator
        .create(job_spec("rest", &["ml.c5.large", "ml.t2.medium", "ml.c5.xlarge"]))
        .await
        .unwrap();
    let trial = held(&agent.expect_start().await);
    let mut fleet = coordinator.fleet().await;
    let drain = |draining| v1::DrainAgentRequest { name: "a".to_owned(), draining };
    let drained = fleet.drain_agent(drain(true)).await.unwrap().into_inner().agent.unwrap();
    assert!(drained.draining);
    assert_eq!(
        agent.hear().await,
        Some(coordinator_message::Message::Drain(v1::Drain { draining: true }))
    );
    assert!(!agent.finish(&trial, measured()).await.stale);
    let forget = v1::ForgetAgentRequest { name: "a".to_owned() };
    assert_eq!(fleet.forget_agent(forget).await.unwrap_err().code(), Code::FailedPrecondition);

    fleet.drain_agent(drain(false)).await.unwrap();
    assert_eq!(
        agent.hear().await,
        Some(coordinator_message::Message::Drain(v1::Drain { draining: false }))
    );
    agent.expect_start().await;
    let unknown = v1::DrainAgentRequest { name: "nobody".to_owned(), draining: true };
    assert_eq!(fleet.drain_agent(unknown).await.unwrap_err().code(), Code::NotFound);
}

#[tokio::test]
async fn a_declined_trial_is_offered_to_another_agent() {
    let coordinator = Coordinator::start().await;
    let mut unwilling = FakeAgent::attach(&coordinator, "a").await;
    let mut other = registration("b");
    other.instance_type = "local".to_owned();
    let mut willing = FakeAgent::attach_as(&coordinator, other).await.unwrap();
    let mut spec = job_spec("offered", &["local"]);
    spec.emulate = false;
    coordinator.create(spec).await.unwrap();
    let offer = held(&unwilling.expect_start().await);
    unwilling
        .say(Message::TrialDeclined(v1::TrialDeclined {
            trial_id: offer.trial_id.clone(),
            lease_token: offer.lease_token,
            reason: "busy".to_owned(),
        }))
        .await;
    let trial = held(&willing.expect_start().await);
    assert_eq!(trial.trial_id, offer.trial_id);
    willing.finish(&trial, measured()).await;
    coordinator.reaches("offered", JobStatus::Completed).await;
}

#[tokio::test]
async fn reports_that_cannot_be_read_end_neither_the_agent_nor_the_job() {
    let coordinator = Coordinator::start().await;
    let mut agent = FakeAgent::attach(&coordinator, "a").await;
    coordinator.create(job_spec("garbled", &["ml.c5.large"])).await.unwrap();
    let trial = held(&agent.expect_start().await);
    let mut step: v1::StepResult = super::support::step(0).into();
    step.achieved_per_s = f64::NAN;
    agent
        .say(Message::StepFinished(v1::StepFinished {
            trial_id: trial.trial_id.clone(),
            lease_token: trial.lease_token.clone(),
            step: Some(step),
        }))
        .await;
    assert!(agent.expect_acknowledge().await.stale);
    agent
        .say(Message::TrialFinished(v1::TrialFinished {
            trial_id: trial.trial_id.clone(),
            lease_token: trial.lease_token.clone(),
            outcome: None,
        }))
        .await;
    assert!(!agent.expect_acknowledge().await.stale);
    let job = coordinator.reaches("garbled", JobStatus::Failed).await;
    assert!(job.reason.contains("cannot be read"), "{}", job.reason);
}
