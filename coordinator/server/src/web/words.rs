//! What happened to a job, in a sentence.

use assay_measure::{figures, outcome::TrialOutcome};

use crate::job_event::Happening;

pub(super) fn of(what: &Happening) -> String {
    match what {
        Happening::StatusChanged { status, reason } if reason.is_empty() => {
            format!("the job is {status}")
        }
        Happening::StatusChanged { status, reason } => format!("the job is {status}: {reason}"),
        Happening::TrialStarted { trial, agent } => {
            let types: Vec<&str> = trial.instance_types.iter().map(|name| name.as_str()).collect();
            format!("trial {} of {} started on {agent}", trial.id, types.join(", "))
        }
        Happening::TrialProgressed { trial, progress } => {
            format!("trial {trial}: {}", progress.message)
        }
        Happening::StepFinished { trial, step } => {
            let rate = figures::grouped(step.achieved.as_per_minute());
            let p95 = step.latency.as_ref().map(|latency| figures::latency(latency.p95_us));
            let p95 = p95.map(|p95| format!(", p95 {p95}")).unwrap_or_default();
            format!("trial {trial}, step {} ({}): {rate} per minute{p95}", step.index, step.purpose)
        }
        Happening::TrialEnded { trial, outcome } => match &**outcome {
            TrialOutcome::Measured(result) => {
                format!("trial {trial} was measured, {}", result.validity.verdict)
            }
            TrialOutcome::Failed(failure) => format!("trial {trial} failed: {}", failure.message),
            TrialOutcome::Cancelled { by } => format!("trial {trial} was cancelled by {by}"),
        },
        Happening::TrialReturned { trial, reason } => {
            format!("trial {trial} waits for an agent again: {reason}")
        }
    }
}
