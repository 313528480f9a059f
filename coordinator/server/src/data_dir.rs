//! The data directory: made, proven writable, and held by one coordinator at a time.
//!
//! What lies in it belongs to [`crate::store`] and [`crate::artifacts`].

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Write},
    path::{Path, PathBuf},
};

use thiserror::Error;

const LOCK_FILE: &str = "coordinator.lock";

/// A data directory that this process holds. The lock goes with the value, and with the process.
#[derive(Debug)]
pub(crate) struct DataDir {
    path: PathBuf,
    _lock: File,
}

/// The data directory cannot be used.
#[derive(Debug, Error)]
pub enum DataDirError {
    /// It cannot be made or written to.
    #[error("the data directory {path} is not writable")]
    NotWritable {
        /// The directory.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Another coordinator works in it.
    #[error("the data directory {path} is in use by another coordinator{holder}")]
    InUse {
        /// The directory.
        path: PathBuf,
        /// ` (process N)` when the other one wrote that down.
        holder: String,
    },
}

impl DataDir {
    /// Makes the directory if needed and takes its lock.
    pub(crate) fn hold(path: &Path) -> Result<Self, DataDirError> {
        let not_writable = |source| DataDirError::NotWritable { path: path.to_owned(), source };
        fs::create_dir_all(path).map_err(not_writable)?;
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
        Ok(Self { path: path.to_owned(), _lock: lock })
    }

    /// The database file.
    pub(crate) fn database(&self) -> PathBuf {
        self.path.join("assay.db")
    }

    /// Where uploaded files lie.
    pub(crate) fn artifacts(&self) -> PathBuf {
        self.path.join("artifacts")
    }
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
