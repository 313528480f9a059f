//! One candidate as it stands in the report.

use assay_measure::{
    hardware::Utilization,
    ids::InstanceTypeName,
    job::Demand,
    money::PricePerHour,
    outcome::{Measurement, StepReport},
    search::{Mode, Purpose},
    trial::Work,
    validity::{Finding, FindingName, Validity, Verdict},
};

use super::{JobFacts, TrialFacts, remarks};
use crate::{
    catalogue,
    cost::{Capacity, MilliPerMinute, cost_of},
    planner::{Candidate, Rejection},
    report::{
        Entry, FindingReport, GpuReport, HarnessReport, LatencyReport, MachineReport, PriceReport,
        StepEntry, ValidityReport,
    },
    sizing,
};

/// Instances of the endpoint that is measured and priced.
const INSTANCE_COUNT: u32 = 1;

/// A soak shorter than this cannot show the end of burst credits, and a search never can.
const SHOWS_BURST_CREDITS_S: f64 = 600.0;

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
        trial: Some(candidate.trial.to_string()),
        emulated: candidate.emulated,
        shared_trial_with: shared_with(facts, candidate),
        configuration: candidate.serving.configuration().cloned(),
        endpoint: candidate.serving.endpoint().map(ToString::to_string),
        steps: trial.steps.iter().map(StepEntry::from).collect(),
        mode: mode_of(facts, candidate),
        ..blank(facts, &candidate.instance_type)
    }
}

/// How thoroughly the trial searches that a candidate's figures come from.
pub(super) fn mode_of(facts: &JobFacts, candidate: &Candidate) -> Mode {
    match facts.plan.trial(&candidate.trial).map(|trial| &trial.spec.work) {
        Some(Work::Search(search)) => search.mode,
        Some(Work::Fixed(_) | Work::Stepped(_)) | None => facts.spec.mode,
    }
}

/// A measured candidate; which list it belongs to is decided elsewhere.
pub(super) fn of_measurement(
    facts: &JobFacts,
    candidate: &Candidate,
    trial: &TrialFacts,
    measurement: &Measurement,
    demand: Option<Demand>,
) -> Entry {
    let answer = measurement.answer.as_ref();
    let capacity = capacity_of(measurement, &trial.steps);
    let price = endpoint_price(facts, &candidate.instance_type);
    let cost =
        price.zip(capacity.filter(|found| found.value.count() > 0)).map(|(p, c)| cost_of(p, c));
    // A fixed load, and a single stretch of a stepped one, say nothing about how sure their figure is.
    let interval = capacity.filter(|found| answer.is_some() && found.low < found.high);
    let utilization = &measurement.utilization;
    Entry {
        host: Some(measurement.host.clone()),
        limits_in_force: measurement.limits_in_force.clone(),
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
        plateau_invocations_per_min: answer
            .map(|answer| MilliPerMinute::from_rate(answer.plateau.value).as_per_minute()),
        limited_by: answer.map(|answer| answer.limited_by),
        stopped_by: measurement.stopped_by,
        latency_us: LatencyReport::of(&measurement.latency),
        cpu_utilization_pct: finite(utilization.cpu_pct),
        memory_utilization_pct: memory_share(candidate, utilization),
        machine: MachineReport::of(utilization),
        gpu: gpus(measurement),
        energy_j_per_inference: finite(measurement.energy_j_per_inference),
        output_deviation: measurement.output_deviation,
        sizing: demand
            .zip(capacity)
            .and_then(|(demand, found)| sizing::size(demand, found.value, price)),
        harness: finite(Some(measurement.harness.cpu_share_pct))
            .map(|cpu_share_pct| HarnessReport { cpu_share_pct }),
        validity: Some(validity(candidate, measurement)),
        warnings: remarks::of_candidate(facts, candidate, trial, measurement),
        ..without_figures(facts, candidate, trial)
    }
}

