//! What a job found, in SageMaker's words: recommendations, steps, the figures of an existing endpoint.
//!
//! - `InitialInstanceCount` is `ceil(target / per-instance maximum)`, one without a target.
//! - `MaxInvocations` and `CostPerHour` are those of the whole recommended endpoint, so of so many instances;
//!   `MaxInvocations` is rounded down, never promising more than was measured.
//! - `CostPerInference` is `f32(CostPerHour / (60 × MaxInvocations))`, computed from the two as they are sent.
//! - `ModelLatency` is the percentile that the job's threshold names, p95 without one: microseconds, or
//!   milliseconds rounded up.

use std::{
    cmp::Ordering,
    collections::{BTreeMap, BTreeSet},
    str::FromStr,
};

use assay_measure::{
    configuration::{Configuration, UnknownWord},
    ids::{EndpointName, TrialId},
    latency::Latency,
};
use assay_planning::{
    planner::Candidate,
    report::{Entry, JobReport},
};

use crate::{
    environment, naming,
    shapes::jobs::{
        EndpointInfo, EndpointOutputConfiguration, EndpointPerformance, InferenceBenchmark,
        InferenceMetrics, InferenceRecommendation, JobStep, LatencyPercentile, ModelConfiguration,
        RecommendationJobStatus as Status, RecommendationMetrics, StepType,
    },
    status,
    timestamp::Timestamp,
    wide_float::WideFloat,
};

/// An answer lists at most this many recommendations.
pub const MOST_RECOMMENDATIONS: usize = 10;

/// How SageMaker's Python SDK names itself in the User-Agent. Its version 2 writes
/// `lib/AWS-SageMaker-Python-SDK#2.257.7`, and wrote `AWS-SageMaker-Python-SDK/2.100.0` before.
const SDK: &str = "AWS-SageMaker-Python-SDK";

/// Which end of the list of recommendations is the cheapest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListOrder {
    /// The first, which version 3 of the SDK deploys.
    CheapestFirst,
    /// The last, which version 2 of the SDK deploys.
    CheapestLast,
}

/// The operator's choice of the order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OrderRule {
    /// So that whoever asks deploys the cheapest.
    #[default]
    Auto,
    Always(ListOrder),
}

impl OrderRule {
    /// The order for a request with this User-Agent.
    #[must_use]
    pub fn for_user_agent(self, user_agent: &str) -> ListOrder {
        match self {
            Self::Always(order) => order,
            Self::Auto if user_agent.split(' ').any(is_sdk_v2) => ListOrder::CheapestLast,
            Self::Auto => ListOrder::CheapestFirst,
        }
    }
}

fn is_sdk_v2(word: &str) -> bool {
    let word = word.strip_prefix("lib/").unwrap_or(word);
    word.strip_prefix(SDK)
        .and_then(|rest| rest.strip_prefix(['/', '#']))
        .is_some_and(|version| version.starts_with("2."))
}

impl FromStr for OrderRule {
    type Err = UnknownWord;
    fn from_str(word: &str) -> Result<Self, UnknownWord> {
        match word {
            "auto" => Ok(Self::Auto),
            "cheapest-first" => Ok(Self::Always(ListOrder::CheapestFirst)),
            "cheapest-last" => Ok(Self::Always(ListOrder::CheapestLast)),
            _ => Err(UnknownWord {
                kind: "order",
                word: word.to_owned(),
                known: "auto, cheapest-first, cheapest-last",
            }),
        }
    }
}

/// The unit of `ModelLatency`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LatencyUnit {
    /// As in the documentation's sample.
    #[default]
    Microseconds,
    /// As in the documentation's text.
    Milliseconds,
}

impl LatencyUnit {
    /// A latency in this unit; milliseconds are rounded up, so that a fast model does not take none.
    #[must_use]
    pub fn of_micros(self, micros: u64) -> i32 {
        let value = match self {
            Self::Microseconds => micros,
            Self::Milliseconds => micros.div_ceil(1000).max(1),
        };
        i32::try_from(value).unwrap_or(i32::MAX)
    }
}

