//! A coordinator that died between any two messages goes on where it was.

use std::time::Duration;

use assay_proto::v1::{self, JobStatus};

use super::support::{Coordinator, FakeAgent, held, job_spec, measured, registration};

#[tokio::test]
async fn an_agent_that_comes_back_after_a_restart_goes_on_with_its_trial() {
    let mut coordinator = Coordinator::start().await;
    let mut agent = FakeAgent::attach(&coordinator, "a").await;
    coordinator.create(job_spec("kept", &["ml.c5.large"])).await.unwrap();
    let trial = held(&agent.expect_start().await);
    agent.step(&trial, 0).await;
    agent.step(&trial, 1).await;

    coordinator.restart().await;
    assert_eq!(coordinator.job("kept").await.status(), JobStatus::Running);
    let mut register = registration("a");
    register.running = Some(trial.clone());
    let mut agent = FakeAgent::attach_as(&coordinator, register).await.unwrap();
    assert!(agent.registered.held_trial_stands);
    // The acknowledgement of step 1 may have been lost with the connection.
    assert!(!agent.step(&trial, 1).await.stale);
    assert!(!agent.step(&trial, 2).await.stale);
    assert!(!agent.finish(&trial, measured()).await.stale);
    coordinator.reaches("kept", JobStatus::Completed).await;

    let record = coordinator.record("kept").await;
    let sequences: Vec<u64> = record.iter().map(|event| event.sequence).collect();
    assert_eq!(sequences, (1..=u64::try_from(record.len()).unwrap()).collect::<Vec<_>>());
    let steps =
        record.iter().filter(|e| matches!(e.event, Some(v1::job_event::Event::StepFinished(_))));
    assert_eq!(steps.count(), 3);
}

#[tokio::test]
async fn a_trial_whose_agent_stays_away_after_a_restart_goes_to_another() {
    let mut coordinator = Coordinator::with_lease_term(Duration::from_millis(600)).await;
    let mut agent = FakeAgent::attach(&coordinator, "gone").await;
    coordinator.create(job_spec("moved", &["local"])).await.unwrap();
    let old = held(&agent.expect_start().await);
    agent.step(&old, 0).await;
    drop(agent);

    coordinator.restart().await;
    let mut other = FakeAgent::attach(&coordinator, "other").await;
    let new = held(&other.expect_start_in_time().await);
    assert_eq!(new.trial_id, old.trial_id);
    assert!(other.finish(&old, measured()).await.stale);
    assert!(!other.finish(&new, measured()).await.stale);
    coordinator.reaches("moved", JobStatus::Completed).await;
}

#[tokio::test]
async fn an_outcome_reported_twice_counts_once() {
    let mut coordinator = Coordinator::start().await;
    let mut agent = FakeAgent::attach(&coordinator, "a").await;
    coordinator.create(job_spec("twice", &["ml.c5.large", "ml.c5.xlarge"])).await.unwrap();
    let first = held(&agent.expect_start().await);
    agent.finish(&first, measured()).await;
    let second = held(&agent.expect_start().await);

    coordinator.restart().await;
    let mut register = registration("a");
    register.running = Some(second.clone());
    let mut agent = FakeAgent::attach_as(&coordinator, register).await.unwrap();
    assert!(agent.registered.held_trial_stands);
    assert!(!agent.finish(&first, measured()).await.stale);
    agent.finish(&second, measured()).await;
    coordinator.reaches("twice", JobStatus::Completed).await;
    let ended = coordinator.record("twice").await;
    let ended =
        ended.iter().filter(|e| matches!(e.event, Some(v1::job_event::Event::TrialEnded(_))));
    assert_eq!(ended.count(), 2);
}

#[tokio::test]
async fn an_agent_that_lost_its_trial_in_a_restart_of_its_own_gets_it_anew() {
    let coordinator = Coordinator::with_lease_term(Duration::from_secs(3)).await;
    let mut agent = FakeAgent::attach(&coordinator, "a").await;
    coordinator.create(job_spec("forgot", &["ml.c5.large"])).await.unwrap();
    let old = held(&agent.expect_start().await);
    agent.step(&old, 0).await;
    drop(agent);
    let mut agent = loop {
        if let Ok(agent) = FakeAgent::attach_as(&coordinator, registration("a")).await {
            break agent;
        }
    };
    let new = held(&agent.expect_start().await);
    assert_eq!(new.trial_id, old.trial_id);
    assert_ne!(new.lease_token, old.lease_token);
}

#[tokio::test]
async fn a_job_being_stopped_is_stopped_after_a_restart_too() {
    let mut coordinator = Coordinator::start().await;
    let mut agent = FakeAgent::attach(&coordinator, "a").await;
    coordinator.create(job_spec("ending", &["ml.c5.large"])).await.unwrap();
    let trial = held(&agent.expect_start().await);
    agent.step(&trial, 0).await;
    coordinator.stop("ending").await.unwrap();

    coordinator.restart().await;
    assert_eq!(coordinator.job("ending").await.status(), JobStatus::Stopping);
    let mut register = registration("a");
    register.running = Some(trial.clone());
    let mut agent = FakeAgent::attach_as(&coordinator, register).await.unwrap();
    assert_eq!(agent.expect_cancel().await.trial_id, trial.trial_id);
    agent
        .finish(&trial, assay_measure::outcome::TrialOutcome::Cancelled { by: "ada".to_owned() })
        .await;
    coordinator.reaches("ending", JobStatus::Stopped).await;
}

#[tokio::test]
async fn shutting_down_ends_open_streams_before_the_deadline() {
    let coordinator = Coordinator::start().await;
    let mut agent = FakeAgent::attach(&coordinator, "a").await;
    coordinator.create(job_spec("open", &["ml.c5.large"])).await.unwrap();
    agent.expect_start().await;
    let mut watch = coordinator.watch("open", 0).await;
    coordinator.shut_down(Duration::from_secs(10)).await;
    assert_eq!(agent.hear().await, None);
    while let Ok(Some(_)) = watch.message().await {}
}
