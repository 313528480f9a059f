//! Gets wheels with pip, verifies them, and keeps them.
//!
//! pip is used because it already knows the user's proxies, mirrors and certificates. A wheel is only
//! moved to where it is kept after its sum was found right, so a kept wheel is a whole one.

use std::{
    ffi::OsString,
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, anyhow, bail};
use sha2::{Digest, Sha256};

use super::wheels::Wheel;
use crate::{
    console::Console,
    failure::Hinted,
    files,
    process::{answers, shown},
};

/// Where downloads arrive; anything found there later is left over from an interrupted run.
pub(crate) const UNFINISHED: &str = "fetch.unfinished";
const KEPT: &str = "wheels";

/// Fetches into one set-up folder.
#[derive(Debug)]
pub(crate) struct Fetch<'a> {
    dir: &'a Path,
    console: Console,
    pythons: Vec<OsString>,
}

/// Whether pip may answer from its cache: not after that gave a wrong file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PipCache {
    Use,
    Avoid,
}

impl<'a> Fetch<'a> {
    /// With the Python found on the path.
    pub(crate) fn new(dir: &'a Path, console: Console) -> Self {
        Self { dir, console, pythons: vec!["python3".into(), "python".into()] }
    }

    /// The verified files, in the order of `wheels`.
    pub(crate) fn all(&self, wheels: &[Wheel]) -> Result<Vec<PathBuf>> {
        wheels.iter().map(|wheel| self.one(wheel)).collect()
    }

    fn one(&self, wheel: &Wheel) -> Result<PathBuf> {
        let kept = self.dir.join(KEPT).join(wheel.file);
        if kept.exists() {
            if self.sum_of(&kept)? == wheel.sha256 {
                self.console.say(&format!("{} is already here, checksum verified", wheel.file));
                return Ok(kept);
            }
            self.console.say(&format!(
                "{} is here but its checksum is wrong, fetching it again",
                wheel.file
            ));
            files::remove(&kept)?;
        }
        let mut wrong_sum = String::new();
        for cache in [PipCache::Use, PipCache::Avoid] {
            let arrived = self.download(wheel, cache)?;
            let sum = self.sum_of(&arrived)?;
            if sum == wheel.sha256 {
                self.console.say(&format!("{} fetched, checksum verified", wheel.file));
                return self.keep(&arrived, &kept);
            }
            self.console.say(&format!("{} came with a wrong checksum, deleted", wheel.file));
            files::remove(&arrived)?;
            wrong_sum = sum;
        }
        Err(anyhow!("its SHA-256 is {wrong_sum}, not {}", wheel.sha256)).context(Hinted::new(
            format!("{} came with a wrong checksum twice", wheel.file),
            "check which index pip uses (`python3 -m pip config list`): it does not serve the published wheel",
        ))
    }

    fn keep(&self, arrived: &Path, kept: &Path) -> Result<PathBuf> {
        files::create_dir(&self.dir.join(KEPT))?;
        File::open(arrived)
            .and_then(|file| file.sync_all())
            .with_context(|| format!("cannot write {}", arrived.display()))?;
        fs::rename(arrived, kept)
            .with_context(|| format!("cannot move {} to {}", arrived.display(), kept.display()))?;
        files::remove_dir(&self.dir.join(UNFINISHED))?;
        Ok(kept.to_owned())
    }

    fn download(&self, wheel: &Wheel, cache: PipCache) -> Result<PathBuf> {
        let python = self.python_with_pip()?;
        let folder = self.dir.join(UNFINISHED);
        files::create_dir(&folder)?;
        self.console.say(&format!("fetching {} with pip", wheel.file));
        let mut command = pip_download(&python, wheel, cache, &folder);
        if self.console.is_terminal() {
            command.args(["--progress-bar", "on"]).stdout(Stdio::from(io::stderr()));
        } else {
            command.args(["--quiet", "--progress-bar", "off"]).stdout(Stdio::null());
        }
        let output = command
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .and_then(std::process::Child::wait_with_output)
            .with_context(|| format!("cannot run `{}`", shown(&command)))?;
        let arrived = folder.join(wheel.file);
        if output.status.success() && arrived.exists() {
            return Ok(arrived);
        }
        Err(explain(wheel, &String::from_utf8_lossy(&output.stderr), output.status.success()))
    }

