//! Jobs, steps and outcomes. Every run of a trial carries a mark of its own in all that it reports,
//! so that a record tells whose figures it holds.

use std::{num::NonZeroU32, time::Duration};

use assay_measure::{
    configuration::Graph,
    environment::BaseEnvironment,
    hardware::Utilization,
    job::{CandidateType, JobSpec, JobSubject, ResourceLimits, Sweep},
    outcome::{StepResult, TrialOutcome},
    search::Mode,
    trial::{ArtifactRef, Payload},
    units::Bytes,
};
use assay_proto::v1;
use assay_tests::{agent_stream, known_figures};
use sha2::{Digest, Sha256};

pub(crate) const MODEL: &[u8] = b"a model, for all that the coordinator knows";
pub(crate) const PAYLOAD: &[u8] = b"a payload";
/// The instance type of every agent, so that each may take any trial.
pub(crate) const TYPE: &str = "ml.c5.xlarge";

pub(crate) fn artifact(content: &[u8]) -> ArtifactRef {
    ArtifactRef {
        name: "file.pt".to_owned(),
        sha256: hex::encode(Sha256::digest(content)).parse().unwrap(),
        size_bytes: Bytes::new(content.len() as u64),
    }
}

/// A job of so many trials, which any agent may take.
pub(crate) fn job(name: &str, trials: u32) -> v1::JobSpec {
    JobSpec {
        name: name.parse().unwrap(),
        subject: JobSubject::Model { model: artifact(MODEL) },
        payload: Payload {
            artifact: artifact(PAYLOAD),
            is_archive: false,
            content_type: "application/octet-stream".to_owned(),
        },
        inputs: Vec::new(),
        environment: BaseEnvironment::default(),
        instance_types: vec![CandidateType::named(TYPE.parse().unwrap())],
        emulate: false,
        sweep: Sweep {
            workers: (1..=trials).map(|workers| NonZeroU32::new(workers).unwrap()).collect(),
            intra_op_threads: vec![NonZeroU32::MIN],
            graph: vec![Graph::Plain],
            ..Sweep::default()
        },
        constraints: Vec::new(),
        goals: None,
        mode: Mode::Quick,
        seed: 1,
        soak: None,
        load: None,
        limits: ResourceLimits::default(),
        region: "us-east-1".to_owned(),
        demand: None,
        max_duration: Duration::from_secs(1800),
        ready_timeout: None,
        price_overrides: Vec::new(),
    }
    .into()
}

pub(crate) fn step(mark: u64, index: u32) -> v1::StepResult {
    let histogram = mark.to_le_bytes().to_vec();
    StepResult { histogram, ..known_figures::step(index, 40.0, Utilization::default()) }.into()
}

pub(crate) fn mark_of_step(step: &v1::StepResult) -> u64 {
    u64::from_le_bytes(step.histogram.as_slice().try_into().unwrap())
}

/// Whose outcome this is; only measurements say.
pub(crate) fn mark_of_outcome(outcome: &v1::TrialOutcome) -> Option<u64> {
    match TrialOutcome::try_from(outcome.clone()).unwrap() {
        TrialOutcome::Measured(measurement) => Some(measurement.calls),
        TrialOutcome::Failed(_) | TrialOutcome::Cancelled { .. } => None,
    }
}

pub(crate) fn cancelled(by: &str) -> v1::TrialOutcome {
    TrialOutcome::Cancelled { by: by.to_owned() }.into()
}

/// A measurement that can be believed.
pub(crate) fn measured(mark: u64) -> v1::TrialOutcome {
    TrialOutcome::Measured(Box::new(known_figures::measured(40.0, mark))).into()
}

/// An agent of this name on a host of its own.
pub(crate) fn registration(name: &str, host_fingerprint: &str) -> v1::Register {
    agent_stream::registration(name, TYPE, host_fingerprint)
}
