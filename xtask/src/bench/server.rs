//! A server that runs while something is measured, and ends with it.

use std::{
    ffi::OsStr,
    fs,
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

use super::model::Model;
use crate::{
    checkout::Checkout,
    process::{capture, shown, wait_for},
};

const LIMIT: Duration = Duration::from_secs(120);

/// `assay-host serve` on a port of its own choice, for [`Server::listening`].
pub(super) fn model_host(checkout: &Checkout, file: &Path, model: Model) -> Command {
    let mut serve = checkout.program("assay-host");
    serve.arg("serve").arg(file).args(["--listen", "127.0.0.1:0", "--input", model.input()]);
    serve
}

/// The same with one worker of one thread.
pub(super) fn one_worker(checkout: &Checkout, file: &Path, model: Model) -> Command {
    let mut serve = model_host(checkout, file, model);
    serve.args(["--workers", "1", "--intra-op-threads", "1"]);
    serve
}

/// `assay serve` on a port of its own choice, with its data below that folder.
pub(super) fn coordinator(checkout: &Checkout, data: &Path) -> Command {
    let mut serve = checkout.program("assay");
    serve.args(["serve", "--listen", "127.0.0.1:0", "--data-dir"]).arg(data);
    serve
}

/// `assay-agent run` with these arguments, once the coordinator, which has no other, calls it connected.
pub(super) fn connected_agent(
    checkout: &Checkout,
    url: &str,
    name: &str,
    more: &[&OsStr],
) -> Result<Server> {
    let mut run = checkout.program("assay-agent");
    let agent = Server::start(run.args(["run", "--server", url, "--name", name]).args(more))?;
    wait_for("the agent's registration", LIMIT, || {
        let mut list = checkout.program("assay");
        let listed = capture(list.args(["agents", "list", "--server", url, "-o", "json"]))?;
        Ok(listed.contains("\"connected\": true").then_some(()))
    })?;
    Ok(agent)
}

/// A running program of ours.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
}

/// What a server said until it listened.
#[derive(Debug)]
pub(crate) struct Heard {
    pub(crate) url: String,
    pub(crate) took: Duration,
    before: Vec<String>,
}

impl Heard {
    /// What stood after that word on a line of its own.
    pub(crate) fn after(&self, word: &str) -> Result<&str> {
        let found = self.before.iter().find_map(|line| line.strip_prefix(word)?.strip_prefix(' '));
        found.with_context(|| format!("a server did not say `{word}`"))
    }
}

/// What a process has used so far.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Usage {
    pub(crate) cpu: Duration,
    pub(crate) resident_bytes: u64,
}

impl Server {
    /// Starts a program that says nothing on stdout.
    pub(crate) fn start(command: &mut Command) -> Result<Self> {
        let child =
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        Ok(Self { child: child.with_context(|| format!("cannot start `{}`", shown(command)))? })
    }

    /// Starts a program and waits for its line `listening URL`.
    pub(crate) fn listening(command: &mut Command) -> Result<(Self, String)> {
        let (server, heard) = Self::heard(command)?;
        Ok((server, heard.url))
    }

    /// The same, with all that it said and how long it took.
    pub(crate) fn heard(command: &mut Command) -> Result<(Self, Heard)> {
        let start = Instant::now();
        // Its standard input ends with us, however we end: some servers watch for that.
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let child =
            command.spawn().with_context(|| format!("cannot start `{}`", shown(command)))?;
        let mut server = Self { child };
        let stdout = server.child.stdout.take().expect("stdout was piped");
        let mut before = Vec::new();
        for line in BufReader::new(stdout).lines() {
            let line = line?;
            if let Some(url) = line.strip_prefix("listening ") {
                let (took, url) = (start.elapsed(), url.trim().to_owned());
                return Ok((server, Heard { url, took, before }));
            }
            before.push(line);
        }
        bail!("`{}` ended before it listened", shown(command));
    }

    /// Ends it without asking, as a crash would.
    pub(crate) fn kill(&mut self) -> Result<()> {
        self.child.kill().and_then(|()| self.child.wait()).context("cannot end a server")?;
        Ok(())
    }

    pub(crate) fn process_id(&self) -> u32 {
        self.child.id()
    }

    /// What it has used since it was started.
    pub(crate) fn usage(&self) -> Result<Usage> {
        let pid = self.child.id();
        let stat =
            fs::read_to_string(format!("/proc/{pid}/stat")).context("the process is gone")?;
        let status =
            fs::read_to_string(format!("/proc/{pid}/status")).context("the process is gone")?;
        usage_of(&stat, &status).context("/proc looks unlike what proc(5) says")
    }
}

/// From `/proc/PID/stat` and `/proc/PID/status`.
fn usage_of(stat: &str, status: &str) -> Option<Usage> {
    // The name in parentheses may contain anything; the fields after it are counted from 3.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks = fields.get(11)?.parse::<f64>().ok()? + fields.get(12)?.parse::<f64>().ok()?;
    let ticks_per_second = rustix::param::clock_ticks_per_second() as f64;
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let resident_kib: u64 = resident.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(Usage {
        cpu: Duration::from_secs_f64(ticks / ticks_per_second),
        resident_bytes: resident_kib * 1024,
    })
}

impl Drop for Server {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(Some(_))) {
            return;
        }
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        // Ask first, so that it ends its own children.
        let asked = pid.is_some_and(|pid| kill_process(pid, Signal::TERM).is_ok());
        let ended =
            asked && wait_for("the end of a server", LIMIT, || Ok(self.child.try_wait()?)).is_ok();
        if !ended {
            _ = self.child.kill();
            _ = self.child.wait();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usage_is_read_although_the_name_has_parentheses() {
        let stat = "7 (a) b) S 1 7 7 0 -1 4194560 100 0 0 0 150 50 0 0 20 0 1 0 9";
        let usage = usage_of(stat, "Name:\ta\nVmRSS:\t   2048 kB\n").unwrap();
        assert_eq!(usage.resident_bytes, 2 << 20);
        let ticks_per_second = rustix::param::clock_ticks_per_second() as f64;
        assert!((usage.cpu.as_secs_f64() - 200.0 / ticks_per_second).abs() < 1e-9);
    }

    #[test]
    fn a_server_is_found_by_its_line_and_gone_when_dropped() {
        let mut command = Command::new("sh");
        command.args(["-c", "echo hello; echo listening http://127.0.0.1:1; exec sleep 600"]);
        let (server, url) = Server::listening(&mut command).unwrap();
        let pid = server.child.id();
        assert_eq!(url, "http://127.0.0.1:1");
        assert!(server.usage().unwrap().resident_bytes > 0);
        drop(server);
        assert!(!std::path::Path::new(&format!("/proc/{pid}")).exists());
    }

    #[test]
    fn a_killed_server_is_gone_at_once_and_dropped_in_peace() {
        let mut command = Command::new("sh");
        command.args(["-c", "trap '' TERM; echo listening http://127.0.0.1:1; exec sleep 600"]);
        let (mut server, _) = Server::listening(&mut command).unwrap();
        let pid = server.process_id();
        server.kill().unwrap();
        assert!(!std::path::Path::new(&format!("/proc/{pid}")).exists());
    }

    #[test]
    fn a_server_that_ends_before_it_listens_is_an_error() {
        let error = Server::listening(&mut Command::new("true")).unwrap_err();
        assert!(error.to_string().contains("ended before it listened"), "{error}");
    }
}
