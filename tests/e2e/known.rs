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
