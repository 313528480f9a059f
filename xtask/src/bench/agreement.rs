//! `bench agreement`: the latencies that the load generator reports against those of an independent
//! client, perf_analyzer, for the same model behind the same server.

use std::time::Duration;

use anyhow::{Context, Result};

use super::{
    Bench,
    figures::{Figure, verdict},
    load::{
        peers::Peers,
        pin_client, pin_server,
        tools::{Calls, Load, Offered, Protocol, Tool},
    },
    model::{CONTENT_TYPE, Model},
    report::Section,
    server::{Server, one_worker},
};
use crate::process::capture;

const MODEL: Model = Model::Resnet18;
const P50_LIMIT_PERCENT: f64 = 5.0;
const P99_LIMIT_PERCENT: f64 = 15.0;
/// Enough calls of a few dozen milliseconds for a 99th percentile.
const DURATION: Duration = Duration::from_secs(15);

/// Both clients, one table row for each percentile.
pub(super) fn measure(bench: &Bench<'_>) -> Result<Section> {
    let peers = Peers::perf_analyzer_alone(bench.checkout, bench.console);
    peers.perf_analyzer.as_ref().context("perf_analyzer cannot be installed here")?;
    let (file, body) = MODEL.file_and_body(bench)?;
    let serve = one_worker(bench.checkout, &file, MODEL);
    let (_server, url) = Server::listening(&mut pin_server(&serve))?;
    let address = url.trim_start_matches("http://");
    let calls = Calls {
        model: MODEL.name(),
        payload: &body,
        content_type: CONTENT_TYPE,
        input: None,
        message: None,
        analyzer_per_s: None,
    };
    let (mut p50, mut p99) = (Pair::default(), Pair::default());
    for round in 1..=bench.rounds() {
        for tool in [Tool::Assay, Tool::PerfAnalyzer] {
            let protocol = Protocol::Grpc(&calls);
            let offered = Offered::Closed(1);
            let load = Load { server: address, protocol, offered, duration: DURATION };
            let command = tool.command(bench.checkout, &peers, &load).context("no such load")?;
            let said = tool.read(&capture(&mut pin_client(&command))?)?;
            p50.of(tool).add_if_known(said.p50_us);
            p99.of(tool).add_if_known(said.p99_us);
        }
        bench.say(&format!("round {round}: p50 {}, p99 {}", p50.in_words(), p99.in_words()));
    }
    let mut text = String::from(
        "| percentile | assay-agent load, µs | perf_analyzer, µs | apart | goal |\n|---|---|---|---|---|\n",
    );
    text.push_str(&p50.row("p50", P50_LIMIT_PERCENT));
    text.push_str(&p99.row("p99", P99_LIMIT_PERCENT));
    text.push_str(&format!(
        "\n`assay-host serve {}.pt`, one worker with one thread on one core, gRPC, one call at a time from the other core, {} s each. Median (least–greatest) of {} rounds in turns; apart: median of the rounds' own differences.",
        MODEL.name(),
        DURATION.as_secs(),
        bench.rounds()
    ));
    Ok(Section { name: "agreement", title: "Agreement with perf_analyzer", body: text })
}

#[derive(Debug, Default)]
struct Pair {
    ours: Figure,
    theirs: Figure,
}

impl Pair {
    fn of(&mut self, tool: Tool) -> &mut Figure {
        if tool == Tool::Assay { &mut self.ours } else { &mut self.theirs }
    }

    fn apart_percent(&self) -> f64 {
        (self.ours.ratio_to(&self.theirs).median() - 1.0) * 100.0
    }

    fn in_words(&self) -> String {
        format!("{:+.1} % apart", self.apart_percent())
    }

    fn row(&self, name: &str, limit_percent: f64) -> String {
        let apart = self.apart_percent();
        format!(
            "| {name} | {} | {} | {apart:+.1} % | within {limit_percent} %: {} |\n",
            self.ours.shown(0),
            self.theirs.shown(0),
            verdict(apart.abs() <= limit_percent)
        )
    }
}
