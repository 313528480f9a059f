//! The scaling recommendation: how many invocations an instance should get, from the load curve that was
//! measured.
//!
//! # Formula
//! Every steady step of the trial is a point `(x, u, l)`: invocations answered per minute, busy share of the
//! model's processors in per cent, and latency at the chosen percentile. Left out are warm-up and burn-in, steps with
//! more than 1 % failed calls, open-loop steps that answered less than 95 % of what was offered, and closed-loop
//! steps that answered less than a step of fewer users did: there the queue grows and not the work.
//!
//! Busier means more work, up to noise, so `u` and `l` over `x` are replaced by the nearest curves that
//! never fall (isotonic regression: neighbours in the wrong order get their mean). For the target utilization
//! `t` the rate is found on the line between the two points around it,
//!
//! `x(t) = xᵢ + (xᵢ₊₁ − xᵢ) · (t − uᵢ) / (uᵢ₊₁ − uᵢ)` with `uᵢ ≤ t ≤ uᵢ₊₁`,
//!
//! the lowest such rate where the curve is flat, and the latency on the same line. Outside of what was
//! measured nothing is guessed: the request is refused with the range.
//!
//! `InvocationsPerInstance = ⌊x(t)⌋`, `MinCapacity = ⌈min rate / InvocationsPerInstance⌉`,
//! `MaxCapacity = ⌈1.2 · max rate / InvocationsPerInstance⌉`, both at least 1. Without an objective the lowest rate
//! is zero and the highest is what the recommended endpoint carries. The policy tracks
//! `SageMakerVariantInvocationsPerInstance` at `InvocationsPerInstance`.

use assay_measure::{outcome::StepResult, search::Purpose};

use crate::{
    error::ApiError,
    recommendations::{LatencyUnit, instances_for},
    shapes::{
        jobs::LatencyPercentile,
        scaling::{
            DynamicScalingConfiguration, GetScalingConfigurationRecommendationRequest,
            GetScalingConfigurationRecommendationResponse, MetricSpecification,
            PredefinedMetricSpecification, ScalingPolicy, ScalingPolicyMetric,
            TargetTrackingScalingPolicyConfiguration,
        },
    },
};

mod curve;

pub use curve::{LoadCurve, OperatingPoint, OutOfRange, Point};

/// The target utilization when none is asked for.
pub const DEFAULT_TARGET_PCT: i32 = 50;

/// The most instances carry so much more than the highest rate of the objective.
const HEADROOM: f64 = 1.2;

/// What application autoscaling waits by itself between two changes.
const COOLDOWN_S: i32 = 300;

const METRIC: &str = "SageMakerVariantInvocationsPerInstance";

/// At most so many of a step's calls may have failed.
const MOST_FAILED: f64 = 0.01;

/// An open-loop step must have answered so much of what was offered.
const LEAST_ANSWERED: f64 = 0.95;

/// What was measured of the recommendation that a request names.
#[derive(Clone, Copy, Debug)]
pub struct Measured<'a> {
    pub steps: &'a [StepResult],
    /// `MaxInvocations` of the whole recommended endpoint.
    pub endpoint_max_invocations: i32,
    /// The percentile of `ModelLatency`.
    pub percentile: LatencyPercentile,
    /// The unit of `ModelLatency`.
    pub latency_unit: LatencyUnit,
}

