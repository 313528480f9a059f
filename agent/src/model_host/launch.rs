//! Between `fork` and `exec`: what makes a child process die with the agent and live in its sandbox.

use std::{fs::File, io, os::unix::process::CommandExt, process::Command, sync::Arc};

use rustix::{
    io::{FdFlags, fcntl_setfd},
    process::{Pid, Signal, getppid, set_parent_process_death_signal},
};

use crate::sandbox::Entry;

/// Makes `command` start in a process group of its own, inside the sandbox. With `parent`, the
/// child is killed as soon as the *thread* that spawned it ends, however that happens; it must be
/// spawned by a thread that lives as long as the agent, which the main thread does.
#[expect(
    unsafe_code,
    reason = "the only way to run code in the child before its program is loaded"
)]
pub fn inside(command: &mut Command, mut entry: Entry, parent: Option<Pid>) {
    command.process_group(0);
    let enter = move || {
        entry.enter()?;
        if parent.is_some() {
            set_parent_process_death_signal(Some(Signal::KILL))?;
            // The agent may have died just before: then nobody would ever send the signal.
            if getppid() != parent {
                return Err(io::Error::from_raw_os_error(libc::ESRCH));
            }
        }
        Ok(())
    };
    // SAFETY: the closure makes only system calls (write, sched_setaffinity, prctl, getppid) on
    // values that were made before the fork; it neither allocates nor takes locks.
    unsafe {
        command.pre_exec(enter);
    }
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
