//! `assay recommend` without a server: one command, from a model to a ranking.

use std::time::Duration;

use assay_tests::{binaries, child::Child, wait};
use regex::Regex;
use rustix::process::Signal;
use serde_json::Value;

use crate::{
    process_tree::{self, Process},
    workbench::{LIMIT, MLP_INPUT, Workbench, run},
};

fn entries<'a>(report: &'a Value, list: &str) -> &'a Vec<Value> {
    report[list].as_array().unwrap_or_else(|| panic!("no list {list} in {report:#}"))
}

#[test]
fn the_agent_is_a_child_that_talks_grpc_over_loopback_and_nothing_stays_behind() {
    let bench = Workbench::new();
    let model = bench.model("mlp");
    let mut command = bench.recommend_briefly(&model);
    command.args(["--input", MLP_INPUT, "--instance-types", "own.small=1x2GiB@0.05"]);
    let mut assay = Child::start("assay recommend", &mut command);
    let family = wait_for_host(&mut assay);
    let agent = family.iter().find(|process| process.name == "assay-agent").unwrap();
    let ours = process_tree::established_connections(assay.pid());
    let theirs = process_tree::established_connections(agent.pid);
    let connected =
        ours.iter().any(|(local, remote)| theirs.contains(&(remote.clone(), local.clone())));
    assert!(connected, "assay {ours:?} and its agent {theirs:?} share no connection");

    let code = assay.exit_code(LIMIT);
    assert_gone(&family);
    let table = assay.stdout();
    // A disturbed machine has nothing to recommend, and says why.
    let parts: &[&str] = match code {
        0 => &["own.small*", "workers=1 intra-op=1", "$/1M", "MAX INV/MIN", "Recommendation"],
        _ => &["own.small", "workers=1 intra-op=1", "measurement invalid"],
    };
    assert!([0, 1].contains(&code), "{code}: {}", assay.stderr());
    for part in parts {
        assert!(table.contains(part), "no {part:?} in\n{table}");
    }
}

#[test]
fn ctrl_c_prints_what_there_is_and_leaves_no_process() {
    let bench = Workbench::new();
    let model = bench.model("mlp");
    let mut command = bench.recommend(&model);
    command.args(["--input", MLP_INPUT, "--instance-types", "own.small=1x2GiB@0.05", "-o", "json"]);
    let mut assay = Child::start("assay recommend", &mut command);
    let family = wait_for_host(&mut assay);
    assay.signal(Signal::INT);
    assert_eq!(assay.exit_code(LIMIT), 130, "{}", assay.stderr());
    assert_gone(&family);
    let report: Value = serde_json::from_str(&assay.stdout()).expect("a whole report");
    assert_eq!(report["status"], "stopped", "{report:#}");
}

#[test]
fn a_killed_command_takes_agent_and_host_with_it() {
    let bench = Workbench::new();
    let model = bench.model("mlp");
    let mut command = bench.recommend(&model);
    command.args(["--input", MLP_INPUT, "--instance-types", "own.small=1x2GiB@0.05"]);
    let mut assay = Child::start("assay recommend", &mut command);
    let family = wait_for_host(&mut assay);
    assay.signal(Signal::KILL);
    assay.end(LIMIT);
    assert_gone(&family);
}

#[test]
fn a_constraint_that_a_lone_request_misses_rejects_the_candidate() {
    let bench = Workbench::new();
    let model = bench.model("mlp");
    let run = run(bench.recommend(&model).args([
        "--input",
        MLP_INPUT,
        "--instance-types",
        "own.small=1x2GiB@0.05",
        "--slo",
        "p99<=1us",
        "-o",
        "json",
    ]));
    let report = run.json();
    assert_eq!(report["recommendation"], Value::Null);
    // What others took of the machine meanwhile leaves open whether it meets the constraint.
    let disturbed = entries(&report, "failed").first();
    let disturbed = disturbed.is_some_and(|entry| entry["validity"]["verdict"] == "invalid");
    if !disturbed {
        assert_eq!(run.code, 6, "{}\n{}", run.stdout, run.stderr);
        let [rejected] = &entries(&report, "rejected")[..] else { panic!("{report:#}") };
        assert!(rejected["reason"].as_str().unwrap().contains("p99"), "{report:#}");
    }
}

