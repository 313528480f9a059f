//! Jobs as they may end, for the tests of reports and exports.

use std::{collections::BTreeMap, time::Duration};

use assay_measure::{
    hardware::{GpuFacts, GpuUtilization},
    job::JobSubject,
    search::Purpose,
    units::{Bytes, Rate},
};

use super::{
    Failure, FailureKind, InstanceTypeName, JobFacts, JobStatus, PlannedTrial, StepResult,
    Timestamp, TrialEnd, TrialFacts, TrialOutcome, Verdict,
};
use crate::{
    catalogue::Catalogue,
    fleet::AgentView,
    planner,
    prices::Prices,
    testing::{self, local, measured, measurement},
};

/// A completed job on this machine, one configuration per type; `outcomes` are those of its trials, in order.
pub(crate) fn facts(types: &[&str], outcomes: Vec<TrialOutcome>) -> JobFacts {
    facts_on(local(), types, outcomes)
}

/// The same on another machine.
pub(crate) fn facts_on(agent: AgentView, types: &[&str], outcomes: Vec<TrialOutcome>) -> JobFacts {
    let mut spec = testing::job(types);
    spec.sweep.add("workers=1").unwrap();
    let plan = planner::plan(&spec, Catalogue::builtin(), &[agent]).unwrap();
    let names: Vec<InstanceTypeName> =
        plan.candidates.iter().map(|each| each.instance_type.clone()).collect();
    let prices = Prices::builtin().freeze(&spec, &names);
    assert_eq!(plan.trials.len(), outcomes.len(), "one outcome per trial");
    let ended = |(trial, mut outcome): (&PlannedTrial, TrialOutcome)| {
        if let TrialOutcome::Measured(measurement) = &mut outcome {
            measurement.configuration =
                trial.subject.served().map(|served| served.configuration.clone());
        }
        let end = Some(TrialEnd::Reported { outcome });
        (trial.id.clone(), TrialFacts { end, steps: vec![step(1, 61_000)], repeats: 0 })
    };
    let trials = plan.trials.iter().zip(outcomes).map(ended).collect();
    let created_at: Timestamp = "2026-11-22T14:00:00Z".parse().unwrap();
    JobFacts {
        spec,
        status: JobStatus::Completed,
        created_at,
        finished_at: Some("2026-11-22T14:03:00Z".parse().unwrap()),
        plan,
        trials,
        prices,
        warnings: Vec::new(),
    }
}

/// A step of the staircase.
pub(crate) fn step(users: u32, p95_us: u64) -> StepResult {
    StepResult {
        users: Some(users),
        achieved: Rate::per_minute(1200.0).unwrap(),
        latency: Some(testing::latency(p95_us)),
        ..StepResult::unmeasured(0, Purpose::Staircase, Duration::from_millis(1500))
    }
}

/// One job per way of ending; the first has a ranking of several, a rejected and a failed candidate.
pub(crate) fn of_every_kind() -> Vec<JobFacts> {
    let invalid = || measured(testing::with_verdict(measurement(100.0, 1.0), Verdict::Invalid));
    let died = TrialOutcome::Failed(Failure::new(
        FailureKind::HostCrashed,
        "the model host died: signal 11".to_owned(),
        "forward | frame\n#1".to_owned(),
    ));
    let mut with_constraint =
        facts(&["own.a=1x1GiB@1"], vec![testing::failed(FailureKind::TooSlow, "too slow")]);
    with_constraint.spec.constraints = vec!["p95<=50ms".parse().unwrap()];
    let mut running = facts(&["own.a=1x1GiB@1"], vec![died.clone()]);
    running.status = JobStatus::Running;
    running.finished_at = None;
    running.trials.clear();
    vec![
        facts(
            &["ml.c5.large", "ml.m5.large", "ml.c6i.24xlarge", "own.a=1x1GiB@1"],
            vec![measured(with_a_gpu()), died],
        ),
        facts(&["own.a=1x1GiB@1"], vec![invalid()]),
        facts(&["own.a=1x1GiB"], vec![measured(measurement(100.0, 1.0))]),
        facts(&["ml.c6i.24xlarge"], Vec::new()),
        with_constraint,
        facts(&["own.a=1x1GiB@1"], vec![testing::failed(FailureKind::OutOfTime, "too late")]),
        running,
        of_an_endpoint(),
    ]
}

/// A running server, measured with nothing beside it.
pub(crate) fn of_an_endpoint() -> JobFacts {
    let mut spec = testing::job(&[]);
    spec.subject = JobSubject::Endpoint { endpoint: "mine".parse().unwrap() };
    let mut agent = local();
    agent.instance_type = "ml.c5.large".parse().unwrap();
    agent.endpoints.insert("mine".parse().unwrap());
    let plan = planner::plan(&spec, Catalogue::builtin(), &[agent]).unwrap();
    let names: Vec<InstanceTypeName> =
        plan.candidates.iter().map(|each| each.instance_type.clone()).collect();
    let prices = Prices::builtin().freeze(&spec, &names);
    let mut figures = measurement(600.0, 5.0);
    figures.configuration = None;
    let end = Some(TrialEnd::Reported { outcome: measured(figures) });
    let ended = TrialFacts { end, steps: vec![step(1, 61_000)], repeats: 0 };
    let trials = BTreeMap::from([(plan.trials[0].id.clone(), ended)]);
    JobFacts {
        spec,
        plan,
        prices,
        trials,
        ..facts(&["own.a=1x1GiB@1"], vec![measured(measurement(1.0, 0.1))])
    }
}

fn with_a_gpu() -> assay_measure::outcome::TrialResult {
    let mut figures = measurement(2655.4, 18.0);
    figures.host.gpus = vec![GpuFacts {
        name: "NVIDIA T4".to_owned(),
        memory_bytes: Bytes::gib(16),
        ..GpuFacts::default()
    }];
    figures.utilization.samples = 40;
    figures.utilization.per_cpu_pct = vec![97.0, 3.0];
    figures.utilization.memory_pressure_pct = Some(0.1);
    figures.utilization.host_context_switches_per_s = Some(1234.5);
    figures.utilization.gpus = vec![GpuUtilization {
        utilization_pct: Some(88.0),
        memory_used_bytes: Some(Bytes::gib(4)),
        sm_clock_mhz: Some(1410.0),
        energy_j: Some(700.0),
        throttle_reasons: vec!["sw_power_cap".to_owned()],
        other_processes: Some(1),
        mig: Some(false),
        ..GpuUtilization::default()
    }];
    figures.limits_in_force = assay_measure::hardware::LimitInForce::ALL.to_vec();
    figures
}
