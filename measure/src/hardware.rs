//! What is known of a machine, and how busy it was. A figure that the machine does not give is absent.

use serde::{Deserialize, Serialize};

use crate::units::Bytes;

/// A machine as an agent describes it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct HostFacts {
    /// The processor's name, as the kernel gives it.
    pub cpu_model: String,
    /// Logical processors that the agent may use.
    pub vcpus: u32,
    /// Memory of the machine.
    pub memory_bytes: Bytes,
    /// GPUs, empty when there are none.
    #[serde(default)]
    pub gpus: Vec<GpuFacts>,
    /// Kernel release.
    #[serde(default)]
    pub kernel: String,
    /// `x86_64` or `aarch64`.
    #[serde(default)]
    pub architecture: String,
}

/// One GPU.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct GpuFacts {
    /// Its index on the machine.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// Its memory.
    pub memory_bytes: Bytes,
    /// The driver's version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub driver: Option<String>,
}

/// A vCPU count and a memory size: what an emulated instance type is held to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Shape {
    /// Virtual processors.
    pub vcpus: u32,
    /// Memory.
    pub memory_bytes: Bytes,
}

/// How busy the machine was over a span of time. Shares are per cent, 0 to 100.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Utilization {
    /// Busy share of the processors the model may use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_pct: Option<f64>,
    /// The same, for each processor of the machine in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub per_cpu_pct: Vec<f64>,
    /// Share of time that the hypervisor gave to others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub steal_pct: Option<f64>,
    /// CPU seconds of processes other than host, generator and agent, as a share of one processor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub other_cpu_pct: Option<f64>,
    /// CPU of load generator and sampler, as a share of the processors the model may use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub harness_cpu_pct: Option<f64>,
    /// CPU of the model host process, as a share of the processors the model may use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_cpu_pct: Option<f64>,
    /// Resident memory of the model host as a share of the memory it may use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_pct: Option<f64>,
    /// The largest resident memory of the model host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_memory_bytes: Option<Bytes>,
    /// The least memory that was available on the machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[serde(rename = "available_memory_bytes")]
    pub machine_available_bytes: Option<Bytes>,
    /// Pages swapped in or out per second on the machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub swapped_pages_per_s: Option<f64>,
    /// Mean clock of the model's processors.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_mhz: Option<f64>,
    /// Mean count of tasks that ran or waited for a processor, of the whole machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runnable_tasks: Option<f64>,
    /// Of these, those that are neither the model host's nor the agent's; below zero is rounding.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub other_runnable_tasks: Option<f64>,
    /// Share of time in which some task of the machine waited for a processor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_pressure_pct: Option<f64>,
    /// Share of time in which some task of the machine waited for memory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_pressure_pct: Option<f64>,
    /// Processor time withheld by a quota on the agent's control group or one above it, as a share of the
    /// model's processors.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quota_throttled_pct: Option<f64>,
    /// Context switches per second on the machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub context_switches_per_s: Option<f64>,
    /// Context switches per second of the model host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_context_switches_per_s: Option<f64>,
    /// Page faults per second on the machine, those served from memory included.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub page_faults_per_s: Option<f64>,
    /// Page faults per second of the model host, those served from memory included.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_page_faults_per_s: Option<f64>,
    /// Page faults per second of the model host that had to wait for a disk.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_major_faults_per_s: Option<f64>,
    /// Per GPU, by index.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gpus: Vec<GpuUtilization>,
    /// How many samples this is the mean of.
    #[serde(default)]
    pub samples: u32,
}

/// How busy one GPU was. Shares are per cent, 0 to 100.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct GpuUtilization {
    /// Its index on the machine.
    pub index: u32,
    /// Share of time in which a kernel ran.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub utilization_pct: Option<f64>,
    /// Memory in use, largest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_used_bytes: Option<Bytes>,
    /// Mean power in watts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub power_w: Option<f64>,
    /// Highest temperature in degrees Celsius.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub temperature_c: Option<f64>,
    /// Mean SM clock in MHz.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sm_clock_mhz: Option<f64>,
    /// Energy used in joules.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub energy_j: Option<f64>,
    /// Reasons for throttling that were seen, in the driver's words.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub throttle_reasons: Vec<String>,
    /// Share of samples in which the GPU was throttled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub throttled_pct: Option<f64>,
    /// The largest number of other processes on the GPU.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub other_processes: Option<u32>,
    /// The GPU is divided (MIG); several figures of the whole are then not to be had.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mig: Option<bool>,
    /// The GPU fell off the bus or stopped answering.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub lost: bool,
    /// Other processes were using the GPU.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shared_with_others: Option<bool>,
}

/// A limit that was really in force on the model host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LimitInForce {
    /// CPU set by cgroup.
    CpuSetCgroup,
    /// CPU set by `sched_setaffinity`.
    CpuSetAffinity,
    /// Memory by cgroup.
    MemoryCgroup,
    /// Memory by `prlimit` on the address space.
    MemoryPrlimit,
    /// Memory by the agent's own watch over the resident set.
    MemoryWatchdog,
    /// A user id of its own, which owns nothing but the host's scratch folder.
    OwnUser,
    /// No capabilities, and no way to gain privileges.
    NoPrivileges,
    /// A mount namespace that shows only what the host needs.
    MountNamespace,
    /// Landlock: access to those files alone, no TCP, no signals to other processes.
    Landlock,
    /// A filter of system calls: no new processes, no sockets, no tracing of others.
    SystemCallFilter,
    /// Limits on open files, file sizes, threads and core dumps (`setrlimit`).
    ResourceLimits,
}

impl LimitInForce {
    /// Every member, in order.
    pub const ALL: [Self; 11] = [
        Self::CpuSetCgroup,
        Self::CpuSetAffinity,
        Self::MemoryCgroup,
        Self::MemoryPrlimit,
        Self::MemoryWatchdog,
        Self::OwnUser,
        Self::NoPrivileges,
        Self::MountNamespace,
        Self::Landlock,
        Self::SystemCallFilter,
        Self::ResourceLimits,
    ];

    /// The word used in JSON and on the wire.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::CpuSetCgroup => "cpu_set_cgroup",
            Self::CpuSetAffinity => "cpu_set_affinity",
            Self::MemoryCgroup => "memory_cgroup",
            Self::MemoryPrlimit => "memory_prlimit",
            Self::MemoryWatchdog => "memory_watchdog",
            Self::OwnUser => "own_user",
            Self::NoPrivileges => "no_privileges",
            Self::MountNamespace => "mount_namespace",
            Self::Landlock => "landlock",
            Self::SystemCallFilter => "system_call_filter",
            Self::ResourceLimits => "resource_limits",
        }
    }
}
