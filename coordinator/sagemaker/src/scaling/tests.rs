use std::time::Duration;

use assay_measure::{hardware::Utilization, latency::Latency, units::Rate};
use proptest::prelude::*;
use serde_json::json;

use super::*;

fn step(users: u32, per_minute: f64, cpu_pct: f64, p95_us: u64) -> StepResult {
    StepResult {
        users: Some(users),
        achieved: Rate::per_minute(per_minute).unwrap(),
        latency: Some(Latency {
            count: 1000,
            mean_us: 1.0,
            p50_us: 1,
            p90_us: 1,
            p95_us,
            p99_us: 2 * p95_us,
            p999_us: 2 * p95_us,
            max_us: 2 * p95_us,
        }),
        utilization: Utilization { cpu_pct: Some(cpu_pct), ..Utilization::default() },
        ..StepResult::unmeasured(users, Purpose::Staircase, Duration::from_secs(2))
    }
}

/// A curve with a bend: the third user brings less than the second.
fn bent() -> Vec<StepResult> {
    vec![step(1, 600.0, 20.0, 10_000), step(2, 1200.0, 40.0, 11_000), step(3, 1500.0, 60.0, 16_000)]
}

fn answer(
    steps: &[StepResult],
    request: serde_json::Value,
) -> Result<GetScalingConfigurationRecommendationResponse, ApiError> {
    let mut document =
        json!({"InferenceRecommendationsJobName": "demo", "RecommendationId": "demo/abcdefgh"});
    document.as_object_mut().unwrap().extend(request.as_object().unwrap().clone());
    let measured = Measured {
        steps,
        endpoint_max_invocations: 1500,
        percentile: LatencyPercentile::P95,
        latency_unit: LatencyUnit::Microseconds,
    };
    recommend(&serde_json::from_value(document).unwrap(), &measured)
}

#[test]
fn the_answer_lies_on_the_measured_curve_and_not_on_a_straight_line() {
    let request = json!({
        "TargetCpuUtilizationPerCore": 50,
        "ScalingPolicyObjective": {"MinInvocationsPerMinute": 2000, "MaxInvocationsPerMinute": 10_000},
    });
    // Half way between 1200 at 40 % and 1500 at 60 %. A straight line to the last step would say 1250.
    assert_eq!(
        serde_json::to_value(answer(&bent(), request).unwrap()).unwrap(),
        json!({
            "InferenceRecommendationsJobName": "demo",
            "RecommendationId": "demo/abcdefgh",
            "TargetCpuUtilizationPerCore": 50,
            "ScalingPolicyObjective": {"MinInvocationsPerMinute": 2000, "MaxInvocationsPerMinute": 10_000},
            "Metric": {"InvocationsPerInstance": 1350, "ModelLatency": 13_500},
            "DynamicScalingConfiguration": {
                "MinCapacity": 2,
                "MaxCapacity": 9,
                "ScaleInCooldown": 300,
                "ScaleOutCooldown": 300,
                "ScalingPolicies": [{"TargetTracking": {
                    "MetricSpecification": {"Predefined": {
                        "PredefinedMetricType": "SageMakerVariantInvocationsPerInstance"}},
                    "TargetValue": 1350.0,
                }}],
            },
        })
    );
}

#[test]
fn without_wishes_half_of_the_processors_and_all_that_was_measured() {
    let response = answer(&bent(), json!({})).unwrap();
    assert_eq!(response.target_cpu_utilization_per_core, Some(50));
    let scaling = response.dynamic_scaling_configuration.unwrap();
    assert_eq!((scaling.min_capacity, scaling.max_capacity), (Some(1), Some(2))); // 1.2 × 1500 / 1350
}

#[test]
fn nothing_is_extrapolated() {
    for target in [19, 61, 100] {
        let error = answer(&bent(), json!({"TargetCpuUtilizationPerCore": target})).unwrap_err();
        assert_eq!(
            error.message,
            format!(
                "TargetCpuUtilizationPerCore {target} lies outside of what was measured: \
                 20.0 % at 600 invocations per minute to 60.0 % at 1500. Nothing is extrapolated."
            )
        );
    }
    for (target, rate) in [(20, 600), (40, 1200), (60, 1500)] {
        let found = answer(&bent(), json!({"TargetCpuUtilizationPerCore": target})).unwrap();
        assert_eq!(found.metric.unwrap().invocations_per_instance, Some(rate));
    }
}

#[test]
fn steps_that_do_not_show_steady_work_are_left_out() {
    let mut warm_up = step(1, 900.0, 90.0, 1);
    warm_up.purpose = Purpose::WarmUp;
    let mut failing = step(1, 900.0, 90.0, 1);
    failing.failed_calls = 20;
    let mut overloaded = step(1, 900.0, 90.0, 1);
    (overloaded.users, overloaded.offered) = (None, Some(Rate::per_minute(1000.0).unwrap()));
    let mut silent = step(1, 900.0, 90.0, 1);
    silent.latency = None;
    let mut blind = step(1, 900.0, 90.0, 1);
    blind.utilization.cpu_pct = None;
    let past_its_peak = step(4, 1490.0, 99.0, 60_000);
    for odd in [warm_up, failing, overloaded, silent, blind, past_its_peak] {
        let mut steps = bent();
        steps.push(odd.clone());
        assert_eq!(points(&steps, LatencyPercentile::P95).len(), 3, "{odd:?}");
    }
    let error = answer(&[], json!({})).unwrap_err();
    assert!(error.message.contains("there is no load curve"), "{}", error.message);
}

#[test]
fn noise_is_evened_out_and_a_flat_part_answers_with_its_lowest_rate() {
    let point = |per_minute, cpu_pct| Point { per_minute, cpu_pct, latency_us: 1.0 };
    let curve =
        LoadCurve::new(vec![point(300.0, 40.0), point(100.0, 20.0), point(200.0, 60.0)]).unwrap();
    assert_eq!(curve.at(50.0).unwrap().per_minute.to_bits(), 200.0_f64.to_bits());
    assert!(curve.at(51.0).is_err());
}

proptest! {
    #[test]
    fn a_busier_target_never_gets_less_and_never_leaves_what_was_measured(
        raw in prop::collection::vec((1.0..1e5_f64, 0.0..100.0_f64, 1.0..1e7_f64), 1..12),
        a in 0.0..100.0_f64,
        b in 0.0..100.0_f64,
    ) {
        let points: Vec<Point> = raw
            .iter()
            .map(|&(per_minute, cpu_pct, latency_us)| Point { per_minute, cpu_pct, latency_us })
            .collect();
        let least = points.iter().map(|point| point.per_minute).fold(f64::MAX, f64::min);
        let most = points.iter().map(|point| point.per_minute).fold(0.0, f64::max);
        let curve = LoadCurve::new(points).unwrap();
        let (low, high) = (curve.at(a.min(b)), curve.at(a.max(b)));
        if let (Ok(low), Ok(high)) = (low, high) {
            prop_assert!(low.per_minute <= high.per_minute + 1e-6);
            prop_assert!(low.latency_us <= high.latency_us + 1e-3);
            prop_assert!(least - 1e-6 <= low.per_minute && high.per_minute <= most + 1e-6);
        }
    }
}