impl FromStr for LatencyUnit {
    type Err = UnknownWord;
    fn from_str(word: &str) -> Result<Self, UnknownWord> {
        match word {
            "us" => Ok(Self::Microseconds),
            "ms" => Ok(Self::Milliseconds),
            _ => Err(UnknownWord { kind: "latency unit", word: word.to_owned(), known: "us, ms" }),
        }
    }
}

/// What a report does not hold of a trial.
#[derive(Clone, Debug, PartialEq)]
pub struct TrialRecord {
    pub status: Status,
    /// How the model was to be served. What the host said of itself afterwards may differ.
    pub configuration: Option<Configuration>,
    /// The inference specification that the model was served by, if it was an additional one.
    pub specification: Option<String>,
    /// The variables of the model's own that nothing varies.
    pub brought_along: BTreeSet<String>,
    /// When load began and ended; absent while it has not.
    pub invocations: Option<(Timestamp, Timestamp)>,
}

/// A job's results, and how they are to be told.
#[derive(Clone, Copy, Debug)]
pub struct Results<'a> {
    pub report: &'a JobReport,
    pub trials: &'a BTreeMap<String, TrialRecord>,
    /// `StoppingConditions.MaxInvocations`: what the endpoint must carry, per minute.
    pub target: Option<i32>,
    /// The percentile of `ModelLatency`.
    pub percentile: LatencyPercentile,
    /// The unit of `ModelLatency`.
    pub latency_unit: LatencyUnit,
}

