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
fn a_change_counts_beyond_the_gate_where_chance_does_not_explain_half_of_it() {
    for (per_min, throughput, cost) in [
        (2000.0, Verdict::Unchanged, Verdict::Unchanged),
        (2030.0, Verdict::Unchanged, Verdict::Unchanged),
        (1940.0, Verdict::Inconclusive, Verdict::Inconclusive),
        // By 4.5 and 4.7 %: certain, and not as much as the gate.
        (1910.0, Verdict::Inconclusive, Verdict::Inconclusive),
        // By 6 and 6.4 %: beyond the gate, and for certain beyond half of it.
        (1880.0, Verdict::Regressed, Verdict::Regressed),
        (1800.0, Verdict::Regressed, Verdict::Regressed),
        (2130.0, Verdict::Improved, Verdict::Improved),
        (2200.0, Verdict::Improved, Verdict::Improved),
    ] {
        let comparison = against(candidate(1, per_min, 40_000.0), &[]);
        assert_eq!(verdict_of(&comparison, Metric::Throughput), throughput, "{per_min}");
        assert_eq!(verdict_of(&comparison, Metric::Cost), cost, "{per_min}");
        assert!(comparison.failed_gates.is_empty());
    }
}

#[test]
fn the_same_change_counts_only_where_the_figures_are_sure_enough() {
    for (share, verdict) in [
        (0.001, Verdict::Regressed),
        (0.03, Verdict::Regressed),
        (0.05, Verdict::Inconclusive),
        (0.20, Verdict::Inconclusive),
    ] {
        let mut base = candidate(1, 2000.0, 40_000.0);
        let mut new = candidate(1, 1820.0, 40_000.0);
        for one in [&mut base, &mut new] {
            let per_min = one["max_invocations_per_min"].as_f64().unwrap();
            one["max_invocations_ci95"] = json!([per_min * (1.0 - share), per_min * (1.0 + share)]);
        }
        let comparison =
            compare(&read(&job(vec![base])), &read(&job(vec![new])), &[], &[]).unwrap();
        assert_eq!(verdict_of(&comparison, Metric::Throughput), verdict, "± {share}");
    }
    // However sure it is, what is less than the gate is no regression.
    let mut sure = candidate(1, 1910.0, 40_000.0);
    sure["max_invocations_ci95"] = json!([1909.9, 1910.1]);
    let mut base = candidate(1, 2000.0, 40_000.0);
    base["max_invocations_ci95"] = json!([1999.9, 2000.1]);
    let comparison = compare(&read(&job(vec![base])), &read(&job(vec![sure])), &[], &[]).unwrap();
    assert_eq!(verdict_of(&comparison, Metric::Throughput), Verdict::Unchanged);
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

/// The half-width of a p95, on the logarithm.
fn doubt_of_p95(candidate: Value) -> Option<f64> {
    let job = read(&job(vec![candidate]));
    Figure::of(job.measured().next()?, Metric::P95)?.half_width
}

#[test]
fn the_latency_of_a_search_is_as_sure_as_its_load_and_as_the_steps_at_that_load_are_many() {
    let plain = doubt_of_p95(candidate(1, 2000.0, 40_000.0)).unwrap();
    let steered = |offered: [f64; 4], plateau: f64| {
        let mut one = candidate(1, 2000.0, 40_000.0);
        one["plateau_invocations_per_min"] = json!(plateau);
        for (step, offered) in one["steps"].as_array_mut().unwrap().iter_mut().zip(offered) {
            step["offered_per_min"] = json!(offered);
        }
        doubt_of_p95(one)
    };
    // ± 2 % of the load at half of the plateau is 2 % of the wait, and 18 % at nine tenths.
    let of_load = (1.02f64 / 0.98).ln() / 2.0;
    for (plateau, factor) in [(4000.0, 1.0), (2000.0 / 0.9, 9.0)] {
        let doubt = steered([2000.0; 4], plateau).unwrap();
        assert!((doubt - plain.hypot(of_load * factor)).abs() < 1e-9, "{doubt} at {plateau}");
    }
    let half_elsewhere = steered([2000.0, 2030.0, 1500.0, 2500.0], 4000.0).unwrap();
    assert!(half_elsewhere > 2.0 * plain, "{half_elsewhere}");
    assert_eq!(steered([2000.0, 1500.0, 2500.0, 2200.0], 4000.0), None);
}

#[test]
fn a_gate_fails_beyond_it_where_chance_does_not_explain_half_of_it() {
    let worse = candidate(1, 1800.0, 40_000.0);
    let gates = |gates: &[&str]| against(worse.clone(), gates).failed_gates.len();
    assert_eq!(gates(&["cost>+5%"]), 1);
    assert_eq!(gates(&["throughput<-5%", "cost>+5%"]), 2);
    assert_eq!(gates(&["cost>+10%"]), 1, "11 %, and 8 % for certain");
    assert_eq!(gates(&["cost>+12%"]), 0, "its interval crosses the gate, the figure does not");
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
