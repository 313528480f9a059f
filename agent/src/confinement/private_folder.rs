//! The only place where a model host may write; gone when the trial is over.
//!
//! Its name carries the agent's process: what an agent left that was killed is removed by the next one.

use std::{
    env,
    fs::{self, DirBuilder, DirEntry},
    io,
    os::{
        fd::AsRawFd,
        unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt},
    },
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering},
};

use rustix::{
    fs::{Mode, OFlags, chown, open},
    process::{getegid, geteuid},
};

use super::privileges::OwnUser;
use crate::owner::{self, Owner};

const PREFIX: &str = "assay-host-";
/// The mode of folders that a host's user passes through to what it may see: nobody else reads a name there.
pub(crate) const PASSABLE: u32 = 0o711;

static NEXT: AtomicU32 = AtomicU32::new(0);

/// A folder for one host. Dropping it removes it with all that is in it.
#[derive(Debug)]
pub struct PrivateFolder {
    folder: PathBuf,
    root: PathBuf,
    scratch: PathBuf,
    user: Option<OwnUser>,
}

impl PrivateFolder {
    /// Makes one in the system's folder for temporary files, for a host of that user.
    ///
    /// # Errors
    /// When the folder cannot be made.
    pub fn create(user: Option<OwnUser>) -> io::Result<Self> {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let parent = fs::canonicalize(env::temp_dir())?;
        let folder = parent.join(format!("{PREFIX}{}-{number}", Owner::this().text()));
        DirBuilder::new().mode(PASSABLE).create(&folder)?;
        let made =
            Self { root: folder.join("root"), scratch: folder.join("scratch"), folder, user };
        DirBuilder::new().mode(0o700).create(&made.root)?;
        DirBuilder::new().mode(0o700).create(&made.scratch)?;
        // A umask takes bits away.
        fs::set_permissions(&made.folder, fs::Permissions::from_mode(PASSABLE))?;
        if let Some((uid, gid)) = user.map(OwnUser::ids) {
            chown(&made.scratch, Some(uid), Some(gid))?;
        }
        Ok(made)
    }

    /// What the host may write to: its home and its folder for temporary files.
    #[must_use]
    pub fn scratch(&self) -> &Path {
        &self.scratch
    }

    /// Where its root is mounted; empty outside of its namespace.
    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    pub(super) fn user(&self) -> Option<OwnUser> {
        self.user
    }

    /// For a host that runs as the agent's own user after all.
    ///
    /// # Errors
    /// When the owner cannot be changed.
    pub fn keep_for_the_agents_user(&mut self) -> io::Result<()> {
        self.user = None;
        Ok(chown(&self.scratch, Some(geteuid()), Some(getegid()))?)
    }

    /// Puts a file there that the host is to read.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn add_file(&self, name: &str, content: &[u8]) -> io::Result<PathBuf> {
        let path = self.scratch.join(name);
        fs::write(&path, content)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644))?;
        Ok(path)
    }
}

impl Drop for PrivateFolder {
    fn drop(&mut self) {
        if let Err(error) = remove(&self.folder) {
            tracing::warn!(folder = %self.folder.display(), %error, "a model host's folder stays behind");
        }
    }
}

/// Removes a folder with all that is in it, folders included from which a model took the right to write.
fn remove(folder: &Path) -> io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            unlock(folder)?;
            fs::remove_dir_all(folder)
        }
        done => done,
    }
}

/// Takes the right to list and to change a folder and those below it.
fn unlock(folder: &Path) -> io::Result<()> {
    // The folder that was found, and none that a link leads to by now.
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let found = open(folder, flags, Mode::empty())?;
    let at = PathBuf::from(format!("/proc/self/fd/{}", found.as_raw_fd()));
    fs::set_permissions(&at, fs::Permissions::from_mode(0o700))?;
    for entry in fs::read_dir(&at)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            unlock(&entry.path())?;
        }
    }
    Ok(())
}

/// Removes the folders of agents that are gone, and says how many there were.
pub fn remove_leftovers() -> usize {
    remove_leftovers_in(&env::temp_dir())
}

fn remove_leftovers_in(parent: &Path) -> usize {
    // Anybody may make a folder of that name where everybody may write.
    let is_ours = |found: fs::Metadata| {
        found.is_dir() && (found.uid() == geteuid().as_raw() || OwnUser::is_a_hosts(found.uid()))
    };
    let removed = |entry: &DirEntry| {
        let told = |error: &io::Error| {
            tracing::warn!(folder = %entry.path().display(), %error, "the folder of a dead agent's host stays");
        };
        remove(&entry.path()).inspect_err(told).is_ok()
    };
    let left = owner::left_by_the_dead(parent, PREFIX);
    left.filter(|entry| entry.metadata().is_ok_and(is_ours)).filter(removed).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_gone_with_all_that_is_in_it() {
        let folder = PrivateFolder::create(None).unwrap();
        let (path, file) = (folder.folder.clone(), folder.add_file("body-0", b"[1]").unwrap());
        assert_eq!(fs::read(&file).unwrap(), b"[1]");
        fs::create_dir(folder.scratch().join("unpacked")).unwrap();
        drop(folder);
        assert!(!path.exists());
    }

    #[test]
    fn what_a_dead_agent_left_is_removed_and_what_others_hold_is_not() {
        let parent = tempfile::tempdir().unwrap();
        let own = Owner::this();
        let at = |name: String| parent.path().join(name);
        let dead = at(format!("{PREFIX}{}-{}-0", own.process, own.started + 1));
        let living = at(format!("{PREFIX}{}-7", own.text()));
        let foreign = at(format!("{PREFIX}notes"));
        let link = at(format!("{PREFIX}{}-{}-1", own.process, own.started + 1));
        for folder in [&dead, &living, &foreign] {
            fs::create_dir(folder).unwrap();
        }
        fs::write(dead.join("model.pt"), "x").unwrap();
        std::os::unix::fs::symlink(&foreign, &link).unwrap();
        assert_eq!(remove_leftovers_in(parent.path()), 1);
        assert!(!dead.exists() && living.exists() && foreign.exists() && link.is_symlink());
    }
}
