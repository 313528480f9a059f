//! The race: who is measured in full, when, and in how much time.

use std::collections::BTreeMap;

use assay_measure::outcome::FailureKind;

use super::*;
use crate::{
    catalogue::Catalogue,
    planner,
    testing::{self, local, measured, measurement},
};

fn full_job(types: &[&str]) -> JobSpec {
    JobSpec { mode: Mode::Full, ..testing::job(types) }
}

fn planned(job: &JobSpec) -> Plan {
    planner::plan(job, Catalogue::builtin(), &[local()]).unwrap()
}

fn mode_of(plan: &Plan, id: &TrialId) -> Mode {
    match &plan.trial(id).unwrap().spec.work {
        Work::Search(search) => search.mode,
        Work::Fixed(_) | Work::Stepped(_) => panic!("a search"),
    }
}

/// Ends the trials of a plan in order and advances the race; says what was added.
fn advance(plan: &mut Plan, job: &JobSpec, outcomes: Vec<TrialOutcome>) -> Vec<TrialId> {
    let ended: BTreeMap<TrialId, TrialOutcome> =
        plan.trials.iter().map(|trial| trial.spec.id.clone()).zip(outcomes).collect();
    let time_left = Duration::from_secs(3600);
    plan.advance_race(job, &[local()], |id| ended.get(id).cloned(), time_left).unwrap_or_default()
}

#[test]
fn configurations_with_rivals_are_measured_quickly_first_and_others_in_full_at_once() {
    let mut job = full_job(&["ml.c5.large", "onprem.small=1x2GiB"]);
    job.soak = Some(Duration::from_secs(60));
    let plan = planned(&job);
    let modes: Vec<(&str, Mode)> = plan
        .candidates
        .iter()
        .map(|candidate| (candidate.instance_type.as_str(), mode_of(&plan, &candidate.trial)))
        .collect();
    assert_eq!(
        modes,
        [("ml.c5.large", Mode::Quick), ("ml.c5.large", Mode::Quick), ("onprem.small", Mode::Full)]
    );
    let soaks = plan.trials.iter().map(|trial| match &trial.spec.work {
        Work::Search(search) => search.soak.is_some(),
        Work::Fixed(_) | Work::Stepped(_) => false,
    });
    assert_eq!(soaks.collect::<Vec<_>>(), [false, false, true]);
    let quick = planned(&testing::job(&["ml.c5.large"]));
    assert!(quick.candidates.iter().all(|candidate| candidate.stage == Stage::Single));
}

#[test]
fn only_what_the_quick_intervals_leave_in_the_race_is_measured_in_full() {
    let job = full_job(&["ml.c5.large"]);
    let mut plan = planned(&job);
    let heats: Vec<TrialId> = plan.trials.iter().map(|trial| trial.spec.id.clone()).collect();
    assert_eq!(advance(&mut plan, &job, vec![measured(measurement(2000.0, 50.0))]), []);
    let both = || vec![measured(measurement(2000.0, 50.0)), measured(measurement(2200.0, 60.0))];
    let added = advance(&mut plan, &job, both());
    assert_eq!(added.len(), 1);
    assert_eq!(mode_of(&plan, &added[0]), Mode::Full);
    assert_eq!(plan.candidates[0].stage, Stage::Dominated);
    assert_eq!(plan.candidates[0].trial, heats[0]);
    assert_eq!(plan.candidates[1].stage, Stage::Final { heat: heats[1].clone() });
    assert_eq!(plan.candidates[1].trial, added[0]);
    assert_eq!(plan.candidates_of(&heats[1]).count(), 1, "the heat still says whose it was");
    assert_eq!(advance(&mut plan, &job, both()), [], "each type is decided once");
    let Work::Search(search) = &plan.trial(&added[0]).unwrap().spec.work else { panic!() };
    assert_eq!(search.max_duration, Duration::from_secs(240));
}

#[test]
fn intervals_that_overlap_leave_both_in_the_race() {
    let job = full_job(&["ml.c5.large"]);
    let mut plan = planned(&job);
    let close = vec![measured(measurement(2000.0, 50.0)), measured(measurement(2090.0, 60.0))];
    assert_eq!(advance(&mut plan, &job, close).len(), 2);
}

#[test]
fn under_goals_a_lower_latency_keeps_a_configuration_in_the_race() {
    let mut job = full_job(&["ml.c5.large"]);
    job.goals = Some("cost=low,latency=high".parse().unwrap());
    let fast = |p95_us| {
        let mut figures = measurement(1000.0, 20.0);
        figures.latency = testing::latency(p95_us);
        measured(figures)
    };
    let rival = || measured(measurement(2000.0, 20.0));
    let mut plan = planned(&job);
    assert_eq!(advance(&mut plan, &job, vec![fast(30_000), rival()]).len(), 2);
    let mut plan = planned(&job);
    assert_eq!(advance(&mut plan, &job, vec![fast(60_000), rival()]).len(), 1);
}

#[test]
fn failures_are_out_and_figures_that_cannot_be_believed_decide_nothing() {
    let job = full_job(&["ml.c5.large"]);
    let failed = || testing::failed(FailureKind::HostCrashed, "x");
    let mut plan = planned(&job);
    assert_eq!(
        advance(&mut plan, &job, vec![failed(), measured(measurement(2000.0, 50.0))]).len(),
        1
    );
    assert_eq!(plan.candidates[0].stage, Stage::Dominated);
    let mut plan = planned(&job);
    assert_eq!(advance(&mut plan, &job, vec![failed(), failed()]), []);
    let unbelievable =
        || measured(testing::with_verdict(measurement(9000.0, 50.0), Verdict::Invalid));
    let mut plan = planned(&job);
    let outcomes = vec![unbelievable(), measured(measurement(2000.0, 50.0))];
    assert_eq!(advance(&mut plan, &job, outcomes).len(), 2);
}

#[test]
fn types_that_share_a_quick_trial_share_the_full_one() {
    let job = full_job(&["ml.c5.large", "ml.m5.large"]);
    let mut plan = planned(&job);
    let outcomes = vec![measured(measurement(2000.0, 50.0)), measured(measurement(2200.0, 60.0))];
    let added = advance(&mut plan, &job, outcomes);
    assert_eq!(added.len(), 1);
    assert_eq!(plan.candidates_of(&added[0]).count(), 2);
}
