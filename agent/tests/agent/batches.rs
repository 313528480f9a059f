//! What a model host tells of its batches, across the two processes.

use std::{num::NonZeroU32, time::Duration};

use assay_agent::{
    clock::Clock,
    confinement::means::Means,
    hardware::facts::Machine,
    model_host::{ModelHost, Serving, Surroundings, client},
    sandbox::{Allotment, Sandbox, mounts::Hierarchies},
};
use assay_measure::{configuration::Configuration, search::StepObservation};
use bytes::Bytes;

use crate::support::fake_host;

fn started(max_batch: u32) -> ModelHost {
    let mut configuration = Configuration::cpu(NonZeroU32::MIN, NonZeroU32::MIN);
    configuration.max_batch = NonZeroU32::new(max_batch).unwrap();
    let model = tempfile::NamedTempFile::new().unwrap();
    let serving = Serving { model: model.path(), configuration: &configuration, inputs: &[] };
    let allotment = Allotment::of(&Machine::here(), None).unwrap();
    let sandbox = Sandbox::set_up(&allotment, &Hierarchies::default());
    let around = Surroundings {
        program: &fake_host(),
        sandbox: &sandbox,
        means: Means::of_this_process(),
        operator_libraries: &[],
    };
    ModelHost::start(&around, &serving).unwrap()
}

#[tokio::test]
async fn a_host_that_batches_tells_the_batches_of_each_step() {
    let mut host = started(4);
    let limit = Duration::from_secs(10);
    let address = host.ready(limit).await.unwrap();
    let call = async || {
        client::invoke(address, "application/json", Bytes::from("[1]"), limit).await.unwrap()
    };
    // Before the load generator's clock begins, as the calls that check a payload are.
    call().await;
    let clock = Clock::start();
    let mut reader = host.batch_log().unwrap().reader(clock);
    for (index, calls) in [(0, 3), (1, 2)] {
        let started_us = clock.now_ns() / 1_000 + 1;
        for _ in 0..calls {
            tokio::time::sleep(Duration::from_millis(1)).await;
            call().await;
        }
        let elapsed_us = clock.now_ns() / 1_000 - started_us;
        let step = StepObservation { index, started_us, elapsed_us, ..StepObservation::default() };
        let batches = reader.of_step(&step);
        assert_eq!(batches.len(), calls, "{batches:?}");
        assert!(batches.iter().all(|batch| batch.requests == 1 && batch.service_ns > 0));
    }
    host.kill().await;
}

#[tokio::test]
async fn a_host_that_serves_one_by_one_has_nothing_to_tell() {
    let mut host = started(1);
    assert!(host.batch_log().is_none());
    host.kill().await;
}
