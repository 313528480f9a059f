//! `bench host`: what the model host adds to libtorch.
//!
//! The limit is a bare loop over the same module in the same layout of workers and threads, with the
//! same allocator settings. A rented machine can change its speed by a quarter within half a minute, so
//! what is compared is measured in short slices, forwards and backwards: loop, host, default loop, host,
//! loop. Where the speed changes evenly over a round, every mean is of the same moment.

use std::path::Path;

use anyhow::Result;

use super::{
    Arguments, batching, confined,
    figures::{Figure, number, verdict},
    model::Model,
    overhead, payload,
    report::Section,
    server::{Server, model_host},
};
use crate::{checkout::Checkout, console::Console, process::capture};

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
    of_tuned: Figure,
    of_default: Figure,
}

/// Every asked model, one table row each.
pub(crate) fn measure(
    checkout: &Checkout,
    console: Console,
    arguments: &Arguments,
) -> Result<Section> {
    let mut body = String::from(
        "| model | bare loop, tuned malloc | bare loop, default malloc | through the host | host / tuned | host / default | goal |\n|---|---|---|---|---|---|---|\n",
    );
    let models = arguments.models_or(&USUAL);
    for model in &models {
        let rounds = measure_model(checkout, console, *model, arguments.rounds.get())?;
        body.push_str(&row(*model, &rounds));
    }
    body.push_str(&format!(
        "\nForwards or invocations per minute, batch 1, {WORKERS} workers × {INTRA_OP_THREADS} thread: median (least–greatest) of {} rounds of five slices of {SLICE} each: loop, host, default loop, host, loop. Through the host: {USERS} users of `assay-agent load` over HTTP on loopback with a body of one input, generator on the same cores.",
        arguments.rounds
    ));
    body.push_str(&confined::measure(checkout, console, arguments, &models)?);
    body.push_str(&overhead::measure(checkout, console, arguments)?);
    body.push_str(&batching::measure(checkout, console, arguments)?);
    Ok(Section { name: "host", title: "The model host against a bare loop", body })
}

fn measure_model(
    checkout: &Checkout,
    console: Console,
    model: Model,
    rounds: u32,
) -> Result<Rounds> {
    let (file, body) = payload::model_and_body(checkout, console, model.name(), model.shape())?;
    let mut serve = model_host(checkout, &file, model.input());
    serve.args(["--workers", WORKERS, "--intra-op-threads", INTRA_OP_THREADS]);
    let (_server, url, _) = Server::listening(&mut serve)?;
    let tuned_loop = || bare_loop(checkout, model, &file, "tuned", SLICE);
    let through_host = || through_host(checkout, &url, &body);
    // The first requests size the allocator's arenas and choose libtorch's kernels.
    through_host()?;
    let mut all = Rounds::default();
    for round in 1..=rounds {
        let (tuned_before, host_before) = (tuned_loop()?, through_host()?);
        let default = bare_loop(checkout, model, &file, "default", SLICE)?;
        let (host_after, tuned_after) = (through_host()?, tuned_loop()?);
        let tuned = f64::midpoint(tuned_before, tuned_after);
        let host = f64::midpoint(host_before, host_after);
        console.say(&format!(
            "{} round {round} of {rounds}: bare loop {tuned:.0}/min tuned, {default:.0}/min default malloc, host {host:.0}/min",
            model.name()
        ));
        all.tuned_loop.add(tuned);
        all.default_loop.add(default);
        all.host.add(host);
        all.of_tuned.add(host / tuned);
        all.of_default.add(host / default);
    }
    Ok(all)
}

/// Forwards per minute of a loop over the module, without host or generator.
pub(super) fn bare_loop(
    checkout: &Checkout,
    model: Model,
    file: &Path,
    allocator: &str,
    duration: &str,
) -> Result<f64> {
    let mut command = checkout.program("assay-host");
    command.arg("bench-loop").arg(file);
    command.args(["--input", model.input(), "--allocator", allocator]);
    command.args(["--workers", WORKERS, "--intra-op-threads", INTRA_OP_THREADS]);
    command.args(["--duration", duration, "-o", "json"]);
    number(&capture(&mut command)?, "/forwards_per_min")
}

fn through_host(checkout: &Checkout, url: &str, body: &Path) -> Result<f64> {
    let target = format!("{url}/invocations");
    let mut load = payload::closed_loop(checkout, &target, body, USERS, SLICE);
    Ok(60.0 * number(&capture(&mut load)?, "/achieved_per_s")?)
}

/// The share of the bare loop that the host must reach.
fn goal(model: Model) -> f64 {
    match model {
        Model::FixedTime | Model::Resnet18 | Model::Resnet50 => 0.97,
        Model::MobilenetV2 => 0.90,
    }
}

fn row(model: Model, rounds: &Rounds) -> String {
    let goal = goal(model);
    format!(
        "| {} | {} | {} | {} | {} | {} | ≥ {goal:.2} of tuned: {} |\n",
        model.name(),
        rounds.tuned_loop.shown(0),
        rounds.default_loop.shown(0),
        rounds.host.shown(0),
        rounds.of_tuned.shown(3),
        rounds.of_default.shown(3),
        verdict(rounds.of_tuned.median() >= goal)
    )
}
