//! `assay-agent load` and `assay-agent capacity` as a user meets them: documents, tables, errors, codes.
#![expect(clippy::unwrap_used, reason = "helpers of tests panic like tests")]

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Output, Stdio},
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use hdrhistogram::serialization::{
    Deserializer,
    interval_log::{IntervalLogIterator, LogEntry},
};
use serde_json::Value;

/// A server that answers every request after `work` with `status`; one thread for each connection.
fn server(status: &'static str, work: Duration) -> String {
    server_working(status, move || thread::sleep(work))
}

/// The same with one worker: throughput ends where that is busy.
fn server_of_one_worker(work: Duration) -> String {
    let worker = Mutex::new(());
    server_working("200 OK", move || {
        let _busy = worker.lock().unwrap();
        thread::sleep(work);
    })
}

fn server_working(status: &'static str, work: impl Fn() + Send + Sync + 'static) -> String {
    let work = Arc::new(work);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        for stream in listener.incoming() {
            let stream = stream.unwrap();
            let work = Arc::clone(&work);
            thread::spawn(move || serve(&stream, status, &*work));
        }
    });
    url
}

fn serve(mut stream: &TcpStream, status: &str, work: &dyn Fn()) {
    stream.set_nodelay(true).unwrap();
    let mut reader = BufReader::new(stream);
    loop {
        let (mut length, mut line) = (0, String::new());
        while line != "\r\n" {
            line.clear();
            if reader.read_line(&mut line).unwrap_or(0) == 0 {
                return;
            }
            if let Some(value) = line.strip_prefix("Content-Length: ") {
                length = value.trim().parse().unwrap();
            }
        }
        let mut body = vec![0; length];
        if reader.read_exact(&mut body).is_err() {
            return;
        }
        work();
        let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 9\r\n\r\nno tensor");
        if stream.write_all(answer.as_bytes()).is_err() {
            return;
        }
    }
}

fn agent(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_assay-agent"));
    command
        .args(arguments)
        .env_remove("ASSAY_OUTPUT")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .stdin(Stdio::null());
    command
}

