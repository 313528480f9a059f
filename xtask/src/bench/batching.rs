//! What dynamic batching does to what one worker carries: a table of `bench host`.
//!
//! A model that spends its time between operators gains from batches, one that spends it inside them
//! hardly does, and one whose outputs have no rows cannot be batched at all: none of them may lose.

use std::path::Path;

use anyhow::Result;

use super::{
    Arguments,
    figures::{Figure, number, verdict},
    load::{pin_client, pin_server},
    payload,
    server::{Server, one_worker},
};
use crate::{checkout::Checkout, console::Console, process::capture};

/// A model, its input, how many wait for it at a time, and what batches must make of it.
struct Case {
    model: &'static str,
    input: &'static str,
    shape: &'static [usize],
    users: u32,
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
    Case { model: "mlp", input: "float32[1,64]", shape: &[1, 64], users: 32, goal: Goal::Gain },
    Case {
        model: "mobilenet_v2",
        input: "float32[1,3,224,224]",
        shape: &[1, 3, 224, 224],
        users: 32,
        goal: Goal::NoLoss,
    },
];
const MAX_BATCH: &str = "8";
/// A batch of a slow model is answered at once: a slice must hold many.
const SLICES_OF_SECONDS: u64 = 2;

/// Closed loops against the same worker without batches and with them, in turns.
pub(super) fn measure(
    checkout: &Checkout,
    console: Console,
    arguments: &Arguments,
) -> Result<String> {
    let mut text = String::from(
        "\n\n| model | users | one by one | batches of up to 8 | batches / one by one | goal |\n|---|---|---|---|---|---|\n",
    );
    for case in &CASES {
        let (file, body) = payload::model_and_body(checkout, console, case.model, case.shape)?;
        let (mut alone, mut batched, mut ratio) =
            (Figure::default(), Figure::default(), Figure::default());
        for _ in 1..=arguments.rounds.get() {
            let round = |max_batch| case.served(checkout, (&file, &body), max_batch, arguments);
            let before = round("1")?;
            let with = f64::midpoint(round(MAX_BATCH)?, round(MAX_BATCH)?);
            let without = f64::midpoint(before, round("1")?);
            alone.add(without);
            batched.add(with);
            ratio.add(with / without);
        }
        console.say(&format!("{}: batches / one by one {}", case.model, ratio.shown(3)));
        text.push_str(&case.row(&alone, &batched, &ratio));
    }
    text.push_str("\nInvocations per second through the host over HTTP, median (least–greatest): one worker of one thread on one core, the generator on the other, no waiting for a batch to fill.");
    Ok(text)
}

impl Case {
    fn served(
        &self,
        checkout: &Checkout,
        (file, body): (&Path, &Path),
        max_batch: &str,
        arguments: &Arguments,
    ) -> Result<f64> {
        let mut serve = one_worker(checkout, file, self.input);
        serve.args(["--max-batch", max_batch]);
        let (_server, url, _) = Server::listening(&mut pin_server(&serve))?;
        let target = format!("{url}/invocations");
        let seconds = format!("{}s", SLICES_OF_SECONDS * arguments.seconds);
        let load = |duration: &str| -> Result<f64> {
            let load = payload::closed_loop(checkout, &target, body, self.users, duration);
            number(&capture(&mut pin_client(&load))?, "/achieved_per_s")
        };
        // The first batches prove that they may be made, and choose libtorch's kernels.
        load("1s")?;
        load(&seconds)
    }

    fn row(&self, alone: &Figure, batched: &Figure, ratio: &Figure) -> String {
        let (words, met) = match self.goal {
            Goal::Gain => ("above 1", ratio.median() > 1.0),
            Goal::NoLoss => ("no loss", ratio.median() > 1.0 - SCATTER),
        };
        format!(
            "| `{}` | {} | {} | {} | {} | {words}: {} |\n",
            self.model,
            self.users,
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
        let row = |case: &Case, ratio| case.row(&figure(1.0), &figure(ratio), &figure(ratio));
        assert!(row(&CASES[0], 1.2).contains("above 1: met"));
        assert!(row(&CASES[0], 0.99).contains("above 1: missed"));
        assert!(row(&CASES[1], 0.98).contains("no loss: met"));
        assert!(row(&CASES[1], 0.9).contains("no loss: missed"));
    }
}
