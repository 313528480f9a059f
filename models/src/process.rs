//! What is set for the whole process: the memory allocator before anything else runs, where results go,
//! and how to leave.
#![expect(
    unsafe_code,
    reason = "mallopt, malloc_trim, dup2 and _exit are C functions, and an inherited descriptor is a number"
)]

use std::{
    fs::File,
    io::{self, Write},
    os::fd::{AsFd, FromRawFd, OwnedFd},
    process::ExitCode,
    sync::OnceLock,
};

use assay_measure::configuration::Allocator;
use serde::Serialize;

/// Freed memory is given back to the system only above this much at the top of the heap.
const TRIM_THRESHOLD_BYTES: i32 = 1 << 30;
/// Larger blocks are mapped on their own, and given back when freed.
const MMAP_THRESHOLD_BYTES: i32 = 1 << 30;
/// The heap grows by this much at a time.
const TOP_PAD_BYTES: i32 = 64 << 20;

/// Whether glibc took a setting.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct MallocSetting {
    /// Its name in mallopt(3).
    pub name: &'static str,
    pub bytes: i32,
    pub accepted: bool,
}

/// Sets glibc's malloc up; call it before any thread is started. Freed tensors then stay with the
/// process instead of being returned and faulted in again by the next forward pass, which costs small
/// models a quarter of their time. What the settings were is returned; nothing is set for
/// [`Allocator::Default`].
pub(crate) fn set_allocator(allocator: Allocator) -> Vec<MallocSetting> {
    match allocator {
        Allocator::Default => Vec::new(),
        Allocator::Tuned => [
            ("M_TRIM_THRESHOLD", libc::M_TRIM_THRESHOLD, TRIM_THRESHOLD_BYTES),
            ("M_MMAP_THRESHOLD", libc::M_MMAP_THRESHOLD, MMAP_THRESHOLD_BYTES),
            ("M_TOP_PAD", libc::M_TOP_PAD, TOP_PAD_BYTES),
        ]
        .into_iter()
        .map(|(name, parameter, bytes)| {
            // SAFETY: mallopt takes two plain integers and may be called at any time.
            let accepted = unsafe { libc::mallopt(parameter, bytes) } == 1;
            MallocSetting { name, bytes, accepted }
        })
        .collect(),
    }
}

/// Returns free memory to the system, which those settings keep from happening by itself.
pub(crate) fn give_back_free_memory() {
    // SAFETY: malloc_trim takes a plain integer and may be called at any time.
    unsafe { libc::malloc_trim(0) };
}

/// Takes a descriptor that whoever started this process left open for it. Each may be taken once.
/// It is no standard stream's.
pub(crate) fn inherited(number: i32) -> io::Result<OwnedFd> {
    // SAFETY: F_GETFD looks a number up and changes nothing.
    if number <= libc::STDERR_FILENO || unsafe { libc::fcntl(number, libc::F_GETFD) } < 0 {
        return Err(io::Error::from_raw_os_error(libc::EBADF));
    }
    // SAFETY: it is open, and by the contract of the flag that names it nobody else in this process owns it.
    let descriptor = unsafe { OwnedFd::from_raw_fd(number) };
    rustix::io::fcntl_setfd(&descriptor, rustix::io::FdFlags::CLOEXEC)?;
    Ok(descriptor)
}

/// The standard output that this process was started with.
static RESULTS: OnceLock<File> = OnceLock::new();

/// Keeps the standard output for results: whatever else in this process writes there, such as a model that
/// prints or an operator in native code, writes to the standard error from now on.
/// When the system refuses, as it does when there is no standard output, nothing has changed.
pub(crate) fn keep_stdout_for_results() -> io::Result<()> {
    if RESULTS.get().is_none() {
        let kept = File::from(io::stdout().as_fd().try_clone_to_owned()?);
        // SAFETY: dup2 takes two plain numbers; nobody in this process owns either of them.
        if unsafe { libc::dup2(libc::STDERR_FILENO, libc::STDOUT_FILENO) } < 0 {
            return Err(io::Error::last_os_error());
        }
        // Only this function sets it, before any thread is started.
        drop(RESULTS.set(kept));
    }
    crate::torch::print_to_stderr();
    Ok(())
}

pub(crate) fn results() -> Box<dyn Write> {
    match RESULTS.get() {
        Some(kept) => Box::new(kept),
        None => Box::new(io::stdout()),
    }
}

/// Ends the process at once, output flushed. Returning from `main` would run libtorch's destructors
/// while a worker may still be inside a model that hangs, and crash.
pub fn leave(code: u8) -> ExitCode {
    // Nobody is left to tell when this fails.
    drop(io::stdout().flush());
    drop(io::stderr().flush());
    // SAFETY: ends the process without running anything else of it.
    unsafe { libc::_exit(i32::from(code)) }
}
