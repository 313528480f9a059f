//! What every driver may rely on, whatever the target does: no panic, no step past the deadline, one
//! step of lookahead and no more, the same steps for the same observations.

#[path = "support/simulated_server.rs"]
#[expect(dead_code, reason = "shared with the example, which uses other parts")]
mod simulated_server;

use std::{collections::VecDeque, time::Duration};

use assay_measure::{
    schedule::Load,
    search::{
        Batch, LimitedBy, Mode, Next, Purpose, Sample, Search, SearchPlan, StepObservation,
        StepPlan, UnexpectedObservation, Verdict,
    },
};
use proptest::prelude::*;
use simulated_server::{Driver, Server, ServerKind, drive, drive_with, known_servers};

fn plan(seed: u64) -> SearchPlan {
    SearchPlan {
        constraints: vec!["p95<=50ms".parse().expect("a constraint")],
        mode: Mode::Quick,
        seed,
        max_duration: Duration::from_secs(300),
        soak: None,
        skip_thermal_check: false,
        max_error_share: 0.01,
    }
}

#[test]
fn the_same_seed_and_target_give_the_same_steps_and_answer() {
    let noisy = ServerKind { noise: 0.3, ..ServerKind::plain("noisy", "p95<=50ms") };
    let run = |seed| drive(Search::new(plan(seed)), Server::new(noisy.clone(), 9));
    let (first, second, other) = (run(1), run(1), run(2));
    assert_eq!((&first.end, &first.steps), (&second.end, &second.steps));
    assert_ne!(first.steps, other.steps);
}

#[test]
fn candidates_of_one_seed_see_the_same_arrivals() {
    let seeds = |kind: &ServerKind| {
        let finished = drive(Search::new(plan(5)), Server::new(kind.clone(), 9));
        let of_main = |step: &StepPlan| match (&step.load, step.purpose) {
            (Load::Open { seed, .. }, Purpose::Main) => Some(*seed),
            _ => None,
        };
        finished.steps.iter().filter_map(of_main).take(4).collect::<Vec<u64>>()
    };
    let [fast, slow] = [0.010, 0.017]
        .map(|fixed_s| seeds(&ServerKind { fixed_s, ..ServerKind::plain("", "p95<=50ms") }));
    assert_eq!(fast, slow);
    assert!(fast[0] != fast[1]);
}

#[test]
fn confirmation_never_replays_the_arrivals_of_the_run() {
    let finished = drive(Search::new(plan(5)), Server::new(known_servers().remove(0), 9));
    let seed_of = |step: &StepPlan| match step.load {
        Load::Open { seed, .. } => Some(seed),
        Load::Closed { .. } | Load::Replay { .. } => None,
    };
    let (confirming, before): (Vec<_>, Vec<_>) =
        finished.steps.iter().partition(|step| step.purpose == Purpose::Confirm);
    assert_eq!(confirming.len(), 1);
    assert!(
        before
            .iter()
            .all(|step| seed_of(step).is_none() || seed_of(step) != seed_of(confirming[0]))
    );
}

#[test]
fn only_the_main_run_is_asked_for_ahead_and_only_one_step() {
    let mut search = Search::new(plan(3));
    let mut driver = Driver::new(Server::new(known_servers().remove(0), 3));
    let mut in_flight: VecDeque<StepPlan> = VecDeque::new();
    let mut asked_ahead = 0;
    loop {
        match search.next() {
            Next::Step(step) => {
                assert!(in_flight.len() < 2, "a third step in flight");
                assert_eq!(step.continues, !in_flight.is_empty(), "{step:?}");
                asked_ahead += u32::from(step.continues);
                assert!(!step.continues || step.purpose == Purpose::Main);
                in_flight.push_back(step);
            }
            Next::Wait => {
                let step = in_flight.pop_front().expect("there is something to wait for");
                let seen = driver.perform(&step, in_flight.front());
                if let Some(later) = in_flight.front() {
                    let early =
                        StepObservation { index: later.index, ..StepObservation::default() };
                    let expected = UnexpectedObservation::OutOfOrder {
                        index: later.index,
                        expected: step.index,
                    };
                    assert_eq!(search.observe(&early), Err(expected));
                }
                search.observe(&seen).unwrap();
                assert_eq!(
                    search.observe(&seen),
                    Err(UnexpectedObservation::NotInFlight(step.index))
                );
            }
            Next::Done(_) | Next::Failed(_) => break,
        }
    }
    assert!(asked_ahead >= 3);
}

