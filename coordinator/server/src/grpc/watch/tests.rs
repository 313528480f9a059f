//! A watcher that does not read in time.

use std::{ops::RangeInclusive, sync::Arc, time::Duration};

use assay_measure::{job::JobStatus, units::Bytes};
use assay_planning::job_state::JobState;
use tempfile::TempDir;
use tokio::{sync::broadcast, time::timeout};
use tokio_util::sync::CancellationToken;

use super::*;
use crate::{
    artifacts::Artifacts,
    clock::Clock,
    dispatch::link::detached,
    sagemaker::{Api, background::Background, fetch::Sources, offer::Offer},
    settings::AwsSettings,
    store::{Change, JobRecord, Store},
    tests::support::job_spec,
};

struct Scene {
    _scratch: TempDir,
    shared: Shared,
    published: broadcast::Sender<Arc<Published>>,
    job: JobName,
}

impl Scene {
    async fn new() -> Self {
        let scratch = tempfile::tempdir().unwrap();
        let store = Store::open(&scratch.path().join("assay.db")).await.unwrap();
        let (dispatch, published) = detached();
        let clock = Clock::start();
        let spec = job_spec("watched", &["ml.c5.large"]);
        let job = spec.name.clone();
        let record = JobRecord {
            number: 1,
            spec,
            created_at: clock.now(),
            state: JobState::Pending,
            reason: String::new(),
            planned: None,
        };
        store.commit(vec![Change::JobCreated(Box::new(record))]).await.unwrap();
        let store = Arc::new(store);
        let artifacts = Artifacts::open(scratch.path(), Bytes::mib(1)).unwrap();
        let offer = Offer::check(AwsSettings::default()).unwrap();
        let aws = Api {
            dispatch: dispatch.clone(),
            store: Arc::clone(&store),
            artifacts: artifacts.clone(),
            clock,
            settings: offer.settings,
            account: offer.account,
            sources: Sources::below(Vec::new()),
            background: Background::new().0,
        };
        let shared = Shared {
            dispatch,
            store,
            artifacts,
            clock,
            aws: Arc::new(aws),
            stopping: CancellationToken::new(),
        };
        Self { _scratch: scratch, shared, published, job }
    }

    fn event(&self, sequence: u64, status: JobStatus) -> JobEvent {
        let what = Happening::StatusChanged { status, reason: format!("event {sequence}") };
        JobEvent { sequence, at: self.shared.clock.now(), what }
    }

    async fn store(&self, events: &[JobEvent]) {
        let happened =
            |event: &JobEvent| Change::Happened { job: self.job.clone(), event: event.clone() };
        self.shared.store.commit(events.iter().map(happened).collect()).await.unwrap();
    }

    fn publish(&self, events: &[JobEvent]) {
        for event in events {
            let published = Published { job: self.job.clone(), event: event.clone() };
            self.published.send(Arc::new(published)).unwrap();
        }
    }

    fn pending(&self, sequences: RangeInclusive<u64>) -> Vec<JobEvent> {
        sequences.map(|sequence| self.event(sequence, JobStatus::Pending)).collect()
    }
}

#[tokio::test]
async fn a_watcher_that_was_overtaken_misses_nothing() {
    let scene = Scene::new().await;
    scene.store(&scene.pending(1..=1)).await;
    let mut watch = Watch::new(scene.shared.clone(), scene.job.clone(), 0).unwrap();
    assert_eq!(watch.next().await.unwrap().unwrap().sequence, 1);
    while watch.behind {
        // It has read all that is stored, and waits for what happens.
        assert!(timeout(Duration::from_millis(10), watch.next()).await.is_err());
    }
    // Far more than the live channel holds.
    let mut events = scene.pending(2..=3000);
    events.push(scene.event(3001, JobStatus::Completed));
    scene.store(&events).await;
    scene.publish(&events);
    for expected in &events {
        assert_eq!(watch.next().await.unwrap().as_ref(), Some(expected));
    }
    assert_eq!(watch.next().await.unwrap(), None);
}

#[tokio::test]
async fn what_was_stored_before_the_watch_and_published_after_it_comes_once() {
    let scene = Scene::new().await;
    let mut watch = Watch::new(scene.shared.clone(), scene.job.clone(), 0).unwrap();
    let events = scene.pending(1..=5);
    scene.store(&events).await;
    scene.publish(&events);
    let last = [scene.event(6, JobStatus::Stopped)];
    scene.store(&last).await;
    scene.publish(&last);
    let mut seen = Vec::new();
    while let Some(event) = watch.next().await.unwrap() {
        seen.push(event.sequence);
    }
    assert_eq!(seen, [1, 2, 3, 4, 5, 6]);
}
