//! A job's record in lines. Each entry gives the same lines whenever it is told.

use std::collections::BTreeMap;

use assay_measure::{
    environment::is_known,
    ids::TrialId,
    job::JobStatus,
    outcome::{LatencyFigures, Measurement, StepReport, TrialOutcome},
};
use assay_sagemaker::{checks, naming, traffic};
use jiff::Timestamp;

use super::{Shown, endpoint_of};
use crate::job_event::{Happening, JobEvent, TrialBrief};

/// A line of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) at: Timestamp,
    pub(super) message: String,
}

/// The stream of the job as a whole: what was asked, what it ignores, how it went.
pub(super) fn of_execution(job: &Shown, events: &[JobEvent]) -> Vec<Line> {
    let name = job.summary.spec.name.as_str();
    let created_at = job.summary.created_at;
    let mut lines: Vec<Line> =
        introduction(job).into_iter().map(|message| Line { at: created_at, message }).collect();
    let mut trials: Vec<&TrialBrief> = Vec::new();
    for event in events {
        let message = match &event.what {
            Happening::StatusChanged { status, reason } => status_line(*status, reason),
            Happening::TrialStarted { trial, agent } => {
                trials.push(trial);
                format!("Benchmark {} started on agent {agent}.", described(name, trial))
            }
            Happening::TrialEnded { trial, outcome } => {
                format!("Benchmark {} {}", known(name, &trials, trial), ended(outcome))
            }
            Happening::TrialReturned { trial, reason } => {
                format!("Benchmark {} waits again: {reason}.", known(name, &trials, trial))
            }
            Happening::StepFinished { .. } | Happening::TrialProgressed { .. } => continue,
        };
        lines.push(Line { at: event.at, message });
    }
    lines
}

/// The stream of one candidate, from the beginning of its trial; empty when there is no such candidate.
pub(super) fn of_endpoint(job: &Shown, events: &[JobEvent], endpoint: &str) -> Vec<Line> {
    let name = job.summary.spec.name.as_str();
    let mut ours: Option<&TrialId> = None;
    let mut lines = Vec::new();
    for event in events {
        let message = match &event.what {
            Happening::TrialStarted { trial, agent } => {
                let is_meant = trial
                    .instance_types
                    .iter()
                    .any(|of| endpoint_of(name, trial.id.as_str(), of) == endpoint);
                if !is_meant {
                    continue;
                }
                ours = Some(&trial.id);
                format!(
                    "Endpoint {endpoint} created on agent {agent}: {}, expected to take {} s.",
                    trial.configuration,
                    trial.expected.as_secs()
                )
            }
            Happening::StepFinished { trial, step } if ours == Some(trial) => step_line(step),
            Happening::TrialEnded { trial, outcome } if ours == Some(trial) => {
                format!("Load test {} Endpoint {endpoint} deleted.", ended(outcome))
            }
            Happening::TrialReturned { trial, reason } if ours == Some(trial) => {
                format!("Endpoint {endpoint} deleted; its load test waits again: {reason}.")
            }
            Happening::StatusChanged { .. }
            | Happening::StepFinished { .. }
            | Happening::TrialEnded { .. }
            | Happening::TrialReturned { .. }
            | Happening::TrialProgressed { .. } => continue,
        };
        lines.push(Line { at: event.at, message });
    }
    lines
}

fn introduction(job: &Shown) -> Vec<String> {
    let name = &job.summary.spec.name;
    let Some(intake) = &job.intake else {
        return vec![format!(
            "Inference Recommendations job {name} was created by a client of Assay."
        )];
    };
    let request = &intake.request;
    let mut lines = vec![format!(
        "Inference Recommendations job {name} of type {} was created. Model: {}. Payload: {}.",
        request.job_type,
        shown_url(&intake.subject.model_url),
        shown_url(&intake.subject.payload_url)
    )];
    let input = &request.input_config;
    let pattern = input.traffic_pattern.as_ref();
    if let Some(Ok(parts)) = pattern.map(|one| traffic::parts(one, input.job_duration_in_seconds)) {
        lines.push(format!("Traffic: {}.", traffic::described(&parts)));
    }
    lines.extend(about_the_environment(&intake.subject.environment));
    lines.extend(checks::notices(request));
    lines
}

