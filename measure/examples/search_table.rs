#![allow(clippy::disallowed_methods)]
//! Prints how close the capacity search comes on servers whose capacity is known.
//!
//! `cargo run --release -p assay-measure --example search_table -- [repetitions] [first seed] [letters]`

#[path = "../tests/support/erlang.rs"]
mod erlang;
#[path = "../tests/support/simulated_server.rs"]
#[expect(dead_code, reason = "the tests use parts that the table does not")]
mod simulated_server;

use std::time::Duration;

use assay_measure::{
    search::{Mode, Next, Search, SearchPlan},
    slo::Slo,
};
use simulated_server::{Server, ServerKind, Truth, drive, known_servers, simulated_truth};

#[expect(clippy::print_stdout, reason = "printing the table is what this program is for")]
fn main() {
    let mut arguments = std::env::args().skip(1);
    let repetitions: u64 = arguments.next().and_then(|text| text.parse().ok()).unwrap_or(20);
    let first_seed: u64 = arguments.next().and_then(|text| text.parse().ok()).unwrap_or(5000);
    let letters = arguments.next().unwrap_or_default();
    println!(
        "{repetitions} repetitions; bias and rmse in % of the true rate, time in simulated seconds"
    );
    println!(
        "{:34} {:6} {:>8} {:>7} {:>6} {:>7} {:>9} {:>7} {:>6} {:>5} {:>7} {:>7}",
        "server",
        "mode",
        "true/s",
        "bias",
        "rmse",
        ">+5 %",
        "coverage",
        "half",
        "time",
        "held",
        "precise",
        "drift"
    );
    for kind in known_servers() {
        if !letters.is_empty() && !letters.contains(&kind.name[..1]) {
            continue;
        }
        let slo: Slo = kind.constraint.parse().expect("the constraints are written here");
        let truth = if kind.name.starts_with('A') {
            let rate = erlang::capacity(kind.fixed_s, slo.limit().as_secs_f64(), slo.miss_budget());
            Truth { rate, standard_error: 0.0 }
        } else {
            simulated_truth(&kind, slo.limit(), slo.miss_budget(), 1_000_000, 10)
        };
        for mode in [Mode::Quick, Mode::Full] {
            let row = Row::measure(&kind, slo, mode, truth, first_seed..first_seed + repetitions);
            println!("{:34} {mode:6} {:8.2} {row}", kind.name, truth.rate);
        }
    }
}

#[derive(Default)]
struct Row {
    errors: Vec<f64>,
    half_widths: Vec<f64>,
    seconds: Vec<f64>,
    covered: u32,
    held: u32,
    precise: u32,
    drifted: u32,
}

impl Row {
    fn measure(
        kind: &ServerKind,
        slo: Slo,
        mode: Mode,
        truth: Truth,
        seeds: std::ops::Range<u64>,
    ) -> Self {
        let mut row = Self::default();
        for seed in seeds {
            let plan = SearchPlan {
                constraints: vec![slo],
                mode,
                seed,
                max_duration: Duration::from_secs(900),
                soak: None,
                max_error_share: 0.01,
            };
            let finished = drive(Search::new(plan), Server::new(kind.clone(), seed));
            row.seconds.push(finished.seconds);
            if let Next::Done(answer) = finished.end {
                let [value, low, high] =
                    [answer.capacity.value, answer.capacity.low, answer.capacity.high]
                        .map(f64::from);
                row.errors.push(100.0 * (value / truth.rate - 1.0));
                row.half_widths.push(100.0 * (high / low).ln() / 2.0);
                if std::env::var("DETAILS").is_ok() {
                    println!("  {seed} err {:+.2} half {:.2} {} t {:.0} precise {} drift {:?} {:?}", 100.0 * (value / truth.rate - 1.0), 100.0 * (high / low).ln() / 2.0, if truth.lies_within(low, high) { "in" } else { "OUT" }, finished.seconds, answer.precise, answer.drift.map(|d| (d.relative_change * 1000.0).round() / 10.0), answer.confirmation);
                }
                row.covered += u32::from(truth.lies_within(low, high));
                row.held +=
                    u32::from(answer.confirmation == assay_measure::search::Confirmation::Held);
                row.precise += u32::from(answer.precise);
                row.drifted += u32::from(answer.drift.is_some());
            }
        }
        row
    }
}

impl std::fmt::Display for Row {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len().max(1) as f64;
        let squares: Vec<f64> = self.errors.iter().map(|error| error * error).collect();
        let optimistic = self.errors.iter().filter(|error| **error > 5.0).count();
        let share = |count: u32| 100.0 * f64::from(count) / self.seconds.len().max(1) as f64;
        write!(
            f,
            "{:+7.2} {:6.2} {:6.0} {:9.0} {:7.2} {:6.0} {:5.0} {:7.0} {:7.0}",
            mean(&self.errors),
            mean(&squares).sqrt(),
            100.0 * optimistic as f64 / self.seconds.len().max(1) as f64,
            share(self.covered),
            mean(&self.half_widths),
            mean(&self.seconds),
            share(self.held),
            share(self.precise),
            share(self.drifted),
        )
    }
}
