//! The agent's view of GPUs, through the real NVML binding and a stand-in for the driver's library.
//!
//! A scenario is chosen by environment, so each test runs its body in a process of its own: this very
//! program, told to run that one test.
#![expect(clippy::unwrap_used, reason = "helpers of tests panic like tests")]

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use assay_agent::{
    clock::Clock,
    hardware::{evidence, facts::Machine, nvml::Gpus, sampler::Sampler},
};
use assay_measure::{
    hardware::{GpuUtilization, Utilization},
    units::Bytes,
    validity::{Evidence, Finding, FindingName, judge},
};
use nvidia_ml_stub::{VARIABLE as SCENARIO, figures};

const LIBRARY: &str = "ASSAY_NVML";

/// The stub, which cargo builds beside the test programs.
fn stub() -> PathBuf {
    let tests = env::current_exe().unwrap();
    let path = tests.with_file_name("libnvidia_ml_stub.so");
    assert!(path.is_file(), "{} does not exist", path.display());
    path
}

/// A copy of the stub in which the name of one function was blotted out.
fn stub_without(function: &str, folder: &Path) -> PathBuf {
    let mut bytes = std::fs::read(stub()).unwrap();
    let places: Vec<usize> = (0..bytes.len() - function.len())
        .filter(|&at| bytes[at..].starts_with(function.as_bytes()))
        .collect();
    assert!(!places.is_empty(), "{function} is not in the stub");
    for at in places {
        bytes[at] = b'x';
    }
    let path = folder.join("libnvidia-ml.so.1");
    std::fs::write(&path, bytes).unwrap();
    path
}

