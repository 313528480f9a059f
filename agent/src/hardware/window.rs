//! What happened between samples: counters become shares, levels become means and extremes. Pure.

use std::collections::BTreeMap;

use assay_measure::{
    hardware::{GpuUtilization, Utilization},
    units::Bytes,
};

use crate::hardware::{nvml::GpuSample, proc_files::CpuTicks};

/// The machine at one moment: counters since boot, and levels. What could not be read is absent.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sample {
    /// When, in nanoseconds on the trial's clock.
    pub at_ns: u64,
    /// Time of each processor, ascending by number.
    pub cpus: Vec<(u32, CpuTicks)>,
    /// CPU time of this agent, load generator and sampler included, in clock ticks.
    pub own_ticks: Option<u64>,
    /// The model host, when there is one.
    pub host: Option<HostUse>,
    /// Memory that a new program could have.
    pub available: Option<Bytes>,
    /// Pages swapped in and out since boot.
    pub swapped_pages: Option<u64>,
    /// Tasks of the machine that run or wait for a processor.
    pub runnable: Option<u64>,
    /// Of these, those of neither host nor agent; below zero when some came between two readings.
    pub other_runnable: Option<f64>,
    /// Context switches of the machine since boot.
    pub context_switches: Option<u64>,
    /// Context switches of the host's threads since their start.
    pub host_switches: Option<u64>,
    /// Microseconds since boot in which some task waited for a processor.
    pub cpu_stalled_us: Option<u64>,
    /// Microseconds since boot in which some task waited for memory.
    pub memory_stalled_us: Option<u64>,
    /// Microseconds of processor time that quotas on the agent's groups withheld.
    pub quota_throttled_us: Option<u64>,
    /// Page faults of the machine since boot.
    pub page_faults: Option<u64>,
    /// Mean clock of the model's processors.
    pub cpu_mhz: Option<f64>,
    pub gpus: Vec<GpuSample>,
}

/// What the model host and its children use.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostUse {
    /// CPU time in clock ticks.
    pub ticks: u64,
    pub resident: Bytes,
    /// Page faults served from memory.
    pub minor_faults: u64,
    /// Page faults that waited for a disk.
    pub major_faults: u64,
    pub process_ids: Vec<u32>,
}

/// What shares are shares of.
#[derive(Clone, Debug, PartialEq)]
pub struct Basis {
    /// Processors that the model may use.
    pub model_cpus: Vec<u32>,
    /// Memory that the model may use.
    pub memory: Bytes,
    /// Clock ticks in a second.
    pub ticks_per_s: f64,
    /// Process ids that GPUs report are ours to compare with. In a container of its own process ids
    /// they are the outer ones and mean nothing here.
    pub process_ids_comparable: bool,
}

/// The utilization over `samples`, which are in order of time. Fewer than two say nothing.
#[must_use]
pub fn summarize(samples: &[Sample], basis: &Basis) -> Utilization {
    let (Some(first), Some(last)) = (samples.first(), samples.last()) else {
        return Utilization::default();
    };
    let seconds = last.at_ns.saturating_sub(first.at_ns) as f64 / 1e9;
    if samples.len() < 2 || seconds <= 0.0 {
        return Utilization::default();
    }
    let spent = spent(first, last);
    let on_model = sum(spent.iter().filter(|(cpu, _)| basis.model_cpus.contains(cpu)));
    let everywhere = sum(spent.iter());
    let capacity_ticks = seconds * basis.ticks_per_s * basis.model_cpus.len() as f64;
    let of_model_cpus = |ticks: u64| share(ticks as f64, capacity_ticks);
    let own = difference(first.own_ticks, last.own_ticks);
    let (host, host_seconds) = gained(samples, |s| Some(s.host.as_ref()?.ticks)).unzip();
    let host_capacity =
        host_seconds.unwrap_or(0.0) * basis.ticks_per_s * basis.model_cpus.len() as f64;
    // Interrupts are left out of what others did: over loopback our own requests cause them.
    let others = own.filter(|_| !spent.is_empty()).map(|own| {
        let ours = own.saturating_add(host.unwrap_or(0));
        everywhere.processes.saturating_sub(ours) as f64 / (seconds * basis.ticks_per_s) * 100.0
    });
    let swapped = difference(first.swapped_pages, last.swapped_pages);
    let resident = samples.iter().filter_map(|s| s.host.as_ref().map(|host| host.resident)).max();
    Utilization {
        cpu_pct: share(on_model.busy() as f64, on_model.total() as f64),
        per_cpu_pct: spent
            .iter()
            .map(|(_, t)| share(t.busy() as f64, t.total() as f64).unwrap_or(0.0))
            .collect(),
        steal_pct: share(on_model.steal as f64, on_model.total() as f64),
        other_cpu_pct: others,
        harness_cpu_pct: own.and_then(of_model_cpus),
        host_cpu_pct: host.and_then(|ticks| share(ticks as f64, host_capacity)),
        memory_pct: resident
            .and_then(|used| share(used.count() as f64, basis.memory.count() as f64)),
        host_memory_bytes: resident,
        machine_available_bytes: samples.iter().filter_map(|s| s.available).min(),
        swapped_pages_per_s: swapped.map(|pages| pages as f64 / seconds),
        cpu_mhz: mean(samples.iter().filter_map(|s| s.cpu_mhz)),
        gpus: gpus(samples, basis),
        samples: u32::try_from(samples.len()).unwrap_or(u32::MAX),
        ..scheduling(samples, basis, seconds)
    }
}

