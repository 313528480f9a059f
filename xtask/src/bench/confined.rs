//! What keeping a model in costs: a host started as the agent starts it, with every protection that this
//! machine has, beside one that is started the same way with none. A table of `bench host`, and the start
//! of such hosts for `bench startup`.
//!
//! The protections work when the host makes system calls, so the model that makes most of them per second
//! is always among those measured. A third host, which is like the unconfined one in all, tells how far
//! apart two equal hosts come out on this machine. Each round has hosts of its own, since where their
//! memory comes to lie is a matter of luck, and takes the slices forwards and backwards.

use std::{path::Path, time::Duration};

use anyhow::{Context, Result};

use super::{
    Bench,
    figures::{Figure, verdict},
    model::{Model, answered_per_s},
    server::Server,
};

const WORKERS: &str = "2";
const INTRA_OP_THREADS: &str = "1";
const SLICE: &str = "4s";
/// The confined host's share of what the unconfined one serves.
const GOAL: f64 = 0.97;

/// Whether a host is kept in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kept {
    Unconfined,
    Confined,
}

/// A host that was started as the agent starts one.
#[derive(Debug)]
pub(super) struct Host {
    _server: Server,
    url: String,
    /// From its start until it was ready, without what an agent does only once.
    pub(super) ready: Duration,
    pub(super) limits: String,
}

impl Host {
    pub(super) fn start(
        bench: &Bench<'_>,
        kept: Kept,
        file: &Path,
        model: Model,
        (workers, threads): (&str, &str),
    ) -> Result<Self> {
        let mut serve = bench.checkout.program("examples/confined_host");
        serve.arg(file).args(["--input", model.input(), "--workers", workers]);
        serve.args(["--intra-op-threads", threads, "--host-binary"]);
        serve.arg(bench.checkout.release_binary("assay-host"));
        if kept == Kept::Unconfined {
            serve.arg("--unconfined");
        }
        let (server, heard) = Server::heard(&mut serve)?;
        let ready_us = heard.after("ready_us")?.parse().context("`ready_us` is no number")?;
        let limits = heard.after("limits")?.to_owned();
        Ok(Self { _server: server, url: heard.url, ready: Duration::from_micros(ready_us), limits })
    }
}

/// Two for each worker, so that none waits while an answer travels, and more for the one that computes
/// next to nothing.
fn users(model: Model) -> u32 {
    if model == Model::Mlp { 16 } else { 4 }
}

/// All rounds of one model, in invocations per minute.
#[derive(Debug, Default)]
struct Rounds {
    unconfined: Figure,
    again: Figure,
    confined: Figure,
    limits: [String; 2],
}

/// Every model, one row each.
pub(super) fn measure(bench: &Bench<'_>, models: &[Model]) -> Result<String> {
    let mut text = String::from(
        "\n\n| model | users | unconfined | confined | confined / unconfined | two equal hosts | goal |\n|---|---|---|---|---|---|---|\n",
    );
    let mut limits = Default::default();
    for model in models.iter().copied().chain([Model::Mlp]) {
        let rounds = Rounds::measure(bench, model)?;
        text.push_str(&rounds.row(model));
        limits = rounds.limits;
    }
    let [always, confined] = limits;
    Ok(format!(
        "{text}\nInvocations per minute through hosts that were started as the agent starts them for a trial, {WORKERS} workers × {INTRA_OP_THREADS} thread, generator on the same cores: median (least–greatest) of {} rounds of six slices of {SLICE} each, with new hosts in each round: unconfined, confined, unconfined again, and back. Two equal hosts: the second unconfined one as a share of the first, which is what nothing but chance makes of the ratio beside it. Confined: `{confined}`. Unconfined: `{always}`.",
        bench.rounds()
    ))
}

fn each<'a>(
    hosts: impl IntoIterator<Item = &'a Host>,
    measure: impl Fn(&Host) -> Result<f64>,
) -> Result<Vec<f64>> {
    hosts.into_iter().map(measure).collect()
}

impl Rounds {
    fn measure(bench: &Bench<'_>, model: Model) -> Result<Self> {
        let (file, body) = model.file_and_body(bench)?;
        let mut all = Self::default();
        for round in 1..=bench.rounds() {
            let start = |kept| Host::start(bench, kept, &file, model, (WORKERS, INTRA_OP_THREADS));
            let hosts =
                [start(Kept::Unconfined)?, start(Kept::Confined)?, start(Kept::Unconfined)?];
            let served = |host: &Host, duration| {
                let per_s = answered_per_s(bench, &host.url, &body, users(model), duration)?;
                Ok(60.0 * per_s)
            };
            // The first requests size the allocator's arenas and choose libtorch's kernels.
            hosts.iter().try_for_each(|host| served(host, "1s").map(drop))?;
            let forwards = each(&hosts, |host| served(host, SLICE))?;
            let mut backwards = each(hosts.iter().rev(), |host| served(host, SLICE))?;
            backwards.reverse();
            all.add(&forwards, &backwards);
            all.limits = [hosts[0].limits.clone(), hosts[1].limits.clone()];
            bench.say(&format!(
                "{} round {round} of {}: confined / unconfined {}, two equal hosts {}",
                model.name(),
                bench.rounds(),
                all.ratio().shown(3),
                all.of_equals().shown(3)
            ));
        }
        Ok(all)
    }

    /// One more round, in the order unconfined, confined, unconfined again.
    fn add(&mut self, forwards: &[f64], backwards: &[f64]) {
        let figures = [&mut self.unconfined, &mut self.confined, &mut self.again];
        for ((figure, before), after) in figures.into_iter().zip(forwards).zip(backwards) {
            figure.add(f64::midpoint(*before, *after));
        }
    }

    fn ratio(&self) -> Figure {
        self.confined.ratio_to(&self.unconfined)
    }

    fn of_equals(&self) -> Figure {
        self.again.ratio_to(&self.unconfined)
    }

    fn row(&self, model: Model) -> String {
        let ratio = self.ratio();
        format!(
            "| `{}` | {} | {} | {} | {} | {} | ≥ {GOAL}: {} |\n",
            model.name(),
            users(model),
            self.unconfined.shown(0),
            self.confined.shown(0),
            ratio.shown(3),
            self.of_equals().shown(3),
            verdict(ratio.median() >= GOAL)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_that_changes_evenly_changes_no_ratio() {
        let mut rounds = Rounds::default();
        // Slower by one with every slice.
        rounds.add(&[106.0, 105.0, 104.0], &[101.0, 102.0, 103.0]);
        assert!((rounds.ratio().median() - 1.0).abs() < 1e-12);
        assert!((rounds.of_equals().median() - 1.0).abs() < 1e-12);
        assert!(rounds.row(Model::Mlp).contains("| 1.000 (1.000–1.000) | ≥ 0.97: met |"));
    }

    #[test]
    fn a_confined_host_that_serves_less_misses_the_goal() {
        let mut rounds = Rounds::default();
        rounds.add(&[100.0, 96.0, 100.0], &[100.0, 96.0, 100.0]);
        assert!(rounds.row(Model::Mlp).contains("missed"));
    }
}