    fn python_with_pip(&self) -> Result<OsString> {
        let mut found_python = None;
        for python in &self.pythons {
            if answers(Command::new(python).args(["-m", "pip", "--version"])) {
                return Ok(python.clone());
            }
            if answers(Command::new(python).arg("--version")) {
                found_python = Some(python.to_string_lossy().into_owned());
            }
        }
        match found_python {
            Some(python) => bail!(Hinted::new(
                format!("{python} has no pip, which is needed to fetch libtorch"),
                format!(
                    "install it: `apt-get install python3-pip`, or `{python} -m ensurepip --user`"
                ),
            )),
            None => bail!(Hinted::new(
                "found no Python, which is needed to fetch libtorch",
                "install Python 3 with pip (Debian: `apt-get install python3-pip`), or point LIBTORCH at a libtorch 2.11.0",
            )),
        }
    }

    fn sum_of(&self, path: &Path) -> Result<String> {
        let context = || format!("cannot read {}", path.display());
        let mut file = File::open(path).with_context(context)?;
        let size_bytes = file.metadata().with_context(context)?.len();
        let mut progress = self.console.progress("verifying", size_bytes);
        let mut hasher = Sha256::new();
        progress
            .pieces(&mut file, |piece| {
                hasher.update(piece);
                Ok(())
            })
            .with_context(context)?;
        Ok(hex::encode(hasher.finalize()))
    }
}

/// One interpreter tag for every Python: only libraries and headers are used, so there is exactly one
/// wheel for each architecture.
fn pip_download(python: &OsString, wheel: &Wheel, cache: PipCache, folder: &Path) -> Command {
    let mut command = Command::new(python);
    let download = "-m pip download --disable-pip-version-check --no-deps --only-binary=:all:";
    let what = "--python-version 311 --implementation cp --abi cp311 --retries 3";
    command.args(download.split(' ')).args(what.split(' '));
    command.args(["--platform", wheel.platform, "--dest"]).arg(folder).arg(wheel.requirement);
    if cache == PipCache::Avoid {
        command.arg("--no-cache-dir");
    }
    // Half a gigabyte: many machines keep /tmp in memory.
    command.env("TMPDIR", folder);
    command
}

/// What pip's complaint means for the person in front of it.
fn explain(wheel: &Wheel, complaint: &str, success: bool) -> anyhow::Error {
    let said = complaint.to_lowercase();
    let hint = if said.contains("no space left") {
        "free about 3 GiB on this disk (libtorch, its wheels, the build) and run the same command again".to_owned()
    } else if ["connection", "resolve", "network", "timed out", "proxy", "ssl"]
        .iter()
        .any(|word| said.contains(word))
    {
        format!(
            "check the network (pip honours HTTPS_PROXY and PIP_INDEX_URL), or put {} into .libtorch/wheels",
            wheel.file
        )
    } else {
        format!(
            "try `python3 -m pip download {}`, or put {} into .libtorch/wheels",
            wheel.requirement, wheel.file
        )
    };
    let mut lines: Vec<&str> =
        complaint.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    // Retries repeat themselves: the last lines carry the reason.
    lines.dedup();
    let reason = lines[lines.len().saturating_sub(3)..].join("\n");
    let reason = match (reason.is_empty(), success) {
        (true, true) => format!("pip ended well but without {}", wheel.file),
        (true, false) => "pip said nothing".to_owned(),
        (false, _) => reason,
    };
    anyhow!(reason).context(Hinted::new(format!("cannot fetch {}", wheel.requirement), hint))
}

#[cfg(test)]
mod tests;