/// The answer to a request that [`crate::checks::scaling`] accepts.
///
/// # Errors
/// `ValidationException` when utilization was not measured, or the target lies outside of what was.
pub fn recommend(
    request: &GetScalingConfigurationRecommendationRequest,
    measured: &Measured<'_>,
) -> Result<GetScalingConfigurationRecommendationResponse, ApiError> {
    let target = request.target_cpu_utilization_per_core.unwrap_or(DEFAULT_TARGET_PCT);
    let points = points(measured.steps, measured.percentile);
    let curve = LoadCurve::new(points).ok_or_else(|| {
        ApiError::validation(
            "No step of this recommendation tells both its rate and the CPU utilization: \
             there is no load curve to scale by.",
        )
    })?;
    let at = curve.at(f64::from(target)).map_err(|range| refused(target, &range))?;
    #[expect(clippy::cast_possible_truncation, reason = "rates and latencies are far below 2^31")]
    let per_instance = at.per_minute.floor() as i32;
    if per_instance < 1 {
        return Err(ApiError::validation(format!(
            "At TargetCpuUtilizationPerCore {target} an instance answers less than one call a minute."
        )));
    }
    let objective = request.scaling_policy_objective.as_ref();
    let lowest = objective.and_then(|one| one.min_invocations_per_minute).unwrap_or(0);
    let highest = objective.and_then(|one| one.max_invocations_per_minute);
    let highest = highest.unwrap_or(measured.endpoint_max_invocations).max(lowest);
    let capacity = |rate: f64| instances_for(rate, f64::from(per_instance));
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "not negative")]
    let latency_us = at.latency_us.round() as u64;
    Ok(GetScalingConfigurationRecommendationResponse {
        inference_recommendations_job_name: Some(
            request.inference_recommendations_job_name.clone(),
        ),
        recommendation_id: request.recommendation_id.clone(),
        endpoint_name: request.endpoint_name.clone(),
        target_cpu_utilization_per_core: Some(target),
        scaling_policy_objective: request.scaling_policy_objective.clone(),
        metric: Some(ScalingPolicyMetric {
            invocations_per_instance: Some(per_instance),
            model_latency: Some(measured.latency_unit.of_micros(latency_us)),
        }),
        dynamic_scaling_configuration: Some(DynamicScalingConfiguration {
            min_capacity: Some(capacity(f64::from(lowest))),
            max_capacity: Some(capacity(HEADROOM * f64::from(highest))),
            scale_in_cooldown: Some(COOLDOWN_S),
            scale_out_cooldown: Some(COOLDOWN_S),
            scaling_policies: Some(vec![policy(per_instance)]),
        }),
    })
}

/// The points of the load curve that the steps of a trial show.
#[must_use]
pub fn points(steps: &[StepResult], percentile: LatencyPercentile) -> Vec<Point> {
    let steady = |step: &&StepResult| is_steady(step) && !is_past_its_peak(step, steps);
    steps.iter().filter(steady).filter_map(|step| point(step, percentile)).collect()
}

fn point(step: &StepResult, percentile: LatencyPercentile) -> Option<Point> {
    let latency = step.latency?;
    let latency_us = match percentile {
        LatencyPercentile::P95 => latency.p95_us,
        LatencyPercentile::P99 => latency.p99_us,
    };
    let cpu_pct = step.utilization.cpu_pct.filter(|pct| pct.is_finite())?;
    Some(Point {
        per_minute: step.achieved.as_per_minute(),
        cpu_pct,
        latency_us: latency_us as f64,
    })
}

fn is_steady(step: &StepResult) -> bool {
    let is_load = match step.purpose {
        Purpose::Staircase
        | Purpose::Probe
        | Purpose::Main
        | Purpose::Confirm
        | Purpose::Soak
        | Purpose::Fixed => true,
        Purpose::WarmUp | Purpose::BurnIn | Purpose::CoolDown => false,
    };
    let answered = step.latency.map_or(0, |latency| latency.count) as f64;
    let failed = step.failed_calls as f64;
    let keeps_up = step.offered.is_none_or(|offered| {
        step.achieved.as_per_minute() >= LEAST_ANSWERED * offered.as_per_minute()
    });
    is_load && answered > 0.0 && failed <= MOST_FAILED * (answered + failed) && keeps_up
}

/// Fewer users got more answers: what was added waits.
fn is_past_its_peak(step: &StepResult, steps: &[StepResult]) -> bool {
    step.users.is_some_and(|users| {
        steps.iter().any(|other| {
            other.users.is_some_and(|fewer| fewer < users)
                && is_steady(other)
                && other.achieved.as_per_minute() >= step.achieved.as_per_minute()
        })
    })
}

fn refused(target: i32, range: &OutOfRange) -> ApiError {
    let OutOfRange { lowest, highest } = range;
    ApiError::validation(format!(
        "TargetCpuUtilizationPerCore {target} lies outside of what was measured: \
         {:.1} % at {:.0} invocations per minute to {:.1} % at {:.0}. Nothing is extrapolated.",
        lowest.cpu_pct, lowest.per_minute, highest.cpu_pct, highest.per_minute
    ))
}

fn policy(per_instance: i32) -> ScalingPolicy {
    let predefined =
        PredefinedMetricSpecification { predefined_metric_type: Some(METRIC.to_owned()) };
    ScalingPolicy {
        target_tracking: Some(TargetTrackingScalingPolicyConfiguration {
            metric_specification: Some(MetricSpecification {
                predefined: Some(predefined),
                customized: None,
            }),
            target_value: Some(f64::from(per_instance)),
        }),
    }
}

#[cfg(test)]
mod tests;
