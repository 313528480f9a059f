//! `bench sampler`: what watching the machine costs, by itself and to the model that is measured.

use std::time::Duration;

use anyhow::Result;

use super::{
    Arguments,
    figures::{Figure, number},
    payload,
    report::Section,
    server::{Server, model_host},
};
use crate::{checkout::Checkout, console::Console, process::capture};

const MODEL: &str = "mlp";
const INPUT: &str = "float32[1,64]";
const SHAPE: [usize; 2] = [1, 64];
const SAMPLES: &str = "200";
const USERS: u32 = 4;

/// The cost of a sample, and a model's throughput with and without a sampler beside it.
pub(crate) fn measure(
    checkout: &Checkout,
    console: Console,
    arguments: &Arguments,
) -> Result<Section> {
    let (file, body) = payload::model_and_body(checkout, console, MODEL, &SHAPE)?;
    let mut serve = model_host(checkout, &file, INPUT);
    let (server, url, _) = Server::listening(&mut serve)?;
    let process = server.process_id().to_string();
    let throughput = || -> Result<f64> {
        let (target, duration) = (format!("{url}/invocations"), format!("{}s", arguments.seconds));
        let mut load = payload::closed_loop(checkout, &target, &body, USERS, &duration);
        number(&capture(&mut load)?, "/achieved_per_s")
    };
    // The first of all runs also warms the model up.
    throughput()?;
    let (mut cost_us, mut without, mut with) =
        (Figure::default(), Figure::default(), Figure::default());
    for round in 1..=arguments.rounds.get() {
        let mut measured = checkout.program("examples/sampler_cost");
        let printed = capture(measured.args(["measure", &process, SAMPLES]))?;
        cost_us.add(number(&printed, "/cpu_us_per_sample")?);
        without.add(throughput()?);
        let mut watch = checkout.program("examples/sampler_cost");
        let watching = Server::start(watch.args(["watch", &process]))?;
        with.add(throughput()?);
        drop(watching);
        console.say(&format!("round {round}: {} µs a sample", cost_us.shown(0)));
    }
    let share = cost_us.median() / Duration::from_secs(1).as_micros() as f64 * 100.0;
    let text = format!(
        "| what | measured |\n|---|---|\n| CPU of one sample | {} µs |\n| share of a core at one sample a second | {share:.3} % |\n| `{MODEL}` over HTTP, {USERS} users, without a sampler | {}/s |\n| with one | {}/s |\n| with / without | {} |\n\nMedian (least–greatest) of {} rounds in turns. A sample reads the kernel's counters and those of the agent's and the model host's threads.",
        cost_us.shown(0),
        without.shown(0),
        with.shown(0),
        with.ratio_to(&without).shown(3),
        arguments.rounds
    );
    Ok(Section { name: "sampler", title: "The hardware sampler", body: text })
}
