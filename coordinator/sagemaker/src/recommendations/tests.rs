use std::num::NonZeroU32;

use assay_measure::{configuration::Allocator, job::JobStatus, search::Mode};
use serde_json::json;

use super::*;

/// A candidate of a ranking as a report holds it.
fn entry(instance_type: &str, usd: Option<f64>, rate: f64, p95_us: u64) -> Entry {
    let result = json!({
        "latency": {
            "count": 100, "mean": 1.0, "p50": 1, "p90": 1, "p95": p95_us, "p99": p95_us + 5,
            "p999": p95_us + 9, "max": p95_us + 9,
        },
        "utilization": {"cpu_pct": 97.25}, "validity": {"verdict": "valid", "findings": []},
        "host": {"cpu_model": "AMD EPYC", "vcpus": 4, "memory_bytes": 8}, "limits_in_force": [],
        "harness": {"cpu_share_pct": 0.8, "lag_p50_us": 1, "lag_p99_us": 2, "sampler_cpu_s": 0.1},
        "nan_outputs": 0, "calls": 100, "failed_calls": 0, "ready_after": {"secs": 1, "nanos": 0},
        "took": {"secs": 50, "nanos": 0},
    });
    Entry {
        trial: "demo/1".parse().ok(),
        max_invocations_per_min: Some(rate),
        meets: true,
        result: Some(serde_json::from_value(result).unwrap()),
        memory_utilization_pct: Some(12.5),
        configuration: Some(Configuration::cpu(2.try_into().unwrap(), NonZeroU32::MIN)),
        cost_per_hour_usd: usd,
        ..Entry::new(instance_type.parse().unwrap(), Mode::Quick, 7)
    }
}

fn report(ranking: &[Entry], rejected: &[Entry], failed: &[Entry]) -> JobReport {
    JobReport {
        status: JobStatus::Completed,
        ranking: ranking.to_vec(),
        rejected: rejected.to_vec(),
        failed: failed.to_vec(),
        ..JobReport::new("demo".parse().unwrap(), "2026-11-22T14:00:00Z".parse().unwrap())
    }
}

/// The rows of the page that this project began from, in its order.
fn of_the_page() -> [Entry; 3] {
    [
        entry("ml.c5.xlarge", Some(0.204), 648.0, 263_596),
        entry("ml.c5d.large", Some(0.115), 655.0, 826_019),
        entry("ml.m5.large", Some(0.115), 570.0, 1_085_446),
    ]
}

fn ended(status: Status) -> TrialRecord {
    TrialRecord {
        status,
        configuration: None,
        specification: None,
        brought_along: BTreeSet::new(),
        invocations: None,
    }
}

struct Case {
    report: JobReport,
    trials: BTreeMap<String, TrialRecord>,
}

impl Case {
    fn new(report: JobReport) -> Self {
        Self { report, trials: BTreeMap::new() }
    }

    fn results(&self) -> Results<'_> {
        Results {
            report: &self.report,
            trials: &self.trials,
            target: None,
            percentile: LatencyPercentile::P95,
            latency_unit: LatencyUnit::Microseconds,
        }
    }
}

fn types(found: &[InferenceRecommendation]) -> Vec<&str> {
    found.iter().filter_map(|one| one.endpoint_configuration.instance_type.as_deref()).collect()
}

fn metrics(found: &InferenceRecommendation) -> &RecommendationMetrics {
    found.metrics.as_ref().unwrap()
}

#[test]
#[expect(clippy::float_cmp, reason = "golden to the last bit")]
fn the_published_rows_come_out_to_the_last_bit() {
    for (per_hour, rate, instances, hour, inference) in [
        (0.204, 648.0, 1, 0.203_999_996_185_302_73, 5.246_913_588_052_848e-6),
        (0.115, 655.0, 1, 0.115_000_002_086_162_57, 2.926_208_708_231_57e-6),
        (0.115, 570.0, 1, 0.115_000_002_086_162_57, 3.362_573_124_832_124_4e-6),
        (0.23, 371.0, 3, 0.689_999_997_615_814_2, 1.033_243_461_279_198_5e-5),
        (0.736, 1645.0, 1, 0.736_000_001_430_511_5, 7.456_940_238_625_975e-6),
    ] {
        let case = Case::new(report(&[entry("ml.x", Some(per_hour), rate, 1)], &[], &[]));
        let target = (instances > 1).then_some(1000);
        let found = Results { target, ..case.results() }.recommendations(ListOrder::CheapestFirst);
        let figures = metrics(&found[0]);
        assert_eq!(found[0].endpoint_configuration.initial_instance_count, Some(instances));
        assert_eq!(figures.cost_per_hour.unwrap().wide(), hour, "{per_hour}");
        assert_eq!(figures.cost_per_inference.unwrap().wide(), inference, "{per_hour} {rate}");
    }
}

