//! What each generator is asked to do, and where its figures stand in what it prints.

use std::{path::Path, process::Command, time::Duration};

use anyhow::{Context, Result};

use super::peers::Peers;
use crate::{bench::figures::number, checkout::Checkout};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tool {
    /// `assay-agent load`.
    Assay,
    Wrk,
    Oha,
    Hey,
    H2load,
    PerfAnalyzer,
}

/// How much load, and on what.
#[derive(Debug, Clone)]
pub(crate) struct Load<'a> {
    /// `http://…/ping` or `HOST:PORT` of a gRPC server.
    pub(crate) server: &'a str,
    pub(crate) protocol: Protocol<'a>,
    pub(crate) offered: Offered,
    pub(crate) duration: Duration,
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Protocol<'a> {
    /// HTTP/1.1, `GET`.
    Http,
    /// `ModelInfer` of a model.
    Grpc(&'a Calls<'a>),
}

#[derive(Debug)]
pub(crate) struct Calls<'a> {
    pub(crate) model: &'a str,
    /// One tensor, raw or `.npy`, for ours.
    pub(crate) payload: &'a Path,
    pub(crate) content_type: &'a str,
    /// What a raw payload is.
    pub(crate) input: Option<&'a str>,
    /// A whole gRPC message, for generators that know HTTP/2 only.
    pub(crate) message: Option<&'a Path>,
    /// How many per second keep perf_analyzer busy; without, it loads for a time, not for a number.
    pub(crate) analyzer_per_s: Option<u32>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Offered {
    /// So many at a time.
    Closed(u32),
    /// So many per second, evenly spaced.
    Even(u32),
    /// So many per second, at random.
    Poisson(u32),
}

/// What a generator says about one run.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct Said {
    pub(crate) per_s: f64,
    pub(crate) p50_us: Option<f64>,
    pub(crate) p99_us: Option<f64>,
    /// Of our own generator in open loop.
    pub(crate) lag_p50_us: Option<f64>,
    pub(crate) lag_p99_us: Option<f64>,
}

const INFER: &str = "inference.GRPCInferenceService/ModelInfer";
/// Calls at once on one connection of ours; others get as many connections as ours has.
const STREAMS: u32 = 32;
const PERF_ANALYZER_THREADS: u32 = 16;
/// Windows of time that perf_analyzer compares.
const WINDOWS: u32 = 3;

impl Tool {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Assay => "assay-agent load",
            Self::Wrk => "wrk",
            Self::Oha => "oha",
            Self::Hey => "hey",
            Self::H2load => "h2load",
            Self::PerfAnalyzer => "perf_analyzer",
        }
    }

    /// Every request that it sends is in its figures: processor time can be divided by them.
    pub(crate) fn counts_all_requests(self) -> bool {
        self != Self::PerfAnalyzer
    }

    /// The command; `None` when the tool is missing or cannot do that.
    pub(crate) fn command(
        self,
        checkout: &Checkout,
        peers: &Peers,
        load: &Load<'_>,
    ) -> Option<Command> {
        let seconds = load.duration.as_secs().to_string();
        match self {
            Self::Assay => Some(assay(checkout, load)),
            Self::Wrk => {
                let (Protocol::Http, Offered::Closed(users)) = (load.protocol, load.offered) else {
                    return None;
                };
                let mut command = Command::new(peers.wrk.as_ref()?);
                command.args(["-t1", &format!("-c{users}"), &format!("-d{seconds}s"), "--latency"]);
                command.arg(load.server);
                Some(command)
            }
            Self::Oha => {
                let Protocol::Http = load.protocol else { return None };
                let mut command = Command::new(peers.oha.as_ref()?);
                command.args(["-z", &format!("{seconds}s"), "--no-tui", "--output-format", "json"]);
                match load.offered {
                    Offered::Closed(users) => command.args(["-c", &users.to_string()]),
                    Offered::Even(rate) => {
                        command.args(["-q", &rate.to_string(), "--latency-correction", "-c", "64"])
                    }
                    Offered::Poisson(_) => return None,
                };
                command.arg(load.server);
                Some(command)
            }
            Self::Hey => {
                let (Protocol::Http, Offered::Closed(users)) = (load.protocol, load.offered) else {
                    return None;
                };
                let mut command = Command::new(peers.hey.as_ref()?);
                command.args(["-z", &format!("{seconds}s"), "-c", &users.to_string(), load.server]);
                Some(command)
            }
            Self::H2load => h2load(peers.h2load.as_ref()?, load, &seconds),
            Self::PerfAnalyzer => perf_analyzer(peers, load),
        }
    }

    pub(crate) fn read(self, printed: &str) -> Result<Said> {
        let missing = || format!("{} printed something unexpected:\n{printed}", self.name());
        let said = match self {
            Self::Assay => read_assay(printed).ok(),
            Self::Wrk => read_wrk(printed),
            Self::Oha => read_oha(printed).ok(),
            Self::Hey => read_hey(printed),
            Self::H2load => read_h2load(printed),
            Self::PerfAnalyzer => read_perf_analyzer(printed),
        };
        said.with_context(missing)
    }
}

