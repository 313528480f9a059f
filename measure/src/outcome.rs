//! What came of a trial: how it ended, why, and the figures.

use std::time::Duration;

use serde::{Deserialize, Serialize, Serializer, ser::SerializeMap};

use crate::{
    bounded_text,
    configuration::{Configuration, word_enum},
    hardware::{HostFacts, LimitInForce, Utilization},
    latency::Latency,
    search::{Answer, Purpose},
    stepped_load::StopCause,
    units::Rate,
    validity::Validity,
};

/// A message of a failure has at most this many bytes.
pub const LONGEST_MESSAGE: usize = 4 << 10;

/// The detail of a failure has at most this many bytes.
pub const LONGEST_DETAIL: usize = 16 << 10;

/// How a trial ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "ended", rename_all = "snake_case")]
pub enum TrialOutcome {
    /// It was measured, whatever the figures say and however far they can be believed.
    Measured(Box<TrialResult>),
    /// It could not be measured.
    Failed(Failure),
    /// Somebody cancelled it.
    Cancelled {
        /// Who, and why.
        by: String,
    },
}

impl TrialOutcome {
    /// How long measuring took; nothing where there was no measurement.
    #[must_use]
    pub fn took(&self) -> Duration {
        match self {
            Self::Measured(measurement) => measurement.took,
            Self::Failed(failure) => failure.took,
            Self::Cancelled { .. } => Duration::ZERO,
        }
    }

    /// The same with every free text cut to what can be sent and stored; a model may say megabytes.
    #[must_use]
    pub fn bounded(self) -> Self {
        let cut = |text| bounded_text::beginning(text, LONGEST_MESSAGE);
        match self {
            Self::Measured(mut measurement) => {
                measurement.first_error = measurement.first_error.map(cut);
                measurement.comparison_failure = measurement.comparison_failure.map(cut);
                Self::Measured(measurement)
            }
            Self::Failed(failure) => Self::Failed(failure.bounded()),
            Self::Cancelled { by } => Self::Cancelled { by: cut(by) },
        }
    }
}

/// Why a trial could not be measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Failure {
    /// The kind, for programs.
    pub kind: FailureKind,
    /// One line for people: what happened, with the values that matter.
    pub message: String,
    /// The last lines the model host wrote, or the first failing response; may be empty.
    #[serde(default)]
    pub detail: String,
    /// Can it be believed? Present where the failure is a finding of the load itself, such as a constraint
    /// that even one request at a time misses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validity: Option<Validity>,
    /// How long the trial took; zero where nobody said.
    #[serde(default)]
    pub took: Duration,
}

impl Failure {
    /// A failure that says nothing about how far it can be believed, its texts cut to what can be sent.
    #[must_use]
    pub fn new(kind: FailureKind, message: String, detail: String) -> Self {
        Self { kind, message, detail, validity: None, took: Duration::ZERO }.bounded()
    }

    /// The same with its texts cut to [`LONGEST_MESSAGE`] and [`LONGEST_DETAIL`]: the beginning of the
    /// message, and the end of the detail, whose last lines tell most.
    #[must_use]
    pub fn bounded(self) -> Self {
        Self {
            message: bounded_text::beginning(self.message, LONGEST_MESSAGE),
            detail: bounded_text::end(self.detail, LONGEST_DETAIL),
            ..self
        }
    }
}

