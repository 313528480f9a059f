//! The JSON that programs read is what the committed schemas describe.

use std::{fs, path::Path, process::Command, time::Duration};

use assay_tests::{binaries, child::Child, python::python};
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

/// The one search of the command line's own: what hangs on what it finds is looked at here.
#[test]
fn two_types_of_one_shape_share_a_trial_and_the_report_is_an_assay_job_1_sorted_by_cost() {
    let dir = tempfile::tempdir().unwrap();
    let model = reference(dir.path(), "mlp");
    let saved = dir.path().join("saved");
    let mut command = Command::new(binaries::assay());
    command.arg("recommend").arg(model).args([
        "--quick",
        "--max-duration",
        "25s",
        "--sweep",
        "workers=1",
        "--sweep",
        "intra-op=1",
        "--sweep",
        "graph=plain",
        "--input",
        "float32[1,64]",
        "--slo",
        "p95<=50ms",
        "--instance-types",
        "ml.m5.large,ml.c5.large",
        "--demand",
        "1000000/min",
        "--name",
        "two-types",
        "-o",
        "json",
    ]);
    let report = json_of(command.arg("--save").arg(&saved));
    let schema = schema("coordinator/planning/schema/assay.job.1.schema.json");
    assert_valid(&schema, &report);
    // On a disturbed machine what was measured is listed as failed, with its figures.
    let entries = |list: &str| report[list].as_array().unwrap().clone();
    let measured: Vec<Value> = [entries("ranking"), entries("failed")].concat();
    assert_eq!(measured.len(), 2, "{report:#}");
    assert_eq!(measured[0]["max_invocations_per_min"], measured[1]["max_invocations_per_min"]);
    for entry in &measured {
        assert_eq!(entry["emulated"], true);
        // A machine that others keep busy may take all of the time, which is then what is told.
        let Some(rate) = entry["max_invocations_per_min"].as_f64() else {
            assert!(!entry["reason"].as_str().unwrap().is_empty(), "{entry:#}");
            continue;
        };
        let cost = entry["cost_per_inference_usd"].as_f64().unwrap();
        let per_hour = entry["cost_per_hour_usd"].as_f64().unwrap();
        assert_eq!(cost.to_bits(), (per_hour / (60.0 * rate)).to_bits());
        assert!(rate > 600.0, "an MLP of a few microseconds carries more than ten calls a second");
        let interval = entry["max_invocations_ci95"].as_array();
        let interval = interval.unwrap_or_else(|| panic!("no interval: {entry:#}"));
        assert!(interval[0].as_f64().unwrap() <= rate && rate <= interval[1].as_f64().unwrap());
    }
    if let [cheapest, dearer] = &*entries("ranking") {
        assert_eq!(cheapest["instance_type"], "ml.c5.large", "{report:#}");
        assert_eq!(cheapest["shared_trial_with"][0], "ml.m5.large");
        assert!(
            cheapest["cost_per_inference_usd"].as_f64() < dearer["cost_per_inference_usd"].as_f64()
        );
        assert_eq!(report["recommendation"]["rank"], 1);
    }
    what_was_saved_reads_the_same(&saved, &report);

    let list = if entries("ranking").is_empty() { "failed" } else { "ranking" };
    let mut broken = report.clone();
    broken[list][0]["max_invocations_per_min"] = Value::from("many");
    assert!(!schema.is_valid(&broken), "the schema takes a text for a number");
    let mut renamed = report;
    renamed.as_object_mut().unwrap().remove("ranking");
    assert!(!schema.is_valid(&renamed), "the schema misses a missing list");
}

/// By the table, and by a client that knows the messages by reflection alone.
fn what_was_saved_reads_the_same(data_dir: &Path, report: &Value) {
    let ranked = report["ranking"].as_array().is_some_and(|ranking| !ranking.is_empty());
    let mut serve = Command::new(binaries::assay());
    serve.args(["serve", "--listen", "127.0.0.1:0", "--data-dir"]).arg(data_dir);
    let mut server = Child::start("assay serve", &mut serve);
    let url = server.listening(LIMIT);
    let mut describe = Command::new(binaries::assay());
    describe.args(["--server", &url, "jobs", "describe", "two-types"]);
    let mut described = Child::start("assay jobs describe", &mut describe);
    // A disturbed machine has nothing to recommend, and says why.
    let parts = if ranked {
        ["ml.c5.large*", "ml.m5.large*", "MAX INV/MIN", "±"]
    } else {
        ["ml.c5.large", "ml.m5.large", "No recommendation", "measurement invalid"]
    };
    assert_eq!(described.exit_code(LIMIT), 0, "{}", described.stderr());
    let table = described.stdout();
    for part in parts {
        assert!(table.contains(part), "no {part:?} in\n{table}");
    }
    let address = url.trim_start_matches("http://");
    let lines = lines_of_python("report_client.py", &[address, "two-types"]);
    let lists = ["ranking", "rejected", "failed"];
    let entries: Vec<(&str, &Value)> = lists
        .into_iter()
        .flat_map(|list| report[list].as_array().unwrap().iter().map(move |entry| (list, entry)))
        .collect();
    assert_eq!(lines.len(), entries.len(), "{lines:#?}");
    histograms_are_those_of_the_steps(data_dir, &url, entries[0].1);
    tables_are_read_by_pandas(data_dir, &url, &entries);
    for (line, (list, entry)) in lines.iter().zip(entries) {
        assert_eq!(line["list"], list);
        assert_eq!(line["p95_us"], entry["latency_us"]["p95"], "{line}");
        assert_eq!(line["steps"], entry["steps"].as_array().unwrap().len());
        for member in [
            "rank",
            "instance_type",
            "cost_per_inference_usd",
            "cost_per_inference_ci95",
            "max_invocations_per_min",
            "max_invocations_ci95",
        ] {
            assert_eq!(line[member], entry[member], "{member} of {line}");
        }
    }
}

