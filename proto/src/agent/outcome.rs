//! What came of steps and trials.

use std::time::Duration;

use assay_measure::{
    latency::Latency,
    outcome::{
        Failure, HarnessFigures, OutputDeviation, Progress, StepResult, TrialOutcome, TrialResult,
    },
    search::{Answer, Estimate},
    validity::{Finding, Validity},
};

use super::{Malformed, duration, finite, micros, parse};
use crate::{fields::same_fields, v1};

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

same_fields!(
    StepResult {
        index, purpose, users, latency, failed_calls, missed_calls, accepted, histogram,
    }
    otherwise {
        offered = offered_per_s, achieved = achieved_per_s, started = started_us, duration = duration_us,
    }
    required { utilization }
);

same_fields!(
    Latency { count, mean_us, p50_us, p90_us, p95_us, p99_us, p999_us, max_us }
    check has_counted
);

fn has_counted(wire: &v1::Latency) -> Result<(), Malformed> {
    if wire.count == 0 {
        return Err(Malformed::new("count", "no call was counted, so there is no latency"));
    }
    Ok(())
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

same_fields!(
    TrialResult {
        answer, latency, idle, limits_in_force, configuration, energy_j_per_inference, output_deviation,
        comparison_failure, remarks, nan_outputs, calls, failed_calls, first_error, stopped_by,
    }
    otherwise { ready_after = ready_after_us, took = took_us }
    required { utilization, validity, host, harness }
);

same_fields!(OutputDeviation { max, mean });

same_fields!(
    Answer { plateau_users, limited_by, confirmation, answer_steps, precise, samples, out_of_time }
    otherwise { drift = drift_relative_change }
    required { capacity, plateau }
);

same_fields!(Estimate {} otherwise { value = value_per_s, low = low_per_s, high = high_per_s });

same_fields!(Validity { verdict, findings });

same_fields!(Finding { name, value, threshold, severity });

same_fields!(HarnessFigures { cpu_share_pct, lag_p50_us, lag_p99_us, sampler_cpu_s });
