//! The command line of `assay-host`: what can be asked, and how it is answered.
//!
//! Results go to stdout, everything else to stderr, what a model prints as well. `serve` prints one line on stdout when callers can
//! connect: `listening http://127.0.0.1:PORT`.

mod bench;
mod compare;
mod serve;

use std::{
    ffi::OsString,
    io::{self, Write},
    num::NonZeroU32,
    path::PathBuf,
    time::Duration,
};

use assay_measure::{
    configuration::{Allocator, Device, Graph, Precision},
    host_status::HostStatus,
    input_spec::InputSpec,
    payload_file, units,
};
use clap::{Args, Parser, Subcommand, ValueEnum, error::ErrorKind};
use serde::Serialize;

use crate::{
    artifact::{Artifact, DEFAULT_UNPACKED_LIMIT},
    doctor,
    failure::{EXIT_FAILED, Failure},
    inspect::{self, InspectError},
    process::{self, MallocSetting},
    reference::{self, ReferenceError},
    server::ListenAddress,
    status::StatusPipe,
    torch::{self, CallError, OperatorLibraryError},
};

/// Serves one TorchScript model with libtorch.
#[derive(Debug, Parser)]
#[command(name = "assay-host", version, disable_help_subcommand = true)]
struct Cli {
    /// How results and errors are written
    #[arg(short, long, global = true, value_enum, default_value_t = Output::Text, env = "ASSAY_OUTPUT")]
    output: Output,
    /// The memory settings of this process: tuned (glibc keeps freed memory) or default
    #[arg(long, global = true, default_value_t = Allocator::Tuned)]
    allocator: Allocator,
    /// A pipe, opened by whoever starts this process, on which to tell how the start goes
    #[arg(long, global = true, value_name = "N", hide = true)]
    status_fd: Option<i32>,
    #[command(subcommand)]
    command: Command,
}

/// How results and errors are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Output {
    /// For people
    #[value(alias = "table")]
    Text,
    /// For programs
    Json,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve a model: /ping, /invocations and the Open Inference Protocol v2 (HTTP and gRPC)
    Serve(ServeArguments),
    /// Show what a model takes and returns
    Inspect(InspectArguments),
    /// Write a built-in model as TorchScript
    Reference(ReferenceArguments),
    /// Compare the outputs of a precision or graph with those of plain float32
    Compare(compare::CompareArguments),
    /// Check whether this machine can serve models
    Doctor,
    /// Run a model in a bare loop: the yardstick of `serve`
    #[command(hide = true)]
    BenchLoop(bench::BenchArguments),
}

/// The model, and what is known of its inputs.
#[derive(Debug, Args)]
struct ModelArguments {
    /// A TorchScript file, or a model.tar.gz that holds one
    #[arg(value_name = "MODEL")]
    model: PathBuf,
    /// An input, such as 'float32[1,3,224,224]' or 'tokens=int64[1,128]'; once per input
    #[arg(long = "input", value_name = "[NAME=]DTYPE[SHAPE]")]
    inputs: Vec<InputSpec>,
    /// A shared library of operators or classes that the model uses, such as libtorchvision.so, built
    /// for this libtorch; may be repeated
    #[arg(long = "op-library", value_name = "FILE")]
    op_libraries: Vec<PathBuf>,
}

impl ModelArguments {
    fn inspect_hint(&self) -> String {
        format!("`assay-host inspect {}` shows what forward() takes", self.model.display())
    }
}

/// How the model is run.
#[derive(Debug, Args)]
struct EngineArguments {
    /// Worker threads, each with its own forward pass
    #[arg(long, default_value_t = NonZeroU32::MIN)]
    workers: NonZeroU32,
    /// OpenMP threads inside one forward pass
    #[arg(long, default_value_t = NonZeroU32::MIN)]
    intra_op_threads: NonZeroU32,
    /// Where the model runs: cpu or cuda:N
    #[arg(long, default_value_t = Device::Cpu)]
    device: Device,
    /// Precision of weights and arithmetic: float32 (as saved), bfloat16 or float16
    #[arg(long, default_value_t = Precision::Float32)]
    dtype: Precision,
    /// plain (as saved) or optimized (frozen, and rewritten for inference)
    #[arg(long, default_value_t = Graph::Plain)]
    graph: Graph,
}

