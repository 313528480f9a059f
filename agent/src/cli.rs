//! The command line of `assay-agent`: what can be asked, in which words, with which defaults.

use std::{ffi::OsString, path::PathBuf, time::Duration};

use assay_agent::{run::RunArguments, target::Target};
use assay_measure::{
    input_spec::InputSpec,
    schedule::{
        Arrivals,
        fixed_load::{FixedLoad, FixedLoadError},
    },
    slo::Slo,
    units::{Rate, UnitError, parse_duration},
};
use clap::{ArgAction, ArgGroup, Args, Parser, Subcommand, ValueEnum};

/// The Assay agent: hosts a model under load on this machine and measures it.
#[derive(Debug, Parser)]
#[command(name = "assay-agent", version, max_term_width = 100)]
pub(crate) struct Cli {
    /// How results are printed
    #[arg(short, long, global = true, value_enum, default_value_t = Format::Table, env = "ASSAY_OUTPUT")]
    pub(crate) output: Format,
    /// Say more; twice for everything
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub(crate) verbose: u8,
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// How results are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people
    Table,
    /// For programs
    Json,
}

/// What can be asked.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Put a fixed load on a target and show what came of it
    Load(LoadArguments),
    /// Search how much a target carries
    Capacity(CapacityArguments),
    /// Run trials for a coordinator: the daemon on a candidate machine
    Run(RunArguments),
    /// Look whether this machine can measure, and how it could do better
    Doctor(DoctorArguments),
    /// Search a built-in server of known capacity: can figures from this machine be trusted?
    Calibrate(CalibrateArguments),
    /// Run that server alone
    #[command(hide = true)]
    KnownServer(KnownServerArguments),
}

/// `assay-agent doctor`.
#[derive(Args, Debug)]
pub(crate) struct DoctorArguments {
    /// The model host program [default: assay-host beside this program]
    #[arg(long, env = assay_agent::model_host::PROGRAM_VARIABLE, value_name = "FILE")]
    pub(crate) host_binary: Option<PathBuf>,
}

/// What is sent, and to whom.
#[derive(Args, Debug)]
pub(crate) struct TargetArguments {
    /// http://HOST:PORT[/PATH], unix:PATH or grpc://HOST:PORT/MODEL (Open Inference Protocol v2)
    #[arg(long, value_name = "URL")]
    pub(crate) target: Target,
    /// Request body: a file, a folder or a tar.gz whose files are sent in turn; without it HTTP
    /// targets get GET requests
    #[arg(long, value_name = "FILE|DIR|TAR.GZ")]
    pub(crate) payload: Option<PathBuf>,
    /// Content-Type of every body [default: from the file's extension]
    #[arg(long, value_name = "TYPE", requires = "payload")]
    pub(crate) content_type: Option<String>,
    /// For gRPC targets: what a raw body holds, [NAME=]DTYPE[SHAPE]; repeat it for several tensors in one body
    #[arg(long = "input", value_name = "SPEC")]
    pub(crate) inputs: Vec<InputSpec>,
    /// Seed of all arrivals
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) seed: u64,
    /// The most connections in open loop; in closed loop every user has one
    #[arg(long, value_name = "N", default_value_t = 1024, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) connections: u32,
    /// Sending threads
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=256))]
    pub(crate) threads: u32,
    /// A request that takes longer has failed
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = positive_duration)]
    pub(crate) timeout: Duration,
    /// Ask the system for real-time scheduling of the sending threads
    #[arg(long)]
    pub(crate) realtime: bool,
}

