//! Landlock: which files a model host may open, by the kernel's own check of every access.
//!
//! Newer kernels restrict more (TCP, signals, abstract sockets, ioctl on devices); what this one knows
//! is used.

use std::{
    ffi::CStr,
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
};

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, Ruleset, RulesetAttr,
    RulesetCreatedAttr, Scope, make_bitflags, path_beneath_rules,
};
use rustix::{
    fs::{CWD, Mode, OFlags, openat},
    io::Errno,
};

use super::world::{Use, World};

/// The newest rules that are asked for; the kernel's own are used as far as they go.
const NEWEST: ABI = ABI::V6;

/// Of `/proc`: the process itself and what is the whole machine's, but no other process.
const PROCESS_FILES: &[(&CStr, BitFlags<AccessFs>)] = {
    const FILE: BitFlags<AccessFs> = make_bitflags!(AccessFs::{ReadFile});
    const FOLDER: BitFlags<AccessFs> = make_bitflags!(AccessFs::{ReadFile | ReadDir});
    &[
        (c"/proc/self", FOLDER),
        (c"/proc/sys", FOLDER),
        (c"/proc/driver", FOLDER),
        (c"/proc/cpuinfo", FILE),
        (c"/proc/devices", FILE),
        (c"/proc/filesystems", FILE),
        (c"/proc/meminfo", FILE),
        (c"/proc/modules", FILE),
        (c"/proc/stat", FILE),
        (c"/proc/version", FILE),
    ]
};

/// Rules that were made, and are not in force yet.
#[derive(Debug)]
pub(super) struct AccessRules {
    ruleset: OwnedFd,
}

impl AccessRules {
    /// Whether this kernel has Landlock, and it is switched on.
    pub(super) fn exist() -> bool {
        let strict = Ruleset::default().set_compatibility(CompatLevel::HardRequirement);
        let read = strict.handle_access(AccessFs::from_all(ABI::V1));
        read.and_then(Ruleset::create).is_ok()
    }

    /// Opens what may be used.
    pub(super) fn plan(world: &World) -> io::Result<Self> {
        let mut rules = Ruleset::default()
            .set_compatibility(CompatLevel::BestEffort)
            .handle_access(AccessFs::from_all(NEWEST))
            .and_then(|rules| rules.handle_access(AccessNet::from_all(NEWEST)))
            .and_then(|rules| rules.scope(Scope::from_all(NEWEST)))
            .and_then(Ruleset::create)
            .map_err(io::Error::other)?;
        for (usage, access) in [
            (Use::Read, AccessFs::ReadFile | AccessFs::ReadDir),
            (Use::Execute, AccessFs::ReadFile | AccessFs::ReadDir | AccessFs::Execute),
            (Use::Device, AccessFs::ReadFile | AccessFs::WriteFile | AccessFs::IoctlDev),
            (Use::Scratch, scratch()),
        ] {
            let paths = world.used_for(usage);
            rules = rules.add_rules(path_beneath_rules(paths, access)).map_err(io::Error::other)?;
        }
        let ruleset: Option<OwnedFd> = rules.into();
        let ruleset = ruleset.ok_or(io::ErrorKind::Unsupported)?;
        Ok(Self { ruleset })
    }

    /// Puts the rules in force for the calling thread and all that it becomes.
    pub(super) fn enforce(&self) -> io::Result<()> {
        // The namespace has a /proc of its own, which nobody outside could open.
        for (path, access) in PROCESS_FILES {
            match openat(CWD, *path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()) {
                Ok(found) => allow_beneath(&self.ruleset, found.as_fd(), access.bits())?,
                Err(Errno::NOENT) => {}
                Err(error) => return Err(error.into()),
            }
        }
        restrict_self(&self.ruleset)
    }
}

/// All but programs and device files.
fn scratch() -> BitFlags<AccessFs> {
    AccessFs::from_all(NEWEST)
        & !(AccessFs::Execute | AccessFs::MakeChar | AccessFs::MakeBlock | AccessFs::IoctlDev)
}

/// `struct landlock_path_beneath_attr` of landlock(7).
#[repr(C, packed)]
struct PathBeneath {
    allowed_access: u64,
    parent_fd: i32,
}

/// Of landlock(7).
const RULE_PATH_BENEATH: i32 = 1;

#[expect(unsafe_code, reason = "the crate cannot add a rule between fork and exec: it allocates")]
fn allow_beneath(ruleset: &OwnedFd, folder: BorrowedFd<'_>, access: u64) -> io::Result<()> {
    let rule = PathBeneath { allowed_access: access, parent_fd: folder.as_raw_fd() };
    // SAFETY: the pointer is to a structure of the kernel's layout that lives until the call is over.
    let answer = unsafe {
        libc::syscall(
            libc::SYS_landlock_add_rule,
            ruleset.as_raw_fd(),
            RULE_PATH_BENEATH,
            &raw const rule,
            0_u32,
        )
    };
    if answer == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[expect(unsafe_code, reason = "the crate cannot restrict between fork and exec: it allocates")]
fn restrict_self(ruleset: &OwnedFd) -> io::Result<()> {
    // SAFETY: two plain integers.
    let answer =
        unsafe { libc::syscall(libc::SYS_landlock_restrict_self, ruleset.as_raw_fd(), 0_u32) };
    if answer == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