#[derive(Debug, Args)]
struct ServeArguments {
    #[command(flatten)]
    model: ModelArguments,
    #[command(flatten)]
    engine: EngineArguments,
    /// HOST:PORT, unix:PATH or fd:N (an inherited socket that listens); port 0 lets the system choose
    #[arg(long, default_value = "127.0.0.1:8080")]
    listen: ListenAddress,
    /// One more address, for callers that want gRPC on a port of its own
    #[arg(long)]
    grpc_listen: Option<ListenAddress>,
    /// The model's name in the Open Inference Protocol; the file's stem if not given
    #[arg(long)]
    model_name: Option<String>,
    /// The largest number of requests joined into one forward pass; less where the warm-up with the
    /// declared inputs shows that larger passes take more time per request
    #[arg(long, default_value_t = NonZeroU32::MIN)]
    max_batch: NonZeroU32,
    /// How long a worker waits for a batch to fill, such as 2ms
    #[arg(long, default_value = "0ms", value_parser = units::parse_duration)]
    max_batch_delay: Duration,
    /// The largest request body
    #[arg(long, default_value_t = units::Bytes::new(payload_file::BODY_LIMIT))]
    max_payload: units::Bytes,
    /// Requests that may wait for a worker; more are refused with 503
    #[arg(long, default_value_t = 10_000)]
    queue_limit: usize,
    /// The largest that a model.tar.gz may unpack to
    #[arg(long, default_value_t = DEFAULT_UNPACKED_LIMIT)]
    max_unpacked: units::Bytes,
    /// Pictures: the shorter side is resized to this many pixels
    #[arg(long, value_name = "PIXELS")]
    image_resize: Option<u32>,
    /// Pictures: the side of the square that is kept of the centre
    #[arg(long, value_name = "PIXELS")]
    image_crop: Option<u32>,
    /// Pictures: subtracted from red, green and blue after scaling to 0–1
    #[arg(long, value_name = "R,G,B", value_parser = triple)]
    image_mean: Option<Triple>,
    /// Pictures: divides red, green and blue after that
    #[arg(long, value_name = "R,G,B", value_parser = triple)]
    image_std: Option<Triple>,
    /// Threads for sockets and protocols
    #[arg(long, default_value_t = std::num::NonZeroUsize::MIN)]
    server_threads: std::num::NonZeroUsize,
    /// A ring of records, made by whoever measures this host, in which to tell every batch
    #[arg(long, value_name = "FILE", hide = true)]
    batch_log: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct InspectArguments {
    #[command(flatten)]
    model: ModelArguments,
    /// Try the model with made-up inputs, the suggested ones if none are declared
    #[arg(long)]
    run: bool,
    /// Write what went in and came out to DIR as input_0.npy, output_0.npy …
    #[arg(long, value_name = "DIR", requires = "run")]
    save_tensors: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct ReferenceArguments {
    /// The built-in model
    #[arg(required_unless_present = "list", requires = "out")]
    name: Option<String>,
    /// The file to write
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// List the built-in models
    #[arg(long, conflicts_with_all = ["name", "out"])]
    list: bool,
}

/// Runs the command line; returns the exit code. Call it before any thread is started.
#[must_use]
pub fn run(arguments: Vec<OsString>) -> u8 {
    run_with(arguments, process::keep_stdout_for_results)
}

fn run_with(arguments: Vec<OsString>, keep_stdout: impl FnOnce() -> io::Result<()>) -> u8 {
    let wants_json = asks_for_json(&arguments);
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => return usage(&error, wants_json),
    };
    let malloc = process::set_allocator(cli.allocator);
    log_to_stderr();
    if let Err(error) = keep_stdout() {
        tracing::debug!(%error, "what models print is not kept from the results");
    }
    let output = cli.output;
    let (status, no_status) = match cli.status_fd.map(StatusPipe::inherited).transpose() {
        Ok(status) => (status, None),
        Err(error) => (None, Some(Failure::new("usage", &error).usage())),
    };
    let outcome = no_status.map_or_else(|| dispatch(cli, &malloc, status.as_ref()), Err);
    match outcome {
        Ok(code) => code,
        Err(failure) => {
            if let Some(status) = &status {
                status.tell(&failure.status());
            }
            report(&failure, output == Output::Json);
            failure.exit_code
        }
    }
}

fn dispatch(
    cli: Cli,
    malloc: &[MallocSetting],
    status: Option<&StatusPipe>,
) -> Result<u8, Failure> {
    let output = cli.output;
    match cli.command {
        Command::Serve(arguments) => serve::run(&arguments, cli.allocator, status.cloned()),
        Command::Inspect(arguments) => {
            let artifact = open(&arguments.model, DEFAULT_UNPACKED_LIMIT)?;
            let inspection = inspect::inspect(&artifact, &arguments.model.inputs, arguments.run)
                .map_err(|error| inspect_failure(&error))?;
            if let (Some(folder), Some(run)) = (&arguments.save_tensors, &inspection.run) {
                run.save(folder).map_err(|error| inspect_failure(&error))?;
            }
            print(output, &inspection, |inspection| inspection.to_string())?;
            Ok(0)
        }
        Command::Reference(arguments) => write_reference(&arguments, output),
        Command::Compare(arguments) => {
            let comparison = compare::run(&arguments)?;
            if let Some(status) = status {
                let (max, mean) = (comparison.max, comparison.mean);
                status.tell(&HostStatus::Compared { max, mean });
            }
            print(output, &comparison, compare::text)?;
            Ok(0)
        }
        Command::Doctor => {
            let diagnosis = doctor::examine(cli.allocator, malloc);
            print(output, &diagnosis, |diagnosis| diagnosis.to_string())?;
            Ok(if diagnosis.is_good() { 0 } else { EXIT_FAILED })
        }
        Command::BenchLoop(arguments) => {
            let report = bench::run(&arguments, cli.allocator)?;
            print(output, &report, bench::text)?;
            Ok(0)
        }
    }
}

fn write_reference(arguments: &ReferenceArguments, output: Output) -> Result<u8, Failure> {
    let (Some(name), Some(out)) = (&arguments.name, &arguments.out) else {
        print(output, &reference::PUBLIC, |models| {
            models.iter().map(|model| format!("{model}\n")).collect()
        })?;
        return Ok(0);
    };
    reference::write(name, out).map_err(|error| {
        let failure = Failure::new("reference", &error);
        match error {
            ReferenceError::Unknown { .. } => {
                failure.usage().hint("`assay-host reference --list` shows them")
            }
            ReferenceError::Build { .. } => failure.hint("`assay-host doctor` checks libtorch"),
            ReferenceError::Write { .. } => failure,
        }
    })?;
    tracing::info!(model = %name, file = %out.display(), "written");
    Ok(0)
}

/// One number per colour.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Triple([f32; 3]);

fn triple(text: &str) -> Result<Triple, String> {
    let numbers: Result<Vec<f32>, _> =
        text.split(',').map(|number| number.trim().parse()).collect();
    numbers
        .ok()
        .and_then(|numbers| numbers.try_into().ok())
        .map(Triple)
        .ok_or_else(|| "write three numbers like 0.485,0.456,0.406".to_owned())
}

/// The libraries that the model needs, then the model.
fn open(arguments: &ModelArguments, unpacked_limit: units::Bytes) -> Result<Artifact, Failure> {
    for library in &arguments.op_libraries {
        torch::load_operator_library(library).map_err(|error| library_failure(&error))?;
    }
    Artifact::open(&arguments.model, unpacked_limit).map_err(|error| Failure {
        hint: error.hint().map(str::to_owned),
        ..Failure::new("artifact", &error)
    })
}

fn library_failure(error: &OperatorLibraryError) -> Failure {
    let failure = Failure::new("op-library", error);
    match error {
        OperatorLibraryError::Unreadable { .. } => failure,
        OperatorLibraryError::Refused { .. } => failure.hint(format!(
            "it must be built for libtorch {} and find its own libraries; LD_LIBRARY_PATH adds folders",
            torch::version()
        )),
    }
}

fn inspect_failure(error: &InspectError) -> Failure {
    let failure = Failure::new("inspect", error);
    match error {
        InspectError::UnknownInputs => {
            failure.usage().hint("declare them: --input 'float32[1,3,224,224]'")
        }
        InspectError::Run { source, .. } => call_hint(
            failure,
            source,
            "declare what forward() takes with --input, once per argument",
        ),
        InspectError::Engine(error) => serve::with_hint(failure, error, "--input declares inputs"),
        InspectError::Save { .. } => failure,
    }
}

/// The hint that a failed call allows; `inputs` is the one for inputs that may be wrong.
fn call_hint(failure: Failure, error: &CallError, inputs: &str) -> Failure {
    match error {
        error if error.may_be_the_inputs() => failure.hint(inputs),
        CallError::Unsendable(_) => failure.hint(serve::TENSORS_ONLY),
        CallError::Raised(_) | CallError::Refused(_) => failure.hint(serve::NO_DEVICE_IN_CODE),
    }
}

/// Writes a result to stdout. A reader that has gone away (`| head`) is no failure.
fn print<T: Serialize>(
    output: Output,
    result: &T,
    text: impl FnOnce(&T) -> String,
) -> Result<(), Failure> {
    let mut content = match output {
        Output::Text => text(result),
        Output::Json => {
            serde_json::to_string_pretty(result).map_err(|error| Failure::new("output", &error))?
        }
    };
    if !content.ends_with('\n') {
        content.push('\n');
    }
    match process::results().write_all(content.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::new("output", &error))
        }
        _ => Ok(()),
    }
}

