//! What becomes of figures that are known: the order, the costs and the words of a recommendation.
//!
//! Nothing is measured here, so nothing hangs on what else the machine does.

use assay_tests::{child::Child, known_agent::KnownAgent};
use serde_json::{Value, json};

use crate::workbench::{MLP_INPUT, Run, Workbench, run};

/// `assay recommend` on a coordinator whose one agent reports what is known.
struct Known {
    bench: Workbench,
    url: String,
    _server: Child,
    _agent: KnownAgent,
}

impl Known {
    fn new() -> Self {
        let bench = Workbench::new();
        let (server, url) = bench.serve();
        let agent = KnownAgent::attach(&url);
        bench.wait_for_agents(&url, 1);
        Self { bench, url, _server: server, _agent: agent }
    }

    fn recommend(&self, arguments: &[&str]) -> Run {
        let model = self.bench.model("mlp");
        let mut command = self.bench.recommend(&model);
        run(command.args(["--server", &self.url, "--input", MLP_INPUT]).args(arguments))
    }
}

/// Those members of every entry of the ranking, in its order.
fn ranking(report: &Value, members: &[&str]) -> Vec<Vec<Value>> {
    let entries = report["ranking"].as_array().unwrap();
    let of = |entry: &Value| members.iter().map(|member| entry[member].clone()).collect();
    entries.iter().map(of).collect()
}

/// 40 requests per second and vCPU: one at 0.05 an hour costs more than two at 0.09.
#[test]
fn known_figures_are_ranked_by_cost_and_shown_to_the_digit() {
    let known = Known::new();
    let types = ["--instance-types", "own.small=1x2GiB@0.05,own.large=2x4GiB@0.09"];
    let named = ["--name", "known", "--slo", "p95<=50ms"];
    let json = known.recommend(&[&types[..], &named, &["-o", "json"]].concat());
    assert_eq!(json.code, 0, "{}\n{}", json.stdout, json.stderr);
    let report = json.json();
    let members = ["rank", "instance_type", "max_invocations_per_min", "cost_per_inference_usd"];
    let cost = |per_hour: f64, per_minute: f64| per_hour / (60.0 * per_minute);
    let expected = [
        vec![json!(1), json!("own.large"), json!(4800.0), json!(cost(0.09, 4800.0))],
        vec![json!(2), json!("own.small"), json!(2400.0), json!(cost(0.05, 2400.0))],
    ];
    assert_eq!(ranking(&report, &members), expected, "{report:#}");
    assert_eq!(report["recommendation"]["instance_type"], "own.large", "{report:#}");
    for entry in report["ranking"].as_array().unwrap() {
        assert_eq!(entry["latency_us"]["p95"], 27_000);
        assert_eq!(entry["validity"]["verdict"], "valid");
        assert_eq!(entry["steps"].as_array().unwrap().len(), 3);
    }
    assert_eq!(report["rejected"], json!([]), "{report:#}");
    assert_eq!(report["failed"], json!([]), "{report:#}");

    let described =
        run(known.bench.assay().args(["--server", &known.url, "jobs", "describe"]).arg("known"));
    assert_eq!(described.code, 0, "{}", described.stderr);
    let table = &described.stdout;
    let head = table.lines().next().unwrap();
    assert!(head.contains("Job  known  completed  mlp.pt  2 of 2 trials ended"), "{head}");
    let line = |part: &str| {
        let at = table.lines().position(|line| line.contains(part));
        at.unwrap_or_else(|| panic!("no {part:?} in\n{table}"))
    };
    assert!(line("own.large*") < line("own.small*"), "{table}");
    for part in ["4 800 ± 120", "2 400 ± 60", "MAX INV/MIN", "Recommendation  own.large", "27.0 ms"]
    {
        line(part);
    }
}

#[test]
fn without_any_price_the_ranking_is_by_throughput_and_says_so() {
    let known = Known::new();
    let types = ["--instance-types", "own.small=1x2GiB,own.large=2x4GiB"];
    let json = known.recommend(&[&types[..], &["-o", "json"]].concat());
    assert_eq!(json.code, 0, "{}\n{}", json.stdout, json.stderr);
    let report = json.json();
    let members = ["rank", "instance_type", "cost_per_inference_usd"];
    let expected = [
        vec![json!(1), json!("own.large"), Value::Null],
        vec![json!(2), json!("own.small"), Value::Null],
    ];
    assert_eq!(ranking(&report, &members), expected, "{report:#}");
    assert!(report["warnings"].to_string().contains("no price"), "{:#}", report["warnings"]);
}

