//! Samples the machine once a second, and whenever it is told to, on a thread of its own.
//!
//! The thread's own CPU time is measured: the weight of the harness is part of every result. It
//! keeps every sample of a trial (an hour is 3 600 of a few hundred bytes), so that a window can be
//! cut afterwards for any step.

use std::{
    fs, io,
    path::PathBuf,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::JoinHandle,
    time::Duration,
};

use assay_measure::{hardware::Utilization, units::Bytes};

use crate::{
    clock::{Clock, thread_cpu_ns},
    hardware::{
        nvml::Gpus,
        proc_files,
        window::{Basis, HostUse, Sample, summarize},
    },
    sandbox::mounts,
};

/// Threads looked at one by one in a sample: more would make sampling a load of its own.
const THREADS_LOOKED_AT: usize = 512;
const INTERVAL: Duration = Duration::from_secs(1);
/// A sample takes a millisecond; on processors that are all taken its thread may wait for its turn.
const SAMPLE_WITHIN: Duration = Duration::from_secs(2);
/// The inode number of the process-id namespace that a machine starts with (`PROC_PID_INIT_INO`).
const FIRST_PID_NAMESPACE: &str = "pid:[4026531836]";

/// A running sampler; dropping it stops the thread.
#[derive(Debug)]
pub struct Sampler {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
    basis: Basis,
}

#[derive(Debug)]
struct Shared {
    clock: Clock,
    state: Mutex<State>,
    wake: Condvar,
}

#[derive(Debug, Default)]
struct State {
    stop: bool,
    /// Samples asked for, and how many of these were taken.
    asked: u64,
    answered: u64,
    host: Option<u32>,
    samples: Vec<Sample>,
    cpu_ns: u64,
}

impl Shared {
    /// A panic of the sampling thread leaves samples that are still right.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sampler {
    /// Starts sampling. The model may use `model_cpus` and `memory`.
    ///
    /// # Errors
    /// When the thread cannot be created.
    pub fn start(clock: Clock, model_cpus: Vec<u32>, memory: Bytes) -> io::Result<Self> {
        let shared =
            Arc::new(Shared { clock, state: Mutex::new(State::default()), wake: Condvar::new() });
        let basis = Basis {
            model_cpus: model_cpus.clone(),
            memory,
            ticks_per_s: rustix::param::clock_ticks_per_second() as f64,
            process_ids_comparable: fs::read_link("/proc/self/ns/pid")
                .is_ok_and(|namespace| namespace.as_os_str() == FIRST_PID_NAMESPACE),
        };
        let for_thread = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("sampler".to_owned())
            .spawn(move || sample_until_stopped(&for_thread, &model_cpus))?;
        Ok(Self { shared, thread: Some(thread), basis })
    }

    /// From now on the model host is this process, or there is none.
    pub fn watch_host(&self, process_id: Option<u32>) {
        self.shared.lock().host = process_id;
    }

    /// Takes a sample at once, so that a window can begin or end here; returns the moment. Returns
    /// before the sample is taken: whoever paces load must not wait for file reads.
    pub fn mark(&self) -> u64 {
        self.shared.lock().asked += 1;
        self.shared.wake.notify_all();
        self.shared.clock.now_ns()
    }

    /// The utilization between two moments, from the samples nearest to them.
    #[must_use]
    pub fn window(&self, from_ns: u64, to_ns: u64) -> Utilization {
        let state = self.shared.lock();
        // The sample that ends the window may still be under way.
        let under_way = |state: &mut State| state.answered < state.asked && !state.stop;
        let (state, _) = self
            .shared
            .wake
            .wait_timeout_while(state, SAMPLE_WITHIN, under_way)
            .unwrap_or_else(PoisonError::into_inner);
        let nearest = |at_ns: u64| {
            let samples = state.samples.iter().enumerate();
            samples.min_by_key(|(_, sample)| sample.at_ns.abs_diff(at_ns)).map(|(index, _)| index)
        };
        match (nearest(from_ns), nearest(to_ns)) {
            (Some(first), Some(last)) if first < last => {
                summarize(&state.samples[first..=last], &self.basis)
            }
            _ => Utilization::default(),
        }
    }

