//! Holds the model host to the processors and the memory of an instance type.
//!
//! Control groups do it where this process may write them (version 2 or 1). Otherwise the CPU set is
//! the scheduler's affinity, and memory is watched by the agent, which kills the host once its
//! resident set outgrows the limit. `prlimit` on the address space is not used: libtorch and CUDA
//! reserve many times what they touch, so such a limit kills models that would fit. What was really
//! in force stands in every result.

pub mod cgroup;
pub mod mounts;
pub mod watchdog;

use std::{
    fs::File,
    io::{self, Write},
};

use assay_measure::{
    hardware::{LimitInForce, Shape},
    units::Bytes,
};
use rustix::thread::{CpuSet, sched_setaffinity};
use thiserror::Error;

use crate::{
    hardware::facts::Machine,
    sandbox::{
        cgroup::{Group, Restriction},
        mounts::Hierarchies,
    },
};

/// Who gets which processors, and how much memory the model may use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Allotment {
    pub model_cpus: Vec<u32>,
    /// The rest, for the harness. Empty when the model gets them all; the load generator then
    /// competes with the model, and its weight shows in the result.
    pub spare_cpus: Vec<u32>,
    /// Memory that the model may use.
    pub memory: Bytes,
    /// Whether anything is to be enforced: only when an instance type is emulated.
    pub enforced: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error(
    "an instance type of {} vCPU and {} does not fit this machine of {vcpus} vCPU and {memory}",
    wanted.vcpus,
    wanted.memory_bytes
)]
pub struct TooLarge {
    wanted: Shape,
    vcpus: u32,
    memory: Bytes,
}

impl Allotment {
    /// Divides `machine` for an emulated shape, or gives all of it to the model.
    ///
    /// # Errors
    /// [`TooLarge`] when the shape does not fit.
    pub fn of(machine: &Machine, emulated: Option<Shape>) -> Result<Self, TooLarge> {
        let Some(shape) = emulated else {
            return Ok(Self {
                model_cpus: machine.cpus.clone(),
                spare_cpus: Vec::new(),
                memory: machine.memory,
                enforced: false,
            });
        };
        let too_large = TooLarge { wanted: shape, vcpus: machine.vcpus(), memory: machine.memory };
        // The kernel keeps some per cent of the memory to itself, on the emulated machine as on this
        // one, so a "4 GiB" machine shows 3.8 GiB and still is one.
        let nominal = machine.memory.count().saturating_add(machine.memory.count() / 10);
        if shape.vcpus == 0 || shape.memory_bytes.count() > nominal {
            return Err(too_large);
        }
        let count = usize::try_from(shape.vcpus).unwrap_or(usize::MAX);
        let (model_cpus, spare_cpus) = machine.cpus.split_at_checked(count).ok_or(too_large)?;
        Ok(Self {
            model_cpus: model_cpus.to_vec(),
            spare_cpus: spare_cpus.to_vec(),
            memory: shape.memory_bytes,
            enforced: true,
        })
    }
}

/// The limits of one trial; dropping it removes what was set up.
#[derive(Debug)]
pub struct Sandbox {
    groups: Vec<Group>,
    affinity: Option<CpuSet>,
    watched_memory: Option<Bytes>,
    limits: Vec<LimitInForce>,
}

/// What a child process does between `fork` and `exec` to be inside. Holds open files only, so that
/// nothing there needs memory from the allocator.
#[derive(Debug)]
pub struct Entry {
    process_lists: Vec<File>,
    affinity: Option<CpuSet>,
}

impl Entry {
    /// Puts the calling process inside. Only system calls: safe between `fork` and `exec`.
    ///
    /// # Errors
    /// What the kernel answers.
    pub fn enter(&mut self) -> io::Result<()> {
        for list in &mut self.process_lists {
            // "0" is the process that writes.
            list.write_all(b"0")?;
        }
        if let Some(cpus) = &self.affinity {
            sched_setaffinity(None, cpus)?;
        }
        Ok(())
    }
}

impl Sandbox {
    /// Sets up the limits for one trial with the best means that work here.
    #[must_use]
    pub fn set_up(allotment: &Allotment, hierarchies: &Hierarchies) -> Self {
        let mut sandbox =
            Self { groups: Vec::new(), affinity: None, watched_memory: None, limits: Vec::new() };
        if !allotment.enforced {
            return sandbox;
        }
        let restriction = Restriction { cpus: &allotment.model_cpus, memory: allotment.memory };
        for (hierarchy, controllers) in hierarchies.for_limits() {
            match Group::create(hierarchy, &controllers, restriction) {
                Ok((group, in_force)) => {
                    sandbox.limits.extend(in_force);
                    sandbox.groups.push(group);
                }
                Err(error) => {
                    let directory = hierarchy.directory.display();
                    tracing::debug!(%directory, %error, "no control group");
                }
            }
        }
        if !sandbox.limits.contains(&LimitInForce::CpuSetCgroup) {
            sandbox.affinity = Some(cpu_set(&allotment.model_cpus));
            sandbox.limits.push(LimitInForce::CpuSetAffinity);
        }
        if !sandbox.limits.contains(&LimitInForce::MemoryCgroup) {
            sandbox.watched_memory = Some(allotment.memory);
            sandbox.limits.push(LimitInForce::MemoryWatchdog);
        }
        sandbox.limits.sort_unstable();
        sandbox
    }

    /// The limits that are in force for processes inside.
    #[must_use]
    pub fn limits_in_force(&self) -> &[LimitInForce] {
        &self.limits
    }

    /// The limit that the agent has to watch itself.
    #[must_use]
    pub fn watched_memory(&self) -> Option<Bytes> {
        self.watched_memory
    }

    /// Whether a process inside could give itself other processors.
    #[must_use]
    pub fn holds_by_affinity(&self) -> bool {
        self.affinity.is_some()
    }

    /// The way in, for the next child process.
    ///
    /// # Errors
    /// When a group has vanished meanwhile.
    pub fn entry(&self) -> io::Result<Entry> {
        let process_lists =
            self.groups.iter().map(Group::open_process_list).collect::<io::Result<_>>()?;
        Ok(Entry { process_lists, affinity: self.affinity })
    }

    /// Processes inside that the kernel killed for want of memory.
    #[must_use]
    pub fn oom_kills(&self) -> u64 {
        self.groups.iter().map(Group::oom_kills).sum()
    }
}

/// Processors as the scheduler takes them.
pub(crate) fn cpu_set(cpus: &[u32]) -> CpuSet {
    let mut set = CpuSet::new();
    for &cpu in cpus {
        let index = usize::try_from(cpu).unwrap_or(usize::MAX);
        if index < CpuSet::MAX_CPU {
            set.set(index);
        }
    }
    set
}

#[cfg(test)]
mod tests;