#[test]
fn a_fixed_load_is_reported_as_such() {
    let bench = Workbench::new();
    let model = bench.model("mlp");
    let run = run(bench.recommend(&model).args([
        "--input",
        MLP_INPUT,
        "--instance-types",
        "own.small=1x2GiB@0.05",
        "--load",
        "users:2/3s",
        "-o",
        "json",
    ]));
    let report = run.json();
    let lists = ["ranking", "rejected", "failed"];
    let entry =
        lists.iter().find_map(|list| entries(&report, list).first()).expect("one candidate");
    let steps = entry["steps"].as_array().unwrap();
    let fixed: Vec<_> = steps.iter().filter(|step| step["purpose"] == "fixed").collect();
    assert_eq!(fixed.len(), 1, "{report:#}");
    assert_eq!(fixed[0]["users"], 2);
    // Off a terminal: what happened, and not each step of it.
    let told: Vec<&str> = run.stderr.lines().collect();
    let is_dated = |line: &&str| line.len() > 20 && line.as_bytes()[10] == b'T';
    // One on a machine that others use is told of, and begins again.
    let repeated = told.iter().filter(|line| line.contains("measured again")).count();
    assert!(told.iter().filter(|line| is_dated(line)).count() <= 6 + 2 * repeated, "{told:#?}");
    assert!(told.iter().any(|line| line.contains("started on")), "{told:#?}");
    assert!(!told.iter().any(|line| line.contains("warm_up")), "{told:#?}");
}

#[test]
fn a_terminal_of_80_columns_shows_a_live_line_and_nothing_that_does_not_fit() {
    let bench = Workbench::new();
    let model = bench.model("mlp");
    let recommend = |more: &[&str]| {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/e2e/on_terminal.py");
        let mut command = bench.in_folder("python3");
        command.arg(script).arg("80").arg(binaries::assay()).arg("recommend").arg(&model);
        command.args(["--input", MLP_INPUT, "--load", "users:2/3s", "--sweep", "workers=1"]);
        command.args(["--instance-types", "own.one=1x2GiB@0.05,own.two=1x2GiB@0.07"]);
        let shown = run(command.args(more)).stdout;
        // Colours and movements take no room; a return or the end of a line begins at the left again.
        let escapes = Regex::new(r"\x1b\[[0-9;?]*[A-Za-z]").unwrap();
        escapes.replace_all(&shown, "").into_owned()
    };
    let live = recommend(&[]);
    for line in live.split(['\n', '\r']) {
        // A line that is filled with spaces to the edge has the next one behind it.
        let line: Vec<char> = line.chars().collect();
        let fits = |edge: &[char]| edge.contains(&' ');
        let edges = (80..line.len()).step_by(80).map(|edge| &line[edge - 1..=edge]);
        assert!(edges.into_iter().all(fits), "{:?}", String::from_iter(line));
    }
    assert!(live.contains("own.one +1") && live.contains("━"), "{live}");
    let plain = recommend(&["--progress", "plain"]);
    assert!(plain.contains("own.one, own.two") && !plain.contains("━"), "{plain}");
    for none in [&["--progress", "none"][..], &["-q"]] {
        let nothing = recommend(none);
        assert!(!nothing.contains("Plan") && nothing.contains("own.two"), "{nothing}");
    }
}

/// Waits until the model host runs, and returns every process below `assay`.
fn wait_for_host(assay: &mut Child) -> Vec<Process> {
    wait::until("the model host to start", LIMIT, || {
        assert!(assay.ended().is_none(), "assay ended early:\n{}", assay.stderr());
        let family = process_tree::descendants(assay.pid());
        family.iter().any(|process| process.name == "assay-host").then_some(family)
    })
}

fn assert_gone(family: &[Process]) {
    wait::until(&format!("{family:?} to be gone"), Duration::from_secs(20), || {
        family.iter().all(|process| !process_tree::lives(process.pid)).then_some(())
    });
}
