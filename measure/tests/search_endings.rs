//! How searches end on targets that are slow, broken, limited, or have all the time in the world.

#[path = "support/simulated_server.rs"]
#[expect(dead_code, reason = "shared with the example, which uses other parts")]
mod simulated_server;

use std::time::Duration;

use assay_measure::{
    schedule::Load,
    search::{
        Answer, Confirmation, LimitedBy, Mode, Next, Purpose, Search, SearchFailure, SearchPlan,
    },
};
use simulated_server::{Finished, Server, ServerKind, Throttle, drive, simulated_truth};

fn plan(constraints: &[&str], mode: Mode) -> SearchPlan {
    SearchPlan {
        constraints: constraints.iter().map(|text| text.parse().expect("a constraint")).collect(),
        mode,
        seed: 77,
        max_duration: Duration::from_secs(600),
        soak: None,
        skip_thermal_check: false,
        max_error_share: 0.01,
    }
}

fn searched(plan: SearchPlan, kind: &ServerKind) -> Finished {
    let allowed = plan.max_duration.as_secs_f64();
    let finished = drive(Search::new(plan), Server::new(kind.clone(), 4242));
    assert!(finished.seconds <= allowed + 1e-6, "{} s of {allowed} s", finished.seconds);
    finished
}

fn answer(finished: &Finished) -> &Answer {
    match &finished.end {
        Next::Done(answer) => answer,
        other @ (Next::Failed(_) | Next::Step(_) | Next::Wait) => panic!("no answer but {other:?}"),
    }
}

fn failure(finished: &Finished) -> &SearchFailure {
    match &finished.end {
        Next::Failed(failure) => failure,
        other @ (Next::Done(_) | Next::Step(_) | Next::Wait) => panic!("no failure but {other:?}"),
    }
}

const TEN_MS: ServerKind = ServerKind::plain("ten milliseconds", "p95<=50ms");

#[test]
fn a_target_whose_every_call_fails_has_no_capacity() {
    let broken = ServerKind { failing: 1.0, ..TEN_MS };
    let finished = searched(plan(&["p95<=50ms"], Mode::Quick), &broken);
    assert!(
        matches!(failure(&finished), SearchFailure::AllCallsFailed { calls } if *calls > 0),
        "{:?}",
        finished.end
    );
}

#[test]
fn a_target_that_never_answers_is_given_up() {
    let silent = ServerKind { fixed_s: 1e5, ..TEN_MS };
    let mut driver = simulated_server::Driver::new(Server::new(silent, 1));
    let mut search = Search::new(plan(&[], Mode::Quick));
    let end = loop {
        match search.next() {
            Next::Step(step) => {
                // The driver abandons what is outstanding, as a real one must.
                let mut seen = driver.perform(
                    &assay_measure::search::StepPlan { continues: true, ..step.clone() },
                    None,
                );
                seen.index = step.index;
                search.observe(&seen).unwrap();
            }
            end @ (Next::Done(_) | Next::Failed(_)) => break end,
            Next::Wait => unreachable!("nothing is in flight"),
        }
    };
    assert_eq!(end, Next::Failed(SearchFailure::NoAnswer));
}

#[test]
fn errors_of_a_lone_user_end_the_search() {
    let flaky = ServerKind { failing: 0.15, ..TEN_MS };
    let finished = searched(plan(&["p95<=50ms"], Mode::Quick), &flaky);
    assert!(
        matches!(failure(&finished), SearchFailure::TooManyErrors { .. }),
        "{:?}",
        finished.end
    );
    let tolerant = SearchPlan { max_error_share: 0.5, ..plan(&["p95<=50ms"], Mode::Quick) };
    assert!(answer(&searched(tolerant, &flaky)).capacity.value.as_per_second() > 50.0);
}

#[test]
fn a_constraint_that_a_lone_request_misses_is_unreachable() {
    let finished = searched(plan(&["p95<=50ms", "p99<=9ms"], Mode::Quick), &TEN_MS);
    let SearchFailure::ConstraintUnreachable { constraint, missed_share, unloaded_median_us } =
        failure(&finished)
    else {
        panic!("{:?}", finished.end)
    };
    assert_eq!(constraint.to_string(), "p99<=9ms");
    assert!(*missed_share > 0.99 && (*unloaded_median_us - 10_000.0).abs() < 100.0);
}

#[test]
fn a_target_that_refuses_under_load_is_limited_by_errors() {
    // Two may wait, the third is refused: latency stays good, errors do not.
    let strict = ServerKind { queue_limit: Some(2), ..TEN_MS };
    let finished = searched(plan(&["p95<=500ms"], Mode::Quick), &strict);
    let found = answer(&finished);
    assert_eq!(found.limited_by, LimitedBy::Errors);
    // M/D/1 with room for three: one per cent is refused near half of saturation.
    assert!((30.0..65.0).contains(&found.capacity.value.as_per_second()), "{found:?}");
    assert!(found.capacity.high > found.capacity.value);
}

