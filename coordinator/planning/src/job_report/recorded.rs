//! Jobs of every kind with the `assay.job/1` documents that they gave once. A document never changes but
//! for additions, which programs that read it must bear.
//!
//! To record a new job, or an addition, run the test with `INSTA_UPDATE=always` and read the difference.

use std::{collections::BTreeMap, time::Duration};

use assay_measure::{
    ids::TrialId,
    job::{Demand, Goals, JobSpec},
    load_profile::LoadProfile,
    outcome::{OutputDeviation, StepResult, TrialResult},
    schedule::fixed_load::FixedLoad,
    search::{LimitedBy, Mode, Purpose},
    stepped_load::StopCause,
    units::{Bytes, Rate},
    validity::{Finding, FindingName, Validity, Verdict},
};

use super::{
    FailureKind, InstanceTypeName, JobFacts, JobStatus, Overrides, PlannedTrial, TrialEnd,
    TrialFacts, TrialOutcome, build,
    samples::{facts, facts_on, of_an_endpoint, of_every_kind, step},
};
use crate::{
    catalogue::Catalogue,
    planner::{self, EndedTrial},
    prices::Prices,
    testing::{self, failed, local, measured, measurement},
};

/// One shape each, so that every type has a trial of its own.
const TYPES: &[&str] = &["own.small=1x1GiB@0.02", "own.other=2x2GiB@0.05", "own.free=4x2GiB"];

fn of_three(outcomes: Vec<TrialOutcome>) -> JobFacts {
    facts_on(testing::agent("large", "local", 8, Bytes::gib(16)), TYPES, outcomes)
}

fn recorded() -> Vec<(&'static str, JobFacts)> {
    vec![
        ("emulated", of_every_kind().swap_remove(0)),
        ("goals", with_goals()),
        ("demand", with_demand()),
        ("rejected", rejected()),
        ("failed", every_failure()),
        ("endpoint", of_an_endpoint()),
        ("fixed-load", of_a_fixed_load()),
        ("stopped", stopped()),
        ("running", running()),
        ("full", full()),
        ("impossible", facts(&["ml.c6i.24xlarge"], Vec::new())),
        ("disturbed", disturbed()),
    ]
}

/// Three capacities; the second costs more and answers faster.
fn three() -> Vec<TrialOutcome> {
    let mut fast = measurement(2100.0, 31.5);
    fast.latency = Some(testing::latency(21_000));
    vec![measured(measurement(900.25, 12.0)), measured(fast), measured(measurement(1100.0, 40.0))]
}

fn with_goals() -> JobFacts {
    let mut job = of_three(three());
    job.spec.goals = Some("cost=low,latency=high,throughput=moderate".parse::<Goals>().unwrap());
    job
}

fn with_demand() -> JobFacts {
    let mut job = of_three(three());
    job.spec.demand = Some(Demand { rate: Rate::per_minute(12_345.0).unwrap(), headroom_pct: 70 });
    job
}

/// One that is too slow for one request at a time, one that missed in the end, and one that holds.
fn rejected() -> JobFacts {
    let mut missed = measurement(700.0, 9.0);
    missed.latency = Some(testing::latency(61_500));
    let outcomes = vec![
        failed(FailureKind::TooSlow, "even one request at a time misses p95<=50ms"),
        measured(missed),
        measured(measurement(650.0, 7.0)),
    ];
    let mut job = of_three(outcomes);
    job.spec.constraints = vec!["p95<=50ms".parse().unwrap(), "p99<=2s".parse().unwrap()];
    for (trial, facts) in job.trials.values_mut().enumerate() {
        let mut loaded = open_step(1, 700.0 + trial as f64, 64_000);
        loaded.missed_calls = Some(17);
        loaded.accepted = Some(trial != 1);
        facts.steps.push(loaded);
    }
    job
}

fn every_failure() -> JobFacts {
    let disturbed = testing::with_verdict(measurement(100.0, 1.0), Verdict::Invalid);
    let outcomes = vec![
        measured(disturbed),
        failed(FailureKind::HostCrashed, "the model host died: signal 11"),
        failed(FailureKind::OutOfTime, "no answer within the time allowed"),
    ];
    let mut job = of_three(outcomes);
    let ends = job.trials.values_mut();
    for (number, facts) in (0..).zip(ends) {
        facts.repeats = number;
        if let Some(TrialEnd::Reported { outcome: TrialOutcome::Failed(failure) }) = &mut facts.end
        {
            failure.detail = "Traceback\n  forward".to_owned();
            failure.took = Duration::from_secs(9);
        }
    }
    job.warnings.push("2 of 3 candidates could not be measured".to_owned());
    job
}

/// Steps of users, the last of which answers less; no search, so no interval.
fn of_a_fixed_load() -> JobFacts {
    let mut figures = measurement(600.0, 1.0);
    figures.answer = None;
    figures.stopped_by = Some(StopCause::FlatInvocations);
    figures.remarks = vec!["2 files of the payload were passed over: .DS_Store, ._a".to_owned()];
    figures.failed_calls = 3;
    figures.first_error = Some("status 500: overloaded".to_owned());
    let mut job = facts(&["own.a=1x1GiB@0.02"], vec![measured(figures)]);
    let stairs: FixedLoad = "stairs:3x2/30s".parse().unwrap();
    job.spec.load = Some(LoadProfile::Phases(stairs.phases(Duration::from_secs(30))));
    for facts in job.trials.values_mut() {
        let level = |index: u32, users: u32, per_minute: f64| StepResult {
            index,
            purpose: Purpose::Fixed,
            achieved: Rate::per_minute(per_minute).unwrap(),
            failed_calls: u64::from(index),
            duration: Duration::from_micros(10_000_123),
            ..step(users, 40_000 + u64::from(users))
        };
        facts.steps = vec![level(0, 2, 400.0), level(1, 4, 612.345_678), level(2, 6, 590.0)];
    }
    job
}

