//! `assay recommend`: from a model to a ranking. With a server the job runs in its fleet; without one
//! a coordinator and an agent are started here, and the job goes exactly the same way.

use std::{fs::File, path::Path};

use assay_measure::job::JobStatus;
use assay_planning::{export::ExportFormat, report::JobReport};
use assay_proto::{agent::Malformed, v1};
use assay_server::report_wire;

use crate::{
    artifact,
    cli::{OutputFormat, ProgressMode, RecommendArgs},
    client::Client,
    config::Settings,
    embedded::{Embedded, EmbeddedOptions},
    export,
    failure::{ExitCode, Failure, OrFail},
    figures,
    follow::{self, Ended},
    job_request::PreparedJob,
    output,
    progress::ProgressView,
};

/// Runs the job and prints its ranking.
pub(crate) async fn run(args: &RecommendArgs, settings: &Settings) -> Result<ExitCode, Failure> {
    args.job.op_libraries.iter().try_for_each(|file| readable(file))?;
    // Minutes of measuring come before it is written.
    if let Some(path) = &args.html {
        if path == Path::new("-") {
            return Err(Failure::usage("--html needs a file: standard output has the ranking")
                .hint("`assay export JOB --format html` writes the page to standard output"));
        }
        output::check_replaceable(path)
            .or_usage(format_args!("cannot write {}", path.display()))?;
    }
    let scratch = tempfile::tempdir().or_failed("cannot make a temporary directory")?;
    let prepared = args.job.clone().prepare(scratch.path())?;
    if settings.server.is_some() {
        if !args.job.op_libraries.is_empty() {
            return Err(Failure::usage("--op-library is for a run on this machine")
                .hint("the agents of a server name their own: assay-agent run --op-library FILE"));
        }
        let mut client = Client::connect(settings).await?;
        return run_job(&mut client, prepared, args, settings).await;
    }
    if args.detach {
        return Err(Failure::usage(
            "--detach needs a coordinator that goes on without this command",
        )
        .hint("give --server, or leave --detach out"));
    }
    let mut embedded = Embedded::start(EmbeddedOptions {
        save: args.save.as_deref(),
        agent_binary: args.agent_binary.as_deref().or(settings.agent_binary.as_deref()),
        host_binary: args.host_binary.as_deref().or(settings.host_binary.as_deref()),
        op_libraries: &args.job.op_libraries,
        verbose: settings.verbose > 0,
    })
    .await?;
    let result = async {
        let mut client = Client::connect_to(embedded.url()).await?;
        tokio::select! {
            biased;
            // Why they ended says more than that the connection broke.
            failure = embedded.ended() => Err(failure),
            result = run_job(&mut client, prepared, args, settings) => result,
        }
    }
    .await;
    embedded.shut_down().await;
    result
}

/// The agent would not start without it; here it is told in the words of this command.
fn readable(op_library: &Path) -> Result<(), Failure> {
    File::open(op_library)
        .map(drop)
        .or_usage(format_args!("cannot read the operator library {}", op_library.display()))
}

async fn run_job(
    client: &mut Client,
    prepared: PreparedJob,
    args: &RecommendArgs,
    settings: &Settings,
) -> Result<ExitCode, Failure> {
    let mut view = ProgressView::new(settings.progress, settings.verbose > 0);
    let name = prepared.spec.name.to_string();
    create(client, prepared, &view).await?;
    if args.detach {
        output::write(&name)?;
        return Ok(ExitCode::Done);
    }
    let ended = follow::until_end(client, &name, &mut view).await?;
    view.finish();
    let report = report_of(client, &name).await?;
    if settings.progress != ProgressMode::None
        && matches!(settings.output, OutputFormat::Table | OutputFormat::Wide)
    {
        anstream::eprintln!();
    }
    output::report(&report, settings.output)?;
    if let Some(path) = &args.html {
        export::to_file(client, &name, ExportFormat::Html, path).await?;
    }
    Ok(match ended {
        Ended::Interrupted => ExitCode::Interrupted,
        Ended::ByItself => exit_code(&report),
    })
}

