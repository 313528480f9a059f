//! The `assay-agent` program: reads the command line, does what it says, and tells what went wrong.
//!
//! Results go to standard output, everything else to standard error. Exit codes stand in [`failure`].

mod calibrate_command;
mod capacity_command;
mod cli;
mod doctor_command;
mod failure;
mod interruption;
mod known_server_command;
mod load_command;
mod progress;

use std::{io, process};

use assay_agent::run::{self, RunArguments};
use assay_measure::printable;
use clap::Parser;
use tracing_subscriber::EnvFilter;

use crate::{
    cli::{Cli, Command, Format},
    failure::{ExitCode, Failure},
};

fn main() -> process::ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return usage(&error),
    };
    // A daemon tells what it does; a command is quiet unless asked.
    start_logging(cli.verbose.saturating_add(u8::from(matches!(cli.command, Command::Run(_)))));
    let result = match &cli.command {
        Command::Load(arguments) => load_command::run(arguments, cli.output),
        Command::Capacity(arguments) => capacity_command::run(arguments, cli.output),
        Command::Calibrate(arguments) => calibrate_command::run(arguments, cli.output),
        Command::KnownServer(arguments) => known_server_command::run(arguments),
        Command::Run(arguments) => daemon(arguments),
        Command::Doctor(arguments) => doctor_command::run(arguments, cli.output),
    };
    match result {
        Ok(code) => code.number().into(),
        Err(failure) => tell(&failure, cli.output == Format::Json),
    }
}

/// Runs the daemon until it is asked to end.
fn daemon(arguments: &RunArguments) -> Result<ExitCode, Failure> {
    match run::run(arguments) {
        Ok(asked_once) => Ok(if asked_once { ExitCode::Done } else { ExitCode::Interrupted }),
        Err(error) => {
            let code = match error.exit_code() {
                2 => ExitCode::Usage,
                4 => ExitCode::Denied,
                _ => ExitCode::Failed,
            };
            let failure = Failure::of(code, &error);
            Err(match error.hint() {
                Some(hint) => failure.hint(hint),
                None => failure,
            })
        }
    }
}

/// Prints a failure in the form asked for.
fn tell(failure: &Failure, as_json: bool) -> process::ExitCode {
    if as_json {
        anstream::eprintln!("{}", printable::json(&failure.to_json().to_string()));
    } else {
        anstream::eprintln!("{failure}");
    }
    failure.code().number().into()
}

/// What clap says about the command line; with `-o json` as one JSON object too.
fn usage(error: &clap::Error) -> process::ExitCode {
    if !error.use_stderr() {
        // Help and version. Nothing can be done when even this cannot be printed.
        let _ = error.print();
        return ExitCode::Done.number().into();
    }
    if cli::asks_for_json(std::env::args_os()) {
        let text = error.render().to_string();
        let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
        let what = lines.next().unwrap_or("usage").trim_start_matches("error: ").to_owned();
        let hint = "assay-agent --help lists the commands and flags";
        return tell(&Failure::new(ExitCode::Usage, what).hint(hint), true);
    }
    let _ = error.print();
    ExitCode::Usage.number().into()
}

fn start_logging(verbose: u8) {
    let level = match verbose {
        0 => "warn",
        1 => "info",
        _ => "debug",
    };
    let filter = EnvFilter::try_from_env("ASSAY_LOG").unwrap_or_else(|_| EnvFilter::new(level));
    // Without colours: any escape sequence in a line is somebody else's.
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(false)
        .with_writer(|| printable::Events(io::stderr().lock()))
        .init();
}