#[test]
fn a_constraint_that_nothing_meets_ends_with_its_own_exit_code() {
    let known = Known::new();
    let types = ["--instance-types", "own.small=1x2GiB@0.05"];
    let run = known.recommend(&[&types[..], &["--slo", "p99<=1us", "-o", "json"]].concat());
    assert_eq!(run.code, 6, "{}\n{}", run.stdout, run.stderr);
    let report = run.json();
    assert_eq!(report["recommendation"], Value::Null);
    let [rejected] = &report["rejected"].as_array().unwrap()[..] else { panic!("{report:#}") };
    assert!(rejected["reason"].as_str().unwrap().contains("p99"), "{report:#}");
}

#[test]
fn two_jobs_are_compared_by_name_or_as_files_and_a_gate_that_fails_has_its_exit_code() {
    let known = Known::new();
    let types = ["--instance-types", "own.small=1x2GiB@0.05"];
    for name in ["first", "second"] {
        let job = known.recommend(&[&types[..], &["--name", name, "-o", "json"]].concat());
        assert_eq!(job.code, 0, "{}", job.stderr);
    }
    let assay = |arguments: &[&str]| {
        run(known.bench.assay().args(["--server", &known.url]).args(arguments))
    };
    let same = assay(&["compare", "first", "second", "-o", "json", "--fail-on", "cost>+5%"]);
    assert_eq!(same.code, 0, "{}", same.stderr);
    let same = same.json();
    let schema = include_str!("../../coordinator/planning/schema/assay.compare.1.schema.json");
    let schema = jsonschema::validator_for(&serde_json::from_str(schema).unwrap()).unwrap();
    schema.validate(&same).unwrap();
    assert_eq!(same["differences"], json!([]), "{same:#}");
    for change in same["candidates"][0]["changes"].as_array().unwrap() {
        assert_eq!(change["change_pct"], 0.0, "{change:#}");
        assert_ne!(change["verdict"], "regressed", "{change:#}");
    }

    let exported = assay(&["export", "first", "--format", "json"]);
    let mut dearer: Value = serde_json::from_str(&exported.stdout).unwrap();
    let entry = &mut dearer["ranking"][0];
    let tenth_more = |value: &Value| json!(value.as_f64().unwrap() * 1.1);
    entry["cost_per_inference_usd"] = tenth_more(&entry["cost_per_inference_usd"]);
    for end in 0..2 {
        entry["cost_per_inference_ci95"][end] = tenth_more(&entry["cost_per_inference_ci95"][end]);
    }
    known.bench.file("dearer.json", dearer.to_string().as_bytes());
    let gate = ["--fail-on", "cost>+5%", "--junit", "junit.xml"];
    let worse = assay(&[&["compare", "first", "dearer.json"], &gate[..]].concat());
    assert_eq!(worse.code, 99, "{}\n{}", worse.stdout, worse.stderr);
    for part in ["+10.0 %", "regressed", "gate cost>+5% failed"] {
        assert!(worse.stdout.contains(part), "{part}: {}", worse.stdout);
    }
    assert_eq!(assay(&["compare", "first", "dearer.json", "--fail-on", "cost>+20%"]).code, 0);
    let junit = std::fs::read_to_string(known.bench.path().join("junit.xml")).unwrap();
    assert_eq!(junit.matches("<failure").count(), 1, "{junit}");
    // What a gate asks for and one of the jobs lacks has failed, there as well.
    dearer["ranking"][0]["latency_us"] = Value::Null;
    known.bench.file("dearer.json", dearer.to_string().as_bytes());
    let gate = ["--fail-on", "p95>+5%", "--junit", "junit.xml"];
    assert_eq!(assay(&[&["compare", "first", "dearer.json"], &gate[..]].concat()).code, 99);
    let junit = std::fs::read_to_string(known.bench.path().join("junit.xml")).unwrap();
    let failed = junit.split("<testcase").find(|case| case.contains("<failure")).unwrap();
    assert!(failed.contains(r#"name="p95""#), "{junit}");
    assert!(failed.contains("one of the jobs has no p95"), "{junit}");
    let nobody = assay(&["compare", "first", "third"]);
    assert_eq!(nobody.code, 7, "{}", nobody.stderr);
}
