//! What dynamic batching does to what one worker carries: a table of `bench host`.
//!
//! A model that spends its time between operators gains from batches, one that spends it inside them
//! hardly does, and one whose outputs have no rows cannot be batched at all: none of them may lose.

use std::path::Path;

use anyhow::Result;

use super::{
    Bench,
    figures::{Figure, number, verdict},
    load::{pin_client, pin_server},
    model::{Model, closed_loop},
    server::{Server, one_worker},
};
use crate::process::capture;

/// A model, and what batches must make of it.
#[derive(Clone, Copy)]
struct Case {
    model: Model,
    goal: Goal,
}

/// The rate with batches as a share of that without.
#[derive(Clone, Copy)]
enum Goal {
    /// Above 1.
    Gain,
    /// Not below 1, but for the scatter of one machine.
    NoLoss,
}

/// What two equal hosts differ by here from slice to slice.
const SCATTER: f64 = 0.03;

const CASES: [Case; 2] = [
    Case { model: Model::Mlp, goal: Goal::Gain },
    Case { model: Model::MobilenetV2, goal: Goal::NoLoss },
];
/// How many wait for an answer at a time.
const USERS: u32 = 32;
const MAX_BATCH: &str = "8";
/// A batch of a slow model is answered at once: a slice must hold many.
const SLICES_OF_SECONDS: u64 = 2;

/// Closed loops against the same worker without batches and with them, in turns.
pub(super) fn measure(bench: &Bench<'_>) -> Result<String> {
    let mut text = String::from(
        "\n\n| model | users | one by one | batches of up to 8 | batches / one by one | goal |\n|---|---|---|---|---|---|\n",
    );
    for case in CASES {
        let (file, body) = case.model.file_and_body(bench)?;
        let (mut alone, mut batched) = (Figure::default(), Figure::default());
        for _ in 1..=bench.rounds() {
            let round = |max_batch| served(bench, case.model, (&file, &body), max_batch);
            let before = round("1")?;
            let with = f64::midpoint(round(MAX_BATCH)?, round(MAX_BATCH)?);
            let without = f64::midpoint(before, round("1")?);
            alone.add(without);
            batched.add(with);
        }
        let ratio = batched.ratio_to(&alone);
        bench.say(&format!("{}: batches / one by one {}", case.model.name(), ratio.shown(3)));
        text.push_str(&case.row(&alone, &batched));
    }
    text.push_str("\nInvocations per second through the host over HTTP, median (least–greatest): one worker of one thread on one core, the generator on the other, no waiting for a batch to fill.");
    Ok(text)
}

fn served(
    bench: &Bench<'_>,
    model: Model,
    (file, body): (&Path, &Path),
    max_batch: &str,
) -> Result<f64> {
    let mut serve = one_worker(bench.checkout, file, model);
    serve.args(["--max-batch", max_batch]);
    let (_server, url) = Server::listening(&mut pin_server(&serve))?;
    let target = format!("{url}/invocations");
    let seconds = format!("{}s", SLICES_OF_SECONDS * bench.arguments.seconds);
    let load = |duration: &str| {
        let load = closed_loop(bench, &target, body, USERS, duration);
        number(&capture(&mut pin_client(&load))?, "/achieved_per_s")
    };
    // The first batches prove that they may be made, and choose libtorch's kernels.
    load("1s")?;
    load(&seconds)
}

impl Case {
    fn row(self, alone: &Figure, batched: &Figure) -> String {
        let ratio = batched.ratio_to(alone);
        let (words, met) = match self.goal {
            Goal::Gain => ("above 1", ratio.median() > 1.0),
            Goal::NoLoss => ("no loss", ratio.median() > 1.0 - SCATTER),
        };
        format!(
            "| `{}` | {USERS} | {} | {} | {} | {words}: {} |\n",
            self.model.name(),
            alone.shown(0),
            batched.shown(0),
            ratio.shown(3),
            verdict(met)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gain_must_be_one_and_a_loss_is_noticed() {
        let figure = |value| Figure::from_iter([value]);
        let row = |case: Case, ratio| case.row(&figure(1.0), &figure(ratio));
        assert!(row(CASES[0], 1.2).contains("above 1: met"));
        assert!(row(CASES[0], 0.99).contains("above 1: missed"));
        assert!(row(CASES[1], 0.98).contains("no loss: met"));
        assert!(row(CASES[1], 0.9).contains("no loss: missed"));
    }
}