/// As the project's own package for Python reads them.
fn histograms_are_those_of_the_steps(data_dir: &Path, url: &str, entry: &Value) {
    let logs = data_dir.join("logs");
    let mut export = Command::new(binaries::assay());
    export.args(["--server", url, "export", "two-types", "--format", "hlog", "-O"]).arg(&logs);
    let mut exported = Child::start("assay export", &mut export);
    assert_eq!(exported.exit_code(LIMIT), 0, "{}", exported.stderr());
    let log = logs.join(format!("{}.hlog", entry["trial"].as_str().unwrap().replace('/', "-")));
    let intervals = lines_of_python("interval_log.py", &[log.to_str().unwrap()]);
    let steps = entry["steps"].as_array().unwrap();
    assert_eq!(intervals.len(), steps.len());
    for (interval, step) in intervals.iter().zip(steps) {
        assert_eq!(interval["purpose"], step["purpose"]);
        assert_eq!(interval["count"], step["latency_us"].get("count").unwrap_or(&0.into()).clone());
        let lasted = step["duration_s"].as_f64().unwrap() * 1e3;
        assert!((interval["milliseconds"].as_f64().unwrap() - lasted).abs() < 2.0, "{interval}");
        // Which call is the 95th per cent, the two libraries round differently.
        for figure in ["mean", "max"] {
            let Some(written) = step["latency_us"][figure].as_f64() else { continue };
            let read = interval[figure].as_f64().unwrap();
            assert!((read / written - 1.0).abs() < 0.002, "{figure}: {interval} {step}");
        }
    }
}

/// As pandas reads them without a hint.
fn tables_are_read_by_pandas(data_dir: &Path, url: &str, entries: &[(&str, &Value)]) {
    let exported = |table: &str, format: &str| {
        let path = data_dir.join(format!("{table}.{format}"));
        let mut export = Command::new(binaries::assay());
        export.args(["--server", url, "export", "two-types", "--format", format, "--table", table]);
        let mut exported = Child::start("assay export", export.arg("-O").arg(&path));
        assert_eq!(exported.exit_code(LIMIT), 0, "{}", exported.stderr());
        path.to_str().unwrap().to_owned()
    };
    let paths = [("trials", "csv"), ("trials", "parquet"), ("steps", "csv"), ("steps", "parquet")];
    let paths = paths.map(|(table, format)| exported(table, format));
    let tables = lines_of_python("tables.py", &paths.each_ref().map(String::as_str));
    let [csv, parquet, steps_csv, steps_parquet] = &*tables else { panic!("{tables:#?}") };
    for (one, other) in [(csv, parquet), (steps_csv, steps_parquet)] {
        let columns =
            |table: &Value| table["kinds"].as_object().unwrap().keys().cloned().collect::<Vec<_>>();
        assert_eq!(columns(one), columns(other));
        assert_eq!(one["rows"].as_array().unwrap().len(), other["rows"].as_array().unwrap().len());
    }
    for table in [csv, parquet] {
        let rows = table["rows"].as_array().unwrap();
        assert_eq!(rows.len(), entries.len());
        assert_eq!(table["kinds"]["max_invocations_per_min"], "number");
        for (row, (list, entry)) in rows.iter().zip(entries) {
            assert_eq!(row["list"], *list);
            assert_eq!(row["latency_p95_us"].as_f64(), entry["latency_us"]["p95"].as_f64());
            assert_eq!(row["max_invocations_per_min"], entry["max_invocations_per_min"]);
        }
    }
    let trials: std::collections::BTreeMap<&str, usize> = entries
        .iter()
        .filter_map(|(_, entry)| Some((entry["trial"].as_str()?, entry["steps"].as_array()?.len())))
        .collect();
    assert_eq!(steps_parquet["rows"].as_array().unwrap().len(), trials.values().sum::<usize>());
}

fn lines_of_python(script: &str, arguments: &[&str]) -> Vec<Value> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("conformance/python").join(script);
    let mut command = Command::new(python());
    let mut child = Child::start(script, command.arg(path).args(arguments));
    assert_eq!(child.exit_code(LIMIT), 0, "{}", child.stderr());
    child.stdout().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
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
    let capacity = agent(&["capacity", "--quick", "--max-duration", "10s"]);
    assert_valid(&schema("agent/schema/assay.capacity.1.schema.json"), &capacity);
    assert!(capacity["max_invocations_per_min"].as_f64().unwrap() > 600.0, "{capacity:#}");
}

#[test]
fn calibrate_prints_its_document() {
    let mut command = Command::new(binaries::assay_agent());
    command.args(["calibrate", "--quick", "--service-time", "4ms", "--max-duration", "10s"]);
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
