//! What the pages cost a coordinator: the page of a job of twenty candidates and twelve steps each, a list of five
//! hundred jobs, five hundred pages that follow a job. `cargo xtask bench pages` runs it and keeps the figures.
//!
//! Prints one JSON object.

#![expect(clippy::print_stdout, reason = "the figures are what it is for")]

use std::{
    fs,
    io::{Read, Write},
    net::TcpStream,
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use assay_tests::{binaries, child::Child, known_agent::KnownAgent, wait};
use rustix::process::Signal;
use serde_json::json;

const LIMIT: Duration = Duration::from_secs(300);
const JOBS: usize = 500;
const STREAMS: usize = 500;
const ROUNDS: usize = 51;

fn main() {
    let dir = tempfile::tempdir().expect("there is room for a temporary folder");
    fs::write(dir.path().join("model.pt"), "a model that nobody loads").expect("it is writable");
    let mut serve = Command::new(binaries::assay());
    serve.current_dir(dir.path()).args(["serve", "--listen", "127.0.0.1:0", "--data-dir", "data"]);
    let mut server = Child::start("assay serve", &mut serve);
    let url = server.listening(LIMIT);
    let address = url.trim_start_matches("http://");
    let agent = KnownAgent::attach(&url);
    let types: Vec<String> =
        (1..=20).map(|n| format!("own.t{n}=1x{}MiB@0.{n:02}", 256 * n)).collect();
    create(dir.path(), &url, "many-candidates", &types.join(","));
    for number in 1..JOBS {
        create(dir.path(), &url, &format!("job-{number}"), "own.small=1x2GiB@0.05");
    }
    let last = format!("/jobs/job-{}", JOBS - 1);
    wait::until("the last job", LIMIT, || get(address, &last).contains("completed").then_some(()));
    let page = timed(address, "/jobs/many-candidates?cost=high&latency=low&demand=40000/min");
    let report = timed(address, "/jobs/many-candidates/report.html");
    let list = timed(address, "/jobs");
    create(dir.path(), &url, "held-open", "own.small=1x2GiB@0.05");
    wait::until("it to run", LIMIT, || {
        get(address, "/jobs/held-open").contains("running").then_some(())
    });
    let before = resident_mib(server.pid());
    let streams: Vec<TcpStream> = (0..STREAMS).map(|_| follow(address)).collect();
    let after = resident_mib(server.pid());
    let asked = Instant::now();
    server.signal(Signal::TERM);
    let code = server.exit_code(LIMIT);
    let ended = asked.elapsed();
    assert_eq!(code, 0, "{}", server.stderr());
    drop((streams, agent));
    let figures = |(median, bytes): (f64, usize)| json!({ "median_ms": median, "bytes": bytes });
    println!(
        "{}",
        json!({
            "page": figures(page),
            "report": figures(report),
            "list": figures(list),
            "streams_mib": after - before,
            "end_ms": ended.as_secs_f64() * 1e3,
        })
    );
}

/// A job of one configuration for each type; what becomes of it is not waited for.
fn create(dir: &Path, url: &str, name: &str, types: &str) {
    let mut command = Command::new(binaries::assay());
    command.current_dir(dir).args(["recommend", "model.pt", "--server", url, "--detach", "-q"]);
    command.args([
        "--input",
        "float32[1,64]",
        "--quick",
        "--name",
        name,
        "--instance-types",
        types,
    ]);
    command.args(["--sweep", "workers=1", "--sweep", "intra-op=1", "--sweep", "graph=plain"]);
    let mut child = Child::start("assay recommend", &mut command);
    assert_eq!(child.exit_code(LIMIT), 0, "{}", child.stderr());
}

fn ask(address: &str, path: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).expect("the coordinator listens");
    stream.set_read_timeout(Some(LIMIT)).expect("a limit can be set");
    let request = format!("GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).expect("the coordinator reads");
    stream
}

fn get(address: &str, path: &str) -> String {
    let mut answer = String::new();
    ask(address, path).read_to_string(&mut answer).expect("an answer is text");
    answer
}

/// The median of some rounds in milliseconds, connecting included, and the size of the answer's body.
fn timed(address: &str, path: &str) -> (f64, usize) {
    let mut rounds = Vec::new();
    let mut bytes = 0;
    for _ in 0..ROUNDS {
        let began = Instant::now();
        let answer = get(address, path);
        rounds.push(began.elapsed().as_secs_f64() * 1e3);
        assert!(answer.starts_with("HTTP/1.1 200"), "{path}: {answer}");
        bytes = answer.split_once("\r\n\r\n").map_or(0, |(_, body)| body.len());
    }
    rounds.sort_by(f64::total_cmp);
    (rounds[ROUNDS / 2], bytes)
}

/// A page that follows the job: its answer has begun.
fn follow(address: &str) -> TcpStream {
    let mut stream = ask(address, "/jobs/held-open/events");
    let mut head = [0; 15];
    stream.read_exact(&mut head).expect("the stream begins");
    assert_eq!(&head, b"HTTP/1.1 200 OK");
    stream
}

fn resident_mib(pid: u32) -> f64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let kib = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = kib.and_then(|kib| kib.trim().strip_suffix(" kB")?.parse::<f64>().ok());
    kib.expect("the kernel tells it") / 1024.0
}
