//! Model files: what may be loaded, and clear words about what may not.
//!
//! A model is a TorchScript file, or a `model.tar.gz` in SageMaker's layout that holds one (`code/` and
//! other files beside it are passed over). libtorch's own reader says whether a file is whole; what the
//! directory of the zip file holds, and with it whether that is TorchScript, is looked at here.
//! Nothing is written but one file in a temporary folder of the artifact's own.

mod bundle;
mod zip_directory;

use std::{
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
};

use assay_measure::units;
use sha2::{Digest, Sha256};
use tempfile::TempDir;
use thiserror::Error;

/// How much a `model.tar.gz` may unpack to, if nothing else is asked for.
pub const DEFAULT_UNPACKED_LIMIT: units::Bytes = units::Bytes::gib(32);

/// A TorchScript file that was found, checked and hashed.
#[derive(Debug)]
pub struct Artifact {
    pub(crate) path: PathBuf,
    /// The TorchScript file: the same, or unpacked from it.
    pub(crate) model_path: PathBuf,
    /// The checksum of the file as given, 64 lower-case hexadecimal digits.
    pub(crate) sha256: String,
    /// The size of the file as given.
    pub(crate) size_bytes: u64,
    /// Keeps the unpacked model until the artifact is dropped.
    _unpacked: Option<TempDir>,
}

/// Why a file is not a model; `what` is that file, or the file inside the archive.
#[derive(Debug, Error)]
pub enum ArtifactError {
    #[error("no such file: {}", .0.display())]
    Missing(PathBuf),
    #[error("{} is not a regular file", .0.display())]
    NotAFile(PathBuf),
    #[error("{0} is empty")]
    Empty(String),
    #[error("cannot read {}", path.display())]
    Unreadable { path: PathBuf, source: io::Error },
    /// Begins as a zip or gzip file should, and ends too early.
    #[error("{what} is truncated or damaged: {detail}")]
    Truncated { what: String, detail: String },
    #[error("{what} is not TorchScript: {found}")]
    NotTorchScript { what: String, found: &'static str },
    #[error("{what} is not a TorchScript file: {found}")]
    UnknownFormat { what: String, found: &'static str },
    #[error("{} holds no model file (.pt or .pth) at its root{}", path.display(), passed_over(in_folders))]
    NoModel {
        path: PathBuf,
        /// Model files that lie in folders, the first few.
        in_folders: Vec<String>,
    },
    /// The archive holds more than one at its root, and none is called `model.pt`.
    #[error("{} holds more than one model file, and no model.pt: {}", path.display(), models.join(", "))]
    SeveralModels { path: PathBuf, models: Vec<String> },
    /// An entry's path is absolute or leads out of the archive.
    #[error("{} holds an entry that leads out of it: {entry:?}", path.display())]
    UnsafePath { path: PathBuf, entry: String },
    #[error("{} holds {kind}: {entry:?}", path.display())]
    UnsafeEntry { path: PathBuf, kind: &'static str, entry: String },
    #[error("{} unpacks to more than {limit}", path.display())]
    TooLarge { path: PathBuf, limit: units::Bytes },
    #[error("cannot unpack {} into a temporary folder", path.display())]
    Unpack { path: PathBuf, source: io::Error },
}

fn passed_over(in_folders: &[String]) -> String {
    if in_folders.is_empty() {
        return String::new();
    }
    format!("; folders are passed over, and with them {}", in_folders.join(", "))
}

impl ArtifactError {
    /// One thing to do next.
    pub(crate) fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Missing(_) => {
                Some("`assay-host reference resnet18 --out resnet18.pt` writes a model to try with")
            }
            Self::NotTorchScript { .. } | Self::UnknownFormat { .. } => Some(
                "save the model with torch.jit.script(model).save(\"model.pt\") or torch.jit.trace(model, example).save(\"model.pt\")",
            ),
            Self::Empty(_) | Self::Truncated { .. } => {
                Some("copy or save the model again, and compare checksums")
            }
            Self::NoModel { in_folders, .. } if !in_folders.is_empty() => Some(
                "pack it from inside its folder, so that it lies at the root: tar -C FOLDER -czf model.tar.gz model.pt",
            ),
            Self::NoModel { .. } => Some(
                "SageMaker's layout is one model.pt or model.pth at the root, and a code/ folder if need be",
            ),
            Self::SeveralModels { .. } => Some("call the one to serve model.pt"),
            Self::UnsafePath { .. } | Self::UnsafeEntry { .. } => Some(
                "pack it again from inside the model's folder: tar --dereference -czf model.tar.gz model.pt",
            ),
            Self::TooLarge { .. } => Some("give the .pt file itself"),
            Self::Unpack { .. } => {
                Some("free some space there, or set TMPDIR to a folder that has it")
            }
            Self::NotAFile(_) | Self::Unreadable { .. } => None,
        }
    }
}

impl Artifact {
    /// Finds, checks and hashes the model in a file; `unpacked_limit` bounds what an archive may hold.
    ///
    /// # Errors
    /// [`ArtifactError`] says what is wrong with the file.
    pub fn open(path: &Path, unpacked_limit: units::Bytes) -> Result<Self, ArtifactError> {
        let unreadable = |source| ArtifactError::Unreadable { path: path.to_owned(), source };
        let metadata = std::fs::metadata(path).map_err(|error| {
            if error.kind() == io::ErrorKind::NotFound {
                ArtifactError::Missing(path.to_owned())
            } else {
                unreadable(error)
            }
        })?;
        if !metadata.is_file() {
            return Err(ArtifactError::NotAFile(path.to_owned()));
        }
        let start = first_bytes(path).map_err(unreadable)?;
        let (model_path, unpacked) = if start.starts_with(&bundle::GZIP_MAGIC) {
            let (folder, model_path, name) = bundle::unpack(path, unpacked_limit)?;
            let what = format!("{name} in {}", path.display());
            zip_directory::check(&model_path, &what)?;
            (model_path, Some(folder))
        } else {
            zip_directory::check(path, &path.display().to_string())?;
            (path.to_owned(), None)
        };
        let sha256 = sha256_of(path).map_err(unreadable)?;
        Ok(Self {
            path: path.to_owned(),
            model_path,
            sha256,
            size_bytes: metadata.len(),
            _unpacked: unpacked,
        })
    }

    /// The file's name without `.pt`, `.pth` or `.tar.gz`: what the model is called if nobody says otherwise.
    pub(crate) fn stem(&self) -> String {
        let name = self
            .path
            .file_name()
            .map_or_else(String::new, |name| name.to_string_lossy().into_owned());
        let stem =
            [".tar.gz", ".tgz", ".pt", ".pth"].iter().find_map(|ending| name.strip_suffix(ending));
        stem.filter(|stem| !stem.is_empty()).unwrap_or(&name).to_owned()
    }
}

fn first_bytes(path: &Path) -> io::Result<Vec<u8>> {
    let mut start = Vec::new();
    File::open(path)?.take(16).read_to_end(&mut start)?;
    Ok(start)
}

fn sha256_of(path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 18];
    loop {
        let count = file.read(&mut buffer)?;
        if count == 0 {
            return Ok(hex::encode(hasher.finalize()));
        }
        hasher.update(buffer.get(..count).unwrap_or_default());
    }
}

#[cfg(test)]
mod tests;