#[test]
fn a_recommendation_reads_like_the_page() {
    let case = Case::new(report(&of_the_page()[..1], &[], &[]));
    let found = case.results().recommendations(ListOrder::CheapestFirst);
    // For ever: scripts keep them.
    let id = "demo/5c2wlmur";
    let endpoint = naming::endpoint("demo", &["demo/1", "ml.c5.xlarge"]);
    assert_eq!(
        serde_json::to_value(&found).unwrap(),
        json!([{
            "RecommendationId": id,
            "Metrics": {
                "CostPerHour": 0.203_999_996_185_302_73,
                "CostPerInference": 5.246_913_588_052_848e-6,
                "MaxInvocations": 648,
                "MaximumInvocations": 648,
                "ModelLatency": 263_596,
                "CpuUtilization": 97.25,
                "MemoryUtilization": 12.5,
            },
            "EndpointConfiguration": {
                "EndpointName": endpoint,
                "VariantName": "AllTraffic",
                "InstanceType": "ml.c5.xlarge",
                "InitialInstanceCount": 1,
            },
            "ModelConfiguration": {
                "Compiled": false,
                "EnvironmentParameters": [
                    {"Key": "SAGEMAKER_MODEL_SERVER_WORKERS", "ValueType": "String", "Value": "2"},
                    {"Key": "OMP_NUM_THREADS", "ValueType": "String", "Value": "1"},
                ],
            },
        }])
    );
}

#[test]
fn either_sdk_deploys_the_cheapest() {
    let case = Case::new(report(&of_the_page(), &[], &[]));
    let v2 = "AWS-SageMaker-Python-SDK/2.100.0 Python/3.9 Boto3/1.24.0 Botocore/1.27.0";
    let now =
        "Boto3/1.44.5 md/Botocore#1.44.5 lang/python#3.11 lib/AWS-SageMaker-Python-SDK#2.257.7";
    for agent in [v2, now] {
        let found = case.results().recommendations(OrderRule::Auto.for_user_agent(agent));
        assert_eq!(types(&found), ["ml.c5.xlarge", "ml.m5.large", "ml.c5d.large"], "{agent}");
    }
    for agent in [
        "",
        "Boto3/1.44.5 lib/AWS-SageMaker-Python-SDK#3.2.0",
        "Boto3/1.44.5 AWS-SageMaker-Python-SDK/20.1",
        "md/AWS-SageMaker-Python-SDK",
    ] {
        let found = case.results().recommendations(OrderRule::Auto.for_user_agent(agent));
        assert_eq!(types(&found), ["ml.c5d.large", "ml.m5.large", "ml.c5.xlarge"], "{agent}");
    }
    let always: OrderRule = "cheapest-first".parse().unwrap();
    assert_eq!(always.for_user_agent(v2), ListOrder::CheapestFirst);
    let last: OrderRule = "cheapest-last".parse().unwrap();
    assert_eq!(last.for_user_agent(""), ListOrder::CheapestLast);
    assert!("cheapest".parse::<OrderRule>().is_err());
}

#[test]
fn the_ten_cheapest_are_told_whatever_the_order() {
    let ranking: Vec<Entry> =
        (1..=12).rev().map(|n| entry(&format!("own.{n}"), Some(f64::from(n)), 100.0, 1)).collect();
    let case = Case::new(report(&ranking, &[], &[]));
    let first = case.results().recommendations(ListOrder::CheapestFirst);
    let mut last = case.results().recommendations(ListOrder::CheapestLast);
    assert_eq!(types(&first)[..2], ["own.1", "own.2"]);
    assert_eq!(first.len(), 10);
    last.reverse();
    assert_eq!(first, last);
}

