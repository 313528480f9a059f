//! Disturbed on purpose, the instrument notices: each test does to a search what machines do to it, and
//! asserts on the finding that follows.
//!
//! That an undisturbed search is called valid can only be seen on a quiet machine; `assay-agent
//! calibrate` is for that.
#![expect(clippy::unwrap_used, reason = "helpers of tests panic like tests")]

use std::{
    fs,
    io::{BufRead, BufReader, Lines, Read},
    path::{Path, PathBuf},
    process::{self, Child, ChildStderr, ChildStdout, Command, Stdio},
    thread,
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// A child that does not outlive the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

impl Running {
    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.0), signal).unwrap();
    }
}

fn agent(arguments: &[&str]) -> Running {
    let mut command = Command::new(env!("CARGO_BIN_EXE_assay-agent"));
    command.args(arguments).env_remove("ASSAY_OUTPUT");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    Running(command.spawn().unwrap())
}

/// A server of known capacity, as a process of its own.
fn known_server(arguments: &[&str]) -> (Running, String) {
    let mut server = agent(&[&["known-server", "--duration", "2m"], arguments].concat());
    let mut line = String::new();
    let stdout: ChildStdout = server.0.stdout.take().unwrap();
    BufReader::new(stdout).read_line(&mut line).unwrap();
    let url = line.trim().strip_prefix("listening ").unwrap().to_owned();
    (server, url)
}

/// A search that runs; its progress is read line by line.
struct Searching {
    child: Running,
    progress: Lines<BufReader<ChildStderr>>,
}

fn capacity(url: &str, max_duration: &str) -> Searching {
    let mut child = agent(&[
        "capacity",
        "--target",
        url,
        "--slo",
        "p95<=50ms",
        "--quick",
        "--max-duration",
        max_duration,
        "-o",
        "json",
    ]);
    let progress = BufReader::new(child.0.stderr.take().unwrap()).lines();
    Searching { child, progress }
}

impl Searching {
    /// Reads progress up to the end of the first step of the main run.
    fn until_the_main_run(&mut self) {
        let mut seen = Vec::new();
        for line in self.progress.by_ref() {
            let line = line.unwrap();
            if line.contains("Z main ") {
                return;
            }
            seen.push(line);
        }
        panic!("the search ended before its main run: {seen:#?}");
    }

    fn report(mut self) -> Value {
        let said: Vec<String> = self.progress.by_ref().map_while(Result::ok).collect();
        report(&mut self.child, &said)
    }
}

fn report(child: &mut Running, said: &[String]) -> Value {
    let mut text = String::new();
    child.0.stdout.take().unwrap().read_to_string(&mut text).unwrap();
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text} {said:#?}"))
}

/// The finding's value, if it was found.
fn finding(report: &Value, name: &str) -> Option<f64> {
    let findings = report["validity"]["findings"].as_array().unwrap();
    findings.iter().find(|finding| finding["name"] == name)?["value"].as_f64()
}

#[test]
fn a_busy_loop_on_every_processor_makes_the_calibration_invalid() {
    let busy: Vec<Running> = (0..thread::available_parallelism().unwrap().get())
        .map(|_| {
            let mut command = Command::new("sh");
            Running(command.args(["-c", "while :; do :; done"]).spawn().unwrap())
        })
        .collect();
    let mut calibrating = agent(&["calibrate", "--quick", "--max-duration", "15s", "-o", "json"]);
    let report = report(&mut calibrating, &[]);
    drop(busy);
    let other = finding(&report, "other_load").unwrap_or_else(|| panic!("{report:#}"));
    assert!(other > 50.0, "{report:#}");
    assert_eq!(report["validity"]["verdict"], "invalid", "{report:#}");
}

/// A memory limit of its own for some process, gone with it.
struct MemoryLimit(PathBuf);

impl MemoryLimit {
    /// `None` where this machine gives no control group to us.
    fn of(bytes: u64) -> Option<Self> {
        let name = format!("assay-disturbance-{}", process::id());
        let kinds =
            [("/sys/fs/cgroup/memory", "memory.limit_in_bytes"), ("/sys/fs/cgroup", "memory.max")];
        kinds.into_iter().find_map(|(root, limit)| {
            let group = PathBuf::from(root).join(&name);
            fs::create_dir(&group).ok()?;
            let group = Self(group);
            fs::write(group.0.join(limit), bytes.to_string()).ok()?;
            Some(group)
        })
    }

    /// Reads a file over and over that does not fit: every page has to be fetched again. It is written
    /// inside the group too, or its pages would count against somebody else.
    fn thrash(&self, file: &Path) -> Running {
        let script = "echo $$ > \"$0\" && head -c 96M /dev/zero > \"$1\" &&
            while :; do cat \"$1\" > /dev/null || exit; done";
        let mut command = Command::new("sh");
        command.args(["-c", script]).arg(self.0.join("cgroup.procs")).arg(file);
        Running(command.spawn().unwrap())
    }
}

impl Drop for MemoryLimit {
    fn drop(&mut self) {
        // Its last process may still be on its way out.
        for _ in 0..100 {
            if fs::remove_dir(&self.0).is_ok() {
                return;
            }
            thread::sleep(Duration::from_millis(50));
        }
    }
}

#[test]
fn memory_pressure_is_found() {
    let limit = MemoryLimit::of(16 << 20).expect(
        "a control group with a memory limit can be made here; where not, `cargo xtask test` leaves this out",
    );
    let file = tempfile::NamedTempFile::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let thrashing = limit.thrash(file.path());
    let mut calibrating = agent(&["calibrate", "--quick", "--max-duration", "15s", "-o", "json"]);
    let report = report(&mut calibrating, &[]);
    drop(thrashing);
    let stalled = finding(&report, "memory_stall").unwrap_or_else(|| panic!("{report:#}"));
    assert!(stalled > 1.0, "{report:#}");
    assert_ne!(report["validity"]["verdict"], "valid", "{report:#}");
}

#[test]
fn a_target_that_is_stopped_for_a_while_is_not_called_valid() {
    let (server, url) = known_server(&["--service-time", "10ms"]);
    let mut searching = capacity(&url, "26s");
    searching.until_the_main_run();
    server.signal(Signal::STOP);
    thread::sleep(Duration::from_millis(1800));
    server.signal(Signal::CONT);
    let report = searching.report();
    assert_ne!(report["validity"]["verdict"], "valid", "{report:#}");
    // One segment holds nearly all misses: no interval over segments is narrow then.
    let wide = finding(&report, "interval_too_wide");
    let otherwise = finding(&report, "drift").or(finding(&report, "confirmation_missed"));
    assert!(wide.or(otherwise).is_some(), "{report:#}");
}

#[test]
fn a_target_that_slows_down_in_the_middle_is_not_called_valid() {
    let change = ["--service-time", "10ms", "--then", "13ms", "--after", "12s"];
    let (_server, url) = known_server(&change);
    let report = capacity(&url, "26s").report();
    assert_ne!(report["validity"]["verdict"], "valid", "{report:#}");
    // What it costs depends on how much of the run came before: either the second half is seen to be
    // slower than the first, or segments differ so much that the interval is wide.
    let drift = finding(&report, "drift").filter(|change| *change < -5.0);
    let wide = finding(&report, "interval_too_wide");
    assert!(drift.or(wide).is_some(), "{report:#}");
}
