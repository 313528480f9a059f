//! Models and payloads: files named by their checksum, complete or not there at all.
//!
//! An upload goes to a file of its own, is checked, synced and only then renamed; what a crash leaves
//! behind is removed at the next start. Which job needs which file is not known here; [`Hold`] keeps all of
//! them in place while that is being decided.

mod holds;

use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
    sync::Arc,
};

use assay_measure::{ids::Sha256, trial::ArtifactRef, units::Bytes};
use bytes::Bytes as Chunk;
use jiff::Timestamp;
use sha2::{Digest, Sha256 as Hasher};
use thiserror::Error;
use tokio::{
    sync::{OwnedRwLockWriteGuard, mpsc},
    task::{JoinError, JoinHandle, spawn_blocking},
};

pub(crate) use self::holds::Hold;
use self::holds::Holds;

const UNFINISHED: &str = "unfinished";
// Enough to keep the disk busy while the next chunk arrives.
const CHUNKS_IN_FLIGHT: usize = 4;

/// The files of one data directory.
#[derive(Clone, Debug)]
pub(crate) struct Artifacts {
    directory: Arc<Path>,
    limit: Bytes,
    holds: Holds,
}

/// The right to remove files: nobody is creating a job meanwhile.
#[derive(Debug)]
pub(crate) struct Removal {
    artifacts: Artifacts,
    _alone: OwnedRwLockWriteGuard<()>,
}

