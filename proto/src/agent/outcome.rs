//! What came of steps and trials.

use std::time::Duration;

use assay_measure::{
    hardware::LimitInForce,
    latency::Latency,
    outcome::{
        Failure, HarnessFigures, OutputDeviation, Progress, StepResult, TrialOutcome, TrialResult,
    },
    search::{Answer, Confirmation, Drift, Estimate},
    validity::{Finding, Validity},
};

use super::{
    Malformed, duration, figure, finite, micros, optional, parse, required, trial_spec::rate,
};
use crate::v1;

impl From<Progress> for v1::Progress {
    fn from(progress: Progress) -> Self {
        Self {
            stage: progress.stage.to_string(),
            message: progress.message,
            fraction: progress.fraction,
            left_us: micros(progress.left),
        }
    }
}

impl TryFrom<v1::Progress> for Progress {
    type Error = Malformed;
    fn try_from(wire: v1::Progress) -> Result<Self, Malformed> {
        Ok(Self {
            stage: parse("stage", &wire.stage)?,
            message: wire.message,
            fraction: finite("fraction", wire.fraction)?.clamp(0.0, 1.0),
            left: duration("left_us", wire.left_us)?,
        })
    }
}

impl From<StepResult> for v1::StepResult {
    fn from(step: StepResult) -> Self {
        Self {
            index: step.index,
            purpose: step.purpose.to_string(),
            users: step.users,
            offered_per_s: step.offered.map(Into::into),
            achieved_per_s: step.achieved.as_per_second(),
            started_us: micros(step.started),
            duration_us: micros(step.duration),
            latency: step.latency.map(Into::into),
            failed_calls: step.failed_calls,
            missed_calls: step.missed_calls,
            accepted: step.accepted,
            utilization: Some(step.utilization.into()),
            histogram: step.histogram,
        }
    }
}

impl TryFrom<v1::StepResult> for StepResult {
    type Error = Malformed;
    fn try_from(wire: v1::StepResult) -> Result<Self, Malformed> {
        Ok(Self {
            index: wire.index,
            purpose: parse("purpose", &wire.purpose)?,
            users: wire.users,
            offered: wire.offered_per_s.map(|value| rate("offered_per_s", value)).transpose()?,
            achieved: rate("achieved_per_s", wire.achieved_per_s)?,
            started: duration("started_us", wire.started_us)?,
            duration: duration("duration_us", wire.duration_us)?,
            latency: optional("latency", wire.latency)?,
            failed_calls: wire.failed_calls,
            missed_calls: wire.missed_calls,
            accepted: wire.accepted,
            utilization: required("utilization", wire.utilization)?,
            histogram: wire.histogram,
        })
    }
}

impl From<Latency> for v1::Latency {
    fn from(latency: Latency) -> Self {
        Self {
            count: latency.count,
            mean_us: latency.mean_us,
            p50_us: latency.p50_us,
            p90_us: latency.p90_us,
            p95_us: latency.p95_us,
            p99_us: latency.p99_us,
            p999_us: latency.p999_us,
            max_us: latency.max_us,
        }
    }
}

impl TryFrom<v1::Latency> for Latency {
    type Error = Malformed;
    fn try_from(wire: v1::Latency) -> Result<Self, Malformed> {
        if wire.count == 0 {
            return Err(Malformed::new("count", "no call was counted, so there is no latency"));
        }
        Ok(Self {
            count: wire.count,
            mean_us: finite("mean_us", wire.mean_us)?,
            p50_us: wire.p50_us,
            p90_us: wire.p90_us,
            p95_us: wire.p95_us,
            p99_us: wire.p99_us,
            p999_us: wire.p999_us,
            max_us: wire.max_us,
        })
    }
}

impl From<TrialOutcome> for v1::TrialOutcome {
    fn from(outcome: TrialOutcome) -> Self {
        use v1::trial_outcome::Ended;
        let ended = match outcome {
            TrialOutcome::Measured(measurement) => Ended::Measured((*measurement).into()),
            TrialOutcome::Failed(failure) => Ended::Failed(v1::Failure {
                kind: failure.kind.to_string(),
                message: failure.message,
                detail: failure.detail,
                validity: failure.validity.map(Into::into),
                took_us: micros(failure.took),
            }),
            TrialOutcome::Cancelled { by } => Ended::Cancelled(v1::Cancelled { by }),
        };
        Self { ended: Some(ended) }
    }
}