/// Waiting, switching and faulting; everything else is left out.
fn scheduling(samples: &[Sample], basis: &Basis, seconds: f64) -> Utilization {
    let rate = |counter: fn(&Sample) -> Option<u64>| rate(samples, counter);
    // Rates per second of a count of microseconds, so a share of the window is a millionth of it.
    let waited = |counter| rate(counter).and_then(|us_per_s| share(us_per_s, 1e6));
    let withheld = samples
        .first()
        .zip(samples.last())
        .and_then(|(first, last)| difference(first.quota_throttled_us, last.quota_throttled_us));
    let capacity_us = seconds * 1e6 * basis.model_cpus.len() as f64;
    let faults = |s: &Sample| {
        s.host.as_ref().map(|host| host.minor_faults.saturating_add(host.major_faults))
    };
    Utilization {
        runnable_tasks: mean(samples.iter().filter_map(|s| s.runnable).map(|count| count as f64)),
        // What the agent and the host account for is sampled a moment apart: less than none is none.
        other_runnable_tasks: mean(samples.iter().filter_map(|s| s.other_runnable))
            .map(|tasks| tasks.max(0.0)),
        cpu_pressure_pct: waited(|s| s.cpu_stalled_us),
        memory_pressure_pct: waited(|s| s.memory_stalled_us),
        quota_throttled_pct: withheld.and_then(|us| share(us as f64, capacity_us)),
        context_switches_per_s: rate(|s| s.context_switches),
        host_context_switches_per_s: rate(|s| s.host_switches),
        page_faults_per_s: rate(|s| s.page_faults),
        host_page_faults_per_s: rate(faults),
        host_major_faults_per_s: rate(|s| s.host.as_ref().map(|host| host.major_faults)),
        ..Utilization::default()
    }
}

/// What a counter gained per second, from the first sample that has it to the last.
fn rate(samples: &[Sample], counter: impl Fn(&Sample) -> Option<u64>) -> Option<f64> {
    let (gained, seconds) = gained(samples, counter)?;
    (seconds > 0.0).then(|| gained as f64 / seconds)
}

/// What a counter gained, and within how many seconds: it may have come or gone within the window.
fn gained(samples: &[Sample], counter: impl Fn(&Sample) -> Option<u64>) -> Option<(u64, f64)> {
    let mut with = samples.iter().filter_map(|sample| Some((sample.at_ns, counter(sample)?)));
    let (from_ns, before) = with.next()?;
    let (to_ns, after) = with.next_back()?;
    Some((after.saturating_sub(before), to_ns.saturating_sub(from_ns) as f64 / 1e9))
}

/// Time that passed on each processor present at both ends.
fn spent(first: &Sample, last: &Sample) -> Vec<(u32, CpuTicks)> {
    let before: BTreeMap<u32, CpuTicks> = first.cpus.iter().copied().collect();
    let both = last.cpus.iter().filter_map(|(cpu, now)| Some((*cpu, now.since(*before.get(cpu)?))));
    both.collect()
}

