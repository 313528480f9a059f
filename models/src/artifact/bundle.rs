//! `model.tar.gz`: finding the model in it, and unpacking only that.
//!
//! As in SageMaker's own container, `model.pt` at the root is the model, whatever lies beside it; without it,
//! the only other model file at the root is. Folders (`code/`, `checkpoints/`) are passed over.
//!
//! The archive comes from somebody else: paths that lead out, links, devices and bombs are refused
//! before a byte of the model is used. No path of the archive is ever used on the disk.

use std::{
    fs::File,
    io::{self, BufReader, Read},
    path::{Path, PathBuf},
};

use assay_measure::{
    payload_file::{self, EntryKind, Sorted},
    stray_file::PassedOver,
    units::Bytes,
};
use flate2::bufread::MultiGzDecoder;
use tar::{Archive, Entry};
use tempfile::TempDir;

use super::ArtifactError;

pub(super) const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];

/// More entries than any model's archive has; reading their headers costs time.
const MOST_ENTRIES: usize = 100_000;

/// Returns the temporary folder, the model's path in it, and its name in the archive.
pub(super) fn unpack(
    path: &Path,
    limit: Bytes,
) -> Result<(TempDir, PathBuf, String), ArtifactError> {
    let file = File::open(path)
        .map_err(|source| ArtifactError::Unreadable { path: path.to_owned(), source })?;
    let unpack_error = |source| ArtifactError::Unpack { path: path.to_owned(), source };
    let folder = tempfile::Builder::new().prefix("assay-model-").tempdir().map_err(unpack_error)?;
    let model_path = folder.path().join("model.pt");
    let bundle = Bundle { path, limit };
    let stream = Limited { inner: MultiGzDecoder::new(BufReader::new(file)), left: limit.count() };
    let mut archive = Archive::new(stream);
    let (mut found, mut passed_over) = (Found::default(), PassedOver::default());
    for (count, entry) in archive.entries().map_err(|error| bundle.damaged(&error))?.enumerate() {
        let mut entry = entry.map_err(|error| bundle.damaged(&error))?;
        if count >= MOST_ENTRIES {
            return Err(ArtifactError::TooLarge { path: path.to_owned(), limit });
        }
        let Some(name) = bundle.model_name(&entry, &mut passed_over)? else { continue };
        if found.takes(name) {
            // Named again, it is another version of the same file: the last one counts, as for tar.
            let mut out = File::create(&model_path).map_err(unpack_error)?;
            bundle.copy(&mut entry, &mut out)?;
        }
    }
    // To the end, so that a file cut off behind the model is noticed as well.
    let mut rest = archive.into_inner();
    io::copy(&mut rest, &mut io::sink()).map_err(|error| bundle.damaged(&error))?;
    if let Some(passed_over) = passed_over.sentence() {
        tracing::info!(archive = %path.display(), "{passed_over}");
    }
    let name = found.model(path)?;
    Ok((folder, model_path, name))
}

/// The name that needs no others to be absent.
const PREFERRED: &str = "model.pt";
/// So many names are told of what was passed over.
const NAMES_TOLD: usize = 5;

/// The model files of an archive, by their names in it.
#[derive(Default)]
struct Found {
    at_root: Vec<String>,
    in_folders: Vec<String>,
}

impl Found {
    /// Notes a model file; returns whether it is the one to unpack, as far as can be known yet.
    fn takes(&mut self, name: String) -> bool {
        let plain = plain_name(&name);
        if plain.contains('/') {
            if self.in_folders.len() < NAMES_TOLD {
                self.in_folders.push(name);
            }
            return false;
        }
        let first = self.at_root.is_empty() || self.at_root.iter().all(|other| *other == name);
        let takes = plain == PREFERRED || first;
        if !self.at_root.contains(&name) {
            self.at_root.push(name);
        }
        takes
    }

