//! Reports of whole jobs: the lists, the figures, the reasons.

use assay_measure::{
    configuration::{Graph, Precision},
    hardware::LimitInForce,
    outcome::OutputDeviation,
    search::{Confirmation, Mode, Purpose},
    stepped_load::StopCause,
    units::{Bytes, Rate},
    validity::{Finding, FindingName, Validity},
};

use super::{
    samples::{facts, step},
    *,
};
use crate::{
    planner::{Serving, Stage},
    testing::{self, measured, measurement},
};

/// Two shapes, so two trials.
const TYPES: &[&str] = &["own.small=2x2GiB@0.05", "own.other=1x2GiB@0.04"];

fn reported(facts: &JobFacts) -> JobReport {
    build(facts, Overrides::default())
}

fn types(entries: &[Entry]) -> Vec<&str> {
    entries.iter().map(|entry| entry.instance_type.as_str()).collect()
}

fn has(warnings: &[String], part: &str) -> bool {
    warnings.iter().any(|warning| warning.contains(part))
}

#[test]
fn the_cost_is_the_quotient_of_the_two_figures_shown_to_the_last_bit() {
    for rate in [648.0, 655.0, 570.0, 2_655.873_219, 0.001, 1234.5678] {
        let job =
            facts(&["ml.c5.large", "ml.m5.large"], vec![measured(measurement(rate, rate / 100.0))]);
        let text = serde_json::to_string(&reported(&job)).unwrap();
        let report: serde_json::Value = serde_json::from_str(&text).unwrap();
        let entries = report["ranking"].as_array().unwrap();
        assert_eq!(entries.len(), 2);
        for entry in entries {
            let figure = |name: &str| entry[name].as_f64().unwrap();
            let expected = figure("cost_per_hour_usd") / (60.0 * figure("max_invocations_per_min"));
            assert_eq!(figure("cost_per_inference_usd").to_bits(), expected.to_bits(), "{entry}");
        }
    }
}

#[test]
fn a_shared_trial_says_so_and_each_type_keeps_its_own_price_and_memory() {
    let mut figures = measurement(2655.0, 18.0);
    figures.utilization.host_memory_bytes = Some(Bytes::gib(1));
    let report = reported(&facts(&["ml.c5.large", "ml.m5.large"], vec![measured(figures)]));
    assert_eq!(types(&report.ranking), ["ml.c5.large", "ml.m5.large"]);
    let [first, second] = &report.ranking[..] else { panic!("two entries") };
    assert_eq!(
        (&first.shared_trial_with[0], &second.shared_trial_with[0]),
        (&second.instance_type, &first.instance_type)
    );
    assert_eq!(
        (first.memory_utilization_pct, second.memory_utilization_pct),
        (Some(25.0), Some(12.5))
    );
    assert_eq!((first.cost_per_hour_usd, second.cost_per_hour_usd), (Some(0.102), Some(0.115)));
    assert!(
        first.price.as_ref().unwrap().estimate && has(&first.warnings, "the price is an estimate")
    );
    assert!(!second.price.as_ref().unwrap().estimate);
    assert!(first.emulated && has(&first.warnings, "compare shapes with it, not clouds"));
    assert_eq!(report.recommendation(), Some(first));
    assert_eq!(report.no_recommendation_reason, None);
}

#[test]
fn all_invalid_trials_end_in_failed_with_no_recommendation() {
    let bad = || measured(testing::with_verdict(measurement(100.0, 1.0), Verdict::Invalid));
    let mut job = facts(TYPES, vec![bad(), bad()]);
    job.trials.values_mut().for_each(|trial| trial.repeats = 2);
    let report = reported(&job);
    assert!(report.ranking.is_empty() && report.rejected.is_empty());
    assert_eq!(types(&report.failed), ["own.small", "own.other"]);
    assert_eq!(
        report.failed[0].reason.as_deref().unwrap(),
        "measurement invalid, measured 3 times: 12.0 % of CPU time was stolen by the hypervisor (limit 1)"
    );
    assert_eq!(report.recommendation(), None);
    assert_eq!(report.no_recommendation_reason.unwrap(), "no valid measurement (2 invalid)");
}

