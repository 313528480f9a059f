//! `cargo xtask fuzz`: asks what nobody would, for as long as one likes. CI runs one round of the same test.

use std::{
    process::ExitCode,
    time::{SystemTime, UNIX_EPOCH},
};

use anyhow::Result;
use clap::{Args, ValueEnum};

use crate::{checkout::Checkout, console::Console, files, process};

/// What can be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Subject {
    /// The SageMaker API: drawn and hostile bodies, spoilt headers, stories with slips.
    Api,
}

/// Options of `cargo xtask fuzz`.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// What to ask.
    subject: Subject,
    /// For how long at least; 0 is one round.
    #[arg(long, default_value = "10")]
    minutes: u64,
    /// The seed of the first round; another one each time when not given.
    #[arg(long)]
    seed: Option<u64>,
}

/// Rounds with one seed after another, until time is up or one fails.
pub(crate) fn run(
    checkout: &Checkout,
    console: Console,
    arguments: &Arguments,
) -> Result<ExitCode> {
    let Subject::Api = arguments.subject;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let seed = arguments.seed.unwrap_or(now.as_secs());
    let failures = checkout.target_dir().join("fuzz");
    files::create_dir(&failures)?;
    console.say(&format!("{} minutes from seed {seed}", arguments.minutes));
    console.say(&format!("failing requests are left in {}", failures.display()));
    let mut test = checkout.cargo();
    // Without optimization: overflows and broken assumptions panic here.
    test.args("test -q -p assay-server --lib whatever_is_asked -- --nocapture".split(' '));
    test.env("ASSAY_FUZZ_SECONDS", (arguments.minutes * 60).to_string());
    test.env("ASSAY_FUZZ_SEED", seed.to_string()).env("ASSAY_FUZZ_FAILURES", &failures);
    process::run(&mut test)?;
    console.say("every request was answered as it should be");
    Ok(ExitCode::SUCCESS)
}
