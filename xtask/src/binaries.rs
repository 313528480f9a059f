//! The binaries that demo and tests share, and libtorch before them.

use std::{
    fs,
    process::{Child, Stdio},
};

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, kill_process};

use crate::{checkout::Checkout, console::Console, libtorch};

const BUILD: &str = "build --workspace --bins";

/// Builds them; what does not need libtorch is compiled while that is fetched.
pub(crate) fn build(checkout: &Checkout, console: Console) -> Result<()> {
    let beside = if libtorch::is_there(checkout)? { None } else { Some(Beside::start(checkout)?) };
    let fetched = libtorch::ensure(checkout, console);
    drop(beside);
    fetched?;
    console.say("building assay, assay-agent and assay-host");
    checkout.run_cargo(BUILD)
}

/// The same build without libtorch: it goes as far as that lets it. What it says then would only confuse.
struct Beside(Child);

impl Beside {
    fn start(checkout: &Checkout) -> Result<Self> {
        let mut cargo = checkout.cargo();
        cargo.args(BUILD.split(' ')).arg("--keep-going");
        cargo.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Ok(Self(cargo.spawn().context("cannot start cargo")?))
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        if let Ok(None) = self.0.try_wait() {
            kill_tree(Pid::from_child(&self.0));
        }
        // It fails in any case, for want of libtorch.
        drop(self.0.wait());
    }
}

/// Ends a process with all that it started, so that nothing of it writes while the next build does. Not by its
/// process group: it is in ours, for Ctrl-C to reach both.
fn kill_tree(pid: Pid) {
    // Stopped, it starts nothing new meanwhile. Whoever is gone already needs neither.
    kill_process(pid, Signal::STOP).ok();
    let tasks = fs::read_dir(format!("/proc/{}/task", pid.as_raw_nonzero()));
    for task in tasks.into_iter().flatten().flatten() {
        let children = fs::read_to_string(task.path().join("children")).unwrap_or_default();
        let children = children.split_whitespace().filter_map(|child| child.parse().ok());
        children.filter_map(Pid::from_raw).for_each(kill_tree);
    }
    kill_process(pid, Signal::KILL).ok();
}

#[cfg(test)]
mod tests {
    use std::{
        io::{BufRead, BufReader},
        process::Command,
        time::Duration,
    };

    use super::*;
    use crate::process::wait_for;

    #[test]
    fn what_a_process_started_ends_with_it() {
        let mut shell = Command::new("sh");
        shell.args(["-c", "sh -c 'sleep 600 & echo $!; wait' & wait"]).stdout(Stdio::piped());
        let mut child = shell.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let grandchild = format!("/proc/{}/stat", line.trim());
        assert!(fs::exists(&grandchild).unwrap());
        drop(Beside(child));
        wait_for("the grandchild's end", Duration::from_secs(20), || {
            let stat = fs::read_to_string(&grandchild).unwrap_or_default();
            let gone = stat.is_empty() || stat.contains(") Z ");
            Ok(gone.then_some(()))
        })
        .unwrap();
    }
}