impl TryFrom<v1::TrialOutcome> for TrialOutcome {
    type Error = Malformed;
    fn try_from(wire: v1::TrialOutcome) -> Result<Self, Malformed> {
        use v1::trial_outcome::Ended;
        Ok(match wire.ended.ok_or_else(|| Malformed::missing("ended"))? {
            Ended::Measured(measurement) => Self::Measured(Box::new(measurement.try_into()?)),
            Ended::Failed(failure) => Self::Failed(Failure {
                kind: parse("kind", &failure.kind)?,
                message: failure.message,
                detail: failure.detail,
                validity: failure.validity.map(Validity::try_from).transpose()?,
                took: Duration::from_micros(failure.took_us),
            }),
            Ended::Cancelled(cancelled) => Self::Cancelled { by: cancelled.by },
        })
    }
}

impl From<TrialResult> for v1::TrialResult {
    fn from(measurement: TrialResult) -> Self {
        Self {
            answer: measurement.answer.map(Into::into),
            latency: measurement.latency.map(Into::into),
            utilization: Some(measurement.utilization.into()),
            idle: measurement.idle.map(Into::into),
            validity: Some(measurement.validity.into()),
            host: Some(measurement.host.into()),
            limits_in_force: measurement
                .limits_in_force
                .iter()
                .map(|limit| limit.word().to_owned())
                .collect(),
            configuration: measurement.configuration.map(Into::into),
            harness: Some(measurement.harness.into()),
            energy_j_per_inference: measurement.energy_j_per_inference,
            output_deviation: measurement
                .output_deviation
                .map(|OutputDeviation { max, mean }| v1::OutputDeviation { max, mean }),
            comparison_failure: measurement.comparison_failure,
            remarks: measurement.remarks,
            nan_outputs: measurement.nan_outputs,
            calls: measurement.calls,
            failed_calls: measurement.failed_calls,
            first_error: measurement.first_error,
            stopped_by: measurement.stopped_by.map(|cause| cause.to_string()),
            ready_after_us: micros(measurement.ready_after),
            took_us: micros(measurement.took),
        }
    }
}

impl TryFrom<v1::TrialResult> for TrialResult {
    type Error = Malformed;
    fn try_from(wire: v1::TrialResult) -> Result<Self, Malformed> {
        Ok(Self {
            answer: optional("answer", wire.answer)?,
            latency: optional("latency", wire.latency)?,
            utilization: required("utilization", wire.utilization)?,
            idle: optional("idle", wire.idle)?,
            validity: required("validity", wire.validity)?,
            host: required("host", wire.host)?,
            limits_in_force: wire
                .limits_in_force
                .iter()
                .map(|word| limit(word))
                .collect::<Result<_, _>>()?,
            configuration: optional("configuration", wire.configuration)?,
            harness: required("harness", wire.harness)?,
            energy_j_per_inference: figure("energy_j_per_inference", wire.energy_j_per_inference)?,
            output_deviation: optional("output_deviation", wire.output_deviation)?,
            comparison_failure: wire.comparison_failure,
            remarks: wire.remarks,
            nan_outputs: wire.nan_outputs,
            calls: wire.calls,
            failed_calls: wire.failed_calls,
            first_error: wire.first_error,
            stopped_by: wire.stopped_by.map(|word| parse("stopped_by", &word)).transpose()?,
            ready_after: duration("ready_after_us", wire.ready_after_us)?,
            took: duration("took_us", wire.took_us)?,
        })
    }
}

impl TryFrom<v1::OutputDeviation> for OutputDeviation {
    type Error = Malformed;
    fn try_from(wire: v1::OutputDeviation) -> Result<Self, Malformed> {
        Ok(Self { max: finite("max", wire.max)?, mean: finite("mean", wire.mean)? })
    }
}

fn limit(word: &str) -> Result<LimitInForce, Malformed> {
    LimitInForce::ALL
        .into_iter()
        .find(|limit| limit.word() == word)
        .ok_or_else(|| Malformed::new("limits_in_force", format!("unknown word {word:?}")))
}

impl From<Answer> for v1::Answer {
    fn from(answer: Answer) -> Self {
        Self {
            capacity: Some(answer.capacity.into()),
            plateau: Some(answer.plateau.into()),
            plateau_users: answer.plateau_users,
            limited_by: answer.limited_by.to_string(),
            confirmation: confirmation_word(answer.confirmation).to_owned(),
            answer_steps: answer.answer_steps,
            drift_relative_change: answer.drift.map(|drift| drift.relative_change),
            precise: answer.precise,
            samples: answer.samples,
            out_of_time: answer.out_of_time,
        }
    }
}