    /// CPU time that sampling has cost so far, in seconds.
    #[must_use]
    pub fn cpu_seconds(&self) -> f64 {
        self.shared.lock().cpu_ns as f64 / 1e9
    }
}

impl Drop for Sampler {
    fn drop(&mut self) {
        self.shared.lock().stop = true;
        self.shared.wake.notify_all();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the hardware sampler panicked; utilization is incomplete");
        }
    }
}

fn sample_until_stopped(shared: &Shared, model_cpus: &[u32]) {
    let gpus = Gpus::open().ok();
    let quotas = mounts::cpu_groups_of_this_process();
    loop {
        let (asked, host) = {
            let state = shared.lock();
            (state.asked, state.host)
        };
        let sample = take_sample(shared.clock, host, model_cpus, &quotas, gpus.as_ref());
        let mut state = shared.lock();
        state.samples.push(sample);
        state.answered = asked;
        state.cpu_ns = thread_cpu_ns();
        shared.wake.notify_all();
        let (state, _) = shared
            .wake
            .wait_timeout_while(state, INTERVAL, |state| !state.stop && state.asked == asked)
            .unwrap_or_else(PoisonError::into_inner);
        if state.stop {
            return;
        }
    }
}

fn take_sample(
    clock: Clock,
    host: Option<u32>,
    model_cpus: &[u32],
    quotas: &[PathBuf],
    gpus: Option<&Gpus>,
) -> Sample {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    // All counters at once, the slow levels afterwards: shares need the counters to be of one moment.
    let at_ns = clock.now_ns();
    let stat = read("/proc/stat");
    let cpus = proc_files::cpu_ticks(&stat);
    let scheduling = proc_files::scheduling(&stat);
    let own_ticks = proc_files::process_stat(&read("/proc/self/stat")).map(|stat| stat.ticks);
    let host = host.and_then(host_use);
    let ours = threads(std::process::id());
    let host_threads = host.as_ref().map(|host| {
        host.process_ids.iter().map(|&id| threads(id)).fold(Threads::default(), Threads::and)
    });
    let explained = ours.runnable + host_threads.map_or(0, |threads| threads.runnable);
    let memory_events = proc_files::memory_events(&read("/proc/vmstat"));
    Sample {
        runnable: scheduling.runnable,
        // Signed: threads change their state between the reading of one file and the next, in either
        // direction, and only the mean over many samples says something.
        other_runnable: scheduling.runnable.map(|all| all as f64 - explained as f64),
        context_switches: scheduling.context_switches,
        host_switches: host_threads.map(|threads| threads.switches),
        cpu_stalled_us: proc_files::stalled_us(&read("/proc/pressure/cpu")),
        memory_stalled_us: proc_files::stalled_us(&read("/proc/pressure/memory")),
        quota_throttled_us: throttled_us(quotas),
        page_faults: memory_events.page_faults,
        at_ns,
        cpus,
        own_ticks,
        host,
        available: proc_files::machine_memory(&read("/proc/meminfo")).available,
        swapped_pages: memory_events.swapped_pages,
        cpu_mhz: mean_clock(model_cpus),
        gpus: gpus.map(Gpus::sample).unwrap_or_default(),
    }
}

/// The threads of one process, or of several.
#[derive(Clone, Copy, Debug, Default)]
struct Threads {
    runnable: u64,
    switches: u64,
}

impl Threads {
    fn and(self, other: Self) -> Self {
        Self {
            runnable: self.runnable + other.runnable,
            switches: self.switches.saturating_add(other.switches),
        }
    }
}

fn threads(process_id: u32) -> Threads {
    let Ok(entries) = fs::read_dir(format!("/proc/{process_id}/task")) else {
        return Threads::default();
    };
    entries
        .flatten()
        .take(THREADS_LOOKED_AT)
        .filter_map(|entry| fs::read_to_string(entry.path().join("status")).ok())
        .map(|status| Threads {
            runnable: u64::from(proc_files::is_runnable(&status)),
            switches: proc_files::thread_switches(&status).unwrap_or(0),
        })
        .fold(Threads::default(), Threads::and)
}

/// Time that quotas withheld from the groups; absent when none of them tells.
fn throttled_us(groups: &[PathBuf]) -> Option<u64> {
    let tell = |group: &PathBuf| {
        proc_files::throttled_us(&fs::read_to_string(group.join("cpu.stat")).ok()?)
    };
    groups.iter().filter_map(tell).reduce(u64::saturating_add)
}

