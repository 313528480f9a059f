//! Where an instance type can be measured: on an agent of that type, by emulation, or not at all.

use std::num::NonZeroU32;

use assay_measure::{
    hardware::{HostFacts, Shape},
    ids::{EndpointName, InstanceTypeName, SpecificationName},
    job::{CandidateType, JobSpec},
    units::Bytes,
};

use super::{Placement, PlanError};
use crate::{
    catalogue::{Accelerators, Catalogue},
    fleet::AgentView,
    sweep::Room,
};

/// A place for one instance type of a job.
pub(super) struct Site {
    pub(super) name: InstanceTypeName,
    pub(super) shape: Shape,
    pub(super) placement: Placement,
    pub(super) foreign_architecture: bool,
    pub(super) warning: Option<String>,
    pub(super) specification: Option<SpecificationName>,
    cuda_gpus: u32,
}

impl Site {
    /// A place without GPUs of which there is nothing to say.
    fn new(wanted: &CandidateType, shape: Shape, placement: Placement) -> Self {
        Self {
            name: wanted.name.clone(),
            shape,
            placement,
            foreign_architecture: false,
            warning: None,
            specification: wanted.specification.as_ref().map(|one| one.name.clone()),
            cuda_gpus: 0,
        }
    }

    pub(super) fn is_emulated(&self) -> bool {
        matches!(self.placement, Placement::Emulated(_))
    }

    /// Types with a GPU differ by more than processors and memory.
    pub(super) fn may_share_trials(&self) -> bool {
        self.is_emulated() && self.cuda_gpus == 0
    }

    pub(super) fn room(&self) -> Room {
        let vcpus = NonZeroU32::new(self.shape.vcpus).unwrap_or(NonZeroU32::MIN);
        Room { vcpus, cuda_gpus: self.cuda_gpus }
    }
}

/// The places that a fleet offers to a job.
pub(super) struct Sites<'a> {
    job: &'a JobSpec,
    catalogue: &'a Catalogue,
    fleet: &'a [AgentView],
    agents: Vec<&'a AgentView>,
}

impl<'a> Sites<'a> {
    pub(super) fn new(job: &'a JobSpec, catalogue: &'a Catalogue, fleet: &'a [AgentView]) -> Self {
        let mut agents: Vec<_> = fleet.iter().filter(|agent| !agent.draining).collect();
        agents.sort_by_key(|agent| &agent.name);
        Self { job, catalogue, fleet, agents }
    }

    pub(super) fn nobody_is_there(&self) -> bool {
        self.agents.is_empty()
    }

    /// The instance types to measure, each once per environment: those asked for, or all that the fleet offers.
    pub(super) fn wanted(&self) -> Vec<CandidateType> {
        let offered =
            self.agents.iter().map(|agent| CandidateType::named(agent.instance_type.clone()));
        let asked: Vec<CandidateType> = if self.job.instance_types.is_empty() {
            offered.collect()
        } else {
            self.job.instance_types.clone()
        };
        let mut once: Vec<CandidateType> = Vec::new();
        for candidate_type in asked {
            let is_same = |known: &CandidateType| {
                known.name == candidate_type.name
                    && known.environment == candidate_type.environment
                    && known.specification == candidate_type.specification
            };
            if !once.iter().any(is_same) {
                once.push(candidate_type);
            }
        }
        once
    }

    /// Where a type is measured, or why it cannot be.
    pub(super) fn find(&self, wanted: &CandidateType) -> Result<Site, String> {
        if let Some(agent) = self.agents.iter().find(|agent| agent.instance_type == wanted.name) {
            return Ok(native(wanted, &agent.host));
        }
        match self.emulator() {
            Some(agent) => self.emulated(wanted, agent),
            None => self.waiting(wanted),
        }
    }

