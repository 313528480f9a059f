//! `assay export`: a job's results as a file, whole or not at all.

use std::{fs, path::Path};

use assay_proto::v1;

use crate::{
    cli::{ExportArgs, ExportFormat, OutputFormat},
    client::Client,
    config::Settings,
    failure::{ExitCode, Failure, OrFail},
    output, recommend,
};

mod interval_log;

/// Writes the file, or to standard output.
pub(crate) async fn run(args: &ExportArgs, settings: &Settings) -> Result<ExitCode, Failure> {
    let mut client = Client::connect(settings).await?;
    let format = match args.format {
        ExportFormat::Json => OutputFormat::Json,
        ExportFormat::Csv => OutputFormat::Csv,
        ExportFormat::Md => OutputFormat::Md,
        ExportFormat::Hlog => return interval_logs(args, &mut client).await,
    };
    let report = recommend::report_of(&mut client, &args.job).await?;
    let text = output::rendered(&report, format)?;
    if args.out == Path::new("-") {
        output::write(&text)?;
    } else {
        output::replace(&args.out, &text)
            .or_failed(format_args!("cannot write {}", args.out.display()))?;
    }
    Ok(ExitCode::Done)
}

/// One file of each trial; a single one may go to standard output.
async fn interval_logs(args: &ExportArgs, client: &mut Client) -> Result<ExitCode, Failure> {
    let request = v1::GetJobRequest {
        name: args.job.clone(),
        with_histograms: true,
        ..v1::GetJobRequest::default()
    };
    let report = recommend::read_report(client.jobs.get_job(request).await?.into_inner())?;
    let logs = interval_log::of_trials(&report)?;
    if args.out == Path::new("-") {
        let [(_, log)] = &*logs else {
            let what = format!("{} trials have an interval log each", logs.len());
            return Err(Failure::usage(what).hint("name a directory with -O DIR"));
        };
        output::write(log)?;
        return Ok(ExitCode::Done);
    }
    fs::create_dir_all(&args.out).or_failed(format_args!("cannot make {}", args.out.display()))?;
    for (name, log) in &logs {
        let path = args.out.join(name);
        output::replace(&path, log).or_failed(format_args!("cannot write {}", path.display()))?;
    }
    Ok(ExitCode::Done)
}
