//! The `assay` program: reads the command line, does what it says, and tells what went wrong.
//!
//! Results go to standard output, everything else to standard error. Exit codes stand in [`failure`].

mod agents;
mod artifact;
mod aws_args;
mod binaries;
mod cli;
mod client;
mod compare;
mod config;
mod doctor;
mod embedded;
mod export;
mod failure;
mod figures;
mod follow;
mod help;
mod import;
mod job_request;
mod jobs;
mod output;
mod payload_files;
mod prices;
mod progress;
mod recommend;
mod report_table;
mod serve;
mod wire;

use std::{
    io::{self, Write},
    process,
};

use assay_measure::printable;
use clap::{ArgMatches, CommandFactory, FromArgMatches};
use tracing_subscriber::EnvFilter;

use crate::{
    cli::{Cli, ColorChoice, Command, ConfigCommand, OutputFormat},
    config::Settings,
    failure::{ExitCode, Failure, OrFail},
    output::Listing,
};

fn main() -> process::ExitCode {
    let (cli, matches) = match parse() {
        Ok(parsed) => parsed,
        Err(code) => return code,
    };
    let json_errors = matches!(cli.global.output, Some(OutputFormat::Json | OutputFormat::Jsonl));
    match start(&cli, &matches) {
        Ok(code) => process::ExitCode::from(code as u8),
        Err(failure) => {
            let told = if json_errors {
                printable::json(&failure.to_json().to_string()).into_owned()
            } else {
                failure.to_string()
            };
            // Where standard error lies on a full disk too, the exit code is left to tell it.
            let _ = writeln!(anstream::stderr(), "{told}");
            process::ExitCode::from(failure.code() as u8)
        }
    }
}

/// Reads the command line; usage errors are told in the same words and codes as all others.
fn parse() -> Result<(Cli, ArgMatches), process::ExitCode> {
    let matches = match Cli::command().try_get_matches() {
        Ok(matches) => matches,
        Err(error) => return Err(usage(&error)),
    };
    match Cli::from_arg_matches(&matches) {
        Ok(cli) => Ok((cli, matches)),
        Err(error) => Err(usage(&error)),
    }
}

fn usage(error: &clap::Error) -> process::ExitCode {
    // Nothing can be done when even this cannot be printed.
    let _ = error.print();
    let code = if error.use_stderr() { ExitCode::Usage } else { ExitCode::Done };
    process::ExitCode::from(code as u8)
}

fn start(cli: &Cli, matches: &ArgMatches) -> Result<ExitCode, Failure> {
    let settings = Settings::settle(&cli.global, matches)?;
    match settings.color {
        ColorChoice::Auto => {}
        ColorChoice::Always => anstream::ColorChoice::Always.write_global(),
        ColorChoice::Never => anstream::ColorChoice::Never.write_global(),
    }
    listen_to_log(&settings);
    // The process-wide provider; it is set once, here, so an error is impossible.
    let _ = rustls::crypto::ring::default_provider().install_default();
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .or_failed("cannot start the runtime")?
        .block_on(perform(&cli.command, &settings))
}

async fn perform(command: &Command, settings: &Settings) -> Result<ExitCode, Failure> {
    match command {
        Command::Recommend(args) => recommend::run(args, settings).await,
        Command::Serve(args) => serve::run(args, settings).await,
        Command::Agents(command) => agents::run(command, settings).await,
        Command::Jobs(command) => jobs::run(command, settings).await,
        Command::Prices(command) => prices::run(command, settings).await,
        Command::Compare(args) => compare::run(args, settings).await,
        Command::Export(args) => export::run(args, settings).await,
        Command::Import { files } => import::run(files, settings).await,
        Command::Doctor(args) => doctor::run(args, settings).await,
        Command::Config(ConfigCommand::Show { origin }) => show_config(settings, *origin),
        Command::Completions { shell } => help::completions(*shell),
        Command::Man { dir } => help::manual(dir),
        Command::Help { topic } => help::topic(topic),
    }
}

fn show_config(settings: &Settings, origin: bool) -> Result<ExitCode, Failure> {
    let mut header = vec!["KEY", "VALUE"];
    if origin {
        header.push("ORIGIN");
    }
    let rows = settings.origins.iter().map(|setting| {
        let value = setting.value.clone().unwrap_or_else(|| "-".to_owned());
        let mut row = vec![setting.key.to_owned(), value];
        if origin {
            row.push(setting.origin.clone());
        }
        row
    });
    let json = settings.origins.iter().map(|setting| serde_json::json!(setting));
    Listing { header, rows: rows.collect(), json: json.collect(), empty: String::new() }
        .write(settings.output)?;
    Ok(ExitCode::Done)
}

/// Warnings by default, more with `-v`; `ASSAY_LOG` overrides both.
fn listen_to_log(settings: &Settings) {
    let level = match (settings.quiet, settings.verbose) {
        (true, _) => "error",
        (false, 0) => "warn",
        (false, 1) => "info",
        (false, _) => "debug",
    };
    let filter = EnvFilter::try_from_env("ASSAY_LOG").unwrap_or_else(|_| EnvFilter::new(level));
    // Without colours: any escape sequence in a line is somebody else's.
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(false)
        .with_writer(|| printable::Events(io::stderr().lock()))
        .init();
}
