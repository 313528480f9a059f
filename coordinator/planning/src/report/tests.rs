//! The document against its committed schema. A full validation with a schema library stands in the
//! conformance suite; here every name, type and word that the schema requires is looked up by hand.

use assay_measure::{
    hardware::LimitInForce,
    job::{Importance, JobStatus},
    search::{LimitedBy, Purpose},
    stepped_load::StopCause,
    validity::{FindingName, Verdict},
};
use serde_json::Value;

use super::*;
use crate::job_report::{Overrides, build, samples};

fn schema() -> Value {
    serde_json::from_str(include_str!("../../schema/assay.job.1.schema.json")).unwrap()
}

fn words<T: Copy>(all: &[T], word: impl Fn(T) -> &'static str) -> Vec<&'static str> {
    all.iter().map(|each| word(*each)).collect()
}

/// The part of JSON Schema that the file uses, apart from formats and patterns.
fn violations(root: &Value, schema: &Value, value: &Value, path: &str) -> Vec<String> {
    let mut found = Vec::new();
    if let Some(reference) = schema["$ref"].as_str() {
        let target = root
            .pointer(reference.trim_start_matches('#'))
            .expect("the schema refers to what it defines");
        found.extend(violations(root, target, value, path));
    }
    for name in schema["required"].as_array().into_iter().flatten() {
        if value.get(name.as_str().unwrap()).is_none() {
            found.push(format!("{path}: {name} is missing"));
        }
    }
    for (name, part) in schema["properties"].as_object().into_iter().flatten() {
        if let Some(inner) = value.get(name) {
            found.extend(violations(root, part, inner, &format!("{path}.{name}")));
        }
    }
    if let (Some(items), Some(values)) = (schema.get("items"), value.as_array()) {
        let each = values
            .iter()
            .zip(0..)
            .flat_map(|(one, i)| violations(root, items, one, &format!("{path}[{i}]")));
        found.extend(each);
    }
    for part in schema["allOf"].as_array().into_iter().flatten() {
        found.extend(violations(root, part, value, path));
    }
    if let Some(condition) = schema.get("if")
        && violations(root, condition, value, path).is_empty()
    {
        found.extend(violations(root, &schema["then"], value, path));
    }
    if let Some(choices) = schema["anyOf"].as_array()
        && choices.iter().all(|choice| !violations(root, choice, value, path).is_empty())
    {
        found.push(format!("{path}: fits none of the choices"));
    }
    found.extend(violations_of_the_value(schema, value, path));
    found
}

fn violations_of_the_value(schema: &Value, value: &Value, path: &str) -> Vec<String> {
    let fits_type = match schema["type"].as_str() {
        Some("object") => value.is_object(),
        Some("array") => value.is_array(),
        Some("string") => value.is_string(),
        Some("boolean") => value.is_boolean(),
        Some("integer") => value.is_u64(),
        Some("number") => value.is_number(),
        Some("null") => value.is_null(),
        Some(other) => panic!("the schema uses the type {other}, which this test does not know"),
        None => true,
    };
    let fits_words = schema["enum"].as_array().is_none_or(|words| words.contains(value));
    let fits_constant = schema.get("const").is_none_or(|constant| constant == value);
    let fits_minimum =
        schema["minimum"].as_f64().is_none_or(|least| value.as_f64().is_none_or(|it| it >= least));
    if fits_type && fits_words && fits_constant && fits_minimum {
        return Vec::new();
    }
    vec![format!("{path}: {value} does not fit {schema}")]
}

#[test]
fn reports_of_every_kind_have_what_the_schema_requires() {
    let schema = schema();
    for facts in samples::of_every_kind() {
        let demand = "40000/min"
            .parse()
            .ok()
            .map(|rate| assay_measure::job::Demand { rate, headroom_pct: 70 });
        for overrides in
            [Overrides::default(), Overrides { goals: "cost=highest".parse().ok(), demand }]
        {
            let report = serde_json::to_value(build(&facts, overrides)).unwrap();
            assert_eq!(violations(&schema, &schema, &report, "$"), Vec::<String>::new());
        }
    }
}

#[test]
fn what_is_missing_or_of_the_wrong_type_is_noticed() {
    let schema = schema();
    let report =
        serde_json::to_value(build(&samples::of_every_kind()[0], Overrides::default())).unwrap();
    for (pointer, broken) in [
        ("/status", Value::from("done")),
        ("/ranking/0/configuration/workers", Value::from("1")),
        ("/ranking/0/cost_per_inference_usd", Value::Null),
        ("/ranking/0/validity/verdict", Value::from("invalid")),
        ("/recommendation", Value::Null),
    ] {
        let mut changed = report.clone();
        *changed.pointer_mut(pointer).unwrap() = broken;
        assert!(
            !violations(&schema, &schema, &changed, "$").is_empty(),
            "{pointer} went unnoticed"
        );
    }
    for (owner, name) in [
        ("", "warnings"),
        ("/ranking/0", "price"),
        ("/ranking/0/latency_us", "p95"),
        ("/model", "sha256"),
    ] {
        let mut changed = report.clone();
        changed.pointer_mut(owner).unwrap().as_object_mut().unwrap().remove(name).unwrap();
        assert!(
            !violations(&schema, &schema, &changed, "$").is_empty(),
            "{owner}/{name} was not missed"
        );
    }
}

#[test]
fn the_schema_knows_exactly_the_words_of_the_vocabulary() {
    let schema = schema();
    let of_entry = |rest: &str| format!("/$defs/entry/properties/{rest}");
    for (pointer, words) in [
        ("/properties/status/enum".to_owned(), words(JobStatus::ALL, JobStatus::word)),
        (
            "/$defs/finding/properties/name/enum".to_owned(),
            words(FindingName::ALL, FindingName::word),
        ),
        ("/$defs/verdict/enum".to_owned(), words(Verdict::ALL, Verdict::word)),
        ("/$defs/importance/enum".to_owned(), words(Importance::ALL, Importance::word)),
        ("/$defs/step/properties/purpose/enum".to_owned(), words(Purpose::ALL, Purpose::word)),
        (of_entry("limited_by/enum"), words(LimitedBy::ALL, LimitedBy::word)),
        (of_entry("stopped_by/enum"), words(StopCause::ALL, StopCause::word)),
        (of_entry("mode/enum"), words(Mode::ALL, Mode::word)),
        (of_entry("limits_in_force/items/enum"), words(&LimitInForce::ALL, LimitInForce::word)),
    ] {
        assert_eq!(schema.pointer(&pointer).unwrap(), &serde_json::json!(words), "{pointer}");
    }
}

#[test]
fn a_step_without_answers_has_no_latency_and_says_whether_it_waits_for_them() {
    let facts = &samples::of_every_kind()[0];
    let mut step = facts.trials.values().next().unwrap().steps[0].clone();
    let document = |step: &StepResult| serde_json::to_value(step).unwrap();
    assert_eq!(document(&step)["mode"], "closed");
    assert_eq!(document(&step)["latency_us"]["count"], 1000);
    step.users = None;
    step.latency = None;
    assert_eq!(document(&step)["mode"], "open");
    assert_eq!(document(&step).get("latency_us"), None);
}
