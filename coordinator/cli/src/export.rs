//! `assay export`: a job's results as a file, whole or not at all.

use std::{
    fs,
    path::{Path, PathBuf},
};

use assay_planning::export::{ExportFormat, ExportTable};
use assay_proto::v1::{self, export_job_response::Part};

use crate::{
    cli::ExportArgs,
    client::Client,
    config::Settings,
    failure::{ExitCode, Failure, OrFail},
    output,
};

/// A file as the coordinator sent it.
#[derive(Debug)]
struct Exported {
    name: String,
    content: Vec<u8>,
}

/// Writes the file, or to standard output.
pub(crate) async fn run(args: &ExportArgs, settings: &Settings) -> Result<ExitCode, Failure> {
    let (format, table) = (args.format.into(), args.table.into());
    let mut client = Client::connect(settings).await?;
    let files = fetch(&mut client, &args.job, format, table).await?;
    if args.out == Path::new("-") {
        let [file] = &*files else {
            let what = format!("{} trials have an interval log each", files.len());
            return Err(Failure::usage(what).hint("name a directory with -O DIR"));
        };
        return to_stdout(file, format).map(|()| ExitCode::Done);
    }
    if format != ExportFormat::Hlog {
        return save(&files, &args.out).map(|()| ExitCode::Done);
    }
    fs::create_dir_all(&args.out).or_failed(format_args!("cannot make {}", args.out.display()))?;
    for file in files {
        let path = args.out.join(own_name(&file)?);
        write(&path, &file)?;
    }
    Ok(ExitCode::Done)
}

/// Saves a job's results as one file.
pub(crate) async fn to_file(
    client: &mut Client,
    job: &str,
    format: ExportFormat,
    path: &Path,
) -> Result<(), Failure> {
    let files = fetch(client, job, format, ExportTable::default()).await?;
    save(&files, path)
}

fn save(files: &[Exported], path: &Path) -> Result<(), Failure> {
    let [file] = files else {
        return Err(Failure::failed(format!(
            "the coordinator sent {} files, not one",
            files.len()
        )));
    };
    write(path, file)
}

fn write(path: &Path, file: &Exported) -> Result<(), Failure> {
    output::replace(path, &file.content).or_failed(format_args!("cannot write {}", path.display()))
}

/// Text goes where a terminal may be; what is none goes into files and pipes.
fn to_stdout(file: &Exported, format: ExportFormat) -> Result<(), Failure> {
    if matches!(format, ExportFormat::Parquet | ExportFormat::Bundle) {
        return output::write_bytes(&file.content);
    }
    output::write(&String::from_utf8_lossy(&file.content))
}

/// A coordinator does not choose where its files go.
fn own_name(file: &Exported) -> Result<PathBuf, Failure> {
    let path = Path::new(&file.name);
    match path.file_name() {
        Some(name) if name == path.as_os_str() => Ok(path.to_owned()),
        _ => Err(Failure::failed(format!("the coordinator sent a file called {:?}", file.name))),
    }
}

async fn fetch(
    client: &mut Client,
    job: &str,
    format: ExportFormat,
    table: ExportTable,
) -> Result<Vec<Exported>, Failure> {
    let request = v1::ExportJobRequest {
        name: job.to_owned(),
        format: format.word().to_owned(),
        table: table.word().to_owned(),
        ..v1::ExportJobRequest::default()
    };
    let mut parts = client.jobs.export_job(request).await?.into_inner();
    let mut files: Vec<(Exported, u64)> = Vec::new();
    while let Some(message) = parts.message().await? {
        match (message.part, files.last_mut()) {
            (Some(Part::File(v1::ExportedFile { name, size_bytes, .. })), _) => {
                files.push((Exported { name, content: Vec::new() }, size_bytes));
            }
            (Some(Part::Data(data)), Some((file, _))) => file.content.extend_from_slice(&data),
            (Some(Part::Data(_)) | None, _) => {
                return Err(Failure::failed("the coordinator's export cannot be read")
                    .hint("are `assay` and the coordinator of the same version?"));
            }
        }
    }
    let is_cut = |(file, size): &(Exported, u64)| file.content.len() as u64 != *size;
    if files.iter().any(is_cut) {
        return Err(Failure::failed("the coordinator's export broke off"));
    }
    Ok(files.into_iter().map(|(file, _)| file).collect())
}
