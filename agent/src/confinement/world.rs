//! The files that a model host gets to see, and what for.

use std::{
    ffi::CString,
    fs, io,
    os::unix::ffi::OsStrExt,
    path::{Component, Path, PathBuf, absolute},
};

use assay_measure::configuration::Device;
use rustix::fs::{Access, AtFlags, CWD, accessat};

use super::{Needs, libraries, private_folder::PrivateFolder};

/// Folders of the system's shared libraries, where they are no links.
const LIBRARY_FOLDERS: [&str; 7] = [
    "/usr/lib",
    "/usr/lib32",
    "/usr/lib64",
    "/usr/local/lib",
    "/usr/local/lib64",
    "/lib",
    "/lib64",
];
/// What the dynamic loader and the C library read, and which processors there are.
const SYSTEM_FILES: [&str; 8] = [
    "/etc/ld.so.cache",
    "/etc/ld.so.conf",
    "/etc/ld.so.conf.d",
    "/etc/alternatives",
    "/etc/localtime",
    "/usr/share/zoneinfo",
    "/sys/devices/system/cpu",
    "/sys/devices/system/node",
];
const DEVICES: [&str; 5] = ["/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom"];
/// What the driver of NVIDIA's GPUs reads.
const GPU_FILES: [&str; 6] =
    ["/sys/bus", "/sys/class", "/sys/devices", "/sys/module", "/etc/nvidia", "/usr/share/nvidia"];

/// What a path is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Use {
    Read,
    /// Read and run: programs and libraries.
    Execute,
    /// Read and written as a device.
    Device,
    /// Everything: the host's own folder.
    Scratch,
}

/// A path that may be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Grant {
    /// Absolute, without `.` and `..`.
    pub(super) path: PathBuf,
    pub(super) usage: Use,
    /// The host cannot do without it.
    needed: bool,
}

/// All that a host sees.
#[derive(Debug)]
pub(super) struct World {
    pub(super) grants: Vec<Grant>,
    /// Links at the top, such as `/lib` to `usr/lib`.
    pub(super) links: Vec<(PathBuf, PathBuf)>,
    pub(super) root: PathBuf,
    pub(super) scratch: PathBuf,
}

impl World {
    /// What every program needs, and a folder.
    pub(super) fn of_the_system(folder: &PrivateFolder) -> Self {
        let mut world = Self {
            grants: Vec::new(),
            links: Vec::new(),
            root: folder.root().to_owned(),
            scratch: folder.scratch().to_owned(),
        };
        world.add_system();
        world.add_as_is(folder.scratch().to_owned(), Use::Scratch, false);
        world
    }

    pub(super) fn of(needs: &Needs<'_>, folder: &PrivateFolder) -> io::Result<Self> {
        let mut world = Self::of_the_system(folder);
        let cuda = matches!(needs.device, Device::Cuda(_));
        if cuda {
            world.add_gpus();
        }
        world.add(needs.program, Use::Execute, true)?;
        let mut by_name = Vec::new();
        if cuda {
            by_name.push(libraries::LOADED_FOR_CUDA);
        }
        if !needs.operator_libraries.is_empty() {
            by_name.push(libraries::LOADED_FOR_OPERATORS);
        }
        let mut loaded = libraries::of(needs.program, &by_name);
        for operators in needs.operator_libraries {
            loaded.push(operators.clone());
            loaded.extend(libraries::of(operators, &[]));
        }
        for library in &loaded {
            world.add(library, Use::Execute, true)?;
        }
        for file in needs.files {
            world.add(file, Use::Read, true)?;
        }
        // Folders before what lies in them, so that nothing is mounted over.
        world.grants.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(world)
    }

    fn add_system(&mut self) {
        for folder in LIBRARY_FOLDERS {
            match fs::read_link(folder) {
                Ok(to) => self.links.push((folder.into(), to)),
                Err(_) => self.add_if_there(folder, Use::Execute),
            }
        }
        SYSTEM_FILES.iter().for_each(|path| self.add_if_there(path, Use::Read));
        DEVICES.iter().for_each(|path| self.add_if_there(path, Use::Device));
    }