#[test]
fn a_driver_that_never_asks_ahead_gets_an_answer_too() {
    let mut search = Search::new(plan(3));
    let mut driver = Driver::new(Server::new(known_servers().remove(0), 3));
    let answer = loop {
        match search.next() {
            Next::Step(step) => {
                assert!(!step.continues, "nothing is in flight to continue");
                let seen = driver.perform(&step, None);
                search.observe(&seen).unwrap();
            }
            Next::Done(answer) => break answer,
            other @ (Next::Failed(_) | Next::Wait) => panic!("{other:?}"),
        }
    };
    assert!((answer.capacity.value.as_per_second() - 69.38).abs() < 1.0, "{answer:?}");
}

/// A last level of half a second sees ten answers in pairs. Taken for a fast server, it was loaded with four times
/// what it carries, and worked that off until long after the deadline.
#[test]
fn a_level_that_is_cut_short_does_not_lead_the_search_astray() {
    let kind = ServerKind {
        fixed_s: 0.110_441,
        workers: 2,
        noise: 0.066_235,
        ..ServerKind::plain("cut short", "p95<=200ms")
    };
    let limited = SearchPlan {
        constraints: vec![kind.constraint.parse().expect("a constraint")],
        max_duration: Duration::from_secs(37),
        ..plan(15_646_514_442_772_654_091)
    };
    let finished = drive(Search::new(limited), Server::new(kind, 15_646_514_442_772_654_091));
    assert!(finished.seconds <= 37.0, "{} s", finished.seconds);
    let Next::Done(answer) = &finished.end else { panic!("{:?}", finished.end) };
    let plateau = answer.plateau.value.as_per_second();
    assert!((plateau * 0.110_441 / 2.0 - 1.0).abs() < 0.05, "{plateau}");
}

