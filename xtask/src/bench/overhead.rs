//! What serving adds to one forward pass, and how many small ones a core serves: tables of `bench host`.

use anyhow::Result;

use super::{
    Arguments,
    figures::{Figure, number, verdict},
    load::{pin_client, pin_server},
    payload,
    server::Server,
};
use crate::{checkout::Checkout, console::Console, demo, process::capture};

/// A model that computes next to nothing, and what may be added to it.
struct Case {
    model: &'static str,
    input: &'static str,
    shape: &'static [usize],
    limit_us: f64,
}

const CASES: [Case; 2] = [
    Case { model: "pool", input: "float32[1,3,224,224]", shape: &[1, 3, 224, 224], limit_us: 60.0 },
    Case { model: "mlp", input: "float32[1,64]", shape: &[1, 64], limit_us: 30.0 },
];
/// As many as keep one core busy all the time.
const USERS: u32 = 16;
const LEAST_PER_S: f64 = 25_000.0;

/// Latency of a lone request less the time of its forward pass, and the throughput of one core.
pub(super) fn measure(
    checkout: &Checkout,
    console: Console,
    arguments: &Arguments,
) -> Result<String> {
    let mut overheads = String::from(
        "\n\n| model and body | forward alone, µs | lone request over HTTP, p50, µs | over gRPC, p50, µs | added over HTTP, µs | goal |\n|---|---|---|---|---|---|\n",
    );
    let mut served = Figure::default();
    for case in &CASES {
        let file = demo::reference_model(checkout, console, case.model)?;
        let body = file.with_extension("npy");
        payload::write_npy(&body, case.shape)?;
        let (mut forward, mut http, mut grpc, mut added) =
            (Figure::default(), Figure::default(), Figure::default(), Figure::default());
        for round in 1..=arguments.rounds.get() {
            let mut bare = checkout.program("assay-host");
            bare.arg("bench-loop").arg(&file).args(["--input", case.input, "-o", "json"]);
            bare.args(["--duration", &format!("{}s", arguments.seconds)]);
            let per_min = number(&capture(&mut pin_server(&bare))?, "/forwards_per_min")?;
            let forward_us = 60e6 / per_min;
            let mut serve = checkout.program("assay-host");
            serve.arg("serve").arg(&file).args(["--listen", "127.0.0.1:0", "--input", case.input]);
            serve.args(["--workers", "1", "--intra-op-threads", "1"]);
            let (_server, url, _) = Server::listening(&mut pin_server(&serve))?;
            let load = |target: &str, users: u32| -> Result<String> {
                let mut load = checkout.program("assay-agent");
                load.args(["load", "--target", target, "--users", &users.to_string()]);
                load.arg("--payload").arg(&body).args(["--content-type", payload::CONTENT_TYPE]);
                load.args(["--duration", &format!("{}s", arguments.seconds), "-o", "json"]);
                capture(&mut pin_client(&load))
            };
            let invocations = format!("{url}/invocations");
            let model = format!("{}/{}", url.replace("http://", "grpc://"), case.model);
            let latency_us = number(&load(&invocations, 1)?, "/latency_us/p50")?;
            grpc.add(number(&load(&model, 1)?, "/latency_us/p50")?);
            forward.add(forward_us);
            http.add(latency_us);
            added.add(latency_us - forward_us);
            if case.model == "mlp" {
                served.add(number(&load(&invocations, USERS)?, "/achieved_per_s")?);
            }
            console.say(&format!("{} round {round}: {} µs added", case.model, added.shown(0)));
        }
        overheads.push_str(&format!(
            "| `{}`, {} | {} | {} | {} | {} | under {:.0} µs: {} |\n",
            case.model,
            case.input,
            forward.shown(1),
            http.shown(0),
            grpc.shown(0),
            added.shown(0),
            case.limit_us,
            verdict(added.median() < case.limit_us)
        ));
    }
    Ok(format!(
        "{overheads}\nOne worker of one thread on one core, the generator on the other, one user. `mlp` with {USERS} users over HTTP, on that one core: **{}/s** (goal ≥ {LEAST_PER_S:.0}: {}).",
        served.shown(0),
        verdict(served.median() >= LEAST_PER_S)
    ))
}
