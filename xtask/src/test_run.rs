//! `cargo xtask test`: everything needed, then every test of the workspace.
//!
//! The suites build what they need by themselves (binaries, a Python environment), so plain
//! `cargo test --workspace` does the same after `cargo xtask libtorch`. Here the binaries are built
//! once, beforehand, and the tests are told where they are.

use std::{
    fs,
    path::Path,
    process::{self as std_process, Command, ExitCode},
};

use anyhow::Result;
use clap::Args;

use crate::{binaries, checkout::Checkout, console::Console, process};

/// Options of `cargo xtask test`.
#[derive(Debug, Default, Args)]
pub(crate) struct Arguments {
    /// Only tests whose names contain one of these; doc tests are then left out.
    filters: Vec<String>,
}

/// It limits the memory of a process of its own, which needs root and a writable cgroup file system.
const UNDER_MEMORY_PRESSURE: &str = "memory_pressure_is_found";

fn memory_groups_can_be_made() -> bool {
    let kinds =
        [("/sys/fs/cgroup/memory", "memory.limit_in_bytes"), ("/sys/fs/cgroup", "memory.max")];
    kinds.into_iter().any(|(root, limit)| {
        let group = Path::new(root).join(format!("assay-xtask-{}", std_process::id()));
        let made = fs::create_dir(&group).is_ok() && group.join(limit).exists();
        fs::remove_dir(&group).ok();
        made
    })
}

/// The whole run; its exit code is that of the tests.
pub(crate) fn run(
    checkout: &Checkout,
    console: Console,
    arguments: &Arguments,
) -> Result<ExitCode> {
    binaries::build(checkout, console)?;
    console.say("running every test");
    let mut tests = tests(checkout, console);
    tests.arg("--").args(&arguments.filters);
    if !memory_groups_can_be_made() {
        console.say(&format!(
            "left out: {UNDER_MEMORY_PRESSURE}, for no control group with a memory limit can be made here"
        ));
        tests.args(["--skip", UNDER_MEMORY_PRESSURE]);
    }
    process::run(&mut tests)?;
    if arguments.filters.is_empty() {
        console.say("running the doc tests");
        checkout.run_cargo("test --workspace --doc")?;
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