    /// An agent that may load an endpoint, one that takes trials rather than one that is draining.
    pub(super) fn offering(&self, endpoint: &EndpointName) -> Result<&'a AgentView, PlanError> {
        let offering = self.fleet.iter().filter(|agent| agent.endpoints.contains(endpoint));
        offering.min_by_key(|agent| (agent.draining, &agent.name)).ok_or_else(|| {
            let offered = self.fleet.iter().flat_map(|agent| agent.endpoints.iter().cloned());
            PlanError::NoSuchEndpoint { endpoint: endpoint.clone(), offered: offered.collect() }
        })
    }

    /// The largest machine that may emulate: the same one for every type of the job, so that shapes
    /// are compared and not machines.
    fn emulator(&self) -> Option<&'a AgentView> {
        let size = |agent: &&AgentView| (agent.host.vcpus, agent.host.memory_bytes);
        let candidates =
            self.agents.iter().copied().filter(|agent| self.job.emulate && agent.may_emulate);
        // `max_by_key` takes the last of equals; in reverse that is the first by name.
        candidates.rev().max_by_key(size)
    }

    fn shape_of(&self, wanted: &CandidateType) -> Result<Shape, String> {
        let known = || self.catalogue.get(&wanted.name).and_then(|known| known.shape);
        wanted.shape.or_else(known).ok_or_else(|| {
            format!(
                "its vCPU and memory are not known; give its shape, like {}=96x384GiB",
                wanted.name
            )
        })
    }

    fn emulated(&self, wanted: &CandidateType, agent: &AgentView) -> Result<Site, String> {
        let shape = self.shape_of(wanted)?;
        let known = self.catalogue.get(&wanted.name).filter(|_| wanted.shape.is_none());
        fits(shape, &agent.host)?;
        let accelerators = known.and_then(|known| known.accelerators.as_ref());
        if let Some(accelerators) = accelerators {
            has_accelerators(accelerators, &agent.host)?;
        }
        let machine = agent.host.architecture.as_str();
        let foreign = known
            .is_some_and(|known| !machine.is_empty() && known.architecture().machine() != machine);
        Ok(Site {
            foreign_architecture: foreign,
            cuda_gpus: accelerators.map_or(0, |accelerators| accelerators.count),
            ..Site::new(wanted, shape, Placement::Emulated(agent.fingerprint.clone()))
        })
    }

    fn waiting(&self, wanted: &CandidateType) -> Result<Site, String> {
        let known = self.catalogue.get(&wanted.name);
        let accelerators = known.and_then(|known| known.accelerators.as_ref());
        let gpus = accelerators.filter(|found| found.are_cuda_gpus());
        let name = &wanted.name;
        Ok(Site {
            warning: Some(format!("no agent of type {name} is connected; its trials wait for one")),
            cuda_gpus: gpus.map_or(0, |found| found.count),
            ..Site::new(wanted, self.shape_of(wanted)?, Placement::Native(name.clone()))
        })
    }
}

fn native(wanted: &CandidateType, host: &HostFacts) -> Site {
    let shape = Shape { vcpus: host.vcpus, memory_bytes: host.memory_bytes };
    let cuda_gpus = u32::try_from(host.gpus.len()).unwrap_or(u32::MAX);
    Site { cuda_gpus, ..Site::new(wanted, shape, Placement::Native(wanted.name.clone())) }
}

fn fits(shape: Shape, host: &HostFacts) -> Result<(), String> {
    if shape.vcpus > host.vcpus {
        return Err(format!(
            "larger than the machine that would emulate it: needs {} vCPU, this machine has {}",
            shape.vcpus, host.vcpus
        ));
    }
    // The kernel keeps a part of the memory that a machine is sold with: "8 GiB" shows as 7.6 GiB.
    let usable =
        Bytes::new(host.memory_bytes.count().saturating_add(host.memory_bytes.count() / 8));
    if shape.memory_bytes > usable {
        return Err(format!(
            "larger than the machine that would emulate it: needs {} of memory, this machine has {}",
            shape.memory_bytes, host.memory_bytes
        ));
    }
    Ok(())
}

fn has_accelerators(needed: &Accelerators, host: &HostFacts) -> Result<(), String> {
    // The catalogue says "NVIDIA T4", the driver "Tesla T4": the last word names the chip.
    let chip = needed.model.rsplit(' ').next().unwrap_or_default();
    let same =
        host.gpus.iter().filter(|gpu| gpu.name.split_whitespace().any(|word| word == chip)).count();
    if needed.are_cuda_gpus() && u32::try_from(same).is_ok_and(|same| same >= needed.count) {
        return Ok(());
    }
    let present = match host.gpus.first() {
        None => "no GPU".to_owned(),
        Some(gpu) => format!("{} × {}", host.gpus.len(), gpu.name),
    };
    Err(format!(
        "an accelerator cannot be emulated: needs {} × {}, this machine has {present}",
        needed.count, needed.model
    ))
}
