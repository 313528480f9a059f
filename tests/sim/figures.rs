//! Jobs, steps and outcomes. Every run of a trial carries a mark of its own in all that it reports,
//! so that a record tells whose figures it holds.

use std::{num::NonZeroU32, time::Duration};

use assay_measure::{
    configuration::{Configuration, Graph},
    environment::BaseEnvironment,
    hardware::{HostFacts, Utilization},
    job::{CandidateType, JobSpec, JobSubject, ResourceLimits, Sweep},
    latency::Latency,
    outcome::{HarnessFigures, StepResult, TrialOutcome, TrialResult},
    search::{Answer, Confirmation, Estimate, LimitedBy, Mode, Purpose},
    trial::{ArtifactRef, Payload},
    units::{Bytes, Rate},
    validity::Validity,
};
use assay_proto::v1;
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

pub(crate) fn host() -> HostFacts {
    HostFacts {
        cpu_model: "test".to_owned(),
        vcpus: 4,
        memory_bytes: Bytes::gib(8),
        architecture: "x86_64".to_owned(),
        ..HostFacts::default()
    }
}

pub(crate) fn step(mark: u64, index: u32) -> v1::StepResult {
    StepResult {
        index,
        purpose: Purpose::Staircase,
        users: Some(index + 1),
        offered: None,
        achieved: Rate::per_second(40.0).unwrap(),
        started: Duration::ZERO,
        duration: Duration::from_millis(1500),
        latency: Some(latency()),
        failed_calls: 0,
        missed_calls: None,
        accepted: None,
        utilization: Utilization::default(),
        histogram: mark.to_le_bytes().to_vec(),
    }
    .into()
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
    let rate = |per_second| Rate::per_second(per_second).unwrap();
    let estimate = Estimate { value: rate(40.0), low: rate(39.0), high: rate(41.0) };
    TrialOutcome::Measured(Box::new(TrialResult {
        answer: Some(Answer {
            capacity: estimate,
            plateau: estimate,
            plateau_users: 1,
            limited_by: LimitedBy::Saturation,
            confirmation: Confirmation::NotNeeded,
            answer_steps: vec![0],
            drift: None,
            precise: true,
            samples: 600,
            out_of_time: false,
        }),
        stopped_by: None,
        latency: Some(latency()),
        utilization: Utilization::default(),
        idle: None,
        validity: Validity::from_findings(Vec::new()),
        host: host(),
        limits_in_force: Vec::new(),
        configuration: Some(Configuration::cpu(NonZeroU32::MIN, NonZeroU32::MIN)),
        harness: HarnessFigures::default(),
        energy_j_per_inference: None,
        output_deviation: None,
        comparison_failure: None,
        remarks: Vec::new(),
        nan_outputs: 0,
        calls: mark,
        failed_calls: 0,
        first_error: None,
        ready_after: Duration::from_secs(1),
        took: Duration::from_secs(30),
    }))
    .into()
}

fn latency() -> Latency {
    Latency {
        count: 60,
        mean_us: 25_000.5,
        p50_us: 25_000,
        p90_us: 26_000,
        p95_us: 27_000,
        p99_us: 28_000,
        p999_us: 29_000,
        max_us: 30_000,
    }
}
