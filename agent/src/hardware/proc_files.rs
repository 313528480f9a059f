//! Readers of the kernel's text files under `/proc`, as pure functions over their text.
//!
//! The kernel adds fields and lines over time, containers hide some, and other architectures name
//! things differently. So every reader takes what it understands, leaves the rest, and never fails.

use assay_measure::units::Bytes;

/// Time of one processor by what it was spent on, in clock ticks since boot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CpuTicks {
    /// Running processes, their kernel side included; niced ones too.
    pub processes: u64,
    /// Interrupts, hard and soft: work that belongs to no process.
    pub interrupts: u64,
    /// Doing nothing, waiting for disks included.
    pub idle: u64,
    /// Wanted to run, but the hypervisor ran somebody else.
    pub steal: u64,
}

impl CpuTicks {
    #[must_use]
    pub fn busy(self) -> u64 {
        self.processes.saturating_add(self.interrupts)
    }

    #[must_use]
    pub fn total(self) -> u64 {
        self.busy().saturating_add(self.idle).saturating_add(self.steal)
    }

    /// What was added since `earlier`; counters that ran backwards (a kernel quirk) count as zero.
    #[must_use]
    pub fn since(self, earlier: Self) -> Self {
        Self {
            processes: self.processes.saturating_sub(earlier.processes),
            interrupts: self.interrupts.saturating_sub(earlier.interrupts),
            idle: self.idle.saturating_sub(earlier.idle),
            steal: self.steal.saturating_sub(earlier.steal),
        }
    }
}

/// Per-processor times from `/proc/stat`, by processor number in ascending order.
#[must_use]
pub fn cpu_ticks(stat: &str) -> Vec<(u32, CpuTicks)> {
    let mut cpus: Vec<(u32, CpuTicks)> = stat.lines().filter_map(one_cpu).collect();
    cpus.sort_by_key(|(number, _)| *number);
    cpus.dedup_by_key(|(number, _)| *number);
    cpus
}

fn one_cpu(line: &str) -> Option<(u32, CpuTicks)> {
    let numbered =
        line.strip_prefix("cpu").filter(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
    // The line of sums has a blank there.
    let mut words = numbered?.split_ascii_whitespace();
    let number = words.next()?.parse().ok()?;
    let fields: Vec<u64> = words.map_while(|word| word.parse().ok()).collect();
    let field = |index: usize| fields.get(index).copied().unwrap_or(0);
    if fields.len() < 4 {
        return None;
    }
    // user, nice, system, idle, iowait, irq, softirq, steal; guest times are contained in user.
    Some((
        number,
        CpuTicks {
            processes: field(0).saturating_add(field(1)).saturating_add(field(2)),
            interrupts: field(5).saturating_add(field(6)),
            idle: field(3).saturating_add(field(4)),
            steal: field(7),
        },
    ))
}

/// What `/proc/stat` counts for the machine as a whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Scheduling {
    /// Tasks that run or wait for a processor, at this moment.
    pub runnable: Option<u64>,
    pub context_switches: Option<u64>,
}

/// Reads the machine's own lines of `/proc/stat`.
#[must_use]
pub fn scheduling(stat: &str) -> Scheduling {
    Scheduling {
        runnable: named_number(stat, "procs_running"),
        context_switches: named_number(stat, "ctxt"),
    }
}

/// Time in microseconds since boot in which some task waited for a resource, from a file of
/// `/proc/pressure`.
#[must_use]
pub fn stalled_us(pressure: &str) -> Option<u64> {
    let some = pressure.lines().find_map(|line| line.strip_prefix("some "))?;
    some.split_ascii_whitespace().find_map(|word| word.strip_prefix("total="))?.parse().ok()
}

/// Time in microseconds for which a group's quota kept its processes from running, from the
/// `cpu.stat` of either version of control groups.
#[must_use]
pub fn throttled_us(cpu_stat: &str) -> Option<u64> {
    let nanoseconds = || named_number(cpu_stat, "throttled_time").map(|ns| ns / 1000);
    named_number(cpu_stat, "throttled_usec").or_else(nanoseconds)
}

/// Processors that the quota of a group allows, from its `cpu.max` (version 2: `QUOTA PERIOD`, in
/// microseconds); absent where nothing is limited.
#[must_use]
pub fn quota_of_version_2(cpu_max: &str) -> Option<f64> {
    let mut words = cpu_max.split_ascii_whitespace();
    quota(words.next()?, words.next()?)
}

/// The same from `cpu.cfs_quota_us` and `cpu.cfs_period_us` (version 1, where -1 is no limit).
#[must_use]
pub fn quota_of_version_1(quota_us: &str, period_us: &str) -> Option<f64> {
    quota(quota_us.trim(), period_us.trim())
}

fn quota(quota_us: &str, period_us: &str) -> Option<f64> {
    let quota_us: f64 = quota_us.parse::<u64>().ok()? as f64;
    let period_us = period_us.parse::<u64>().ok().filter(|period_us| *period_us > 0)? as f64;
    Some(quota_us / period_us)
}

/// Context switches of one thread since its start, wanted and forced, from `/proc/PID/task/TID/status`.
#[must_use]
pub fn thread_switches(status: &str) -> Option<u64> {
    let wanted = named_number(status, "voluntary_ctxt_switches:")?;
    Some(wanted.saturating_add(named_number(status, "nonvoluntary_ctxt_switches:")?))
}

/// Whether a thread runs or waits for a processor, from `/proc/PID/task/TID/status`.
#[must_use]
pub fn is_runnable(status: &str) -> bool {
    status
        .lines()
        .find_map(|line| line.strip_prefix("State:"))
        .is_some_and(|state| state.trim_start().starts_with('R'))
}

