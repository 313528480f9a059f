//! `cargo xtask ci`: what has to pass before a change is taken.

use std::process::ExitCode;

use anyhow::Result;

use crate::{checkout::Checkout, console::Console, libtorch, test_run};

/// Format, lints, tests; the cheapest first.
pub(crate) fn run(checkout: &Checkout, console: Console) -> Result<ExitCode> {
    console.say("cargo fmt");
    checkout.run_cargo("fmt --all --check")?;
    libtorch::ensure(checkout, console)?;
    console.say("cargo clippy");
    checkout.run_cargo("clippy --workspace --all-targets -- -D warnings")?;
    test_run::run(checkout, console, &test_run::Arguments::default())
}
