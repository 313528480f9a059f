//! One control group for one model host, version 1 or 2.
//!
//! Groups are made below the group of this process, so limits that already hold for the agent hold
//! for the model, too. A group's name carries the agent's process id and start time: the groups of
//! agents that are gone can be told from those of the living, and are removed.
//!
//! The directory may be any file tree: tests use a temporary one.

use std::{
    fs::{self, DirEntry, File},
    io,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use assay_measure::{hardware::LimitInForce, units::Bytes};
use rustix::process::{Pid, Signal, kill_process};

use crate::{
    owner::{self, Owner},
    sandbox::mounts::{Controller, Hierarchies, Hierarchy, Version},
};

const PREFIX: &str = "assay-";
/// Version 2 allows no processes in a group that passes controllers on, so the agent moves here.
const OWN_LEAF: &str = "assay-agent";

static NEXT: AtomicU32 = AtomicU32::new(0);

/// What the processes of a group are held to.
#[derive(Clone, Copy, Debug)]
pub struct Restriction<'a> {
    pub cpus: &'a [u32],
    pub memory: Bytes,
}

/// A group of our own. Dropping it kills what is left inside and removes it.
#[derive(Debug)]
pub struct Group {
    version: Version,
    directory: PathBuf,
}

impl Group {
    /// Makes a group and sets those limits that its controllers allow; a group without any is none.
    ///
    /// # Errors
    /// When the group cannot be made, or when none of its limits can be set.
    pub fn create(
        parent: &Hierarchy,
        controllers: &[Controller],
        restriction: Restriction<'_>,
    ) -> io::Result<(Self, Vec<LimitInForce>)> {
        remove_leftovers_in(&parent.directory);
        if parent.version == Version::Two {
            pass_on(&parent.directory, controllers)?;
        }
        let name =
            format!("{PREFIX}{}-{}", Owner::this().text(), NEXT.fetch_add(1, Ordering::Relaxed));
        let directory = parent.directory.join(name);
        fs::create_dir(&directory)?;
        let group = Self { version: parent.version, directory };
        let mut in_force = Vec::new();
        let mut failure = None;
        for controller in controllers {
            let set = match controller {
                Controller::CpuSet => group.limit_cpus(&parent.directory, restriction.cpus),
                Controller::Memory => group.limit_memory(restriction.memory),
            };
            match set {
                Ok(limit) => in_force.push(limit),
                Err(error) => failure = Some(error),
            }
        }
        match failure {
            Some(error) if in_force.is_empty() => Err(error),
            _ => Ok((group, in_force)),
        }
    }

    fn limit_cpus(&self, parent: &Path, cpus: &[u32]) -> io::Result<LimitInForce> {
        let list: Vec<String> = cpus.iter().map(u32::to_string).collect();
        if self.version == Version::One {
            // A group of version 1 begins without memory nodes, and takes no process until it has some.
            let nodes = fs::read_to_string(parent.join("cpuset.mems"))?;
            self.write("cpuset.mems", nodes.trim())?;
        }
        self.write("cpuset.cpus", &list.join(","))?;
        Ok(LimitInForce::CpuSetCgroup)
    }

    fn limit_memory(&self, memory: Bytes) -> io::Result<LimitInForce> {
        let bytes = memory.count().to_string();
        match self.version {
            Version::One => {
                self.write("memory.limit_in_bytes", &bytes)?;
                // Without these two the model would swap instead of meeting its limit. Kernels
                // without swap accounting lack the first file.
                self.write_if_there("memory.memsw.limit_in_bytes", &bytes);
                self.write_if_there("memory.swappiness", "0");
            }
            Version::Two => {
                self.write("memory.max", &bytes)?;
                self.write_if_there("memory.swap.max", "0");
                self.write_if_there("memory.oom.group", "1");
            }
        }
        Ok(LimitInForce::MemoryCgroup)
    }

    fn write(&self, file: &str, text: &str) -> io::Result<()> {
        fs::write(self.directory.join(file), text)
    }

    fn write_if_there(&self, file: &str, text: &str) {
        if let Err(error) = self.write(file, text) {
            tracing::debug!(group = %self.directory.display(), file, %error, "not set");
        }
    }

    /// The file to which a process writes to get in.
    ///
    /// # Errors
    /// When the group is gone.
    pub fn open_process_list(&self) -> io::Result<File> {
        File::options().write(true).open(self.directory.join("cgroup.procs"))
    }

    /// Processes of this group that the kernel killed for want of memory.
    #[must_use]
    pub fn oom_kills(&self) -> u64 {
        let file = match self.version {
            Version::One => "memory.oom_control",
            Version::Two => "memory.events",
        };
        let text = fs::read_to_string(self.directory.join(file)).unwrap_or_default();
        text.lines()
            .find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse().ok())
            .unwrap_or(0)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Err(error) = remove(&self.directory) {
            tracing::warn!(group = %self.directory.display(), %error, "control group left behind");
        }
    }
}

/// Kills what is inside and removes the group. Killed processes leave it a moment later.
fn remove(directory: &Path) -> io::Result<()> {
    let mut result = fs::remove_dir(directory);
    for _ in 0..100 {
        if result.is_ok() {
            break;
        }
        for process in processes(directory) {
            // Gone already is as good.
            let _ = kill_process(process, Signal::KILL);
        }
        std::thread::sleep(Duration::from_millis(5));
        result = fs::remove_dir(directory);
    }
    result
}

fn processes(directory: &Path) -> Vec<Pid> {
    let list = fs::read_to_string(directory.join("cgroup.procs")).unwrap_or_default();
    list.lines().filter_map(|line| Pid::from_raw(line.trim().parse().ok()?)).collect()
}

/// Lets groups below `parent` use `controllers` (version 2).
fn pass_on(parent: &Path, controllers: &[Controller]) -> io::Result<()> {
    let file = parent.join("cgroup.subtree_control");
    let passed = fs::read_to_string(&file)?;
    let missing: Vec<String> = controllers
        .iter()
        .map(|controller| controller.word())
        .filter(|word| !passed.split_ascii_whitespace().any(|has| has == *word))
        .map(|word| format!("+{word}"))
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let wish = missing.join(" ");
    match fs::write(&file, &wish) {
        Err(error) if error.kind() == io::ErrorKind::ResourceBusy => {
            let own = Pid::from_raw(i32::try_from(std::process::id()).unwrap_or(0));
            if processes(parent).into_iter().any(|process| Some(process) != own) {
                return Err(error);
            }
            // Alone in our group, as a service whose subtree was delegated to it: make room.
            let leaf = parent.join(OWN_LEAF);
            fs::create_dir_all(&leaf)?;
            fs::write(leaf.join("cgroup.procs"), "0")?;
            fs::write(&file, &wish)
        }
        other => other,
    }
}

/// Removes the groups of agents that are gone, and says how many there were.
pub fn remove_leftovers(hierarchies: &Hierarchies) -> usize {
    let places = hierarchies.for_limits();
    places.iter().map(|(hierarchy, _)| remove_leftovers_in(&hierarchy.directory)).sum()
}

fn remove_leftovers_in(parent: &Path) -> usize {
    let removed = |entry: &DirEntry| {
        let told = |error: &io::Error| {
            tracing::warn!(group = %entry.path().display(), %error, "control group of a dead agent stays");
        };
        remove(&entry.path()).inspect_err(told).is_ok()
    };
    owner::left_by_the_dead(parent, PREFIX).filter(removed).count()
}

#[cfg(test)]
mod tests;
