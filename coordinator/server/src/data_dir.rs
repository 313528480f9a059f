//! The data directory: made, proven writable, and held by one coordinator at a time.
//!
//! What lies in it belongs to [`crate::store`] and [`crate::artifacts`].

use std::{
    fs::{self, DirBuilder, File, OpenOptions, TryLockError},
    io::{self, Read, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use thiserror::Error;

const LOCK_FILE: &str = "coordinator.lock";
/// Others may pass through, as the user of a model host does to a model, and see nothing on the way.
const PASSABLE: u32 = 0o711;
/// Jobs and their results are their owner's.
const OWN: u32 = 0o600;

/// A data directory that this process holds. The lock goes with the value, and with the process.
#[derive(Debug)]
pub(crate) struct DataDir {
    path: PathBuf,
    _lock: File,
}

/// The data directory cannot be used.
#[derive(Debug, Error)]
pub enum DataDirError {
    #[error("the data directory {path} is not writable")]
    NotWritable { path: PathBuf, source: io::Error },
    #[error("the data directory {path} is in use by another coordinator{holder}")]
    InUse {
        path: PathBuf,
        /// ` (process N)` when the other one wrote that down.
        holder: String,
    },
}

impl DataDir {
    /// Makes the directory if needed and takes its lock.
    pub(crate) fn hold(path: &Path) -> Result<Self, DataDirError> {
        let not_writable = |source| DataDirError::NotWritable { path: path.to_owned(), source };
        DirBuilder::new().recursive(true).mode(PASSABLE).create(path).map_err(not_writable)?;
        let lock_path = path.join(LOCK_FILE);
        let mut lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&lock_path)
            .map_err(not_writable)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(DataDirError::InUse {
                    path: path.to_owned(),
                    holder: holder(&lock_path),
                });
            }
            Err(TryLockError::Error(source)) => return Err(not_writable(source)),
        }
        lock.set_len(0)
            .and_then(|()| writeln!(lock, "{}", std::process::id()))
            .and_then(|()| lock.sync_all())
            .map_err(not_writable)?;
        let held = Self { path: path.to_owned(), _lock: lock };
        let mut own = OpenOptions::new();
        own.create(true).append(true).mode(OWN).open(held.database()).map_err(not_writable)?;
        Ok(held)
    }

    pub(crate) fn database(&self) -> PathBuf {
        self.path.join("assay.db")
    }

    pub(crate) fn artifacts(&self) -> PathBuf {
        self.path.join("artifacts")
    }
}

/// Removes the directories in `parent` that a coordinator held and none holds any more, of those whose names
/// begin with `prefix`; returns how many. What cannot be removed stays.
#[must_use]
pub fn remove_abandoned(parent: &Path, prefix: &str) -> usize {
    let Ok(entries) = fs::read_dir(parent) else { return 0 };
    let ours = entries.flatten().filter(|entry| {
        let named = entry.file_name().to_string_lossy().starts_with(prefix);
        named && entry.file_type().is_ok_and(|kind| kind.is_dir())
    });
    ours.filter(|entry| remove_if_abandoned(&entry.path()).is_ok_and(|removed| removed)).count()
}

fn remove_if_abandoned(path: &Path) -> io::Result<bool> {
    let mut lock = OpenOptions::new().read(true).write(true).open(path.join(LOCK_FILE))?;
    if lock.try_lock().is_err() {
        return Ok(false);
    }
    let mut holder = String::new();
    lock.read_to_string(&mut holder)?;
    // Who has only just made it is about to lock it, and then writes this down.
    if holder.trim().is_empty() {
        return Ok(false);
    }
    fs::remove_dir_all(path)?;
    Ok(true)
}

fn holder(lock_path: &Path) -> String {
    fs::read_to_string(lock_path)
        .ok()
        .map(|text| text.trim().to_owned())
        .filter(|text| !text.is_empty())
        .map_or_else(String::new, |process| format!(" (process {process})"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_held_by_one_coordinator_at_a_time() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("deep/data");
        let first = DataDir::hold(&path).unwrap();
        let refused = DataDir::hold(&path).unwrap_err();
        assert!(refused.to_string().contains("in use by another"), "{refused}");
        assert!(refused.to_string().contains(&std::process::id().to_string()));
        drop(first);
        DataDir::hold(&path).unwrap();
    }

    #[test]
    fn what_a_killed_coordinator_left_is_removed_and_what_one_holds_is_not() {
        let scratch = tempfile::tempdir().unwrap();
        let at = |name: &str| scratch.path().join(name);
        drop(DataDir::hold(&at("assay-dead")).unwrap());
        drop(DataDir::hold(&at("other-dead")).unwrap());
        let held = DataDir::hold(&at("assay-held")).unwrap();
        fs::create_dir(at("assay-someones")).unwrap();
        fs::create_dir(at("assay-new")).unwrap();
        fs::write(at("assay-new").join(LOCK_FILE), "").unwrap();
        std::os::unix::fs::symlink(at("other-dead"), at("assay-link")).unwrap();
        assert_eq!(remove_abandoned(scratch.path(), "assay-"), 1);
        assert!(!at("assay-dead").exists());
        for name in ["other-dead", "assay-held", "assay-someones", "assay-new", "assay-link"] {
            assert!(at(name).exists(), "{name}");
        }
        drop(held);
        assert_eq!(remove_abandoned(scratch.path(), "assay-"), 1);
        assert_eq!(remove_abandoned(&at("nowhere"), "assay-"), 0);
    }

    #[test]
    fn jobs_are_read_by_their_owner_alone() {
        use std::os::unix::fs::PermissionsExt;
        let scratch = tempfile::tempdir().unwrap();
        let held = DataDir::hold(&scratch.path().join("data")).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&held.path), PASSABLE);
        assert_eq!(mode(&held.database()), OWN);
    }

    #[test]
    fn a_directory_that_cannot_be_written_is_refused_with_the_reason() {
        let scratch = tempfile::tempdir().unwrap();
        let file = scratch.path().join("file");
        fs::write(&file, "in the way").unwrap();
        // A kernel file system refuses new files even to root.
        for path in [file.as_path(), Path::new("/sys/kernel")] {
            let refused = DataDir::hold(path).unwrap_err();
            assert!(matches!(&refused, DataDirError::NotWritable { .. }), "{refused}");
        }
        assert_eq!(fs::read_to_string(&file).unwrap(), "in the way");
    }
}
