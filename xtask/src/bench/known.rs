//! `bench known`: the whole instrument, generator and search in real time, against servers whose
//! capacity can be calculated.
//!
//! The servers wait for deadlines instead of working, so several searches share the machine without
//! touching each other: each has a server and a seed of its own, and a few run at once.

use std::{thread, time::Duration};

use anyhow::{Context, Result, anyhow};
use assay_measure::{known_queue::KnownQueue, slo::Slo};

use super::{
    Arguments,
    figures::{Figure, number, verdict},
    report::Section,
    server::Server,
};
use crate::{checkout::Checkout, console::Console, process::capture};

/// A server, a promise, and how close the search must come.
#[derive(Debug, Clone, Copy)]
struct Case {
    workers: u32,
    service_time: Duration,
    constraint: Option<&'static str>,
    within_percent: f64,
}

const CASES: [Case; 3] = [
    Case {
        workers: 1,
        service_time: Duration::from_millis(10),
        constraint: Some("p95<=50ms"),
        within_percent: 2.0,
    },
    Case {
        workers: 1,
        service_time: Duration::from_millis(10),
        constraint: None,
        within_percent: 1.0,
    },
    Case {
        workers: 2,
        service_time: Duration::from_millis(4),
        constraint: Some("p99<=20ms"),
        within_percent: 3.0,
    },
];
/// Rounds that run at the same time, each with all cases.
const ROUNDS_AT_ONCE: usize = 2;
/// Of the runs, how many must come within that.
const GOAL_SHARE: f64 = 0.9;

/// What the runs of one case found.
#[derive(Debug, Default)]
struct Found {
    per_s: Figure,
    seconds: Figure,
    within: usize,
    covered: usize,
    runs: usize,
}

/// Every case, one table row each.
pub(crate) fn measure(
    checkout: &Checkout,
    console: Console,
    arguments: &Arguments,
) -> Result<Section> {
    let exact: Vec<f64> = CASES.iter().map(|case| case.exact_per_s()).collect::<Result<_>>()?;
    let mut found: Vec<Found> = CASES.iter().map(|_| Found::default()).collect();
    let rounds: Vec<u32> = (1..=arguments.rounds.get()).collect();
    for rounds in rounds.chunks(ROUNDS_AT_ONCE) {
        let runs: Vec<(u32, usize)> = rounds
            .iter()
            .flat_map(|round| (0..CASES.len()).map(move |case| (*round, case)))
            .collect();
        let searched: Vec<Result<String>> = thread::scope(|scope| {
            let searches: Vec<_> = runs
                .iter()
                .map(|&(round, case)| {
                    scope.spawn(move || CASES[case].searched(checkout, round, arguments.quick))
                })
                .collect();
            searches
                .into_iter()
                .map(|search| search.join().unwrap_or_else(|_| Err(anyhow!("a run panicked"))))
                .collect()
        });
        for ((round, case), json) in runs.into_iter().zip(searched) {
            let off = found[case].add(CASES[case], exact[case], &json?)?;
            console.say(&format!("round {round}: {}: {off:+.2} %", CASES[case].name()));
        }
    }
    let mut text = String::from(
        "| server and constraint | exact, /s | found, /s | off by, median | runs within the goal | intervals that hold the exact rate | time, s | goal |\n|---|---|---|---|---|---|---|---|\n",
    );
    for ((case, exact), found) in CASES.iter().zip(&exact).zip(&found) {
        text.push_str(&case.row(*exact, found));
    }
    text.push_str(&format!(
        "\n`assay-agent capacity{}` against `assay-agent known-server` over HTTP on loopback: one process each, requests first come, first served, deterministic service times kept by deadlines. Median (least–greatest) of {} runs with seeds 1, 2, …; the searches of {ROUNDS_AT_ONCE} rounds run at the same time. Exact: Erlang's series for M/D/1, servers ÷ service time without a constraint, a simulation of the same queue for several servers. The servers themselves lose a fraction of a microsecond per request, which is all that a plateau of such regularity sees: its interval is narrower than that.",
        if arguments.quick { " --quick" } else { "" },
        arguments.rounds
    ));
    Ok(Section { name: "known", title: "Servers of known capacity, in real time", body: text })
}

impl Case {
    fn name(&self) -> String {
        let constraint = self.constraint.unwrap_or("no constraint");
        format!("{} × {} ms, {constraint}", self.workers, self.service_time.as_millis())
    }

    fn exact_per_s(&self) -> Result<f64> {
        let constraints: Vec<Slo> =
            self.constraint.into_iter().map(str::parse).collect::<Result<_, _>>()?;
        let queue = KnownQueue::new(self.workers, self.service_time)?;
        Ok(queue.capacity(&constraints)?.rate.as_per_second())
    }

    /// The JSON of one search against a server of its own.
    fn searched(&self, checkout: &Checkout, seed: u32, quick: bool) -> Result<String> {
        let mut serve = checkout.program("assay-agent");
        serve.arg("known-server").args(["--workers", &self.workers.to_string()]);
        serve.args(["--service-time", &format!("{}us", self.service_time.as_micros())]);
        let (_server, url, _) = Server::listening(&mut serve)?;
        let mut capacity = checkout.program("assay-agent");
        capacity.args(["capacity", "--target", &url, "--seed", &seed.to_string(), "-o", "json"]);
        capacity.args(self.constraint.iter().flat_map(|constraint| ["--slo", constraint]));
        capacity.args(quick.then_some("--quick"));
        capture(&mut capacity)
    }

    fn row(&self, exact: f64, found: &Found) -> String {
        let goal = (GOAL_SHARE * found.runs as f64).ceil();
        let off = (found.per_s.median() / exact - 1.0) * 100.0;
        format!(
            "| {} | {exact:.2} | {} | {off:+.2} % | {} of {} | {} of {} | {} | within {} % in {goal} of {}: {} |\n",
            self.name(),
            found.per_s.shown(2),
            found.within,
            found.runs,
            found.covered,
            found.runs,
            found.seconds.shown(0),
            self.within_percent,
            found.runs,
            verdict(found.within as f64 >= goal)
        )
    }
}

impl Found {
    /// Takes in one search, and says how far off it was, in per cent.
    fn add(&mut self, case: Case, exact: f64, json: &str) -> Result<f64> {
        let per_second = |pointer: &str| Ok::<f64, anyhow::Error>(number(json, pointer)? / 60.0);
        let value = per_second("/max_invocations_per_min")?;
        let low = per_second("/ci95/0")?;
        let high = per_second("/ci95/1")?;
        let off = (value / exact - 1.0) * 100.0;
        self.per_s.add(value);
        self.seconds.add(number(json, "/duration_s").context("how long the search took")?);
        self.within += usize::from(off.abs() <= case.within_percent);
        self.covered += usize::from((low..=high).contains(&exact));
        self.runs += 1;
        Ok(off)
    }
}
