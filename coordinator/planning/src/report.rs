//! What came of a job: the ranking, with what was left out and why. It refers to the measurements and adds
//! what only it knows: ranks, scores, costs, sizing, warnings. Built by [`crate::job_report`].
//!
//! Serialized it is the `assay.job/1` document, which programs read with `-o json`: see [`document`].

use std::time::Duration;

use assay_measure::{
    configuration::Configuration,
    hardware::HostFacts,
    ids::{EndpointName, InstanceTypeName, JobName, TrialId},
    job::{Goals, JobStatus},
    latency::Latency,
    outcome::{FailureKind, StepResult, TrialResult},
    search::Mode,
    slo::{Slo, SloMetric},
    trial::ArtifactRef,
    units::Rate,
    validity::{Validity, Verdict},
};
use jiff::Timestamp;
use serde::Serialize;

use crate::{
    cost::{Capacity, MilliPerMinute},
    prices::PriceQuote,
    ranking::{Contender, RankedBy},
    sizing::Sizing,
};

mod document;

pub use self::document::SCHEMA;

/// A job with everything that came of it.
#[derive(Clone, Debug, PartialEq)]
pub struct JobReport {
    pub name: JobName,
    pub status: JobStatus,
    pub created_at: Timestamp,
    pub finished_at: Option<Timestamp>,
    /// The model; absent when only an endpoint is measured.
    pub model: Option<ArtifactRef>,
    /// The running server that is measured.
    pub endpoint: Option<EndpointName>,
    /// How long a model host may load and warm up; absent where the job did not say.
    pub ready_timeout: Option<Duration>,
    /// Goals; absent ranks by cost per inference alone.
    pub goals: Option<Goals>,
    pub constraints: Vec<Slo>,
    pub ranked_by: RankedBy,
    /// How far the job is.
    pub progress: Progress,
    /// Candidates that can be recommended, best first.
    pub ranking: Vec<Entry>,
    /// Candidates that cannot: a constraint failed, no price, impossible from the start.
    pub rejected: Vec<Entry>,
    /// Candidates that could not be measured, or not in a way that can be believed.
    pub failed: Vec<Entry>,
    pub no_recommendation_reason: Option<String>,
    /// What people should know before they act on it.
    pub warnings: Vec<String>,
}

/// How many trials have ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Progress {
    pub trials: u32,
    pub ended: u32,
}

/// A candidate in one of the three lists.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// 1 for the best; only in the ranking.
    pub rank: Option<u32>,
    /// Higher is better; only in the ranking.
    pub score: Option<f64>,
    /// Its 95 % confidence interval.
    pub score_ci95: Option<[f64; 2]>,
    /// Ranks that the measurement cannot tell apart from this one.
    pub tied_with: Vec<u32>,
    pub instance_type: InstanceTypeName,
    /// The trial that measured it; absent when there was none.
    pub trial: Option<TrialId>,
    /// It was measured on another machine, held to the type's shape.
    pub emulated: bool,
    /// Other instance types measured by the same trial.
    pub shared_trial_with: Vec<InstanceTypeName>,
    pub instance_count: u32,
    /// How the model was served; absent when the type fails with every configuration, and for an endpoint.
    pub configuration: Option<Configuration>,
    /// The running server that was measured instead of a model.
    pub endpoint: Option<EndpointName>,
    /// The price of an instance; absent when unpriced.
    pub price: Option<PriceQuote>,
    /// Dollars per hour for the endpoint.
    pub cost_per_hour_usd: Option<f64>,
    /// `cost_per_hour_usd / (60 × max_invocations_per_min)`.
    pub cost_per_inference_usd: Option<f64>,
    /// Its 95 % confidence interval.
    pub cost_per_inference_ci95: Option<[f64; 2]>,
    /// Dollars per million inferences.
    pub cost_per_million_usd: Option<f64>,
    /// The constrained rate when there is a constraint, the plateau otherwise.
    pub max_invocations_per_min: Option<f64>,
    /// Its 95 % confidence interval.
    pub max_invocations_ci95: Option<[f64; 2]>,
    /// Share of the memory that the model may use, in per cent.
    pub memory_utilization_pct: Option<f64>,
    /// Instances for the job's demand.
    pub sizing: Option<Sizing>,
    /// How thorough the search was.
    pub mode: Mode,
    pub seed: u64,
    pub meets: bool,
    /// Why it is in this list; absent in the ranking.
    pub reason: Option<String>,
    /// The last lines of the model host, or the first failing response.
    pub detail: Option<String>,
    /// What kind of failure kept it from being measured.
    pub failure_kind: Option<FailureKind>,
    /// What was measured; absent when it was not.
    pub result: Option<Box<TrialResult>>,
    pub steps: Vec<StepResult>,
    /// Can it be believed? With what the instance type itself makes doubtful, which no trial sees.
    pub validity: Option<Validity>,
    /// What people should know about it.
    pub warnings: Vec<String>,
}

impl JobReport {
    /// A pending job of which nothing is known yet.
    #[must_use]
    pub fn new(name: JobName, created_at: Timestamp) -> Self {
        Self {
            name,
            status: JobStatus::Pending,
            created_at,
            finished_at: None,
            model: None,
            endpoint: None,
            ready_timeout: None,
            goals: None,
            constraints: Vec::new(),
            ranked_by: RankedBy::Cost,
            progress: Progress { trials: 0, ended: 0 },
            ranking: Vec::new(),
            rejected: Vec::new(),
            failed: Vec::new(),
            no_recommendation_reason: None,
            warnings: Vec::new(),
        }
    }

    /// The best candidate that can be recommended.
    #[must_use]
    pub fn recommendation(&self) -> Option<&Entry> {
        self.ranking.first()
    }

