//! `assay jobs`: jobs on a coordinator.

use assay_measure::{
    job::{Demand, JobStatus},
    outcome::TrialOutcome,
    printable,
};
use assay_planning::report::JobReport;
use assay_proto::v1::{self, job_event::Event};
use jiff::Timestamp;
use serde_json::json;
use tokio_stream::StreamExt;

use crate::{
    cli::{JobsCommand, OutputFormat},
    client::Client,
    config::Settings,
    failure::{ExitCode, Failure, OrFail},
    figures, follow, job_request,
    output::{self, Listing},
    progress::ProgressView,
    recommend,
    wire::{status, time},
};

/// Performs one of the commands.
pub(crate) async fn run(command: &JobsCommand, settings: &Settings) -> Result<ExitCode, Failure> {
    match command {
        JobsCommand::Create { file, name } => {
            let scratch = tempfile::tempdir().or_failed("cannot make a temporary directory")?;
            let mut request = job_request::read_job_file(file)?;
            request.name = name.clone().or(request.name);
            let prepared = request.prepare(scratch.path())?;
            let mut client = Client::connect(settings).await?;
            let name = prepared.spec.name.to_string();
            recommend::create(&mut client, prepared, &ProgressView::new(settings.progress, false))
                .await?;
            output::write(&name)?;
            Ok(ExitCode::Done)
        }
        JobsCommand::List { status, name_contains, limit } => {
            let mut client = Client::connect(settings).await?;
            let jobs = list(&mut client, *status, name_contains, *limit).await?;
            listing(&jobs).write(settings.output)?;
            Ok(ExitCode::Done)
        }
        JobsCommand::Describe { name, goal, demand, headroom } => {
            let mut client = Client::connect(settings).await?;
            let demand = demand.map(|rate| Demand { rate, headroom_pct: *headroom });
            let request = v1::GetJobRequest {
                name: name.clone(),
                goals: goal.map(Into::into),
                demand: demand.map(Into::into),
                with_histograms: false,
            };
            let answer = client.jobs.get_job(request).await?.into_inner();
            let report = recommend::read_report(answer)?;
            if matches!(settings.output, OutputFormat::Table | OutputFormat::Wide) {
                output::write(&headline(&report, Timestamp::now()))?;
            }
            output::report(&report, settings.output)?;
            Ok(ExitCode::Done)
        }
        JobsCommand::Watch { name } => watch(name, settings).await,
        JobsCommand::Stop { name } => {
            let mut client = Client::connect(settings).await?;
            let request =
                v1::StopJobRequest { name: name.clone(), by: "assay jobs stop".to_owned() };
            client.jobs.stop_job(request).await?;
            ProgressView::new(settings.progress, false).line(&format!("{name} is stopping"));
            Ok(ExitCode::Done)
        }
        JobsCommand::Logs { name } => logs(name, settings).await,
        JobsCommand::Delete { name } => {
            let mut client = Client::connect(settings).await?;
            client.jobs.delete_job(v1::DeleteJobRequest { name: name.clone() }).await?;
            Ok(ExitCode::Done)
        }
    }
}

