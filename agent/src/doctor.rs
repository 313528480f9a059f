//! Looks whether this machine can measure, and says how to make it a better place for it.
//!
//! Nothing is changed: a control group is made and removed again to see whether it can be.

mod gpus;

use std::{
    fs,
    net::TcpListener,
    path::{Path, PathBuf},
    time::Duration,
};

use assay_measure::{
    hardware::{LimitInForce, Shape, Utilization},
    units::Bytes,
};
use serde::Serialize;

use crate::{
    clock::Clock,
    confinement::means::Means,
    hardware::{facts::Machine, nvml::Gpus, proc_files, sampler::Sampler},
    model_host,
    sandbox::{
        Allotment, Sandbox,
        mounts::{self, Hierarchies},
    },
};

/// How long other load is watched for.
const WATCH: Duration = Duration::from_secs(1);

/// How a check came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    Good,
    /// It works, but figures will be worse than they could be.
    Weak,
    /// The agent cannot do its work.
    Bad,
}

impl Status {
    /// How it looks in a list.
    #[must_use]
    pub const fn mark(self) -> &'static str {
        match self {
            Self::Good => "✓",
            Self::Weak => "!",
            Self::Bad => "✗",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    pub name: &'static str,
    pub status: Status,
    pub found: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fix: Option<String>,
}

impl Check {
    fn good(name: &'static str, found: impl Into<String>) -> Self {
        Self { name, status: Status::Good, found: found.into(), fix: None }
    }

    fn weak(name: &'static str, found: impl Into<String>, fix: &str) -> Self {
        Self { name, status: Status::Weak, found: found.into(), fix: Some(fix.to_owned()) }
    }

