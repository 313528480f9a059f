//! Whose something is that an agent leaves when it is killed: the name carries its process.

use std::{
    fs::{self, DirEntry},
    path::Path,
};

use crate::hardware::proc_files;

/// An agent process: its id, and when it was started, since ids are used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Owner {
    pub(crate) process: u32,
    pub(crate) started: u64,
}

impl Owner {
    pub(crate) fn this() -> Self {
        let process = std::process::id();
        Self { process, started: started(process).unwrap_or(0) }
    }

    /// As a part of a name: process and start time.
    pub(crate) fn text(self) -> String {
        format!("{}-{}", self.process, self.started)
    }

    /// From the part of a name after its prefix: process, start time, number.
    pub(crate) fn read(text: &str) -> Option<Self> {
        let mut parts = text.split('-');
        let owner =
            Self { process: parts.next()?.parse().ok()?, started: parts.next()?.parse().ok()? };
        parts.next()?.parse::<u32>().ok()?;
        parts.next().is_none().then_some(owner)
    }

    /// Whether that process still runs.
    pub(crate) fn lives(self) -> bool {
        started(self.process) == Some(self.started)
    }
}

/// The entries of a folder whose names are `prefix` and an owner that is gone.
pub(crate) fn left_by_the_dead(folder: &Path, prefix: &str) -> impl Iterator<Item = DirEntry> {
    fs::read_dir(folder).into_iter().flatten().flatten().filter(move |entry| {
        let name = entry.file_name();
        let owner = name.to_str().and_then(|name| name.strip_prefix(prefix)).and_then(Owner::read);
        owner.is_some_and(|owner| !owner.lives())
    })
}

fn started(process: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    proc_files::process_stat(&stat).map(|stat| stat.started)
}
