//! From a request to our own job. Nothing is fetched and nothing is looked up here.

use std::{collections::BTreeMap, num::NonZeroU32, time::Duration};

use assay_measure::{
    environment::BaseEnvironment,
    job::{
        CandidateType, Demand, InferenceSpecification, JobSpec, JobSubject, ResourceLimits, Sweep,
    },
    load_profile::LoadProfile,
    search::Mode,
    slo::{Slo, SloMetric},
    stepped_load::{FlatInvocations, SteppedLoad, StoppingConditions},
    trial::{ArtifactRef, Payload},
    units::Rate,
};
use assay_sagemaker::{
    checks, environment,
    error::ApiError,
    shapes::jobs::{self, EndpointInputConfiguration, LatencyPercentile, RecommendationJobType},
    traffic,
};

use super::{inputs, intake::Intake};
use crate::sagemaker::fetch::file_name;

/// What a job may take when it does not say: a Default job as long as AWS announces for one, a load test the
/// longest that may be asked for.
const DEFAULT_DURATION: Duration = Duration::from_secs(45 * 60);
const LONGEST_DURATION: Duration = Duration::from_secs(18_000);
/// What began within the job's duration may end after it; one trial takes no longer than its traffic, and a
/// search no longer than this.
const LONGEST_SEARCH: Duration = Duration::from_secs(1800);
/// A job that may take less than this searches quickly.
const LONG_ENOUGH: Duration = Duration::from_secs(600);
/// The same for everybody who asks: results can be compared.
const SEED: u64 = 1;

/// The job that a request asks for; its files are still to be fetched.
pub(crate) fn job_spec(intake: &Intake, region: &str) -> Result<JobSpec, ApiError> {
    let request = &intake.request;
    let input = &request.input_config;
    let is_default = request.job_type == RecommendationJobType::Default;
    let traffic = input
        .traffic_pattern
        .as_ref()
        .map(|pattern| traffic::parts(pattern, input.job_duration_in_seconds))
        .transpose()?;
    let thresholds = thresholds(request.stopping_conditions.as_ref())?;
    let has_traffic = traffic.is_some();
    let load = traffic
        .map(|phases| {
            let stopping = stopping(request.stopping_conditions.as_ref(), thresholds.clone())?;
            SteppedLoad::new(phases, stopping).map(LoadProfile::Stepped).map_err(refused)
        })
        .transpose()?;
    let within = seconds(input.job_duration_in_seconds).unwrap_or(if is_default {
        DEFAULT_DURATION
    } else {
        LONGEST_DURATION
    });
    let traffic_time = load.as_ref().map(LoadProfile::duration).unwrap_or_default();
    let endpoints = input.endpoint_configurations.as_deref().unwrap_or_default();
    Ok(JobSpec {
        name: request.job_name.parse().map_err(refused)?,
        subject: job_subject(intake)?,
        payload: Payload {
            artifact: ArtifactRef::awaited(file_name(&intake.subject.payload_url)),
            is_archive: true,
            content_type: intake.subject.content_type.clone().unwrap_or_default(),
        },
        inputs: inputs::of(&intake.subject, intake.subject.content_type.as_deref())?.declared,
        environment: container_environment(&intake.subject.environment)?,
        instance_types: instance_types(intake, endpoints)?,
        emulate: true,
        // A load test measures what it names; only a Default job looks for configurations by itself.
        sweep: Sweep { defaults_only: !is_default, ..Sweep::default() },
        constraints: if has_traffic { Vec::new() } else { thresholds },
        goals: None,
        mode: if within < LONG_ENOUGH { Mode::Quick } else { Mode::Full },
        seed: SEED,
        soak: None,
        load,
        limits: limits(input.resource_limit.as_ref(), within),
        region: region.to_owned(),
        demand: demand(request.stopping_conditions.as_ref())?,
        max_duration: within + traffic_time.max(LONGEST_SEARCH),
        ready_timeout: None,
        price_overrides: Vec::new(),
    })
}

/// What reaches the model host, under the rules of variables that are tried.
fn container_environment(given: &BTreeMap<String, String>) -> Result<BaseEnvironment, ApiError> {
    BaseEnvironment::new(given.clone()).map_err(|error| {
        ApiError::validation(format!("The Environment of the model's container: {error}."))
    })
}

