//! The command line as clap sees it: names, flags, defaults. What they do stands elsewhere.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use assay_measure::{
    ids::{EndpointName, JobName},
    input_spec::InputSpec,
    job::{CandidateType, Goals, JobStatus},
    money::PricePerHour,
    slo::Slo,
    units::{Rate, parse_duration},
};
use assay_planning::prices::DEFAULT_REGION;
use assay_server::settings::PublicUrl;
use clap::{Args, Parser, Subcommand, ValueEnum, builder::styling};
use serde::{Deserialize, Serialize};

use crate::{aws_args::AwsArgs, failure::EXIT_CODES};

mod results;

pub(crate) use self::results::{CompareArgs, ExportArgs};

const STYLES: styling::Styles = styling::Styles::styled()
    .header(styling::AnsiColor::Green.on_default().bold())
    .usage(styling::AnsiColor::Green.on_default().bold())
    .literal(styling::AnsiColor::Cyan.on_default().bold())
    .placeholder(styling::AnsiColor::Cyan.on_default());

/// Headings of `--help`, in the order in which `recommend` shows them.
const MODEL: &str = "Model and payload";
const CANDIDATES: &str = "Candidates";
const MEASUREMENT: &str = "Measurement";
const RANKING: &str = "Ranking";
const OUTPUT: &str = "Output";
const CONNECTION: &str = "Connection";

/// Which machine should serve your model: measured under load, ranked by cost per inference.
#[derive(Debug, Parser)]
#[command(name = "assay", version, styles = STYLES, after_help = "`assay help exit-codes` lists the exit codes.", disable_help_subcommand = true)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Flags that every command takes.
#[derive(Clone, Debug, Args)]
pub(crate) struct Global {
    /// Coordinator to talk to, such as http://127.0.0.1:7440
    #[arg(long, global = true, env = "ASSAY_SERVER", value_name = "URL", help_heading = CONNECTION)]
    pub(crate) server: Option<String>,
    /// File with the token for the coordinator
    #[arg(long, global = true, env = "ASSAY_TOKEN_FILE", value_name = "PATH", help_heading = CONNECTION, hide_short_help = true)]
    pub(crate) token_file: Option<PathBuf>,
    /// Certificate authority of the coordinator (PEM), if it is not one of the system's
    #[arg(long, global = true, env = "ASSAY_CA_CERT", value_name = "PATH", help_heading = CONNECTION, hide_short_help = true)]
    pub(crate) ca_cert: Option<PathBuf>,
    /// How results are written to standard output [default: table]
    #[arg(short, long, global = true, env = "ASSAY_OUTPUT", value_name = "FORMAT", help_heading = OUTPUT)]
    pub(crate) output: Option<OutputFormat>,
    /// How progress is shown on standard error [default: auto]
    #[arg(long, global = true, env = "ASSAY_PROGRESS", value_name = "HOW", help_heading = OUTPUT, hide_short_help = true)]
    pub(crate) progress: Option<ProgressMode>,
    /// Suppress progress output, as --progress none
    #[arg(short, long, global = true, help_heading = OUTPUT)]
    pub(crate) quiet: bool,
    /// More of what happens (-vv for everything)
    #[arg(short, long, global = true, action = clap::ArgAction::Count, help_heading = OUTPUT, hide_short_help = true)]
    pub(crate) verbose: u8,
    /// When to use colour [default: auto]
    #[arg(long, global = true, value_name = "WHEN", help_heading = OUTPUT, hide_short_help = true)]
    pub(crate) color: Option<ColorChoice>,
    /// Configuration file instead of ./assay.toml
    #[arg(long, global = true, value_name = "FILE", help_heading = CONNECTION, hide_short_help = true)]
    pub(crate) config: Option<PathBuf>,
}

/// How results are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum OutputFormat {
    /// For people
    Table,
    /// For people with wide screens
    Wide,
    /// One JSON document
    Json,
    /// One JSON object per line
    Jsonl,
    /// Comma-separated values
    Csv,
    /// A Markdown table
    Md,
}

/// How progress is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ProgressMode {
    /// A live line per running trial on a terminal, plain elsewhere
    Auto,
    /// A dated line per event, and at most one a minute besides
    Plain,
    /// Nothing
    None,
}

