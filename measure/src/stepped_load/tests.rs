//! When a stepped load stops, and which level it answers with.

use super::*;

fn closed(users: u32, seconds: f64) -> Phase {
    Phase { load: Load::Closed { users }, duration: Duration::from_secs_f64(seconds) }
}

fn load(phases: Vec<Phase>) -> SteppedLoad {
    SteppedLoad::new(phases, StoppingConditions::default()).unwrap()
}

/// Ten seconds of so many users at this throughput, each part of it alike.
fn level(index: u32, users: u32, per_second: f64, p95_us: u64) -> Level {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a small count, not negative"
    )]
    let answered = (per_second * 10.0) as u64;
    Level {
        steps: vec![index],
        users,
        answered,
        failed: 0,
        elapsed: Duration::from_secs(10),
        latency: Some(Latency {
            count: answered,
            mean_us: p95_us as f64 / 2.0,
            p50_us: p95_us / 2,
            p90_us: p95_us,
            p95_us,
            p99_us: p95_us * 2,
            p999_us: p95_us * 2,
            max_us: p95_us * 2,
        }),
        throughputs: [0.99, 1.01].repeat(5).into_iter().map(|part| part * per_second).collect(),
    }
}

/// Hands in levels of 1, 2, 3 … users with these throughputs; how it stopped, and after how many.
fn watched(stopping: StoppingConditions, throughputs: &[f64]) -> (LevelWatch, StopCause, usize) {
    let mut watch = LevelWatch::new(stopping);
    for (index, throughput) in (0u32..).zip(throughputs) {
        let p95_us = 10_000 * u64::from(index + 1);
        if let Some(cause) = watch.observe(level(index, index + 1, *throughput, p95_us)) {
            return (watch, cause, index as usize + 1);
        }
    }
    (watch, StopCause::LoadEnded, throughputs.len())
}

#[test]
fn the_load_ends_when_two_levels_bring_no_more_and_answers_with_the_start_of_the_plateau() {
    let (watch, cause, levels) =
        watched(StoppingConditions::default(), &[50.0, 100.0, 130.0, 132.0, 133.0, 134.0]);
    assert_eq!((cause, levels), (StopCause::FlatInvocations, 5));
    let answer = watch.answer(cause).unwrap();
    assert_eq!((answer.plateau_users, answer.answer_steps.as_slice()), (3, [2].as_slice()));
    assert!((answer.capacity.value.as_per_second() - 130.0).abs() < 1e-9);
    assert!((answer.plateau.value.as_per_second() - 133.0).abs() < 1e-9);
    assert!(answer.capacity.low < answer.capacity.value && answer.precise);
    assert_eq!(answer.limited_by, LimitedBy::Saturation);
    assert_eq!(answer.samples, 1300);
}

#[test]
fn one_level_without_growth_may_be_chance() {
    let (_, cause, levels) = watched(StoppingConditions::default(), &[50.0, 51.0, 100.0, 140.0]);
    assert_eq!((cause, levels), (StopCause::LoadEnded, 4));
}

#[test]
fn a_flat_load_goes_on_where_that_is_wanted() {
    let on = StoppingConditions {
        flat_invocations: FlatInvocations::Continue,
        ..StoppingConditions::default()
    };
    let (watch, cause, levels) = watched(on, &[50.0, 100.0, 100.0, 100.0, 101.0, 100.0]);
    assert_eq!((cause, levels), (StopCause::LoadEnded, 6));
    let answer = watch.answer(cause).unwrap();
    assert_eq!((answer.plateau_users, answer.limited_by), (2, LimitedBy::Saturation));
}

#[test]
fn a_few_users_more_are_not_expected_to_bring_more() {
    let mut watch = LevelWatch::new(StoppingConditions::default());
    for (index, users) in (0..).zip(100..110) {
        assert_eq!(watch.observe(level(index, users, 400.0, 10_000)), None);
    }
    assert_eq!(watch.answer(StopCause::LoadEnded).unwrap().limited_by, LimitedBy::Load);
}

#[test]
fn the_load_ends_where_the_invocations_wanted_are_reached_and_answers_with_that_level() {
    let enough = StoppingConditions {
        max_invocations: Some(Rate::per_minute(6000.0).unwrap()),
        ..StoppingConditions::default()
    };
    let (watch, cause, levels) = watched(enough, &[50.0, 99.0, 101.0, 130.0]);
    assert_eq!((cause, levels), (StopCause::MaxInvocations, 3));
    let answer = watch.answer(cause).unwrap();
    assert_eq!((answer.plateau_users, answer.limited_by), (3, LimitedBy::Load));
    assert!(answer.capacity.value >= Rate::per_minute(6000.0).unwrap());
}

#[test]
fn a_level_beyond_a_latency_threshold_ends_the_load_and_does_not_count() {
    let slow = StoppingConditions {
        latency: vec!["p95<=25ms".parse().unwrap(), "p99<=1s".parse().unwrap()],
        ..StoppingConditions::default()
    };
    let (watch, cause, levels) = watched(slow, &[50.0, 100.0, 150.0, 200.0]);
    assert_eq!((cause, levels), (StopCause::Latency, 3));
    let answer = watch.answer(cause).unwrap();
    assert_eq!((answer.plateau_users, answer.limited_by), (2, LimitedBy::Slo));
    assert!((answer.capacity.value.as_per_second() - 100.0).abs() < 1e-9);
}