/// The number in the line `NAME NUMBER`.
fn named_number(text: &str, name: &str) -> Option<u64> {
    let value = |line: &str| {
        let rest = line.strip_prefix(name)?;
        rest.starts_with(|c: char| c.is_ascii_whitespace()).then(|| rest.trim().parse().ok())?
    };
    text.lines().find_map(value)
}

/// What `/proc/PID/stat` says of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProcessStat {
    /// The process that started it, or that adopted it since.
    pub parent: u32,
    /// CPU time of all its threads, user and kernel, in clock ticks.
    pub ticks: u64,
    /// When it was started, in clock ticks since boot; with the process id it names a process for good.
    pub started: u64,
    pub resident_pages: u64,
    /// Page faults that were served from memory.
    pub minor_faults: u64,
    /// Page faults that had to wait for a disk.
    pub major_faults: u64,
}

/// Reads `/proc/PID/stat`. The second field, the program's name, may itself hold blanks and brackets.
#[must_use]
pub fn process_stat(stat: &str) -> Option<ProcessStat> {
    let (_, rest) = stat.rsplit_once(')')?;
    let words: Vec<&str> = rest.split_ascii_whitespace().collect();
    // Counted from the state, which is field 3 of proc(5).
    let field = |number: usize| -> Option<u64> { words.get(number - 3)?.parse().ok() };
    Some(ProcessStat {
        parent: u32::try_from(field(4)?).ok()?,
        ticks: field(14)?.saturating_add(field(15)?),
        started: field(22)?,
        resident_pages: field(24)?,
        minor_faults: field(10)?,
        major_faults: field(12)?,
    })
}

/// What `/proc/meminfo` says of the machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MachineMemory {
    pub total: Option<Bytes>,
    /// What a new program could use without swapping.
    pub available: Option<Bytes>,
}

/// Reads `/proc/meminfo`.
#[must_use]
pub fn machine_memory(meminfo: &str) -> MachineMemory {
    let field = |name: &str| {
        let line = meminfo.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
        Some(Bytes::new(kibibytes.checked_mul(1024)?))
    };
    MachineMemory { total: field("MemTotal"), available: field("MemAvailable") }
}

/// What `/proc/vmstat` says of memory under pressure, since boot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MemoryEvents {
    pub swapped_pages: Option<u64>,
    /// Page faults, those served from memory included.
    pub page_faults: Option<u64>,
    /// Processes killed for want of memory.
    pub oom_kills: Option<u64>,
}

/// Reads `/proc/vmstat`.
#[must_use]
pub fn memory_events(vmstat: &str) -> MemoryEvents {
    let field = |name: &str| named_number(vmstat, name);
    let swapped = field("pswpin").zip(field("pswpout"));
    MemoryEvents {
        swapped_pages: swapped.map(|(pages_in, pages_out)| pages_in.saturating_add(pages_out)),
        page_faults: field("pgfault"),
        oom_kills: field("oom_kill"),
    }
}

/// The clocks that `/proc/cpuinfo` gives, by processor number, in MHz. Empty on aarch64.
#[must_use]
pub fn cpu_clocks(cpuinfo: &str) -> Vec<(u32, f64)> {
    let mut clocks = Vec::new();
    let mut processor = None;
    for line in cpuinfo.lines() {
        let Some((name, value)) = line.split_once(':') else { continue };
        match name.trim() {
            "processor" => processor = value.trim().parse().ok(),
            "cpu MHz" => {
                let clock =
                    value.trim().parse::<f64>().ok().filter(|mhz| mhz.is_finite() && *mhz > 0.0);
                clocks.extend(processor.zip(clock));
            }
            _ => {}
        }
    }
    clocks
}

/// The processor's name from `/proc/cpuinfo`.
#[must_use]
pub fn cpu_model(cpuinfo: &str) -> Option<String> {
    let field = |wanted: &str| {
        cpuinfo.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            (name.trim() == wanted && !value.trim().is_empty()).then(|| value.trim())
        })
    };
    if let Some(name) = field("model name") {
        return Some(name.to_owned());
    }
    let implementer = field("CPU implementer")?;
    let part = field("CPU part").unwrap_or("?");
    let name = match (implementer, part) {
        ("0x41", "0xd0c") => "Arm Neoverse-N1",
        ("0x41", "0xd40") => "Arm Neoverse-V1",
        ("0x41", "0xd49") => "Arm Neoverse-N2",
        ("0x41", "0xd4f") => "Arm Neoverse-V2",
        ("0x41", "0xd08") => "Arm Cortex-A72",
        _ => return Some(format!("CPU implementer {implementer} part {part}")),
    };
    Some(name.to_owned())
}

/// A list of processor numbers as the kernel writes it, such as `0-3,8`. Numbers above 65 535 and
/// ranges that run backwards are left out.
#[must_use]
pub fn cpu_list(text: &str) -> Vec<u32> {
    let mut cpus: Vec<u32> = text.trim().split(',').filter_map(cpu_range).flatten().collect();
    cpus.sort_unstable();
    cpus.dedup();
    cpus
}

fn cpu_range(part: &str) -> Option<std::ops::RangeInclusive<u32>> {
    let (first, last) = part.split_once('-').unwrap_or((part, part));
    let first: u32 = first.trim().parse().ok()?;
    let last: u32 = last.trim().parse().ok()?;
    (last <= 0xffff).then_some(first..=last)
}

#[cfg(test)]
mod tests;
