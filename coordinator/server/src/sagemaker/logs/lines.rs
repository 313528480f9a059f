//! A job's record in lines. Each entry gives the same lines whenever it is told.

use std::collections::BTreeMap;

use assay_measure::{
    environment::{self, is_known},
    ids::{InstanceTypeName, TrialId},
    job::JobStatus,
    latency::Latency,
    outcome::{StepResult, TrialOutcome, TrialResult},
    printable,
};
use assay_planning::planner::Serving;
use assay_sagemaker::{checks, naming, traffic};
use jiff::Timestamp;

use super::{Shown, endpoints_of};
use crate::{
    job_event::{Happening, JobEvent, TrialBrief},
    sagemaker::jobs::{inputs, intake::Subject},
};

/// A line of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) at: Timestamp,
    pub(super) message: String,
}

impl Line {
    pub(super) fn new(at: Timestamp, message: &str) -> Self {
        Self { at, message: printable::line(message) }
    }
}

/// The stream of the job as a whole: what was asked, what it ignores, how it went.
pub(super) fn of_execution(job: &Shown, events: &[JobEvent]) -> Vec<Line> {
    let name = job.summary.spec.name.as_str();
    let created_at = job.summary.created_at;
    let mut lines: Vec<Line> =
        introduction(job).iter().map(|message| Line::new(created_at, message)).collect();
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
        lines.push(Line::new(event.at, &message));
    }
    lines
}

/// The stream of one candidate, from the beginning of its trial; empty when there is no such candidate.
pub(super) fn of_endpoint(job: &Shown, events: &[JobEvent], endpoint: &str) -> Vec<Line> {
    let name = job.summary.spec.name.as_str();
    let mut ours: Option<&TrialBrief> = None;
    let is_ours =
        |ours: Option<&TrialBrief>, trial: &TrialId| ours.is_some_and(|brief| brief.id == *trial);
    // What was there before stays there.
    let deleted = |ours: Option<&TrialBrief>| match ours.map(|brief| &brief.serving) {
        Some(Serving::Configured(_)) => format!(" Endpoint {endpoint} deleted."),
        Some(Serving::Endpoint(_)) | None => String::new(),
    };
    let mut lines = Vec::new();
    for event in events {
        let message = match &event.what {
            Happening::TrialStarted { trial, agent } => {
                if !endpoints_of(name, trial).iter().any(|one| one == endpoint) {
                    continue;
                }
                ours = Some(trial);
                let begun = match &trial.serving {
                    Serving::Configured(configuration) => {
                        format!("Endpoint {endpoint} created on agent {agent}: {configuration}")
                    }
                    Serving::Endpoint(_) => {
                        format!("Load test of {endpoint} by agent {agent} began")
                    }
                };
                format!("{begun}, expected to take {} s.", trial.expected.as_secs())
            }
            Happening::StepFinished { trial, step } if is_ours(ours, trial) => step_line(step),
            Happening::TrialEnded { trial, outcome } if is_ours(ours, trial) => {
                format!("Load test {}{}", ended(outcome), deleted(ours))
            }
            Happening::TrialReturned { trial, reason } if is_ours(ours, trial) => {
                format!("The load test waits again: {reason}.{}", deleted(ours))
            }
            Happening::StatusChanged { .. }
            | Happening::StepFinished { .. }
            | Happening::TrialEnded { .. }
            | Happening::TrialReturned { .. }
            | Happening::TrialProgressed { .. } => continue,
        };
        lines.push(Line::new(event.at, &message));
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
        "Inference Recommendations job {name} of type {} was created. {}Payload: {}.",
        request.job_type,
        about_the_model(&intake.subject.model_url),
        shown_url(&intake.subject.payload_url)
    )];
    let endpoint = job.summary.spec.endpoint();
    lines.extend(endpoint.map(|name| format!("Endpoint {name} is measured as it runs.")));
    let input = &request.input_config;
    let pattern = input.traffic_pattern.as_ref();
    if let Some(Ok(parts)) = pattern.map(|one| traffic::parts(one, input.job_duration_in_seconds)) {
        lines.push(format!("Traffic: {}.", traffic::described(&parts)));
    }
    lines.extend(about_the_environment("the model's container", &intake.subject.environment));
    for (name, variables) in &intake.subject.specifications {
        let of_specification = format!("inference specification {name}");
        lines.extend(about_the_environment(&of_specification, variables));
    }
    lines.extend(inputs::remarks(&intake.subject));
    lines.extend(about_the_rest(&intake.subject));
    lines.extend(checks::notices(request));
    lines
}