/// When to use colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ColorChoice {
    /// On a terminal that wants it
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// From a model to a ranking of instance types, in one command
    Recommend(Box<RecommendArgs>),
    /// Run the coordinator that agents and clients connect to
    Serve(ServeArgs),
    /// Manage agents
    #[command(subcommand)]
    Agents(AgentsCommand),
    /// Jobs on a coordinator
    #[command(subcommand)]
    Jobs(JobsCommand),
    /// The price catalogue
    #[command(subcommand)]
    Prices(PricesCommand),
    /// What changed between two jobs, and whether it may be let through
    Compare(CompareArgs),
    /// Write a job's results as a file
    Export(ExportArgs),
    /// Bring jobs of another coordinator, as `assay export --format bundle` wrote them
    Import {
        /// The files
        #[arg(required = true)]
        files: Vec<PathBuf>,
    },
    /// Check this machine and the connection to the coordinator
    Doctor(DoctorArgs),
    /// Show the configuration in force
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Print a completion script for a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Write manual pages into a directory
    Man {
        /// The directory; made when missing
        dir: PathBuf,
    },
    /// Explain a command, or a topic: exit-codes
    Help {
        /// The command or topic
        topic: Vec<String>,
    },
}

/// `assay recommend`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "`--help` shows every flag, `assay help exit-codes` the exit codes.", after_long_help = EXIT_CODES)]
pub(crate) struct RecommendArgs {
    #[command(flatten)]
    pub(crate) job: JobRequest,
    /// Keep the store of a run without a server in this directory
    #[arg(long, value_name = "DIR", help_heading = OUTPUT, hide_short_help = true)]
    pub(crate) save: Option<PathBuf>,
    /// Write the report as one page, too: with charts, and ranking again by any goals without a server
    #[arg(long, value_name = "FILE", help_heading = OUTPUT, conflicts_with = "detach")]
    pub(crate) html: Option<PathBuf>,
    /// Create the job on the server and return
    #[arg(long, help_heading = CONNECTION, hide_short_help = true)]
    pub(crate) detach: bool,
    /// The agent program [default: beside assay]
    #[arg(long, env = "ASSAY_AGENT", value_name = "PATH", help_heading = CONNECTION, hide_short_help = true)]
    pub(crate) agent_binary: Option<PathBuf>,
    /// The model host program [default: beside the agent]
    #[arg(long, env = "ASSAY_HOST", value_name = "PATH", help_heading = CONNECTION, hide_short_help = true)]
    pub(crate) host_binary: Option<PathBuf>,
}

/// What a user asks for, before any file was opened.
#[derive(Clone, Debug, Args)]
pub(crate) struct JobRequest {
    /// TorchScript model (.pt), or a model.tar.gz that holds one
    #[arg(required_unless_present = "endpoint")]
    pub(crate) model: Option<PathBuf>,
    /// Input of the model, NAME=DTYPE[SHAPE] or DTYPE[SHAPE]; repeat for several
    #[arg(long = "input", value_name = "SPEC", help_heading = MODEL)]
    pub(crate) inputs: Vec<InputSpec>,
    /// Request body to send: a file, or a directory or .tar.gz of several
    #[arg(long, value_name = "PATH", help_heading = MODEL)]
    pub(crate) payload: Option<PathBuf>,
    /// Content-Type of the payload [default: by its file name]
    #[arg(long, value_name = "TYPE", requires = "payload", help_heading = MODEL, hide_short_help = true)]
    pub(crate) content_type: Option<String>,
    /// A shared library of operators that the model uses, such as libtorchvision.so; repeatable. With a
    /// server, its agents name theirs
    #[arg(long = "op-library", value_name = "FILE", help_heading = MODEL, hide_short_help = true)]
    pub(crate) op_libraries: Vec<PathBuf>,
    /// A running server that an agent offers by this name (`assay-agent run --endpoint NAME=URL`):
    /// measured beside the model, or alone without one
    #[arg(long, value_name = "NAME", help_heading = MODEL, hide_short_help = true)]
    pub(crate) endpoint: Option<EndpointName>,
    /// Candidates, comma-separated: catalogue types, or own shapes NAME=VCPUSxMEMORY[@USD_PER_HOUR]
    #[arg(long, value_name = "TYPES", value_delimiter = ',', help_heading = CANDIDATES)]
    pub(crate) instance_types: Vec<CandidateType>,
    /// Configurations to try, such as workers=1,2; repeat for several settings [default: a small grid]
    #[arg(long, value_name = "SETTING=VALUES", help_heading = CANDIDATES)]
    pub(crate) sweep: Vec<String>,
    /// About a minute per configuration, wider intervals, no burn-in
    #[arg(long, help_heading = MEASUREMENT)]
    pub(crate) quick: bool,
    /// Seed of all randomness
    #[arg(long, value_name = "N", default_value_t = 1, help_heading = MEASUREMENT, hide_short_help = true)]
    pub(crate) seed: u64,
    /// Hold each answer for so long as well
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, help_heading = MEASUREMENT, hide_short_help = true)]
    pub(crate) soak: Option<Duration>,
    /// A fixed load instead of the search: users:N, phases:…, stairs:… or trace:FILE
    #[arg(long, value_name = "LOAD", help_heading = MEASUREMENT)]
    pub(crate) load: Option<String>,
    /// Region whose prices count
    #[arg(long, default_value = DEFAULT_REGION, value_name = "REGION", help_heading = CANDIDATES, hide_short_help = true)]
    pub(crate) region: String,
    /// Constraint that must hold, such as p95<=50ms; repeat for several
    #[arg(long = "slo", value_name = "METRIC<=LIMIT", help_heading = RANKING)]
    pub(crate) slos: Vec<Slo>,
    /// What matters how much, such as cost=highest,latency=low [default: cost per inference alone]
    #[arg(long, value_name = "GOALS", help_heading = RANKING)]
    pub(crate) goal: Option<Goals>,
    /// Load the deployment must carry, such as 40000/min
    #[arg(long, value_name = "RATE", help_heading = RANKING)]
    pub(crate) demand: Option<Rate>,
    /// Share of its capacity that an instance may be used to at that demand
    #[arg(long, default_value = "70%", value_name = "PERCENT", value_parser = parse_percent, requires = "demand", help_heading = RANKING, hide_short_help = true)]
    pub(crate) headroom: u8,
    /// The whole job ends by then
    #[arg(long, default_value = "30m", value_name = "DURATION", value_parser = parse_duration, help_heading = MEASUREMENT)]
    pub(crate) max_duration: Duration,
    /// How long the model may take to load and warm up [default: 1m, and 1s for every 16 MiB of it]
    #[arg(long, value_name = "DURATION", value_parser = parse_ready_timeout, requires = "model", help_heading = MEASUREMENT, hide_short_help = true)]
    pub(crate) ready_timeout: Option<Duration>,
    /// Own prices: instance_type,region,usd_per_hour,source,as_of
    #[arg(long, value_name = "FILE", help_heading = CANDIDATES, hide_short_help = true)]
    pub(crate) prices: Option<PathBuf>,
    /// Price of every candidate that has none of its own
    #[arg(long, value_name = "USD", help_heading = CANDIDATES, hide_short_help = true)]
    pub(crate) price_per_hour: Option<PricePerHour>,
    /// Name of the job [default: from model and time]
    #[arg(long, value_name = "NAME", help_heading = OUTPUT, hide_short_help = true)]
    pub(crate) name: Option<JobName>,
    /// Types without an agent are emulated.
    #[arg(skip = true)]
    pub(crate) emulate: bool,
}

