//! `bench load`: the load generator beside its peers.
//!
//! Every generator has one processor to itself and the server another; the server answers at once, so
//! that the generator is the limit. Generators run in turns, so that slow changes of the machine hit all
//! alike. Processor time counts all of a generator's process, its start included.

use std::{
    fs,
    path::PathBuf,
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};

use super::{Bench, figures::Figure, report::Section, server::Server};
use crate::{
    checkout::Checkout,
    console::Console,
    files,
    process::{capture, shown},
};

pub(crate) mod peers;
mod tables;
pub(crate) mod tools;

use peers::Peers;
use tools::{Calls, Load, Offered, Protocol, Tool};

const CLIENT_CPU: &str = "0";
const SERVER_CPU: &str = "1";
const OPEN_RATE: u32 = 2000;
const GRPC_INPUT: &str = "input_0=float32[1,16]";
const GRPC_INPUT_BYTES: usize = 64;
/// `perf_analyzer` reaches about so many on one core. A multiple of the calls at a time: what cannot be
/// shared out evenly leaves it waiting at the end.
const ANALYZER_PER_S: u32 = 25_600;
/// `perf_analyzer` and others hang now and then.
const PEER_REPEATS: u32 = 2;

/// A generator under one load, over all rounds.
#[derive(Debug)]
struct Row {
    tool: Tool,
    offered: Offered,
    per_s: Figure,
    p50_us: Figure,
    p99_us: Figure,
    lag_p50_us: Figure,
    lag_p99_us: Figure,
    cpu_us: Figure,
    server_busy_percent: Figure,
    /// Runs that failed or did not end, and were repeated.
    repeated: u32,
}

/// Everything, three tables and the goals.
pub(super) fn measure(bench: &Bench<'_>) -> Result<Section> {
    let generators = Generators { bench, peers: Peers::ensure(bench.checkout, bench.console) };
    let closed_tools = [Tool::Assay, Tool::Wrk, Tool::Oha, Tool::Hey, Tool::H2load];
    let offered = [Offered::Closed(16), Offered::Closed(64)];
    let closed = offered.iter().flat_map(|&offered| closed_tools.map(|tool| (tool, offered)));
    let (server, url) = generators.echo_server("http")?;
    let url = format!("{url}/ping");
    let closed = generators.rounds(&server, &url, Protocol::Http, closed.collect())?;
    let open = vec![
        (Tool::Assay, Offered::Even(OPEN_RATE)),
        (Tool::Oha, Offered::Even(OPEN_RATE)),
        (Tool::Assay, Offered::Poisson(OPEN_RATE)),
    ];
    let open = generators.rounds(&server, &url, Protocol::Http, open)?;
    drop(server);
    let files = GrpcFiles::write(bench.checkout)?;
    let grpc_tools = [Tool::Assay, Tool::PerfAnalyzer, Tool::H2load];
    let grpc = offered.iter().flat_map(|&offered| grpc_tools.map(|tool| (tool, offered)));
    let grpc = grpc.chain([(Tool::Assay, Offered::Poisson(OPEN_RATE))]).collect();
    let (server, url) = generators.echo_server("grpc")?;
    let address = url.trim_start_matches("grpc://");
    let grpc = generators.rounds(&server, address, Protocol::Grpc(&files.calls()), grpc)?;
    let body = tables::body(&closed, &open, &grpc, &generators.peers.versions(), bench.arguments);
    Ok(Section { name: "load", title: "The load generator beside its peers", body })
}

/// A command that stays on one processor.
pub(crate) fn pinned(cpu: &str, command: &Command) -> Command {
    let mut taskset = Command::new("taskset");
    taskset.args(["-c", cpu]).arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => taskset.env(name, value),
            None => taskset.env_remove(name),
        };
    }
    taskset
}

/// The processors that client and server are kept on.
pub(crate) fn pin_client(command: &Command) -> Command {
    pinned(CLIENT_CPU, command)
}

/// See [`pin_client`].
pub(crate) fn pin_server(command: &Command) -> Command {
    pinned(SERVER_CPU, command)
}

struct Generators<'a> {
    bench: &'a Bench<'a>,
    peers: Peers,
}

impl Generators<'_> {
    fn echo_server(&self, protocol: &str) -> Result<(Server, String)> {
        let mut command = self.bench.checkout.program("examples/echo_server");
        Server::listening(&mut pin_server(command.arg(protocol)))
    }

    /// Every tool in every round, those left out that are missing.
    fn rounds(
        &self,
        server: &Server,
        url: &str,
        protocol: Protocol<'_>,
        runs: Vec<(Tool, Offered)>,
    ) -> Result<Vec<Row>> {
        let duration = Duration::from_secs(self.bench.arguments.seconds);
        let mut rows: Vec<Row> =
            runs.into_iter().map(|(tool, offered)| Row::new(tool, offered)).collect();
        for round in 1..=self.bench.rounds() {
            for row in &mut rows {
                let load = Load { server: url, protocol, offered: row.offered, duration };
                let Some(command) = row.tool.command(self.bench.checkout, &self.peers, &load)
                else {
                    continue;
                };
                row.run_patiently(self.bench.console, &command, server, duration)?;
                self.bench.say(&format!(
                    "round {round}: {}, {}: {}/s",
                    row.tool.name(),
                    row.offered.in_words(),
                    row.per_s.shown(0)
                ));
            }
        }
        rows.retain(Row::was_measured);
        Ok(rows)
    }
}

