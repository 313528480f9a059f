//! What this machine has to keep a model in, found out by trying.

use std::{io, os::unix::process::CommandExt, process::Command};

use assay_measure::hardware::LimitInForce;

use super::{
    access_rules::AccessRules,
    namespace::{Kind, Namespace},
    private_folder::PrivateFolder,
    privileges::{self, OwnUser},
    system_calls::{SystemCallFilter, Uses},
    world::World,
};

/// The protections that can be had. By default none that has to be found out: only what every host gets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Means {
    pub namespace: Option<Kind>,
    /// The user that a host gets, if it gets one of its own.
    pub user: Option<OwnUser>,
    pub landlock: bool,
    /// Of system calls: it keeps a host from starting processes.
    pub filter: bool,
}

impl Means {
    /// Those that this process has: each is tried once by a child that ends right after.
    #[must_use]
    pub fn of_this_process() -> Self {
        let kind =
            if rustix::process::geteuid().is_root() { Kind::Privileged } else { Kind::OfUser };
        let namespace = is_available("mount namespace", try_namespace(kind)).then_some(kind);
        let user = OwnUser::for_this_agent();
        let user = user.filter(|&user| is_available("own user", try_out(move || user.become_it())));
        let filter = is_available("system call filter", try_filter());
        Self { namespace, user, landlock: AccessRules::exist(), filter }
    }

    /// What holds for a host that is started with them.
    #[must_use]
    pub fn protections(&self) -> Vec<LimitInForce> {
        let maybe = [
            (self.user.is_some(), LimitInForce::OwnUser),
            (true, LimitInForce::NoPrivileges),
            (self.namespace.is_some(), LimitInForce::MountNamespace),
            (self.landlock, LimitInForce::Landlock),
            (self.filter, LimitInForce::SystemCallFilter),
            (true, LimitInForce::ResourceLimits),
        ];
        maybe.into_iter().filter_map(|(holds, limit)| holds.then_some(limit)).collect()
    }

    /// Whether the host's files are out of reach of what they hold: by namespace or by Landlock.
    #[must_use]
    pub fn keep_files(&self) -> bool {
        self.namespace.is_some() || self.landlock
    }
}

fn is_available(what: &str, tried: io::Result<()>) -> bool {
    if let Err(error) = &tried {
        tracing::debug!(what, %error, "not to be had here");
    }
    tried.is_ok()
}

fn try_namespace(kind: Kind) -> io::Result<()> {
    let folder = PrivateFolder::create(None)?;
    let namespace = Namespace::plan(kind, &World::of_the_system(&folder))?;
    try_out(move || namespace.enter())
}

fn try_filter() -> io::Result<()> {
    let filter = SystemCallFilter::plan(Uses::default())?;
    try_out(move || {
        privileges::give_up()?;
        filter.install()
    })
}

/// Performs something in a child process that never becomes a program: what worked is told by an error
/// that nothing else gives.
#[expect(unsafe_code, reason = "the only way to run code in a child and in nothing else")]
fn try_out(attempt: impl Fn() -> io::Result<()> + Send + Sync + 'static) -> io::Result<()> {
    const WORKED: i32 = libc::ENOTNAM;
    let mut command = Command::new("/proc/self/exe");
    // SAFETY: `attempt` makes only system calls on values made before the fork.
    unsafe {
        command.pre_exec(move || {
            attempt()?;
            Err(io::Error::from_raw_os_error(WORKED))
        });
    }
    match command.spawn() {
        Err(error) if error.raw_os_error() == Some(WORKED) => Ok(()),
        Err(error) => Err(error),
        Ok(mut child) => {
            // It cannot come to this: the child ends before a program is loaded.
            let _ = child.kill();
            let _ = child.wait();
            Err(io::Error::other("a child that was only to try went on"))
        }
    }
}
