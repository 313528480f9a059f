//! Telling TorchScript from other files by the directory of the zip file, without running anything.
//!
//! What libtorch's own reader opens is whole. Other zip files are looked into only to say what they are.

use std::{
    borrow::Cow,
    fs::File,
    io::{BufReader, Read, Seek, SeekFrom},
    path::Path,
};

use zip::{
    ZipArchive,
    read::{ArchiveOffset, Config},
};

use super::ArtifactError;
use crate::torch;

/// Checks that the file is a whole zip file with TorchScript code in it.
pub(super) fn check(path: &Path, what: &str) -> Result<(), ArtifactError> {
    let unreadable = |source| ArtifactError::Unreadable { path: path.to_owned(), source };
    let mut file = BufReader::new(File::open(path).map_err(unreadable)?);
    let mut start = Vec::new();
    file.by_ref().take(512).read_to_end(&mut start).map_err(unreadable)?;
    if start.is_empty() {
        return Err(ArtifactError::Empty(what.to_owned()));
    }
    if !b"PK\x03\x04".starts_with(start.get(..4).unwrap_or(&start)) {
        return Err(ArtifactError::UnknownFormat { what: what.to_owned(), found: guess(&start) });
    }
    let found = match torch::archive_records(path) {
        Ok(records) => not_torchscript(records.iter().map(|name| Cow::from(name.as_str()))),
        Err(error) => {
            file.seek(SeekFrom::Start(0)).map_err(unreadable)?;
            let archive = opened(file, what, &error)?;
            not_torchscript(archive.file_names().filter_map(Result::ok).map(inside))
        }
    };
    match found {
        Some(found) => Err(ArtifactError::NotTorchScript { what: what.to_owned(), found }),
        None => Ok(()),
    }
}

/// The directory of a zip file that libtorch's reader does not open. PyTorch writes the end records of both
/// lengths into every file: the directory is where they say, and not looked for in front of either.
fn opened(
    file: BufReader<File>,
    what: &str,
    said: &torch::TorchError,
) -> Result<ZipArchive<BufReader<File>>, ArtifactError> {
    let here = Config { archive_offset: ArchiveOffset::Known(0) };
    ZipArchive::with_config(here, file)
        .map_err(|_| ArtifactError::Truncated { what: what.to_owned(), detail: said.to_string() })
}

/// The name without the folder that all records of PyTorch's files are in.
fn inside(name: Cow<'_, str>) -> Cow<'_, str> {
    match name.split_once('/') {
        Some((_, rest)) => Cow::from(rest.to_owned()),
        None => name,
    }
}

/// What the entries of a zip file, below its folder, say it is, if that is not TorchScript.
fn not_torchscript<'a>(names: impl Iterator<Item = Cow<'a, str>>) -> Option<&'static str> {
    let (mut code, mut constants, mut data, mut exported, mut numpy) =
        (false, false, false, false, false);
    for name in names {
        code |= name.starts_with("code/");
        constants |= name == "constants.pkl";
        data |= name == "data.pkl";
        exported |= name == "archive_format" || name.starts_with("models/");
        numpy |= !name.contains('/')
            && Path::new(&*name).extension().is_some_and(|ending| ending == "npy");
    }
    if code && constants {
        None
    } else if data {
        Some(
            "it has data but no code, as torch.save(model.state_dict()) or torch.save(model) writes it",
        )
    } else if exported {
        Some("it is an exported program (torch.export)")
    } else if numpy {
        Some("it is a NumPy .npz file")
    } else {
        Some("it is a zip file without code/ and constants.pkl")
    }
}

/// What a file that is not a zip file seems to be.
fn guess(start: &[u8]) -> &'static str {
    if start.starts_with(b"\x80\x02")
        || start.starts_with(b"\x80\x03")
        || start.starts_with(b"\x80\x04")
    {
        "it is a Python pickle, as old versions of torch.save wrote it"
    } else if start.starts_with(b"\x89HDF") {
        "it is an HDF5 file"
    } else if start.starts_with(b"\x93NUMPY") {
        "it is a NumPy .npy file"
    } else if start.get(257..262) == Some(b"ustar") {
        "it is a tar archive that is not compressed (gzip it)"
    } else if start.get(8) == Some(&b'{') {
        "it looks like safetensors, which holds weights and no code"
    } else if start.iter().all(|&byte| byte.is_ascii_graphic() || byte.is_ascii_whitespace()) {
        "it is a text file"
    } else {
        "it is neither a zip file nor a gzipped tar archive"
    }
}
