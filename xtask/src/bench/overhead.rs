//! What serving adds to one forward pass, and how many small ones a core serves: tables of `bench host`.
//!
//! One request at a time travels first: copied into the socket and out of it, with a sleeping core woken at
//! either end. That is the machine's and the generator's part, not the host's, so the same body goes to
//! a server that answers at once as well, in turns, and is subtracted.

use std::path::Path;

use anyhow::Result;

use super::{
    Bench,
    figures::{Figure, number, verdict},
    load::{pin_client, pin_server},
    model::{Model, closed_loop},
    server::{Server, one_worker},
};
use crate::process::capture;

/// Models that compute next to nothing, and how many microseconds their host may add.
const LIMITS_US: [(Model, f64); 2] = [(Model::Pool, 60.0), (Model::Mlp, 30.0)];
/// The one that shows how many requests a core serves.
const THROUGHPUT_OF: Model = Model::Mlp;
/// As many as keep one core busy all the time.
const USERS: u32 = 16;
const MEDIAN: &str = "/latency_us/p50";
const LEAST_PER_S: f64 = 25_000.0;

/// All rounds of one case, in microseconds.
#[derive(Debug, Default)]
struct Rounds {
    forward: Figure,
    wire: Figure,
    http: Figure,
    grpc: Figure,
}

impl Rounds {
    fn added(&self) -> Figure {
        self.http.less(&self.forward)
    }

    fn by_the_host(&self) -> Figure {
        self.added().less(&self.wire)
    }
}

/// Latency of one request at a time less the time of its forward pass, and the throughput of one core.
pub(super) fn measure(bench: &Bench<'_>) -> Result<String> {
    let mut text = String::from(
        "\n\n| model and body | forward alone | answered at once | through the host, HTTP | through the host, gRPC | added to the forward | of it by the host | goal for the host's part |\n|---|---|---|---|---|---|---|---|\n",
    );
    let mut served = Figure::default();
    for (model, limit_us) in LIMITS_US {
        let (file, body) = model.file_and_body(bench)?;
        let mut all = Rounds::default();
        for _ in 1..=bench.rounds() {
            measure_once(bench, model, (&file, &body), &mut all, &mut served)?;
        }
        bench.say(&format!("{}: {} µs by the host", model.name(), all.by_the_host().shown(0)));
        text.push_str(&row(model, limit_us, &all));
    }
    Ok(format!(
        "{text}\nMicroseconds, median (least–greatest): one user, one worker of one thread on one core, the generator on the other. Answered at once: the median latency of the same body sent to a server that reads it and answers two bytes, which is what copies through the socket and two wake-ups of a sleeping core take. `mlp` with {USERS} users over HTTP, served by that one core: **{}/s** (goal ≥ {LEAST_PER_S:.0}: {}).",
        served.shown(0),
        verdict(served.median() >= LEAST_PER_S)
    ))
}

fn measure_once(
    bench: &Bench<'_>,
    model: Model,
    (file, body): (&Path, &Path),
    all: &mut Rounds,
    served: &mut Figure,
) -> Result<()> {
    let seconds = format!("{}s", bench.arguments.seconds);
    let load = |target: &str, users: u32, figure: &str| -> Result<f64> {
        let load = closed_loop(bench, target, body, users, &seconds);
        number(&capture(&mut pin_client(&load))?, figure)
    };
    let wire = {
        let mut echo = bench.checkout.program("examples/echo_server");
        let (_server, url) = Server::listening(&mut pin_server(echo.arg("http")))?;
        load(&url, 1, MEDIAN)?
    };
    let mut bare = bench.checkout.program("assay-host");
    bare.arg("bench-loop").arg(file).args(["--input", model.input(), "-o", "json"]);
    bare.args(["--duration", &seconds]);
    let forward = 60e6 / number(&capture(&mut pin_server(&bare))?, "/forwards_per_min")?;
    let serve = one_worker(bench.checkout, file, model);
    let (_server, url) = Server::listening(&mut pin_server(&serve))?;
    let invocations = format!("{url}/invocations");
    let http = load(&invocations, 1, MEDIAN)?;
    let grpc = format!("{}/{}", url.replace("http://", "grpc://"), model.name());
    let grpc = load(&grpc, 1, MEDIAN)?;
    if model == THROUGHPUT_OF {
        served.add(load(&invocations, USERS, "/achieved_per_s")?);
    }
    all.wire.add(wire);
    all.forward.add(forward);
    all.http.add(http);
    all.grpc.add(grpc);
    Ok(())
}

fn row(model: Model, limit_us: f64, all: &Rounds) -> String {
    let by_the_host = all.by_the_host();
    format!(
        "| `{}`, {} | {} | {} | {} | {} | {} | {} | under {:.0}: {} |\n",
        model.name(),
        model.input(),
        all.forward.shown(1),
        all.wire.shown(0),
        all.http.shown(0),
        all.grpc.shown(0),
        all.added().shown(0),
        by_the_host.shown(0),
        limit_us,
        verdict(by_the_host.median() < limit_us)
    )
}