fn stopped() -> JobFacts {
    let mut job = of_three(three());
    job.status = JobStatus::Stopped;
    let mut trials = job.trials.values_mut();
    let mut end = |end| trials.next().unwrap().end = Some(end);
    end(TrialEnd::Reported { outcome: TrialOutcome::Cancelled { by: "the user".to_owned() } });
    end(TrialEnd::Lost { losses: 3, last_agent: "spot-7".parse().unwrap() });
    end(TrialEnd::NotRun { by: "the user".to_owned() });
    job
}

fn running() -> JobFacts {
    let mut job = of_three(three());
    job.status = JobStatus::Running;
    job.finished_at = None;
    let last = job.trials.keys().next_back().unwrap().clone();
    job.trials.insert(last, TrialFacts { end: None, steps: Vec::new(), repeats: 1 });
    job
}

/// A race: every candidate quickly first, some in full, one with another precision.
fn full() -> JobFacts {
    let mut spec: JobSpec = testing::job(&["own.a=1x1GiB@0.02", "own.b=2x4GiB@0.05"]);
    spec.mode = Mode::Full;
    spec.sweep.add("workers=1").unwrap();
    spec.sweep.add("dtype=float32,bfloat16").unwrap();
    spec.ready_timeout = Some(Duration::from_secs(90));
    let mut plan = planner::plan(&spec, Catalogue::builtin(), &[local()]).unwrap();
    let names: Vec<InstanceTypeName> =
        plan.candidates.iter().map(|each| each.instance_type.clone()).collect();
    let mut trials = BTreeMap::new();
    let quick = plan.trials.len();
    loop {
        for number in trials.len()..plan.trials.len() {
            let outcome = measured(racing(&plan.trials[number], number));
            let steps = vec![step(1, 30_000), open_step(1, 480.0, 44_000)];
            let end = Some(TrialEnd::Reported { outcome });
            trials.insert(plan.trials[number].id.clone(), TrialFacts { end, steps, repeats: 0 });
        }
        let ended = |trial: &TrialId| match trials.get(trial)?.end.clone()? {
            TrialEnd::Reported { outcome } => Some(EndedTrial { outcome, repeats: 0 }),
            TrialEnd::Lost { .. } | TrialEnd::NotRun { .. } => None,
        };
        let time_left = Duration::from_secs(3600);
        if plan.advance_race(&spec, &[local()], ended, time_left).is_none() {
            break;
        }
    }
    assert!(plan.trials.len() > quick, "some are measured in full");
    let prices = Prices::builtin().freeze(&spec, &names);
    JobFacts { plan, prices, trials, spec, ..facts(&["own.a=1x1GiB@1"], one()) }
}

fn racing(trial: &PlannedTrial, number: usize) -> TrialResult {
    let mut figures = measurement(500.0 + 37.5 * number as f64, 4.0 + number as f64);
    figures.configuration = trial.subject.served().map(|served| served.configuration.clone());
    figures.output_deviation =
        (number % 2 == 1).then_some(OutputDeviation { max: 0.031, mean: 0.0021 });
    figures.energy_j_per_inference = (number == 2).then_some(0.75);
    figures.answer.as_mut().unwrap().limited_by = LimitedBy::ALL[number % 4];
    figures
}

fn one() -> Vec<TrialOutcome> {
    vec![measured(measurement(1.0, 0.1))]
}

/// Suspect, by two findings; the machine told all that a machine may tell.
fn disturbed() -> JobFacts {
    let mut figures = measurement(800.0, 90.0);
    let finding =
        |name, value, threshold| Finding { name, value, threshold, severity: Verdict::Suspect };
    figures.validity = Validity::from_findings(vec![
        finding(FindingName::OtherLoad, 41.5, 10.0),
        finding(FindingName::IntervalTooWide, 11.25, 5.0),
    ]);
    let seen = &mut figures.utilization;
    seen.samples = 12;
    seen.steal_pct = Some(0.5);
    seen.other_cpu_pct = Some(41.5);
    seen.host_cpu_pct = Some(88.0);
    seen.cpu_mhz = Some(2900.0);
    seen.runnable_tasks = Some(2.5);
    seen.host_memory_bytes = Some(Bytes::mib(300));
    seen.machine_available_bytes = Some(Bytes::mib(5000));
    seen.swapped_pages_per_s = Some(0.0);
    seen.host_page_faults_per_s = Some(17.25);
    facts(&["ml.c5.large"], vec![measured(figures)])
}

fn open_step(index: u32, per_minute: f64, p95_us: u64) -> StepResult {
    StepResult {
        index,
        purpose: Purpose::Main,
        users: None,
        offered: Some(Rate::per_minute(per_minute).unwrap()),
        achieved: Rate::per_minute(per_minute - 0.5).unwrap(),
        duration: Duration::from_secs(20),
        ..step(1, p95_us)
    }
}

#[test]
fn the_documents_of_recorded_jobs_stay_as_they_were() {
    for (name, facts) in recorded() {
        let report = build(&facts, Overrides::default());
        insta::assert_snapshot!(name, serde_json::to_string_pretty(&report).unwrap());
    }
}
