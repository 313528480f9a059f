//! Where this process stands in the control group hierarchies, from `/proc/self/cgroup` and
//! `/proc/self/mountinfo`.

use std::{
    fs,
    path::{Path, PathBuf},
};

use assay_measure::units::Bytes;

/// The interface a hierarchy speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// One hierarchy per controller.
    One,
    /// All controllers in one hierarchy.
    Two,
}

/// What a group can limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Controller {
    CpuSet,
    Memory,
}

impl Controller {
    /// The kernel's name for it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::CpuSet => "cpuset",
            Self::Memory => "memory",
        }
    }
}

/// A group of this process: the place under which groups for the model host are made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hierarchy {
    pub version: Version,
    /// The directory of the group this process is in.
    pub directory: PathBuf,
    /// Where the hierarchy is mounted; `directory` lies in it.
    pub mount: PathBuf,
}

impl Hierarchy {
    /// The groups from that of this process up to the root.
    fn upwards(&self) -> impl Iterator<Item = &Path> {
        self.directory.ancestors().take_while(|place| place.starts_with(&self.mount))
    }
}

/// The hierarchies that can limit processors and memory; equal when one does both.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hierarchies {
    pub cpuset: Option<Hierarchy>,
    pub memory: Option<Hierarchy>,
}

impl Hierarchies {
    #[must_use]
    pub fn of_this_process() -> Self {
        let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        Self::from_texts(&groups, &mounts)
    }

    fn from_texts(groups: &str, mounts: &str) -> Self {
        let find = |controller: Controller| {
            first_version(groups, mounts, controller.word())
                .or_else(|| second_version(groups, mounts).filter(|h| offers(h, controller)))
        };
        Self { cpuset: find(Controller::CpuSet), memory: find(Controller::Memory) }
    }

    /// Each hierarchy once, with what it is to limit.
    #[must_use]
    pub fn for_limits(&self) -> Vec<(&Hierarchy, Vec<Controller>)> {
        match (&self.cpuset, &self.memory) {
            (Some(cpuset), Some(memory)) if cpuset == memory => {
                vec![(cpuset, vec![Controller::CpuSet, Controller::Memory])]
            }
            (cpuset, memory) => {
                let cpuset = cpuset.iter().map(|hierarchy| (hierarchy, vec![Controller::CpuSet]));
                let memory = memory.iter().map(|hierarchy| (hierarchy, vec![Controller::Memory]));
                cpuset.chain(memory).collect()
            }
        }
    }

    /// The smallest limit from this process's group up to the root.
    #[must_use]
    pub fn memory_limit(&self) -> Option<Bytes> {
        let hierarchy = self.memory.as_ref()?;
        let file = match hierarchy.version {
            Version::One => "memory.limit_in_bytes",
            Version::Two => "memory.max",
        };
        let limit = |directory: &Path| -> Option<u64> {
            fs::read_to_string(directory.join(file)).ok()?.trim().parse().ok()
        };
        // Version 1 writes "no limit" as a number close to 2^63.
        hierarchy.upwards().filter_map(limit).filter(|&bytes| bytes < 1 << 62).min().map(Bytes::new)
    }
}

/// The groups whose quotas hold for this process: its own and those above it, innermost first. A
/// quota of an emulated type would stand in a group below, so it is never among them.
#[must_use]
pub fn cpu_groups_of_this_process() -> Vec<PathBuf> {
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    cpu_groups(&groups, &mounts)
}

fn cpu_groups(groups: &str, mounts: &str) -> Vec<PathBuf> {
    let hierarchy = first_version(groups, mounts, "cpu").or_else(|| second_version(groups, mounts));
    hierarchy.iter().flat_map(Hierarchy::upwards).map(Path::to_path_buf).collect()
}

/// The group lines of `/proc/self/cgroup` are `ID:CONTROLLERS:PATH`.
fn first_version(groups: &str, mounts: &str, controller: &str) -> Option<Hierarchy> {
    let has = |list: &str| list.split(',').any(|word| word == controller);
    let path = groups.lines().find_map(|line| {
        let mut parts = line.splitn(3, ':').skip(1);
        let controllers = parts.next()?;
        let path = parts.next()?;
        has(controllers).then_some(path)
    })?;
    let mount = mounts.lines().filter_map(Mount::read);
    let mount = mount.into_iter().find(|mount| mount.kind == "cgroup" && has(mount.options))?;
    mount.hierarchy(path, Version::One)
}

fn second_version(groups: &str, mounts: &str) -> Option<Hierarchy> {
    let path = groups.lines().find_map(|line| line.strip_prefix("0::"))?;
    let mount = mounts.lines().filter_map(Mount::read).find(|mount| mount.kind == "cgroup2")?;
    mount.hierarchy(path, Version::Two)
}

fn offers(hierarchy: &Hierarchy, controller: Controller) -> bool {
    let controllers = fs::read_to_string(hierarchy.directory.join("cgroup.controllers"));
    controllers.unwrap_or_default().split_ascii_whitespace().any(|word| word == controller.word())
}

/// A line of `/proc/self/mountinfo`, as far as it matters here.
struct Mount<'a> {
    root: &'a str,
    place: &'a str,
    kind: &'a str,
    options: &'a str,
}

