use super::*;
use crate::{
    search::{Drift, Estimate, LimitedBy},
    units::Rate,
};

fn rate(per_second: f64) -> Rate {
    Rate::per_second(per_second).unwrap()
}

fn answer() -> Answer {
    let estimate = Estimate { value: rate(100.0), low: rate(99.0), high: rate(101.0) };
    Answer {
        capacity: estimate,
        plateau: estimate,
        plateau_users: 2,
        limited_by: LimitedBy::Slo,
        confirmation: Confirmation::Held,
        answer_steps: vec![5],
        drift: None,
        precise: true,
        samples: 5000,
        out_of_time: false,
    }
}

fn sound() -> Evidence {
    Evidence {
        answer: Some(answer()),
        mode: Some(Mode::Full),
        constraints: vec!["p95<=50ms".parse().unwrap()],
        max_error_share: 0.01,
        calls: 1000,
        failed_calls: 5,
        median_latency_us: Some(20_000.0),
        generator: GeneratorEvidence {
            lag_p99_us: Some(80.0),
            saturated: false,
            shares_cores: false,
        },
        closed_loop: vec![ClosedLoopEvidence {
            users: 4,
            answered: 400,
            per_second: 100.0,
            mean_latency_us: 40_000.0,
        }],
        machine: Some(MachineEvidence {
            steal_pct: Some(0.5),
            other_cpu_pct: Some(2.0),
            swapped_pages_per_s: Some(0.0),
            memory_available_pct: Some(60.0),
            frequency_change_pct: Some(-1.0),
            other_runnable_tasks: Some(0.4),
            quota_throttled_pct: Some(0.0),
            memory_pressure_pct: Some(0.1),
            gpu_other_processes: Some(0),
            gpu_throttled_pct: Some(0.0),
            ..MachineEvidence::default()
        }),
        nan_outputs: 0,
        graph_output_deviation: Some(1e-5),
    }
}

/// The only finding of `sound()` after a change, and its severity.
fn finding(change: impl FnOnce(&mut Evidence)) -> (FindingName, Verdict) {
    let mut evidence = sound();
    change(&mut evidence);
    let validity = judge(&evidence);
    assert_eq!(validity.findings.len(), 1, "{validity:?}");
    assert_eq!(validity.verdict, validity.findings[0].severity);
    (validity.findings[0].name, validity.verdict)
}

fn machine(evidence: &mut Evidence) -> &mut MachineEvidence {
    evidence.machine.as_mut().unwrap()
}

#[test]
fn a_sound_measurement_has_no_findings() {
    assert_eq!(judge(&sound()), Validity { verdict: Verdict::Valid, findings: Vec::new() });
    assert_eq!(judge(&Evidence::default()).verdict, Verdict::Valid);
}

#[test]
fn each_doubt_gives_its_finding() {
    use FindingName as F;
    use Verdict::{Invalid, Suspect, Valid};
    assert_eq!(finding(|e| e.generator.saturated = true), (F::GeneratorSaturated, Invalid));
    assert_eq!(finding(|e| machine(e).steal_pct = Some(1.1)), (F::CpuSteal, Suspect));
    assert_eq!(finding(|e| machine(e).steal_pct = Some(11.0)), (F::CpuSteal, Invalid));
    assert_eq!(finding(|e| machine(e).other_cpu_pct = Some(6.0)), (F::OtherLoad, Suspect));
    assert_eq!(finding(|e| machine(e).other_cpu_pct = Some(60.0)), (F::OtherLoad, Invalid));
    assert_eq!(finding(|e| machine(e).swapped_pages_per_s = Some(11.0)), (F::Swapping, Suspect));
    assert_eq!(
        finding(|e| machine(e).memory_available_pct = Some(4.0)),
        (F::MemoryPressure, Suspect)
    );
    assert_eq!(finding(|e| machine(e).frequency_change_pct = Some(-6.0)), (F::Frequency, Suspect));
    assert_eq!(finding(|e| machine(e).other_runnable_tasks = Some(1.1)), (F::RunQueue, Suspect));
    assert_eq!(finding(|e| machine(e).quota_throttled_pct = Some(2.0)), (F::CpuThrottled, Suspect));
    assert_eq!(
        finding(|e| machine(e).quota_throttled_pct = Some(20.0)),
        (F::CpuThrottled, Invalid)
    );
    assert_eq!(finding(|e| machine(e).memory_pressure_pct = Some(1.5)), (F::MemoryStall, Suspect));
    assert_eq!(finding(|e| machine(e).gpu_other_processes = Some(2)), (F::GpuShared, Suspect));
    assert_eq!(finding(|e| machine(e).gpu_throttled_pct = Some(50.0)), (F::GpuThrottled, Suspect));
    assert_eq!(finding(|e| machine(e).gpus_lost = 1), (F::GpuLost, Suspect));
    assert_eq!(finding(|e| machine(e).burst_credits = true), (F::BurstCredits, Valid));
    assert_eq!(finding(|e| e.nan_outputs = 3), (F::NanOutputs, Valid));
    let deviates = |e: &mut Evidence| e.graph_output_deviation = Some(1.1e-4);
    assert_eq!(finding(deviates), (F::OutputDeviation, Suspect));
    assert_eq!(finding(|e| e.mode = Some(Mode::Quick)), (F::NoBurnIn, Valid));
    assert_eq!(finding(|e| e.failed_calls = 11), (F::Errors, Suspect));
    assert_eq!(finding(|e| e.failed_calls = 101), (F::Errors, Invalid));
    let answered = |e: &mut Evidence, change: fn(&mut Answer)| change(e.answer.as_mut().unwrap());
    assert_eq!(
        finding(|e| answered(e, |a| a.capacity.low = rate(96.0))),
        (F::IntervalTooWide, Suspect)
    );
    assert_eq!(finding(|e| answered(e, |a| a.out_of_time = true)), (F::OutOfTime, Suspect));
    assert_eq!(
        finding(|e| answered(e, |a| a.confirmation = Confirmation::Missed)),
        (F::ConfirmationMissed, Invalid)
    );
    assert_eq!(
        finding(|e| answered(e, |a| a.drift = Some(Drift { relative_change: -0.02 }))),
        (F::Drift, Suspect)
    );
}

