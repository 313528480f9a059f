use serde_json::{Value, json};

use super::*;

fn configuration(workers: u32) -> Value {
    json!({
        "workers": workers, "intra_op_threads": 1, "max_batch": 1, "max_batch_delay_us": 0, "device": "cpu",
        "dtype": "float32", "graph": "plain", "allocator": "tuned", "environment": {},
    })
}

/// A candidate that carries so many per minute, ± 2 %, with a p95 around so many microseconds.
fn candidate(workers: u32, per_min: f64, p95_us: f64) -> Value {
    let cost = 0.102 / (60.0 * per_min);
    let around = |value: f64| [value * 0.98, value * 1.02];
    let latency = |p95: f64| json!({"p50": p95 / 2.0, "p95": p95, "p99": p95 * 1.5});
    let steps: Vec<Value> = [0.99, 1.0, 1.01, 1.0]
        .iter()
        .map(|part| json!({"purpose": "main", "latency_us": latency(p95_us * part)}))
        .collect();
    json!({
        "instance_type": "ml.c5.large", "configuration": configuration(workers), "mode": "full",
        "price": {"usd_per_hour": 0.102}, "host": {"cpu_model": "AMD EPYC", "vcpus": 2},
        "cost_per_inference_usd": cost, "cost_per_inference_ci95": around(cost),
        "max_invocations_per_min": per_min, "max_invocations_ci95": around(per_min),
        "latency_us": latency(p95_us), "steps": steps,
    })
}

fn job(ranking: Vec<Value>) -> Value {
    json!({
        "schema": "assay.job/1", "name": "a", "constraints": ["p95<=50ms"], "ranking": ranking,
        "model": {"name": "m.pt", "sha256": "0123456789abcdef"}, "rejected": [], "failed": [],
    })
}

fn read(document: &Value) -> ComparedJob {
    ComparedJob::read(&document.to_string()).unwrap()
}

fn against(new: Value, gates: &[&str]) -> Comparison {
    let gates: Vec<Gate> = gates.iter().map(|gate| gate.parse().unwrap()).collect();
    let base = job(vec![candidate(1, 2000.0, 40_000.0)]);
    compare(&read(&base), &read(&job(vec![new])), &gates, &[]).unwrap()
}

fn verdict_of(comparison: &Comparison, metric: Metric) -> Verdict {
    let changes = &comparison.candidates[0].changes;
    changes.iter().find(|change| change.metric == metric).unwrap().verdict
}

#[test]
fn the_whole_interval_decides() {
    for (per_min, throughput, cost) in [
        (2000.0, Verdict::Unchanged, Verdict::Unchanged),
        (2030.0, Verdict::Unchanged, Verdict::Unchanged),
        (1940.0, Verdict::Inconclusive, Verdict::Inconclusive),
        (1800.0, Verdict::Regressed, Verdict::Regressed),
        (2200.0, Verdict::Improved, Verdict::Improved),
    ] {
        let comparison = against(candidate(1, per_min, 40_000.0), &[]);
        assert_eq!(verdict_of(&comparison, Metric::Throughput), throughput, "{per_min}");
        assert_eq!(verdict_of(&comparison, Metric::Cost), cost, "{per_min}");
        assert!(comparison.failed_gates.is_empty());
    }
}

#[test]
fn the_interval_of_a_change_is_that_of_both_figures_together() {
    let comparison = against(candidate(1, 2000.0, 40_000.0), &[]);
    let change = &comparison.candidates[0].changes[1];
    let [low, high] = change.change_ci95_pct.unwrap();
    let half_width = (1.02f64 / 0.98).ln() / 2.0 * 2.0f64.sqrt();
    assert!((low - ((-half_width).exp() - 1.0) * 100.0).abs() < 1e-9, "{change:?}");
    assert!((high - (half_width.exp() - 1.0) * 100.0).abs() < 1e-9, "{change:?}");
}

#[test]
fn a_latency_is_as_sure_as_the_steps_of_its_run_agree() {
    let slower = against(candidate(1, 2000.0, 46_000.0), &["p95>+5%"]);
    assert_eq!(verdict_of(&slower, Metric::P95), Verdict::Regressed);
    assert_eq!(slower.failed_gates.len(), 1);
    assert_eq!(slower.failed_gates[0].reason, "+15.0 %");
    let mut of_one_step = candidate(1, 2000.0, 46_000.0);
    of_one_step["steps"].as_array_mut().unwrap().truncate(1);
    let unsure = against(of_one_step, &["p95>+5%"]);
    assert_eq!(verdict_of(&unsure, Metric::P95), Verdict::Inconclusive);
    assert!(unsure.failed_gates.is_empty());
}