impl<'a> Mount<'a> {
    fn read(line: &'a str) -> Option<Self> {
        let (before, after) = line.split_once(" - ")?;
        let mut before = before.split(' ').skip(3);
        let mut after = after.split(' ');
        let (root, place) = (before.next()?, before.next()?);
        let kind = after.next()?;
        Some(Self { root, place, kind, options: after.nth(1).unwrap_or("") })
    }

    /// The directory of the group `path`. In a container the mount may show only a part of the
    /// hierarchy, while the path still counts from its root.
    fn hierarchy(&self, path: &str, version: Version) -> Option<Hierarchy> {
        let below = if self.root == "/" {
            path
        } else {
            let inside = path.strip_prefix(self.root)?;
            if !inside.is_empty() && !inside.starts_with('/') {
                return None;
            }
            inside
        };
        // `/..` shows that the group lies outside of what is mounted here.
        if below.split('/').any(|part| part == "..") {
            return None;
        }
        let mount = PathBuf::from(self.place);
        let below = below.trim_matches('/');
        let directory = if below.is_empty() { mount.clone() } else { mount.join(below) };
        Some(Hierarchy { version, directory, mount })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST_MOUNTS: &str = "30 20 0:27 / /sys/fs/cgroup/cpuset rw,relatime - cgroup cgroup rw,cpuset\n\
        31 20 0:28 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n\
        32 20 0:29 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n";

    #[test]
    fn separate_hierarchies_are_found_by_controller() {
        let groups = "4:memory:/service/a\n3:cpuset:/\n0::/\n";
        let found = Hierarchies::from_texts(groups, FIRST_MOUNTS);
        let memory = found.memory.as_ref().unwrap();
        assert_eq!(memory.directory, Path::new("/sys/fs/cgroup/memory/service/a"));
        assert_eq!(memory.version, Version::One);
        assert_eq!(found.cpuset.as_ref().unwrap().directory, Path::new("/sys/fs/cgroup/cpuset"));
        assert_eq!(found.for_limits().len(), 2);
    }

    #[test]
    fn a_container_sees_its_group_at_the_mount() {
        let mounts = "31 20 0:28 /docker/abc /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n";
        let found = Hierarchies::from_texts("4:memory:/docker/abc\n", mounts);
        assert_eq!(found.memory.unwrap().directory, Path::new("/sys/fs/cgroup/memory"));
        assert_eq!(Hierarchies::from_texts("4:memory:/docker/abcd\n", mounts).memory, None);
        assert_eq!(Hierarchies::from_texts("4:memory:/../x\n", FIRST_MOUNTS).memory, None);
    }

    #[test]
    fn the_unified_hierarchy_serves_the_controllers_it_offers() {
        let tree = tempfile::tempdir().unwrap();
        let own = tree.path().join("agent.service");
        fs::create_dir(&own).unwrap();
        fs::write(own.join("cgroup.controllers"), "cpuset cpu memory pids\n").unwrap();
        let mounts = format!("29 1 0:26 / {} rw - cgroup2 cgroup2 rw\n", tree.path().display());
        let found = Hierarchies::from_texts("0::/agent.service\n", &mounts);
        assert_eq!(found.cpuset, found.memory);
        assert_eq!(found.for_limits()[0].1, vec![Controller::CpuSet, Controller::Memory]);

        fs::write(own.join("cgroup.controllers"), "pids\n").unwrap();
        assert_eq!(Hierarchies::from_texts("0::/agent.service\n", &mounts), Hierarchies::default());
    }

    #[test]
    fn quotas_are_looked_for_from_the_own_group_up_to_the_mount_and_never_below() {
        let mounts = "33 20 0:30 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu,cpuacct\n\
            29 1 0:26 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n";
        let first = cpu_groups("2:cpu,cpuacct:/a/b\n0::/\n", mounts);
        let paths = ["a/b", "a", ""].map(|group| Path::new("/sys/fs/cgroup/cpu").join(group));
        assert_eq!(first, paths);
        assert_eq!(cpu_groups("0::/x\n", mounts)[0], Path::new("/sys/fs/cgroup/unified/x"));
        assert_eq!(cpu_groups("", ""), Vec::<PathBuf>::new());
    }

    #[test]
    fn the_narrowest_memory_limit_on_the_way_up_counts() {
        let tree = tempfile::tempdir().unwrap();
        let own = tree.path().join("a/b");
        fs::create_dir_all(&own).unwrap();
        fs::write(own.join("memory.max"), "max\n").unwrap();
        fs::write(tree.path().join("a/memory.max"), "1048576\n").unwrap();
        let hierarchy =
            Hierarchy { version: Version::Two, directory: own, mount: tree.path().into() };
        let found = Hierarchies { cpuset: None, memory: Some(hierarchy) };
        assert_eq!(found.memory_limit(), Some(Bytes::mib(1)));
    }

    #[test]
    fn texts_that_make_no_sense_find_nothing() {
        assert_eq!(Hierarchies::from_texts("", ""), Hierarchies::default());
        assert_eq!(
            Hierarchies::from_texts("memory\n::\n0:", "a b - \n - c"),
            Hierarchies::default()
        );
    }
}
