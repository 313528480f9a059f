//! `bench api`: two hundred boto3 clients at once against one coordinator. Does it answer all of them, does it
//! keep every job through a sudden end, and what does it cost?
//!
//! On a small machine the clients need nearly all of the processors, so what they see is mostly their own queue.
//! They run at the lowest priority, and beside them one lean client (`probe`) asks the same things at a usual
//! one: what it sees is the server's.

use std::{
    collections::BTreeSet,
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{ChildStdout, Command, Stdio},
    thread,
    time::Duration,
};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::{
    Bench,
    figures::verdict,
    load::peers::python_with,
    model::Model,
    report::Section,
    server::{Server, Usage, connected_agent, coordinator},
};
use crate::{
    checkout::Checkout,
    files,
    process::{capture, run, shown},
};

mod probe;

use probe::Probe;

const PROCESSES: usize = 4;
const CLIENTS_EACH: usize = 50;
const JOBS_EACH: usize = 10;
const OPERATIONS: [(&str, &str); 3] = [
    ("Create", "CreateInferenceRecommendationsJob"),
    ("Describe", "DescribeInferenceRecommendationsJob"),
    ("List", "ListInferenceRecommendationsJobs"),
];
/// Between two requests of the lean client, so that it is no load itself.
const PAUSE: Duration = Duration::from_millis(4);
/// Of that many requests, one creates, one lists, and the others describe.
const CYCLE: usize = 20;
const MIB: f64 = (1 << 20) as f64;

/// A coordinator with an agent that takes nothing, so that jobs are planned and wait.
struct Fleet {
    folder: PathBuf,
    server: Server,
    url: String,
    _agent: Server,
}

/// How long requests took, in seconds, ascending: one list for each of [`OPERATIONS`].
type Seen = [Vec<f64>; 3];

/// What the many clients did.
struct Load {
    seconds: f64,
    seen: Seen,
    created: BTreeSet<String>,
    failures: Vec<String>,
}

/// What one client is told of all jobs, twice at most.
#[derive(Debug, PartialEq)]
struct Told {
    lost: usize,
    twice: usize,
}

/// Loads it, ends it, and looks for what was promised.
pub(super) fn measure(bench: &Bench<'_>) -> Result<Section> {
    let checkout = bench.checkout;
    let python = boto3(bench)?;
    let mut fleet = Fleet::start(bench)?;
    let before = fleet.server.usage()?;
    let (mut load, lean) = fleet.load(checkout, &python)?;
    let after = fleet.server.usage()?;
    load.created.extend(lean.created);
    bench.say(&format!("{} jobs in {:.0} s, looking for them", load.created.len(), load.seconds));
    let told = fleet.told(checkout, &python, &load.created)?;
    bench.say("killing the coordinator, starting another on its data");
    fleet.kill_and_restart(checkout)?;
    let told_again = fleet.told(checkout, &python, &load.created)?;
    let body = body(&load, &lean.seen, (before, after), [&told, &told_again]);
    Ok(Section { name: "api", title: "Two hundred boto3 clients", body })
}

impl Fleet {
    fn start(bench: &Bench<'_>) -> Result<Self> {
        let checkout = bench.checkout;
        let folder = checkout.target_dir().join("bench/api");
        files::remove_dir(&folder)?;
        let files = folder.join("files");
        files::create_dir(&files)?;
        fs::copy(Model::Mlp.file(bench)?, files.join("mlp.pt"))?;
        Model::Mlp.write_body(&files.join("a.npy"))?;
        run(Command::new("tar")
            .arg("-C")
            .arg(&files)
            .arg("-czf")
            .args([files.join("payload.tar.gz").as_os_str(), "a.npy".as_ref()]))?;
        let (server, url) = serve(checkout, &folder)?;
        let cache = folder.join("cache");
        let emulating = ["--emulate".as_ref(), "--cache-dir".as_ref(), cache.as_os_str()];
        let agent = connected_agent(checkout, &url, "idle", &emulating)?;
        let mut drain = checkout.program("assay");
        capture(drain.args(["agents", "drain", "idle", "--server", &url]))?;
        let model = format!(
            "{{\"ModelName\": \"bench\", \"PrimaryContainer\": {{\"Image\": \"i\", \"ModelDataUrl\": \"file://{}\"}}}}",
            files.join("mlp.pt").display()
        );
        Probe::connect(&url)?.ask("CreateModel", &model)?;
        Ok(Self { folder, server, url, _agent: agent })
    }

    fn payload_url(&self) -> String {
        format!("file://{}", self.folder.join("files/payload.tar.gz").display())
    }

