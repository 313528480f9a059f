//! `cargo xtask test`: everything needed, then every test of the workspace.
//!
//! The suites build what they need by themselves (binaries, a Python environment), so plain
//! `cargo test --workspace` does the same after `cargo xtask libtorch`. Here the binaries are built
//! once, beforehand, and the tests are told where they are.

use std::process::{Command, ExitCode};

use anyhow::Result;
use clap::Args;

use crate::{checkout::Checkout, console::Console, libtorch, process};

/// Options of `cargo xtask test`.
#[derive(Debug, Default, Args)]
pub(crate) struct Arguments {
    /// Only tests whose names contain one of these; doc tests are then left out.
    filters: Vec<String>,
}

/// The whole run; its exit code is that of the tests.
pub(crate) fn run(
    checkout: &Checkout,
    console: Console,
    arguments: &Arguments,
) -> Result<ExitCode> {
    libtorch::ensure(checkout, console)?;
    console.say("building the binaries");
    process::run(checkout.cargo().args(["build", "--workspace", "--bins"]))?;
    console.say("running every test");
    process::run(tests(checkout, console).arg("--").args(&arguments.filters))?;
    if arguments.filters.is_empty() {
        console.say("running the doc tests");
        process::run(checkout.cargo().args(["test", "--workspace", "--doc"]))?;
    }
    console.say("every test passed");
    Ok(ExitCode::SUCCESS)
}

/// nextest where it is installed: it runs suites side by side and shows what failed last.
fn tests(checkout: &Checkout, console: Console) -> Command {
    let mut command = checkout.cargo();
    if process::answers(Command::new("cargo").args(["nextest", "--version"])) {
        command.args(["nextest", "run", "--workspace"]);
    } else {
        console.say("cargo-nextest is not installed, using cargo test");
        command.args(["test", "--workspace", "--lib", "--bins", "--tests"]);
    }
    command.env("ASSAY_TEST_BINARIES", checkout.target_dir().join("debug"));
    command
}
