//! Jobs, agents and measurements for the tests of this crate.

use std::{collections::BTreeSet, num::NonZeroU32, time::Duration};

use assay_measure::{
    configuration::{Configuration, Graph},
    environment::BaseEnvironment,
    hardware::{HostFacts, Utilization},
    ids::Sha256,
    job::{JobSpec, JobSubject, ResourceLimits, Sweep},
    latency::Latency,
    outcome::{Failure, FailureKind, HarnessFigures, TrialOutcome, TrialResult},
    search::{Answer, Confirmation, Estimate, LimitedBy, Mode},
    trial::{ArtifactRef, Payload},
    units::{Bytes, Rate},
    validity::{Finding, FindingName, Validity, Verdict},
};

use crate::{fleet::AgentView, planner::Plan};

/// A quick emulated job on these types.
pub(crate) fn job(types: &[&str]) -> JobSpec {
    let artifact = ArtifactRef {
        name: "resnet18.pt".to_owned(),
        sha256: Sha256::new("0".repeat(64)).unwrap(),
        size_bytes: Bytes::mib(45),
    };
    JobSpec {
        name: "demo".parse().unwrap(),
        subject: JobSubject::Model { model: artifact.clone() },
        payload: Payload {
            artifact,
            is_archive: false,
            content_type: "application/x-npy".to_owned(),
        },
        inputs: Vec::new(),
        environment: BaseEnvironment::default(),
        instance_types: types.iter().map(|text| text.parse().unwrap()).collect(),
        emulate: true,
        // Candidates are counted by their threads.
        sweep: Sweep { graph: vec![Graph::Plain], ..Sweep::default() },
        constraints: Vec::new(),
        goals: None,
        mode: Mode::Quick,
        seed: 7,
        soak: None,
        load: None,
        limits: ResourceLimits::default(),
        region: "us-east-1".to_owned(),
        demand: None,
        max_duration: Duration::from_secs(1800),
        ready_timeout: None,
        price_overrides: Vec::new(),
    }
}

/// An idle agent on a machine of its own that may emulate.
pub(crate) fn agent(name: &str, instance_type: &str, vcpus: u32, memory: Bytes) -> AgentView {
    AgentView {
        name: name.parse().unwrap(),
        instance_type: instance_type.parse().unwrap(),
        fingerprint: format!("host-of-{name}").parse().unwrap(),
        host: host(vcpus, memory),
        busy: false,
        draining: false,
        may_emulate: true,
        endpoints: BTreeSet::new(),
    }
}

pub(crate) fn host(vcpus: u32, memory_bytes: Bytes) -> HostFacts {
    HostFacts {
        cpu_model: "AMD EPYC".to_owned(),
        vcpus,
        memory_bytes,
        gpus: Vec::new(),
        kernel: "6.1".to_owned(),
        architecture: "x86_64".to_owned(),
    }
}

/// This machine: 2 vCPU and what is left of 8 GiB.
pub(crate) fn local() -> AgentView {
    agent("local", "local", 2, Bytes::mib(7800))
}

pub(crate) fn estimate(per_minute: f64, half_width: f64) -> Estimate {
    let rate = |value: f64| Rate::per_minute(value.max(0.0)).unwrap();
    Estimate {
        value: rate(per_minute),
        low: rate(per_minute - half_width),
        high: rate(per_minute + half_width),
    }
}

/// A valid measurement of this capacity, with a p95 of 45 ms.
pub(crate) fn measurement(per_minute: f64, half_width: f64) -> TrialResult {
    let capacity = estimate(per_minute, half_width);
    TrialResult {
        answer: Some(Answer {
            capacity,
            plateau: estimate(per_minute * 1.1, half_width),
            plateau_users: 2,
            limited_by: LimitedBy::Slo,
            confirmation: Confirmation::Held,
            answer_steps: vec![0],
            drift: None,
            precise: true,
            samples: 1000,
            out_of_time: false,
        }),
        stopped_by: None,
        latency: Some(latency(45_000)),
        utilization: Utilization {
            cpu_pct: Some(97.0),
            memory_pct: Some(12.5),
            ..Utilization::default()
        },
        idle: None,
        validity: Validity::from_findings(Vec::new()),
        host: host(2, Bytes::mib(7800)),
        limits_in_force: Vec::new(),
        configuration: Some(Configuration::cpu(NonZeroU32::MIN, NonZeroU32::MIN)),
        harness: HarnessFigures { cpu_share_pct: 0.8, ..HarnessFigures::default() },
        energy_j_per_inference: None,
        output_deviation: None,
        comparison_failure: None,
        remarks: Vec::new(),
        nan_outputs: 0,
        calls: 1000,
        failed_calls: 0,
        first_error: None,
        ready_after: Duration::from_secs(1),
        took: Duration::from_secs(50),
    }
}

pub(crate) fn latency(p95_us: u64) -> Latency {
    Latency {
        count: 1000,
        mean_us: 30_000.0,
        p50_us: 28_000,
        p90_us: 40_000,
        p95_us,
        p99_us: p95_us + 10_000,
        p999_us: p95_us + 20_000,
        max_us: p95_us + 30_000,
    }
}

/// A plan that was stored, trial by trial, and read again.
pub(crate) fn stored(plan: &Plan) -> Plan {
    let text = serde_json::to_string(plan).unwrap();
    let trials = plan.trials.iter().map(|trial| {
        let text = serde_json::to_string(trial).unwrap();
        serde_json::from_str(&text).unwrap()
    });
    Plan { trials: trials.collect(), ..serde_json::from_str(&text).unwrap() }
}

pub(crate) fn measured(measurement: TrialResult) -> TrialOutcome {
    TrialOutcome::Measured(Box::new(measurement))
}

pub(crate) fn with_verdict(mut measurement: TrialResult, severity: Verdict) -> TrialResult {
    let finding = Finding { name: FindingName::CpuSteal, value: 12.0, threshold: 1.0, severity };
    measurement.validity = Validity::from_findings(vec![finding]);
    measurement
}

pub(crate) fn failed(kind: FailureKind, message: &str) -> TrialOutcome {
    TrialOutcome::Failed(Failure::new(kind, message.to_owned(), String::new()))
}
