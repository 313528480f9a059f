//! Machines and how busy they were.

use assay_measure::hardware::{GpuFacts, GpuUtilization, HostFacts, Utilization};

use super::Malformed;
use crate::{fields::same_fields, v1};

same_fields!(
    HostFacts { cpu_model, vcpus, memory_bytes, gpus, kernel, architecture }
    check has_processors_and_memory
);

fn has_processors_and_memory(wire: &v1::HostFacts) -> Result<(), Malformed> {
    if wire.vcpus == 0 || wire.memory_bytes == 0 {
        return Err(Malformed::new("host", "needs at least one vCPU and some memory"));
    }
    Ok(())
}

same_fields!(GpuFacts { index, name, memory_bytes, driver });

same_fields!(Utilization {
    cpu_pct,
    per_cpu_pct,
    steal_pct,
    other_cpu_pct,
    harness_cpu_pct,
    host_cpu_pct,
    memory_pct,
    host_memory_bytes,
    machine_available_bytes,
    swapped_pages_per_s,
    cpu_mhz,
    runnable_tasks,
    other_runnable_tasks,
    cpu_pressure_pct,
    memory_pressure_pct,
    quota_throttled_pct,
    context_switches_per_s,
    host_context_switches_per_s,
    page_faults_per_s,
    host_page_faults_per_s,
    host_major_faults_per_s,
    gpus,
    samples
});

same_fields!(GpuUtilization {
    index,
    utilization_pct,
    memory_used_bytes,
    power_w,
    temperature_c,
    sm_clock_mhz,
    energy_j,
    throttle_reasons,
    throttled_pct,
    shared_with_others,
    other_processes,
    mig,
    lost
});