/// The model of the request, the endpoint of the request, or both.
fn job_subject(intake: &Intake) -> Result<JobSubject, ApiError> {
    let endpoints = intake.request.input_config.endpoints.iter().flatten();
    let name = endpoints.filter_map(|endpoint| endpoint.endpoint_name.as_ref()).next();
    let endpoint = name.map(|name| name.parse().map_err(refused)).transpose()?;
    let model = || ArtifactRef::awaited(file_name(&intake.subject.model_url));
    Ok(match endpoint {
        Some(endpoint) if intake.request.is_on_an_endpoint_alone() => {
            JobSubject::Endpoint { endpoint }
        }
        Some(endpoint) => JobSubject::ModelAndEndpoint { model: model(), endpoint },
        None => JobSubject::Model { model: model() },
    })
}

fn instance_types(
    intake: &Intake,
    endpoints: &[EndpointInputConfiguration],
) -> Result<Vec<CandidateType>, ApiError> {
    if endpoints.is_empty() {
        let named = |name: &String| {
            checks::instance_type(name)?;
            Ok(CandidateType::named(name.parse().map_err(refused)?))
        };
        return intake.subject.instance_types.iter().map(named).collect();
    }
    let configured = |endpoint: &EndpointInputConfiguration| {
        let name = endpoint.instance_type.as_deref().unwrap_or_default();
        let environment = environment::ranges(endpoint)?.try_into().map_err(refused)?;
        let specification = endpoint.inference_specification_name.as_deref();
        Ok(CandidateType {
            environment,
            specification: specification.map(|name| specification_of(intake, name)).transpose()?,
            ..CandidateType::named(name.parse().map_err(refused)?)
        })
    };
    endpoints.iter().map(configured).collect()
}

/// The additional inference specification, which was looked up with the model.
fn specification_of(intake: &Intake, name: &str) -> Result<InferenceSpecification, ApiError> {
    let nothing = BTreeMap::new();
    let environment = intake.subject.specifications.get(name).unwrap_or(&nothing);
    Ok(InferenceSpecification {
        name: name.parse().map_err(refused)?,
        environment: container_environment(environment)?,
    })
}

fn thresholds(conditions: Option<&jobs::StoppingConditions>) -> Result<Vec<Slo>, ApiError> {
    let given = conditions.and_then(|conditions| conditions.model_latency_thresholds.as_ref());
    let slo = |threshold: &jobs::ModelLatencyThreshold| {
        let metric = match threshold.percentile.unwrap_or(LatencyPercentile::P95) {
            LatencyPercentile::P95 => SloMetric::P95,
            LatencyPercentile::P99 => SloMetric::P99,
        };
        let limit = threshold.value_in_milliseconds.and_then(|ms| u64::try_from(ms).ok());
        Slo::new(metric, Duration::from_millis(limit.unwrap_or(0))).map_err(refused)
    };
    given.into_iter().flatten().map(slo).collect()
}

fn stopping(
    conditions: Option<&jobs::StoppingConditions>,
    latency: Vec<Slo>,
) -> Result<StoppingConditions, ApiError> {
    let flat = conditions.and_then(|conditions| conditions.flat_invocations);
    Ok(StoppingConditions {
        max_invocations: target(conditions)?,
        latency,
        flat_invocations: match flat {
            Some(jobs::FlatInvocations::Continue) => FlatInvocations::Continue,
            Some(jobs::FlatInvocations::Stop) | None => FlatInvocations::Stop,
        },
        ..StoppingConditions::default()
    })
}

fn target(conditions: Option<&jobs::StoppingConditions>) -> Result<Option<Rate>, ApiError> {
    let per_minute = conditions.and_then(|conditions| conditions.max_invocations);
    per_minute.map(|rate| Rate::per_minute(f64::from(rate)).map_err(refused)).transpose()
}

/// The recommended endpoint carries the invocations wanted, with nothing to spare.
fn demand(conditions: Option<&jobs::StoppingConditions>) -> Result<Option<Demand>, ApiError> {
    Ok(target(conditions)?.map(|rate| Demand { rate, headroom_pct: 100 }))
}

fn limits(given: Option<&jobs::ResourceLimit>, within: Duration) -> ResourceLimits {
    let count = |value: Option<i32>| {
        value.and_then(|value| u32::try_from(value).ok()).and_then(NonZeroU32::new)
    };
    ResourceLimits {
        most_trials: given.and_then(|limit| count(limit.max_number_of_tests)),
        most_at_once: given.and_then(|limit| count(limit.max_parallel_of_tests)),
        begin_within: Some(within),
    }
}

fn seconds(value: Option<i32>) -> Option<Duration> {
    value.and_then(|value| u64::try_from(value).ok()).map(Duration::from_secs)
}

fn refused(error: impl std::error::Error) -> ApiError {
    ApiError::validation(error.to_string())
}

#[cfg(test)]
mod tests;