impl Results<'_> {
    /// The ten cheapest of the ranking; empty when there is none, and then the member is left out. An existing
    /// endpoint is no recommendation: its figures stand in [`Results::endpoint_performance`].
    #[must_use]
    pub fn recommendations(&self, order: ListOrder) -> Vec<InferenceRecommendation> {
        let found = self.report.ranking.iter();
        let mut found: Vec<InferenceRecommendation> =
            found.filter_map(|entry| self.recommendation(entry)).collect();
        found.sort_by(by_cost);
        found.truncate(MOST_RECOMMENDATIONS);
        if order == ListOrder::CheapestLast {
            found.reverse();
        }
        found
    }

    /// One step per candidate that came to an end, in the order of the report; candidates that are still
    /// waiting or running come from [`Results::unfinished_step`].
    #[must_use]
    pub fn steps(&self) -> Vec<JobStep> {
        let report = self.report;
        let entries = report.ranking.iter().chain(&report.rejected).chain(&report.failed);
        entries.map(|entry| self.step(entry)).collect()
    }

    /// What an existing endpoint carries; `None` while that is not known.
    #[must_use]
    pub fn endpoint_performance(&self, endpoint_name: &str) -> Option<EndpointPerformance> {
        let report = self.report;
        let mut entries = report.ranking.iter().chain(&report.rejected);
        let measured = entries.find(|entry| {
            entry.endpoint.as_ref().map(EndpointName::as_str) == Some(endpoint_name)
        })?;
        let metrics = self.endpoint_metrics(measured)?;
        let endpoint_info = EndpointInfo { endpoint_name: Some(endpoint_name.to_owned()) };
        Some(EndpointPerformance { metrics, endpoint_info })
    }

    fn recommendation(&self, entry: &Entry) -> Option<InferenceRecommendation> {
        if entry.endpoint.is_some() {
            return None;
        }
        let (metrics, instances) = self.metrics(entry)?;
        let times = self.times(entry);
        Some(InferenceRecommendation {
            endpoint_configuration: self.endpoint(entry, instances),
            model_configuration: self.model_configuration(entry),
            recommendation_id: Some(self.recommendation_id(entry)),
            metrics: Some(metrics),
            invocation_start_time: times.map(|(start, _)| start),
            invocation_end_time: times.map(|(_, end)| end),
        })
    }

    fn step(&self, entry: &Entry) -> JobStep {
        let metrics = self.metrics(entry).filter(|_| entry.endpoint.is_none());
        let endpoint_metrics = self.endpoint_metrics(entry).filter(|_| entry.endpoint.is_some());
        let record = self.record(entry);
        let is_measured = metrics.is_some() || endpoint_metrics.is_some();
        let by_figures = if is_measured { Status::Completed } else { Status::Failed };
        let status = record.map_or(by_figures, |record| record.status);
        let reason = entry.reason.as_deref().filter(|_| status != Status::Completed);
        let times = self.times(entry);
        let instances = metrics.as_ref().map_or(1, |(_, instances)| *instances);
        JobStep {
            step_type: StepType::Benchmark,
            job_name: self.report.name.to_string(),
            status,
            inference_benchmark: Some(InferenceBenchmark {
                model_configuration: self.model_configuration(entry),
                metrics: metrics.map(|(metrics, _)| metrics),
                endpoint_metrics,
                endpoint_configuration: Some(self.endpoint(entry, instances)),
                failure_reason: reason.map(status::cut),
                invocation_start_time: times.map(|(start, _)| start),
                invocation_end_time: times.map(|(_, end)| end),
            }),
        }
    }

    /// The id of a candidate's recommendation: the same for ever, whichever of its trials counts.
    fn recommendation_id(&self, entry: &Entry) -> String {
        let record = self.record(entry);
        let asked = record.and_then(|record| record.configuration.as_ref());
        let configuration = asked.or(entry.configuration.as_ref());
        let settings = configuration.map(environment::identity).unwrap_or_default();
        let specification = record.and_then(|record| record.specification.as_deref());
        let parts: Vec<&str> = [entry.instance_type.as_str()]
            .into_iter()
            .chain(settings.iter().map(String::as_str))
            .chain(specification)
            .collect();
        naming::recommendation_id(self.report.name.as_str(), &parts)
    }

    fn record(&self, entry: &Entry) -> Option<&TrialRecord> {
        self.trials.get(entry.trial.as_ref()?.as_str())
    }

    fn model_configuration(&self, entry: &Entry) -> ModelConfiguration {
        model_configuration(entry.configuration.as_ref(), self.record(entry))
    }

    /// The step of a candidate that has not come to an end.
    #[must_use]
    pub fn unfinished_step(&self, candidate: &Candidate) -> JobStep {
        let (job, trial) = (&self.report.name, candidate.trial.as_str());
        let record = self.trials.get(trial);
        let instance_type = candidate.instance_type.as_str();
        JobStep {
            step_type: StepType::Benchmark,
            job_name: job.to_string(),
            status: record.map_or(Status::Pending, |record| record.status),
            inference_benchmark: Some(InferenceBenchmark {
                model_configuration: model_configuration(candidate.serving.configuration(), record),
                metrics: None,
                endpoint_metrics: None,
                endpoint_configuration: Some(endpoint_configuration(
                    endpoint_name(job.as_str(), trial, candidate),
                    instance_type,
                    1,
                )),
                failure_reason: None,
                invocation_start_time: None,
                invocation_end_time: None,
            }),
        }
    }

    fn times(&self, entry: &Entry) -> Option<(Timestamp, Timestamp)> {
        self.record(entry)?.invocations
    }

    fn endpoint(&self, entry: &Entry, instances: i32) -> EndpointOutputConfiguration {
        let trial = entry.trial.as_ref().map(TrialId::as_str).unwrap_or_default();
        let made_up =
            || naming::endpoint(self.report.name.as_str(), &[trial, entry.instance_type.as_str()]);
        let name = entry.endpoint.as_ref().map_or_else(made_up, ToString::to_string);
        endpoint_configuration(name, entry.instance_type.as_str(), instances)
    }

    /// The figures of the whole endpoint, and of how many instances that is.
    fn metrics(&self, entry: &Entry) -> Option<(RecommendationMetrics, i32)> {
        let measured = f64::from(entry.instance_count.max(1));
        let per_instance = entry.max_invocations_per_min.filter(|rate| *rate > 0.0)? / measured;
        let instances = match self.target {
            Some(target) => instances_for(f64::from(target), per_instance),
            None => i32::try_from(entry.instance_count.max(1)).unwrap_or(i32::MAX),
        };
        let max_invocations = whole_below(per_instance * f64::from(instances));
        let per_hour = entry.cost_per_hour_usd.map(|usd| usd / measured * f64::from(instances));
        let cost_per_hour = per_hour.and_then(WideFloat::nearest);
        let percent =
            |value: Option<f64>| value.map(|pct| pct.max(0.0)).and_then(WideFloat::nearest);
        let metrics = RecommendationMetrics {
            cost_per_hour,
            cost_per_inference: cost_per_hour.and_then(|cost| per_inference(cost, max_invocations)),
            max_invocations: Some(max_invocations),
            maximum_invocations: Some(max_invocations),
            model_latency: entry.latency().map(|latency| self.latency(latency)),
            cpu_utilization: percent(entry.cpu_utilization_pct()),
            memory_utilization: percent(entry.memory_utilization_pct),
            model_setup_time: None,
        };
        Some((metrics, instances))
    }

    fn endpoint_metrics(&self, entry: &Entry) -> Option<InferenceMetrics> {
        Some(InferenceMetrics {
            max_invocations: whole_below(entry.max_invocations_per_min?),
            model_latency: self.latency(entry.latency()?),
        })
    }

    fn latency(&self, latency: &Latency) -> i32 {
        self.latency_unit.of_micros(match self.percentile {
            LatencyPercentile::P95 => latency.p95_us,
            LatencyPercentile::P99 => latency.p99_us,
        })
    }
}