/// A load test of an endpoint alone has none.
fn about_the_model(url: &str) -> String {
    if url.is_empty() { String::new() } else { format!("Model: {}. ", shown_url(url)) }
}

/// Names only: values stand with the configuration of each benchmark.
fn about_the_environment(of: &str, variables: &BTreeMap<String, String>) -> Option<String> {
    let (set, left_out) = environment::split(variables);
    let (known, others): (Vec<&str>, Vec<&str>) = set.keys().partition(|name| is_known(name));
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
    if !left_out.is_empty() {
        parts.push(environment::describe_left_out(&left_out));
    }
    (!parts.is_empty()).then(|| format!("Environment of {of}: {}.", parts.join("; ")))
}

/// What was said of the model and its payload, and is not heeded.
fn about_the_rest(subject: &Subject) -> Vec<String> {
    let mut lines = Vec::new();
    if let (Some(sent), [_, ..]) = (&subject.content_type, subject.other_content_types.as_slice()) {
        let others = subject.other_content_types.join(", ");
        lines.push(format!(
            "SupportedContentTypes: bodies are sent as {sent}, the first; nothing is sent as {others}."
        ));
    }
    if !subject.without_effect.is_empty() {
        let members = subject.without_effect.join(", ");
        lines.push(format!("Kept and shown, and without effect on what is measured: {members}."));
    }
    lines
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
    let endpoint = |(of, name): (&InstanceTypeName, String)| {
        format!("{of} (log stream {})", naming::endpoint_stream(job, &name))
    };
    let of_types = trial.instance_types.iter().zip(endpoints_of(job, trial));
    let endpoints: Vec<String> = of_types.map(endpoint).collect();
    let emulated = if trial.emulated { ", emulated" } else { "" };
    format!("of {} with {}{emulated}", endpoints.join(" and "), trial.serving)
}

fn ended(outcome: &TrialOutcome) -> String {
    match outcome {
        TrialOutcome::Measured(measurement) => measured(measurement),
        TrialOutcome::Failed(failure) => format!("failed: {}.", failure.message),
        TrialOutcome::Cancelled { by } => format!("was cancelled by {by}."),
    }
}

fn measured(measurement: &TrialResult) -> String {
    let TrialResult { answer, latency, calls, failed_calls, stopped_by, .. } = measurement;
    let mut counted = format!("{calls} calls, {failed_calls} failed");
    if let Some(cause) = stopped_by {
        counted.push_str(&format!("; stop reason: {cause}"));
    }
    match answer {
        Some(answer) => format!(
            "completed: {:.0} invocations per minute, {}; limited by {}; {counted}.",
            answer.capacity.value.as_per_minute(),
            figures(latency.as_ref()),
            answer.limited_by
        ),
        None => format!("completed: {}; {counted}.", figures(latency.as_ref())),
    }
}

fn step_line(step: &StepResult) -> String {
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
        figures(step.latency.as_ref()),
        step.failed_calls
    )
}

fn figures(latency: Option<&Latency>) -> String {
    let Some(latency) = latency else {
        return "no call answered".to_owned();
    };
    format!(
        "latency p50 {:.1} ms, p95 {:.1} ms, p99 {:.1} ms",
        latency.p50_us as f64 / 1e3,
        latency.p95_us as f64 / 1e3,
        latency.p99_us as f64 / 1e3
    )
}
