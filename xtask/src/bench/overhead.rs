//! What serving adds to one forward pass, and how many small ones a core serves: tables of `bench host`.
//!
//! One request at a time travels first: copied into the socket and out of it, with a sleeping core woken at
//! either end. That is the machine's and the generator's part, not the host's, so the same body goes to
//! a server that answers at once as well, in turns, and is subtracted.

use std::path::Path;

use anyhow::Result;

use super::{
    Arguments,
    figures::{Figure, number, verdict},
    load::{pin_client, pin_server},
    payload,
    server::{Server, one_worker},
};
use crate::{checkout::Checkout, console::Console, process::capture};

/// A model that computes next to nothing, and what may be added to it.
struct Case {
    model: &'static str,
    input: &'static str,
    shape: &'static [usize],
    limit_us: f64,
    counts_throughput: bool,
}

const CASES: [Case; 2] = [
    Case {
        model: "pool",
        input: "float32[1,3,224,224]",
        shape: &[1, 3, 224, 224],
        limit_us: 60.0,
        counts_throughput: false,
    },
    Case {
        model: "mlp",
        input: "float32[1,64]",
        shape: &[1, 64],
        limit_us: 30.0,
        counts_throughput: true,
    },
];
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
    added: Figure,
    by_the_host: Figure,
}

/// Latency of one request at a time less the time of its forward pass, and the throughput of one core.
pub(super) fn measure(
    checkout: &Checkout,
    console: Console,
    arguments: &Arguments,
) -> Result<String> {
    let mut text = String::from(
        "\n\n| model and body | forward alone | answered at once | through the host, HTTP | through the host, gRPC | added to the forward | of it by the host | goal for the host's part |\n|---|---|---|---|---|---|---|---|\n",
    );
    let mut served = Figure::default();
    for case in &CASES {
        let (file, body) = payload::model_and_body(checkout, console, case.model, case.shape)?;
        let mut all = Rounds::default();
        for _ in 1..=arguments.rounds.get() {
            measure_once(checkout, (&file, &body), arguments, case, &mut all, &mut served)?;
        }
        console.say(&format!("{}: {} µs by the host", case.model, all.by_the_host.shown(0)));
        text.push_str(&row(case, &all));
    }
    Ok(format!(
        "{text}\nMicroseconds, median (least–greatest): one user, one worker of one thread on one core, the generator on the other. Answered at once: the median latency of the same body sent to a server that reads it and answers two bytes, which is what copies through the socket and two wake-ups of a sleeping core take. `mlp` with {USERS} users over HTTP, served by that one core: **{}/s** (goal ≥ {LEAST_PER_S:.0}: {}).",
        served.shown(0),
        verdict(served.median() >= LEAST_PER_S)
    ))
}

fn measure_once(
    checkout: &Checkout,
    (file, body): (&Path, &Path),
    arguments: &Arguments,
    case: &Case,
    all: &mut Rounds,
    served: &mut Figure,
) -> Result<()> {
    let seconds = format!("{}s", arguments.seconds);
    let load = |target: &str, users: u32, figure: &str| -> Result<f64> {
        let load = payload::closed_loop(checkout, target, body, users, &seconds);
        number(&capture(&mut pin_client(&load))?, figure)
    };
    let wire = {
        let mut echo = checkout.program("examples/echo_server");
        let (_server, url, _) = Server::listening(&mut pin_server(echo.arg("http")))?;
        load(&url, 1, MEDIAN)?
    };
    let mut bare = checkout.program("assay-host");
    bare.arg("bench-loop").arg(file).args(["--input", case.input, "-o", "json"]);
    bare.args(["--duration", &seconds]);
    let forward = 60e6 / number(&capture(&mut pin_server(&bare))?, "/forwards_per_min")?;
    let serve = one_worker(checkout, file, case.input);
    let (_server, url, _) = Server::listening(&mut pin_server(&serve))?;
    let invocations = format!("{url}/invocations");
    let http = load(&invocations, 1, MEDIAN)?;
    let grpc = load(&format!("{}/{}", url.replace("http://", "grpc://"), case.model), 1, MEDIAN)?;
    if case.counts_throughput {
        served.add(load(&invocations, USERS, "/achieved_per_s")?);
    }
    all.wire.add(wire);
    all.forward.add(forward);
    all.http.add(http);
    all.grpc.add(grpc);
    all.added.add(http - forward);
    all.by_the_host.add(http - forward - wire);
    Ok(())
}

fn row(case: &Case, all: &Rounds) -> String {
    format!(
        "| `{}`, {} | {} | {} | {} | {} | {} | {} | under {:.0}: {} |\n",
        case.model,
        case.input,
        all.forward.shown(1),
        all.wire.shown(0),
        all.http.shown(0),
        all.grpc.shown(0),
        all.added.shown(0),
        all.by_the_host.shown(0),
        case.limit_us,
        verdict(all.by_the_host.median() < case.limit_us)
    )
}
