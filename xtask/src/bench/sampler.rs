//! `bench sampler`: what watching the machine costs, by itself and to the model that is measured.

use std::time::Duration;

use anyhow::Result;

use super::{
    Bench,
    figures::{Figure, number},
    model::{Model, answered_per_s},
    report::Section,
    server::{Server, model_host},
};
use crate::process::capture;

const MODEL: Model = Model::Mlp;
const SAMPLES: &str = "200";
const USERS: u32 = 4;

/// The cost of a sample, and a model's throughput with and without a sampler beside it.
pub(super) fn measure(bench: &Bench<'_>) -> Result<Section> {
    let (file, body) = MODEL.file_and_body(bench)?;
    let (server, url) = Server::listening(&mut model_host(bench.checkout, &file, MODEL))?;
    let process = server.process_id().to_string();
    let duration = format!("{}s", bench.arguments.seconds);
    let throughput = || answered_per_s(bench, &url, &body, USERS, &duration);
    // The first of all runs also warms the model up.
    throughput()?;
    let (mut cost_us, mut without, mut with) =
        (Figure::default(), Figure::default(), Figure::default());
    for round in 1..=bench.rounds() {
        let mut measured = bench.checkout.program("examples/sampler_cost");
        let printed = capture(measured.args(["measure", &process, SAMPLES]))?;
        cost_us.add(number(&printed, "/cpu_us_per_sample")?);
        without.add(throughput()?);
        let mut watch = bench.checkout.program("examples/sampler_cost");
        let watching = Server::start(watch.args(["watch", &process]))?;
        with.add(throughput()?);
        drop(watching);
        bench.say(&format!("round {round}: {} µs a sample", cost_us.shown(0)));
    }
    let share = cost_us.median() / Duration::from_secs(1).as_micros() as f64 * 100.0;
    let text = format!(
        "| what | measured |\n|---|---|\n| CPU of one sample | {} µs |\n| share of a core at one sample a second | {share:.3} % |\n| `{}` over HTTP, {USERS} users, without a sampler | {}/s |\n| with one | {}/s |\n| with / without | {} |\n\nMedian (least–greatest) of {} rounds in turns. A sample reads the kernel's counters and those of the agent's and the model host's threads.",
        cost_us.shown(0),
        MODEL.name(),
        without.shown(0),
        with.shown(0),
        with.ratio_to(&without).shown(3),
        bench.rounds()
    );
    Ok(Section { name: "sampler", title: "The hardware sampler", body: text })
}
