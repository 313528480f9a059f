//! The request bodies of a job: made up from the declared inputs, or the user's file, directory or archive.

use std::{
    fs::File,
    io::Write,
    path::{Path, PathBuf},
};

use assay_measure::{payload_file, trial::Payload};
use flate2::{Compression, write::GzEncoder};

use crate::{
    artifact::{self, LocalFile},
    failure::Failure,
    job_request::JobRequest,
    sample_payload,
};

/// Finds or makes the payload. The payload's artifact in the description is a placeholder that the
/// caller replaces by the file's reference.
pub(crate) fn prepare(
    request: &JobRequest,
    scratch: &Path,
) -> Result<(LocalFile, Payload), Failure> {
    if let Some(path) = &request.payload {
        // Before anything is asked about a file, it must be there.
        std::fs::metadata(path).map_err(|error| {
            Failure::failed(format!("cannot read the payload {}", path.display())).because(&error)
        })?;
    }
    let (path, is_archive, content_type) = match &request.payload {
        None => made_up(request, scratch)?,
        Some(path) if path.is_dir() => {
            let content_type = settle_content_type(request, &files_of(path)?)?;
            (pack(path, scratch)?, true, content_type)
        }
        Some(path) if is_archive_name(path) => {
            let content_type = request.content_type.clone().ok_or_else(|| {
                Failure::usage(
                    "the Content-Type of the payloads in an archive cannot be seen from outside",
                )
                .hint("give it with --content-type, such as --content-type application/x-npy")
            })?;
            (path.clone(), true, content_type)
        }
        Some(path) => {
            let content_type = settle_content_type(request, std::slice::from_ref(path))?;
            (path.clone(), false, content_type)
        }
    };
    let file = artifact::hash(&path)?;
    let payload = Payload { artifact: file.reference(), is_archive, content_type };
    Ok((file, payload))
}

fn made_up(request: &JobRequest, scratch: &Path) -> Result<(PathBuf, bool, String), Failure> {
    if request.inputs.is_empty() {
        return Err(Failure::usage("nothing says what the model takes").hint(
            "declare its input, such as --input 'float32[1,3,224,224]', or give a --payload; \
             `assay-host inspect MODEL.pt` shows what forward() takes",
        ));
    }
    let sample = sample_payload::for_inputs(&request.inputs, request.seed)
        .ok_or_else(|| Failure::usage("the declared inputs are larger than 1 GiB together"))?;
    let path = scratch.join(sample.file_name);
    std::fs::write(&path, sample.body)
        .map_err(|error| Failure::failed("cannot write the sample payload").because(&error))?;
    Ok((path, false, sample.content_type.to_owned()))
}

/// The type given, or the one that all file names agree on.
fn settle_content_type(request: &JobRequest, files: &[PathBuf]) -> Result<String, Failure> {
    if let Some(given) = &request.content_type {
        return Ok(given.clone());
    }
    let mut types = files.iter().map(|file| by_extension(file));
    let first = types.next().flatten();
    match first {
        Some(first) if types.all(|other| other == Some(first)) => Ok(first.to_owned()),
        Some(_) | None => {
            Err(Failure::usage("the Content-Type of the payload cannot be told from its name")
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
fn files_of(directory: &Path) -> Result<Vec<PathBuf>, Failure> {
    let unreadable = |error: std::io::Error| {
        Failure::failed(format!("cannot read the payload directory {}", directory.display()))
            .because(&error)
    };
    let mut files = Vec::new();
    for entry in std::fs::read_dir(directory).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        if path.is_file() {
            files.push(path);
        }
    }
    files.sort();
    if files.is_empty() {
        return Err(Failure::usage(format!("{} holds no files", directory.display())));
    }
    Ok(files)
}

/// Packs the files of a directory into one archive, the same bytes every time.
fn pack(directory: &Path, scratch: &Path) -> Result<PathBuf, Failure> {
    let target = scratch.join("payload.tar.gz");
    let packing = || -> std::io::Result<()> {
        let encoder = GzEncoder::new(File::create(&target)?, Compression::fast());
        let mut archive = tar::Builder::new(encoder);
        for path in
            files_of(directory).map_err(|failure| std::io::Error::other(failure.to_string()))?
        {
            let body = std::fs::read(&path)?;
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
    packing().map_err(|error| {
        Failure::failed(format!("cannot pack the payloads of {}", directory.display()))
            .because(&error)
    })?;
    Ok(target)
}