/// Observations that no target would give, some of them absurd.
fn any_samples() -> impl Strategy<Value = Vec<(u64, u64, u8)>> {
    let latency = prop_oneof![4 => 0u64..100_000, 1 => Just(u64::MAX), 1 => 0u64..10_000_000_000];
    let offset = prop_oneof![6 => 0u64..5_000_000, 1 => any::<u64>()];
    prop::collection::vec((offset, latency, 0u8..6), 0..60)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn no_observation_makes_it_panic_or_go_on_for_ever(
        steps in prop::collection::vec((any_samples(), any::<bool>(), prop_oneof![Just(0u64), 1u64..6_000_000, Just(u64::MAX)]), 1..25),
        constraints in prop::sample::subsequence(vec!["p50<=1us", "p95<=50ms", "p99<=10m"], 0..=3),
        full: bool, tells: bool, seed: u64, seconds in 0u64..4000, share in prop_oneof![Just(f64::NAN), Just(-1.0), 0.0..1.0, Just(f64::INFINITY)],
        soak in prop::option::of(0u64..10_000),
        skip_thermal_check in any::<bool>(),
    ) {
        let mut search = Search::new(SearchPlan {
            constraints: constraints.iter().map(|text| text.parse().expect("a constraint")).collect(),
            mode: if full { Mode::Full } else { Mode::Quick },
            seed,
            max_duration: Duration::from_secs(seconds),
            soak: soak.map(Duration::from_secs),
            skip_thermal_check,
            max_error_share: share,
        });
        let mut in_flight: VecDeque<StepPlan> = VecDeque::new();
        let (mut now_us, mut number) = (0u64, 0);
        loop {
            match search.next() {
                Next::Step(step) => {
                    prop_assert!(step.duration <= Duration::from_secs(seconds));
                    in_flight.push_back(step);
                }
                Next::Wait => {
                    let step = in_flight.pop_front().expect("there is something to wait for");
                    let (samples, saturated, elapsed_us) = &steps[number % steps.len()];
                    // Nonsense that the target tells of itself.
                    let batches = samples.iter().take(if tells { 300 } else { 0 }).map(|(offset, latency_us, _)| Batch {
                        started_us: now_us.saturating_add(*offset),
                        requests: u32::try_from(offset % 9).unwrap(),
                        service_ns: latency_us.saturating_mul(offset % 1_000),
                        waited_us: *latency_us,
                    }).collect();
                    let samples = samples.iter().map(|(offset, latency_us, verdict)| Sample {
                        intended_us: now_us.saturating_add(*offset),
                        latency_us: *latency_us,
                        verdict: match verdict { 0 => Verdict::Failed, 1 => Verdict::Outstanding, _ => Verdict::Answered },
                    }).collect();
                    let seen = StepObservation { index: step.index, started_us: now_us, elapsed_us: *elapsed_us, samples, batches, generator_saturated: *saturated };
                    // Time passes at least as planned, else no deadline would ever come.
                    now_us = now_us.saturating_add((*elapsed_us).max(u64::try_from(step.duration.as_micros()).unwrap()));
                    search.observe(&seen).unwrap();
                    number += 1;
                    prop_assert!(number < 20_000, "no end in sight");
                }
                Next::Done(answer) => {
                    prop_assert!(answer.capacity.low <= answer.capacity.value && answer.capacity.value <= answer.capacity.high);
                    prop_assert!(answer.plateau.low <= answer.plateau.value && answer.plateau.value <= answer.plateau.high);
                    // What is known without any doubt was not measured.
                    let is_certain = answer.capacity.low >= answer.capacity.high;
                    prop_assert!(!is_certain || answer.limited_by != LimitedBy::Slo, "{answer:?}");
                    break;
                }
                Next::Failed(failure) => {
                    prop_assert!(!failure.to_string().is_empty());
                    break;
                }
            }
        }
    }

    #[test]
    fn no_server_is_loaded_beyond_the_deadline(
        service_ms in 0.5f64..120.0, workers in 1usize..6, max_batch in 1usize..4, noise in 0.0f64..0.8,
        seconds in 0u64..150, seed: u64, full: bool,
    ) {
        let kind = ServerKind { fixed_s: service_ms / 1e3, workers, max_batch, noise, ..ServerKind::plain("any", "p95<=200ms") };
        let limited = SearchPlan {
            constraints: vec![kind.constraint.parse().expect("a constraint")],
            mode: if full { Mode::Full } else { Mode::Quick },
            max_duration: Duration::from_secs(seconds),
            ..plan(seed)
        };
        let finished = drive(Search::new(limited), Server::new(kind, seed));
        // Nobody knows how long a queue takes, only what the longest latency lets expect.
        let latest = seconds as f64 + finished.unforeseen_s + 1e-6;
        prop_assert!(finished.seconds <= latest, "{} s of {seconds} s, {}", finished.seconds, finished.unforeseen_s);
    }

    /// A server of four slots of 100 ms was said to carry what one of them does, ± 0.4 %, where time was short.
    #[test]
    fn a_search_without_the_time_to_see_throughput_end_says_so_and_gives_no_figure(
        service_ms in 1.0f64..300.0, workers in 1usize..9, noise in 0.0f64..0.3, seconds in 3u64..60, seed: u64,
        constrained: bool,
    ) {
        let kind = ServerKind { fixed_s: service_ms / 1e3, workers, noise, ..ServerKind::plain("any", "p95<=10s") };
        let (reaches, carried) = plateau_reaches(kind, seconds, seed, constrained);
        prop_assert!(reaches >= 0.85 * carried, "{reaches} of {carried}");
    }
}

