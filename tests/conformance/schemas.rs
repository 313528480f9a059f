//! The JSON that programs read is what the committed schemas describe.

use std::{fs, path::Path, process::Command, time::Duration};

use assay_tests::{binaries, child::Child};
use serde_json::Value;

const LIMIT: Duration = Duration::from_secs(240);

fn schema(path: &str) -> jsonschema::Validator {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let text =
        fs::read_to_string(root.join(path)).unwrap_or_else(|error| panic!("{path}: {error}"));
    let schema: Value =
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{path}: {error}"));
    jsonschema::validator_for(&schema).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn assert_valid(schema: &jsonschema::Validator, document: &Value) {
    let problems: Vec<String> = schema
        .iter_errors(document)
        .map(|error| format!("{}: {error}", error.instance_path()))
        .collect();
    assert!(problems.is_empty(), "{problems:#?}\n{document:#}");
}

fn json_of(command: &mut Command) -> Value {
    let mut child = Child::start("assay", command);
    let code = child.exit_code(LIMIT);
    serde_json::from_str(&child.stdout()).unwrap_or_else(|error| {
        panic!("{error}; exit code {code}\n{}\n{}", child.stdout(), child.stderr())
    })
}

fn reference(dir: &Path, name: &str) -> std::path::PathBuf {
    let path = dir.join(format!("{name}.pt"));
    let mut host = Command::new(binaries::assay_host());
    let mut child = Child::start("reference", host.args(["reference", name, "--out"]).arg(&path));
    assert_eq!(child.exit_code(LIMIT), 0, "{}", child.stderr());
    path
}

#[test]
fn the_report_of_a_job_is_an_assay_job_1_sorted_by_cost() {
    let dir = tempfile::tempdir().unwrap();
    let model = reference(dir.path(), "mlp");
    let mut command = Command::new(binaries::assay());
    command.arg("recommend").arg(model).args([
        "--quick",
        "--max-duration",
        "70s",
        "--sweep",
        "workers=1,2",
        "--sweep",
        "graph=plain",
        "--input",
        "float32[1,64]",
        "--slo",
        "p95<=50ms",
        "--instance-types",
        "ml.c5.large,ml.m5.large",
        "--demand",
        "1000000/min",
        "-o",
        "json",
    ]);
    let report = json_of(&mut command);
    let schema = schema("coordinator/planning/schema/assay.job.1.schema.json");
    assert_valid(&schema, &report);
    let costs: Vec<f64> = report["ranking"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| entry["cost_per_inference_usd"].as_f64().unwrap())
        .collect();
    assert!(costs.is_sorted(), "{costs:?}");
    // On a disturbed machine what was measured is listed as failed, with its figures.
    let unbelieved = report["failed"].as_array().unwrap().iter();
    let unbelieved = unbelieved.filter(|entry| entry.get("max_invocations_per_min").is_some());
    assert!(costs.len() + unbelieved.count() >= 2, "{report:#}");

    let mut broken = report.clone();
    let list = if costs.is_empty() { "failed" } else { "ranking" };
    broken[list][0]["max_invocations_per_min"] = Value::from("many");
    assert!(!schema.is_valid(&broken), "the schema takes a text for a number");
    let mut renamed = report;
    renamed.as_object_mut().unwrap().remove("ranking");
    assert!(!schema.is_valid(&renamed), "the schema misses a missing list");
}

#[test]
fn load_and_capacity_print_their_documents() {
    let dir = tempfile::tempdir().unwrap();
    let model = reference(dir.path(), "mlp");
    let payload = dir.path().join("input.csv");
    fs::write(&payload, vec!["0.5"; 64].join(",")).unwrap();
    let mut host = Child::start(
        "assay-host serve",
        Command::new(binaries::assay_host()).arg("serve").arg(&model).args([
            "--listen",
            "127.0.0.1:0",
            "--input",
            "float32[1,64]",
        ]),
    );
    let url = host.listening(LIMIT);
    let agent = |arguments: &[&str]| {
        let mut command = Command::new(binaries::assay_agent());
        command.args(arguments).args(["--target", &format!("{url}/invocations"), "--payload"]);
        command.arg(&payload).args(["--content-type", "text/csv", "-o", "json"]);
        json_of(&mut command)
    };
    let load = agent(&["load", "--rate", "200/s", "--duration", "2s"]);
    assert_valid(&schema("agent/schema/assay.load.1.schema.json"), &load);
    assert!(load["requests"].as_u64().unwrap() > 300, "{load:#}");
    assert_eq!(load["errors"], 0, "{load:#}");
    let capacity = agent(&["capacity", "--quick", "--max-duration", "15s"]);
    assert_valid(&schema("agent/schema/assay.capacity.1.schema.json"), &capacity);
    assert!(capacity["max_invocations_per_min"].as_f64().unwrap() > 600.0, "{capacity:#}");
}

#[test]
fn calibrate_prints_its_document() {
    let mut command = Command::new(binaries::assay_agent());
    command.args(["calibrate", "--quick", "--service-time", "4ms", "--max-duration", "15s"]);
    let report = json_of(command.args(["-o", "json"]));
    let schema = schema("agent/schema/assay.calibration.1.schema.json");
    assert_valid(&schema, &report);
    // p95 within five service times, whatever the service time: 0.69377 of what keeps it busy.
    let exact = report["exact_invocations_per_min"].as_f64().unwrap();
    assert!((exact / 15_000.0 - 0.69377).abs() < 1e-5, "{report:#}");

    let mut unfounded = report.clone();
    unfounded["max_invocations_per_min"] = Value::from(1.0);
    unfounded.as_object_mut().unwrap().remove("ci95");
    assert!(!schema.is_valid(&unfounded), "the schema takes a figure without its interval");
    let mut renamed = report;
    renamed.as_object_mut().unwrap().remove("calibrated");
    assert!(!schema.is_valid(&renamed), "the schema misses a missing conclusion");
}