    fn model(self, path: &Path) -> Result<String, ArtifactError> {
        let Self { mut at_root, in_folders } = self;
        if let Some(preferred) = at_root.iter().position(|name| plain_name(name) == PREFERRED) {
            return Ok(at_root.swap_remove(preferred));
        }
        match at_root.len() {
            0 => Err(ArtifactError::NoModel { path: path.to_owned(), in_folders }),
            1 => Ok(at_root.remove(0)),
            _ => Err(ArtifactError::SeveralModels { path: path.to_owned(), models: at_root }),
        }
    }
}

/// Without the `./` that `tar -C folder .` puts in front.
fn plain_name(name: &str) -> &str {
    name.trim_start_matches("./")
}

/// The archive that errors are about.
struct Bundle<'a> {
    path: &'a Path,
    limit: Bytes,
}

impl Bundle<'_> {
    fn damaged(&self, error: &io::Error) -> ArtifactError {
        if error.get_ref().is_some_and(is_over_limit) {
            return ArtifactError::TooLarge { path: self.path.to_owned(), limit: self.limit };
        }
        ArtifactError::Truncated {
            what: self.path.display().to_string(),
            detail: error.to_string(),
        }
    }

    /// The entry's name if it is a model file; refuses what has no place in an archive of a model.
    fn model_name<R: Read>(
        &self,
        entry: &Entry<'_, R>,
        passed_over: &mut PassedOver,
    ) -> Result<Option<String>, ArtifactError> {
        let entry_path = entry.path().map_err(|error| self.damaged(&error))?;
        let name = entry_path.to_string_lossy().into_owned();
        let kind = EntryKind::of_tar_flag(entry.header().entry_type().as_byte());
        match (payload_file::sort_entry(&entry_path, kind), kind.refusal()) {
            (Sorted::File, _) => Ok(is_model(&entry_path).then_some(name)),
            (Sorted::Structure, _) => Ok(None),
            (Sorted::Stray, _) => {
                if is_model(&entry_path) {
                    passed_over.note(name);
                }
                Ok(None)
            }
            (Sorted::Hostile(_), Some(kind)) => {
                Err(ArtifactError::UnsafeEntry { path: self.path.to_owned(), kind, entry: name })
            }
            (Sorted::Hostile(_), None) => {
                Err(ArtifactError::UnsafePath { path: self.path.to_owned(), entry: name })
            }
        }
    }

    fn copy(&self, entry: &mut impl Read, out: &mut File) -> Result<(), ArtifactError> {
        let mut buffer = vec![0; 1 << 18];
        loop {
            let count = entry.read(&mut buffer).map_err(|error| self.damaged(&error))?;
            if count == 0 {
                return Ok(());
            }
            io::Write::write_all(out, buffer.get(..count).unwrap_or_default())
                .map_err(|source| ArtifactError::Unpack { path: self.path.to_owned(), source })?;
        }
    }
}

/// A model file by its name.
fn is_model(path: &Path) -> bool {
    let ending = path.extension().map(|ending| ending.to_string_lossy().to_lowercase());
    ending.is_some_and(|ending| ["pt", "pth", "ts", "torchscript"].contains(&ending.as_str()))
}

/// Counts what comes out of the decompressor, whatever the headers promise.
struct Limited<R> {
    inner: R,
    left: u64,
}

#[derive(Debug, thiserror::Error)]
#[error("more than the limit")]
struct OverLimit;

fn is_over_limit(error: &(dyn std::error::Error + Send + Sync + 'static)) -> bool {
    // The tar reader wraps errors of the stream below it in its own.
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = cause {
        let wrapped = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        if error.is::<OverLimit>() || wrapped.is_some_and(is_over_limit) {
            return true;
        }
        cause = error.source();
    }
    false
}

impl<R: Read> Read for Limited<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.left =
            self.left.checked_sub(count as u64).ok_or_else(|| io::Error::other(OverLimit))?;
        Ok(count)
    }
}