#[test]
fn a_slow_generator_is_named_as_the_limit() {
    let kind = ServerKind { generator_limit: Some(40.0), ..TEN_MS };
    let finished = searched(plan(&["p95<=50ms"], Mode::Quick), &kind);
    let found = answer(&finished);
    assert_eq!(found.limited_by, LimitedBy::Generator, "{found:?}");
    assert!(found.capacity.value.as_per_second() <= 100.0);
}

#[test]
fn patience_without_end_is_limited_by_saturation() {
    let finished = searched(plan(&["p95<=20s"], Mode::Quick), &TEN_MS);
    let found = answer(&finished);
    assert_eq!(found.limited_by, LimitedBy::Saturation, "{found:?}");
    assert!((96.0..100.0).contains(&found.capacity.value.as_per_second()));
}

#[test]
fn without_a_constraint_the_plateau_is_the_answer() {
    for mode in [Mode::Quick, Mode::Full] {
        let noisy = ServerKind { workers: 4, fixed_s: 0.020, noise: 0.3, ..TEN_MS };
        let finished = searched(plan(&[], mode), &noisy);
        let found = answer(&finished);
        assert!((found.capacity.value.as_per_second() / 200.0 - 1.0).abs() < 0.03, "{found:?}");
        assert!(found.capacity.low < found.capacity.high && found.precise);
        assert_eq!(
            (found.confirmation, found.limited_by),
            (Confirmation::NotNeeded, LimitedBy::Saturation)
        );
        assert_eq!(found.plateau_users, 4);
        assert!(finished.steps.iter().all(|step| matches!(step.load, Load::Closed { .. })));
    }
}

#[test]
fn time_on_the_wire_is_not_taken_from_the_plateau() {
    for mode in [Mode::Quick, Mode::Full] {
        let far = ServerKind { network_s: 0.0002, ..TEN_MS };
        let finished = searched(plan(&[], mode), &far);
        let found = answer(&finished);
        // A single user waits 0.2 ms more per call, and so sees 98 of the 100 calls a second.
        assert!((found.capacity.value.as_per_second() - 100.0).abs() < 0.2, "{found:?}");
        assert_eq!(found.plateau_users, 1, "97 % is the plateau's start");
        let at_start = found.answer_steps.iter().map(|index| &finished.steps[*index as usize].load);
        assert!(at_start.clone().count() >= 1);
        assert!(at_start.clone().all(|load| *load == Load::Closed { users: 1 }), "its latency");
    }
}

#[test]
fn the_plateau_of_a_machine_that_heats_up_is_what_it_does_when_hot() {
    let throttle = Throttle { slowdown: 0.3, time_constant_s: 60.0, cool: 0.05, hot: 0.95 };
    let heating = ServerKind { throttle: Some(throttle), noise: 0.05, ..TEN_MS };
    for seed in 300..308 {
        let server = Server::new(heating.clone(), seed);
        let finished = drive(Search::new(plan(&[], Mode::Full)), server);
        let found = answer(&finished);
        eprintln!("{:?} {:?}", found.capacity, found.drift);
        let (low, high) = (found.capacity.low.as_per_second(), found.capacity.high.as_per_second());
        assert!((low..=high).contains(&(100.0 / 1.3)), "{found:?}");
        assert!(found.drift.is_some_and(|drift| drift.relative_change < 0.0), "{found:?}");
    }
}

#[test]
fn slow_targets_still_end_in_about_a_minute() {
    for (service_s, constraint) in [(1.0 / 17.0, "p95<=250ms"), (2.0 / 38.0, "p95<=200ms")] {
        let workers = if service_s < 0.055 { 2 } else { 1 };
        let slow = ServerKind { fixed_s: service_s, noise: 0.05, workers, ..TEN_MS };
        let slo: assay_measure::slo::Slo = constraint.parse().unwrap();
        let truth = simulated_truth(&slow, slo.limit(), slo.miss_budget(), 200_000, 16);
        let finished = searched(plan(&[constraint], Mode::Quick), &slow);
        let found = answer(&finished);
        assert!(finished.seconds < 80.0, "{} s", finished.seconds);
        assert!(
            (found.capacity.value.as_per_second() / truth.rate - 1.0).abs() < 0.15,
            "{found:?} for {truth:?}"
        );
        assert!(
            truth.may_lie_within(
                found.capacity.low.as_per_second(),
                found.capacity.high.as_per_second()
            ),
            "{found:?} for {truth:?}"
        );
        assert_eq!(found.confirmation, Confirmation::Held);
    }
}

