//! What is planned, shared, rejected and refused.

use assay_measure::{
    environment::EnvironmentRanges,
    hardware::GpuFacts,
    job::{JobSpec, Sweep},
    load_profile::LoadProfile,
    schedule::{Arrivals, Load, Phase},
    search::Mode,
    stepped_load::{SteppedLoad, StoppingConditions},
    units::{Bytes, Rate},
};

use super::*;
use crate::testing::{self, local};

fn planned(job: &JobSpec, fleet: &[AgentView]) -> Plan {
    plan(job, Catalogue::builtin(), fleet).unwrap()
}

fn reason(plan: &Plan) -> &str {
    &plan.rejections[0].reason
}

fn search_of(trial: &PlannedTrial) -> &SearchPlan {
    trial.search.as_ref().unwrap()
}

#[test]
fn emulated_types_of_the_same_shape_share_one_trial_per_configuration() {
    let plan = planned(&testing::job(&["ml.c5.large", "ml.m5.large"]), &[local()]);
    assert_eq!((plan.candidates.len(), plan.trials.len()), (4, 2));
    assert!(plan.candidates.iter().all(|candidate| candidate.emulated));
    assert_eq!(plan.candidates[0].trial, plan.candidates[2].trial);
    let first = &plan.trials[0];
    assert_eq!((first.id.as_str(), first.instance_type.as_str()), ("demo/1", "ml.c5.large"));
    // ml.c5.large has 4 GiB, ml.m5.large has 8 GiB: the smaller one is in force.
    assert_eq!(first.subject.emulated(), Some(Shape { vcpus: 2, memory_bytes: Bytes::gib(4) }));
    let plan = planned(&testing::job(&["ml.m5.large", "ml.c5.large"]), &[local()]);
    assert_eq!(
        plan.trials[0].subject.emulated(),
        Some(Shape { vcpus: 2, memory_bytes: Bytes::gib(4) })
    );
}

#[test]
fn types_with_other_processors_do_not_share_a_trial() {
    let plan = planned(&testing::job(&["onprem.small=1x2GiB@0.05", "ml.c5.large"]), &[local()]);
    assert_eq!((plan.candidates.len(), plan.trials.len()), (3, 3));
    assert_eq!(
        plan.trials[0].subject.emulated(),
        Some(Shape { vcpus: 1, memory_bytes: Bytes::gib(2) })
    );
}

#[test]
fn a_shared_trial_that_runs_out_of_memory_is_run_again_for_the_larger_types() {
    let mut plan =
        planned(&testing::job(&["ml.c5.large", "ml.m5.large", "own.large=2x8GiB"]), &[local()]);
    let trials = plan.trials.len();
    let first = plan.trials[0].id.clone();
    let exhausted = testing::failed(FailureKind::OutOfMemory, "used 4.1 GiB");
    assert_eq!(plan.after_outcome(&first, &testing::failed(FailureKind::HostCrashed, "x")), []);
    let added = plan.after_outcome(&first, &exhausted);
    assert_eq!(added, ["demo/3".parse().unwrap()]);
    assert_eq!(plan.trials.len(), trials + 1);
    let again = plan.trial(&added[0]).unwrap();
    assert_eq!(again.subject.emulated(), Some(Shape { vcpus: 2, memory_bytes: Bytes::gib(8) }));
    assert_eq!(again.instance_type.as_str(), "ml.m5.large");
    let moved: Vec<&str> =
        plan.candidates_of(&added[0]).map(|member| member.instance_type.as_str()).collect();
    assert_eq!(moved, ["ml.m5.large", "own.large"]);
    assert_eq!(plan.candidates_of(&first).count(), 1);
    assert_eq!(plan.after_outcome(&first, &exhausted), []);
    assert_eq!(plan.after_outcome(&added[0], &exhausted), []);
}

