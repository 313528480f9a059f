//! `bench known`: the whole instrument, generator and search in real time, against servers whose
//! capacity can be calculated.
//!
//! The servers wait for deadlines instead of working, so several searches share the machine without
//! touching each other: each has a server and a seed of its own, and a few run at once.

use std::{thread, time::Duration};

use anyhow::{Context, Result, anyhow};
use assay_measure::{known_queue::KnownQueue, slo::Slo};
use serde_json::Value;

use super::{
    Bench,
    figures::{Figure, number, verdict},
    judged::{ATTEMPTS, Judgement, until_valid},
    report::Section,
    server::Server,
};
use crate::{checkout::Checkout, process::capture};

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
    repeated: usize,
    runs: usize,
}

#[derive(Debug)]
struct Search {
    per_s: f64,
    ci95: (f64, f64),
    seconds: f64,
    judgement: Judgement,
}

/// Every case, one table row each.
pub(super) fn measure(bench: &Bench<'_>) -> Result<Section> {
    let (checkout, quick) = (bench.checkout, bench.arguments.quick);
    let exact: Vec<f64> = CASES.iter().map(|case| case.exact_per_s()).collect::<Result<_>>()?;
    let mut found: Vec<Found> = CASES.iter().map(|_| Found::default()).collect();
    let rounds: Vec<u32> = (1..=bench.rounds()).collect();
    for rounds in rounds.chunks(ROUNDS_AT_ONCE) {
        let runs: Vec<(u32, usize)> = rounds
            .iter()
            .flat_map(|round| (0..CASES.len()).map(move |case| (*round, case)))
            .collect();
        let searched: Vec<Result<Vec<Search>>> = thread::scope(|scope| {
            let searches: Vec<_> = runs
                .iter()
                .map(|&(round, case)| {
                    scope.spawn(move || CASES[case].searched(checkout, round, quick))
                })
                .collect();
            searches
                .into_iter()
                .map(|search| search.join().unwrap_or_else(|_| Err(anyhow!("a run panicked"))))
                .collect()
        });
        for ((round, case), searches) in runs.into_iter().zip(searched) {
            for search in found[case].add(CASES[case], exact[case], searches?) {
                let off = off_percent(search.per_s, exact[case]);
                bench.say(&format!(
                    "round {round}: {}: {off:+.2} % in {:.0} s, {}",
                    CASES[case].name(),
                    search.seconds,
                    search.judgement.in_words()
                ));
            }
        }
    }
    let mut text = String::from(
        "| server and constraint | exact, /s | found, /s | off by, median | runs within the goal | intervals that hold the exact rate | time, s | measured again | goal |\n|---|---|---|---|---|---|---|---|---|\n",
    );
    for ((case, exact), found) in CASES.iter().zip(&exact).zip(&found) {
        text.push_str(&case.row(*exact, found));
    }
    text.push_str(&format!(
        "\n`assay-agent capacity{}` against `assay-agent known-server` over HTTP on loopback: one process each, requests first come, first served, deterministic service times kept by deadlines. Median (least–greatest) of {} runs with seeds 1, 2, …; the searches of {ROUNDS_AT_ONCE} rounds run at the same time. Measured again: searches that did not call themselves valid, replaced by another, at most {} for one run. Exact: Erlang's series for M/D/1, servers ÷ service time without a constraint, a simulation of the same queue for several servers. The servers themselves lose a fraction of a microsecond per request, which is all that a plateau of such regularity sees: its interval is narrower than that.",
        if quick { " --quick" } else { "" },
        bench.rounds(),
        ATTEMPTS - 1
    ));
    Ok(Section { name: "known", title: "Servers of known capacity, in real time", body: text })
}

/// What so many servers of that service time carry within the constraint.
pub(super) fn exact_per_s(
    workers: u32,
    service_time: Duration,
    constraint: Option<&str>,
) -> Result<f64> {
    let constraints: Vec<Slo> = constraint.into_iter().map(str::parse).collect::<Result<_, _>>()?;
    Ok(KnownQueue::new(workers, service_time)?.capacity(&constraints)?.rate.as_per_second())
}

impl Case {
    fn name(&self) -> String {
        let constraint = self.constraint.unwrap_or("no constraint");
        format!("{} × {} ms, {constraint}", self.workers, self.service_time.as_millis())
    }

