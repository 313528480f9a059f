//! A file on its way into the cache: written under a temporary name, hashed as it comes.

use std::{
    fs::File,
    fs::Permissions,
    io::{self, Write},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use bytes::Bytes as Chunk;
use rustix::fs::{FlockOperation, flock};
use sha2::Digest;
use tempfile::NamedTempFile;
use tokio::sync::mpsc;

use super::PARTIAL;

/// Before and while writing. Dropping it removes the temporary file.
pub(super) struct Download {
    file: NamedTempFile,
    place: PathBuf,
    announced: u64,
}

/// All was written. Dropping it removes the temporary file, [`Written::keep`] gives it its name.
pub(super) struct Written {
    file: NamedTempFile,
    place: PathBuf,
    pub(super) length: u64,
    pub(super) checksum: String,
}

impl Download {
    pub(super) fn begin(folder: &Path, place: &Path, announced: u64) -> io::Result<Self> {
        let file = tempfile::Builder::new().prefix(PARTIAL).tempfile_in(folder)?;
        // Tells other agents that somebody is at work here.
        flock(file.as_file(), FlockOperation::LockExclusive)?;
        Ok(Self { file, place: place.to_owned(), announced })
    }

    /// Writes until the sender hangs up, the disk is full, or more came than was announced.
    pub(super) fn write(mut self, mut chunks: mpsc::Receiver<Chunk>) -> io::Result<Written> {
        let mut digest = sha2::Sha256::new();
        let mut length = 0u64;
        while let Some(chunk) = chunks.blocking_recv() {
            length = length.saturating_add(chunk.len() as u64);
            if length > self.announced {
                break;
            }
            digest.update(&chunk);
            self.file.write_all(&chunk)?;
        }
        let checksum = hex::encode(digest.finalize());
        Ok(Written { file: self.file, place: self.place, length, checksum })
    }
}

impl Written {
    /// Makes the file durable and gives it its name.
    pub(super) fn keep(self) -> io::Result<()> {
        self.file.as_file().sync_all()?;
        // A model host may run as a user of its own, and is shown this one file of the folder.
        self.file.as_file().set_permissions(Permissions::from_mode(0o644))?;
        let file = self.file.persist(&self.place)?;
        flock(&file, FlockOperation::Unlock)?;
        if let Some(folder) = self.place.parent() {
            File::open(folder)?.sync_all()?;
        }
        Ok(())
    }
}