/// `assay-agent load`.
#[derive(Args, Debug)]
#[command(group = ArgGroup::new("load").required(true).args(["users", "phases", "stairs", "rate", "trace"]))]
pub(crate) struct LoadArguments {
    #[command(flatten)]
    pub(crate) target: TargetArguments,
    /// Closed loop: so many users, each sending again at once after an answer
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) users: Option<u32>,
    /// Closed loop: phases of users at the start + users added per minute / duration, such as 1+3/2m,7+0/60s
    #[arg(long, value_name = "PHASES", value_parser = phases)]
    pub(crate) phases: Option<FixedLoad>,
    /// Closed loop: steps x users added by each / duration of all, such as 5x2/10m
    #[arg(long, value_name = "STAIRS", value_parser = stairs)]
    pub(crate) stairs: Option<FixedLoad>,
    /// Open loop: so many requests arrive, such as 200/s or 12000/min, whatever the target does
    #[arg(long, value_name = "RATE", value_parser = positive_rate)]
    pub(crate) rate: Option<Rate>,
    /// How they arrive
    #[arg(long, value_enum, default_value_t = ArrivalsWord::Poisson, requires = "rate")]
    pub(crate) arrivals: ArrivalsWord,
    /// Open loop: recorded arrivals, one time in seconds per line
    #[arg(long, value_name = "FILE")]
    pub(crate) trace: Option<PathBuf>,
    /// How long (phases, stairs and traces bring their own) [default: 10s]
    #[arg(long, value_name = "DURATION", value_parser = positive_duration, conflicts_with_all = ["phases", "stairs", "trace"])]
    pub(crate) duration: Option<Duration>,
    /// Write a latency histogram for every second, in HdrHistogram's interval log format
    #[arg(long, value_name = "FILE")]
    pub(crate) hlog: Option<PathBuf>,
}

/// `assay-agent capacity`.
#[derive(Args, Debug)]
pub(crate) struct CapacityArguments {
    #[command(flatten)]
    pub(crate) target: TargetArguments,
    /// A constraint, such as 'p95<=50ms'; repeatable, all must hold
    #[arg(long = "slo", value_name = "METRIC<=LIMIT")]
    pub(crate) constraints: Vec<Slo>,
    /// Leave out the burn-in and accept a wider interval
    #[arg(long)]
    pub(crate) quick: bool,
    /// Hold the answer for so long at the end
    #[arg(long, value_name = "DURATION", value_parser = positive_duration)]
    pub(crate) soak: Option<Duration>,
    /// The search ends by then, with the interval it has
    #[arg(long, value_name = "DURATION", default_value = "5m", value_parser = positive_duration)]
    pub(crate) max_duration: Duration,
}

/// `assay-agent calibrate`.
#[derive(Args, Debug)]
pub(crate) struct CalibrateArguments {
    /// How long the server works on each request
    #[arg(long, value_name = "DURATION", default_value = "10ms", value_parser = positive_duration)]
    pub(crate) service_time: Duration,
    /// Requests that it works on at the same time
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) workers: u32,
    /// A constraint, such as 'p95<=50ms'; repeatable, all must hold [default: p95 within five service times]
    #[arg(long = "slo", value_name = "METRIC<=LIMIT")]
    pub(crate) constraints: Vec<Slo>,
    /// Without a constraint: find the rate at which the server is always busy
    #[arg(long, conflicts_with = "constraints")]
    pub(crate) saturation: bool,
    /// Leave out the burn-in and accept a wider interval
    #[arg(long)]
    pub(crate) quick: bool,
    /// Seed of all arrivals
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) seed: u64,
    /// The search ends by then, with the interval it has
    #[arg(long, value_name = "DURATION", default_value = "5m", value_parser = positive_duration)]
    pub(crate) max_duration: Duration,
}

/// `assay-agent known-server`.
#[derive(Args, Debug)]
pub(crate) struct KnownServerArguments {
    /// How long it works on each request
    #[arg(long, value_name = "DURATION", default_value = "10ms", value_parser = positive_duration)]
    pub(crate) service_time: Duration,
    /// Requests that it works on at the same time
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) workers: u32,
    /// Another service time, to be found out as a disturbance
    #[arg(long, value_name = "DURATION", requires = "after", value_parser = positive_duration)]
    pub(crate) then: Option<Duration>,
    /// From when on, after the first request
    #[arg(long, value_name = "DURATION", requires = "then", value_parser = positive_duration)]
    pub(crate) after: Option<Duration>,
    /// It ends by then
    #[arg(long, value_name = "DURATION", default_value = "1h", value_parser = positive_duration)]
    pub(crate) duration: Duration,
}

