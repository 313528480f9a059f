//! Telling TorchScript from other files by the directory of the zip file, without running anything.

use std::{
    borrow::Cow,
    fs::File,
    io::{BufReader, Read, Seek, SeekFrom},
    path::Path,
};

use zip::ZipArchive;

use super::ArtifactError;

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
    file.seek(SeekFrom::Start(0)).map_err(unreadable)?;
    let archive = ZipArchive::new(file).map_err(|error| ArtifactError::Truncated {
        what: what.to_owned(),
        detail: if let zip::result::ZipError::Io(error) = error {
            error.to_string()
        } else {
            "the directory at its end is missing".to_owned()
        },
    })?;
    match not_torchscript(archive.file_names().filter_map(Result::ok)) {
        Some(found) => Err(ArtifactError::NotTorchScript { what: what.to_owned(), found }),
        None => Ok(()),
    }
}

/// What the entries of a zip file say it is, if that is not TorchScript.
fn not_torchscript<'a>(names: impl Iterator<Item = Cow<'a, str>>) -> Option<&'static str> {
    let (mut code, mut constants, mut data, mut exported, mut numpy) =
        (false, false, false, false, false);
    for name in names {
        let inside = name.split_once('/').map_or(&*name, |(_, rest)| rest);
        code |= inside.starts_with("code/");
        constants |= inside == "constants.pkl";
        data |= inside == "data.pkl";
        exported |= inside == "archive_format" || inside.starts_with("models/");
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