word_enum!(
    /// Why a trial could not be measured.
    FailureKind, "failure",
    "artifact_unavailable, model_rejected, payload_rejected, host_start_failed, host_not_ready, model_raised, host_crashed, out_of_memory, model_hangs, too_slow, out_of_time, endpoint_unavailable, generator, sandbox, internal" {
        /// Model or payload could not be fetched, or its checksum is wrong.
        ArtifactUnavailable = "artifact_unavailable",
        /// The host cannot load the model.
        ModelRejected = "model_rejected",
        /// The model does not take the payload.
        PayloadRejected = "payload_rejected",
        /// The host program could not be started.
        HostStartFailed = "host_start_failed",
        /// The host did not become ready in time.
        HostNotReady = "host_not_ready",
        /// The model raised errors beyond the allowed share of calls.
        ModelRaised = "model_raised",
        /// The host process died.
        HostCrashed = "host_crashed",
        /// The host used more memory than the instance type has.
        OutOfMemory = "out_of_memory",
        /// The model stopped answering.
        ModelHangs = "model_hangs",
        /// Even one request at a time misses the constraint.
        TooSlow = "too_slow",
        /// The time allowed ended before anything could be said.
        OutOfTime = "out_of_time",
        /// The endpoint is not known to the agent, or nobody answers there.
        EndpointUnavailable = "endpoint_unavailable",
        /// The load generator could not do its work.
        Generator = "generator",
        /// CPU set or memory limit could not be set up.
        Sandbox = "sandbox",
        /// A fault of the agent itself.
        Internal = "internal",
    }
);

/// What came of a trial that was measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrialResult {
    /// The answer of the search, or of a load with stopping conditions; absent for other fixed loads.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer: Option<Answer>,
    /// What ended a load with stopping conditions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stopped_by: Option<StopCause>,
    /// Latency at the answer (for fixed loads: of the last phase); absent when no call was answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latency: Option<Latency>,
    /// Utilization at the answer.
    pub utilization: Utilization,
    /// Utilization of the machine without load, after the run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idle: Option<Utilization>,
    /// Can it be believed?
    pub validity: Validity,
    /// The machine.
    pub host: HostFacts,
    /// Limits that were really in force on the model host.
    pub limits_in_force: Vec<LimitInForce>,
    /// The configuration that the host reported; absent for an endpoint, which keeps that to itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub configuration: Option<Configuration>,
    /// The weight of the harness itself.
    pub harness: HarnessFigures,
    /// Energy per inference in joules, where the hardware tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub energy_j_per_inference: Option<f64>,
    /// How far outputs are from those of plain float32; absent for that configuration itself, and where
    /// they could not be compared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_deviation: Option<OutputDeviation>,
    /// Why they could not be compared, in one line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comparison_failure: Option<String>,
    /// Calls whose output held a NaN.
    pub nan_outputs: u64,
    /// Calls made in all.
    pub calls: u64,
    /// Calls that failed.
    pub failed_calls: u64,
    /// The first response that was an error.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_error: Option<String>,
    /// What people should know besides, in sentences: files of the payload that were passed over, say.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub remarks: Vec<String>,
    /// From the start of the host process until it was ready.
    pub ready_after: Duration,
    /// The whole trial.
    pub took: Duration,
}

/// How far outputs are from those of plain float32, over all elements of some payload bodies. Relative:
/// 0.01 is one per cent of the element, or of its tensor's root mean square where that is larger.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct OutputDeviation {
    /// The largest.
    pub max: f64,
    /// The mean.
    pub mean: f64,
}

/// What the harness itself cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct HarnessFigures {
    /// CPU of generator and sampler as a share of the run's processor time, in per cent.
    pub cpu_share_pct: f64,
    /// Median lag of the generator behind its schedule, in microseconds.
    pub lag_p50_us: u64,
    /// 99th percentile of that lag.
    pub lag_p99_us: u64,
    /// CPU seconds of the hardware sampler.
    pub sampler_cpu_s: f64,
}

/// What came of one step: filled where the load is generated, and the same on the wire, in the store, in
/// rankings and in documents.
///
/// [`Serialize`] writes it as documents show it: rates per minute, seconds, no histogram.
#[derive(Clone, Debug, PartialEq)]
pub struct StepResult {
    /// Counts from 0 within the trial.
    pub index: u32,
    /// What it was for.
    pub purpose: Purpose,
    /// Users in closed loop.
    pub users: Option<u32>,
    /// Offered rate in open loop.
    pub offered: Option<Rate>,
    /// Rate of answered calls.
    pub achieved: Rate,
    /// When it began, since the load generator was started.
    pub started: Duration,
    /// How long load was offered.
    pub duration: Duration,
    /// Latency of the answered calls; absent when none was answered.
    pub latency: Option<Latency>,
    /// Calls that failed.
    pub failed_calls: u64,
    /// Calls that missed a constraint, failed ones included; absent without one, and in closed loop.
    pub missed_calls: Option<u64>,
    /// Every constraint held; absent without one, and in closed loop, which says nothing about arrivals.
    pub accepted: Option<bool>,
    /// How busy the machine was.
    pub utilization: Utilization,
    /// The latencies as [`latency::encode`](crate::latency::encode) writes them; may be empty.
    pub histogram: Vec<u8>,
}