/// How requests arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ArrivalsWord {
    /// Like many independent callers
    Poisson,
    /// At equal gaps
    Constant,
}

impl From<ArrivalsWord> for Arrivals {
    fn from(word: ArrivalsWord) -> Self {
        match word {
            ArrivalsWord::Poisson => Self::Poisson,
            ArrivalsWord::Constant => Self::Constant,
        }
    }
}

/// Whether a command line that cannot be read asks for JSON.
pub(crate) fn asks_for_json(arguments: impl Iterator<Item = OsString>) -> bool {
    let arguments: Vec<OsString> = arguments.collect();
    let two = |pair: &[OsString]| (pair[0] == "-o" || pair[0] == "--output") && pair[1] == "json";
    arguments.iter().any(|argument| argument == "-ojson" || argument == "--output=json")
        || arguments.windows(2).any(two)
}

fn positive_duration(text: &str) -> Result<Duration, String> {
    let duration = parse_duration(text).map_err(|error| error.to_string())?;
    if duration < Duration::from_millis(1) || duration > Duration::from_secs(24 * 3600) {
        return Err(format!("{text:?} is not between 1ms and 24h"));
    }
    Ok(duration)
}

fn positive_rate(text: &str) -> Result<Rate, String> {
    let rate: Rate = text.parse().map_err(|error: UnitError| error.to_string())?;
    if rate <= Rate::ZERO { Err(format!("{text:?} is no rate at all")) } else { Ok(rate) }
}

fn phases(text: &str) -> Result<FixedLoad, FixedLoadError> {
    format!("phases:{text}").parse()
}

fn stairs(text: &str) -> Result<FixedLoad, FixedLoadError> {
    format!("stairs:{text}").parse()
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn refused(arguments: &[&str]) -> String {
        let all = ["assay-agent"].iter().chain(arguments);
        Cli::try_parse_from(all).unwrap_err().to_string()
    }

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn what_cannot_be_asked_is_refused_with_its_value() {
        let target = ["load", "--target", "http://127.0.0.1:1"];
        let with = |more: &[&str]| refused(&[&target[..], more].concat());
        assert!(with(&[]).contains("--users"), "one load must be given");
        assert!(with(&["--users", "1", "--rate", "5/s"]).contains("cannot be used with"));
        assert!(with(&["--users", "0"]).contains('0'));
        assert!(with(&["--rate", "0/s"]).contains("no rate at all"));
        assert!(with(&["--users", "1", "--duration", "5"]).contains("\"5\" is not a duration"));
        assert!(with(&["--users", "1", "--duration", "0s"]).contains("not between"));
        assert!(with(&["--stairs", "5y2"]).contains("5y2"));
        assert!(with(&["--users", "1", "--frobnicate"]).contains("--frobnicate"));
        assert!(
            refused(&["load", "--users", "1", "--target", "ftp://x"]).contains("is not a target")
        );
        let slo = refused(&["capacity", "--target", "http://127.0.0.1:1", "--slo", "p42<=50ms"]);
        assert!(slo.contains("p42") && slo.contains("p50, p90, p95, p99"), "{slo}");
    }

    #[test]
    fn a_wish_for_json_is_seen_even_in_a_wrong_command_line() {
        let asks = |text: &str| asks_for_json(text.split(' ').map(OsString::from));
        assert!(asks("load --nonsense -o json") && asks("--output=json") && asks("-ojson x"));
        assert!(!asks("load -o table") && !asks("load -o"));
    }
}