    /// What it is about, for people: the model's file, the endpoint, or both.
    #[must_use]
    pub fn about(&self) -> String {
        about(self.model.as_ref(), self.endpoint.as_ref())
    }

    /// The latency that candidates are compared by: the one of the first constraint, else the 95th percentile.
    #[must_use]
    pub fn metric(&self) -> SloMetric {
        self.constraints.first().map_or(SloMetric::P95, |slo| slo.metric())
    }

    /// Every candidate: ranked, rejected, failed.
    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.ranking.iter().chain(&self.rejected).chain(&self.failed)
    }

    /// Whether some candidate's fate is open: its time was over before it had an answer, or what was seen of
    /// it cannot be believed. Nobody may say then that none meets the constraints.
    #[must_use]
    pub fn leaves_open(&self) -> bool {
        self.failed.iter().any(Entry::is_open)
    }
}

impl Entry {
    /// A candidate of which nothing is known but its type.
    #[must_use]
    pub fn new(instance_type: InstanceTypeName, mode: Mode, seed: u64) -> Self {
        Self {
            rank: None,
            score: None,
            score_ci95: None,
            tied_with: Vec::new(),
            instance_type,
            trial: None,
            emulated: false,
            shared_trial_with: Vec::new(),
            instance_count: 1,
            configuration: None,
            endpoint: None,
            price: None,
            cost_per_hour_usd: None,
            cost_per_inference_usd: None,
            cost_per_inference_ci95: None,
            cost_per_million_usd: None,
            max_invocations_per_min: None,
            max_invocations_ci95: None,
            memory_utilization_pct: None,
            sizing: None,
            mode,
            seed,
            meets: false,
            reason: None,
            detail: None,
            failure_kind: None,
            result: None,
            steps: Vec::new(),
            validity: None,
            warnings: Vec::new(),
        }
    }

    /// Latency at the capacity; absent when no call was answered.
    #[must_use]
    pub fn latency(&self) -> Option<&Latency> {
        self.result.as_ref()?.latency.as_ref()
    }

    /// What a ranking needs to know of it; absent when no call was answered.
    #[must_use]
    pub fn contender(&self, metric: SloMetric) -> Option<Contender> {
        let rate = |per_minute| Rate::per_minute(per_minute).ok().map(MilliPerMinute::from_rate);
        let value = rate(self.max_invocations_per_min?)?;
        let capacity = match self.max_invocations_ci95 {
            Some([low, high]) => Capacity { value, low: rate(low)?, high: rate(high)? },
            // Nothing says how sure it is.
            None => Capacity { value, low: value, high: value },
        };
        Some(Contender {
            name: format!("{} {}", self.instance_type, self.serving().unwrap_or_default()),
            per_hour: self
                .price
                .as_ref()
                .and_then(|price| price.usd_per_hour.times(self.instance_count)),
            capacity,
            latency_us: self.latency()?.figure_us(metric),
        })
    }

    /// Busy share of the processors that the model may use, in per cent.
    #[must_use]
    pub fn cpu_utilization_pct(&self) -> Option<f64> {
        self.result.as_ref()?.utilization.cpu_pct
    }

    /// The machine that it was measured on.
    #[must_use]
    pub fn host(&self) -> Option<&HostFacts> {
        self.result.as_ref().map(|result| &result.host)
    }

    /// The closed-loop plateau, in invocations per minute.
    #[must_use]
    pub fn plateau_invocations_per_min(&self) -> Option<f64> {
        let answer = self.result.as_ref()?.answer.as_ref()?;
        Some(MilliPerMinute::from_rate(answer.plateau.value).as_per_minute())
    }

    /// Whether it may meet the constraints for all that is known.
    #[must_use]
    pub fn is_open(&self) -> bool {
        let disturbed = |validity: &Validity| validity.verdict == Verdict::Invalid;
        self.failure_kind == Some(FailureKind::OutOfTime)
            || self.validity.as_ref().is_some_and(disturbed)
    }

    /// Whether its figures are to be taken with care.
    #[must_use]
    pub fn is_suspect(&self) -> bool {
        self.validity.as_ref().is_some_and(|validity| validity.verdict == Verdict::Suspect)
    }

    /// What makes its figures suspect, in the words of the findings: `cpu_steal, interval_too_wide`.
    #[must_use]
    pub fn doubts(&self) -> String {
        let findings = self.validity.iter().flat_map(|validity| &validity.findings);
        let doubtful = findings.filter(|found| found.severity != Verdict::Valid);
        doubtful.map(|found| found.name.word()).collect::<Vec<_>>().join(", ")
    }

    /// How it answers, for people: the configuration, or `endpoint NAME`.
    #[must_use]
    pub fn serving(&self) -> Option<String> {
        let configuration = self.configuration.as_ref().map(ToString::to_string);
        configuration.or_else(|| self.endpoint.as_ref().map(|name| format!("endpoint {name}")))
    }
}

/// What a job is about, for people: the model's file, the endpoint, or both.
#[must_use]
pub fn about(model: Option<&ArtifactRef>, endpoint: Option<&EndpointName>) -> String {
    let model = model.map(|model| model.name.clone());
    let endpoint = endpoint.map(|name| format!("endpoint {name}"));
    model.into_iter().chain(endpoint).collect::<Vec<_>>().join(" and ")
}

/// What to bear in mind of figures that were measured on another machine; without `host`, on an unknown one.
#[must_use]
pub fn emulation_note(host: Option<&HostFacts>) -> String {
    let machine = host.map_or_else(
        || "another machine".to_owned(),
        |host| format!("{}, {} vCPU", host.cpu_model.trim(), host.vcpus),
    );
    format!("emulated on {machine}: compare shapes with it, not clouds")
}

#[cfg(test)]
mod tests;
