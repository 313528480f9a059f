//! Who a model host is, and what it may not do even so.

use std::{fs, io};

use rustix::{
    process::{Gid, Resource, Rlimit, Uid, geteuid, getrlimit, setrlimit},
    thread::{
        CapabilitySet, CapabilitySets, clear_ambient_capability_set, set_capabilities,
        set_no_new_privs, set_thread_groups, set_thread_res_gid, set_thread_res_uid,
    },
};

/// The first of the ids that hosts get: far above those of people, services and containers. Each agent
/// adds its own process id, so that hosts of two agents on one machine cannot signal each other.
const FIRST_ID: u32 = 0x6100_0000;
/// `nobody`: within a user namespace of 65536 ids, as containers have, those above do not exist.
const NOBODY: u32 = 65_534;

/// Sockets, one for each connection of the load generator.
const MOST_FILES: u64 = 1 << 16;
/// Threads of its user: workers times intra-op threads on the largest machines, and room to spare.
const MOST_THREADS: u64 = 1 << 14;

/// A user that owns nothing on this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OwnUser {
    uid: Uid,
    gid: Gid,
}

impl OwnUser {
    /// The one for the hosts of this agent; none where the agent is not root.
    pub(super) fn for_this_agent() -> Option<Self> {
        if !geteuid().is_root() {
            return None;
        }
        let read = |file| fs::read_to_string(file).unwrap_or_default();
        let id = id_within(
            FIRST_ID.saturating_add(std::process::id()),
            &[read("/proc/self/uid_map"), read("/proc/self/gid_map")],
        );
        Some(Self { uid: Uid::from_raw(id), gid: Gid::from_raw(id) })
    }

    /// Its id, for files that are to belong to it.
    pub(super) fn ids(self) -> (Uid, Gid) {
        (self.uid, self.gid)
    }

    /// Whether files of this id can only be a host's, of this agent or of another.
    pub(super) fn is_a_hosts(uid: u32) -> bool {
        (FIRST_ID..FIRST_ID + (1 << 22)).contains(&uid) || uid == NOBODY
    }

    /// Makes the calling process this user, for good.
    pub(super) fn become_it(self) -> io::Result<()> {
        set_thread_groups(&[])?;
        set_thread_res_gid(self.gid, self.gid, self.gid)?;
        set_thread_res_uid(self.uid, self.uid, self.uid)?;
        Ok(())
    }
}

/// The wished id where all maps have it, `nobody` where not.
fn id_within(wished: u32, maps: &[String]) -> u32 {
    let has = |map: &String| {
        map.lines().any(|line| {
            let mut numbers = line.split_ascii_whitespace().map_while(|n| n.parse::<u64>().ok());
            let (first, _outside, count) = (numbers.next(), numbers.next(), numbers.next());
            let range = first.zip(count).map(|(first, count)| first..first.saturating_add(count));
            range.is_some_and(|range| range.contains(&u64::from(wished)))
        })
    };
    if maps.iter().all(has) { wished } else { NOBODY }
}

/// Gives up every capability and the way to any: set-user-id programs give none from here on.
pub(super) fn give_up() -> io::Result<()> {
    // It fails where there is nothing to give up.
    let _ = clear_ambient_capability_set();
    let none = CapabilitySet::empty();
    set_capabilities(None, CapabilitySets { effective: none, permitted: none, inheritable: none })?;
    set_no_new_privs(true)?;
    Ok(())
}

/// Gives up what the programs of root could have. Without the privilege to do so there is none to give up.
#[expect(unsafe_code, reason = "the numbers of capabilities that this program does not know")]
pub(super) fn drop_bounding_set() {
    for number in 0..64_u64 {
        // SAFETY: prctl takes plain integers here; an unknown number is refused.
        unsafe { libc::prctl(libc::PR_CAPBSET_DROP, number, 0_u64, 0_u64, 0_u64) };
    }
}

/// Limits that hold for every process, by `setrlimit`.
#[derive(Clone, Copy, Debug)]
pub(super) struct ResourceLimits {
    largest_file_bytes: u64,
    /// The limit counts all threads of a user: only a user of its own can be held to one.
    threads: bool,
}

impl ResourceLimits {
    pub(super) fn new(largest_file_bytes: u64, threads: bool) -> Self {
        Self { largest_file_bytes, threads }
    }

    pub(super) fn set(self) -> io::Result<()> {
        lower(Resource::Core, 0)?;
        lower(Resource::Fsize, self.largest_file_bytes)?;
        lower(Resource::Nofile, MOST_FILES)?;
        if self.threads {
            lower(Resource::Nproc, MOST_THREADS)?;
        }
        fail_beyond_the_largest_file();
        Ok(())
    }
}

/// Sets both limits to `most`, or to what the process is held to already.
fn lower(resource: Resource, most: u64) -> io::Result<()> {
    let hard = getrlimit(resource).maximum.map_or(most, |hard| hard.min(most));
    setrlimit(resource, Rlimit { current: Some(hard), maximum: Some(hard) })?;
    Ok(())
}

/// A write beyond the limit is an error for whoever writes, and not the end of the process.
#[expect(unsafe_code, reason = "signal is a C function")]
fn fail_beyond_the_largest_file() {
    // SAFETY: ignoring a signal installs no handler.
    unsafe { libc::signal(libc::SIGXFSZ, libc::SIG_IGN) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_that_a_container_does_not_have_is_nobody() {
        let all = "         0          0 4294967295\n".to_owned();
        let container = "0 100000 65536\n".to_owned();
        let two = "0 1000 1\n1 1627389952 100000\n".to_owned();
        assert_eq!(id_within(FIRST_ID + 7, &[all.clone(), all.clone()]), FIRST_ID + 7);
        assert_eq!(id_within(FIRST_ID + 7, &[all, container]), NOBODY);
        assert_eq!(id_within(5, std::slice::from_ref(&two)), 5);
        assert_eq!(id_within(FIRST_ID, &[two]), NOBODY);
        assert_eq!(id_within(FIRST_ID, &[String::new()]), NOBODY);
        assert!(OwnUser::is_a_hosts(FIRST_ID + 4) && !OwnUser::is_a_hosts(1000));
    }
}