    fn add_gpus(&mut self) {
        GPU_FILES.iter().for_each(|path| self.add_if_there(path, Use::Read));
        for device in gpu_devices(Path::new("/dev")) {
            self.add_if_there(&device.to_string_lossy(), Use::Device);
        }
    }

    fn add_if_there(&mut self, path: &str, usage: Use) {
        if Path::new(path).exists() {
            self.add_as_is(path.into(), usage, false);
        }
    }

    /// Grants a file under the path that it is known by, and under the one that it really has.
    fn add(&mut self, path: &Path, usage: Use, needed: bool) -> io::Result<()> {
        let named =
            |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
        let known_by = normal(&absolute(path).map_err(named)?);
        let real = fs::canonicalize(path).map_err(named)?;
        self.add_as_is(known_by, usage, needed);
        self.add_as_is(real, usage, needed);
        Ok(())
    }

    fn add_as_is(&mut self, path: PathBuf, usage: Use, needed: bool) {
        let covers = |grant: &Grant| {
            grant.path == path
                || (grant.usage == usage && path.starts_with(&grant.path) && !path.is_symlink())
        };
        let linked = self.links.iter().any(|(link, _)| path.starts_with(link));
        if !linked && !self.grants.iter().any(covers) {
            self.grants.push(Grant { path, usage, needed });
        }
    }

    pub(super) fn used_for(&self, usage: Use) -> Vec<&Path> {
        let used = self.grants.iter().filter(|grant| grant.usage == usage);
        used.map(|grant| grant.path.as_path()).collect()
    }

    /// What the host's user has to get at.
    pub(super) fn must_reach(&self) -> Vec<Reach> {
        let needed = self.grants.iter().filter(|grant| grant.needed);
        let read = needed.filter_map(|grant| Reach::of(&grant.path, Access::READ_OK));
        let all = Access::READ_OK | Access::WRITE_OK | Access::EXEC_OK;
        read.chain(Reach::of(&self.scratch, all)).collect()
    }
}

/// A path that a host has to get at.
#[derive(Debug)]
pub(super) struct Reach {
    path: CString,
    access: Access,
}

impl Reach {
    fn of(path: &Path, access: Access) -> Option<Self> {
        Some(Self { path: CString::new(path.as_os_str().as_bytes()).ok()?, access })
    }

    /// Whether the calling process, as the user that it is, gets at it. Only a system call.
    pub(super) fn check(&self) -> io::Result<()> {
        Ok(accessat(CWD, &self.path, self.access, AtFlags::empty())?)
    }
}

/// Without `.` and `..`, by the text alone.
fn normal(path: &Path) -> PathBuf {
    let mut normal = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => drop(normal.pop()),
            Component::CurDir => {}
            Component::Normal(_) | Component::RootDir | Component::Prefix(_) => normal.push(part),
        }
    }
    normal
}

/// The device files of NVIDIA's driver: `nvidia0`, `nvidiactl`, `nvidia-uvm`, `nvidia-caps/…`.
fn gpu_devices(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut found = Vec::new();
    for entry in entries.flatten() {
        if !entry.file_name().as_bytes().starts_with(b"nvidia") {
            continue;
        }
        let path = entry.path();
        match fs::read_dir(&path) {
            Ok(inner) => found.extend(inner.flatten().map(|entry| entry.path())),
            Err(_) => found.push(path),
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_made_plain_by_their_text() {
        let plain = normal(Path::new("/x/torch/lib/../../nvidia/./lib/libcudart.so"));
        assert_eq!(plain, Path::new("/x/nvidia/lib/libcudart.so"));
    }

    #[test]
    fn device_files_of_a_gpu_are_found_and_no_others() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["nvidia0", "nvidiactl", "sda"] {
            fs::write(folder.path().join(name), "").unwrap();
        }
        fs::create_dir(folder.path().join("nvidia-caps")).unwrap();
        fs::write(folder.path().join("nvidia-caps/nvidia-cap1"), "").unwrap();
        let mut found = gpu_devices(folder.path());
        found.sort();
        let expected = ["nvidia-caps/nvidia-cap1", "nvidia0", "nvidiactl"]
            .map(|name| folder.path().join(name));
        assert_eq!(found, expected);
    }
}
