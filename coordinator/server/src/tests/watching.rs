//! What watchers may expect: the whole record, in order, from wherever they left off.

use assay_proto::v1::{self, JobStatus, job_event::Event};
use tonic::Code;

use super::support::{Coordinator, FakeAgent, held, job_spec, measured, within};

#[tokio::test]
async fn the_record_has_no_gaps_and_ends_with_the_job() {
    let coordinator = Coordinator::start().await;
    let mut agent = FakeAgent::attach(&coordinator, "a").await;
    coordinator.create(job_spec("seen", &["ml.c5.large"])).await.unwrap();
    let mut live = coordinator.watch("seen", 0).await;
    let trial = held(&agent.expect_start().await);
    for index in 0..5 {
        agent.step(&trial, index).await;
    }
    agent.finish(&trial, measured()).await;

    let mut seen = Vec::new();
    while let Some(event) = within("the end of the watch", live.message()).await.unwrap() {
        seen.push(event);
    }
    let sequences: Vec<u64> = seen.iter().map(|event| event.sequence).collect();
    assert_eq!(sequences, (1..=u64::try_from(seen.len()).unwrap()).collect::<Vec<_>>());
    let Some(Event::StatusChanged(last)) = seen.last().and_then(|last| last.event.clone()) else {
        panic!("the record ends with {:?}", seen.last());
    };
    assert_eq!(last.status(), JobStatus::Completed);
    // Whoever comes late reads the very same, and whoever has seen a part only the rest.
    assert_eq!(coordinator.record("seen").await, seen);
    let mut rest = coordinator.watch("seen", 4).await;
    for expected in &seen[4..] {
        assert_eq!(within("an event", rest.message()).await.unwrap().as_ref(), Some(expected));
    }
    assert_eq!(within("the end", rest.message()).await.unwrap(), None);
    let mut nothing = coordinator.watch("seen", sequences.len().try_into().unwrap()).await;
    assert_eq!(within("the end", nothing.message()).await.unwrap(), None);
}

#[tokio::test]
async fn progress_is_seen_by_those_who_watch_and_not_stored() {
    let coordinator = Coordinator::start().await;
    let mut agent = FakeAgent::attach(&coordinator, "a").await;
    coordinator.create(job_spec("moving", &["ml.c5.large"])).await.unwrap();
    let trial = held(&agent.expect_start().await);
    let mut live = coordinator.watch("moving", 0).await;
    // The watch has begun once its first event is here.
    within("the first event", live.message()).await.unwrap();
    let progress = v1::Progress {
        stage: "searching".to_owned(),
        message: "users 4".to_owned(),
        fraction: 0.5,
        left_us: 1_000_000,
    };
    agent
        .say(v1::agent_message::Message::TrialProgress(v1::TrialProgress {
            trial_id: trial.trial_id.clone(),
            lease_token: trial.lease_token.clone(),
            progress: Some(progress.clone()),
        }))
        .await;
    let progressed = within("progress", async {
        loop {
            let event = live.message().await.unwrap().unwrap();
            if let Some(Event::TrialProgressed(progressed)) = event.event {
                assert_eq!(event.sequence, 0);
                return progressed;
            }
        }
    })
    .await;
    assert_eq!(progressed.progress, Some(progress));
    agent.finish(&trial, measured()).await;
    coordinator.reaches("moving", JobStatus::Completed).await;
    let stored = coordinator.record("moving").await;
    assert!(!stored.iter().any(|event| matches!(event.event, Some(Event::TrialProgressed(_)))));
}

#[tokio::test]
async fn an_unknown_job_cannot_be_watched() {
    let coordinator = Coordinator::start().await;
    let request = v1::WatchJobRequest { name: "nothing".to_owned(), after_sequence: 0 };
    let refused = coordinator.jobs().await.watch_job(request).await.unwrap_err();
    assert_eq!(refused.code(), Code::NotFound);
}
