//! Machines and how busy they were.

use assay_measure::{
    hardware::{GpuFacts, GpuUtilization, HostFacts, Utilization},
    units::Bytes,
};

use super::{Malformed, all, figure, finite};
use crate::v1;

impl From<HostFacts> for v1::HostFacts {
    fn from(facts: HostFacts) -> Self {
        Self {
            cpu_model: facts.cpu_model,
            vcpus: facts.vcpus,
            memory_bytes: facts.memory_bytes.count(),
            gpus: facts.gpus.into_iter().map(Into::into).collect(),
            kernel: facts.kernel,
            architecture: facts.architecture,
        }
    }
}

impl TryFrom<v1::HostFacts> for HostFacts {
    type Error = Malformed;
    fn try_from(wire: v1::HostFacts) -> Result<Self, Malformed> {
        if wire.vcpus == 0 || wire.memory_bytes == 0 {
            return Err(Malformed::new("host", "needs at least one vCPU and some memory"));
        }
        Ok(Self {
            cpu_model: wire.cpu_model,
            vcpus: wire.vcpus,
            memory_bytes: Bytes::new(wire.memory_bytes),
            gpus: wire.gpus.into_iter().map(Into::into).collect(),
            kernel: wire.kernel,
            architecture: wire.architecture,
        })
    }
}

impl From<GpuFacts> for v1::GpuFacts {
    fn from(gpu: GpuFacts) -> Self {
        Self {
            index: gpu.index,
            name: gpu.name,
            memory_bytes: gpu.memory_bytes.count(),
            driver: gpu.driver,
        }
    }
}

impl From<v1::GpuFacts> for GpuFacts {
    fn from(wire: v1::GpuFacts) -> Self {
        Self {
            index: wire.index,
            name: wire.name,
            memory_bytes: Bytes::new(wire.memory_bytes),
            driver: wire.driver,
        }
    }
}

impl From<Utilization> for v1::Utilization {
    fn from(utilization: Utilization) -> Self {
        Self {
            cpu_pct: utilization.cpu_pct,
            per_cpu_pct: utilization.per_cpu_pct,
            steal_pct: utilization.steal_pct,
            other_cpu_pct: utilization.other_cpu_pct,
            harness_cpu_pct: utilization.harness_cpu_pct,
            host_cpu_pct: utilization.host_cpu_pct,
            memory_pct: utilization.memory_pct,
            host_memory_bytes: utilization.host_memory_bytes.map(Bytes::count),
            machine_available_bytes: utilization.machine_available_bytes.map(Bytes::count),
            swapped_pages_per_s: utilization.swapped_pages_per_s,
            cpu_mhz: utilization.cpu_mhz,
            runnable_tasks: utilization.runnable_tasks,
            other_runnable_tasks: utilization.other_runnable_tasks,
            cpu_pressure_pct: utilization.cpu_pressure_pct,
            memory_pressure_pct: utilization.memory_pressure_pct,
            quota_throttled_pct: utilization.quota_throttled_pct,
            context_switches_per_s: utilization.context_switches_per_s,
            host_context_switches_per_s: utilization.host_context_switches_per_s,
            page_faults_per_s: utilization.page_faults_per_s,
            host_page_faults_per_s: utilization.host_page_faults_per_s,
            host_major_faults_per_s: utilization.host_major_faults_per_s,
            gpus: utilization.gpus.into_iter().map(Into::into).collect(),
            samples: utilization.samples,
        }
    }
}

impl TryFrom<v1::Utilization> for Utilization {
    type Error = Malformed;
    fn try_from(wire: v1::Utilization) -> Result<Self, Malformed> {
        for &share in &wire.per_cpu_pct {
            finite("per_cpu_pct", share)?;
        }
        Ok(Self {
            cpu_pct: figure("cpu_pct", wire.cpu_pct)?,
            per_cpu_pct: wire.per_cpu_pct,
            steal_pct: figure("steal_pct", wire.steal_pct)?,
            other_cpu_pct: figure("other_cpu_pct", wire.other_cpu_pct)?,
            harness_cpu_pct: figure("harness_cpu_pct", wire.harness_cpu_pct)?,
            host_cpu_pct: figure("host_cpu_pct", wire.host_cpu_pct)?,
            memory_pct: figure("memory_pct", wire.memory_pct)?,
            host_memory_bytes: wire.host_memory_bytes.map(Bytes::new),
            machine_available_bytes: wire.machine_available_bytes.map(Bytes::new),
            swapped_pages_per_s: figure("swapped_pages_per_s", wire.swapped_pages_per_s)?,
            cpu_mhz: figure("cpu_mhz", wire.cpu_mhz)?,
            runnable_tasks: figure("runnable_tasks", wire.runnable_tasks)?,
            other_runnable_tasks: figure("other_runnable_tasks", wire.other_runnable_tasks)?,
            cpu_pressure_pct: figure("cpu_pressure_pct", wire.cpu_pressure_pct)?,
            memory_pressure_pct: figure("memory_pressure_pct", wire.memory_pressure_pct)?,
            quota_throttled_pct: figure("quota_throttled_pct", wire.quota_throttled_pct)?,
            context_switches_per_s: figure("context_switches_per_s", wire.context_switches_per_s)?,
            host_context_switches_per_s: figure(
                "host_context_switches_per_s",
                wire.host_context_switches_per_s,
            )?,
            page_faults_per_s: figure("page_faults_per_s", wire.page_faults_per_s)?,
            host_page_faults_per_s: figure("host_page_faults_per_s", wire.host_page_faults_per_s)?,
            host_major_faults_per_s: figure(
                "host_major_faults_per_s",
                wire.host_major_faults_per_s,
            )?,
            gpus: all("gpus", wire.gpus)?,
            samples: wire.samples,
        })
    }
}

impl From<GpuUtilization> for v1::GpuUtilization {
    fn from(gpu: GpuUtilization) -> Self {
        Self {
            index: gpu.index,
            utilization_pct: gpu.utilization_pct,
            memory_used_bytes: gpu.memory_used_bytes.map(Bytes::count),
            power_w: gpu.power_w,
            temperature_c: gpu.temperature_c,
            sm_clock_mhz: gpu.sm_clock_mhz,
            energy_j: gpu.energy_j,
            throttle_reasons: gpu.throttle_reasons,
            shared_with_others: gpu.shared_with_others,
            throttled_pct: gpu.throttled_pct,
            other_processes: gpu.other_processes,
            mig: gpu.mig,
            lost: gpu.lost,
        }
    }
}

impl TryFrom<v1::GpuUtilization> for GpuUtilization {
    type Error = Malformed;
    fn try_from(wire: v1::GpuUtilization) -> Result<Self, Malformed> {
        Ok(Self {
            index: wire.index,
            utilization_pct: figure("utilization_pct", wire.utilization_pct)?,
            memory_used_bytes: wire.memory_used_bytes.map(Bytes::new),
            power_w: figure("power_w", wire.power_w)?,
            temperature_c: figure("temperature_c", wire.temperature_c)?,
            sm_clock_mhz: figure("sm_clock_mhz", wire.sm_clock_mhz)?,
            energy_j: figure("energy_j", wire.energy_j)?,
            throttle_reasons: wire.throttle_reasons,
            shared_with_others: wire.shared_with_others,
            throttled_pct: figure("throttled_pct", wire.throttled_pct)?,
            other_processes: wire.other_processes,
            mig: wire.mig,
            lost: wire.lost,
        })
    }
}