#[test]
fn an_endpoint_has_as_many_instances_as_the_target_needs() {
    for (target, per_instance, expected) in [
        (1000.0, 371.0, 3),
        (1000.0, 400.0, 3),
        (800.0, 400.0, 2),
        (1.0, 400.0, 1),
        (900.3, 300.1, 3),
    ] {
        assert_eq!(instances_for(target, per_instance), expected, "{target} / {per_instance}");
    }
    let case = Case::new(report(&[entry("ml.x", Some(0.1), 400.9, 1)], &[], &[]));
    let found =
        Results { target: Some(1000), ..case.results() }.recommendations(ListOrder::CheapestFirst);
    assert_eq!(metrics(&found[0]).max_invocations, Some(1202)); // 3 × 400.9, rounded down
}

#[test]
fn milliseconds_are_rounded_up_and_the_percentile_is_the_thresholds() {
    assert_eq!(LatencyUnit::Milliseconds.of_micros(0), 1);
    assert_eq!(LatencyUnit::Milliseconds.of_micros(1001), 2);
    assert_eq!(LatencyUnit::Microseconds.of_micros(u64::MAX), i32::MAX);
    let case = Case::new(report(&[entry("ml.x", None, 1.0, 49_999)], &[], &[]));
    for (percentile, unit, expected) in
        [("P95", "us", 49_999), ("P99", "us", 50_004), ("P99", "ms", 51)]
    {
        let percentile = serde_json::from_value(json!(percentile)).unwrap();
        let results = Results { percentile, latency_unit: unit.parse().unwrap(), ..case.results() };
        let found = results.recommendations(ListOrder::CheapestFirst);
        assert_eq!(metrics(&found[0]).model_latency, Some(expected));
    }
    assert!("s".parse::<LatencyUnit>().is_err());
}

#[test]
fn what_is_not_known_is_left_out() {
    let unpriced =
        Case::new(report(&[entry("own.a", None, 5.0, 1), entry("own.b", None, 4.0, 1)], &[], &[]));
    let found = unpriced.results().recommendations(ListOrder::CheapestFirst);
    assert_eq!(types(&found), ["own.a", "own.b"]);
    assert_eq!(
        (metrics(&found[0]).cost_per_hour, metrics(&found[0]).cost_per_inference),
        (None, None)
    );
    let slow = Case::new(report(&[entry("own.a", Some(1.0), 0.5, 1)], &[], &[]));
    let found = slow.results().recommendations(ListOrder::CheapestFirst);
    assert_eq!(metrics(&found[0]).max_invocations, Some(0));
    assert_eq!(metrics(&found[0]).cost_per_inference, None);
}

#[test]
fn steps_tell_what_failed_and_why() {
    let mut failed = entry("ml.m5.large", None, 1.0, 1);
    failed.max_invocations_per_min = None;
    failed.trial = "demo/8".parse().ok();
    failed.reason = Some(format!("the model host died: {}", "x".repeat(2000)));
    let mut stopped = failed.clone();
    stopped.instance_type = "ml.m5.xlarge".parse().unwrap();
    stopped.trial = "demo/9".parse().ok();
    let mut too_slow = entry("ml.c5.large", Some(0.1), 100.0, 1);
    too_slow.reason = Some("p95 is 80 ms".to_owned());
    let mut case = Case::new(report(&of_the_page()[..1], &[too_slow], &[failed, stopped]));
    let at = |text: &str| Timestamp::new(text.parse().unwrap());
    let times = (at("2026-11-22T14:00:00Z"), at("2026-11-22T14:01:00Z"));
    let record = |status, invocations| TrialRecord { invocations, ..ended(status) };
    case.trials.insert("demo/1".to_owned(), record(Status::Completed, Some(times)));
    case.trials.insert("demo/9".to_owned(), record(Status::Stopped, None));
    let steps = case.results().steps();
    let told: Vec<(&str, bool, Option<usize>)> = steps
        .iter()
        .map(|step| {
            let benchmark = step.inference_benchmark.as_ref().unwrap();
            let reason = benchmark.failure_reason.as_ref().map(|reason| reason.chars().count());
            (step.status.word(), benchmark.metrics.is_some(), reason)
        })
        .collect();
    assert_eq!(
        told,
        [
            ("COMPLETED", true, None),
            ("COMPLETED", true, None),
            ("FAILED", false, Some(1024)),
            ("STOPPED", false, Some(1024))
        ]
    );
    let benchmark = steps[0].inference_benchmark.as_ref().unwrap();
    assert_eq!(benchmark.invocation_start_time.zip(benchmark.invocation_end_time), Some(times));
}

