//! Describes this machine: processors the agent may use, memory, GPUs.

use std::{fs, path::Path};

use assay_measure::{hardware::HostFacts, units::Bytes};

use crate::{
    hardware::{nvml, proc_files},
    sandbox::mounts::Hierarchies,
};

/// The machine as agent and sandbox see it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Machine {
    /// Processors this process may use, best order for handing out whole cores: hardware threads of
    /// one core stand together, as a cloud's vCPUs do.
    pub cpus: Vec<u32>,
    /// Memory that exists, or less when this process itself is held to less.
    pub memory: Bytes,
}

impl Machine {
    #[must_use]
    pub fn here() -> Self {
        let meminfo = fs::read_to_string("/proc/meminfo").unwrap_or_default();
        let total = proc_files::machine_memory(&meminfo).total.unwrap_or_default();
        let ours = Hierarchies::of_this_process().memory_limit().unwrap_or(total);
        Self {
            cpus: by_core(&allowed_cpus(), Path::new("/sys/devices/system/cpu")),
            memory: total.min(ours),
        }
    }

    /// How many processors there are for us.
    #[must_use]
    pub fn vcpus(&self) -> u32 {
        u32::try_from(self.cpus.len()).unwrap_or(u32::MAX)
    }
}

/// Processors that this process may run on, ascending.
fn allowed_cpus() -> Vec<u32> {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let list = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
    let cpus = list.map(proc_files::cpu_list).unwrap_or_default();
    let online = fs::read_to_string("/sys/devices/system/cpu/online").unwrap_or_default();
    let online = proc_files::cpu_list(&online);
    // The allowed mask names processors that are not plugged in, on machines that could take more.
    let present = cpus.iter().copied().filter(|cpu| online.is_empty() || online.contains(cpu));
    let present: Vec<u32> = present.collect();
    if present.is_empty() { vec![0] } else { present }
}

/// Sorts processors so that those of one core stand together.
fn by_core(cpus: &[u32], sysfs: &Path) -> Vec<u32> {
    let number = |cpu: u32, file: &str| -> u64 {
        let path = sysfs.join(format!("cpu{cpu}/topology/{file}"));
        fs::read_to_string(path).ok().and_then(|text| text.trim().parse().ok()).unwrap_or(0)
    };
    let place = |&cpu: &u32| (number(cpu, "physical_package_id"), number(cpu, "core_id"), cpu);
    let mut sorted = cpus.to_vec();
    sorted.sort_by_cached_key(place);
    sorted
}

/// Everything that is reported of this machine. Loads the GPU driver's library for a moment.
#[must_use]
pub fn host_facts(machine: &Machine) -> HostFacts {
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    HostFacts {
        cpu_model: proc_files::cpu_model(&cpuinfo).unwrap_or_else(|| "unknown".to_owned()),
        vcpus: machine.vcpus(),
        memory_bytes: machine.memory,
        gpus: nvml::Gpus::open().map(|gpus| gpus.facts()).unwrap_or_default(),
        kernel: rustix::system::uname().release().to_string_lossy().into_owned(),
        architecture: std::env::consts::ARCH.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hardware_threads_of_one_core_are_handed_out_together() {
        let tree = tempfile::tempdir().unwrap();
        // Two cores with two threads each, numbered as Linux does on x86: 0 and 2 share a core.
        for (cpu, core) in [(0, 0), (1, 1), (2, 0), (3, 1)] {
            let topology = tree.path().join(format!("cpu{cpu}/topology"));
            fs::create_dir_all(&topology).unwrap();
            fs::write(topology.join("physical_package_id"), "0\n").unwrap();
            fs::write(topology.join("core_id"), format!("{core}\n")).unwrap();
        }
        assert_eq!(by_core(&[0, 1, 2, 3], tree.path()), vec![0, 2, 1, 3]);
    }

    #[test]
    fn this_machine_has_processors_memory_and_a_name() {
        let machine = Machine::here();
        let facts = host_facts(&machine);
        assert!(facts.vcpus >= 1 && facts.memory_bytes > Bytes::mib(64), "{facts:?}");
        assert!(!facts.cpu_model.is_empty() && !facts.kernel.is_empty());
    }
}