fn assay(checkout: &Checkout, load: &Load<'_>) -> Command {
    let mut command = checkout.program("assay-agent");
    command.arg("load").args([
        "--duration",
        &format!("{}s", load.duration.as_secs()),
        "-o",
        "json",
    ]);
    match load.protocol {
        Protocol::Http => command.args(["--target", load.server]),
        Protocol::Grpc(calls) => {
            command.arg("--target").arg(format!("grpc://{}/{}", load.server, calls.model));
            command
                .arg("--payload")
                .arg(calls.payload)
                .args(["--content-type", calls.content_type]);
            command.args(calls.input.iter().flat_map(|input| ["--input", input]))
        }
    };
    match load.offered {
        Offered::Closed(users) => command.args(["--users", &users.to_string()]),
        Offered::Even(rate) => {
            command.args(["--rate", &format!("{rate}/s"), "--arrivals", "constant"])
        }
        Offered::Poisson(rate) => command.args(["--rate", &format!("{rate}/s")]),
    };
    command
}

fn h2load(program: &Path, load: &Load<'_>, seconds: &str) -> Option<Command> {
    let Offered::Closed(users) = load.offered else { return None };
    let mut command = Command::new(program);
    command.args(["-t", "1", "-D", seconds]);
    match load.protocol {
        Protocol::Http => command.args(["--h1", "-c", &users.to_string(), load.server]),
        Protocol::Grpc(calls) => {
            command.args(["-c", &users.div_ceil(STREAMS).to_string()]);
            command.args(["-m", &users.min(STREAMS).to_string(), "-d"]).arg(calls.message?);
            command.args(["-H", "content-type: application/grpc", "-H", "te: trailers"]);
            command.arg(format!("http://{}/{INFER}", load.server))
        }
    };
    Some(command)
}

fn perf_analyzer(peers: &Peers, load: &Load<'_>) -> Option<Command> {
    let (Protocol::Grpc(calls), Offered::Closed(users)) = (load.protocol, load.offered) else {
        return None;
    };
    // A thread for each call at a time: with more of them on one processor it often does not end.
    let tool = peers.perf_analyzer.as_ref().filter(|_| users <= PERF_ANALYZER_THREADS)?;
    // At times all its threads do nothing.
    let mut command = Command::new("timeout");
    command.arg((load.duration * 4 + Duration::from_secs(60)).as_secs().to_string());
    command.arg(&tool.program).env("LD_LIBRARY_PATH", &tool.libraries);
    command.args(["-m", calls.model, "-u", load.server, "-i", "grpc"]);
    command.args(["--concurrency-range", &users.to_string()]);
    if let Some(per_s) = calls.analyzer_per_s {
        // A fast server keeps all threads busy: on one processor they then starve the one that ends a
        // window of time, for minutes. A number of requests needs no such thread.
        let requests = u64::from(per_s) * load.duration.as_secs();
        command.args(["--request-count", &requests.to_string()]);
    } else {
        // It is to report, not to judge whether it is content.
        let window = (load.duration / WINDOWS).as_millis();
        command.args(["--measurement-interval", &window.to_string()]);
        command.args(["--max-trials", &WINDOWS.to_string(), "--stability-percentage", "999"]);
    }
    Some(command)
}

fn read_assay(printed: &str) -> Result<Said> {
    Ok(Said {
        per_s: number(printed, "/achieved_per_s")?,
        p50_us: Some(number(printed, "/latency_us/p50")?),
        p99_us: Some(number(printed, "/latency_us/p99")?),
        lag_p50_us: number(printed, "/generator/lag_us/p50").ok(),
        lag_p99_us: number(printed, "/generator/lag_us/p99").ok(),
    })
}