/// A file cannot be stored or read.
#[derive(Debug, Error)]
pub(crate) enum ArtifactError {
    #[error("{name:?} has {announced} and the limit is {limit}")]
    TooLarge { name: String, announced: Bytes, limit: Bytes },
    #[error("{name:?} has more than {limit}")]
    LargerThan { name: String, limit: Bytes },
    #[error("{name:?} was announced with {announced} bytes, but {received} arrived")]
    WrongSize { name: String, announced: u64, received: u64 },
    #[error("{name:?} was announced as sha256:{announced}, but sha256:{received} arrived")]
    WrongChecksum { name: String, announced: Sha256, received: String },
    #[error("cannot store or read an uploaded file")]
    Io(#[from] io::Error),
    #[error("the writer of an upload ended abnormally")]
    Writer(#[from] JoinError),
}

/// An upload under way. Dropped before [`Upload::finish`], it leaves nothing.
#[derive(Debug)]
pub(crate) struct Upload {
    reception: Reception,
    announced: ArtifactRef,
}

/// A file that comes without an announcement: neither size nor checksum is known before its end.
/// Dropped before it is kept, it leaves nothing.
#[derive(Debug)]
pub(crate) struct Reception {
    chunks: mpsc::Sender<Chunk>,
    written: JoinHandle<Result<Written, ArtifactError>>,
    directory: Arc<Path>,
    name: String,
    limit: Bytes,
}

/// A whole file that is not kept yet.
#[derive(Debug)]
pub(crate) struct Received {
    file: tempfile::NamedTempFile,
    target: PathBuf,
    artifact: ArtifactRef,
}

#[derive(Debug)]
struct Written {
    file: tempfile::NamedTempFile,
    size_bytes: u64,
    checksum: String,
}

impl Artifacts {
    /// Opens the directory, and clears what earlier uploads left unfinished.
    pub(crate) fn open(directory: &Path, limit: Bytes) -> io::Result<Self> {
        let unfinished = directory.join(UNFINISHED);
        fs::create_dir_all(&unfinished)?;
        for entry in fs::read_dir(&unfinished)? {
            fs::remove_file(entry?.path())?;
        }
        Ok(Self { directory: directory.into(), limit, holds: Holds::default() })
    }

    /// Keeps every file in place until a job that refers to some of them is in the store.
    pub(crate) async fn hold(&self) -> Hold {
        self.holds.hold().await
    }

    /// The file stays for a job that is still to come, at least for a while.
    pub(crate) async fn promise(&self, sha256: &Sha256, now: Timestamp) {
        // A removal under way may be about to take this very file.
        let _hold = self.hold().await;
        self.holds.promise(sha256, now);
    }

    /// A job that was promised a file is in the store.
    pub(crate) fn fulfil(&self, sha256: &Sha256, now: Timestamp) {
        self.holds.fulfil(sha256, now);
    }

    /// Waits until nobody holds files.
    pub(crate) async fn removal(&self) -> Removal {
        Removal { artifacts: self.clone(), _alone: self.holds.alone().await }
    }

    /// Whether the very file is there: same checksum, same size.
    pub(crate) fn holds(&self, artifact: &ArtifactRef) -> bool {
        self.size_of(&artifact.sha256) == Some(artifact.size_bytes)
    }

    /// The size of a stored file.
    pub(crate) fn size_of(&self, sha256: &Sha256) -> Option<Bytes> {
        let facts = fs::metadata(self.path(sha256)).ok()?;
        facts.is_file().then(|| Bytes::new(facts.len()))
    }

    /// Opens a stored file; `None` when it is not there.
    pub(crate) async fn read(&self, sha256: &Sha256) -> io::Result<Option<tokio::fs::File>> {
        match tokio::fs::File::open(self.path(sha256)).await {
            Ok(file) => Ok(Some(file)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    pub(crate) fn begin(&self, announced: ArtifactRef) -> Result<Upload, ArtifactError> {
        if announced.size_bytes > self.limit {
            return Err(ArtifactError::TooLarge {
                name: announced.name,
                announced: announced.size_bytes,
                limit: self.limit,
            });
        }
        let reception = self.receive(announced.name.clone(), announced.size_bytes);
        Ok(Upload { reception, announced })
    }

    /// Begins to receive a file of unknown size, up to a limit of its own.
    pub(crate) fn receive(&self, name: String, limit: Bytes) -> Reception {
        let limit = limit.min(self.limit);
        let unfinished = self.directory.join(UNFINISHED);
        let (sender, receiver) = mpsc::channel(CHUNKS_IN_FLIGHT);
        Reception {
            chunks: sender,
            written: spawn_blocking(move || write(&unfinished, receiver, limit.count())),
            directory: Arc::clone(&self.directory),
            name,
            limit,
        }
    }

    /// Where a stored file lies.
    pub(crate) fn path(&self, sha256: &Sha256) -> PathBuf {
        self.directory.join(sha256.as_str())
    }
}

impl Removal {
    /// Whether a job that will need the file is still to come.
    pub(crate) fn is_promised(&self, sha256: &Sha256, now: Timestamp) -> bool {
        self.artifacts.holds.is_promised(sha256, now)
    }

    /// Removes a file; one that is not there is no matter.
    pub(crate) async fn remove(&self, sha256: &Sha256) -> io::Result<()> {
        match tokio::fs::remove_file(self.artifacts.path(sha256)).await {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            Ok(()) | Err(_) => Ok(()),
        }
    }
}

impl Reception {
    /// Takes the next part. False: no more is wanted, and [`Reception::finish`] says why.
    pub(crate) async fn take(&mut self, chunk: Chunk) -> bool {
        self.chunks.send(chunk).await.is_ok()
    }

    /// The whole file, to be looked at before it is kept.
    pub(crate) async fn finish(self) -> Result<Received, ArtifactError> {
        let (directory, name, limit) = (Arc::clone(&self.directory), self.name.clone(), self.limit);
        let Written { file, size_bytes, checksum } = self.written().await?;
        if size_bytes > limit.count() {
            return Err(ArtifactError::LargerThan { name, limit });
        }
        let sha256 = Sha256::new(checksum).expect("a hexadecimal SHA-256");
        let target = directory.join(sha256.as_str());
        let artifact = ArtifactRef { name, sha256, size_bytes: Bytes::new(size_bytes) };
        Ok(Received { file, target, artifact })
    }

    async fn written(self) -> Result<Written, ArtifactError> {
        drop(self.chunks);
        self.written.await?
    }
}

impl Received {
    /// Where it lies for the moment.
    pub(crate) fn path(&self) -> &Path {
        self.file.path()
    }

    pub(crate) fn artifact(&self) -> &ArtifactRef {
        &self.artifact
    }

    /// Keeps it under its checksum.
    pub(crate) async fn keep(self) -> Result<ArtifactRef, ArtifactError> {
        let Self { file, target, artifact } = self;
        spawn_blocking(move || persist(file, &target)).await??;
        Ok(artifact)
    }
}

impl Upload {
    /// Takes the next part. False: no more is wanted, and [`Upload::finish`] says why.
    pub(crate) async fn take(&mut self, chunk: Chunk) -> bool {
        self.reception.take(chunk).await
    }

    /// Checks the whole and gives it its name.
    pub(crate) async fn finish(self) -> Result<(), ArtifactError> {
        let target = self.reception.directory.join(self.announced.sha256.as_str());
        let written = self.reception.written().await?;
        let ArtifactRef { name, sha256, size_bytes } = self.announced;
        if written.size_bytes != size_bytes.count() {
            return Err(ArtifactError::WrongSize {
                name,
                announced: size_bytes.count(),
                received: written.size_bytes,
            });
        }
        if written.checksum != sha256.as_str() {
            return Err(ArtifactError::WrongChecksum {
                name,
                announced: sha256,
                received: written.checksum,
            });
        }
        spawn_blocking(move || persist(written.file, &target)).await??;
        Ok(())
    }
}

/// Writes chunks as they come, one byte beyond the announced size at most: more is an error anyway.
fn write(
    directory: &Path,
    mut chunks: mpsc::Receiver<Chunk>,
    limit: u64,
) -> Result<Written, ArtifactError> {
    let mut file = tempfile::NamedTempFile::new_in(directory)?;
    let mut hasher = Hasher::new();
    let mut size_bytes = 0u64;
    while let Some(chunk) = chunks.blocking_recv() {
        size_bytes += chunk.len() as u64;
        if size_bytes > limit {
            break;
        }
        hasher.update(&chunk);
        file.write_all(&chunk)?;
    }
    Ok(Written { file, size_bytes, checksum: hex::encode(hasher.finalize()) })
}

fn persist(file: tempfile::NamedTempFile, target: &Path) -> io::Result<()> {
    file.as_file().sync_all()?;
    file.persist(target).map_err(|error| error.error)?;
    // The name is durable only once the directory is.
    match target.parent() {
        Some(directory) => File::open(directory)?.sync_all(),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reference(content: &[u8]) -> ArtifactRef {
        ArtifactRef {
            name: "m.pt".to_owned(),
            sha256: Sha256::new(hex::encode(Hasher::digest(content))).unwrap(),
            size_bytes: Bytes::new(content.len() as u64),
        }
    }

    async fn upload(
        artifacts: &Artifacts,
        announced: ArtifactRef,
        content: &[u8],
    ) -> Result<(), ArtifactError> {
        let mut upload = artifacts.begin(announced)?;
        for chunk in content.chunks(3) {
            if !upload.take(Chunk::copy_from_slice(chunk)).await {
                break;
            }
        }
        upload.finish().await
    }

    fn leftovers(directory: &Path) -> usize {
        fs::read_dir(directory.join(UNFINISHED)).unwrap().count()
    }

    #[tokio::test]
    async fn a_file_is_there_only_once_it_is_whole_and_right() {
        let scratch = tempfile::tempdir().unwrap();
        let artifacts = Artifacts::open(scratch.path(), Bytes::mib(1)).unwrap();
        let right = reference(b"a model");

        let short = upload(&artifacts, right.clone(), b"a mod").await;
        assert!(matches!(short, Err(ArtifactError::WrongSize { .. })));
        let long = upload(&artifacts, right.clone(), b"a model and more").await;
        assert!(matches!(long, Err(ArtifactError::WrongSize { .. })));
        let other = upload(&artifacts, right.clone(), b"a m0del").await;
        assert!(matches!(other, Err(ArtifactError::WrongChecksum { .. })));
        assert!(!artifacts.holds(&right));

        upload(&artifacts, right.clone(), b"a model").await.unwrap();
        upload(&artifacts, right.clone(), b"a model").await.unwrap();
        assert!(artifacts.holds(&right));
        assert_eq!(leftovers(scratch.path()), 0);
    }

    #[tokio::test]
    async fn a_file_beyond_the_limit_is_refused_before_its_first_byte() {
        let scratch = tempfile::tempdir().unwrap();
        let artifacts = Artifacts::open(scratch.path(), Bytes::new(4)).unwrap();
        let refused = artifacts.begin(reference(b"large")).unwrap_err();
        assert!(matches!(refused, ArtifactError::TooLarge { .. }));
        assert_eq!(leftovers(scratch.path()), 0);
    }

    #[tokio::test]
    async fn what_a_crash_left_unfinished_is_cleared_at_the_next_start() {
        let scratch = tempfile::tempdir().unwrap();
        let artifacts = Artifacts::open(scratch.path(), Bytes::mib(1)).unwrap();
        upload(&artifacts, reference(b"kept"), b"kept").await.unwrap();
        fs::write(scratch.path().join(UNFINISHED).join(".tmpX"), "half").unwrap();

        let reopened = Artifacts::open(scratch.path(), Bytes::mib(1)).unwrap();
        assert_eq!(leftovers(scratch.path()), 0);
        assert!(reopened.holds(&reference(b"kept")));
    }
}