impl Row {
    fn new(tool: Tool, offered: Offered) -> Self {
        Self {
            tool,
            offered,
            per_s: Figure::default(),
            p50_us: Figure::default(),
            p99_us: Figure::default(),
            lag_p50_us: Figure::default(),
            lag_p99_us: Figure::default(),
            cpu_us: Figure::default(),
            server_busy_percent: Figure::default(),
            repeated: 0,
        }
    }

    fn was_measured(&self) -> bool {
        !self.per_s.is_empty()
    }

    /// One round, repeated where a peer fails: rounds are compared one by one, so none may be missing.
    fn run_patiently(
        &mut self,
        console: Console,
        command: &Command,
        server: &Server,
        duration: Duration,
    ) -> Result<()> {
        let name = self.tool.name();
        let further = if self.tool == Tool::Assay { 0 } else { PEER_REPEATS };
        for _ in 0..further {
            let Err(error) = self.run(command, server, duration) else { return Ok(()) };
            console.say(&format!("{name} is run again, it failed: {error:#}"));
            self.repeated += 1;
        }
        self.run(command, server, duration).with_context(|| format!("{name} failed"))
    }

    /// One round; adds nothing if it fails.
    fn run(&mut self, command: &Command, server: &Server, duration: Duration) -> Result<()> {
        let mut command = pin_client(command);
        let (server_before, own_before) = (server.usage()?.cpu, children_cpu()?);
        let start = Instant::now();
        let printed = capture(&mut command)?;
        let elapsed = start.elapsed();
        let own = children_cpu()?.saturating_sub(own_before);
        let server_used = server.usage()?.cpu.saturating_sub(server_before);
        let said = self.tool.read(&printed).with_context(|| format!("`{}`", shown(&command)))?;
        self.per_s.add(said.per_s);
        self.p50_us.add_if_known(said.p50_us);
        self.p99_us.add_if_known(said.p99_us);
        self.lag_p50_us.add_if_known(said.lag_p50_us);
        self.lag_p99_us.add_if_known(said.lag_p99_us);
        if self.tool.counts_all_requests() {
            self.cpu_us.add(own.as_secs_f64() * 1e6 / (said.per_s * duration.as_secs_f64()));
            // While it was loaded, not while the generator started and summed up.
            let loaded = elapsed.min(duration);
            self.server_busy_percent.add(server_used.as_secs_f64() / loaded.as_secs_f64() * 100.0);
        } else {
            self.server_busy_percent.add(server_used.as_secs_f64() / elapsed.as_secs_f64() * 100.0);
        }
        Ok(())
    }
}

/// Processor time of all children that have ended.
fn children_cpu() -> Result<Duration> {
    let stat = fs::read_to_string("/proc/self/stat").context("cannot read /proc/self/stat")?;
    let (_, fields) = stat.rsplit_once(')').context("/proc/self/stat has no name")?;
    // From field 3, the state: cutime and cstime are 16 and 17.
    let ticks: u64 = fields
        .split_whitespace()
        .skip(13)
        .take(2)
        .filter_map(|field| field.parse::<u64>().ok())
        .sum();
    Ok(Duration::from_secs_f64(ticks as f64 / rustix::param::clock_ticks_per_second() as f64))
}

/// The same small tensor, as our generator takes it and as a whole message.
struct GrpcFiles {
    tensor: PathBuf,
    message: PathBuf,
}

impl GrpcFiles {
    fn write(checkout: &Checkout) -> Result<Self> {
        let folder = checkout.target_dir().join("bench");
        files::create_dir(&folder)?;
        let files =
            Self { tensor: folder.join("tensor.bin"), message: folder.join("model_infer.bin") };
        for (path, bytes) in
            [(&files.tensor, vec![0; GRPC_INPUT_BYTES]), (&files.message, infer_message())]
        {
            files::write(path, bytes)?;
        }
        Ok(files)
    }

    fn calls(&self) -> Calls<'_> {
        Calls {
            model: "echo",
            payload: &self.tensor,
            content_type: "application/octet-stream",
            input: Some(GRPC_INPUT),
            message: Some(&self.message),
            analyzer_per_s: Some(ANALYZER_PER_S),
        }
    }
}

/// A `ModelInferRequest` with its gRPC prefix: everything in it is a Protobuf field with a length.
fn infer_message() -> Vec<u8> {
    let field = |number: u8, value: &[u8]| {
        let length = u8::try_from(value.len()).expect("all fields here are short");
        [&[number << 3 | 2, length], value].concat()
    };
    let tensor = [field(1, b"input_0"), field(2, b"FP32"), field(3, &[1, 16])].concat();
    let message = [field(1, b"echo"), field(5, &tensor), field(7, &[0; GRPC_INPUT_BYTES])].concat();
    let length = u32::try_from(message.len()).expect("a short message");
    [&[0][..], &length.to_be_bytes(), &message].concat()
}