    /// Both kinds of clients at the same time.
    fn load(&self, checkout: &Checkout, python: &Path) -> Result<(Load, Lean)> {
        let mut clients = Command::new("nice");
        clients.args(["-n", "19"]).arg(python).arg(script(checkout)).args(["load", &self.url]);
        clients.args([PROCESSES, CLIENTS_EACH, JOBS_EACH].map(|count| count.to_string()));
        clients.arg(self.payload_url()).stdout(Stdio::piped());
        let mut running =
            clients.spawn().with_context(|| format!("cannot start `{}`", shown(&clients)))?;
        let mut stdout = BufReader::new(running.stdout.take().expect("stdout was piped"));
        let mut ready = String::new();
        stdout.read_line(&mut ready)?;
        let reading = thread::spawn(move || last_line(stdout));
        let mut lean = Lean::default();
        let mut probe = Probe::connect(&self.url)?;
        while !reading.is_finished() {
            lean.ask(&mut probe, &self.payload_url())?;
            thread::sleep(PAUSE);
        }
        let told = reading.join().expect("the reader does not panic")?;
        if !running.wait()?.success() {
            bail!("`{}` failed, see above", shown(&clients));
        }
        Ok((Load::read(&told)?, lean))
    }

    /// What one boto3 client is told of the jobs that were created.
    fn told(&self, checkout: &Checkout, python: &Path, created: &BTreeSet<String>) -> Result<Told> {
        let mut check = Command::new(python);
        let told = capture(check.arg(script(checkout)).args(["check", &self.url]))?;
        Told::read(&told, created)
    }

    /// Nothing is asked of it before: its end is a surprise.
    fn kill_and_restart(&mut self, checkout: &Checkout) -> Result<()> {
        self.server.kill()?;
        (self.server, self.url) = serve(checkout, &self.folder)?;
        Ok(())
    }
}

fn serve(checkout: &Checkout, folder: &Path) -> Result<(Server, String)> {
    let mut serve = coordinator(checkout, &folder.join("data"));
    Server::listening(serve.arg("--allow-file-urls").arg(folder.join("files")))
}

fn script(checkout: &Checkout) -> PathBuf {
    checkout.root().join("xtask/src/bench/api/clients.py")
}

fn last_line(stdout: BufReader<ChildStdout>) -> Result<String> {
    let lines = stdout.lines().collect::<std::io::Result<Vec<String>>>()?;
    lines.into_iter().last().context("the clients said nothing")
}

#[derive(Default)]
struct Lean {
    asked: usize,
    seen: Seen,
    created: BTreeSet<String>,
}

impl Lean {
    fn ask(&mut self, probe: &mut Probe, payload_url: &str) -> Result<()> {
        let name = format!("lean-{}", self.asked / CYCLE);
        let (which, body) = match self.asked % CYCLE {
            0 => {
                let config = format!(
                    "{{\"PayloadConfig\": {{\"SamplePayloadUrl\": \"{payload_url}\"}}, \"SupportedInstanceTypes\": [\"ml.c5.large\", \"ml.m5.large\"], \"DataInputConfig\": \"[[1,64]]\"}}"
                );
                self.created.insert(name.clone());
                (
                    0,
                    format!(
                        "{{\"JobName\": \"{name}\", \"JobType\": \"Default\", \"RoleArn\": \"arn:aws:iam::123456789012:role/r\", \"InputConfig\": {{\"ModelName\": \"bench\", \"ContainerConfig\": {config}}}}}"
                    ),
                )
            }
            1 => (2, "{\"MaxResults\": 100}".to_owned()),
            _ => (1, format!("{{\"JobName\": \"{name}\"}}")),
        };
        self.asked += 1;
        let (took, _) = probe.ask(OPERATIONS[which].1, &body)?;
        let seen = &mut self.seen[which];
        let place = seen.partition_point(|before| *before < took.as_secs_f64());
        seen.insert(place, took.as_secs_f64());
        Ok(())
    }
}

impl Load {
    fn read(told: &str) -> Result<Self> {
        let told: Value = serde_json::from_str(told).context("the clients printed no JSON")?;
        let numbers = |(what, _): (&str, &str)| {
            let calls = told.pointer(&format!("/calls/{what}")).and_then(Value::as_array);
            calls.into_iter().flatten().filter_map(Value::as_f64).collect()
        };
        Ok(Self {
            seconds: told.get("seconds").and_then(Value::as_f64).context("no time")?,
            seen: OPERATIONS.map(numbers),
            created: words(&told, "created")?.into_iter().collect(),
            failures: words(&told, "failures")?,
        })
    }

    fn requests(&self) -> usize {
        self.seen.iter().map(Vec::len).sum()
    }
}

impl Told {
    fn read(told: &str, created: &BTreeSet<String>) -> Result<Self> {
        let told: Value = serde_json::from_str(told).context("the client printed no JSON")?;
        let listed = words(&told, "listed")?;
        let once: BTreeSet<&String> = listed.iter().collect();
        let described: BTreeSet<String> = words(&told, "described")?.into_iter().collect();
        let is_lost = |name: &&String| !once.contains(name) || !described.contains(*name);
        Ok(Self { lost: created.iter().filter(is_lost).count(), twice: listed.len() - once.len() })
    }
}

fn words(told: &Value, member: &str) -> Result<Vec<String>> {
    let words = told.get(member).and_then(Value::as_array);
    let words = words.with_context(|| format!("no {member}"))?;
    Ok(words.iter().filter_map(Value::as_str).map(str::to_owned).collect())
}

