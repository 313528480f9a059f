//! The processes that a host started, where no filter of system calls keeps it from starting any.
//!
//! The agent becomes the parent of whatever a host leaves behind, in its process group or in a session of
//! its own, and ends it.

use std::{collections::BTreeSet, fs, io};

use rustix::process::{
    Pid, Signal, WaitOptions, getpid, kill_process, set_child_subreaper, waitpid,
};

use crate::hardware::proc_files;

/// A process that forks faster than it is ended loses after so many rounds, or is left to the kernel.
const MOST_ROUNDS: usize = 1000;

/// Knows which children of this process are not a host's.
#[derive(Debug)]
pub(crate) struct Descendants {
    others: BTreeSet<i32>,
}

impl Descendants {
    /// Adopts from here on, before a host is started.
    ///
    /// # Errors
    /// When the kernel does not know how.
    pub(crate) fn adopt() -> io::Result<Self> {
        set_child_subreaper(Some(getpid()))?;
        Ok(Self { others: children().map(|pid| pid.as_raw_nonzero().get()).collect() })
    }

    /// Ends all that a host left behind that is gone itself.
    pub(crate) fn end(&self) {
        for _ in 0..MOST_ROUNDS {
            let mut left = false;
            for child in children() {
                if self.others.contains(&child.as_raw_nonzero().get()) {
                    continue;
                }
                left = true;
                // Gone already is as good. Its own children become ours, for the next round.
                let _ = kill_process(child, Signal::KILL);
                let _ = waitpid(Some(child), WaitOptions::empty());
            }
            if !left {
                return;
            }
        }
        tracing::warn!("a model host left processes that do not end");
    }
}

/// The children of this process, whichever of its threads started them.
fn children() -> impl Iterator<Item = Pid> {
    let own = std::process::id();
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let ids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    ids.filter(move |id| {
        let stat = fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
        proc_files::process_stat(&stat).is_some_and(|stat| stat.parent == own)
    })
    .filter_map(Pid::from_raw)
}