fn read_oha(printed: &str) -> Result<Said> {
    Ok(Said {
        per_s: number(printed, "/summary/requestsPerSec")?,
        p50_us: Some(number(printed, "/latencyPercentiles/p50")? * 1e6),
        p99_us: Some(number(printed, "/latencyPercentiles/p99")? * 1e6),
        ..Said::default()
    })
}

fn read_wrk(printed: &str) -> Option<Said> {
    let percentile = |name: &str| time_us(after(printed, name)?);
    Some(Said {
        per_s: after(printed, "Requests/sec:")?.parse().ok()?,
        p50_us: Some(percentile("50%")?),
        p99_us: Some(percentile("99%")?),
        ..Said::default()
    })
}

fn read_hey(printed: &str) -> Option<Said> {
    let percentile = |name: &str| Some(after(printed, name)?.parse::<f64>().ok()? * 1e6);
    Some(Said {
        per_s: after(printed, "Requests/sec:")?.parse().ok()?,
        p50_us: Some(percentile("50% in")?),
        p99_us: Some(percentile("99% in")?),
        ..Said::default()
    })
}

fn read_h2load(printed: &str) -> Option<Said> {
    let line = printed.lines().find(|line| line.starts_with("finished in"))?;
    let rate = line.split(", ").find_map(|part| part.strip_suffix(" req/s"))?;
    Some(Said { per_s: rate.parse().ok()?, ..Said::default() })
}

fn read_perf_analyzer(printed: &str) -> Option<Said> {
    let figure = |name: &str| after(printed, name)?.parse::<f64>().ok();
    // Its throughput divides by whole seconds; by Little's law it is this, or a little less.
    let users = figure("Request concurrency:")?;
    Some(Said {
        per_s: users / figure("Avg latency:")? * 1e6,
        p50_us: Some(figure("p50 latency:")?),
        p99_us: Some(figure("p99 latency:")?),
        ..Said::default()
    })
}

/// The word after a label that begins a line.
fn after<'a>(printed: &'a str, label: &str) -> Option<&'a str> {
    let rest = printed.lines().find_map(|line| line.trim_start().strip_prefix(label))?;
    rest.split_whitespace().next()
}

/// A time as wrk prints it.
fn time_us(text: &str) -> Option<f64> {
    let split = text.find(|c: char| c.is_ascii_alphabetic())?;
    let (number, unit) = text.split_at(split);
    let scale = match unit {
        "us" => 1.0,
        "ms" => 1e3,
        "s" => 1e6,
        _ => return None,
    };
    Some(number.parse::<f64>().ok()? * scale)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_peer_is_understood() {
        let wrk = "  Latency Distribution\n     50%   76.00us\n     99%    7.43ms\nRequests/sec:  49151.75\n";
        let wrk = Tool::Wrk.read(wrk).unwrap();
        assert_eq!((wrk.per_s, wrk.p50_us, wrk.p99_us), (49151.75, Some(76.0), Some(7430.0)));
        let hey = "  Requests/sec:\t32812.1262\n  50% in 0.0004 secs\n  99% in 0.0018 secs\n";
        let hey = Tool::Hey.read(hey).unwrap();
        assert_eq!((hey.per_s, hey.p50_us), (32812.1262, Some(400.0)));
        let h2load = "finished in 2.00s, 287656.00 req/s, 31.82MB/s\nrequests: 575312 total\n";
        assert!((Tool::H2load.read(h2load).unwrap().per_s - 287_656.0).abs() < 1e-9);
        let analyzer = "Request concurrency: 16\n    Throughput: 24985 infer/sec\n    Avg latency: 500 usec (standard deviation 323 usec)\n    p50 latency: 449 usec\n    p99 latency: 4193 usec\n";
        let analyzer = Tool::PerfAnalyzer.read(analyzer).unwrap();
        assert_eq!((analyzer.per_s, analyzer.p99_us), (32_000.0, Some(4193.0)));
        let oha = "{\"summary\": {\"requestsPerSec\": 2000.5}, \"latencyPercentiles\": {\"p50\": 0.000125, \"p99\": 0.002}}";
        assert_eq!(Tool::Oha.read(oha).unwrap().p50_us, Some(125.0));
    }

    #[test]
    fn a_peer_that_prints_something_else_is_an_error_that_shows_it() {
        let error = Tool::Wrk.read("unable to connect").unwrap_err().to_string();
        assert!(error.contains("wrk") && error.contains("unable to connect"), "{error}");
    }
}
