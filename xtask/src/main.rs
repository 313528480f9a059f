//! Tasks that cargo cannot express: `cargo xtask help` lists them.
//!
//! Kept light on purpose: it is the first thing compiled on a new machine. Everything it says goes to
//! stderr; stdout belongs to the programs it runs.

use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;

use crate::{checkout::Checkout, console::Console};

mod bench;
mod binaries;
mod checkout;
mod ci;
mod console;
mod demo;
mod failure;
mod files;
mod fuzz;
mod libtorch;
mod process;
mod screenshots;
mod test_run;

/// Tasks for people who work on Assay, or try it from a checkout.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", version)]
enum Task {
    /// Find libtorch 2.11.0, or fetch and unpack it, so that plain `cargo build` works.
    Libtorch(libtorch::Arguments),
    /// Everything needed, then rank instance types for a real ResNet-18.
    Demo(demo::Arguments),
    /// Everything needed, then every test.
    Test(test_run::Arguments),
    /// What has to pass before a change is taken: format, lints, every test.
    Ci,
    /// Ask the SageMaker API what nobody would, for minutes.
    Fuzz(fuzz::Arguments),
    /// Take pictures of every page, and put two of them beside the README.
    Screenshots,
    /// Measure Assay itself and write the figures into docs/BENCHMARKS.md.
    Bench(bench::Arguments),
}

fn main() -> ExitCode {
    let task = Task::parse();
    match run(task) {
        Ok(code) => code,
        Err(error) => {
            eprint!("{}", failure::describe(&error));
            ExitCode::FAILURE
        }
    }
}

fn run(task: Task) -> Result<ExitCode> {
    let checkout = Checkout::find()?;
    let console = Console::new();
    match task {
        Task::Libtorch(arguments) => libtorch::run(&checkout, console, &arguments),
        Task::Demo(arguments) => demo::run(&checkout, console, &arguments),
        Task::Test(arguments) => test_run::run(&checkout, console, &arguments),
        Task::Ci => ci::run(&checkout, console),
        Task::Fuzz(arguments) => fuzz::run(&checkout, console, &arguments),
        Task::Screenshots => screenshots::run(&checkout, console),
        Task::Bench(arguments) => bench::run(&checkout, console, &arguments),
    }
}
