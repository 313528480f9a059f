//! `cargo xtask ci`: what has to pass before a change is taken.

use std::process::ExitCode;

use anyhow::Result;

use crate::{checkout::Checkout, console::Console, libtorch, process, test_run};

/// Format, lints, tests; the cheapest first.
pub(crate) fn run(checkout: &Checkout, console: Console) -> Result<ExitCode> {
    console.say("cargo fmt");
    process::run(checkout.cargo().args(["fmt", "--all", "--check"]))?;
    libtorch::ensure(checkout, console)?;
    console.say("cargo clippy");
    process::run(checkout.cargo().args([
        "clippy",
        "--workspace",
        "--all-targets",
        "--",
        "-D",
        "warnings",
    ]))?;
    test_run::run(checkout, console, &test_run::Arguments::default())
}