#[test]
fn a_step_keeps_its_endpoint_from_the_queue_to_the_end() {
    let mut measured = of_the_page()[0].clone();
    measured.trial = "demo/7".parse().ok();
    let case = Case::new(report(&[measured], &[], &[]));
    let ended = case.results().steps().remove(0).inference_benchmark.unwrap();
    let candidate: Candidate = serde_json::from_value(json!({
        "instance_type": "ml.c5.xlarge", "shape": {"vcpus": 4, "memory_bytes": 8}, "emulated": false,
        "configuration": case.report.ranking[0].configuration, "trial": "demo/7",
        "foreign_architecture": false,
    }))
    .unwrap();
    let waiting = case.results().unfinished_step(&candidate);
    let waiting = waiting.inference_benchmark.unwrap();
    assert_eq!(waiting.endpoint_configuration, ended.endpoint_configuration);
    assert_eq!(waiting.model_configuration, ended.model_configuration);
}

/// An existing endpoint as a report holds it.
fn existing(name: &str, rate: f64, p95_us: u64) -> Entry {
    let mut entry = entry("own.a", None, rate, p95_us);
    entry.configuration = None;
    entry.endpoint = name.parse().ok();
    entry
}

#[test]
fn an_existing_endpoint_has_its_two_figures() {
    let ranking = [entry("own.a", Some(0.1), 500.0, 9), existing("mine", 171.9, 1312)];
    let case = Case::new(report(&ranking, &[], &[]));
    assert_eq!(
        serde_json::to_value(case.results().endpoint_performance("mine")).unwrap(),
        json!({"Metrics": {"MaxInvocations": 171, "ModelLatency": 1312}, "EndpointInfo": {"EndpointName": "mine"}})
    );
    assert!(case.results().endpoint_performance("other").is_none());
    // Without a price it is rejected by us, and still it has been measured.
    let unpriced = Case::new(report(&[], &[existing("mine", 171.9, 1312)], &[]));
    assert!(unpriced.results().endpoint_performance("mine").is_some());
}

#[test]
fn an_existing_endpoint_is_a_step_of_the_job_and_no_recommendation() {
    let ranking = [existing("mine", 171.9, 1312), entry("own.a", Some(0.1), 500.0, 9)];
    let case = Case::new(report(&ranking, &[], &[]));
    let found = case.results().recommendations(ListOrder::CheapestFirst);
    assert_eq!(found.len(), 1);
    assert_eq!(metrics(&found[0]).max_invocations, Some(500));
    let step = serde_json::to_value(&case.results().steps()[0]).unwrap();
    assert_eq!(step["Status"], "COMPLETED");
    let benchmark = &step["InferenceBenchmark"];
    assert_eq!(benchmark["EndpointMetrics"], json!({"MaxInvocations": 171, "ModelLatency": 1312}));
    assert_eq!(benchmark["EndpointConfiguration"]["EndpointName"], "mine");
    assert_eq!(benchmark["ModelConfiguration"], json!({"Compiled": false}));
    assert!(benchmark.get("Metrics").is_none());
}

#[test]
fn a_recommendation_keeps_its_id_when_another_trial_of_its_candidate_counts() {
    let id = |entry: Entry, trials: BTreeMap<String, TrialRecord>| {
        let case = Case { report: report(&[entry], &[], &[]), trials };
        case.results().recommendations(ListOrder::CheapestFirst)[0].recommendation_id.clone()
    };
    let quick = entry("ml.c5.large", Some(0.1), 100.0, 1);
    let mut full = quick.clone();
    full.trial = "demo/9".parse().ok();
    full.max_invocations_per_min = Some(120.0);
    let first_shown = id(quick.clone(), BTreeMap::new());
    assert_eq!(first_shown, id(full.clone(), BTreeMap::new()));

    // The host had no tuned allocator: what was asked for is still the same.
    let asked = full.configuration.clone();
    full.configuration.as_mut().unwrap().allocator = Allocator::Default;
    let record = TrialRecord { configuration: asked, ..ended(Status::Completed) };
    assert_eq!(first_shown, id(full.clone(), BTreeMap::from([("demo/9".to_owned(), record)])));
    assert_ne!(first_shown, id(full, BTreeMap::new()), "another configuration has another id");
}
