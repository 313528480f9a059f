use std::time::Duration;

use assay_measure::{
    schedule::{Arrivals, Load},
    search::{Batch, Mode, Purpose, Sample, StepObservation},
};
use bytes::Bytes;

use super::*;
use crate::{
    load::{
        GeneratorOptions,
        scripted_server::{Answer as Reply, Server},
    },
    payload::Payload,
};

fn plan(seconds: u64, constraints: &[&str]) -> SearchPlan {
    SearchPlan {
        constraints: constraints.iter().map(|text| text.parse().unwrap()).collect(),
        mode: Mode::Quick,
        seed: 1,
        max_duration: Duration::from_secs(seconds),
        soak: None,
        skip_thermal_check: false,
        max_error_share: 0.01,
    }
}

fn generator(server: &Server) -> Generator {
    let payload = Payload {
        bodies: vec![Bytes::from("x")],
        content_type: "text/plain".to_owned(),
        ..Payload::default()
    };
    let target = server.target();
    let options = GeneratorOptions {
        give_up_after: Duration::from_millis(300),
        ..GeneratorOptions::default()
    };
    Generator::start(&target, &target.reach().unwrap(), Some(&payload), &[], &options).unwrap()
}

#[test]
fn a_search_without_constraints_finds_the_plateau_of_a_server() {
    // Two requests at a time, 10 ms each: 200 a second.
    let server = Server::http(|_| Reply::ok("x").after(Duration::from_millis(10)).workers(2));
    let mut generator = generator(&server);
    let plan = plan(12, &[]);
    let mut planned = 0;
    let run = search(&mut generator, &plan, no_batches, |event| {
        planned += u32::from(matches!(event, SearchEvent::StepPlanned(_)))
    })
    .unwrap();
    let answer = run.answer().unwrap_or_else(|| panic!("{:?}", run.end));
    let found = answer.plateau.value.as_per_second();
    let carried: Vec<f64> = run.steps.iter().map(|step| step.achieved().as_per_second()).collect();
    let most = carried.iter().copied().fold(0.0, f64::max);
    // The server's own overhead costs some of it; it can never do more.
    assert!(most <= 202.0, "{carried:?}");
    assert!((0.85 * most..=1.02 * most).contains(&found), "{found} of {carried:?}");
    assert!(planned >= 3 && run.steps.len() >= 3);
    assert!(run.answer_steps().count() >= 1);
    assert!(run.totals().answered > 100);
}

#[test]
fn the_search_is_told_the_batches_of_every_step() {
    let server = Server::http(|_| Reply::ok("x").after(Duration::from_millis(10)).workers(2));
    let mut asked = Vec::new();
    let told = |step: &StepObservation| {
        asked.push((step.index, step.samples.len()));
        let batch = |sample: &Sample| Batch {
            started_us: sample.intended_us,
            requests: 1,
            service_ns: 10_000_000,
            waited_us: 0,
        };
        step.samples.iter().map(batch).collect()
    };
    let mut generator = generator(&server);
    let handle = generator.cancel_handle();
    let run = search(&mut generator, &plan(60, &[]), told, |event| {
        if matches!(event, SearchEvent::StepFinished(step) if step.plan.index == 2) {
            handle.cancel();
        }
    })
    .unwrap();
    let mut told: Vec<(u32, usize)> =
        run.steps.iter().map(|step| (step.plan.index, step.batches)).collect();
    // A step that was cut short is not observed.
    told.retain(|(_, batches)| *batches > 0);
    assert_eq!(told, asked);
    assert!(asked.len() == 3 && asked[2].1 > 20, "{asked:?}");
}

#[test]
fn a_target_that_dies_ends_the_search_with_what_it_did() {
    let server = Server::http(|_| Reply::ok("x").after(Duration::from_millis(5)));
    let mut generator = generator(&server);
    let mut server = Some(server);
    let run = search(&mut generator, &plan(60, &[]), no_batches, |event| {
        if matches!(event, SearchEvent::StepFinished(_)) {
            drop(server.take());
        }
    })
    .unwrap();
    assert!(
        matches!(&run.end, SearchEnd::TargetLost { reason } if reason.contains("refused")),
        "{:?}",
        run.end
    );
    assert!(run.steps.len() >= 2);
    assert!(run.steps[0].figures.answered > 0);
}

#[test]
fn cancelling_ends_the_search() {
    let server = Server::http(|_| Reply::ok("x").after(Duration::from_millis(5)));
    let mut generator = generator(&server);
    let handle = generator.cancel_handle();
    let run = search(&mut generator, &plan(60, &[]), no_batches, |event| {
        if matches!(event, SearchEvent::StepPlanned(step) if step.index == 1) {
            handle.cancel();
        }
    })
    .unwrap();
    assert_eq!(run.end, SearchEnd::Cancelled);
    assert!(!run.steps.is_empty());
}