#[test]
fn a_type_larger_than_this_machine_is_rejected_with_the_figures() {
    let plan = planned(&testing::job(&["ml.c6i.24xlarge", "ml.c5.large"]), &[local()]);
    assert_eq!(
        reason(&plan),
        "larger than the machine that would emulate it: needs 96 vCPU, this machine has 2"
    );
    assert_eq!(plan.candidates.len(), 2);
    let plan = planned(&testing::job(&["ml.r5.large"]), &[local()]);
    assert!(
        reason(&plan).ends_with("needs 16 GiB of memory, this machine has 7.6 GiB"),
        "{}",
        reason(&plan)
    );
    assert!(plan.candidates.is_empty());
}

#[test]
fn an_unknown_instance_type_is_refused_with_what_was_meant() {
    let job = testing::job(&["ml.c5.large", "ml.m5.lrage"]);
    let error = plan(&job, Catalogue::builtin(), &[local()]).unwrap_err();
    assert_eq!(error.to_string(), r#"unknown instance type "ml.m5.lrage""#);
    assert_eq!(error.hint(), "did you mean ml.m5.large?");
    assert!(check_instance_types(&job, Catalogue::builtin(), &[]).is_err());
}

#[test]
fn an_own_type_is_known_by_its_shape_or_by_an_agent_of_it() {
    assert!(plan(&testing::job(&["onprem.a"]), Catalogue::builtin(), &[local()]).is_err());
    assert_eq!(planned(&testing::job(&["onprem.a=2x4GiB"]), &[local()]).trials.len(), 2);
    let own = testing::agent("own", "onprem.a", 4, Bytes::gib(8));
    let plan = planned(&testing::job(&["onprem.a"]), &[own]);
    assert!(plan.trials.iter().all(|trial| trial.subject.emulated().is_none()));
}

#[test]
fn an_agent_of_exactly_the_type_is_used_natively() {
    let real = testing::agent("real", "ml.c5.large", 2, Bytes::mib(3700));
    let plan = planned(&testing::job(&["ml.c5.large", "ml.m5.large"]), &[local(), real]);
    let placements: Vec<&Placement> = plan.trials.iter().map(|trial| &trial.placement).collect();
    let here = Placement::Emulated(local().fingerprint);
    let there = Placement::Native("ml.c5.large".parse().unwrap());
    assert_eq!(placements, [&there, &there, &here, &here]);
    assert!(!plan.candidates[0].emulated && plan.candidates[2].emulated);
}

#[test]
fn a_gpu_cannot_be_emulated_without_that_gpu() {
    let big = |gpus: Vec<GpuFacts>| {
        let mut agent = testing::agent("big", "local", 64, Bytes::gib(256));
        agent.host.gpus = gpus;
        agent
    };
    let gpu = |name: &str| GpuFacts {
        name: name.to_owned(),
        memory_bytes: Bytes::gib(16),
        ..GpuFacts::default()
    };
    let job = testing::job(&["ml.g4dn.xlarge"]);
    let plan = planned(&job, &[big(Vec::new())]);
    assert_eq!(
        reason(&plan),
        "an accelerator cannot be emulated: needs 1 × NVIDIA T4, this machine has no GPU"
    );
    let plan = planned(&job, &[big(vec![gpu("NVIDIA H200")])]);
    assert!(reason(&plan).ends_with("this machine has 1 × NVIDIA H200"));
    let plan = planned(&job, &[big(vec![gpu("Tesla T4")])]);
    assert_eq!(plan.rejections, []);
    let plan = planned(&testing::job(&["ml.inf2.xlarge"]), &[big(vec![gpu("NVIDIA H200")])]);
    assert!(reason(&plan).contains("AWS Inferentia2"));
}

#[test]
fn without_types_everything_the_fleet_offers_is_measured_natively() {
    let fleet = [testing::agent("b", "ml.m5.large", 2, Bytes::gib(8)), local()];
    let plan = planned(&testing::job(&[]), &fleet);
    let types: Vec<&str> =
        plan.candidates.iter().map(|candidate| candidate.instance_type.as_str()).collect();
    assert_eq!(types, ["ml.m5.large", "ml.m5.large", "local", "local"]);
    assert!(plan.candidates.iter().all(|candidate| !candidate.emulated));
}

#[test]
fn nothing_to_measure_on_is_told_apart_from_a_bad_request() {
    let mut job = testing::job(&["ml.c5.large"]);
    let error = plan(&job, Catalogue::builtin(), &[]).unwrap_err();
    assert_eq!(error, PlanError::NoAgents);
    job.emulate = false;
    let waiting = planned(&job, &[]);
    assert_eq!(
        waiting.warnings,
        ["no agent of type ml.c5.large is connected; its trials wait for one"]
    );
    assert_eq!(waiting.trials.len(), 2);
    job.instance_types.clear();
    assert_eq!(plan(&job, Catalogue::builtin(), &[]).unwrap_err(), PlanError::NoAgents);
}

#[test]
fn a_draining_agent_offers_nothing() {
    let mut agent = local();
    agent.draining = true;
    let error = plan(&testing::job(&[]), Catalogue::builtin(), &[agent]).unwrap_err();
    assert_eq!(error, PlanError::NoAgents);
}

#[test]
fn a_type_whose_shape_nobody_knows_is_rejected_with_the_way_out() {
    let plan = planned(&testing::job(&["ml.dl1.24xlarge"]), &[local()]);
    assert!(
        reason(&plan).starts_with("its vCPU and memory are not known; give its shape"),
        "{}",
        reason(&plan)
    );
}

#[test]
fn the_same_type_twice_is_planned_once_and_a_huge_sweep_is_refused() {
    let plan_twice = planned(&testing::job(&["ml.c5.large", "ml.c5.large"]), &[local()]);
    assert_eq!(plan_twice.candidates.len(), 2);
    let mut job = testing::job(&["ml.c5.large"]);
    job.sweep.max_batch_delay_us = (0..1000).collect();
    let error = plan(&job, Catalogue::builtin(), &[local()]).unwrap_err();
    assert_eq!(error, PlanError::TooMany { count: 8000 });
}

#[test]
fn every_candidate_gets_the_same_arrivals_and_an_equal_share_of_the_time() {
    let mut job = testing::job(&["ml.c5.large", "onprem.small=1x2GiB"]);
    job.constraints = vec!["p95<=50ms".parse().unwrap()];
    let plan = planned(&job, &[local()]);
    for trial in &plan.trials {
        let search = search_of(trial);
        assert_eq!((search.seed, search.max_duration), (7, Duration::from_secs(75)));
        assert_eq!(search.constraints, job.constraints);
        assert_eq!(trial.spec(&job).request_timeout, Duration::from_secs(5));
    }
    assert!(plan.warnings.is_empty(), "{:?}", plan.warnings);
    assert_eq!(plan.expected(&job), Duration::from_secs(3 * 65));
    job.max_duration = Duration::from_secs(150);
    assert_eq!(
        search_of(&planned(&job, &[local()]).trials[0]).max_duration,
        Duration::from_secs(40)
    );
    job.mode = Mode::Full;
    job.soak = Some(Duration::from_secs(60));
    let hurried = planned(&job, &[local()]);
    // Two configurations of ml.c5.large race each other quickly first; onprem.small has only one.
    let times = hurried.trials.iter().map(|trial| search_of(trial).max_duration.as_secs());
    assert_eq!(times.collect::<Vec<_>>(), [20, 20, 45 + 60]);
    assert!(hurried.warnings[0].contains("the last may not end"), "{:?}", hurried.warnings);
}

#[test]
fn a_full_job_is_expected_to_take_a_full_trial_per_type_after_its_quick_ones() {
    let mut job = testing::job(&["ml.c5.large", "onprem.small=1x2GiB"]);
    job.mode = Mode::Full;
    // Two quick trials race for ml.c5.large, and one of them is followed by a full one.
    let plan = planned(&job, &[local()]);
    assert_eq!(plan.expected(&job), Duration::from_secs(2 * 65 + 160 + 160));
    // Both types are the same shape, so they share their trials.
    let shared = testing::job(&["ml.c5.large", "onprem.same=2x4GiB"]);
    let shared = JobSpec { mode: Mode::Full, ..shared };
    assert_eq!(planned(&shared, &[local()]).expected(&shared), Duration::from_secs(2 * 65 + 160));
    job.max_duration = Duration::from_secs(300);
    assert_eq!(planned(&job, &[local()]).expected(&job), job.max_duration, "it ends there");
}

#[test]
fn machines_side_by_side_need_not_share_the_time() {
    let mut job = testing::job(&["ml.c5.large", "ml.m5.large"]);
    job.max_duration = Duration::from_secs(180);
    let fleet = [
        testing::agent("a", "ml.c5.large", 2, Bytes::gib(4)),
        testing::agent("b", "ml.m5.large", 2, Bytes::gib(8)),
    ];
    let plan = planned(&job, &fleet);
    assert_eq!(
        (plan.trials.len(), search_of(&plan.trials[0]).max_duration),
        (4, Duration::from_secs(75))
    );
}

#[test]
fn a_fixed_load_takes_the_place_of_the_search() {
    let mut job = testing::job(&["onprem.small=1x2GiB"]);
    let load =
        Load::Open { rate: Rate::per_second(5.0).unwrap(), arrivals: Arrivals::Poisson, seed: 1 };
    let phases = vec![Phase { load, duration: Duration::from_secs(20) }];
    job.load = Some(LoadProfile::Phases(phases.clone()));
    let plan = planned(&job, &[local()]);
    assert_eq!(plan.trials[0].spec(&job).work, Work::Load(LoadProfile::Phases(phases)));
    assert_eq!(plan.expected(&job), Duration::from_secs(30));
}

#[test]
fn an_arm_type_on_an_intel_machine_is_marked() {
    let plan = planned(&testing::job(&["ml.c6g.large", "ml.c5.large"]), &[local()]);
    let foreign: Vec<bool> =
        plan.candidates.iter().map(|candidate| candidate.foreign_architecture).collect();
    assert_eq!(foreign, [true, true, false, false]);
}

#[test]
fn settings_that_do_not_fit_are_rejected_and_oversubscription_that_was_asked_for_is_warned_of() {
    let mut job = testing::job(&["ml.c5.large"]);
    job.sweep.add("workers=1,4").unwrap();
    let plan = planned(&job, &[local()]);
    assert_eq!(reason(&plan), "needs 4 threads, the machine has 2 vCPU");
    assert!(plan.rejections[0].configuration.is_some());
    job.sweep.add("intra-op=1").unwrap();
    let plan = planned(&job, &[local()]);
    assert_eq!(plan.rejections, []);
    assert_eq!(
        plan.warnings,
        ["ml.c5.large workers=4 intra-op=1: more threads than the 2 vCPU, as asked"]
    );
}

#[test]
fn a_plan_survives_being_stored() {
    let plan = planned(&testing::job(&["ml.c5.large", "ml.c6i.24xlarge"]), &[local()]);
    assert_eq!(testing::stored(&plan), plan);
}

fn environment(pairs: &[(&str, &[&str])]) -> EnvironmentRanges {
    let values = |values: &[&str]| values.iter().map(|value| (*value).to_owned()).collect();
    let pairs = pairs.iter().map(|(name, list)| ((*name).to_owned(), values(list)));
    EnvironmentRanges::new(pairs.collect()).unwrap()
}

#[test]
fn every_type_is_tried_with_the_environments_given_for_it() {
    let mut job = testing::job(&["ml.c5.large", "ml.c5.large", "own.a=1x1GiB"]);
    job.sweep = Sweep::default();
    job.instance_types[0].environment = environment(&[("OMP_NUM_THREADS", &["1", "2"])]);
    job.instance_types[1].environment = environment(&[("KMP_BLOCKTIME", &["0"])]);
    job.instance_types[2].environment = environment(&[("KMP_BLOCKTIME", &["0"])]);
    let planned = planned(&job, &[local()]);
    let shown: Vec<String> = planned
        .candidates
        .iter()
        .map(|each| format!("{} {}", each.instance_type, each.serving))
        .collect();
    assert_eq!(
        shown,
        [
            "ml.c5.large workers=2 intra-op=1",
            "ml.c5.large workers=1 intra-op=2",
            "ml.c5.large workers=1 intra-op=2 KMP_BLOCKTIME=0",
            "own.a workers=1 intra-op=1 KMP_BLOCKTIME=0"
        ]
    );
    let first = &planned.trials[0].subject.served().unwrap().configuration;
    assert_eq!(first.environment["OMP_NUM_THREADS"], "1");
    assert_eq!(planned.trials.len(), 4);
}

#[test]
fn an_environment_listed_twice_is_tried_once_also_on_a_machine_of_its_own() {
    let mut job = testing::job(&["local", "local"]);
    job.instance_types[0].environment = environment(&[("OMP_NUM_THREADS", &["1", "2"])]);
    job.instance_types[1].environment = environment(&[("OMP_NUM_THREADS", &["2"])]);
    let planned = planned(&job, &[local()]);
    assert_eq!((planned.candidates.len(), planned.trials.len()), (2, 2));
}

#[test]
fn an_environment_against_the_sweep_is_refused_with_the_type() {
    let mut job = testing::job(&["ml.c5.large"]);
    job.sweep.add("workers=1").unwrap();
    job.instance_types[0].environment = environment(&[("TS_DEFAULT_WORKERS_PER_MODEL", &["2"])]);
    let error = plan(&job, Catalogue::builtin(), &[local()]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the environment of ml.c5.large cannot be tried: an environment variable and the sweep both set workers"
    );
    assert!(error.hint().contains("once"));
}

#[test]
fn stopping_conditions_make_of_a_fixed_load_one_that_answers_within_the_constraints() {
    let mut job = testing::job(&["ml.c5.large"]);
    job.constraints = vec!["p95<=50ms".parse().unwrap()];
    let users = Phase { load: Load::Closed { users: 2 }, duration: Duration::from_secs(60) };
    let load = SteppedLoad::new(vec![users], StoppingConditions::default()).unwrap();
    job.load = Some(LoadProfile::Stepped(load));
    let planned = planned(&job, &[local()]);
    let Work::Load(LoadProfile::Stepped(load)) = planned.trials[0].spec(&job).work else {
        panic!("not a stepped load")
    };
    assert_eq!(load.stopping().latency, job.constraints);
    assert!(planned.trials[0].expected >= Duration::from_secs(60));
}

#[test]
fn a_model_that_is_given_longer_to_become_ready_may_be_searched_for_all_of_its_share() {
    let longest = |ready_timeout| {
        let job = JobSpec { ready_timeout, mode: Mode::Quick, ..testing::job(&["ml.c5.large"]) };
        let plan = planned(&job, &[local()]);
        (plan.trials.len(), search_of(&plan.trials[0]).max_duration)
    };
    assert_eq!(longest(None).1, Duration::from_secs(75));
    assert_eq!(longest(Some(Duration::from_secs(30))), longest(None), "less than usual is no sign");
    let (trials, slow) = longest(Some(Duration::from_secs(300)));
    let share = Duration::from_secs(1800) / u32::try_from(trials).unwrap();
    assert_eq!(slow, share - Duration::from_secs(310));
}
