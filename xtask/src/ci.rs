//! `cargo xtask ci`: what has to pass before a change is taken.

use std::process::ExitCode;

use anyhow::Result;

use crate::{checkout::Checkout, console::Console, test_run};

/// Format, lints, tests. Whoever compiles lints as well.
pub(crate) fn run(checkout: &Checkout, console: Console) -> Result<ExitCode> {
    console.say("cargo fmt");
    checkout.run_cargo("fmt --all --check")?;
    console.say("compiling with clippy");
    test_run::run(&checkout.linted(), console, &test_run::Arguments::default())
}