/// The use of a process and all its descendants; absent once it is gone.
#[must_use]
pub fn host_use(process_id: u32) -> Option<HostUse> {
    let page_size = u64::try_from(rustix::param::page_size()).unwrap_or(4096);
    let mut found = HostUse::default();
    let mut waiting = vec![process_id];
    // A tree this large is no model host; the bound also ends a walk that a reused id sends in circles.
    while let Some(id) = waiting.pop().filter(|_| found.process_ids.len() < 64) {
        let Ok(text) = fs::read_to_string(format!("/proc/{id}/stat")) else { continue };
        let Some(stat) = proc_files::process_stat(&text) else { continue };
        found.ticks = found.ticks.saturating_add(stat.ticks);
        let resident = stat.resident_pages.saturating_mul(page_size);
        found.resident = Bytes::new(found.resident.count().saturating_add(resident));
        found.minor_faults = found.minor_faults.saturating_add(stat.minor_faults);
        found.major_faults = found.major_faults.saturating_add(stat.major_faults);
        found.process_ids.push(id);
        // Children of the main thread; hosts that fork from others are not known.
        let children =
            fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap_or_default();
        waiting.extend(
            children.split_ascii_whitespace().filter_map(|child| child.parse::<u32>().ok()),
        );
    }
    (!found.process_ids.is_empty()).then_some(found)
}

fn mean_clock(cpus: &[u32]) -> Option<f64> {
    let scaled = |cpu: &u32| {
        let path = format!("/sys/devices/system/cpu/cpu{cpu}/cpufreq/scaling_cur_freq");
        let kilohertz: f64 = fs::read_to_string(path).ok()?.trim().parse().ok()?;
        (kilohertz.is_finite() && kilohertz > 0.0).then_some(kilohertz / 1000.0)
    };
    let mut clocks: Vec<f64> = cpus.iter().filter_map(scaled).collect();
    if clocks.is_empty() {
        let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let all = proc_files::cpu_clocks(&cpuinfo);
        clocks =
            all.into_iter().filter_map(|(cpu, mhz)| cpus.contains(&cpu).then_some(mhz)).collect();
    }
    (!clocks.is_empty()).then(|| clocks.iter().sum::<f64>() / clocks.len() as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hardware::facts::Machine;

    #[test]
    fn a_window_over_this_machine_sees_our_own_work() {
        let machine = Machine::here();
        let clock = Clock::start();
        let sampler = Sampler::start(clock, machine.cpus.clone(), machine.memory).unwrap();
        sampler.watch_host(Some(std::process::id()));
        // On processors that are all taken a sample may wait for its turn.
        while sampler.window(0, sampler.mark()).host_memory_bytes.is_none() {
            assert!(clock.now_ns() < 20_000_000_000, "the process was never seen");
        }
        let from = sampler.mark();
        let mut sum = 0u64;
        while clock.now_ns() < from + 300_000_000 {
            sum = std::hint::black_box(sum.wrapping_mul(31).wrapping_add(7));
        }
        let figures = sampler.window(from, sampler.mark());
        assert!(figures.samples >= 2, "{figures:?}");
        assert!(figures.host_cpu_pct.is_some_and(|pct| pct > 0.0), "{figures:?}");
        assert!(
            figures.host_memory_bytes.is_some_and(|bytes| bytes > Bytes::mib(1)),
            "{figures:?}"
        );
        assert!(figures.machine_available_bytes.is_some(), "{figures:?}");
        // This very thread ran or waited all the time, and it is not somebody else's.
        assert!(figures.runnable_tasks.is_some_and(|tasks| tasks >= 1.0), "{figures:?}");
        assert!(figures.other_runnable_tasks < figures.runnable_tasks, "{figures:?}");
        assert!(figures.context_switches_per_s.is_some_and(|count| count > 0.0), "{figures:?}");
        assert!(figures.host_page_faults_per_s.is_some(), "{figures:?}");
        assert!(sampler.cpu_seconds() > 0.0);
    }

    #[test]
    fn a_process_that_is_gone_has_no_use() {
        assert_eq!(host_use(u32::MAX), None);
    }
}