/// Uploads what the job needs, creates it, and says what is planned.
pub(crate) async fn create(
    client: &mut Client,
    prepared: PreparedJob,
    view: &ProgressView,
) -> Result<v1::CreateJobResponse, Failure> {
    if let Some(endpoint) = prepared.spec.endpoint() {
        view.line(&format!("  Endpoint {endpoint}, as it runs"));
    }
    if let Some(model) = &prepared.model {
        view.line(&format!(
            "  Model    {}  {}  sha256:{}",
            model.name,
            model.size,
            short(model.sha256.as_str())
        ));
        artifact::upload(client, model).await?;
    }
    if let Some(passed_over) = prepared.passed_over.sentence() {
        view.line(&format!("  note: {passed_over}"));
    }
    artifact::upload(client, &prepared.payload).await?;
    if let Some(recording) = &prepared.recording {
        artifact::upload(client, recording).await?;
    }
    let limit = prepared.spec.max_duration;
    let ready = prepared.spec.ready_timeout;
    let request = v1::CreateJobRequest { spec: Some(prepared.spec.into()) };
    let created = client.jobs.create_job(request).await?.into_inner();
    let types = created.job.as_ref().map_or(0, |job| job.instance_types.len());
    view.line(&format!(
        "  Plan     {types} instance type{}, {} trial{}, about {} (limit {}{})",
        plural(types),
        created.trials.len(),
        plural(created.trials.len()),
        figures::clock(std::time::Duration::from_micros(created.expected_us)),
        figures::clock(limit),
        ready.map_or_else(String::new, |within| format!(
            ", ready within {}",
            figures::clock(within)
        )),
    ));
    for warning in &created.warnings {
        view.line(&format!("  warning: {warning}"));
    }
    Ok(created)
}

const fn plural(count: usize) -> &'static str {
    if count == 1 { "" } else { "s" }
}

/// The first and last four digits of a checksum.
fn short(sha256: &str) -> String {
    format!("{}…{}", &sha256[..4], &sha256[sha256.len() - 4..])
}

/// Asks for the report of a job, ranked by its own goals.
pub(crate) async fn report_of(client: &mut Client, name: &str) -> Result<JobReport, Failure> {
    let request = v1::GetJobRequest { name: name.to_owned(), ..v1::GetJobRequest::default() };
    let answer = client.jobs.get_job(request).await?.into_inner();
    read_report(answer)
}

pub(crate) fn read_report(answer: v1::GetJobResponse) -> Result<JobReport, Failure> {
    let report = answer.report.ok_or_else(|| Malformed::missing("report"));
    report.and_then(report_wire::from_wire).map_err(|error| {
        Failure::failed("the server's report cannot be read")
            .because(&error)
            .hint("are `assay` and the coordinator of the same version?")
    })
}

/// What a finished job means for scripts.
pub(crate) fn exit_code(report: &JobReport) -> ExitCode {
    match report.status {
        JobStatus::Failed => ExitCode::Failed,
        JobStatus::Stopped | JobStatus::Stopping => ExitCode::Stopped,
        JobStatus::Pending | JobStatus::Running => ExitCode::Done,
        JobStatus::Completed if !report.ranking.is_empty() => ExitCode::Done,
        JobStatus::Completed if report.rejected.is_empty() || report.leaves_open() => {
            ExitCode::Failed
        }
        JobStatus::Completed => ExitCode::NothingMeets,
    }
}

#[cfg(test)]
mod tests {
    use assay_measure::{
        outcome::FailureKind,
        search::Mode,
        validity::{Validity, Verdict},
    };
    use assay_planning::report::Entry;

    use super::*;

    fn entry() -> Entry {
        Entry::new("own.a".parse().unwrap(), Mode::Quick, 1)
    }

    fn report(rejected: usize, failed: Vec<Entry>) -> JobReport {
        JobReport {
            status: JobStatus::Completed,
            rejected: vec![entry(); rejected],
            failed,
            ..JobReport::new("a".parse().unwrap(), "2026-11-22T14:00:00Z".parse().unwrap())
        }
    }

    #[test]
    fn that_none_meets_the_constraints_is_said_only_when_every_candidate_was_judged() {
        let failed = |kind| Entry { failure_kind: Some(kind), ..entry() };
        let late = failed(FailureKind::OutOfTime);
        let invalid = Validity { verdict: Verdict::Invalid, findings: Vec::new() };
        let disturbed = Entry { validity: Some(invalid), ..entry() };
        assert_eq!(exit_code(&report(1, Vec::new())), ExitCode::NothingMeets);
        let crashed = failed(FailureKind::HostCrashed);
        assert_eq!(exit_code(&report(1, vec![crashed])), ExitCode::NothingMeets);
        for open in [late, disturbed] {
            assert_eq!(exit_code(&report(1, vec![open.clone()])), ExitCode::Failed, "{open:?}");
            assert_eq!(exit_code(&report(0, vec![open.clone()])), ExitCode::Failed, "{open:?}");
        }
    }
}
