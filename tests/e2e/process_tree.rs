//! Processes and sockets as the kernel lists them.

use std::{collections::HashSet, fs, path::PathBuf};

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Process {
    pub(crate) pid: u32,
    pub(crate) name: String,
}

/// Everything below a process, however deep.
pub(crate) fn descendants(pid: u32) -> Vec<Process> {
    let all = every_process();
    let mut found = Vec::new();
    let mut parents = HashSet::from([pid]);
    loop {
        let next: Vec<_> = all
            .iter()
            .filter(|(process, parent)| parents.contains(parent) && !parents.contains(&process.pid))
            .map(|(process, _)| process.clone())
            .collect();
        if next.is_empty() {
            return found;
        }
        parents.extend(next.iter().map(|process| process.pid));
        found.extend(next);
    }
}

/// Whether a process exists and is not a mere zombie.
pub(crate) fn lives(pid: u32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| {
        !stat.rsplit(')').next().unwrap_or_default().trim_start().starts_with('Z')
    })
}

/// The local and remote addresses of a process's established TCP connections, in the kernel's notation.
pub(crate) fn established_connections(pid: u32) -> Vec<(String, String)> {
    let inodes: HashSet<String> = fs::read_dir(format!("/proc/{pid}/fd"))
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| fs::read_link(entry.path()).ok())
        .filter_map(socket_inode)
        .collect();
    let table = fs::read_to_string("/proc/net/tcp").unwrap_or_default();
    table
        .lines()
        .skip(1)
        .map(|line| line.split_whitespace().collect::<Vec<_>>())
        .filter(|fields| fields.len() > 9 && fields[3] == "01" && inodes.contains(fields[9]))
        .map(|fields| (fields[1].to_owned(), fields[2].to_owned()))
        .collect()
}

fn socket_inode(link: PathBuf) -> Option<String> {
    let link = link.into_os_string().into_string().ok()?;
    Some(link.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned())
}

fn every_process() -> Vec<(Process, u32)> {
    fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok())
        .filter_map(|pid| {
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
            let (head, tail) = stat.rsplit_once(')')?;
            let name = head.split_once('(')?.1.to_owned();
            let parent = tail.split_whitespace().nth(1)?.parse().ok()?;
            Some((Process { pid, name }, parent))
        })
        .collect()
}