#[test]
fn more_failed_calls_than_allowed_end_the_load() {
    let mut watch = LevelWatch::new(StoppingConditions::default());
    let failing = |failed| Level { failed, ..level(0, 1, 100.0, 10_000) };
    assert_eq!(watch.observe(failing(10)), None, "ten of 1010 are within one per cent");
    assert_eq!(watch.observe(failing(11)), Some(StopCause::Errors));
    assert_eq!(watch.answer(StopCause::Errors).unwrap().limited_by, LimitedBy::Errors);
}

#[test]
fn without_a_level_that_held_the_reason_is_that_of_the_first() {
    let slow = StoppingConditions {
        latency: vec!["p95<=5ms".parse().unwrap()],
        ..StoppingConditions::default()
    };
    let (watch, cause, _) = watched(slow, &[50.0]);
    assert_eq!(
        watch.answer(cause).unwrap_err().to_string(),
        "the p95 of 1 user(s) is 10.0 ms, the threshold is 5.0 ms"
    );
    let mut watch = LevelWatch::new(StoppingConditions::default());
    let cause = watch.observe(Level { failed: 1000, ..level(0, 4, 100.0, 10_000) }).unwrap();
    assert_eq!(
        watch.answer(cause).unwrap_err().to_string(),
        "50.0 % of the calls of 4 user(s) fail, 1.0 % are allowed"
    );
    let silent = LevelWatch::new(StoppingConditions::default());
    assert_eq!(silent.answer(StopCause::LoadEnded).unwrap_err(), NoLevelHeld::NoAnswer);
}

#[test]
fn a_straggler_among_a_handful_of_calls_does_not_end_the_load() {
    let threshold: Slo = "p99<=50ms".parse().unwrap();
    let few = Latency {
        count: 12,
        p50_us: 20_000,
        p99_us: 90_000,
        ..level(0, 1, 10.0, 50_000).latency.unwrap()
    };
    assert_eq!(missed_figure(threshold, &few), None);
    assert_eq!(missed_figure(threshold, &Latency { p50_us: 60_000, ..few }), Some(60_000));
    assert_eq!(missed_figure(threshold, &Latency { count: 100, ..few }), Some(90_000));
}

#[test]
fn long_phases_are_judged_by_the_minute_and_short_ones_together() {
    let segments = load(vec![closed(5, 150.0)]).segments();
    assert_eq!(segments.len(), 3);
    assert!(segments.iter().all(|segment| segment.ends_level));
    assert_eq!(segments[0].phase.duration, Duration::from_secs(50));
    let ramp = load((1..=5).map(|users| closed(users, 1.0)).collect());
    let ends: Vec<bool> = ramp.segments().iter().map(|segment| segment.ends_level).collect();
    assert_eq!(ends, [false, true, false, true, true]);
    assert_eq!(ramp.duration(), Duration::from_secs(5));
}

#[test]
fn levels_of_the_same_users_answer_together() {
    let mut watch = LevelWatch::new(StoppingConditions::default());
    for (index, users) in (0..).zip([2, 4, 4, 4, 8]) {
        let throughput = if users == 2 { 50.0 } else { 100.0 };
        assert_eq!(watch.observe(level(index, users, throughput, 10_000)), None);
    }
    let answer = watch.answer(StopCause::LoadEnded).unwrap();
    assert_eq!((answer.answer_steps.as_slice(), answer.samples), ([1, 2, 3].as_slice(), 3000));
}

#[test]
fn loads_that_cannot_be_held_level_by_level_say_why() {
    let refused = |phases, stopping| SteppedLoad::new(phases, stopping).unwrap_err();
    let stopping = StoppingConditions::default;
    assert_eq!(refused(vec![], stopping()), SteppedLoadError::Empty);
    assert_eq!(refused(vec![closed(1, 0.0)], stopping()), SteppedLoadError::NoDuration);
    let replay = Phase { load: Load::Replay { at_us: vec![0] }, ..closed(1, 1.0) };
    assert_eq!(refused(vec![replay], stopping()), SteppedLoadError::NotClosed);
    let share = StoppingConditions { max_error_share: 1.5, ..stopping() };
    assert_eq!(refused(vec![closed(1, 1.0)], share), SteppedLoadError::ErrorShare);
    let never = StoppingConditions { max_invocations: Some(Rate::ZERO), ..stopping() };
    assert_eq!(refused(vec![closed(1, 1.0)], never), SteppedLoadError::NoInvocations);
    let json = serde_json::to_string(&load(vec![closed(1, 1.0)])).unwrap();
    assert_eq!(serde_json::from_str::<SteppedLoad>(&json).unwrap(), load(vec![closed(1, 1.0)]));
    assert!(serde_json::from_str::<SteppedLoad>(&json.replace("0.01", "7.0")).is_err());
}
