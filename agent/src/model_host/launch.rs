//! Between `fork` and `exec`: what makes a child process die with the agent, live within its limits and see
//! nothing but its own.

use std::{fs::File, io, os::unix::process::CommandExt, process::Command, sync::Arc};

use rustix::{
    io::{FdFlags, fcntl_setfd},
    process::{Pid, Signal, getppid, set_parent_process_death_signal},
};

use crate::{confinement, sandbox};

/// Makes `command` start in a process group of its own, inside the sandbox and confined. With `parent`, the
/// child is killed as soon as the *thread* that spawned it ends, however that happens; it must be
/// spawned by a thread that lives as long as the agent, which the main thread does. It inherits no
/// descriptors but those of [`inheriting`], which is to be called after this.
#[expect(
    unsafe_code,
    reason = "the only way to run code in the child before its program is loaded"
)]
pub fn inside(
    command: &mut Command,
    mut limits: sandbox::Entry,
    mut confinement: Option<confinement::Entry>,
    parent: Option<Pid>,
) {
    command.process_group(0);
    let enter = move || {
        limits.enter()?;
        inherit_nothing();
        if let Some(confinement) = &mut confinement {
            confinement.enter()?;
        }
        if parent.is_some() {
            // Not before this: a change of user takes it back.
            set_parent_process_death_signal(Some(Signal::KILL))?;
            // The agent may have died just before: then nobody would ever send the signal.
            if getppid() != parent {
                return Err(io::Error::from_raw_os_error(libc::ESRCH));
            }
        }
        confinement.as_mut().map_or(Ok(()), confinement::Entry::close)
    };
    // SAFETY: the closure makes only system calls on values that were made before the fork; it neither
    // allocates nor takes locks.
    unsafe {
        command.pre_exec(enter);
    }
}

/// Marks every descriptor but the standard streams to be closed when the program is loaded: what a library
/// of the agent's has left open is none of the host's. Kernels before 5.11 do not know the call; descriptors
/// of Rust programs are marked so in any case.
#[expect(unsafe_code, reason = "close_range is known to libc by its number only")]
fn inherit_nothing() {
    // SAFETY: plain integers; descriptors are marked, none is closed.
    unsafe { libc::syscall(libc::SYS_close_range, 3_u32, u32::MAX, libc::CLOSE_RANGE_CLOEXEC) };
}

/// Keeps a file open in `command`, and in no other child, under the number that it has here.
#[expect(
    unsafe_code,
    reason = "the only way to run code in the child before its program is loaded"
)]
pub fn inheriting(command: &mut Command, file: Arc<File>) {
    let keep_open = move || fcntl_setfd(&file, FdFlags::empty()).map_err(io::Error::from);
    // SAFETY: the closure makes one system call (fcntl) on a descriptor that was opened before the
    // fork and is held by the closure; it neither allocates nor takes locks.
    unsafe {
        command.pre_exec(keep_open);
    }
}
