//! A model host as a trial has it, without the trial: kept in by all means that this machine has, or by
//! none of them, and serving until it is ended. Both go the same way, so that they can be compared.
//!
//! Prints `limits LIMIT…` (what keeps it in), `ready_us N` (from its start until it answered `/ping`, without
//! the time in which the means were found out, which an agent does once) and `listening URL`. Ends with
//! its host on SIGTERM, SIGINT or at the end of its standard input.

use std::{
    error::Error,
    io::{self, Write},
    num::NonZeroU32,
    path::PathBuf,
    process::ExitCode,
    thread,
    time::{Duration, Instant},
};

use assay_agent::{
    confinement::means::Means,
    hardware::facts::Machine,
    model_host::{ModelHost, Serving, Surroundings, find_program},
    sandbox::{Allotment, Sandbox, mounts::Hierarchies},
};
use assay_measure::{configuration::Configuration, input_spec::InputSpec};
use clap::Parser;
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::oneshot,
};

/// As long as a trial waits by default.
const READY_WITHIN: Duration = Duration::from_secs(120);

/// Serves a model the way a trial does, confined or not.
#[derive(Parser)]
struct Arguments {
    /// The model
    model: PathBuf,
    /// Declared input, such as float32[1,64]; may be repeated
    #[arg(long = "input", value_name = "SPEC")]
    inputs: Vec<InputSpec>,
    /// Worker threads
    #[arg(long, default_value = "1")]
    workers: NonZeroU32,
    /// Threads of one forward pass
    #[arg(long, default_value = "1")]
    intra_op_threads: NonZeroU32,
    /// The model host program [default: assay-host beside this program]
    #[arg(long, value_name = "FILE")]
    host_binary: Option<PathBuf>,
    /// Without any of the means that keep a model in
    #[arg(long)]
    unconfined: bool,
}

/// Hosts die with the thread that starts them, so this one stays.
fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let served = runtime.map_err(Into::into).and_then(|here| here.block_on(serve(&arguments)));
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            let causes = std::iter::successors(error.source(), |&cause| cause.source());
            causes.for_each(|cause| eprintln!("  cause: {cause}"));
            ExitCode::FAILURE
        }
    }
}

async fn serve(arguments: &Arguments) -> Result<(), Box<dyn Error>> {
    let mut terminated = signal(SignalKind::terminate())?;
    let mut interrupted = signal(SignalKind::interrupt())?;
    let input_ended = end_of_input()?;
    let program = find_program(arguments.host_binary.as_deref())?;
    let configuration = Configuration::cpu(arguments.workers, arguments.intra_op_threads);
    let serving = Serving {
        model: &arguments.model,
        configuration: &configuration,
        inputs: &arguments.inputs,
    };
    let sandbox = Sandbox::set_up(&Allotment::of(&Machine::here(), None)?, &Hierarchies::default());
    let means = if arguments.unconfined { Means::default() } else { Means::of_this_process() };
    let around =
        Surroundings { program: &program, sandbox: &sandbox, means, operator_libraries: &[] };
    let begun = Instant::now();
    let mut host = ModelHost::start(&around, &serving)?;
    let ready = host.ready(READY_WITHIN).await;
    let ready_us = begun.elapsed().as_micros();
    let told = match ready {
        Ok(address) => tell(&host, ready_us, &format!("http://{address}")),
        Err(error) => {
            host.kill().await;
            return Err(format!("{error}\n{}", host.last_words()).into());
        }
    };
    let ended = tokio::select! {
        exit = host.exited() => Err(format!("the model host {}", exit.in_words()).into()),
        _ = terminated.recv() => Ok(()),
        _ = interrupted.recv() => Ok(()),
        _ = input_ended => Ok(()),
    };
    host.kill().await;
    told?;
    ended
}

fn tell(host: &ModelHost, ready_us: u128, url: &str) -> io::Result<()> {
    let limits: Vec<&str> = host.in_force().iter().map(|limit| limit.word()).collect();
    let mut out = io::stdout();
    writeln!(out, "limits {}\nready_us {ready_us}\nlistening {url}", limits.join(", "))?;
    out.flush()
}

/// Resolves once nothing more can come from the standard input.
fn end_of_input() -> io::Result<oneshot::Receiver<()>> {
    let (ended, end) = oneshot::channel();
    thread::Builder::new().name("input".to_owned()).spawn(move || {
        // Whatever is wrong with it, no more comes.
        let _ = io::copy(&mut io::stdin(), &mut io::sink());
        let _ = ended.send(());
    })?;
    Ok(end)
}