#[test]
fn a_gate_fails_for_certain_or_not_at_all() {
    let worse = candidate(1, 1800.0, 40_000.0);
    let gates = |gates: &[&str]| against(worse.clone(), gates).failed_gates.len();
    assert_eq!(gates(&["cost>+5%"]), 1);
    assert_eq!(gates(&["throughput<-5%", "cost>+5%"]), 2);
    assert_eq!(gates(&["cost>+10%"]), 0, "its interval crosses the gate");
    assert_eq!(gates(&["cost>+20%"]), 0);
    assert_eq!(gates(&["cost>+5%", "cost>+20%"]), 1, "each holds by its own limit");
}

#[test]
fn a_candidate_that_has_no_figures_any_more_fails_every_gate_and_says_why() {
    let base = job(vec![candidate(1, 2000.0, 40_000.0), candidate(2, 2100.0, 40_000.0)]);
    let mut new = job(vec![candidate(1, 2000.0, 40_000.0)]);
    new["failed"] = json!([{
        "instance_type": "ml.c5.large", "configuration": configuration(2), "mode": "full",
        "reason": "the model host was killed", "steps": [],
    }]);
    let gates = ["cost>+5%".parse().unwrap()];
    let comparison = compare(&read(&base), &read(&new), &gates, &[]).unwrap();
    assert_eq!(comparison.only_in_base.len(), 1);
    assert_eq!(comparison.failed_gates[0].reason, "the model host was killed");
    // One that nobody asked for again is no failure.
    new["failed"] = json!([]);
    let comparison = compare(&read(&base), &read(&new), &gates, &[]).unwrap();
    assert_eq!(comparison.only_in_base[0].reason, None);
    assert!(comparison.failed_gates.is_empty());
}

#[test]
fn unlike_jobs_are_refused_with_the_field_unless_it_is_allowed_by_name() {
    let base = job(vec![candidate(1, 2000.0, 40_000.0)]);
    let mut other_machine = job(vec![candidate(1, 2000.0, 40_000.0)]);
    other_machine["ranking"][0]["host"]["cpu_model"] = json!("Intel Xeon");
    let mut other_limit = job(vec![candidate(1, 2000.0, 40_000.0)]);
    other_limit["constraints"] = json!(["p95<=60ms"]);
    let mut quick = job(vec![candidate(1, 2000.0, 40_000.0)]);
    quick["ranking"][0]["mode"] = json!("quick");
    let mut fixed = job(vec![candidate(1, 2000.0, 40_000.0)]);
    fixed["ranking"][0]["steps"][0]["purpose"] = json!("fixed");
    for (new, field) in
        [(other_machine, "machine"), (other_limit, "constraints"), (quick, "mode"), (fixed, "load")]
    {
        let refused = compare(&read(&base), &read(&new), &[], &[]).unwrap_err();
        assert!(matches!(&refused, Unlike::Field(one) if one.field == field), "{refused}");
        let comparison = compare(&read(&base), &read(&new), &[], &[field.to_owned()]).unwrap();
        assert_eq!(comparison.differences[0].field, field);
    }
    // Another model and another price are what one compares.
    let mut changed = job(vec![candidate(1, 2000.0, 40_000.0)]);
    changed["model"]["sha256"] = json!("fedcba9876543210");
    changed["ranking"][0]["price"]["usd_per_hour"] = json!(0.09);
    let comparison = compare(&read(&base), &read(&changed), &[], &[]).unwrap();
    let fields: Vec<_> = comparison.differences.iter().map(|one| one.field).collect();
    assert_eq!(fields, ["model", "price"]);
}

#[test]
fn jobs_without_a_common_candidate_are_refused() {
    let base = read(&job(vec![candidate(1, 2000.0, 40_000.0)]));
    let new = read(&job(vec![candidate(2, 2000.0, 40_000.0)]));
    assert_eq!(compare(&base, &new, &[], &[]), Err(Unlike::NothingInCommon));
}

#[test]
fn gates_are_understood_or_refused_with_what_was_written() {
    for text in ["cost>+5%", "throughput<-2.5%", "p99>+100%"] {
        assert_eq!(text.parse::<Gate>().unwrap().to_string(), text);
    }
    for wrong in [
        "",
        "cost",
        "cost>5%",
        "cost<-5%",
        "throughput>+5%",
        "throughput<-100%",
        "p42>+5%",
        "cost>+0%",
        "cost>+-5%",
        "cost>+NaN%",
        "cost>+5",
        "cost>>+5%",
        "cost>+inf%",
    ] {
        let error = wrong.parse::<Gate>().unwrap_err();
        assert!(error.to_string().contains(&format!("{wrong:?}")), "{error}");
    }
}

#[test]
fn what_is_no_job_is_told_as_what_it_is() {
    assert!(matches!(ComparedJob::read("{"), Err(NotAJob::Unreadable(_))));
    let load = ComparedJob::read(r#"{"schema": "assay.load/1"}"#).unwrap_err();
    assert!(load.to_string().contains("assay.load/1"), "{load}");
    assert!(matches!(ComparedJob::read("[]"), Err(NotAJob::Unreadable(_))));
}