fn record(load: Load, latencies_us: &[(u64, Verdict)], constraints: &[&str]) -> StepRecord {
    let mut figures = StepFigures::default();
    let mut samples = Vec::new();
    for &(latency_us, verdict) in latencies_us {
        samples.push(Sample { intended_us: 0, latency_us, verdict });
        match verdict {
            Verdict::Answered => figures.answered += 1,
            Verdict::Failed => figures.errors.reset += 1,
            Verdict::Outstanding => figures.outstanding += 1,
        }
    }
    let step = StepPlan {
        index: 0,
        purpose: Purpose::Main,
        load,
        duration: Duration::from_secs(1),
        continues: false,
        verdict_after: Duration::from_secs(1),
    };
    let observation =
        StepObservation { samples, elapsed_us: 1_000_000, ..StepObservation::default() };
    let constraints: Vec<Slo> = constraints.iter().map(|text| text.parse().unwrap()).collect();
    StepRecord::new(
        step,
        &constraints,
        0.01,
        EndedStep { observation, figures, end: StepEnd::Complete },
    )
}

fn open() -> Load {
    Load::Open { rate: Rate::per_second(10.0).unwrap(), arrivals: Arrivals::Poisson, seed: 1 }
}

#[test]
fn a_step_is_accepted_when_every_constraint_holds_and_few_calls_fail() {
    use Verdict::{Answered, Failed, Outstanding};
    let calls = |slow: usize, failed: usize, lost: usize| {
        let mut all = vec![(60_000, Answered); slow];
        all.extend(vec![(1, Failed); failed]);
        all.extend(vec![(900_000, Outstanding); lost]);
        all.resize(200, (1_000, Answered));
        all
    };
    let verdict = |slow, failed, lost, constraints: &[&str]| {
        let step = record(open(), &calls(slow, failed, lost), constraints);
        (step.missed, step.accepted)
    };
    assert_eq!(verdict(10, 0, 0, &["p95<=50ms"]), (Some(10), Some(true)));
    assert_eq!(verdict(11, 0, 0, &["p95<=50ms"]), (Some(11), Some(false)));
    assert_eq!(
        verdict(9, 2, 0, &["p95<=50ms"]),
        (Some(11), Some(false)),
        "a failed call misses too"
    );
    assert_eq!(
        verdict(0, 3, 0, &["p95<=50ms"]),
        (Some(3), Some(false)),
        "three of 200 are over one per cent"
    );
    assert_eq!(
        verdict(0, 0, 11, &["p95<=50ms"]),
        (Some(11), Some(false)),
        "what never returned has missed"
    );
    assert_eq!(verdict(5, 0, 0, &["p95<=50ms", "p99<=50ms"]), (Some(5), Some(false)));
    assert_eq!(verdict(50, 0, 0, &[]), (None, None));
    assert_eq!(record(Load::Closed { users: 2 }, &calls(50, 0, 0), &["p95<=50ms"]).accepted, None);
}

fn counted(latencies_us: &[u64]) -> StepRecord {
    let mut figures = StepFigures::default();
    for &latency_us in latencies_us {
        figures.answered += 1;
        figures.latency.record(latency_us).unwrap();
    }
    figures.errors.status = 2;
    let plan = StepPlan {
        index: 3,
        purpose: Purpose::Staircase,
        load: Load::Closed { users: 4 },
        duration: Duration::from_secs(2),
        continues: false,
        verdict_after: Duration::from_secs(1),
    };
    let observation =
        StepObservation { index: 3, elapsed_us: 2_000_000, ..StepObservation::default() };
    StepRecord::new(plan, &[], 0.0, EndedStep { observation, figures, end: StepEnd::Complete })
}

#[test]
fn a_result_carries_the_figures_and_the_whole_histogram() {
    let record = counted(&[1000, 2000, 3000]);
    let result = record.result(Utilization::default());
    assert_eq!((result.index, result.users, result.offered), (3, Some(4), None));
    assert_eq!(result.achieved, Rate::per_second(1.5).unwrap());
    assert_eq!((result.latency.unwrap().count, result.failed_calls, result.accepted), (3, 2, None));
    assert_eq!(latency::decode(&result.histogram).unwrap(), record.figures.latency);
}

#[test]
fn nothing_answered_is_no_latency_and_an_empty_histogram() {
    let result = counted(&[]).result(Utilization::default());
    assert_eq!((result.latency, result.histogram), (None, Vec::new()));
}