impl StepResult {
    /// A step of which nothing was measured yet.
    #[must_use]
    pub fn unmeasured(index: u32, purpose: Purpose, duration: Duration) -> Self {
        Self {
            index,
            purpose,
            users: None,
            offered: None,
            achieved: Rate::ZERO,
            started: Duration::ZERO,
            duration,
            latency: None,
            failed_calls: 0,
            missed_calls: None,
            accepted: None,
            utilization: Utilization::default(),
            histogram: Vec::new(),
        }
    }
}

impl Serialize for StepResult {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mode = if self.users.is_some() { "closed" } else { "open" };
        let mut step = serializer.serialize_map(None)?;
        step.serialize_entry("mode", mode)?;
        step.serialize_entry("purpose", &self.purpose)?;
        if let Some(users) = self.users {
            step.serialize_entry("users", &users)?;
        }
        if let Some(offered) = self.offered {
            step.serialize_entry("offered_per_min", &offered.as_per_minute())?;
        }
        step.serialize_entry("achieved_per_min", &self.achieved.as_per_minute())?;
        step.serialize_entry("started_s", &self.started.as_secs_f64())?;
        step.serialize_entry("duration_s", &self.duration.as_secs_f64())?;
        if let Some(latency) = &self.latency {
            step.serialize_entry("latency_us", latency)?;
        }
        step.serialize_entry("errors", &self.failed_calls)?;
        if let Some(missed) = self.missed_calls {
            step.serialize_entry("missed", &missed)?;
        }
        if let Some(accepted) = self.accepted {
            step.serialize_entry("accepted", &accepted)?;
        }
        step.end()
    }
}

/// How far a trial has come, for people who watch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// The stage.
    pub stage: Stage,
    /// What is being done, for people.
    pub message: String,
    /// Rough share done, 0 to 1.
    pub fraction: f64,
    /// Rough time left.
    pub left: Duration,
}

word_enum!(
    /// The stages of a trial.
    Stage, "stage", "fetching, starting, warming_up, searching, cooling_down" {
        /// Fetching model and payload.
        Fetching = "fetching",
        /// Starting the model host.
        Starting = "starting",
        /// Bringing it into working state.
        WarmingUp = "warming_up",
        /// Measuring.
        Searching = "searching",
        /// Watching the machine without load.
        CoolingDown = "cooling_down",
    }
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_model_said_is_cut_to_what_can_be_sent() {
        let mebibytes = "é".repeat(4 << 20);
        let said = Failure {
            validity: None,
            took: Duration::ZERO,
            kind: FailureKind::ModelRaised,
            message: format!("raised: {mebibytes}"),
            detail: format!("{mebibytes}\nlast line"),
        };
        let TrialOutcome::Failed(failure) = TrialOutcome::Failed(said).bounded() else {
            panic!("a failure stays one")
        };
        assert!(failure.message.len() <= LONGEST_MESSAGE && failure.detail.len() <= LONGEST_DETAIL);
        assert!(failure.message.starts_with("raised: é") && failure.message.ends_with("in all)"));
        assert!(failure.detail.ends_with("last line") && failure.detail.starts_with("(cut, "));
        let TrialOutcome::Cancelled { by } = (TrialOutcome::Cancelled { by: mebibytes }).bounded()
        else {
            panic!("cancelled stays cancelled")
        };
        assert!(by.len() <= LONGEST_MESSAGE);
    }
}
