//! What keeps a model in: it is somebody else's code, and the agent's machine is not theirs.
//!
//! A model host sees its program and libraries, the model, and one scratch folder; it runs as a user of
//! its own where the agent is root, without capabilities or the means to get any, cannot start
//! processes, open sockets or look into others, and has an environment of its own. Each protection is
//! used where this machine has it ([`means`]), and every result says which were in force.
//!
//! The plan is made before the fork and only performed after it ([`Entry`]): between `fork` and `exec`
//! there are system calls and nothing else.

pub mod means;
pub mod private_folder;

mod access_rules;
pub(crate) mod descendants;
mod libraries;
mod namespace;
mod privileges;
mod system_calls;
mod world;

use std::{
    ffi::CString,
    fs::File,
    io,
    os::unix::{ffi::OsStrExt, fs::FileExt},
    path::{Path, PathBuf},
    sync::Arc,
};

use assay_measure::{configuration::Device, hardware::LimitInForce};
use rustix::{
    fs::{MemfdFlags, memfd_create},
    process::chdir,
};
use thiserror::Error;

use self::{
    access_rules::AccessRules,
    means::Means,
    namespace::Namespace,
    private_folder::PrivateFolder,
    privileges::{OwnUser, ResourceLimits},
    system_calls::{Binding, SystemCallFilter, Uses},
    world::World,
};

/// What a host is given to see.
#[derive(Clone, Copy, Debug)]
pub struct Needs<'a> {
    pub program: &'a Path,
    /// Files that it reads: the model, bodies to compare over.
    pub files: &'a [&'a Path],
    pub operator_libraries: &'a [PathBuf],
    pub device: Device,
    /// Nothing but its affinity holds it to its processors.
    pub held_by_affinity: bool,
    /// The largest file that it may write, in bytes.
    pub largest_file_bytes: u64,
}

/// Everything that is done to keep one host in.
#[derive(Debug)]
pub struct Confinement {
    namespace: Option<Namespace>,
    user: Option<OwnUser>,
    must_reach: Vec<world::Reach>,
    rules: Option<AccessRules>,
    filter: Option<SystemCallFilter>,
    resources: ResourceLimits,
    home: CString,
    in_force: Vec<LimitInForce>,
}

impl Confinement {
    /// Plans it with the means that this machine has.
    ///
    /// # Errors
    /// When the host's own files cannot be found or opened.
    pub fn plan(means: &Means, needs: &Needs<'_>, folder: &PrivateFolder) -> io::Result<Self> {
        let world = World::of(needs, folder)?;
        let cuda = matches!(needs.device, Device::Cuda(_));
        let namespace = means.namespace.map(|kind| Namespace::plan(kind, &world)).transpose()?;
        let rules = means.landlock.then(|| AccessRules::plan(&world)).transpose()?;
        let user = means.user.filter(|user| folder.user() == Some(*user));
        let uses = Uses {
            unix_sockets: cuda,
            binding: match (needs.held_by_affinity, user) {
                (true, _) => Binding::None,
                (false, None) => Binding::OwnThread,
                (false, Some(_)) => Binding::Free,
            },
        };
        Ok(Self {
            namespace,
            user,
            must_reach: world.must_reach(),
            rules,
            filter: means.filter.then(|| SystemCallFilter::plan(uses)).transpose()?,
            resources: ResourceLimits::new(needs.largest_file_bytes, user.is_some()),
            home: CString::new(folder.scratch().as_os_str().as_bytes())
                .map_err(io::Error::other)?,
            in_force: Means { user, ..*means }.protections(),
        })
    }

    /// The protections that hold for a process inside.
    #[must_use]
    pub fn in_force(&self) -> &[LimitInForce] {
        &self.in_force
    }

    /// The way in, for one child process.
    ///
    /// # Errors
    /// When the system has no memory to tell in.
    pub fn entry(self) -> io::Result<(Entry, Watch)> {
        let memory = Arc::new(File::from(memfd_create("assay-entry", MemfdFlags::CLOEXEC)?));
        let watch = Watch { memory: Arc::clone(&memory) };
        Ok((Entry { confinement: self, memory }, watch))
    }
}

/// A step on the way in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Step {
    /// Limits on files and threads.
    Resources = 1,
    Namespace,
    User,
    /// Whether that user gets at what it needs.
    Reach,
    Privileges,
    AccessRules,
    /// The filter of system calls.
    Filter,
    Done,
}

impl Step {
    const ALL: [(Self, &'static str); 8] = [
        (Self::Resources, "limiting its resources"),
        (Self::Namespace, "setting up its mount namespace"),
        (Self::User, "changing to a user of its own"),
        (Self::Reach, "looking for its files as a user of its own"),
        (Self::Privileges, "giving up privileges"),
        (Self::AccessRules, "restricting it with Landlock"),
        (Self::Filter, "filtering its system calls"),
        (Self::Done, "loading its program"),
    ];
}

/// What a child process does between `fork` and `exec`.
#[derive(Debug)]
pub struct Entry {
    confinement: Confinement,
    memory: Arc<File>,
}

impl Entry {
    /// All but the last step. Only system calls: safe between `fork` and `exec`.
    ///
    /// # Errors
    /// What the kernel answers; [`Watch::failed_at`] knows the step.
    pub fn enter(&mut self) -> io::Result<()> {
        let confinement = &self.confinement;
        self.at(Step::Resources)?;
        confinement.resources.set()?;
        if let Some(namespace) = &confinement.namespace {
            self.at(Step::Namespace)?;
            namespace.enter()?;
        }
        chdir(&confinement.home)?;
        // While it still has the capability that this takes.
        privileges::drop_bounding_set();
        if let Some(user) = confinement.user {
            self.at(Step::User)?;
            user.become_it()?;
            self.at(Step::Reach)?;
            confinement.must_reach.iter().try_for_each(world::Reach::check)?;
        }
        self.at(Step::Privileges)?;
        privileges::give_up()?;
        if let Some(rules) = &confinement.rules {
            self.at(Step::AccessRules)?;
            rules.enforce()?;
        }
        self.at(Step::Filter)
    }

    /// The last step: from here on the process can do no more than a model host does.
    ///
    /// # Errors
    /// As [`Entry::enter`].
    pub fn close(&mut self) -> io::Result<()> {
        if let Some(filter) = &self.confinement.filter {
            filter.install()?;
        }
        self.at(Step::Done)
    }

    fn at(&self, step: Step) -> io::Result<()> {
        self.memory.write_all_at(&[step as u8], 0)
    }
}

/// Sees from outside how far a child process came.
#[derive(Debug)]
pub struct Watch {
    memory: Arc<File>,
}

/// A child process did not get inside.
#[derive(Debug, Error)]
#[error("{during} failed")]
pub struct NotConfined {
    pub step: Option<Step>,
    during: &'static str,
    #[source]
    source: io::Error,
}

impl Watch {
    /// The step at which it failed with `source`; absent when it never began.
    #[must_use]
    pub fn failed_at(&self, source: io::Error) -> NotConfined {
        let mut reached = [0];
        // Nothing written is nothing begun.
        let read = self.memory.read_exact_at(&mut reached, 0);
        let found = Step::ALL.iter().find(|(step, _)| read.is_ok() && *step as u8 == reached[0]);
        match found {
            Some((step, during)) => NotConfined { step: Some(*step), during, source },
            None => NotConfined { step: None, during: "starting a process", source },
        }
    }
}
