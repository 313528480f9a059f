//! `cargo xtask bench`: measures Assay itself, and writes the figures into docs/BENCHMARKS.md.
//!
//! One module for each subject. A subject measures, prints its rows, and hands them over as a
//! section; nothing in here decides whether a test passes.

use std::{num::NonZeroU32, process::ExitCode};

use anyhow::Result;
use clap::{Args, ValueEnum};

use crate::{checkout::Checkout, console::Console, demo, libtorch};

mod figures;
mod host;
mod payload;
mod quiet;
mod report;
mod search;
mod server;
mod startup;

/// What can be measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Subject {
    /// The model host's throughput against a bare loop over the same model.
    Host,
    /// How soon a host is ready, and what an idle agent costs.
    Startup,
    /// How close the capacity search comes, beside the search rules of other tools.
    Search,
}

/// Options of `cargo xtask bench`.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// What to measure.
    #[arg(required = true)]
    subjects: Vec<Subject>,
    /// How often each figure is measured; the median is reported.
    #[arg(long, default_value = "3")]
    rounds: NonZeroU32,
    /// Reference models that `host` is measured with.
    #[arg(long, value_delimiter = ',', default_value = "resnet18")]
    models: Vec<host::Model>,
    /// Print the figures only, and leave docs/BENCHMARKS.md as it is.
    #[arg(long)]
    no_write: bool,
}

/// Measures one subject after another, on an otherwise quiet machine if the figures are to count.
pub(crate) fn run(
    checkout: &Checkout,
    console: Console,
    arguments: &Arguments,
) -> Result<ExitCode> {
    // The search is measured in simulation, which needs neither libtorch nor the programs.
    if arguments.subjects.iter().any(|subject| *subject != Subject::Search) {
        libtorch::ensure(checkout, console)?;
        demo::build_release(checkout, console)?;
    }
    for subject in &arguments.subjects {
        let warning = quiet::warning()?;
        let mut section = match subject {
            Subject::Host => host::measure(checkout, console, arguments)?,
            Subject::Startup => startup::measure(checkout, console, arguments)?,
            Subject::Search => search::measure(checkout, console)?,
        };
        if let Some(warning) = warning {
            section.body = format!("{warning}\n\n{}", section.body);
        }
        eprintln!("\n{}", section.body);
        if !arguments.no_write {
            report::write(checkout, &section)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}
