//! The request bodies of a job: made up from the declared inputs, or the user's file, directory or archive.

use std::{
    fs::File,
    io::Write,
    path::{Path, PathBuf},
};

use assay_measure::{
    payload_file::{self, Tally},
    stray_file::{PassedOver, is_stray},
    trial::Payload,
};
use assay_server::{archives, sample_payload};
use flate2::{Compression, write::GzEncoder};

use crate::{
    artifact::{self, LocalFile},
    cli::JobRequest,
    failure::{Failure, OrFail},
};

/// The payload of a job.
pub(crate) struct PreparedPayload {
    pub(crate) file: LocalFile,
    /// Its artifact is that file.
    pub(crate) description: Payload,
    /// The files of the directory or archive that are not sent.
    pub(crate) passed_over: PassedOver,
}

/// Finds or makes the payload, and holds it against the limits.
pub(crate) fn prepare(request: &JobRequest, scratch: &Path) -> Result<PreparedPayload, Failure> {
    if let Some(path) = &request.payload {
        // Before anything is asked about a file, it must be there.
        std::fs::metadata(path)
            .or_failed(format_args!("cannot read the payload {}", path.display()))?;
    }
    let mut passed_over = PassedOver::default();
    let (path, is_archive, content_type) = match &request.payload {
        None => made_up(request, scratch)?,
        Some(path) if path.is_dir() => {
            let files = files_of(path, &mut passed_over)?;
            let content_type = settle_content_type(request, &files)?;
            (pack(path, &files, scratch)?, true, content_type)
        }
        Some(path) if is_archive_name(path) => {
            let content_type = request.content_type.clone().ok_or_else(|| {
                Failure::usage(
                    "the Content-Type of the payloads in an archive cannot be seen from outside",
                )
                .hint("give it with --content-type, such as --content-type application/x-npy")
            })?;
            let content = archives::check_payload(path).map_err(|error| unfit(path, &error))?;
            passed_over = content.passed_over;
            (path.clone(), true, content_type)
        }
        Some(path) => {
            let content_type = settle_content_type(request, std::slice::from_ref(path))?;
            let size = std::fs::metadata(path).map_or(0, |metadata| metadata.len());
            payload_file::check_body(size).map_err(|error| unfit(path, &error))?;
            (path.clone(), false, content_type)
        }
    };
    let file = artifact::hash(&path)?;
    let description = Payload { artifact: file.reference(), is_archive, content_type };
    Ok(PreparedPayload { file, description, passed_over })
}

fn unfit(path: &Path, error: &(dyn std::error::Error + 'static)) -> Failure {
    Failure::usage(format!("the payload {} cannot be sent", path.display())).because(error)
}

fn made_up(request: &JobRequest, scratch: &Path) -> Result<(PathBuf, bool, String), Failure> {
    if request.inputs.is_empty() {
        return Err(Failure::usage("nothing says what the model takes").hint(
            "declare its input, such as --input 'float32[1,3,224,224]', or give a --payload; \
             `assay-host inspect MODEL.pt` shows what forward() takes",
        ));
    }
    let sample = sample_payload::for_inputs(&request.inputs, request.seed)
        .or_usage("the declared inputs do not fit into one body")?;
    let path = scratch.join(sample.file_name);
    std::fs::write(&path, sample.body).or_failed("cannot write the sample payload")?;
    Ok((path, false, sample.content_type.to_owned()))
}

/// The type given, or the one that all file names agree on.
fn settle_content_type(request: &JobRequest, files: &[PathBuf]) -> Result<String, Failure> {
    if let Some(given) = &request.content_type {
        return Ok(given.clone());
    }
    let first = files.first().and_then(|file| by_extension(file));
    let in_the_way = files.iter().find(|file| by_extension(file) != first || first.is_none());
    match (first, in_the_way) {
        (Some(first), None) => Ok(first.to_owned()),
        (None, _) | (_, Some(_)) => {
            let name = in_the_way.map(|file| file.display().to_string()).unwrap_or_default();
            let than =
                first.map_or_else(String::new, |first| format!(", where others are {first}"));
            Err(Failure::usage(format!(
                "the Content-Type of the payload cannot be told from the name of {name}{than}"
            ))
            .hint("give it with --content-type, such as --content-type application/json"))
        }
    }
}

fn by_extension(path: &Path) -> Option<&'static str> {
    payload_file::content_type(path.file_name()?.to_str()?)
}

fn is_archive_name(path: &Path) -> bool {
    let name = path.to_string_lossy().to_ascii_lowercase();
    name.ends_with(".tar.gz") || name.ends_with(".tgz")
}

/// The plain files of a directory, in order of their names.
fn files_of(directory: &Path, passed_over: &mut PassedOver) -> Result<Vec<PathBuf>, Failure> {
    let unreadable = |error: std::io::Error| {
        Failure::failed(format!("cannot read the payload directory {}", directory.display()))
            .because(&error)
    };
    let entries = std::fs::read_dir(directory).map_err(unreadable)?;
    let mut entries = entries.collect::<Result<Vec<_>, _>>().map_err(unreadable)?;
    entries.sort_by_key(std::fs::DirEntry::file_name);
    let (mut files, mut tally) = (Vec::new(), Tally::default());
    for entry in entries {
        let (name, path) = (entry.file_name(), entry.path());
        if path.is_file() && !is_stray(Path::new(&name)) {
            let size = entry.metadata().map_err(unreadable)?.len();
            tally.count(size).map_err(|error| unfit(&path, &error))?;
            files.push(path);
        } else {
            passed_over.note(name.to_string_lossy());
        }
    }
    if files.is_empty() {
        let besides = passed_over.sentence().map_or_else(String::new, |told| format!(" ({told})"));
        return Err(Failure::usage(format!("{} holds no files{besides}", directory.display())));
    }
    Ok(files)
}

/// Packs the files of a directory into one archive, the same bytes every time.
fn pack(directory: &Path, files: &[PathBuf], scratch: &Path) -> Result<PathBuf, Failure> {
    let target = scratch.join("payload.tar.gz");
    let packing = || -> std::io::Result<()> {
        let encoder = GzEncoder::new(File::create(&target)?, Compression::fast());
        let mut archive = tar::Builder::new(encoder);
        for path in files {
            let body = std::fs::read(path)?;
            let mut header = tar::Header::new_ustar();
            header.set_size(body.len() as u64);
            header.set_mode(0o644);
            header.set_mtime(0);
            archive.append_data(
                &mut header,
                path.file_name().unwrap_or_default(),
                body.as_slice(),
            )?;
        }
        archive.into_inner()?.finish()?.flush()
    };
    packing().or_failed(format_args!("cannot pack the payloads of {}", directory.display()))?;
    Ok(target)
}