#[test]
fn the_tightest_of_several_constraints_rules() {
    let alone = searched(plan(&["p95<=50ms"], Mode::Quick), &TEN_MS);
    let together = searched(plan(&["p50<=1s", "p95<=50ms", "p99<=2s"], Mode::Quick), &TEN_MS);
    let ratio = answer(&together).capacity.value.as_per_second()
        / answer(&alone).capacity.value.as_per_second();
    assert!((ratio - 1.0).abs() < 0.01, "{ratio}");
    let tighter = searched(plan(&["p95<=50ms", "p99<=40ms"], Mode::Quick), &TEN_MS);
    assert!(
        answer(&tighter).capacity.value.as_per_second()
            < 0.9 * answer(&alone).capacity.value.as_per_second()
    );
}

#[test]
fn a_quick_search_reports_throttling_that_happens_before_its_eyes() {
    let throttle = Throttle { slowdown: 0.3, time_constant_s: 25.0, cool: 0.05, hot: 0.8 };
    let heating = ServerKind { throttle: Some(throttle), ..TEN_MS };
    let finished = searched(plan(&["p95<=60ms"], Mode::Quick), &heating);
    let found = answer(&finished);
    assert!(found.drift.is_some_and(|drift| drift.relative_change < 0.0), "{found:?}");
}

#[test]
fn a_quick_search_leaves_the_look_for_heat_to_others_where_its_plan_says_so() {
    let looks = plan(&["p95<=50ms"], Mode::Quick);
    let leaves_it = SearchPlan { skip_thermal_check: true, ..looks.clone() };
    let [with, without] = [looks, leaves_it].map(|plan| searched(plan, &TEN_MS));
    assert_eq!(answer(&with).capacity, answer(&without).capacity);
    assert!(without.seconds + 10.0 <= with.seconds, "{} and {}", without.seconds, with.seconds);
}

#[test]
fn time_limits_hold_from_nothing_to_plenty() {
    for seconds in [0, 1, 3, 6, 10, 15, 20, 30, 45, 70, 120, 300] {
        for mode in [Mode::Quick, Mode::Full] {
            for constraints in [&["p95<=50ms"][..], &[], &["p99<=3s"]] {
                let limited = SearchPlan {
                    max_duration: Duration::from_secs(seconds),
                    soak: Some(Duration::from_secs(20)),
                    ..plan(constraints, mode)
                };
                let finished = searched(limited, &ServerKind { noise: 0.4, ..TEN_MS });
                if let Next::Done(found) = &finished.end {
                    assert!(
                        seconds > 70
                            || found.out_of_time
                            || found.precise
                            || constraints.is_empty(),
                        "{found:?}"
                    );
                } else {
                    // Verdicts that take three seconds leave little of a short search.
                    let enough = if constraints.contains(&"p99<=3s") { 70 } else { 30 };
                    assert!(
                        seconds < enough,
                        "{seconds} s for {constraints:?} gave {:?}",
                        finished.end
                    );
                }
            }
        }
    }
}

#[test]
fn a_soak_holds_the_answer_for_as_long_as_asked() {
    let soaked =
        SearchPlan { soak: Some(Duration::from_secs(95)), ..plan(&["p95<=50ms"], Mode::Quick) };
    let finished = searched(soaked, &TEN_MS);
    let found = answer(&finished);
    let soak: Vec<_> = finished.steps.iter().filter(|step| step.purpose == Purpose::Soak).collect();
    assert_eq!(soak.iter().map(|step| step.duration).sum::<Duration>(), Duration::from_secs(95));
    assert!(!soak[0].continues && soak[1..].iter().all(|step| step.continues));
    for step in soak {
        assert!(matches!(&step.load, Load::Open { rate, .. } if *rate == found.capacity.value));
        assert!(found.answer_steps.contains(&step.index));
    }
    assert_eq!(found.confirmation, Confirmation::Held);
}

#[test]
fn fast_targets_are_searched_like_slow_ones() {
    let fast = ServerKind { fixed_s: 0.000_1, ..ServerKind::plain("fast", "p95<=500us") };
    let finished = searched(plan(&["p95<=500us"], Mode::Quick), &fast);
    let found = answer(&finished);
    assert!((found.capacity.value.as_per_second() / 6_937.7 - 1.0).abs() < 0.02, "{found:?}");
}

#[test]
fn a_search_without_time_says_that_it_ran_out_of_it_and_nothing_about_the_constraint() {
    for constraints in [&["p95<=50ms"][..], &[]] {
        let hurried = SearchPlan {
            max_duration: Duration::from_millis(900),
            ..plan(constraints, Mode::Full)
        };
        let slow = ServerKind { fixed_s: 0.4, ..TEN_MS };
        let finished = searched(hurried, &slow);
        let told = failure(&finished);
        assert!(matches!(told, SearchFailure::OutOfTime { .. }), "{told:?}");
        assert!(told.to_string().starts_with("the search ran out of time after 1 s"), "{told}");
    }
}
