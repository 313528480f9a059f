//! Measurements whose figures are known because nobody measured them.

use std::{num::NonZeroU32, time::Duration};

use assay_measure::{
    configuration::Configuration,
    hardware::{HostFacts, Utilization},
    latency::Latency,
    outcome::{HarnessFigures, StepResult, TrialResult},
    search::{Answer, Confirmation, Estimate, LimitedBy, Purpose},
    units::{Bytes, Rate},
    validity::Validity,
};

/// The 95th percentile of every step and trial in microseconds.
pub const P95_US: u64 = 27_000;

/// How long every step lasts.
const STEP: Duration = Duration::from_millis(1500);

pub fn host() -> HostFacts {
    HostFacts {
        cpu_model: "test".to_owned(),
        vcpus: 4,
        memory_bytes: Bytes::gib(8),
        architecture: "x86_64".to_owned(),
        ..HostFacts::default()
    }
}

fn rate(per_second: f64) -> Rate {
    Rate::per_second(per_second).expect("a known rate is positive")
}

/// A step of `index + 1` users at so many requests per second.
pub fn step(index: u32, per_second: f64, utilization: Utilization) -> StepResult {
    StepResult {
        users: Some(index + 1),
        started: STEP * index,
        achieved: rate(per_second),
        latency: Some(latency()),
        utilization,
        ..StepResult::unmeasured(index, Purpose::Staircase, STEP)
    }
}

/// A search that found so many requests per second, give or take a fortieth; nothing disturbed it.
pub fn measured(per_second: f64, calls: u64) -> TrialResult {
    let capacity = Estimate {
        value: rate(per_second),
        low: rate(per_second * 0.975),
        high: rate(per_second * 1.025),
    };
    TrialResult {
        answer: Some(Answer {
            capacity,
            plateau: capacity,
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
        calls,
        failed_calls: 0,
        first_error: None,
        ready_after: Duration::from_secs(1),
        took: Duration::from_secs(30),
    }
}

pub fn latency() -> Latency {
    Latency {
        count: 60,
        mean_us: 25_000.5,
        p50_us: 25_000,
        p90_us: 26_000,
        p95_us: P95_US,
        p99_us: 28_000,
        p999_us: 29_000,
        max_us: 30_000,
    }
}