/// Runs `body` in a process of its own, in which the driver's library is `library`.
fn in_scenario(test: &str, scenario: &str, library: &Path, body: fn()) {
    if env::var_os(SCENARIO).is_some() {
        return body();
    }
    let output = Command::new(env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env(SCENARIO, scenario)
        .env(LIBRARY, library)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
    // A name that is no test's would pass, too.
    assert!(said.contains("1 passed"), "{said}");
}

/// A window of at least three samples, none of them of a model host.
fn watch() -> Utilization {
    watch_until(|utilization| utilization.samples >= 3)
}

fn watch_until(reached: fn(&Utilization) -> bool) -> Utilization {
    let machine = Machine::here();
    let sampler = Sampler::start(Clock::start(), machine.cpus, machine.memory).unwrap();
    let begun = Instant::now();
    loop {
        let utilization = sampler.window(0, sampler.mark());
        if reached(&utilization) {
            return utilization;
        }
        assert!(begun.elapsed() < Duration::from_secs(30), "{utilization:?}");
    }
}

fn only_gpu(utilization: &Utilization) -> &GpuUtilization {
    assert_eq!(utilization.gpus.len(), 1, "{utilization:?}");
    &utilization.gpus[0]
}

/// The findings on GPUs that follow from a window.
fn gpu_findings(utilization: &Utilization) -> Vec<Finding> {
    let machine = Some(evidence::of_window(utilization, Bytes::gib(4)));
    let all = judge(&Evidence { machine, ..Evidence::default() }).findings;
    all.into_iter().filter(|found| found.name.word().starts_with("gpu_")).collect()
}

fn near(value: Option<f64>, expected: f64) -> bool {
    value.is_some_and(|value| (value - expected).abs() < 1e-9)
}

/// What `assay-agent doctor` prints, and its findings as data.
fn doctor(scenario: &str, library: &Path) -> (String, Vec<serde_json::Value>) {
    let run = |more: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_assay-agent"))
            .args(["doctor", "--host-binary", "/bin/sh"])
            .args(more)
            .env(SCENARIO, scenario)
            .env(LIBRARY, library)
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let lines: Vec<serde_json::Value> =
        serde_json::from_str::<serde_json::Value>(&run(&["--output", "json"])).unwrap()["checks"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|check| check["name"].as_str().is_some_and(|name| name.starts_with("GPU")))
            .cloned()
            .collect();
    (run(&[]), lines)
}

#[test]
fn a_healthy_gpu_gives_every_figure_in_its_unit() {
    in_scenario("a_healthy_gpu_gives_every_figure_in_its_unit", "healthy", &stub(), || {
        let facts = Gpus::open().unwrap().facts();
        assert_eq!(facts[0].name, "Stub GPU 80GB");
        assert_eq!(facts[0].memory_bytes, Bytes::gib(80));
        assert_eq!(facts[0].driver.as_deref(), Some("580.65.06"));

        let utilization = watch();
        let gpu = only_gpu(&utilization);
        assert!(near(gpu.utilization_pct, 73.0), "{gpu:?}");
        assert_eq!(gpu.memory_used_bytes, Some(Bytes::gib(10)));
        assert!(near(gpu.power_w, 251.5), "{gpu:?}");
        assert!(near(gpu.temperature_c, 64.0), "{gpu:?}");
        assert!(near(gpu.sm_clock_mhz, f64::from(figures::SM_CLOCK_MHZ)), "{gpu:?}");
        // Each sample finds 5 000 mJ more than the one before.
        assert!(near(gpu.energy_j, f64::from(utilization.samples - 1) * 5.0), "{utilization:?}");
        assert!(near(gpu.throttled_pct, 0.0) && gpu.throttle_reasons.is_empty(), "{gpu:?}");
        assert_eq!((gpu.other_processes, gpu.shared_with_others), (Some(0), Some(false)));
        assert_eq!((gpu.mig, gpu.lost), (Some(false), false));
        assert_eq!(gpu_findings(&utilization), vec![]);
    });
}

#[test]
fn a_throttled_gpu_makes_the_trial_suspect() {
    in_scenario("a_throttled_gpu_makes_the_trial_suspect", "throttled", &stub(), || {
        let utilization = watch();
        assert_eq!(only_gpu(&utilization).throttle_reasons, vec!["hw_thermal_slowdown"]);
        let findings = gpu_findings(&utilization);
        assert_eq!(findings.len(), 1, "{findings:?}");
        assert_eq!(findings[0].name, FindingName::GpuThrottled);
        assert!(near(Some(findings[0].value), 100.0), "{findings:?}");
    });
}

#[test]
fn other_processes_on_the_gpu_are_counted() {
    in_scenario("other_processes_on_the_gpu_are_counted", "shared", &stub(), || {
        let utilization = watch();
        assert_eq!(only_gpu(&utilization).shared_with_others, Some(true));
        let findings = gpu_findings(&utilization);
        assert_eq!(findings.len(), 1, "{findings:?}");
        assert_eq!(findings[0].name, FindingName::GpuShared);
        assert!(near(Some(findings[0].value), 3.0), "{findings:?}");
    });
}

#[test]
fn a_gpu_lost_from_the_start_has_no_figures_and_is_named() {
    let test = "a_gpu_lost_from_the_start_has_no_figures_and_is_named";
    in_scenario(test, "lost", &stub(), || {
        let utilization = watch();
        let expected = GpuUtilization { lost: true, ..GpuUtilization::default() };
        assert_eq!(only_gpu(&utilization), &expected);
        let names: Vec<FindingName> =
            gpu_findings(&utilization).iter().map(|found| found.name).collect();
        assert_eq!(names, vec![FindingName::GpuLost]);
    });
}

#[test]
fn a_gpu_lost_in_a_run_does_not_end_sampling() {
    in_scenario("a_gpu_lost_in_a_run_does_not_end_sampling", "lost-later", &stub(), || {
        let utilization = watch_until(|u| u.gpus.iter().any(|gpu| gpu.lost) && u.samples >= 5);
        // The samples before still count.
        assert!(near(only_gpu(&utilization).power_w, 251.5), "{utilization:?}");
        assert!(utilization.machine_available_bytes.is_some(), "{utilization:?}");
        assert_eq!(gpu_findings(&utilization)[0].name, FindingName::GpuLost);
    });
}

#[test]
fn a_divided_gpu_is_named_and_lacks_what_only_a_whole_one_has() {
    let test = "a_divided_gpu_is_named_and_lacks_what_only_a_whole_one_has";
    in_scenario(test, "mig", &stub(), || {
        let utilization = watch();
        let gpu = only_gpu(&utilization);
        assert_eq!((gpu.mig, gpu.utilization_pct), (Some(true), None));
        assert!(near(gpu.power_w, 251.5), "{gpu:?}");
    });
    let (text, checks) = doctor("mig", &stub());
    assert!(
        text.contains("divided (MIG)") && text.contains("utilization (not supported)"),
        "{text}"
    );
    assert!(checks[1]["fix"].as_str().unwrap().contains("whole GPU"), "{text}");
}

#[test]
fn a_function_that_the_library_lacks_costs_its_own_figure_only() {
    let folder = tempfile::tempdir().unwrap();
    // The child finds its library in the environment; only its parent makes one.
    let library = match env::var_os(LIBRARY) {
        Some(given) => PathBuf::from(given),
        None => stub_without("nvmlDeviceGetPowerUsage", folder.path()),
    };
    let test = "a_function_that_the_library_lacks_costs_its_own_figure_only";
    in_scenario(test, "healthy", &library, || {
        let utilization = watch();
        let gpu = only_gpu(&utilization);
        assert_eq!(gpu.power_w, None);
        assert!(near(gpu.utilization_pct, 73.0) && gpu.energy_j.is_some(), "{gpu:?}");
        assert_eq!((gpu.lost, gpu_findings(&utilization)), (false, vec![]));
    });
    if env::var_os(SCENARIO).is_none() {
        let (text, _) = doctor("healthy", &library);
        assert!(text.contains("cannot read power (not in the driver's library)"), "{text}");
    }
}

#[test]
fn the_doctor_says_what_each_gpu_tells() {
    let (text, checks) = doctor("healthy", &stub());
    assert!(text.contains("1 seen through NVML, driver 580.65.06"), "{text}");
    assert!(text.contains("0: Stub GPU 80GB, "), "{text}");
    assert_eq!(checks.len(), 2, "{text}");
    assert!(checks.iter().all(|check| check["status"] == "good"), "{text}");
}

#[test]
fn the_doctor_names_missing_permission_and_what_to_do() {
    let (text, checks) = doctor("no-permission", &stub());
    assert!(text.contains("does not let this user see the GPUs"), "{text}");
    assert_eq!((checks.len(), &checks[0]["status"]), (1, &"weak".into()), "{text}");
    assert!(checks[0]["fix"].as_str().unwrap().contains("/dev/nvidiactl"), "{text}");

    let (text, checks) = doctor("restricted", &stub());
    assert!(text.contains("power (no permission), energy (no permission)"), "{text}");
    assert!(checks[1]["fix"].as_str().unwrap().contains("root"), "{text}");
}

#[test]
fn the_doctor_tells_a_lost_gpu_from_none() {
    let (text, checks) = doctor("lost", &stub());
    assert!(text.contains("utilization (lost)"), "{text}");
    assert!(checks[1]["fix"].as_str().unwrap().contains("Xid"), "{text}");
    let (text, checks) = doctor("no-driver", &stub());
    assert_eq!((checks.len(), &checks[0]["found"]), (1, &"none".into()), "{text}");
}