/// `f32(cost per hour / (60 × invocations per minute))`; none when nothing is carried.
#[must_use]
pub fn per_inference(cost_per_hour: WideFloat, max_invocations: i32) -> Option<WideFloat> {
    WideFloat::nearest(cost_per_hour.wide() / (60.0 * f64::from(max_invocations)))
}

/// The least number of instances that carries a target; a millionth of an instance is rounding.
#[must_use]
pub fn instances_for(target_per_minute: f64, per_instance: f64) -> i32 {
    let exact = (target_per_minute / per_instance * 1e6).round() / 1e6;
    #[expect(clippy::cast_possible_truncation, reason = "saturation is what is wanted")]
    let whole = exact.ceil() as i32;
    whole.max(1)
}

/// Whole invocations per minute, not more than were measured; a millionth is rounding.
fn whole_below(per_minute: f64) -> i32 {
    #[expect(clippy::cast_possible_truncation, reason = "saturation is what is wanted")]
    let whole = (per_minute + 1e-6).floor() as i32;
    whole.max(0)
}

/// The name of the endpoint that a trial measured a candidate as: its own if it is one.
#[must_use]
pub fn endpoint_name(job: &str, trial: &str, candidate: &Candidate) -> String {
    match candidate.serving.endpoint() {
        Some(existing) => existing.to_string(),
        None => naming::endpoint(job, &[trial, candidate.instance_type.as_str()]),
    }
}

fn endpoint_configuration(
    endpoint_name: String,
    instance_type: &str,
    instances: i32,
) -> EndpointOutputConfiguration {
    EndpointOutputConfiguration {
        endpoint_name,
        variant_name: naming::VARIANT.to_owned(),
        instance_type: Some(instance_type.to_owned()),
        initial_instance_count: Some(instances),
        serverless_config: None,
    }
}

fn model_configuration(
    configuration: Option<&Configuration>,
    record: Option<&TrialRecord>,
) -> ModelConfiguration {
    let nothing = BTreeSet::new();
    let brought_along = record.map_or(&nothing, |record| &record.brought_along);
    ModelConfiguration {
        inference_specification_name: record.and_then(|record| record.specification.clone()),
        environment_parameters: configuration
            .map(|configuration| environment::parameters(configuration, brought_along)),
        compiled: Some(false),
        ..ModelConfiguration::default()
    }
}

/// Cheapest first, those without a cost last and as they were.
fn by_cost(a: &InferenceRecommendation, b: &InferenceRecommendation) -> Ordering {
    let cost = |one: &InferenceRecommendation| {
        one.metrics.as_ref().and_then(|metrics| metrics.cost_per_inference)
    };
    match (cost(a), cost(b)) {
        (Some(a), Some(b)) => a.0.total_cmp(&b.0),
        (Some(_), None) => Ordering::Less,
        (None, Some(_)) => Ordering::Greater,
        (None, None) => Ordering::Equal,
    }
}

#[cfg(test)]
mod tests;