/// Names only: values may be secrets.
fn about_the_environment(variables: &BTreeMap<String, String>) -> Option<String> {
    let (known, others): (Vec<&str>, Vec<&str>) =
        variables.keys().map(String::as_str).partition(|name| is_known(name));
    let mut parts = Vec::new();
    if !others.is_empty() {
        parts.push(format!("{} reach the model host", others.join(", ")));
    }
    if !known.is_empty() {
        parts.push(format!(
            "{} set it where no range and no tuning says otherwise",
            known.join(", ")
        ));
    }
    (!parts.is_empty())
        .then(|| format!("Environment of the model's container: {}.", parts.join("; ")))
}

/// Without what may be a signature.
fn shown_url(url: &str) -> &str {
    if url.starts_with("s3://") { url } else { url.split('?').next().unwrap_or(url) }
}

fn status_line(status: JobStatus, reason: &str) -> String {
    let words = match status {
        JobStatus::Pending => "The job is waiting",
        JobStatus::Running => "The job is in progress",
        JobStatus::Stopping => "The job is ending",
        JobStatus::Completed => "The job completed",
        JobStatus::Failed => "The job failed",
        JobStatus::Stopped => "The job was stopped",
    };
    if reason.is_empty() { format!("{words}.") } else { format!("{words}: {reason}.") }
}

fn known(job: &str, trials: &[&TrialBrief], id: &TrialId) -> String {
    let brief = trials.iter().rev().find(|trial| trial.id == *id);
    brief.map_or_else(|| id.to_string(), |trial| described(job, trial))
}

fn described(job: &str, trial: &TrialBrief) -> String {
    let endpoint = |of| {
        let endpoint = endpoint_of(job, trial.id.as_str(), of);
        format!("{of} (log stream {})", naming::endpoint_stream(job, &endpoint))
    };
    let endpoints: Vec<String> = trial.instance_types.iter().map(endpoint).collect();
    let emulated = if trial.emulated { ", emulated" } else { "" };
    format!("of {} with {}{emulated}", endpoints.join(" and "), trial.configuration)
}

fn ended(outcome: &TrialOutcome) -> String {
    match outcome {
        TrialOutcome::Measured(measurement) => measured(measurement),
        TrialOutcome::Failed(failure) => format!("failed: {}.", failure.message),
        TrialOutcome::Cancelled { by } => format!("was cancelled by {by}."),
    }
}

fn measured(measurement: &Measurement) -> String {
    let Measurement { answer, latency, calls, failed_calls, stopped_by, .. } = measurement;
    let mut counted = format!("{calls} calls, {failed_calls} failed");
    if let Some(cause) = stopped_by {
        counted.push_str(&format!("; stop reason: {cause}"));
    }
    match answer {
        Some(answer) => format!(
            "completed: {:.0} invocations per minute, {}; limited by {}; {counted}.",
            answer.capacity.value.as_per_minute(),
            figures(latency),
            answer.limited_by
        ),
        None => format!("completed: {}; {counted}.", figures(latency)),
    }
}

fn step_line(step: &StepReport) -> String {
    let load = match (step.users, step.offered) {
        (Some(users), _) => format!("{users} users"),
        (None, Some(offered)) => {
            format!("{:.0} invocations per minute offered", offered.as_per_minute())
        }
        (None, None) => "recorded arrivals".to_owned(),
    };
    format!(
        "Step {} ({}): {load}, {:.0} invocations per minute, {}, {} failed.",
        step.index,
        step.purpose,
        step.achieved.as_per_minute(),
        figures(&step.latency),
        step.failed_calls
    )
}

fn figures(latency: &LatencyFigures) -> String {
    if latency.count == 0 {
        return "no call answered".to_owned();
    }
    format!(
        "latency p50 {:.1} ms, p95 {:.1} ms, p99 {:.1} ms",
        latency.p50_us as f64 / 1e3,
        latency.p95_us as f64 / 1e3,
        latency.p99_us as f64 / 1e3
    )
}
