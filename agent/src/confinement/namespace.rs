//! A root folder of the host's own, in which nothing is mounted but what it may see.
//!
//! Files may lie below folders that the host's user could never enter, such as a home folder of mode
//! 0700: mounted at their own paths below a new root they can be reached, and their neighbours do not
//! exist. As root, or in a user namespace where ordinary users may make one.

use std::{
    collections::BTreeSet,
    ffi::CString,
    io,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

use rustix::{
    fs::{CWD, Mode, OFlags, mkdirat, openat, symlinkat},
    io::Errno,
    mount::{
        MountFlags, MountPropagationFlags, UnmountFlags, mount, mount_bind_recursive, mount_change,
        unmount,
    },
    process::{chdir, getegid, geteuid, pivot_root},
    thread::{UnshareFlags, unshare_unsafe},
};

use super::world::{Use, World};

/// How a namespace can be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Privileged,
    /// In a user namespace, in which the agent's user is itself and nobody else is anybody.
    OfUser,
}

/// A root folder to be made.
#[derive(Debug)]
pub(super) struct Namespace {
    user_maps: Option<[(&'static std::ffi::CStr, Vec<u8>); 3]>,
    root: CString,
    steps: Vec<Step>,
    proc: CString,
    scratch: (CString, CString),
}

#[derive(Debug)]
enum Step {
    Folder(CString),
    File(CString),
    Link { to: CString, at: CString },
    Bind { from: CString, at: CString },
}

impl Namespace {
    pub(super) fn plan(kind: Kind, world: &World) -> io::Result<Self> {
        let World { root, scratch, .. } = world;
        let mut plan = Plan { root: root.clone(), folders: BTreeSet::new(), steps: Vec::new() };
        for (link, to) in &world.links {
            plan.parents(link)?;
            plan.steps.push(Step::Link { to: c_path(to)?, at: plan.inside(link)? });
        }
        for grant in &world.grants {
            match grant.usage {
                Use::Scratch => plan.folder(&grant.path)?,
                Use::Read | Use::Execute | Use::Device => plan.bind(&grant.path)?,
            }
        }
        plan.folder(Path::new("/proc"))?;
        let user_maps = (kind == Kind::OfUser).then(|| {
            let (uid, gid) = (geteuid().as_raw(), getegid().as_raw());
            [
                (c"/proc/self/setgroups", b"deny".to_vec()),
                (c"/proc/self/uid_map", format!("{uid} {uid} 1").into_bytes()),
                (c"/proc/self/gid_map", format!("{gid} {gid} 1").into_bytes()),
            ]
        });
        Ok(Self {
            user_maps,
            root: c_path(root)?,
            proc: plan.inside(Path::new("/proc"))?,
            scratch: (c_path(scratch)?, plan.inside(scratch)?),
            steps: plan.steps,
        })
    }

    /// Moves the calling process into it. Only system calls.
    pub(super) fn enter(&self) -> io::Result<()> {
        self.unshare()?;
        mount_change(c"/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)?;
        let harmless = MountFlags::NOSUID | MountFlags::NODEV;
        mount(c"tmpfs", &self.root, c"tmpfs", harmless, c"mode=755,size=1m")?;
        self.steps.iter().try_for_each(Step::perform)?;
        self.mount_proc()?;
        set_attributes(&self.root, libc::MOUNT_ATTR_RDONLY, true)?;
        mount_bind_recursive(&self.scratch.0, &self.scratch.1)?;
        let no_programs =
            libc::MOUNT_ATTR_NOEXEC | libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV;
        set_attributes(&self.scratch.1, no_programs, false)?;
        chdir(&self.root)?;
        pivot_root(c".", c".")?;
        unmount(c".", UnmountFlags::DETACH)?;
        Ok(())
    }

    #[expect(unsafe_code, reason = "unshare can pull file descriptors from under a program's feet")]
    fn unshare(&self) -> io::Result<()> {
        let own = UnshareFlags::NEWNS | UnshareFlags::NEWIPC;
        let user = self.user_maps.as_ref().map_or(UnshareFlags::empty(), |_| UnshareFlags::NEWUSER);
        // SAFETY: descriptors stay shared; this process has a single thread.
        unsafe { unshare_unsafe(own | user) }?;
        for (file, text) in self.user_maps.iter().flatten() {
            let file = openat(CWD, *file, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
            rustix::io::write(&file, text)?;
        }
        Ok(())
    }

    /// A view of the processes in which others cannot be seen; the machine's own where that is not allowed.
    fn mount_proc(&self) -> io::Result<()> {
        let harmless = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
        match mount(c"proc", &self.proc, c"proc", harmless, c"hidepid=2") {
            Err(_) => Ok(mount_bind_recursive(c"/proc", &self.proc)?),
            Ok(()) => Ok(()),
        }
    }
}

impl Step {
    fn perform(&self) -> io::Result<()> {
        let made = match self {
            Self::Folder(at) => mkdirat(CWD, at, Mode::from_raw_mode(0o755)),
            Self::File(at) => {
                let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::CLOEXEC;
                openat(CWD, at, flags, Mode::from_raw_mode(0o644)).map(drop)
            }
            Self::Link { to, at } => symlinkat(to, CWD, at),
            Self::Bind { from, at } => mount_bind_recursive(from, at),
        };
        match made {
            Err(Errno::EXIST) | Ok(()) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

struct Plan {
    root: PathBuf,
    folders: BTreeSet<PathBuf>,
    steps: Vec<Step>,
}

impl Plan {
    /// Where a path will stand until the root is changed.
    fn inside(&self, path: &Path) -> io::Result<CString> {
        c_path(&self.root.join(path.strip_prefix("/").unwrap_or(path)))
    }

    fn parents(&mut self, path: &Path) -> io::Result<()> {
        match path.parent() {
            Some(parent) => self.folder(parent),
            None => Ok(()),
        }
    }

    fn folder(&mut self, path: &Path) -> io::Result<()> {
        let mut missing: Vec<&Path> =
            path.ancestors().take_while(|folder| !self.folders.contains(*folder)).collect();
        while let Some(folder) = missing.pop() {
            self.folders.insert(folder.to_owned());
            if folder != Path::new("/") {
                self.steps.push(Step::Folder(self.inside(folder)?));
            }
        }
        Ok(())
    }

    fn bind(&mut self, path: &Path) -> io::Result<()> {
        if path.is_dir() {
            self.folder(path)?;
        } else {
            self.parents(path)?;
            self.steps.push(Step::File(self.inside(path)?));
        }
        self.steps.push(Step::Bind { from: c_path(path)?, at: self.inside(path)? });
        Ok(())
    }
}

fn c_path(path: &Path) -> io::Result<CString> {
    CString::new(path.as_os_str().as_bytes()).map_err(io::Error::other)
}

/// Sets attributes of a mount, and of all below it. Unlike a remount this leaves the others as they are,
/// which a user namespace must not clear.
#[expect(unsafe_code, reason = "rustix does not know mount_setattr")]
fn set_attributes(at: &CString, attributes: u64, below: bool) -> io::Result<()> {
    // SAFETY: all zeroes is a valid value of this structure of integers.
    let mut wish: libc::mount_attr = unsafe { std::mem::zeroed() };
    wish.attr_set = attributes;
    let flags = if below { libc::AT_RECURSIVE } else { 0 };
    // SAFETY: both pointers live until the call is over, and the size is that of the structure.
    let answer = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            libc::AT_FDCWD,
            at.as_ptr(),
            flags,
            &raw const wish,
            size_of::<libc::mount_attr>(),
        )
    };
    if answer == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