fn body(load: &Load, lean: &Seen, usage: (Usage, Usage), told: [&Told; 2]) -> String {
    let mut text = String::from(
        "| operation | requests of boto3 | p50, ms | p99, ms | requests of the lean client | p50, ms | p99, ms |\n|---|---|---|---|---|---|---|\n",
    );
    for (((name, _), many), one) in OPERATIONS.iter().zip(&load.seen).zip(lean) {
        text.push_str(&format!(
            "| {name} | {} | {:.0} | {:.0} | {} | {:.2} | {:.2} |\n",
            many.len(),
            percentile(many, 50.0) * 1e3,
            percentile(many, 99.0) * 1e3,
            one.len(),
            percentile(one, 50.0) * 1e3,
            percentile(one, 99.0) * 1e3,
        ));
    }
    let requests = load.requests() + lean.iter().map(Vec::len).sum::<usize>();
    let cpu = usage.1.cpu.saturating_sub(usage.0.cpu).as_secs_f64();
    let cpus = thread::available_parallelism().map_or(1, usize::from);
    text.push_str(&format!(
        "\n| what | measured | goal |\n|---|---|---|\n| refused, failed or wrong answers | {} of {requests} | none: {} |\n",
        load.failures.len(),
        verdict(load.failures.is_empty())
    ));
    for (when, told) in ["afterwards", "after `kill -9` and a restart"].iter().zip(told) {
        text.push_str(&format!(
            "| jobs not listed or not described {when} | {} of {} ({} listed twice) | none: {} |\n",
            told.lost,
            load.created.len(),
            told.twice,
            verdict(told.lost + told.twice == 0)
        ));
    }
    text.push_str(&format!(
        "| coordinator: processor time for a request | {:.2} ms, fetching two files for each job included | |\n| coordinator: share of the machine's processors | {:.0} % | |\n| coordinator: resident before and after | {:.1} and {:.1} MiB | |\n",
        cpu / requests as f64 * 1e3,
        cpu / load.seconds / cpus as f64 * 100.0,
        usage.0.resident_bytes as f64 / MIB,
        usage.1.resident_bytes as f64 / MIB,
    ));
    for failure in load.failures.iter().take(3) {
        text.push_str(&format!("\nFailed: {failure}\n"));
    }
    text.push_str(&format!(
        "\n{} boto3 clients in {PROCESSES} processes, each with a thread and a connection of its own and without retries, at the lowest priority; {JOBS_EACH} jobs each, every one described five times and followed by a list of the newest hundred: {:.0} requests a second in all. Their times are mostly waits for a processor of their own. The lean client asks the same at a usual priority over one connection, {} ms apart. Jobs are planned and wait: the only agent is drained.",
        PROCESSES * CLIENTS_EACH,
        load.requests() as f64 / load.seconds,
        PAUSE.as_millis()
    ));
    text
}

/// The smallest value that is not below that share of all.
fn percentile(sorted: &[f64], percent: f64) -> f64 {
    let rank = (percent / 100.0 * sorted.len() as f64).ceil();
    let index = (1..=sorted.len()).find(|index| *index as f64 >= rank).unwrap_or(sorted.len());
    sorted.get(index.saturating_sub(1)).copied().unwrap_or(f64::NAN)
}

/// The version that the conformance suite runs as well, in an environment of its own.
fn boto3(bench: &Bench<'_>) -> Result<PathBuf> {
    let listed = bench.checkout.root().join("tests/conformance/python/aws/requirements.txt");
    let listed = files::read(&listed)?;
    let wanted = listed.lines().find(|line| line.starts_with("boto3==")).context("no boto3")?;
    let venv = bench.checkout.target_dir().join("peers").join(wanted);
    let python = venv.join("bin/python");
    if !venv.join("whole").exists() {
        bench.say(&format!("installing {wanted}"));
        python_with(&venv, &[wanted])?;
        files::write(&venv.join("whole"), "")?;
    }
    Ok(python)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_is_lost_when_it_is_not_listed_or_not_described() {
        let created: BTreeSet<String> = ["a", "b", "c"].map(str::to_owned).into();
        let told = |listed: &str, described: &str| {
            Told::read(&format!("{{\"listed\": {listed}, \"described\": {described}}}"), &created)
        };
        let all = "[\"a\", \"b\", \"c\", \"d\"]";
        assert_eq!(told(all, all).unwrap(), Told { lost: 0, twice: 0 });
        assert_eq!(told("[\"a\", \"a\", \"b\"]", all).unwrap(), Told { lost: 1, twice: 1 });
        assert_eq!(told(all, "[\"a\"]").unwrap(), Told { lost: 2, twice: 0 });
        assert!(told("null", all).is_err());
    }

    #[test]
    fn percentiles_are_values_that_were_seen() {
        let hundred: Vec<f64> = (1..=100).map(f64::from).collect();
        assert!((percentile(&hundred, 50.0) - 50.0).abs() < 1e-9);
        assert!((percentile(&hundred, 99.0) - 99.0).abs() < 1e-9);
        assert!((percentile(&[7.0], 99.0) - 7.0).abs() < 1e-9);
        assert!(percentile(&[], 50.0).is_nan());
    }
}