fn report(failure: &Failure, json: bool) {
    let text = if json { failure.json() } else { failure.to_string() };
    // Nobody is left to tell when stderr is closed.
    drop(writeln!(io::stderr(), "{text}"));
}

/// A wrong command line, or a request for help.
fn usage(error: &clap::Error, json: bool) -> u8 {
    let asked_for = matches!(
        error.kind(),
        ErrorKind::DisplayHelp
            | ErrorKind::DisplayVersion
            | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand
    );
    if json && !asked_for {
        let text = error.render().to_string();
        let first = text.lines().next().unwrap_or_default();
        let message = first.strip_prefix("error: ").unwrap_or(first).to_owned();
        let failure = Failure {
            exit_code: crate::failure::EXIT_USAGE,
            code: "usage",
            message,
            causes: Vec::new(),
            hint: Some("assay-host --help".to_owned()),
        };
        report(&failure, true);
    } else {
        drop(error.print());
    }
    u8::try_from(error.exit_code()).unwrap_or(crate::failure::EXIT_USAGE)
}

/// Whether errors are wanted as JSON, known even when the command line is wrong.
fn asks_for_json(arguments: &[OsString]) -> bool {
    let words: Vec<&str> = arguments.iter().filter_map(|argument| argument.to_str()).collect();
    let pair = |pair: &[&str]| matches!(pair, ["-o" | "--output", "json"]);
    words.windows(2).any(pair)
        || words.iter().any(|word| ["-ojson", "-o=json", "--output=json"].contains(word))
}

/// `ASSAY_LOG` is a tracing filter; warnings and our own notes if not set.
fn log_to_stderr() {
    use tracing_subscriber::{EnvFilter, fmt};
    let filter = EnvFilter::try_from_env("ASSAY_LOG")
        .unwrap_or_else(|_| EnvFilter::new("warn,assay_host=info"));
    // It takes the colours out where nobody sees them.
    let stderr = || anstream::stderr().lock();
    let logger = fmt().with_env_filter(filter).with_writer(stderr).with_target(false);
    // Fails only when a logger is set already, as in tests.
    drop(logger.try_init());
}

#[cfg(test)]
mod tests;
