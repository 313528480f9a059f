//! Models and payloads on this machine, named by their checksum.
//!
//! A file is written under a temporary name, checked, made durable and only then given its own name:
//! whatever kills the agent half-way leaves nothing that looks whole. A file that was changed since
//! it was checked is checked again, and fetched anew when it is damaged. The least recently used
//! files make room. Several agents may share one folder: a file in use is locked, and two that fetch
//! the same file replace it by the same bytes.

use std::{
    collections::HashMap,
    fs::{self, DirBuilder, File, FileTimes},
    io::{self, Read},
    os::unix::fs::{DirBuilderExt, MetadataExt},
    path::{Path, PathBuf},
    sync::Mutex,
    time::SystemTime,
};

use assay_measure::{trial::ArtifactRef, units::Bytes};
use bytes::Bytes as Chunk;
use futures_util::{Stream, StreamExt};
use rustix::fs::{FlockOperation, flock};
use sha2::Digest;
use thiserror::Error;
use tokio::sync::mpsc;

mod download;

use crate::confinement::private_folder::PASSABLE;
use download::Download;

const PARTIAL: &str = ".partial-";

#[derive(Debug)]
pub struct ArtifactCache {
    pub(crate) folder: PathBuf,
    limit: Bytes,
    /// Files that this process has checked, as they were then.
    checked: Mutex<HashMap<PathBuf, Stamp>>,
}

/// A checked file. It is not removed from the cache while this exists.
#[derive(Debug)]
pub struct CachedArtifact {
    pub path: PathBuf,
    _lock: File,
}

/// An artifact cannot be had.
#[derive(Debug, Error)]
pub enum CacheError {
    #[error("{name} has {size}, the cache may hold {limit} (see --model-cache)")]
    TooLarge { name: String, size: Bytes, limit: Bytes },
    #[error("cannot fetch {name}: {reason}")]
    Fetch { name: String, reason: String },
    #[error("{name} is damaged: announced {announced}, received {received}")]
    Damaged { name: String, announced: String, received: String },
    /// The folder cannot be used, or the disk is full.
    #[error("cannot store {name} in {folder}")]
    Store { name: String, folder: PathBuf, source: io::Error },
    #[error("cannot use the cache folder {folder}")]
    Folder { folder: PathBuf, source: io::Error },
}

/// What tells that a file is still the one that was checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    length: u64,
    modified: (i64, i64),
    inode: u64,
}

impl Stamp {
    fn of(file: &File) -> io::Result<Self> {
        let facts = file.metadata()?;
        Ok(Self {
            length: facts.len(),
            modified: (facts.mtime(), facts.mtime_nsec()),
            inode: facts.ino(),
        })
    }
}

impl ArtifactCache {
    /// Uses `folder`, making it when needed, and removes what killed agents left half-written.
    ///
    /// # Errors
    /// [`CacheError::Folder`] when it cannot be made.
    pub fn open(folder: PathBuf, limit: Bytes) -> Result<Self, CacheError> {
        // Under the one name that holds everywhere: a host has another working directory, and sees no
        // folder that a `..` would go through.
        let made = DirBuilder::new().recursive(true).mode(PASSABLE).create(&folder);
        let folder = made
            .and_then(|()| fs::canonicalize(&folder))
            .map_err(|source| CacheError::Folder { folder: folder.clone(), source })?;
        let cache = Self { folder, limit, checked: Mutex::default() };
        cache.remove_partial_files();
        Ok(cache)
    }

    /// Where an artifact lies, if it is there.
    #[must_use]
    pub fn path_of(&self, artifact: &ArtifactRef) -> PathBuf {
        self.folder.join(file_name(artifact))
    }

    /// The artifact's file: from the cache, or from `source`, which is asked only when needed.
    ///
    /// # Errors
    /// [`CacheError`] says what is in the way; nothing half-written stays.
    pub async fn get<S>(
        &self,
        artifact: &ArtifactRef,
        source: impl FnOnce() -> S,
    ) -> Result<CachedArtifact, CacheError>
    where
        S: Stream<Item = Result<Chunk, String>> + Unpin,
    {
        if artifact.size_bytes > self.limit {
            return Err(CacheError::TooLarge {
                name: artifact.name.clone(),
                size: artifact.size_bytes,
                limit: self.limit,
            });
        }
        let path = self.path_of(artifact);
        if let Some(found) = self.find(&path, artifact).await {
            return Ok(found);
        }
        self.make_room(artifact.size_bytes);
        self.store(&path, artifact, source()).await?;
        let store = |source| self.store_error(artifact, source);
        let lock = File::open(&path).map_err(store)?;
        flock(&lock, FlockOperation::LockShared).map_err(|error| store(error.into()))?;
        self.remember(&path, Stamp::of(&lock).map_err(store)?);
        Ok(CachedArtifact { path, _lock: lock })
    }