fn run(arguments: &[&str]) -> Output {
    agent(arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn document(schema: &str, output: &Output) -> Value {
    let document: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| {
        panic!("{error}: {} {}", text(&output.stdout), text(&output.stderr))
    });
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("schema").join(schema);
    let schema: Value = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    let problems: Vec<String> =
        validator.iter_errors(&document).map(|error| error.to_string()).collect();
    assert!(problems.is_empty(), "{problems:#?} {document:#}");
    document
}

fn load_document(output: &Output) -> Value {
    document("assay.load.1.schema.json", output)
}

/// The one JSON object on standard error.
fn json_error(output: &Output) -> Value {
    let stderr = text(&output.stderr);
    let line = stderr.lines().last().unwrap_or_default();
    let error: Value =
        serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {stderr}"));
    error["error"].clone()
}

#[test]
fn an_open_loop_load_prints_its_document_and_its_log() {
    let url = server("200 OK", Duration::ZERO);
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("load.hlog");
    let output = run(&[
        "load",
        "--target",
        &url,
        "--rate",
        "100/s",
        "--duration",
        "2s",
        "--seed",
        "7",
        "-o",
        "json",
        "--hlog",
        log.to_str().unwrap(),
    ]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let load = load_document(&output);
    assert_eq!(
        (&load["mode"], &load["seed"], &load["errors"]),
        (&"poisson".into(), &7.into(), &0.into())
    );
    assert_eq!(load["offered_per_s"].as_f64(), Some(100.0));
    assert!((load["duration_s"].as_f64().unwrap() - 2.0).abs() < 1e-3, "{load:#}");
    let answered: u64 = load["seconds"]
        .as_array()
        .unwrap()
        .iter()
        .map(|second| second["answered"].as_u64().unwrap())
        .sum();
    assert_eq!(Some(answered), load["requests"].as_u64());

    let log = fs::read(&log).unwrap();
    let mut logged = 0;
    for entry in IntervalLogIterator::new(&log) {
        if let LogEntry::Interval(interval) = entry.unwrap() {
            use base64::Engine;
            let bytes = base64::engine::general_purpose::STANDARD
                .decode(interval.encoded_histogram())
                .unwrap();
            let histogram: hdrhistogram::Histogram<u64> =
                Deserializer::new().deserialize(&mut bytes.as_slice()).unwrap();
            logged += histogram.len();
        }
    }
    assert_eq!(logged, answered, "the log holds every answer");
}

#[test]
fn closed_loops_recorded_arrivals_and_phases_have_their_shapes() {
    let url = server("200 OK", Duration::from_millis(1));
    let closed = load_document(&run(&[
        "load",
        "--target",
        &url,
        "--users",
        "3",
        "--duration",
        "300ms",
        "-o",
        "json",
    ]));
    assert_eq!((&closed["mode"], &closed["users"]), (&"closed".into(), &3.into()));
    assert!(
        closed.get("offered_per_s").is_none() && closed["generator"].get("lag_us").is_none(),
        "{closed:#}"
    );

    let phases =
        load_document(&run(&["load", "--target", &url, "--stairs", "3x2/600ms", "-o", "json"]));
    let users: Vec<u64> = phases["phases"]
        .as_array()
        .unwrap()
        .iter()
        .map(|phase| phase["users"].as_u64().unwrap())
        .collect();
    assert_eq!(users, [2, 4, 6]);

    let folder = tempfile::tempdir().unwrap();
    let trace = folder.path().join("trace");
    fs::write(&trace, "0\n0.1\n0.1\n").unwrap();
    let replay = load_document(&run(&[
        "load",
        "--target",
        &url,
        "--trace",
        trace.to_str().unwrap(),
        "-o",
        "json",
    ]));
    assert_eq!((&replay["mode"], &replay["requests"]), (&"replay".into(), &3.into()));
}

#[test]
fn the_table_is_at_most_80_columns_wide() {
    let url = server("500 Internal Server Error", Duration::ZERO);
    let body = tempfile::NamedTempFile::with_suffix(".csv").unwrap();
    fs::write(body.path(), "1,2").unwrap();
    let output = run(&[
        "load",
        "--target",
        &url,
        "--rate",
        "50/s",
        "--duration",
        "1s",
        "--payload",
        body.path().to_str().unwrap(),
    ]);
    assert_eq!(output.status.code(), Some(0));
    let table = text(&output.stdout);
    assert!(
        table.contains("HTTP status 500: no tensor") && table.contains(" error status)"),
        "{table}"
    );
    let output =
        run(&["load", "--target", &server("200 OK", Duration::ZERO), "--stairs", "2x1/1s"]);
    let stairs = text(&output.stdout);
    assert!(stairs.contains("P99.9") && stairs.contains("USERS"), "{stairs}");
    for line in table.lines().chain(stairs.lines()) {
        assert!(line.chars().count() <= 80, "{line}");
    }
}

#[test]
fn a_capacity_search_prints_its_document() {
    let url = server_of_one_worker(Duration::from_millis(2));
    let output =
        run(&["capacity", "--target", &url, "--quick", "--max-duration", "8s", "-o", "json"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let capacity = document("assay.capacity.1.schema.json", &output);
    // One worker of 2 ms and what a sleep takes longer.
    let found = capacity["max_invocations_per_min"].as_f64().unwrap();
    assert!((15_000.0..=30_000.0).contains(&found), "{capacity:#}");
    assert_eq!(capacity["limited_by"], "saturation", "{capacity:#}");
    assert!(capacity["steps"].as_array().unwrap().len() > 2);
    assert!(
        capacity["validity"]["findings"]
            .as_array()
            .unwrap()
            .iter()
            .any(|finding| finding["name"] == "no_burn_in")
    );
}

#[test]
fn a_constraint_that_nothing_meets_has_its_own_exit_code() {
    let url = server("200 OK", Duration::from_millis(20));
    let output = run(&[
        "capacity",
        "--target",
        &url,
        "--quick",
        "--slo",
        "p95<=2ms",
        "--max-duration",
        "30s",
        "-o",
        "json",
    ]);
    assert_eq!(output.status.code(), Some(6), "{}", text(&output.stderr));
    assert_eq!(json_error(&output)["code"], "nothing_meets");
    let capacity = document("assay.capacity.1.schema.json", &output);
    assert!(capacity.get("max_invocations_per_min").is_none());
}

#[test]
fn a_target_that_rejects_the_body_is_not_searched() {
    let url = server("415 Unsupported Media Type", Duration::ZERO);
    let output = run(&["capacity", "--target", &url, "-o", "json"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(output.stdout.is_empty());
    let error = json_error(&output);
    assert!(error["message"].as_str().unwrap().contains("does not answer the request"), "{error}");
    assert_eq!(error["causes"], serde_json::json!(["HTTP status 415", "no tensor"]));
    assert!(error["hint"].as_str().unwrap().contains("--content-type"));
}

#[test]
fn what_cannot_be_done_says_why_and_what_to_do() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let target = format!("http://127.0.0.1:{port}");
    let output = run(&["load", "--target", &target, "--users", "1"]);
    assert_eq!(output.status.code(), Some(1));
    let stderr = text(&output.stderr);
    assert!(
        stderr.starts_with(&format!("error: cannot connect to 127.0.0.1:{port}\n  cause: ")),
        "{stderr}"
    );
    assert!(stderr.contains("refused") && stderr.contains("\nhint: "), "{stderr}");

    let slo = run(&["capacity", "--target", &target, "--slo", "p42<=50ms"]);
    assert_eq!(slo.status.code(), Some(2));
    assert!(text(&slo.stderr).contains("p42"), "{}", text(&slo.stderr));
    let flag = run(&["load", "--target", &target, "--users", "1", "--frobnicate", "-o", "json"]);
    assert_eq!(flag.status.code(), Some(2));
    assert_eq!(json_error(&flag)["code"], "usage");

    let url = server("200 OK", Duration::ZERO);
    let folder = tempfile::tempdir().unwrap();
    let trace = folder.path().join("trace");
    fs::write(&trace, "0\n0.5\n0.4\n").unwrap();
    let replay = run(&["load", "--target", &url, "--trace", trace.to_str().unwrap()]);
    assert_eq!(replay.status.code(), Some(2));
    assert!(text(&replay.stderr).contains("line 3: \"0.4\""), "{}", text(&replay.stderr));
    let missing =
        run(&["load", "--target", &url, "--users", "1", "--payload", "/nonexistent/body.npy"]);
    assert_eq!(missing.status.code(), Some(1));
    assert!(text(&missing.stderr).contains("/nonexistent/body.npy"));
    let grpc =
        run(&["load", "--target", &format!("{}/m", url.replace("http", "grpc")), "--users", "1"]);
    assert_eq!(grpc.status.code(), Some(2));
    assert!(text(&grpc.stderr).contains("needs a payload"), "{}", text(&grpc.stderr));
    let log = run(&["load", "--target", &url, "--users", "1", "--hlog", "/nonexistent/log"]);
    assert_eq!(log.status.code(), Some(1));
    assert!(text(&log.stderr).contains("cannot write /nonexistent/log"));
}

#[test]
fn a_reader_that_closes_early_is_no_failure() {
    let url = server("200 OK", Duration::ZERO);
    let mut child =
        agent(&["load", "--target", &url, "--users", "1", "--duration", "200ms"]).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), text(&output.stderr).as_str()), (Some(0), ""));
}

fn interrupt(child: &Child) {
    let status = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(status.success());
}

#[test]
fn ctrl_c_prints_what_was_measured_and_exits_130() {
    let url = server("200 OK", Duration::from_millis(1));
    let child =
        agent(&["load", "--target", &url, "--users", "2", "--duration", "5m", "-o", "json"])
            .spawn()
            .unwrap();
    thread::sleep(Duration::from_secs(2));
    interrupt(&child);
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130), "{}", text(&output.stderr));
    let load = load_document(&output);
    assert_eq!(load["interrupted"], true);
    assert!(load["requests"].as_u64().unwrap() > 0);

    let child = agent(&["capacity", "--target", &url, "-o", "json"]).spawn().unwrap();
    thread::sleep(Duration::from_secs(4));
    interrupt(&child);
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130), "{}", text(&output.stderr));
    let capacity = document("assay.capacity.1.schema.json", &output);
    assert_eq!(capacity["interrupted"], true);
    assert!(!capacity["steps"].as_array().unwrap().is_empty());
}