#[test]
fn a_candidate_without_a_price_is_listed_and_left_out_of_the_ranking() {
    let job = facts(
        &["own.a=1x2GiB", "own.b=2x2GiB@0.05"],
        vec![measured(measurement(900.0, 1.0)), measured(measurement(100.0, 1.0))],
    );
    let report = reported(&job);
    assert_eq!((report.ranked_by, types(&report.ranking)), (RankedBy::Cost, vec!["own.b"]));
    assert_eq!(types(&report.rejected), ["own.a"]);
    let unpriced = &report.rejected[0];
    assert_eq!(
        unpriced.reason.as_deref(),
        Some(r#"no price for instance type "own.a", so cost cannot be ranked"#)
    );
    assert!(
        unpriced.meets
            && unpriced.max_invocations_per_min == Some(900.0)
            && unpriced.price.is_none()
    );
    assert!(has(&report.warnings, r#"no price for instance type "own.a""#));
    assert!(has(&report.warnings, "assay prices set own.a --per-hour"));
}

#[test]
fn when_no_candidate_has_a_price_throughput_ranks_and_the_report_says_so() {
    let job = facts(
        &["own.a=1x2GiB", "own.b=2x2GiB"],
        vec![measured(measurement(100.0, 1.0)), measured(measurement(190.0, 1.0))],
    );
    let report = reported(&job);
    assert_eq!(
        (report.ranked_by, types(&report.ranking)),
        (RankedBy::Throughput, vec!["own.b", "own.a"])
    );
    assert!(has(&report.warnings, "no candidate has a price, so the ranking is by throughput"));
    assert_eq!(report.recommendation().unwrap().cost_per_inference_usd, None);
}

#[test]
fn a_missed_constraint_rejects_with_how_far_off_it_is_and_names_the_closest() {
    let slow = || testing::failed(FailureKind::TooSlow, "even one request at a time is too slow");
    let mut missed = measurement(900.0, 1.0);
    missed.latency = Some(testing::latency(52_000));
    missed.answer.as_mut().unwrap().confirmation = Confirmation::Missed;
    let mut job = facts(TYPES, vec![slow(), measured(missed)]);
    job.spec.constraints = vec!["p95<=50ms".parse().unwrap()];
    let report = reported(&job);
    assert_eq!(types(&report.rejected), ["own.small", "own.other"]);
    assert_eq!(
        report.rejected[0].reason.as_deref(),
        Some("p95 of one request at a time is 61 ms, 11 ms over")
    );
    assert_eq!(report.rejected[1].reason.as_deref(), Some("p95 at 900/min is 52 ms, 2 ms over"));
    assert!(report.rejected.iter().all(|entry| !entry.meets) && report.failed.is_empty());
    let reason = report.no_recommendation_reason.unwrap();
    assert!(
        reason.starts_with("no candidate meets the constraints; the closest is own.other"),
        "{reason}"
    );
}

#[test]
fn every_other_ending_is_named_in_failed() {
    let mut job = facts(
        &["own.a=1x1GiB@1", "own.b=2x1GiB@1"],
        vec![
            testing::failed(FailureKind::HostCrashed, "the model host died: signal 11"),
            measured(measurement(1.0, 0.0)),
        ],
    );
    let second = job.plan.trials[1].id.clone();
    for (end, expected) in [
        (
            TrialEnd::Lost { losses: 3, last_agent: "a1".parse().unwrap() },
            "lost 3 times, the last time with agent a1",
        ),
        (
            TrialEnd::NotRun { by: "the job's time limit".to_owned() },
            "not measured: the job ran out of time after 1800s; allow more with --max-duration",
        ),
        (
            TrialEnd::Reported { outcome: TrialOutcome::Cancelled { by: "ann".to_owned() } },
            "cancelled by ann",
        ),
    ] {
        job.trials.get_mut(&second).unwrap().end = Some(end);
        let report = reported(&job);
        let reasons: Vec<&str> =
            report.failed.iter().map(|entry| entry.reason.as_deref().unwrap()).collect();
        assert_eq!(reasons, ["the model host died: signal 11", expected]);
        let reason = report.no_recommendation_reason.unwrap();
        assert_eq!(reason, "no candidate could be measured; own.a: the model host died: signal 11");
    }
}

#[test]
fn a_running_job_reports_what_it_has() {
    let mut job =
        facts(TYPES, vec![measured(measurement(900.0, 1.0)), measured(measurement(1.0, 0.0))]);
    job.status = JobStatus::Running;
    job.finished_at = None;
    let second = job.plan.trials[1].id.clone();
    job.trials.get_mut(&second).unwrap().end = None;
    let report = reported(&job);
    assert_eq!(report.progress, Progress { trials: 2, ended: 1 });
    assert_eq!((types(&report.ranking), report.failed.len()), (vec!["own.small"], 0));
    job.trials.clear();
    assert_eq!(
        reported(&job).no_recommendation_reason.unwrap(),
        "no candidate has been measured yet"
    );
}

#[test]
fn a_candidate_that_answered_nothing_is_never_ranked() {
    let job = facts(TYPES, vec![measured(measurement(0.0, 0.0)), measured(measurement(5.0, 0.1))]);
    let report = reported(&job);
    assert_eq!(types(&report.ranking), ["own.other"]);
    assert_eq!(report.failed[0].reason.as_deref(), Some("no call was answered"));
    assert_eq!(report.failed[0].cost_per_inference_usd, None);
}

#[test]
fn other_goals_and_another_demand_rank_the_same_measurements_anew() {
    let job =
        facts(TYPES, vec![measured(measurement(1000.0, 1.0)), measured(measurement(900.0, 1.0))]);
    let plain = reported(&job);
    assert_eq!(
        (types(&plain.ranking), plain.ranking[0].sizing),
        (vec!["own.other", "own.small"], None)
    );
    let demand = Demand { rate: Rate::per_minute(1400.0).unwrap(), headroom_pct: 70 };
    let overrides = Overrides { goals: "throughput=highest".parse().ok(), demand: Some(demand) };
    let other = build(&job, overrides);
    assert_eq!(
        (other.ranked_by, types(&other.ranking)),
        (RankedBy::Goals, vec!["own.small", "own.other"])
    );
    assert_eq!(other.ranking[0].sizing.unwrap().instance_count, 2);
    assert_eq!(other.ranking[1].sizing.unwrap().instance_count, 3);
}

#[test]
fn burst_credits_steal_and_missing_limits_are_warned_of() {
    let mut figures = testing::with_verdict(measurement(500.0, 1.0), Verdict::Suspect);
    figures.nan_outputs = 3;
    figures.failed_calls = 1;
    figures.first_error = Some("500: boom".to_owned());
    figures.limits_in_force = vec![LimitInForce::CpuSetAffinity];
    let report = reported(&facts(&["ml.t2.medium"], vec![measured(figures)]));
    let entry = &report.ranking[0];
    for expected in [
        "lives on burst credits",
        "12.0 % of CPU time was stolen",
        "3 of 1000 calls returned NaN",
        "1 of 1000 calls failed; the first: 500: boom",
        "memory was not limited to 4 GiB",
    ] {
        assert!(has(&entry.warnings, expected), "{expected}: {:?}", entry.warnings);
    }
    assert!(!has(&entry.warnings, "the processors were not limited"));
    let findings = &entry.validity.as_ref().unwrap().findings;
    assert!(
        findings
            .iter()
            .any(|found| found.name == assay_measure::validity::FindingName::BurstCredits)
    );
    assert!(has(&report.warnings, "quick mode heats the machine for seconds only"));
}

#[test]
fn what_a_model_brings_along_and_its_process_does_not_get_is_named() {
    let mut job = facts(&["own.small=2x2GiB@0.05"], vec![measured(measurement(500.0, 1.0))]);
    let Serving::Configured(asked) = &mut job.plan.candidates[0].serving else {
        panic!("a model is served")
    };
    for (name, value) in [("KMP_BLOCKTIME", "0"), ("LABELS", "cat,dog"), ("LD_PRELOAD", "/x.so")] {
        asked.environment.insert(name.to_owned(), value.to_owned());
    }
    let report = reported(&job);
    let warnings = &report.ranking[0].warnings;
    let expected = "the environment variables LABELS, LD_PRELOAD are recorded and not set";
    assert!(has(warnings, expected), "{warnings:?}");
}

#[test]
fn the_deviation_of_outputs_stands_beside_the_figures_of_another_precision() {
    // The fixture measures what was planned; here the trial's figures are changed after that.
    let warnings = |change: &dyn Fn(&mut TrialResult)| {
        let mut job = facts(&["own.small=2x2GiB@0.05"], vec![measured(measurement(500.0, 1.0))]);
        let trial = job.trials.values_mut().next().unwrap();
        let Some(TrialEnd::Reported { outcome: TrialOutcome::Measured(figures) }) = &mut trial.end
        else {
            panic!("not measured")
        };
        change(figures);
        reported(&job).ranking[0].clone()
    };
    let deviation = OutputDeviation { max: 0.0083, mean: 0.00052 };
    let rounded = warnings(&|figures| {
        figures.configuration.as_mut().unwrap().dtype = Precision::Bfloat16;
        figures.output_deviation = Some(deviation);
    });
    assert_eq!(rounded.result.as_ref().unwrap().output_deviation, Some(deviation));
    let told = "outputs differ from plain float32 by up to 0.83 % (mean 0.052 %)";
    assert!(has(&rounded.warnings, told), "{:?}", rounded.warnings);
    let optimized = warnings(&|figures| {
        figures.configuration.as_mut().unwrap().graph = Graph::Optimized;
        figures.output_deviation = Some(OutputDeviation { max: 2e-6, mean: 3e-7 });
    });
    assert!(optimized.result.as_ref().unwrap().output_deviation.is_some());
    assert!(!has(&optimized.warnings, "outputs"), "{:?}", optimized.warnings);
    let wrong = warnings(&|figures| {
        figures.validity = Validity::from_findings(vec![Finding {
            name: FindingName::OutputDeviation,
            value: 0.125,
            threshold: 1e-4,
            severity: Verdict::Suspect,
        }]);
    });
    let told =
        "outputs of the optimized graph differ from the plain one's by up to 12 % (limit 0.010 %)";
    assert!(has(&wrong.warnings, told), "{:?}", wrong.warnings);
    let unknown = warnings(&|figures| figures.comparison_failure = Some("no time".to_owned()));
    let told = "outputs were not compared with plain float32: no time";
    assert!(has(&unknown.warnings, told), "{:?}", unknown.warnings);
    let told = "passed over .DS_Store";
    let remarked = warnings(&|figures| figures.remarks.push(told.to_owned()));
    assert!(has(&remarked.warnings, told), "{:?}", remarked.warnings);
}

#[test]
fn a_fixed_load_is_ranked_by_what_it_carried_without_an_interval() {
    let mut figures = measurement(1.0, 0.0);
    figures.answer = None;
    let mut job = facts(&["own.small=2x2GiB@0.05"], vec![measured(figures)]);
    let fixed = |per_minute: f64, accepted| StepResult {
        purpose: Purpose::Fixed,
        achieved: Rate::per_minute(per_minute).unwrap(),
        accepted,
        ..step(4, 20_000)
    };
    let trial = job.trials.values_mut().next().unwrap();
    trial.steps =
        vec![fixed(300.0, Some(true)), fixed(600.0, Some(true)), fixed(800.0, Some(false))];
    let entry = reported(&job).ranking.remove(0);
    assert_eq!((entry.max_invocations_per_min, entry.max_invocations_ci95), (Some(600.0), None));
    assert_eq!((entry.score_ci95, entry.cost_per_inference_ci95), (None, None));
    assert!(entry.score.is_some());
    assert!(has(&entry.warnings, "a fixed load shows what was carried"));
    assert_eq!(entry.steps.len(), 3);
}

#[test]
fn a_load_with_stopping_conditions_says_why_it_stopped() {
    let mut figures = measurement(600.0, 6.0);
    figures.stopped_by = Some(StopCause::FlatInvocations);
    let entry =
        reported(&facts(&["own.small=2x2GiB@0.05"], vec![measured(figures)])).ranking.remove(0);
    assert_eq!(entry.max_invocations_ci95, Some([594.0, 606.0]));
    assert_eq!(entry.result.as_ref().unwrap().stopped_by, Some(StopCause::FlatInvocations));
    assert!(has(&entry.warnings, "more users brought no more invocations"));
    assert!(!has(&entry.warnings, "a fixed load shows what was carried"));
}

#[test]
fn a_percentile_above_its_limit_is_explained_where_the_answer_was_confirmed() {
    let explained = |constraint: &str| {
        let mut job = facts(&["own.a=1x2GiB@0.05"], vec![measured(measurement(100.0, 3.0))]);
        job.spec.constraints = vec![constraint.parse().unwrap()];
        let report = reported(&job);
        has(&report.ranking[0].warnings, "because of sampling noise")
    };
    assert!(explained("p95<=1ms"));
    assert!(!explained("p95<=10s"));
}

#[test]
fn a_tie_for_the_first_rank_is_said_aloud() {
    let job = facts(
        &["own.a=1x2GiB@0.05", "own.b=2x2GiB@0.05"],
        vec![measured(measurement(100.0, 3.0)), measured(measurement(101.0, 3.0))],
    );
    let report = reported(&job);
    assert_eq!(report.ranking[0].tied_with, [2]);
    assert!(has(&report.warnings, "#1 is tied with #2"));
}

#[test]
fn a_type_that_cannot_be_measured_is_rejected_in_the_report() {
    let job = facts(
        &["ml.c6i.24xlarge", "own.small=2x2GiB@0.05"],
        vec![measured(measurement(100.0, 3.0))],
    );
    let report = reported(&job);
    assert_eq!(types(&report.rejected), ["ml.c6i.24xlarge"]);
    assert!(
        report.rejected[0].reason.as_deref().unwrap().contains("needs 96 vCPU, this machine has 2")
    );
    assert!(report.rejected[0].configuration.is_none());
}

/// A full job with two configurations, of which the second won the quick race.
fn raced(full: Option<TrialEnd>) -> JobFacts {
    let mut job = facts(&["own.a=1x2GiB@0.05"], vec![measured(measurement(100.0, 3.0))]);
    job.spec.mode = Mode::Full;
    let screening = job.plan.trials[0].clone();
    let mut second = screening.clone();
    second.id = "demo/2".parse().unwrap();
    if let Some(search) = &mut second.search {
        search.mode = Mode::Full;
    }
    job.trials.insert(
        second.id.clone(),
        TrialFacts { end: full, steps: vec![step(1, 61_000)], repeats: 0 },
    );
    let candidate = &mut job.plan.candidates[0];
    candidate.stage = Stage::Final { screening: screening.id.clone() };
    candidate.trial = second.id.clone();
    job.plan.trials.push(second);
    job
}

#[test]
fn full_figures_count_once_they_are_there_and_quick_ones_until_then() {
    let end = |outcome| Some(TrialEnd::Reported { outcome });
    let report = reported(&raced(end(measured(measurement(90.0, 1.0)))));
    let entry = &report.ranking[0];
    assert_eq!(entry.max_invocations_per_min, Some(90.0));
    assert_eq!(
        (entry.trial.as_ref().map(TrialId::as_str), entry.mode),
        (Some("demo/2"), Mode::Full)
    );
    assert!(!has(&entry.warnings, "quickly"), "{:?}", entry.warnings);
    let cut_short = end(TrialOutcome::Cancelled { by: "Ctrl-C".to_owned() });
    for unfinished in [None, cut_short] {
        let report = reported(&raced(unfinished));
        let entry = &report.ranking[0];
        assert_eq!(entry.max_invocations_per_min, Some(100.0));
        assert_eq!(
            (entry.trial.as_ref().map(TrialId::as_str), entry.mode),
            (Some("demo/1"), Mode::Quick)
        );
        assert!(has(&entry.warnings, "measured quickly only"), "{:?}", entry.warnings);
    }
    let crashed = testing::failed(FailureKind::HostCrashed, "x");
    assert_eq!(types(&reported(&raced(end(crashed))).failed), ["own.a"]);
}

#[test]
fn an_endpoint_is_ranked_and_priced_by_the_type_of_its_agent_and_has_no_configuration() {
    let report = build(&samples::of_an_endpoint(), Overrides::default());
    let best = report.recommendation().unwrap();
    assert_eq!((&best.endpoint, &best.configuration), (&"mine".parse().ok(), &None));
    assert_eq!(best.serving().as_deref(), Some("endpoint mine"));
    assert_eq!(best.instance_type.as_str(), "ml.c5.large");
    assert!(best.cost_per_inference_usd.is_some());
    assert!(best.warnings.iter().any(|told| told.contains("measured from outside")), "{best:?}");
    assert_eq!((report.about(), report.model), ("endpoint mine".to_owned(), None));
}

#[test]
fn running_out_of_time_is_never_told_as_a_missed_constraint() {
    let late = || testing::failed(FailureKind::OutOfTime, "the search ran out of time after 40 s");
    let mut job = facts(&["own.a=1x1GiB@1"], vec![late()]);
    job.spec.constraints = vec!["p95<=50ms".parse().unwrap()];
    let report = reported(&job);
    assert!(report.rejected.is_empty() && report.leaves_open());
    let entry = &report.failed[0];
    assert_eq!(entry.failure_kind, Some(FailureKind::OutOfTime));
    let told = "the search ran out of time after 40 s; allow more with --max-duration";
    assert_eq!(entry.reason.as_deref(), Some(told));
    let why = format!("no candidate could be measured; own.a: {told}");
    assert_eq!(report.no_recommendation_reason, Some(why));
    // Beside one that missed the constraint, it leaves open whether any meets it.
    let slow = testing::failed(FailureKind::TooSlow, "even one request at a time is too slow");
    let mut job = facts(TYPES, vec![late(), slow]);
    job.spec.constraints = vec!["p95<=50ms".parse().unwrap()];
    let report = reported(&job);
    assert!(report.leaves_open());
    let why = report.no_recommendation_reason.unwrap();
    let expected =
        "no candidate that was judged meets the constraints, 1 is still open; the closest is";
    assert!(why.starts_with(expected), "{why}");
}

#[test]
fn a_negative_answer_of_a_disturbed_minute_rejects_nobody_for_good() {
    let TrialOutcome::Failed(failure) = testing::failed(FailureKind::TooSlow, "too slow") else {
        panic!("a failure")
    };
    let validity = Some(testing::with_verdict(measurement(1.0, 0.1), Verdict::Invalid).validity);
    let disturbed = TrialOutcome::Failed(Failure { validity, ..failure });
    let mut job = facts(&["own.a=1x1GiB@1"], vec![disturbed]);
    job.spec.constraints = vec!["p95<=50ms".parse().unwrap()];
    job.trials.values_mut().next().unwrap().repeats = 2;
    let report = reported(&job);
    assert!(report.rejected.is_empty() && report.leaves_open());
    let reason = report.failed[0].reason.as_deref().unwrap();
    assert!(reason.starts_with("measurement invalid, measured 3 times: "), "{reason}");
    assert!(reason.ends_with("(too slow)"), "{reason}");
    assert_eq!(report.failed[0].validity.as_ref().unwrap().verdict, Verdict::Invalid);
    let why = report.no_recommendation_reason.unwrap();
    assert_eq!(why, "no valid measurement (1 invalid)");
}