    /// A whole file from the cache; a damaged one is removed.
    async fn find(&self, path: &Path, artifact: &ArtifactRef) -> Option<CachedArtifact> {
        let lock = File::open(path).ok()?;
        flock(&lock, FlockOperation::LockShared).ok()?;
        let stamp = Stamp::of(&lock).ok()?;
        // The time of use; reading does not set it on every file system.
        let _ = lock.set_times(FileTimes::new().set_accessed(SystemTime::now()));
        let known = self.checked.lock().ok()?.get(path).copied();
        if known != Some(stamp) {
            let file = lock.try_clone().ok()?;
            let checksum =
                tokio::task::spawn_blocking(move || checksum_of(file)).await.ok()?.ok()?;
            if stamp.length != artifact.size_bytes.count() || checksum != artifact.sha256.as_str() {
                tracing::warn!(file = %path.display(), "a cached file is damaged and is fetched again");
                let _ = fs::remove_file(path);
                return None;
            }
            self.remember(path, stamp);
        }
        Some(CachedArtifact { path: path.to_owned(), _lock: lock })
    }

    async fn store<S>(
        &self,
        path: &Path,
        artifact: &ArtifactRef,
        mut chunks: S,
    ) -> Result<(), CacheError>
    where
        S: Stream<Item = Result<Chunk, String>> + Unpin,
    {
        let store = |source| self.store_error(artifact, source);
        let download =
            Download::begin(&self.folder, path, artifact.size_bytes.count()).map_err(store)?;
        let (sender, receiver) = mpsc::channel(8);
        // Hashing and writing keep a core and a disk busy; the runtime has heartbeats to send.
        let writer = tokio::task::spawn_blocking(move || download.write(receiver));
        let mut failure = None;
        while let Some(chunk) = chunks.next().await {
            match chunk {
                Ok(chunk) => {
                    // The writer hangs up when the disk is full or more came than was announced.
                    if sender.send(chunk).await.is_err() {
                        break;
                    }
                }
                Err(reason) => {
                    failure = Some(CacheError::Fetch { name: artifact.name.clone(), reason });
                    break;
                }
            }
        }
        drop(sender);
        let written = writer.await.map_err(|error| store(io::Error::other(error)))?;
        if let Some(failure) = failure {
            return Err(failure);
        }
        let written = written.map_err(store)?;
        let damaged = |announced: String, received: String| {
            Err(CacheError::Damaged { name: artifact.name.clone(), announced, received })
        };
        let (announced, received) = (artifact.size_bytes.count(), written.length);
        if received != announced {
            let at_least = if received > announced { "at least " } else { "" };
            return damaged(format!("{announced} bytes"), format!("{at_least}{received} bytes"));
        }
        let (announced, received) = (artifact.sha256.as_str(), &written.checksum);
        if received != announced {
            return damaged(format!("sha256:{announced}"), format!("sha256:{received}"));
        }
        tokio::task::spawn_blocking(move || written.keep())
            .await
            .map_err(|error| store(io::Error::other(error)))?
            .map_err(store)
    }

    fn store_error(&self, artifact: &ArtifactRef, source: io::Error) -> CacheError {
        CacheError::Store { name: artifact.name.clone(), folder: self.folder.clone(), source }
    }

    fn remember(&self, path: &Path, stamp: Stamp) {
        if let Ok(mut checked) = self.checked.lock() {
            checked.insert(path.to_owned(), stamp);
        }
    }

    /// Removes the least recently used files until `wanted` more fit.
    fn make_room(&self, wanted: Bytes) {
        let Ok(entries) = fs::read_dir(&self.folder) else { return };
        let mut files: Vec<(i64, i64, u64, PathBuf)> = entries
            .flatten()
            .filter_map(|entry| {
                let facts = entry.metadata().ok().filter(fs::Metadata::is_file)?;
                Some((facts.atime(), facts.atime_nsec(), facts.len(), entry.path()))
            })
            .collect();
        files.sort();
        let mut held: u64 = files.iter().map(|(_, _, length, _)| *length).sum();
        for (_, _, length, path) in files {
            if held.saturating_add(wanted.count()) <= self.limit.count() {
                return;
            }
            if !is_in_use(&path) && !is_partial(&path) && fs::remove_file(&path).is_ok() {
                held = held.saturating_sub(length);
            }
        }
    }

    fn remove_partial_files(&self) {
        let Ok(entries) = fs::read_dir(&self.folder) else { return };
        for path in entries.flatten().map(|entry| entry.path()).filter(|path| is_partial(path)) {
            if !is_in_use(&path) {
                let _ = fs::remove_file(&path);
            }
        }
    }
}

/// Whoever reads or writes a file has locked it: this process or another agent.
fn is_in_use(path: &Path) -> bool {
    let lock = |file| flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok();
    !File::open(path).is_ok_and(lock)
}

fn is_partial(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(PARTIAL))
}

/// Checksum first, then the given name as far as it is harmless: its extension tells the kind.
fn file_name(artifact: &ArtifactRef) -> String {
    let last = artifact.name.rsplit('/').next().unwrap_or_default();
    let harmless = |c: char| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '_' };
    let kept: String = last.chars().rev().take(80).map(harmless).collect();
    let kept: String = kept.chars().rev().collect();
    format!("{}.{kept}", artifact.sha256)
}

fn checksum_of(mut file: File) -> io::Result<String> {
    let mut digest = sha2::Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        let count = file.read(&mut buffer)?;
        if count == 0 {
            return Ok(hex::encode(digest.finalize()));
        }
        digest.update(&buffer[..count]);
    }
}

#[cfg(test)]
mod tests;