/// In so many seconds: the upper end of what is said to be the plateau, and what the server carries, per second. Without
/// an answer nothing is understated.
fn plateau_reaches(kind: ServerKind, seconds: u64, seed: u64, constrained: bool) -> (f64, f64) {
    let constraint = kind.constraint.parse().expect("a constraint");
    let limited = SearchPlan {
        constraints: if constrained { vec![constraint] } else { Vec::new() },
        max_duration: Duration::from_secs(seconds),
        ..plan(seed)
    };
    let carried = kind.saturation();
    match drive(Search::new(limited), Server::new(kind, seed)).end {
        Next::Done(answer) => (answer.plateau.high.as_per_second(), carried),
        Next::Step(_) | Next::Wait | Next::Failed(_) => (f64::INFINITY, carried),
    }
}

/// 57 answers gave 2.3 of 3.5 per second, and an interval of 0 to 7.2: too wide to be believed, and not untrue.
#[test]
fn a_plateau_of_few_answers_has_an_interval_that_says_how_little_is_known() {
    let kind = ServerKind {
        fixed_s: 0.284_305_302_340_659_64,
        noise: 0.179_432_079_027_305_18,
        ..ServerKind::plain("slow", "p95<=10s")
    };
    let (reaches, carried) = plateau_reaches(kind, 50, 15_697_521_021_644_404_698, false);
    assert!(reaches >= carried, "{reaches} of {carried}");
}

/// A target that carried a quarter, in open loop, of what it had done for its users was said to carry some rate, ± 0 %:
/// where every call of the one stretch that was seen missed, more or fewer misses make no difference to the rate.
#[test]
fn a_stretch_of_overload_alone_leaves_the_rate_in_doubt() {
    let kind = || ServerKind::plain("collapses", "p95<=50ms");
    let mut answers = 0;
    for seconds in 8..30 {
        let limited = || SearchPlan { max_duration: Duration::from_secs(seconds), ..plan(5) };
        let usual = drive(Search::new(limited()), Server::new(kind(), 9));
        let is_open = |step: &&StepPlan| matches!(step.load, Load::Open { .. });
        let Some(first_open) = usual.steps.iter().find(is_open).map(|step| step.index) else {
            continue;
        };
        let collapsed =
            drive_with(Search::new(limited()), Server::new(kind(), 9), |search, seen| {
                let mut seen = seen.clone();
                for sample in seen.samples.iter_mut().filter(|_| seen.index >= first_open) {
                    sample.latency_us += 200_000 + (sample.intended_us - seen.started_us) * 3;
                }
                search.observe(&seen).expect("the step is in flight");
            });
        if let Next::Done(answer) = collapsed.end {
            let width = answer.capacity.high.as_per_second() - answer.capacity.low.as_per_second();
            let half_width = width / 2.0 / answer.capacity.value.as_per_second();
            assert!(half_width > 0.25, "± {half_width} after {seconds} s: {answer:?}");
            answers += 1;
        }
    }
    assert!(answers > 0);
}

/// 19.2 s of 19 s: working off the queue took longer than the longest latency let expect.
#[test]
fn what_a_queue_takes_longer_than_expected_is_all_that_a_search_is_late() {
    let kind = ServerKind {
        fixed_s: 0.049_143_734_773_694_32,
        max_batch: 2,
        noise: 0.702_428_841_607_840_2,
        ..ServerKind::plain("late", "p95<=200ms")
    };
    let limited = SearchPlan {
        constraints: vec![kind.constraint.parse().expect("a constraint")],
        mode: Mode::Full,
        max_duration: Duration::from_secs(19),
        ..plan(4_085_615_100_101_780_625)
    };
    let finished = drive(Search::new(limited), Server::new(kind, 4_085_615_100_101_780_625));
    assert!(finished.seconds > 19.0 && finished.unforeseen_s > 0.0, "{finished:?}");
    assert!(finished.seconds <= 19.0 + finished.unforeseen_s + 1e-6, "{finished:?}");
}