/// What the candidate carries: the answer of the search, or the most that a fixed load got through
/// while it held the constraints (or at all, when no part of it did).
pub(super) fn capacity_of(measurement: &Measurement, steps: &[StepReport]) -> Option<Capacity> {
    if let Some(answer) = &measurement.answer {
        return Some(Capacity::from(answer.capacity));
    }
    let fixed = || steps.iter().filter(|step| step.purpose == Purpose::Fixed);
    let most = |steps: &mut dyn Iterator<Item = &StepReport>| {
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
        rank: None,
        score: None,
        score_ci95: None,
        tied_with: Vec::new(),
        instance_type: name.to_string(),
        trial: None,
        emulated: false,
        shared_trial_with: Vec::new(),
        host: None,
        limits_in_force: Vec::new(),
        instance_count: INSTANCE_COUNT,
        configuration: None,
        endpoint: None,
        price: facts.prices.get(name).map(PriceReport::from),
        cost_per_hour_usd: endpoint_price(facts, name).map(PricePerHour::as_usd),
        cost_per_inference_usd: None,
        cost_per_inference_ci95: None,
        cost_per_million_usd: None,
        max_invocations_per_min: None,
        max_invocations_ci95: None,
        plateau_invocations_per_min: None,
        limited_by: None,
        stopped_by: None,
        latency_us: None,
        cpu_utilization_pct: None,
        memory_utilization_pct: None,
        machine: None,
        gpu: Vec::new(),
        energy_j_per_inference: None,
        output_deviation: None,
        sizing: None,
        mode: facts.spec.mode,
        seed: facts.spec.seed,
        meets: false,
        reason: None,
        detail: None,
        failure_kind: None,
        steps: Vec::new(),
        harness: None,
        validity: None,
        warnings: Vec::new(),
    }
}

fn shared_with(facts: &JobFacts, candidate: &Candidate) -> Vec<String> {
    let mut names: Vec<String> = facts
        .plan
        .candidates_of(&candidate.trial)
        .map(|other| &other.instance_type)
        .filter(|name| **name != candidate.instance_type)
        .map(InstanceTypeName::to_string)
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
        Some(_) | None => finite(utilization.memory_pct),
    }
}

fn gpus(measurement: &Measurement) -> Vec<GpuReport> {
    let report = |busy: &assay_measure::hardware::GpuUtilization| {
        let facts = measurement.host.gpus.iter().find(|gpu| gpu.index == busy.index);
        let memory = facts.map(|gpu| gpu.memory_bytes.count()).filter(|bytes| *bytes > 0);
        let used = busy.memory_used_bytes.map(assay_measure::units::Bytes::count);
        GpuReport {
            index: busy.index,
            name: facts.map(|gpu| gpu.name.clone()),
            utilization_pct: finite(busy.utilization_pct),
            memory_utilization_pct: used
                .zip(memory)
                .map(|(used, all)| 100.0 * used as f64 / all as f64),
            memory_used_bytes: used,
            power_w: finite(busy.power_w),
            temperature_c: finite(busy.temperature_c),
            sm_clock_mhz: finite(busy.sm_clock_mhz),
            energy_j: finite(busy.energy_j),
            throttle_reasons: busy.throttle_reasons.clone(),
            other_processes: busy.other_processes,
            mig: busy.mig,
        }
    };
    measurement.utilization.gpus.iter().map(report).collect()
}

fn validity(candidate: &Candidate, measurement: &Measurement) -> ValidityReport {
    let mut findings: Vec<FindingReport> =
        measurement.validity.findings.iter().map(finding).collect();
    let known = findings.iter().any(|found| found.name == FindingName::BurstCredits);
    let took_s = measurement.took.as_secs_f64();
    if catalogue::is_burstable(&candidate.instance_type) && !known && took_s < SHOWS_BURST_CREDITS_S
    {
        findings.push(FindingReport {
            name: FindingName::BurstCredits,
            value: took_s,
            threshold: SHOWS_BURST_CREDITS_S,
            severity: Verdict::Valid,
        });
    }
    ValidityReport { verdict: measurement.validity.verdict, findings }
}

/// The verdict on an outcome without figures.
pub(super) fn plain_validity(validity: &Validity) -> ValidityReport {
    ValidityReport {
        verdict: validity.verdict,
        findings: validity.findings.iter().map(finding).collect(),
    }
}

fn finding(found: &Finding) -> FindingReport {
    // JSON has no NaN and no infinity, and the schema wants a number.
    let number = |value: f64| if value.is_nan() { 0.0 } else { value.clamp(f64::MIN, f64::MAX) };
    FindingReport {
        name: found.name,
        value: number(found.value),
        threshold: number(found.threshold),
        severity: found.severity,
    }
}

fn finite(value: Option<f64>) -> Option<f64> {
    value.filter(|value| value.is_finite())
}