async fn list(
    client: &mut Client,
    status: Option<JobStatus>,
    name_contains: &str,
    limit: u32,
) -> Result<Vec<v1::Job>, Failure> {
    let mut jobs = Vec::new();
    let mut page_token = String::new();
    let limit = limit as usize;
    while jobs.len() < limit {
        let request = v1::ListJobsRequest {
            page_size: u32::try_from(limit - jobs.len()).unwrap_or(u32::MAX).min(1000),
            page_token,
            status: status.map(|status| v1::JobStatus::from(status).into()),
            name_contains: name_contains.to_owned(),
        };
        let page = client.jobs.list_jobs(request).await?.into_inner();
        jobs.extend(page.jobs);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    Ok(jobs)
}

/// The model, the endpoint, or both.
/// `  Job  NAME  running  resnet18.pt  3 of 5 trials ended  created 2 min ago`.
fn headline(report: &JobReport, now: Timestamp) -> String {
    let (progress, created) = (report.progress, figures::ago(report.created_at, now));
    printable::line(&format!(
        "  Job  {}  {}  {}  {} of {} trials ended  created {created}",
        report.name,
        report.status,
        report.about(),
        progress.ended,
        progress.trials
    ))
}

fn about(job: &v1::Job) -> String {
    let model = Some(job.model_name.clone()).filter(|name| !name.is_empty());
    let endpoint = job.endpoint.as_ref().map(|name| format!("endpoint {name}"));
    model.into_iter().chain(endpoint).collect::<Vec<_>>().join(" and ")
}

fn listing(jobs: &[v1::Job]) -> Listing {
    let now = Timestamp::now();
    let status = |job: &v1::Job| status_word(job.status);
    let rows = jobs.iter().map(|job| {
        vec![
            job.name.clone(),
            status(job),
            about(job),
            format!("{}/{}", job.trials_ended, job.trials_total),
            job.recommended_instance_type.clone().unwrap_or_else(|| "-".to_owned()),
            job.cost_per_inference_usd
                .map_or_else(|| "-".to_owned(), |c| figures::significant(c * 1e6)),
            time(job.created_at).map_or_else(|| "-".to_owned(), |then| figures::ago(then, now)),
        ]
    });
    let json = jobs.iter().map(|job| {
        let mut object = json!({
            "name": job.name,
            "status": status(job),
            "created_at": time(job.created_at).map(|at| at.to_string()),
            "trials": {"total": job.trials_total, "ended": job.trials_ended},
            "instance_types": job.instance_types,
        });
        let model = json!({"name": job.model_name, "sha256": job.model_sha256});
        let optional = [
            ("model", (!job.model_name.is_empty()).then_some(model)),
            ("endpoint", job.endpoint.as_ref().map(|name| json!(name))),
            ("finished_at", time(job.finished_at).map(|at| json!(at.to_string()))),
            ("reason", (!job.reason.is_empty()).then(|| json!(job.reason))),
            ("recommended_instance_type", job.recommended_instance_type.as_ref().map(|t| json!(t))),
            ("recommended_configuration", job.recommended_configuration.as_ref().map(|c| json!(c))),
            ("cost_per_inference_usd", job.cost_per_inference_usd.map(|cost| json!(cost))),
        ];
        for (name, value) in optional {
            if let Some(value) = value {
                object[name] = value;
            }
        }
        object
    });
    Listing {
        header: vec!["NAME", "STATUS", "MODEL", "TRIALS", "RECOMMENDED", "$/1M", "CREATED"],
        rows: rows.collect(),
        json: json.collect(),
        empty: "no jobs; `assay recommend MODEL.pt --server …` starts one".to_owned(),
    }
}

async fn watch(name: &str, settings: &Settings) -> Result<ExitCode, Failure> {
    let mut client = Client::connect(settings).await?;
    let mut view = ProgressView::new(settings.progress, settings.verbose > 0);
    tokio::select! {
        result = follow::events(&mut client, name, &mut view) => result?,
        signal = follow::interrupted() => {
            signal?;
            view.finish();
            view.line(&format!("no longer watching; {name} goes on"));
            return Ok(ExitCode::Interrupted);
        }
    }
    view.finish();
    let report = recommend::report_of(&mut client, name).await?;
    output::report(&report, settings.output)?;
    Ok(recommend::exit_code(&report))
}

/// Prints every stored event so far; does not wait for more.
async fn logs(name: &str, settings: &Settings) -> Result<ExitCode, Failure> {
    let mut client = Client::connect(settings).await?;
    let request = v1::WatchJobRequest { name: name.to_owned(), after_sequence: 0 };
    let mut stream = client.jobs.watch_job(request).await?.into_inner();
    // Stored events come at once; silence means that the past has been told.
    while let Ok(Some(event)) =
        tokio::time::timeout(std::time::Duration::from_millis(500), stream.next()).await
    {
        let event = event?;
        if event.sequence > 0 {
            output::write(&printable::line(&log_line(&event)))?;
        }
    }
    Ok(ExitCode::Done)
}

fn log_line(event: &v1::JobEvent) -> String {
    let at =
        time(event.at).map_or_else(String::new, |at| at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string());
    let what = match event.event.clone() {
        None | Some(Event::TrialProgressed(_)) => String::new(),
        Some(Event::StatusChanged(changed)) => {
            format!("job {} {}", status_word(changed.status), changed.reason)
        }
        Some(Event::TrialStarted(started)) => {
            let trial = started.trial.unwrap_or_default();
            format!(
                "{} started on {}: {}",
                trial.trial_id,
                started.agent,
                trial.instance_types.join(", ")
            )
        }
        Some(Event::StepFinished(finished)) => {
            let step = finished.step.unwrap_or_default();
            format!(
                "{} step {} {}: {}/min, {} failed",
                finished.trial_id,
                step.index,
                step.purpose,
                figures::grouped(step.achieved_per_s * 60.0),
                step.failed_calls
            )
        }
        Some(Event::TrialEnded(ended)) => {
            let how = match ended.outcome.map(TrialOutcome::try_from) {
                Some(Ok(TrialOutcome::Measured(measurement))) => {
                    format!("measured, {}", measurement.validity.verdict)
                }
                Some(Ok(TrialOutcome::Failed(failure))) => format!("failed: {}", failure.message),
                Some(Ok(TrialOutcome::Cancelled { by })) => format!("cancelled by {by}"),
                Some(Err(malformed)) => malformed.to_string(),
                None => "ended".to_owned(),
            };
            format!("{} {how}", ended.trial_id)
        }
        Some(Event::TrialReturned(returned)) => {
            format!("{} back in the queue: {}", returned.trial_id, returned.reason)
        }
    };
    format!("{at} #{} {}", event.sequence, what.trim_end())
}

fn status_word(wire: i32) -> String {
    status(wire).map_or_else(|| "unknown".to_owned(), |status| status.to_string())
}
