//! `cargo xtask bench`: measures Assay itself, and writes the figures into docs/BENCHMARKS.md.
//!
//! One module for each subject. A subject measures, prints its rows, and hands them over as a
//! section; nothing in here decides whether a test passes.

use std::{num::NonZeroU32, process::ExitCode};

use anyhow::Result;
use clap::{Args, ValueEnum};

use crate::{checkout::Checkout, console::Console, demo, libtorch};
use model::Model;

mod agreement;
mod api;
mod batching;
mod confined;
mod figures;
mod first_run;
mod host;
mod judged;
mod known;
mod load;
mod model;
mod overhead;
mod pages;
mod quiet;
mod recommend;
mod repeat;
mod report;
mod sampler;
mod search;
mod server;
mod startup;

/// What can be measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Subject {
    /// The model host's throughput against a bare loop over the same model, and confined against unconfined.
    Host,
    /// The whole instrument against servers whose capacity can be calculated.
    Known,
    /// The load generator beside its peers, against a server that answers at once.
    Load,
    /// The load generator's latencies against those of perf_analyzer, on a real model.
    Agreement,
    /// The same trial again and again: variation, and what the intervals are worth.
    Repeat,
    /// How long a whole recommendation takes.
    Recommend,
    /// What sampling the hardware costs.
    Sampler,
    /// Two hundred boto3 clients at once, and what is left of their jobs after a crash.
    Api,
    /// What a job's page, a long list and many followers cost the coordinator.
    Pages,
    /// How soon a host is ready, confined and not, and what an idle agent costs.
    Startup,
    /// From a fresh clone to a ranking, and to tests that run: what a newcomer waits for.
    FirstRun,
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
    #[arg(long, default_value = "5")]
    rounds: NonZeroU32,
    /// Reference models for `host` [default: resnet18,mobilenet_v2] and `repeat` [default: fixed-time,resnet18].
    #[arg(long, value_delimiter = ',')]
    models: Vec<Model>,
    /// How long each run of a load generator takes, in seconds.
    #[arg(long, default_value = "5", value_parser = clap::value_parser!(u64).range(2..=600))]
    seconds: u64,
    /// `known` and `repeat` in quick mode.
    #[arg(long)]
    quick: bool,
    /// `repeat` with a constraint as well.
    #[arg(long)]
    constrained: bool,
    /// Measure the programs as they were built before.
    #[arg(long)]
    no_build: bool,
    /// Print the figures only, and leave docs/BENCHMARKS.md as it is.
    #[arg(long)]
    no_write: bool,
}

/// What every subject is measured with.
#[derive(Debug, Clone, Copy)]
struct Bench<'a> {
    checkout: &'a Checkout,
    console: Console,
    arguments: &'a Arguments,
}

impl Bench<'_> {
    /// The models asked for, or else those.
    fn models_or(&self, usual: &[Model]) -> Vec<Model> {
        let asked = &self.arguments.models;
        if asked.is_empty() { usual.to_vec() } else { asked.clone() }
    }

    fn rounds(&self) -> u32 {
        self.arguments.rounds.get()
    }

    fn say(&self, line: &str) {
        self.console.say(line);
    }
}

/// Measures one subject after another, on an otherwise quiet machine if the figures are to count.
pub(crate) fn run(
    checkout: &Checkout,
    console: Console,
    arguments: &Arguments,
) -> Result<ExitCode> {
    // The search is measured in simulation, and a clone builds its own programs.
    let needs_programs =
        |subject: &Subject| !matches!(subject, Subject::Search | Subject::FirstRun);
    let needs_programs = arguments.subjects.iter().any(needs_programs);
    if !arguments.no_build && needs_programs {
        libtorch::ensure(checkout, console)?;
        demo::build_release(checkout, console)?;
        build_examples(checkout)?;
    }
    let bench = Bench { checkout, console, arguments };
    for subject in &arguments.subjects {
        // Simulated time and processor time do not mind a busy machine.
        let minds = *subject != Subject::Search;
        let warning = if minds { quiet::warning()? } else { None };
        let mut section = match subject {
            Subject::Host => host::measure(&bench)?,
            Subject::Known => known::measure(&bench)?,
            Subject::Repeat => repeat::measure(&bench)?,
            Subject::Recommend => recommend::measure(&bench)?,
            Subject::Load => load::measure(&bench)?,
            Subject::Agreement => agreement::measure(&bench)?,
            Subject::Sampler => sampler::measure(&bench)?,
            Subject::Api => api::measure(&bench)?,
            Subject::Pages => pages::measure(&bench)?,
            Subject::Startup => startup::measure(&bench)?,
            Subject::Search => search::measure(&bench)?,
            Subject::FirstRun => first_run::measure(&bench)?,
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

/// Programs that only benchmarks use.
fn build_examples(checkout: &Checkout) -> Result<()> {
    checkout.run_cargo(
        "build --release -q -p assay-agent --example confined_host --example echo_server --example sampler_cost",
    )
}