/// `assay serve`.
#[derive(Clone, Debug, Args)]
pub(crate) struct ServeArgs {
    /// Address to listen on; port 0 takes any free one
    #[arg(long, default_value = "127.0.0.1:7440", value_name = "ADDRESS")]
    pub(crate) listen: SocketAddr,
    /// Directory of the store, the models and the payloads [default: ./assay-data]
    #[arg(long, value_name = "DIR")]
    pub(crate) data_dir: Option<PathBuf>,
    /// Certificate chain (PEM); needed off loopback
    #[arg(long, value_name = "PATH", requires = "tls_key")]
    pub(crate) tls_cert: Option<PathBuf>,
    /// Private key (PEM)
    #[arg(long, value_name = "PATH", requires = "tls_cert")]
    pub(crate) tls_key: Option<PathBuf>,
    /// Own prices: instance_type,region,usd_per_hour,source,as_of
    #[arg(long, value_name = "FILE")]
    pub(crate) prices: Option<PathBuf>,
    /// Where people reach the pages besides, such as https://assay.example.org; repeat for several
    #[arg(long = "public-url", value_name = "URL")]
    pub(crate) public_urls: Vec<PublicUrl>,
    #[command(flatten)]
    pub(crate) aws: AwsArgs,
}

#[derive(Debug, Subcommand)]
pub(crate) enum AgentsCommand {
    /// Every agent that is or was connected
    List,
    /// One agent
    Describe {
        /// Its name
        name: String,
    },
    /// Let an agent finish what it runs and give it nothing new
    Drain {
        /// Its name
        name: String,
    },
    /// Resume scheduling on a drained agent
    Undrain {
        /// Its name
        name: String,
    },
    /// Forget an agent that is not connected
    Forget {
        /// Its name
        name: String,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum JobsCommand {
    /// Start a job from a file
    Create {
        /// The job (TOML); its keys are the long flags of `assay recommend`
        #[arg(short = 'f', long, value_name = "FILE")]
        file: PathBuf,
        /// Name of the job instead of the file's
        #[arg(long, value_name = "NAME")]
        name: Option<JobName>,
    },
    /// Jobs, newest first
    List {
        /// Only jobs in this state
        #[arg(long, value_name = "STATUS")]
        status: Option<JobStatus>,
        /// Only jobs whose name contains this
        #[arg(long, value_name = "TEXT", default_value = "")]
        name_contains: String,
        /// At most so many
        #[arg(long, value_name = "N", default_value_t = 100)]
        limit: u32,
    },
    /// One job with its ranking
    Describe {
        /// Its name
        name: String,
        /// Rank by these goals instead of the job's own
        #[arg(long, value_name = "GOALS")]
        goal: Option<Goals>,
        /// Size for this load
        #[arg(long, value_name = "RATE")]
        demand: Option<Rate>,
        /// Share of its capacity that an instance may be used to
        #[arg(long, default_value = "70%", value_name = "PERCENT", value_parser = parse_percent)]
        headroom: u8,
    },
    /// Follow a job to its end; Ctrl-C stops watching, never the job
    Watch {
        /// Its name
        name: String,
    },
    /// Stop a job; what was measured stands
    Stop {
        /// Its name
        name: String,
    },
    /// Everything that happened to a job
    Logs {
        /// Its name
        name: String,
    },
    /// Delete a job that has ended, with the files that only it needs; its name stays taken
    Delete {
        /// Its name
        name: String,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum PricesCommand {
    /// Every price
    List {
        /// Region
        #[arg(long, default_value = DEFAULT_REGION)]
        region: String,
        /// Only instance types whose name contains this
        #[arg(long, default_value = "", value_name = "TEXT")]
        name_contains: String,
    },
    /// The price of one instance type
    Get {
        /// Instance type
        instance_type: String,
        /// Region
        #[arg(long, default_value = DEFAULT_REGION)]
        region: String,
    },
    /// Set an own price on a coordinator
    Set {
        /// Instance type
        instance_type: String,
        /// Dollars per hour
        #[arg(long, value_name = "USD")]
        per_hour: PricePerHour,
        /// Region
        #[arg(long, default_value = DEFAULT_REGION)]
        region: String,
        /// Where the price comes from
        #[arg(long, default_value = "set by hand")]
        source: String,
    },
    /// Bring the prices of a file to a coordinator
    Import {
        /// The file: instance_type,region,usd_per_hour,source,as_of
        file: PathBuf,
    },
    /// Look for mistakes in a price file
    Check {
        /// The file
        file: PathBuf,
    },
}

/// `assay doctor`.
#[derive(Clone, Debug, Args)]
pub(crate) struct DoctorArgs {
    /// The agent program [default: beside assay]
    #[arg(long, env = "ASSAY_AGENT", value_name = "PATH")]
    pub(crate) agent_binary: Option<PathBuf>,
    /// The model host program [default: beside the agent]
    #[arg(long, env = "ASSAY_HOST", value_name = "PATH")]
    pub(crate) host_binary: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Every setting and its value
    Show {
        /// Say where each value comes from
        #[arg(long)]
        origin: bool,
    },
}

/// Reads `70%` or `70` as a whole number of per cent from 1 to 100.
pub(crate) fn parse_percent(text: &str) -> Result<u8, String> {
    let number = text.trim().trim_end_matches('%').trim();
    match number.parse::<u8>() {
        Ok(percent) if (1..=100).contains(&percent) => Ok(percent),
        Ok(_) | Err(_) => {
            Err(format!("{text:?} is not a share; write it like 70%, between 1% and 100%"))
        }
    }
}

/// Reads a duration in which a model can become ready: more than nothing, at most a day.
pub(crate) fn parse_ready_timeout(text: &str) -> Result<Duration, String> {
    let within = parse_duration(text).map_err(|error| error.to_string())?;
    if within.is_zero() {
        return Err(format!("{text:?} leaves no time to load the model"));
    }
    if within > Duration::from_secs(86_400) {
        return Err(format!("{text:?} is longer than a day"));
    }
    Ok(within)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_share_needs_to_lie_between_1_and_100() {
        assert_eq!(parse_percent("70%"), Ok(70));
        for bad in ["0%", "101", "x", "-5%", ""] {
            assert!(parse_percent(bad).is_err(), "{bad:?} was accepted");
        }
    }

    #[test]
    fn a_model_gets_some_time_to_become_ready_and_at_most_a_day() {
        assert_eq!(parse_ready_timeout("10m"), Ok(Duration::from_secs(600)));
        for bad in ["0s", "25h", "60", "-1s", "soon", ""] {
            assert!(parse_ready_timeout(bad).is_err(), "{bad:?} was accepted");
        }
        let alone = ["assay", "recommend", "--endpoint", "prod", "--ready-timeout", "2m"];
        assert!(Cli::try_parse_from(alone).is_err(), "an endpoint runs already");
    }
}
