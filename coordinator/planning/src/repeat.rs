//! A job as text that asks for the same again: a command line, and a job file for `assay jobs create -f`.

use std::time::Duration;

use assay_measure::{
    job::{CandidateType, JobSpec, ResourceLimits},
    search::Mode,
    units::Bytes,
};
use thiserror::Error;

use crate::quote;

/// Flags cannot say what the job asks for.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("the flags of `assay recommend` cannot say {what}")]
pub struct NoFlag {
    what: &'static str,
}

/// What stands behind a flag, or a key of a job file.
#[derive(Clone, Debug, PartialEq)]
enum Value {
    Yes,
    Number(u64),
    Text(String),
    /// The flag is repeated, the key has a list.
    Each(Vec<String>),
    /// The flag has commas between, the key has a list.
    List(Vec<String>),
}

/// `assay recommend …`. Files have the names that they were uploaded under.
///
/// # Errors
/// [`NoFlag`] for what only the API can ask for.
pub fn command_line(spec: &JobSpec) -> Result<String, NoFlag> {
    let mut words = vec!["assay recommend".to_owned()];
    words.extend(spec.model().map(|model| quote::shell(&model.name)));
    for (flag, value) in flags(spec)? {
        let with = |text: &str| format!("--{flag} {}", quote::shell(text));
        match value {
            Value::Yes => words.push(format!("--{flag}")),
            Value::Number(number) => words.push(with(&number.to_string())),
            Value::Text(text) => words.push(with(&text)),
            Value::Each(texts) => words.extend(texts.iter().map(|text| with(text))),
            Value::List(texts) => words.push(with(&texts.join(","))),
        }
    }
    Ok(words.join(" \\\n    "))
}

/// A job file, as TOML.
///
/// # Errors
/// [`NoFlag`] for what only the API can ask for.
pub fn job_file(spec: &JobSpec) -> Result<String, NoFlag> {
    let string = |text: &str| toml::Value::String(text.to_owned()).to_string();
    let mut text = String::new();
    let model = spec.model().map(|model| ("model", Value::Text(model.name.clone())));
    for (key, value) in model.into_iter().chain(flags(spec)?) {
        let value = match value {
            Value::Yes => "true".to_owned(),
            Value::Number(number) => number.to_string(),
            Value::Text(text) => string(&text),
            Value::Each(texts) | Value::List(texts) => {
                let texts: Vec<String> = texts.iter().map(|text| string(text)).collect();
                format!("[{}]", texts.join(", "))
            }
        };
        text.push_str(&format!("{key} = {value}\n"));
    }
    Ok(text)
}

/// What differs from the defaults, in the order of the help.
fn flags(spec: &JobSpec) -> Result<Vec<(&'static str, Value)>, NoFlag> {
    refuse_what_has_no_flag(spec)?;
    let text =
        |name: &'static str, text: Option<String>| text.map(|text| (name, Value::Text(text)));
    let inputs: Vec<String> = spec.inputs.iter().map(ToString::to_string).collect();
    let is_made_up = !inputs.is_empty() && spec.payload.artifact.name.starts_with("sample.np");
    let payload = (!is_made_up).then_some(&spec.payload);
    let types: Vec<String> = spec.instance_types.iter().map(candidate).collect();
    let constraints: Vec<String> = spec.constraints.iter().map(ToString::to_string).collect();
    let list = |name, texts: Vec<String>| (!texts.is_empty()).then_some((name, Value::List(texts)));
    let each = |name, texts: Vec<String>| (!texts.is_empty()).then_some((name, Value::Each(texts)));
    let goals = spec.goals.map(|goals| {
        format!("cost={},latency={},throughput={}", goals.cost, goals.latency, goals.throughput)
    });
    let price = spec.price_overrides.first().map(|(_, price)| price.as_usd().to_string());
    let demand = spec.demand;
    let all = [
        text("endpoint", spec.endpoint().map(ToString::to_string)),
        each("input", inputs),
        text("payload", payload.map(|payload| payload.artifact.name.clone())),
        text("content-type", payload.map(|payload| payload.content_type.clone())),
        list("instance-types", types),
        each("sweep", sweep(spec)),
        each("slo", constraints),
        text("goal", goals),
        (spec.mode == Mode::Quick).then_some(("quick", Value::Yes)),
        (spec.seed != 1).then_some(("seed", Value::Number(spec.seed))),
        text("soak", spec.soak.map(seconds)),
        text("region", (spec.region != crate::prices::DEFAULT_REGION).then(|| spec.region.clone())),
        text("demand", demand.map(|demand| demand.rate.to_string())),
        text("headroom", demand.map(|demand| format!("{}%", demand.headroom_pct))),
        (spec.max_duration != USUAL_LIMIT)
            .then(|| ("max-duration", Value::Text(seconds(spec.max_duration)))),
        text("ready-timeout", spec.ready_timeout.map(seconds)),
        text("price-per-hour", price),
    ];
    Ok(all.into_iter().flatten().collect())
}

/// How long a job may take that does not say.
const USUAL_LIMIT: Duration = Duration::from_secs(30 * 60);

fn refuse_what_has_no_flag(spec: &JobSpec) -> Result<(), NoFlag> {
    let prices = &spec.price_overrides;
    let varied = |one: &CandidateType| !one.environment.is_empty() || one.specification.is_some();
    let refused = [
        (spec.load.is_some(), "the fixed load that was offered"),
        (spec.limits != ResourceLimits::default(), "how many trials there may be"),
        (!spec.environment.variables().is_empty(), "the environment of the model host"),
        (spec.instance_types.iter().any(varied), "which environments are tried"),
        (spec.sweep.defaults_only, "that no configuration is looked for"),
        (prices.iter().any(|(_, price)| *price != prices[0].1), "a price for each instance type"),
        (!spec.emulate, "that nothing is emulated"),
    ];
    match refused.into_iter().find(|(is_so, _)| *is_so) {
        Some((_, what)) => Err(NoFlag { what }),
        None => Ok(()),
    }
}

/// `NAME` or `NAME=VCPUSxMEMORY[@USD_PER_HOUR]`.
fn candidate(one: &CandidateType) -> String {
    let Some(shape) = one.shape else { return one.name.to_string() };
    let bytes = shape.memory_bytes.count();
    let mib = Bytes::mib(1).count();
    let memory =
        if bytes.is_multiple_of(mib) { format!("{}MiB", bytes / mib) } else { bytes.to_string() };
    let price = one.price.map(|price| format!("@{}", price.as_usd())).unwrap_or_default();
    format!("{}={}x{memory}{price}", one.name, shape.vcpus)
}

fn sweep(spec: &JobSpec) -> Vec<String> {
    fn listed<T: ToString>(name: &str, values: &[T]) -> Option<String> {
        let values: Vec<String> = values.iter().map(ToString::to_string).collect();
        (!values.is_empty()).then(|| format!("{name}={}", values.join(",")))
    }
    let sweep = &spec.sweep;
    [
        listed("workers", &sweep.workers),
        listed("intra-op", &sweep.intra_op_threads),
        listed("max-batch", &sweep.max_batch),
        listed("max-batch-delay-us", &sweep.max_batch_delay_us),
        listed("device", &sweep.device),
        listed("dtype", &sweep.dtype),
        listed("graph", &sweep.graph),
        listed("allocator", &sweep.allocator),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn seconds(duration: Duration) -> String {
    format!("{}s", duration.as_secs_f64())
}
