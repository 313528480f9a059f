//! One candidate as it stands in the report.

use assay_measure::{
    hardware::Utilization,
    ids::InstanceTypeName,
    job::Demand,
    money::PricePerHour,
    outcome::{StepResult, TrialResult},
    search::Purpose,
};

use super::{JobFacts, TrialFacts, remarks};
use crate::{
    cost::{Capacity, MilliPerMinute, cost_of},
    planner::{Candidate, Rejection},
    report::Entry,
    sizing,
};

/// Instances of the endpoint that is measured and priced.
const INSTANCE_COUNT: u32 = 1;

/// A candidate that was never tried.
pub(super) fn of_rejection(facts: &JobFacts, rejection: &Rejection) -> Entry {
    let entry = blank(facts, &rejection.instance_type);
    Entry {
        configuration: rejection.configuration.clone(),
        reason: Some(rejection.reason.clone()),
        ..entry
    }
}

/// A candidate whose trial ended without a measurement.
pub(super) fn without_figures(
    facts: &JobFacts,
    candidate: &Candidate,
    trial: &TrialFacts,
) -> Entry {
    Entry {
        trial: Some(candidate.trial.clone()),
        emulated: candidate.emulated,
        shared_trial_with: shared_with(facts, candidate),
        configuration: candidate.serving.configuration().cloned(),
        endpoint: candidate.serving.endpoint().cloned(),
        steps: trial.steps.clone(),
        mode: facts.mode_of(candidate),
        ..blank(facts, &candidate.instance_type)
    }
}

/// A measured candidate; which list it belongs to is decided elsewhere.
pub(super) fn of_measurement(
    facts: &JobFacts,
    candidate: &Candidate,
    trial: &TrialFacts,
    measurement: &TrialResult,
    demand: Option<Demand>,
) -> Entry {
    let answer = measurement.answer.as_ref();
    let capacity = capacity_of(measurement, &trial.steps);
    let price = endpoint_price(facts, &candidate.instance_type);
    let cost =
        price.zip(capacity.filter(|found| found.value.count() > 0)).map(|(p, c)| cost_of(p, c));
    // A fixed load, and a single stretch of a stepped one, say nothing about how sure their figure is.
    let interval = capacity.filter(|found| answer.is_some() && found.low < found.high);
    Entry {
        configuration: measurement.configuration.clone(),
        cost_per_inference_usd: cost.map(|cost| cost.per_inference_usd),
        cost_per_inference_ci95: cost.filter(|_| interval.is_some()).and_then(|cost| {
            let (low, high) = cost.per_inference_ci95;
            high.map(|high| [low, high])
        }),
        cost_per_million_usd: cost.map(|cost| cost.per_million_usd),
        max_invocations_per_min: capacity.map(|found| found.value.as_per_minute()),
        max_invocations_ci95: interval
            .map(|found| [found.low.as_per_minute(), found.high.as_per_minute()]),
        memory_utilization_pct: memory_share(candidate, &measurement.utilization),
        sizing: demand
            .zip(capacity)
            .and_then(|(demand, found)| sizing::size(demand, found.value, price)),
        result: Some(Box::new(measurement.clone())),
        validity: Some(remarks::validity(candidate, measurement)),
        warnings: remarks::of_candidate(facts, candidate, trial, measurement),
        ..without_figures(facts, candidate, trial)
    }
}

/// What the candidate carries: the answer of the search, or the most that a fixed load got through
/// while it held the constraints (or at all, when no part of it did).
pub(super) fn capacity_of(measurement: &TrialResult, steps: &[StepResult]) -> Option<Capacity> {
    if let Some(answer) = &measurement.answer {
        return Some(Capacity::from(answer.capacity));
    }
    let fixed = || steps.iter().filter(|step| step.purpose == Purpose::Fixed);
    let most = |steps: &mut dyn Iterator<Item = &StepResult>| {
        steps.map(|step| MilliPerMinute::from_rate(step.achieved)).max()
    };
    let value = most(&mut fixed().filter(|step| step.accepted != Some(false)))
        .or_else(|| most(&mut fixed()))?;
    Some(Capacity { value, low: value, high: value })
}

/// The price of the whole endpoint, as frozen with the job.
pub(super) fn endpoint_price(facts: &JobFacts, name: &InstanceTypeName) -> Option<PricePerHour> {
    facts.prices.get(name)?.usd_per_hour.times(INSTANCE_COUNT)
}

fn blank(facts: &JobFacts, name: &InstanceTypeName) -> Entry {
    Entry {
        price: facts.prices.get(name).cloned(),
        cost_per_hour_usd: endpoint_price(facts, name).map(PricePerHour::as_usd),
        instance_count: INSTANCE_COUNT,
        ..Entry::new(name.clone(), facts.spec.mode, facts.spec.seed)
    }
}

fn shared_with(facts: &JobFacts, candidate: &Candidate) -> Vec<InstanceTypeName> {
    let mut names: Vec<InstanceTypeName> = facts
        .plan
        .candidates_of(&candidate.trial)
        .map(|other| &other.instance_type)
        .filter(|name| **name != candidate.instance_type)
        .cloned()
        .collect();
    names.dedup();
    names
}

/// A shared trial ran under the smallest memory of its types; each is told its own share.
fn memory_share(candidate: &Candidate, utilization: &Utilization) -> Option<f64> {
    match utilization.host_memory_bytes {
        Some(used) if candidate.emulated && candidate.shape.memory_bytes.count() > 0 => {
            Some(100.0 * used.count() as f64 / candidate.shape.memory_bytes.count() as f64)
        }
        Some(_) | None => utilization.memory_pct,
    }
}