fn sum<'a>(parts: impl Iterator<Item = &'a (u32, CpuTicks)>) -> CpuTicks {
    parts.fold(CpuTicks::default(), |all, (_, part)| CpuTicks {
        processes: all.processes.saturating_add(part.processes),
        interrupts: all.interrupts.saturating_add(part.interrupts),
        idle: all.idle.saturating_add(part.idle),
        steal: all.steal.saturating_add(part.steal),
    })
}

fn difference(before: Option<u64>, after: Option<u64>) -> Option<u64> {
    before.zip(after).map(|(before, after)| after.saturating_sub(before))
}

/// Per cent, kept within 0 to 100: ticks are rounded, so a short busy window can come out above.
fn share(part: f64, whole: f64) -> Option<f64> {
    (whole > 0.0).then(|| (part / whole * 100.0).clamp(0.0, 100.0))
}

fn mean(values: impl Iterator<Item = f64>) -> Option<f64> {
    let (count, total) =
        values.fold((0u32, 0.0), |(count, total), value| (count + 1, total + value));
    (count > 0).then(|| total / f64::from(count))
}

fn largest(values: impl Iterator<Item = f64>) -> Option<f64> {
    values.max_by(f64::total_cmp)
}

fn gpus(samples: &[Sample], basis: &Basis) -> Vec<GpuUtilization> {
    let mut by_index: BTreeMap<u32, Vec<(&GpuSample, &Sample)>> = BTreeMap::new();
    for sample in samples {
        for gpu in &sample.gpus {
            by_index.entry(gpu.index).or_default().push((gpu, sample));
        }
    }
    by_index.into_iter().map(|(index, seen)| one_gpu(index, &seen, basis)).collect()
}

fn one_gpu(index: u32, seen: &[(&GpuSample, &Sample)], basis: &Basis) -> GpuUtilization {
    let each = || seen.iter().map(|(gpu, _)| *gpu);
    let energy: Vec<f64> = each().filter_map(|gpu| gpu.energy_j).collect();
    let mut reasons: Vec<&str> =
        each().flat_map(|gpu| gpu.throttle_reasons.iter().copied()).collect();
    reasons.sort_unstable();
    reasons.dedup();
    let others = seen.iter().filter_map(|(gpu, sample)| others_on(gpu, sample, basis)).max();
    GpuUtilization {
        index,
        utilization_pct: mean(each().filter_map(|gpu| gpu.utilization_pct)),
        memory_used_bytes: each().filter_map(|gpu| gpu.memory_used).max(),
        power_w: mean(each().filter_map(|gpu| gpu.power_w)),
        temperature_c: largest(each().filter_map(|gpu| gpu.temperature_c)),
        sm_clock_mhz: mean(each().filter_map(|gpu| gpu.sm_clock_mhz)),
        energy_j: energy
            .first()
            .zip(energy.last())
            .map(|(before, after)| (after - before).max(0.0)),
        throttle_reasons: reasons.into_iter().map(str::to_owned).collect(),
        throttled_pct: share_of(each().filter_map(|gpu| gpu.throttled)),
        other_processes: others,
        mig: each().filter_map(|gpu| gpu.mig).max(),
        lost: each().any(|gpu| gpu.lost),
        shared_with_others: others.map(|count| count > 0),
    }
}

/// Share of those that hold, per cent.
fn share_of(values: impl Iterator<Item = bool>) -> Option<f64> {
    mean(values.map(|holds| if holds { 100.0 } else { 0.0 }))
}

/// Processes on the GPU that are not the model host's.
fn others_on(gpu: &GpuSample, sample: &Sample, basis: &Basis) -> Option<u32> {
    let on_gpu = gpu.process_ids.as_ref()?;
    let ours = sample.host.as_ref().map(|host| host.process_ids.as_slice()).unwrap_or_default();
    let others = if basis.process_ids_comparable {
        on_gpu.iter().filter(|id| !ours.contains(id)).count()
    } else {
        on_gpu.len().saturating_sub(ours.len())
    };
    Some(u32::try_from(others).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests;
