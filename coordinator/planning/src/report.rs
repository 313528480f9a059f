//! The `assay.job/1` document: what programs read with `-o json`, and what tables are drawn from.
//!
//! A measurement that is missing is absent, never zero, null or NaN. Additions are allowed, renames are
//! not; `schema/assay.job.1.schema.json` is the contract. Built by [`crate::job_report`].

use assay_measure::{
    configuration::Configuration,
    hardware::{HostFacts, LimitInForce},
    job::{Goals, JobStatus},
    outcome::{FailureKind, OutputDeviation, StepReport},
    search::{LimitedBy, Mode, Purpose},
    slo::Slo,
    stepped_load::StopCause,
    validity::{FindingName, Verdict},
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{prices::PriceQuote, ranking::RankedBy, sizing::Sizing};

mod machine;

pub use self::machine::MachineReport;

/// The name and version of the document.
pub const SCHEMA: &str = "assay.job/1";

/// A job with everything that came of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct JobReport {
    /// Always [`SCHEMA`].
    pub schema: String,
    /// The job's name.
    pub name: String,
    /// Where it stands.
    pub status: JobStatus,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<Timestamp>,
    /// The model; absent when only an endpoint is measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<ModelReport>,
    /// The running server that is measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// How long a model host may load and warm up, in seconds; absent where the job did not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ready_timeout_s: Option<f64>,
    /// Goals; absent ranks by cost per inference alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub goals: Option<Goals>,
    /// Constraints.
    pub constraints: Vec<Slo>,
    /// What decided the order.
    pub ranked_by: RankedBy,
    /// How far the job is.
    pub progress: ProgressReport,
    /// Candidates that can be recommended, best first.
    pub ranking: Vec<Entry>,
    /// Candidates that cannot: a constraint failed, no price, impossible from the start.
    pub rejected: Vec<Entry>,
    /// Candidates that could not be measured, or not in a way that can be believed.
    pub failed: Vec<Entry>,
    /// The first of the ranking, or null.
    pub recommendation: Option<Entry>,
    /// Why there is no recommendation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub no_recommendation_reason: Option<String>,
    /// What people should know before they act on it.
    pub warnings: Vec<String>,
}

/// The model of a job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelReport {
    /// File name.
    pub name: String,
    /// Checksum.
    pub sha256: String,
    /// Size.
    pub size_bytes: u64,
}

/// How many trials have ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProgressReport {
    /// Trials planned.
    pub trials: u32,
    /// Trials that have ended.
    pub ended: u32,
}

impl JobReport {
    /// What it is about, for people: the model's file, the endpoint, or both.
    #[must_use]
    pub fn about(&self) -> String {
        let model = self.model.iter().map(|model| model.name.clone());
        let endpoint = self.endpoint.iter().map(|name| format!("endpoint {name}"));
        model.chain(endpoint).collect::<Vec<_>>().join(" and ")
    }
}

impl JobReport {
    /// Whether some candidate's fate is open: its time was over before it had an answer, or what was seen of
    /// it cannot be believed. Nobody may say then that none meets the constraints.
    #[must_use]
    pub fn leaves_open(&self) -> bool {
        self.failed.iter().any(Entry::is_open)
    }
}

impl Entry {
    /// Whether it may meet the constraints for all that is known.
    #[must_use]
    pub fn is_open(&self) -> bool {
        let disturbed = |validity: &ValidityReport| validity.verdict == Verdict::Invalid;
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

/// A candidate in one of the three lists.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// 1 for the best; only in the ranking.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rank: Option<u32>,
    /// Higher is better; only in the ranking.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub score: Option<f64>,
    /// Its 95 % confidence interval.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub score_ci95: Option<[f64; 2]>,
    /// Ranks that the measurement cannot tell apart from this one.
    #[serde(default)]
    pub tied_with: Vec<u32>,
    /// The instance type.
    pub instance_type: String,
    /// The trial that measured it; absent when there was none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trial: Option<String>,
    /// It was measured on another machine, held to the type's shape.
    pub emulated: bool,
    /// Other instance types measured by the same trial.
    #[serde(default)]
    pub shared_trial_with: Vec<String>,
    /// The machine; absent when no agent described it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<HostFacts>,
    /// Limits that were really in force on the model host.
    #[serde(default)]
    pub limits_in_force: Vec<LimitInForce>,
    /// Instances of the endpoint.
    pub instance_count: u32,
    /// How the model was served; absent when the type fails with every configuration, and for an endpoint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub configuration: Option<Configuration>,
    /// The running server that was measured instead of a model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// The price; absent when unpriced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub price: Option<PriceReport>,
    /// Dollars per hour for the endpoint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost_per_hour_usd: Option<f64>,
    /// `cost_per_hour_usd / (60 × max_invocations_per_min)`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost_per_inference_usd: Option<f64>,
    /// Its 95 % confidence interval.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost_per_inference_ci95: Option<[f64; 2]>,
    /// Dollars per million inferences.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost_per_million_usd: Option<f64>,
    /// The constrained rate when there is a constraint, the plateau otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_invocations_per_min: Option<f64>,
    /// Its 95 % confidence interval.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_invocations_ci95: Option<[f64; 2]>,
    /// The closed-loop plateau.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plateau_invocations_per_min: Option<f64>,
    /// What keeps the capacity from being larger.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limited_by: Option<LimitedBy>,
    /// What ended a load with stopping conditions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stopped_by: Option<StopCause>,
    /// Latency at that rate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latency_us: Option<LatencyReport>,
    /// Busy share of the processors that the model may use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_utilization_pct: Option<f64>,
    /// Share of the memory that the model may use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_utilization_pct: Option<f64>,
    /// What the machine did at that rate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub machine: Option<MachineReport>,
    /// Per GPU.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gpu: Vec<GpuReport>,
    /// Energy per inference.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub energy_j_per_inference: Option<f64>,
    /// How far outputs are from those of plain float32, relative; absent for that configuration itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_deviation: Option<OutputDeviation>,
    /// Instances for the job's demand.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sizing: Option<Sizing>,
    /// How thorough the search was.
    pub mode: Mode,
    /// The seed of its arrivals.
    pub seed: u64,
    /// Whether every constraint holds.
    pub meets: bool,
    /// Why it is in this list; absent in the ranking.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The last lines of the model host, or the first failing response.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// What kind of failure kept it from being measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure_kind: Option<FailureKind>,
    /// Every step of load.
    #[serde(default)]
    pub steps: Vec<StepEntry>,
    /// The weight of the harness itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub harness: Option<HarnessReport>,
    /// Can it be believed?
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validity: Option<ValidityReport>,
    /// What people should know about it.
    #[serde(default)]
    pub warnings: Vec<String>,
}

/// A price in dollars.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PriceReport {
    /// Dollars per hour and instance.
    pub usd_per_hour: f64,
    /// Region.
    pub region: String,
    /// Where it comes from.
    pub source: String,
    /// When it was true.
    pub as_of: String,
    /// Derived from something else than a hosting price for this region.
    pub estimate: bool,
    /// How the estimate was made, or another remark.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// Latency from the intended send time, in microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct LatencyReport {
    /// The mean.
    pub mean: f64,
    /// The median.
    pub p50: u64,
    /// The 90th percentile.
    pub p90: u64,
    /// The 95th percentile.
    pub p95: u64,
    /// The 99th percentile.
    pub p99: u64,
}

