//! A job of one candidate, measured on a simulated server: the coordinator's plan, the search that it asks for, what
//! an agent would report of it, and the document that is exported.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use assay_measure::{
    environment::BaseEnvironment,
    hardware::{HostFacts, Utilization},
    ids::Sha256,
    job::{JobSpec, JobStatus, JobSubject, ResourceLimits, Sweep},
    latency::{self, Latency},
    outcome::{HarnessFigures, StepResult, TrialOutcome, TrialResult},
    schedule::Load,
    search::{
        Answer, Mode, Next, Search, SearchPlan, StepObservation, StepPlan, Verdict as CallVerdict,
    },
    slo::Slo,
    trial::{ArtifactRef, Payload},
    units::{Bytes, Rate, as_micros},
    validity::{Evidence, Validity, Verdict, judge},
};
use assay_planning::{
    catalogue::Catalogue,
    compare::ComparedJob,
    fleet::AgentView,
    job_report::{self, JobFacts, Overrides, TrialFacts},
    planner::{self, PlannedTrial},
    prices::Prices,
    trial_state::TrialEnd,
};

use crate::simulated_server::{Server, ServerKind, drive_with};

/// A trial that cannot be believed is measured again, twice at most.
const MOST_REPEATS: u32 = 2;

/// What a server of that kind makes of a job, read back from its document.
pub(crate) fn measured(kind: &ServerKind, tells: bool, mode: Mode, seed: u64) -> ComparedJob {
    ComparedJob::read(&document(kind, tells, mode, seed)).expect("a document of a job")
}

/// The document; the server `tells` of its batches, or does not.
fn document(kind: &ServerKind, tells: bool, mode: Mode, seed: u64) -> String {
    let spec = job(kind, mode, seed);
    let fleet = [agent()];
    let plan = planner::plan(&spec, Catalogue::builtin(), &fleet).expect("a plan");
    let [trial] = plan.trials.as_slice() else { panic!("one candidate has one trial") };
    let server = |repeat: u32| {
        let seed = seed + (u64::from(repeat) << 32);
        if tells { Server::telling(kind.clone(), seed) } else { Server::new(kind.clone(), seed) }
    };
    let mut facts = perform(trial, server(0));
    while facts.repeats < MOST_REPEATS && !is_believable(&facts) {
        let repeats = facts.repeats + 1;
        facts = TrialFacts { repeats, ..perform(trial, server(repeats)) };
    }
    let types: Vec<_> = plan.candidates.iter().map(|each| each.instance_type.clone()).collect();
    let facts = JobFacts {
        status: JobStatus::Completed,
        created_at: "2026-11-22T14:00:00Z".parse().expect("a time"),
        finished_at: Some("2026-11-22T14:03:00Z".parse().expect("a time")),
        trials: BTreeMap::from([(trial.id.clone(), facts)]),
        prices: Prices::builtin().freeze(&spec, &types),
        warnings: Vec::new(),
        plan,
        spec,
    };
    let report = job_report::build(&facts, Overrides::default());
    serde_json::to_string(&report).expect("a report is written")
}

fn is_believable(facts: &TrialFacts) -> bool {
    match &facts.end {
        Some(TrialEnd::Reported { outcome: TrialOutcome::Measured(measurement) }) => {
            measurement.validity.verdict != Verdict::Invalid
        }
        Some(TrialEnd::Reported { .. } | TrialEnd::Lost { .. } | TrialEnd::NotRun { .. })
        | None => false,
    }
}

/// What the agent would report.
fn perform(trial: &PlannedTrial, server: Server) -> TrialFacts {
    let plan = trial.search.clone().expect("a search");
    let mut seen: Vec<StepObservation> = Vec::new();
    let finished = drive_with(Search::new(plan.clone()), server, |search, observation| {
        search.observe(observation).expect("the step is in flight");
        seen.push(observation.clone());
    });
    let answer = match finished.end {
        Next::Done(answer) => *answer,
        other @ (Next::Failed(_) | Next::Step(_) | Next::Wait) => panic!("it ended with {other:?}"),
    };
    let steps = finished.steps.iter().zip(&seen).map(|(step, seen)| result(step, seen, &plan));
    let steps: Vec<StepResult> = steps.collect();
    let took = Duration::from_secs_f64(finished.seconds);
    let result = trial_result(trial, &plan, answer, &seen, took);
    let outcome = TrialOutcome::Measured(Box::new(result));
    TrialFacts { end: Some(TrialEnd::Reported { outcome }), steps, repeats: 0 }
}