    fn exact_per_s(&self) -> Result<f64> {
        exact_per_s(self.workers, self.service_time, self.constraint)
    }

    /// Searches, each against a server of its own, until one calls itself valid.
    fn searched(&self, checkout: &Checkout, seed: u32, quick: bool) -> Result<Vec<Search>> {
        until_valid(
            |found: &Search| &found.judgement,
            || Search::read(&self.search(checkout, seed, quick)?),
        )
    }

    fn search(&self, checkout: &Checkout, seed: u32, quick: bool) -> Result<String> {
        let mut serve = checkout.program("assay-agent");
        serve.arg("known-server").args(["--workers", &self.workers.to_string()]);
        serve.args(["--service-time", &format!("{}us", self.service_time.as_micros())]);
        let (_server, url) = Server::listening(&mut serve)?;
        let mut capacity = checkout.program("assay-agent");
        capacity.args(["capacity", "--target", &url, "--seed", &seed.to_string(), "-o", "json"]);
        capacity.args(self.constraint.iter().flat_map(|constraint| ["--slo", constraint]));
        capacity.args(quick.then_some("--quick"));
        capture(&mut capacity)
    }

    fn row(&self, exact: f64, found: &Found) -> String {
        let goal = (GOAL_SHARE * found.runs as f64).ceil();
        let off = off_percent(found.per_s.median(), exact);
        format!(
            "| {} | {exact:.2} | {} | {off:+.2} % | {} of {} | {} of {} | {} | {} | within {} % in {goal} of {}: {} |\n",
            self.name(),
            found.per_s.shown(2),
            found.within,
            found.runs,
            found.covered,
            found.runs,
            found.seconds.shown(0),
            found.repeated,
            self.within_percent,
            found.runs,
            verdict(found.within as f64 >= goal)
        )
    }
}

impl Search {
    fn read(json: &str) -> Result<Self> {
        let per_second = |pointer: &str| Ok::<f64, anyhow::Error>(number(json, pointer)? / 60.0);
        let report: Value = serde_json::from_str(json)?;
        Ok(Self {
            per_s: per_second("/max_invocations_per_min")?,
            ci95: (per_second("/ci95/0")?, per_second("/ci95/1")?),
            seconds: number(json, "/duration_s").context("how long the search took")?,
            judgement: Judgement::read(&report)?,
        })
    }
}

impl Found {
    /// Takes in the searches of one run, of which the last counts, and gives them back.
    fn add(&mut self, case: Case, exact: f64, searches: Vec<Search>) -> Vec<Search> {
        if let Some(last) = searches.last() {
            self.per_s.add(last.per_s);
            self.seconds.add(last.seconds);
            let off = off_percent(last.per_s, exact);
            self.within += usize::from(off.abs() <= case.within_percent);
            self.covered += usize::from((last.ci95.0..=last.ci95.1).contains(&exact));
            self.repeated += searches.len() - 1;
            self.runs += 1;
        }
        searches
    }
}

fn off_percent(found: f64, exact: f64) -> f64 {
    (found / exact - 1.0) * 100.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn search(per_min: f64, verdict: &str) -> Search {
        let json = serde_json::json!({
            "max_invocations_per_min": per_min,
            "ci95": [per_min - 60.0, per_min + 60.0],
            "duration_s": 100.0,
            "validity": {"verdict": verdict, "findings": [{"name": "drift", "value": -2.5}]},
        });
        Search::read(&json.to_string()).unwrap()
    }

    #[test]
    fn the_last_of_a_runs_searches_counts_and_the_others_are_told() {
        let mut found = Found::default();
        let told =
            found.add(CASES[0], 70.0, vec![search(3000.0, "suspect"), search(4230.0, "valid")]);
        assert_eq!(told[0].judgement.in_words(), "suspect, drift -2.500");
        assert_eq!((found.runs, found.within, found.covered, found.repeated), (1, 1, 1, 1));
        assert!((found.per_s.median() - 70.5).abs() < 1e-9);
        found.add(CASES[0], 70.0, (0..3).map(|_| search(3000.0, "suspect")).collect());
        assert_eq!((found.runs, found.within, found.covered, found.repeated), (2, 1, 1, 3));
    }
}
