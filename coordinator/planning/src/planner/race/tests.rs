//! The race: who is measured in full, when, and in how much time.

use std::collections::BTreeMap;

use assay_measure::{outcome::FailureKind, search::SearchPlan};

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

fn search_of<'a>(plan: &'a Plan, id: &TrialId) -> &'a SearchPlan {
    plan.trial(id).unwrap().search.as_ref().unwrap()
}

fn mode_of(plan: &Plan, id: &TrialId) -> Mode {
    search_of(plan, id).mode
}

/// Ends the trials of a plan in order and advances the race; says what was added.
fn advance(plan: &mut Plan, job: &JobSpec, outcomes: Vec<TrialOutcome>) -> Vec<TrialId> {
    advance_after_repeats(plan, job, outcomes, 0)
}

/// The same, the first trial having been measured again so often.
fn advance_after_repeats(
    plan: &mut Plan,
    job: &JobSpec,
    outcomes: Vec<TrialOutcome>,
    of_the_first: u32,
) -> Vec<TrialId> {
    let repeats = iter::once(of_the_first).chain(iter::repeat(0));
    let ended = outcomes.into_iter().zip(repeats);
    let ended = ended.map(|(outcome, repeats)| EndedTrial { outcome, repeats });
    let ended: BTreeMap<TrialId, EndedTrial> =
        plan.trials.iter().map(|trial| trial.id.clone()).zip(ended).collect();
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
    let searches = plan.trials.iter().map(|trial| {
        let search = search_of(&plan, &trial.id);
        (search.soak.is_some(), search.skip_thermal_check)
    });
    assert_eq!(searches.collect::<Vec<_>>(), [(false, true), (false, true), (true, false)]);
    let quick = planned(&testing::job(&["ml.c5.large"]));
    assert!(quick.candidates.iter().all(|candidate| candidate.stage == Stage::Single));
    assert!(!search_of(&quick, &quick.candidates[0].trial).skip_thermal_check);
}

#[test]
fn only_what_the_quick_intervals_leave_in_the_race_is_measured_in_full() {
    let job = full_job(&["ml.c5.large"]);
    let mut plan = planned(&job);
    let screenings: Vec<TrialId> = plan.trials.iter().map(|trial| trial.id.clone()).collect();
    assert_eq!(advance(&mut plan, &job, vec![measured(measurement(2000.0, 50.0))]), []);
    let both = || vec![measured(measurement(2000.0, 50.0)), measured(measurement(2200.0, 60.0))];
    let added = advance(&mut plan, &job, both());
    assert_eq!(added.len(), 1);
    assert_eq!(mode_of(&plan, &added[0]), Mode::Full);
    assert!(!search_of(&plan, &added[0]).skip_thermal_check);
    assert_eq!(plan.candidates[0].stage, Stage::Dominated);
    assert_eq!(plan.candidates[0].trial, screenings[0]);
    assert_eq!(plan.candidates[1].stage, Stage::Final { screening: screenings[1].clone() });
    assert_eq!(plan.candidates[1].trial, added[0]);
    assert_eq!(
        plan.candidates_of(&screenings[1]).count(),
        1,
        "the screening trial still says whose it was"
    );
    assert_eq!(advance(&mut plan, &job, both()), [], "each type is decided once");
    let search = plan.trial(&added[0]).unwrap().search.as_ref().unwrap();
    assert_eq!(search.max_duration, Duration::from_secs(240));
}

#[test]
fn the_full_trial_makes_up_for_quick_ones_measured_again_until_it_is_as_long_as_usual() {
    let job = full_job(&["ml.c5.large"]);
    for (repeats, seconds) in [(0, 240), (1, 190), (2, 150)] {
        let mut plan = planned(&job);
        let both = vec![measured(measurement(2000.0, 50.0)), measured(measurement(2200.0, 60.0))];
        let added = advance_after_repeats(&mut plan, &job, both, repeats);
        let given = search_of(&plan, &added[0]).max_duration;
        assert_eq!(given, Duration::from_secs(seconds), "after {repeats}");
    }
}

#[test]
fn full_trials_of_one_type_share_what_they_make_up_for() {
    let mut job = full_job(&["ml.c5.large"]);
    job.goals = Some("cost=low,latency=high".parse().unwrap());
    let mut faster = measurement(1000.0, 20.0);
    faster.latency = Some(testing::latency(30_000));
    let mut plan = planned(&job);
    let both = vec![measured(faster), measured(measurement(2000.0, 20.0))];
    let added = advance_after_repeats(&mut plan, &job, both, 1);
    let given = added.iter().map(|id| search_of(&plan, id).max_duration.as_secs());
    assert_eq!(given.collect::<Vec<_>>(), [215, 215]);
}

#[test]
fn of_a_tie_the_one_that_carries_most_is_measured_in_full() {
    let job = full_job(&["ml.c5.large"]);
    let mut plan = planned(&job);
    let close = || vec![measured(measurement(2000.0, 50.0)), measured(measurement(2090.0, 60.0))];
    let added = advance(&mut plan, &job, close());
    assert_eq!(added.len(), 1);
    assert_eq!(plan.candidates[1].trial, added[0]);
    assert_eq!(plan.candidates[0].stage, Stage::Screening, "the full figure decides on it");
    assert_eq!(advance(&mut plan, &job, close()), [], "while that runs");
    let held = [close(), vec![measured(measurement(1990.0, 20.0))]].concat();
    assert_eq!(advance(&mut plan, &job, held), []);
    assert_eq!(plan.candidates[0].stage, Stage::Dominated, "1950 to 2050 is no more than 1990");
}

#[test]
fn a_rival_above_the_full_figure_is_measured_in_full_too() {
    let job = full_job(&["ml.c5.large"]);
    for disappointing in [
        measured(measurement(1900.0, 20.0)),
        measured(testing::with_verdict(measurement(9000.0, 20.0), Verdict::Invalid)),
        testing::failed(FailureKind::HostCrashed, "x"),
    ] {
        let mut plan = planned(&job);
        let close = vec![measured(measurement(2000.0, 50.0)), measured(measurement(2090.0, 60.0))];
        assert_eq!(advance(&mut plan, &job, close.clone()).len(), 1);
        let ended = [close, vec![disappointing]].concat();
        let added = advance(&mut plan, &job, ended);
        assert_eq!(added.len(), 1, "1950 to 2050 is more than 1900");
        assert_eq!(plan.candidates[0].trial, added[0]);
    }
}

#[test]
fn under_goals_a_lower_latency_keeps_a_configuration_in_the_race() {
    let mut job = full_job(&["ml.c5.large"]);
    job.goals = Some("cost=low,latency=high".parse().unwrap());
    let fast = |p95_us| {
        let mut figures = measurement(1000.0, 20.0);
        figures.latency = Some(testing::latency(p95_us));
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