impl TryFrom<v1::Answer> for Answer {
    type Error = Malformed;
    fn try_from(wire: v1::Answer) -> Result<Self, Malformed> {
        Ok(Self {
            capacity: required("capacity", wire.capacity)?,
            plateau: required("plateau", wire.plateau)?,
            plateau_users: wire.plateau_users,
            limited_by: parse("limited_by", &wire.limited_by)?,
            confirmation: confirmation(&wire.confirmation)?,
            answer_steps: wire.answer_steps,
            drift: figure("drift_relative_change", wire.drift_relative_change)?
                .map(|relative_change| Drift { relative_change }),
            precise: wire.precise,
            samples: wire.samples,
            out_of_time: wire.out_of_time,
        })
    }
}

const fn confirmation_word(confirmation: Confirmation) -> &'static str {
    match confirmation {
        Confirmation::Held => "held",
        Confirmation::Missed => "missed",
        Confirmation::NotRun => "not_run",
        Confirmation::NotNeeded => "not_needed",
    }
}

fn confirmation(word: &str) -> Result<Confirmation, Malformed> {
    [Confirmation::Held, Confirmation::Missed, Confirmation::NotRun, Confirmation::NotNeeded]
        .into_iter()
        .find(|known| confirmation_word(*known) == word)
        .ok_or_else(|| Malformed::new("confirmation", format!("unknown word {word:?}")))
}

impl From<Estimate> for v1::Estimate {
    fn from(estimate: Estimate) -> Self {
        Self {
            value_per_s: estimate.value.as_per_second(),
            low_per_s: estimate.low.as_per_second(),
            high_per_s: estimate.high.as_per_second(),
        }
    }
}

impl TryFrom<v1::Estimate> for Estimate {
    type Error = Malformed;
    fn try_from(wire: v1::Estimate) -> Result<Self, Malformed> {
        Ok(Self {
            value: rate("value_per_s", wire.value_per_s)?,
            low: rate("low_per_s", wire.low_per_s)?,
            high: rate("high_per_s", wire.high_per_s)?,
        })
    }
}

impl From<Validity> for v1::Validity {
    fn from(validity: Validity) -> Self {
        Self {
            verdict: validity.verdict.to_string(),
            findings: validity.findings.into_iter().map(Into::into).collect(),
        }
    }
}

impl TryFrom<v1::Validity> for Validity {
    type Error = Malformed;
    fn try_from(wire: v1::Validity) -> Result<Self, Malformed> {
        Ok(Self {
            verdict: parse("verdict", &wire.verdict)?,
            findings: super::all("findings", wire.findings)?,
        })
    }
}

impl From<Finding> for v1::Finding {
    fn from(finding: Finding) -> Self {
        Self {
            name: finding.name.to_string(),
            value: finding.value,
            threshold: finding.threshold,
            severity: finding.severity.to_string(),
        }
    }
}

impl TryFrom<v1::Finding> for Finding {
    type Error = Malformed;
    fn try_from(wire: v1::Finding) -> Result<Self, Malformed> {
        Ok(Self {
            name: parse("name", &wire.name)?,
            value: finite("value", wire.value)?,
            threshold: finite("threshold", wire.threshold)?,
            severity: parse("severity", &wire.severity)?,
        })
    }
}

impl From<HarnessFigures> for v1::HarnessFigures {
    fn from(harness: HarnessFigures) -> Self {
        Self {
            cpu_share_pct: harness.cpu_share_pct,
            lag_p50_us: harness.lag_p50_us,
            lag_p99_us: harness.lag_p99_us,
            sampler_cpu_s: harness.sampler_cpu_s,
        }
    }
}

impl TryFrom<v1::HarnessFigures> for HarnessFigures {
    type Error = Malformed;
    fn try_from(wire: v1::HarnessFigures) -> Result<Self, Malformed> {
        Ok(Self {
            cpu_share_pct: finite("cpu_share_pct", wire.cpu_share_pct)?,
            lag_p50_us: wire.lag_p50_us,
            lag_p99_us: wire.lag_p99_us,
            sampler_cpu_s: finite("sampler_cpu_s", wire.sampler_cpu_s)?,
        })
    }
}
