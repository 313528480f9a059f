//! `bench host`: what the model host adds to libtorch.
//!
//! The limit is a bare loop over the same module in the same layout of workers and threads, with the
//! same allocator settings. A rented machine can change its speed by a quarter within half a minute, so
//! what is compared is measured in short slices, forwards and backwards: loop, host, default loop, host,
//! loop. Where the speed changes evenly over a round, every mean is of the same moment.

use std::path::Path;

use anyhow::{Error, Result};

use super::{
    Bench, batching, confined,
    figures::{Figure, number, verdict},
    model::{Model, answered_per_s},
    overhead,
    report::Section,
    server::{Server, model_host},
};
use crate::process::capture;

const WORKERS: &str = "2";
const INTRA_OP_THREADS: &str = "1";
const USUAL: [Model; 2] = [Model::Resnet18, Model::MobilenetV2];
/// Two for each worker: none waits while an answer travels.
const USERS: u32 = 4;
const SLICE: &str = "4s";

/// All rounds of one model, in invocations per minute.
#[derive(Debug, Default)]
struct Rounds {
    tuned_loop: Figure,
    default_loop: Figure,
    host: Figure,
}

/// Every asked model, one table row each.
pub(super) fn measure(bench: &Bench<'_>) -> Result<Section> {
    let mut body = String::from(
        "| model | bare loop, tuned malloc | bare loop, default malloc | through the host | host / tuned | host / default | goal |\n|---|---|---|---|---|---|---|\n",
    );
    let models = bench.models_or(&USUAL);
    for model in &models {
        let rounds = measure_model(bench, *model)?;
        body.push_str(&row(*model, &rounds));
    }
    body.push_str(&format!(
        "\nForwards or invocations per minute, batch 1, {WORKERS} workers × {INTRA_OP_THREADS} thread: median (least–greatest) of {} rounds of five slices of {SLICE} each: loop, host, default loop, host, loop. Through the host: {USERS} users of `assay-agent load` over HTTP on loopback with a body of one input, generator on the same cores.",
        bench.rounds()
    ));
    body.push_str(&confined::measure(bench, &models)?);
    body.push_str(&overhead::measure(bench)?);
    body.push_str(&batching::measure(bench)?);
    Ok(Section { name: "host", title: "The model host against a bare loop", body })
}

fn measure_model(bench: &Bench<'_>, model: Model) -> Result<Rounds> {
    let rounds = bench.rounds();
    let (file, body) = model.file_and_body(bench)?;
    let mut serve = model_host(bench.checkout, &file, model);
    serve.args(["--workers", WORKERS, "--intra-op-threads", INTRA_OP_THREADS]);
    let (_server, url) = Server::listening(&mut serve)?;
    let tuned_loop = || bare_loop(bench, model, &file, "tuned", SLICE);
    let through_host = || Ok::<_, Error>(60.0 * answered_per_s(bench, &url, &body, USERS, SLICE)?);
    // The first requests size the allocator's arenas and choose libtorch's kernels.
    through_host()?;
    let mut all = Rounds::default();
    for round in 1..=rounds {
        let (tuned_before, host_before) = (tuned_loop()?, through_host()?);
        let default = bare_loop(bench, model, &file, "default", SLICE)?;
        let (host_after, tuned_after) = (through_host()?, tuned_loop()?);
        let tuned = f64::midpoint(tuned_before, tuned_after);
        let host = f64::midpoint(host_before, host_after);
        bench.say(&format!(
            "{} round {round} of {rounds}: bare loop {tuned:.0}/min tuned, {default:.0}/min default malloc, host {host:.0}/min",
            model.name()
        ));
        all.tuned_loop.add(tuned);
        all.default_loop.add(default);
        all.host.add(host);
    }
    Ok(all)
}

/// Forwards per minute of a loop over the module, without host or generator.
pub(super) fn bare_loop(
    bench: &Bench<'_>,
    model: Model,
    file: &Path,
    allocator: &str,
    duration: &str,
) -> Result<f64> {
    let mut command = bench.checkout.program("assay-host");
    command.arg("bench-loop").arg(file);
    command.args(["--input", model.input(), "--allocator", allocator]);
    command.args(["--workers", WORKERS, "--intra-op-threads", INTRA_OP_THREADS]);
    command.args(["--duration", duration, "-o", "json"]);
    number(&capture(&mut command)?, "/forwards_per_min")
}

fn row(model: Model, rounds: &Rounds) -> String {
    // The share of the bare loop that the host must reach.
    let goal = if model == Model::MobilenetV2 { 0.90 } else { 0.97 };
    let of_tuned = rounds.host.ratio_to(&rounds.tuned_loop);
    format!(
        "| {} | {} | {} | {} | {} | {} | ≥ {goal:.2} of tuned: {} |\n",
        model.name(),
        rounds.tuned_loop.shown(0),
        rounds.default_loop.shown(0),
        rounds.host.shown(0),
        of_tuned.shown(3),
        rounds.host.ratio_to(&rounds.default_loop).shown(3),
        verdict(of_tuned.median() >= goal)
    )
}