fn trial_result(
    trial: &PlannedTrial,
    plan: &SearchPlan,
    answer: Answer,
    seen: &[StepObservation],
    took: Duration,
) -> TrialResult {
    let at_answer = seen.iter().filter(|seen| answer.answer_steps.contains(&seen.index));
    let at_answer = latency_of(at_answer);
    let calls = seen.iter().map(|seen| seen.samples.len() as u64).sum();
    TrialResult {
        validity: believed(plan, &answer, at_answer),
        latency: at_answer,
        answer: Some(answer),
        stopped_by: None,
        utilization: Utilization::default(),
        idle: None,
        host: host(),
        limits_in_force: Vec::new(),
        configuration: trial.subject.served().map(|served| served.configuration.clone()),
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
        took,
    }
}

fn believed(plan: &SearchPlan, answer: &Answer, at_answer: Option<Latency>) -> Validity {
    judge(&Evidence {
        answer: Some(answer.clone()),
        mode: Some(plan.mode),
        constraints: plan.constraints.clone(),
        max_error_share: plan.max_error_share,
        calls: at_answer.map_or(0, |latency| latency.count),
        median_latency_us: at_answer.map(|latency| latency.p50_us as f64),
        ..Evidence::default()
    })
}

fn result(step: &StepPlan, seen: &StepObservation, plan: &SearchPlan) -> StepResult {
    assert_eq!(step.index, seen.index, "steps are observed in order");
    let answered = seen.samples.iter().filter(|one| one.verdict == CallVerdict::Answered).count();
    let elapsed = Duration::from_micros(seen.elapsed_us);
    let per_second = |calls: usize| {
        Rate::per_second(calls as f64 / elapsed.as_secs_f64()).expect("it lasted some time")
    };
    let (users, offered) = match &step.load {
        Load::Closed { users } => (Some(*users), None),
        Load::Open { rate, .. } => (None, Some(*rate)),
        Load::Replay { .. } => (None, Some(per_second(seen.samples.len()))),
    };
    let misses = |slo: &Slo| {
        let limit_us = as_micros(slo.limit());
        let late = seen.samples.iter().filter(|sample| sample.latency_us > limit_us);
        late.count() as u64
    };
    let missed = users.is_none().then(|| plan.constraints.iter().map(misses).max()).flatten();
    let allowed = |slo: &Slo| slo.miss_budget() * seen.samples.len() as f64;
    StepResult {
        users,
        offered,
        achieved: per_second(answered),
        started: Duration::from_micros(seen.started_us),
        latency: latency_of([seen]),
        missed_calls: missed,
        accepted: missed
            .map(|missed| plan.constraints.iter().all(|slo| missed as f64 <= allowed(slo))),
        ..StepResult::unmeasured(step.index, step.purpose, elapsed)
    }
}

/// Latency of all answered calls of some steps.
fn latency_of<'a>(seen: impl IntoIterator<Item = &'a StepObservation>) -> Option<Latency> {
    let mut histogram = latency::histogram();
    let samples = seen.into_iter().flat_map(|seen| &seen.samples);
    samples
        .filter(|sample| sample.verdict == CallVerdict::Answered)
        .for_each(|sample| histogram.saturating_record(sample.latency_us));
    Latency::of(&histogram)
}

fn job(kind: &ServerKind, mode: Mode, seed: u64) -> JobSpec {
    let artifact = ArtifactRef {
        name: "model.pt".to_owned(),
        sha256: Sha256::new("0".repeat(64)).expect("a checksum"),
        size_bytes: Bytes::mib(45),
    };
    let mut sweep = Sweep::default();
    sweep.add("workers=1").expect("a sweep");
    sweep.add("graph=plain").expect("a sweep");
    JobSpec {
        name: "repeated".parse().expect("a name"),
        subject: JobSubject::Model { model: artifact.clone() },
        payload: Payload {
            artifact,
            is_archive: false,
            content_type: "application/x-npy".to_owned(),
        },
        inputs: Vec::new(),
        environment: BaseEnvironment::default(),
        instance_types: vec!["ml.c5.large".parse().expect("a type")],
        emulate: false,
        sweep,
        constraints: vec![kind.constraint.parse().expect("a constraint")],
        goals: None,
        mode,
        seed,
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

fn agent() -> AgentView {
    AgentView {
        name: "simulated".parse().expect("a name"),
        instance_type: "ml.c5.large".parse().expect("a type"),
        fingerprint: "simulated-host".parse().expect("a fingerprint"),
        host: host(),
        busy: false,
        draining: false,
        may_emulate: false,
        endpoints: BTreeSet::new(),
    }
}

fn host() -> HostFacts {
    HostFacts {
        cpu_model: "simulated".to_owned(),
        vcpus: 2,
        memory_bytes: Bytes::gib(4),
        gpus: Vec::new(),
        kernel: "6.1".to_owned(),
        architecture: "x86_64".to_owned(),
    }
}