/// How busy one GPU was at the answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GpuReport {
    /// Its index.
    pub index: u32,
    /// Its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Share of time in which a kernel ran.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub utilization_pct: Option<f64>,
    /// Memory in use, as a share of all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_utilization_pct: Option<f64>,
    /// Memory in use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_used_bytes: Option<u64>,
    /// Mean power.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub power_w: Option<f64>,
    /// Highest temperature.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub temperature_c: Option<f64>,
    /// Mean SM clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sm_clock_mhz: Option<f64>,
    /// Energy used around the answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub energy_j: Option<f64>,
    /// Why it ran slower than it could, in the driver's words.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub throttle_reasons: Vec<String>,
    /// The largest number of other processes on it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub other_processes: Option<u32>,
    /// Whether it is divided into instances.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mig: Option<bool>,
}

/// One step of load.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StepEntry {
    /// `closed` (users) or `open` (a rate, or recorded times).
    pub mode: LoopMode,
    /// What it was for.
    pub purpose: Purpose,
    /// Users in closed loop.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub users: Option<u32>,
    /// Offered rate in open loop.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offered_per_min: Option<f64>,
    /// Answered calls.
    pub achieved_per_min: f64,
    /// How long load was offered.
    pub duration_s: f64,
    /// Latency of answered calls; absent when none was answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latency_us: Option<LatencyReport>,
    /// Calls that failed.
    pub errors: u64,
    /// The constraints held; absent without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accepted: Option<bool>,
}

/// Whether load waits for answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LoopMode {
    /// It does.
    Closed,
    /// It does not.
    Open,
}

/// The weight of the harness itself.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct HarnessReport {
    /// CPU of generator and sampler as a share of the run's processor time, in per cent.
    pub cpu_share_pct: f64,
}

/// The verdict and what it rests on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ValidityReport {
    /// The gravest finding.
    pub verdict: Verdict,
    /// Everything noticed.
    pub findings: Vec<FindingReport>,
}

/// One thing noticed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FindingReport {
    /// What.
    pub name: FindingName,
    /// The figure.
    pub value: f64,
    /// Where it begins to matter.
    pub threshold: f64,
    /// What it makes of the measurement.
    pub severity: Verdict,
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

impl From<&PriceQuote> for PriceReport {
    fn from(quote: &PriceQuote) -> Self {
        Self {
            usd_per_hour: quote.usd_per_hour.as_usd(),
            region: quote.region.clone(),
            source: quote.source.clone(),
            as_of: quote.as_of.clone(),
            estimate: quote.estimate,
            note: quote.note.clone(),
        }
    }
}

impl From<&StepReport> for StepEntry {
    fn from(step: &StepReport) -> Self {
        Self {
            mode: if step.users.is_some() { LoopMode::Closed } else { LoopMode::Open },
            purpose: step.purpose,
            users: step.users,
            offered_per_min: step.offered.map(|rate| rate.as_per_minute()),
            achieved_per_min: step.achieved.as_per_minute(),
            duration_s: step.duration.as_secs_f64(),
            latency_us: LatencyReport::of(&step.latency),
            errors: step.failed_calls,
            accepted: step.accepted,
        }
    }
}

impl LatencyReport {
    /// The figures, if any call was answered.
    #[must_use]
    pub fn of(figures: &assay_measure::outcome::LatencyFigures) -> Option<Self> {
        (figures.count > 0 && figures.mean_us.is_finite()).then_some(Self {
            mean: figures.mean_us,
            p50: figures.p50_us,
            p90: figures.p90_us,
            p95: figures.p95_us,
            p99: figures.p99_us,
        })
    }
}

#[cfg(test)]
mod tests;