    fn bad(name: &'static str, found: impl Into<String>, fix: &str) -> Self {
        Self { name, status: Status::Bad, found: found.into(), fix: Some(fix.to_owned()) }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Diagnosis {
    schema: &'static str,
    /// The checks, in the order in which they are shown.
    pub checks: Vec<Check>,
}

impl Diagnosis {
    #[must_use]
    pub fn status(&self) -> Status {
        self.checks.iter().map(|check| check.status).max().unwrap_or(Status::Good)
    }

    /// For people: one line each, with the fix below.
    #[must_use]
    pub fn in_lines(&self) -> String {
        let mut text = String::new();
        for check in &self.checks {
            text.push_str(&format!("{} {:<15} {}\n", check.status.mark(), check.name, check.found));
            if let Some(fix) = &check.fix {
                text.push_str(&format!("  {:<15} fix: {fix}\n", ""));
            }
        }
        text
    }
}

/// Looks at everything. Takes a second, to watch what else is running.
#[must_use]
pub fn diagnose(host_program: Option<&Path>) -> Diagnosis {
    let machine = Machine::here();
    let utilization = watch(&machine);
    let governor = |cpu: u32| {
        let path = format!("/sys/devices/system/cpu/cpu{cpu}/cpufreq/scaling_governor");
        fs::read_to_string(path).ok().map(|text| text.trim().to_owned())
    };
    let mut checks = vec![
        host(host_program),
        processors(&machine, cpu_quota(&mounts::cpu_groups_of_this_process()).as_ref()),
        control_groups(&machine),
        confinement(&Means::of_this_process()),
        clock_speed(machine.cpus.iter().find_map(|&cpu| governor(cpu)).as_deref()),
        other_load(&utilization),
        steal(&utilization),
        memory(&utilization, machine.memory),
    ];
    checks.extend(gpus::checks(
        &Gpus::open().map(|gpus| (gpus.driver(), gpus.survey())),
        Path::new("/proc/driver/nvidia").exists(),
    ));
    checks.extend([ports(), time(clock_is_synchronized())]);
    Diagnosis { schema: "assay.agent-doctor/1", checks }
}

fn watch(machine: &Machine) -> Utilization {
    let Ok(sampler) = Sampler::start(Clock::start(), machine.cpus.clone(), machine.memory) else {
        return Utilization::default();
    };
    let from_ns = sampler.mark();
    std::thread::sleep(WATCH);
    let to_ns = sampler.mark();
    sampler.window(from_ns, to_ns)
}

fn host(given: Option<&Path>) -> Check {
    match model_host::find_program(given) {
        Ok(path) => Check::good("model host", path.display().to_string()),
        Err(error) => Check::bad(
            "model host",
            error.to_string(),
            "install assay-host beside assay-agent, or give --host-binary or ASSAY_HOST",
        ),
    }
}

/// A limit on processor time, which holds whatever the number of processors.
#[derive(Clone, Debug, PartialEq)]
struct CpuQuota {
    processors: f64,
    group: PathBuf,
}

/// The smallest of the quotas that hold for this process, of either version of control groups.
fn cpu_quota(groups: &[PathBuf]) -> Option<CpuQuota> {
    let read = |group: &Path, file: &str| fs::read_to_string(group.join(file)).ok();
    let of_group = |group: &PathBuf| {
        let first_version = || {
            let (quota, period) =
                (read(group, "cpu.cfs_quota_us")?, read(group, "cpu.cfs_period_us")?);
            proc_files::quota_of_version_1(&quota, &period)
        };
        let second_version =
            read(group, "cpu.max").and_then(|text| proc_files::quota_of_version_2(&text));
        let processors = second_version.or_else(first_version)?;
        Some(CpuQuota { processors, group: group.clone() })
    };
    groups.iter().filter_map(of_group).min_by(|a, b| a.processors.total_cmp(&b.processors))
}

fn processors(machine: &Machine, quota: Option<&CpuQuota>) -> Check {
    let found = format!("{} vCPU, {}", machine.vcpus(), machine.memory);
    if let Some(CpuQuota { processors, group }) =
        quota.filter(|quota| quota.processors < f64::from(machine.vcpus()))
    {
        let found =
            format!("{found}, but a CPU quota of {processors:.2} processors ({})", group.display());
        let fix = "measure without a CPU quota (Docker: without --cpus; Kubernetes: without limits.cpu; \
                   systemd: without CPUQuota): what it withholds is not the model's";
        return Check::weak("machine", found, fix);
    }
    if machine.vcpus() < 2 {
        let fix = "load generator and model share one processor: use a machine with two or more";
        return Check::weak("machine", found, fix);
    }
    Check::good("machine", found)
}

fn control_groups(machine: &Machine) -> Check {
    let shape = Shape { vcpus: 1, memory_bytes: Bytes::mib(64) };
    let Ok(allotment) = Allotment::of(machine, Some(shape)) else {
        return Check::bad("limits", "no processor to give", "run the agent where it may use one");
    };
    let sandbox = Sandbox::set_up(&allotment, &Hierarchies::of_this_process());
    limits(sandbox.limits_in_force())
}

fn limits(in_force: &[LimitInForce]) -> Check {
    let words: Vec<&str> = in_force.iter().map(|limit| limit.word()).collect();
    let found = words.join(", ");
    if in_force.contains(&LimitInForce::CpuSetCgroup)
        && in_force.contains(&LimitInForce::MemoryCgroup)
    {
        return Check::good("limits", found);
    }
    let fix = "let the agent make control groups: run it as root, or as a systemd service with Delegate=yes";
    Check::weak("limits", found, fix)
}

/// What keeps a model from everything else on this machine.
fn confinement(means: &Means) -> Check {
    let words: Vec<&str> = means.protections().iter().map(|limit| limit.word()).collect();
    let found = words.join(", ");
    if !means.keep_files() {
        let fix =
            "models can read what this user can: run a kernel with Landlock (Linux 5.13 or later)";
        return Check::weak("confinement", found, fix);
    }
    if !means.filter {
        let fix = "models can start processes: run a kernel with seccomp filters";
        return Check::weak("confinement", found, fix);
    }
    Check::good("confinement", found)
}

fn clock_speed(governor: Option<&str>) -> Check {
    match governor {
        None => Check::good("clock speed", "not controlled by this system"),
        Some(governor @ "performance") => {
            Check::good("clock speed", format!("governor {governor}"))
        }
        Some(governor) => {
            let fix = "cpupower frequency-set -g performance";
            Check::weak(
                "clock speed",
                format!("governor {governor} changes the clock with the load"),
                fix,
            )
        }
    }
}

fn other_load(utilization: &Utilization) -> Check {
    match utilization.other_cpu_pct {
        None => Check::weak("other load", "cannot be seen", "make /proc/stat readable"),
        Some(pct) if pct > 5.0 => {
            let fix = "stop other programs while measuring; `top` shows them";
            Check::weak("other load", format!("{pct:.1} % of a core"), fix)
        }
        Some(pct) => Check::good("other load", format!("{pct:.1} % of a core")),
    }
}

fn steal(utilization: &Utilization) -> Check {
    match utilization.steal_pct {
        None => Check::good("steal", "not reported by this system"),
        Some(pct) if pct > 1.0 => {
            let fix = "the hypervisor gives this machine's processors to others: use another or a dedicated one";
            Check::weak("steal", format!("{pct:.1} %"), fix)
        }
        Some(pct) => Check::good("steal", format!("{pct:.1} %")),
    }
}

fn memory(utilization: &Utilization, all: Bytes) -> Check {
    match utilization.machine_available_bytes {
        None => Check::weak("memory", "cannot be seen", "make /proc/meminfo readable"),
        Some(available) if available.count() < all.count() / 4 => {
            let fix = "stop other programs: little memory is left for the model";
            Check::weak("memory", format!("{available} of {all} available"), fix)
        }
        Some(available) => Check::good("memory", format!("{available} of {all} available")),
    }
}

fn ports() -> Check {
    match TcpListener::bind("127.0.0.1:0") {
        Ok(_) => Check::good("ports", "the loopback interface takes listeners"),
        Err(error) => Check::bad(
            "ports",
            error.to_string(),
            "bring the loopback interface up: ip link set lo up",
        ),
    }
}

/// Somebody keeps the wall clock synchronized; absent when the kernel does not tell.
#[expect(unsafe_code, reason = "no safe wrapper of adjtimex is among the dependencies")]
fn clock_is_synchronized() -> Option<bool> {
    // SAFETY: an all-zero `timex` is valid, and asks for nothing to be changed.
    let mut state: libc::timex = unsafe { std::mem::zeroed() };
    // SAFETY: the pointer is to a live `timex`, which the call fills.
    let result = unsafe { libc::adjtimex(&raw mut state) };
    (result >= 0).then_some(result != libc::TIME_ERROR)
}

fn time(synchronized: Option<bool>) -> Check {
    match synchronized {
        Some(true) => Check::good("time", "synchronized"),
        Some(false) => {
            let fix = "run chrony or systemd-timesyncd; measuring itself needs no wall clock, dates in reports do";
            Check::weak("time", "not synchronized", fix)
        }
        None => Check::good("time", "not told by this system"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_check_that_is_not_good_has_its_fix() {
        let idle = Utilization::default();
        let busy = Utilization {
            other_cpu_pct: Some(50.0),
            steal_pct: Some(3.0),
            machine_available_bytes: Some(Bytes::mib(1)),
            ..idle.clone()
        };
        let all = [
            host(Some(Path::new("/nonexistent"))),
            limits(&[LimitInForce::CpuSetAffinity, LimitInForce::MemoryWatchdog]),
            limits(&[LimitInForce::CpuSetCgroup, LimitInForce::MemoryCgroup]),
            clock_speed(Some("powersave")),
            clock_speed(None),
            other_load(&busy),
            other_load(&idle),
            steal(&busy),
            memory(&busy, Bytes::gib(8)),
            time(Some(false)),
            processors(&Machine { cpus: vec![0], memory: Bytes::gib(1) }, None),
        ];
        for check in &all {
            assert_eq!(check.status == Status::Good, check.fix.is_none(), "{check:?}");
        }
        assert_eq!(all.iter().filter(|check| check.status == Status::Good).count(), 2);
        assert_eq!(all[0].status, Status::Bad);
    }

    #[test]
    fn a_cpu_quota_of_either_version_is_named_with_its_group() {
        let dir = tempfile::tempdir().unwrap();
        let group = |name: &str, files: &[(&str, &str)]| {
            let group = dir.path().join(name);
            fs::create_dir(&group).unwrap();
            files.iter().for_each(|(file, text)| fs::write(group.join(file), text).unwrap());
            group
        };
        let first = [("cpu.cfs_quota_us", "50000\n"), ("cpu.cfs_period_us", "100000\n")];
        let unlimited = [("cpu.cfs_quota_us", "-1\n"), ("cpu.cfs_period_us", "100000\n")];
        let (first, unlimited) = (group("first", &first), group("unlimited", &unlimited));
        let second = group("second", &[("cpu.max", "150000 100000\n")]);
        let open = group("open", &[("cpu.max", "max 100000\n")]);
        assert_eq!(cpu_quota(&[unlimited.clone(), open.clone()]), None);
        let quota = cpu_quota(&[unlimited, open, second.clone()]).unwrap();
        assert_eq!(quota, CpuQuota { processors: 1.5, group: second.clone() });
        let machine = Machine { cpus: vec![0, 1], memory: Bytes::gib(4) };
        assert_eq!(processors(&machine, Some(&CpuQuota { processors: 2.0, ..quota })).fix, None);
        let check = processors(&machine, cpu_quota(&[first, second]).as_ref());
        assert_eq!(check.status, Status::Weak);
        assert!(check.found.contains("0.50 processors (") && check.found.contains("first"));
    }

    #[test]
    fn this_machine_is_looked_at_as_a_whole() {
        let diagnosis = diagnose(Some(Path::new("/bin/sh")));
        assert_eq!(diagnosis.checks.len(), 11);
        assert!(diagnosis.status() < Status::Bad, "{}", diagnosis.in_lines());
        let json = serde_json::to_value(&diagnosis).unwrap();
        assert_eq!(json["schema"], "assay.agent-doctor/1");
        assert_eq!(json["checks"][0]["status"], "good");
        assert!(diagnosis.in_lines().contains("✓ model host"));
    }
}