#[test]
fn lag_is_measured_against_the_constraint_and_the_median() {
    let lag = |evidence: &Evidence| {
        judge(evidence).findings.first().map(|found| (found.threshold, found.severity))
    };
    let with = |lag_us: f64, median_us: Option<f64>, shares_cores: bool| {
        let generator =
            GeneratorEvidence { lag_p99_us: Some(lag_us), saturated: false, shares_cores };
        Evidence { generator, median_latency_us: median_us, ..sound() }
    };
    // 1 % of 50 ms.
    assert_eq!(lag(&with(499.0, Some(20_000.0), false)), None);
    assert_eq!(lag(&with(501.0, Some(20_000.0), false)), Some((500.0, Verdict::Suspect)));
    // 10 % of 1 ms is less.
    assert_eq!(lag(&with(101.0, Some(1_000.0), false)), Some((100.0, Verdict::Suspect)));
    assert_eq!(lag(&with(1_001.0, Some(1_000.0), false)), Some((100.0, Verdict::Invalid)));
    // A time slice on busy cores is expected.
    assert_eq!(lag(&with(3_900.0, Some(1_000.0), true)), None);
    assert_eq!(lag(&with(4_100.0, Some(1_000.0), true)), Some((4_000.0, Verdict::Suspect)));
    // Without either there is nothing to compare with.
    assert_eq!(lag(&Evidence { constraints: Vec::new(), ..with(1e6, None, false) }), None);
}

#[test]
fn a_percentile_needs_calls_beyond_it() {
    let few = |slo: &str, calls: u64| {
        let evidence =
            Evidence { constraints: vec![slo.parse().unwrap()], calls, failed_calls: 0, ..sound() };
        judge(&evidence).findings.first().map(|found| (found.name, found.threshold))
    };
    assert_eq!(few("p95<=50ms", 199), Some((FindingName::TooFewSamples, 200.0)));
    assert_eq!(few("p95<=50ms", 200), None);
    assert_eq!(few("p99<=50ms", 999), Some((FindingName::TooFewSamples, 1000.0)));
    assert_eq!(few("p99<=50ms", 1000), None);
}

#[test]
fn an_interval_that_means_nothing_makes_the_trial_invalid() {
    let with = |low: f64, high: f64| {
        finding(|evidence| {
            let capacity = &mut evidence.answer.as_mut().unwrap().capacity;
            (capacity.low, capacity.high) = (rate(low), rate(high));
        })
    };
    assert_eq!(with(75.5, 125.0), (FindingName::IntervalTooWide, Verdict::Suspect));
    assert_eq!(with(74.5, 125.0), (FindingName::IntervalTooWide, Verdict::Invalid));
    assert_eq!(with(0.0, 10_100.0), (FindingName::IntervalTooWide, Verdict::Invalid));
}

#[test]
fn a_percentile_of_fewer_calls_than_it_needs_makes_the_trial_invalid() {
    let with = |slo: &str, calls: u64| {
        finding(|evidence| {
            evidence.constraints = vec![slo.parse().unwrap()];
            (evidence.calls, evidence.failed_calls) = (calls, 0);
        })
    };
    assert_eq!(with("p95<=50ms", 20), (FindingName::TooFewSamples, Verdict::Suspect));
    assert_eq!(with("p95<=50ms", 19), (FindingName::TooFewSamples, Verdict::Invalid));
    assert_eq!(with("p99<=50ms", 100), (FindingName::TooFewSamples, Verdict::Suspect));
    assert_eq!(with("p99<=50ms", 99), (FindingName::TooFewSamples, Verdict::Invalid));
}

#[test]
fn users_must_equal_throughput_times_latency() {
    let step = |per_second: f64, answered: u64| {
        let step = ClosedLoopEvidence { users: 4, answered, per_second, mean_latency_us: 40_000.0 };
        judge(&Evidence { closed_loop: vec![step], ..sound() })
            .findings
            .first()
            .map(|found| found.name)
    };
    assert_eq!(step(104.0, 400), None);
    assert_eq!(step(106.0, 400), Some(FindingName::LittleLaw));
    assert_eq!(step(94.0, 400), Some(FindingName::LittleLaw));
    assert_eq!(step(50.0, 159), None, "too short to tell");
}

#[test]
fn what_is_found_is_a_number_whatever_it_was_computed_from() {
    let of = |value, threshold| {
        let name = FindingName::Drift;
        let finding = Finding { name, value, threshold, severity: Verdict::Suspect };
        Validity::from_findings(vec![finding]).findings.remove(0)
    };
    let found = of(f64::NAN, f64::INFINITY);
    assert!(found.value.is_finite() && found.threshold.is_finite(), "{found:?}");
    assert!(of(f64::NEG_INFINITY, 1.0).value.is_finite());
}
