//! What people should know before they act on a report, in sentences.

use assay_measure::{
    configuration::{Configuration, Precision},
    environment, figures,
    hardware::LimitInForce,
    ids::EndpointName,
    job::JobStatus,
    outcome::TrialResult,
    search::{Confirmation, Mode},
    stepped_load::StopCause,
    units::as_micros,
    validity::{Finding, FindingName, Validity, Verdict},
};

use super::{JobFacts, Lists, TrialFacts, WhyFailed};
use crate::{
    planner::{Candidate, Serving, Stage},
    ranking::RankedBy,
    report::{Entry, emulation_note},
};

/// The hypervisor's share is mentioned from half of the suspicious figure on.
const WORTH_MENTIONING_STEAL_PCT: f64 = 0.5;

/// A soak shorter than this cannot show the end of burst credits, and a search never can.
const SHOWS_BURST_CREDITS_S: f64 = 600.0;

/// Can a measurement be believed? With what the instance type itself makes doubtful, which no trial sees.
pub(super) fn validity(candidate: &Candidate, measurement: &TrialResult) -> Validity {
    let mut findings = measurement.validity.findings.clone();
    let known = findings.iter().any(|found| found.name == FindingName::BurstCredits);
    let took_s = measurement.took.as_secs_f64();
    if candidate.instance_type.is_burstable() && !known && took_s < SHOWS_BURST_CREDITS_S {
        findings.push(Finding {
            name: FindingName::BurstCredits,
            value: took_s,
            threshold: SHOWS_BURST_CREDITS_S,
            severity: Verdict::Valid,
        });
    }
    Validity { verdict: measurement.validity.verdict, findings }
}

pub(super) fn of_candidate(
    facts: &JobFacts,
    candidate: &Candidate,
    trial: &TrialFacts,
    measurement: &TrialResult,
) -> Vec<String> {
    let mut warnings = Vec::new();
    if facts.spec.mode == Mode::Full && facts.mode_of(candidate) == Mode::Quick {
        warnings.push(about_the_race(facts, candidate));
    }
    if candidate.emulated {
        about_emulation(candidate, measurement, &mut warnings);
    }
    about_confinement(measurement, &mut warnings);
    if candidate.instance_type.is_burstable() {
        warnings.push(format!(
            "{} lives on burst credits; a test of minutes cannot show what it does without them (--soak 10m)",
            candidate.instance_type
        ));
    }
    if let Some(quote) = facts.prices.get(&candidate.instance_type).filter(|quote| quote.estimate) {
        let how = quote.note.as_deref().unwrap_or("not a sourced hosting price");
        warnings.push(format!("the price is an estimate: {how}"));
    }
    about_the_limit(facts, measurement, &mut warnings);
    about_steal(measurement, &mut warnings);
    let suspicious =
        measurement.validity.findings.iter().filter(|found| found.severity != Verdict::Valid);
    warnings.extend(suspicious.filter(|found| found.name != FindingName::CpuSteal).map(describe));
    about_outputs(measurement, &mut warnings);
    warnings.extend(measurement.remarks.iter().cloned());
    if measurement.nan_outputs > 0 {
        warnings.push(format!(
            "{} of {} calls returned NaN",
            measurement.nan_outputs, measurement.calls
        ));
    }
    if measurement.failed_calls > 0 {
        let first = measurement
            .first_error
            .as_deref()
            .map(|error| format!("; the first: {error}"))
            .unwrap_or_default();
        warnings.push(format!(
            "{} of {} calls failed{first}",
            measurement.failed_calls, measurement.calls
        ));
    }
    match &candidate.serving {
        Serving::Endpoint(name) => warnings.push(about_the_endpoint(candidate, name)),
        Serving::Configured(asked) => {
            if measurement.configuration.as_ref() != Some(asked) {
                warnings.push(format!("the model host was asked for {asked}"));
            }
            about_the_environment(asked, &mut warnings);
        }
    }
    if trial.repeats > 0 {
        warnings.push(format!(
            "measured {} times; the measurements before were invalid",
            trial.repeats + 1
        ));
    }
    if let Some(cause) = measurement.stopped_by {
        warnings.push(about_the_stop(cause).to_owned());
    } else if measurement.answer.is_none() {
        warnings.push("a fixed load shows what was carried, not the most that could be".to_owned());
    }
    warnings
}

/// What ended a load with stopping conditions, and what that makes of the figures.
const fn about_the_stop(cause: StopCause) -> &'static str {
    match cause {
        StopCause::LoadEnded => {
            "the load came to its end without meeting a stopping condition; more may be carried"
        }
        StopCause::MaxInvocations => {
            "the load stopped where the invocations asked for were reached; more may be carried"
        }
        StopCause::Latency => "the load stopped where a latency threshold was missed",
        StopCause::FlatInvocations => {
            "the load stopped where more users brought no more invocations"
        }
        StopCause::Errors => "the load stopped where too many calls failed",
    }
}

/// Why a candidate of a full job has quick figures.
fn about_the_race(facts: &JobFacts, candidate: &Candidate) -> String {
    let name = &candidate.instance_type;
    match &candidate.stage {
        Stage::Dominated => {
            format!(
                "dominated by another configuration of {name}, or no better than it beyond doubt: measured quickly only"
            )
        }
        Stage::Single | Stage::Screening | Stage::Final { .. } if facts.status.is_final() => {
            "measured quickly only: the full search did not come to its end".to_owned()
        }
        Stage::Single | Stage::Screening | Stage::Final { .. } => {
            "measured quickly so far; a full search may follow".to_owned()
        }
    }
}

/// What nobody can see from outside.
fn about_the_endpoint(candidate: &Candidate, name: &EndpointName) -> String {
    format!(
        "endpoint {name} was measured from outside, as it runs: its instance type and price are those of \
         the agent that offers it, {}",
        candidate.instance_type
    )
}

/// Old kernels and containers without privileges leave a model more than its own files.
fn about_confinement(measurement: &TrialResult, warnings: &mut Vec<String>) {
    let in_force = &measurement.limits_in_force;
    let files = [LimitInForce::Landlock, LimitInForce::MountNamespace];
    // An endpoint runs as it runs: nothing of ours holds it.
    if in_force.contains(&LimitInForce::NoPrivileges)
        && !in_force.iter().any(|limit| files.contains(limit))
    {
        warnings.push(
            "the model could read and write what the agent's user can: this machine has neither Landlock nor \
             mount namespaces for it"
                .to_owned(),
        );
    }
}

fn about_emulation(candidate: &Candidate, measurement: &TrialResult, warnings: &mut Vec<String>) {
    let host = &measurement.host;
    warnings.push(emulation_note(Some(host)));
    if candidate.foreign_architecture {
        warnings.push(format!(
            "{} has processors of another architecture than {}; its real figures will differ",
            candidate.instance_type, host.architecture
        ));
    }
    let in_force = &measurement.limits_in_force;
    let processors = [LimitInForce::CpuSetCgroup, LimitInForce::CpuSetAffinity];
    if !in_force.iter().any(|limit| processors.contains(limit)) {
        warnings.push(format!("the processors were not limited to {} vCPU", candidate.shape.vcpus));
    }
    let memory =
        [LimitInForce::MemoryCgroup, LimitInForce::MemoryPrlimit, LimitInForce::MemoryWatchdog];
    if !in_force.iter().any(|limit| memory.contains(limit)) {
        warnings.push(format!("memory was not limited to {}", candidate.shape.memory_bytes));
    }
}

/// A percentile that reads above its limit although the answer was confirmed.
fn about_the_limit(facts: &JobFacts, measurement: &TrialResult, warnings: &mut Vec<String>) {
    let confirmed =
        measurement.answer.as_ref().is_some_and(|answer| answer.confirmation == Confirmation::Held);
    let Some(latency) = measurement.latency.filter(|_| confirmed) else { return };
    for slo in &facts.spec.constraints {
        let seen = latency.figure_us(slo.metric());
        let limit = as_micros(slo.limit());
        if seen > limit {
            warnings.push(format!(
                "{} read {} around the answer: the search steers to the rate that just reaches {}, and readings \
                 fall on either side of the limit because of sampling noise",
                slo.metric(),
                figures::plain_latency(seen),
                figures::plain_latency(limit)
            ));
        }
    }
}

fn about_steal(measurement: &TrialResult, warnings: &mut Vec<String>) {
    let found =
        measurement.validity.findings.iter().find(|found| found.name == FindingName::CpuSteal);
    let threshold = found.map_or(1.0, |found| found.threshold);
    let stolen = found.map(|found| found.value).or(measurement.utilization.steal_pct);
    if let Some(stolen) = stolen.filter(|stolen| *stolen >= WORTH_MENTIONING_STEAL_PCT) {
        warnings.push(format!(
            "{stolen:.1} % of CPU time was stolen by the hypervisor during the run (suspect above {threshold} %)"
        ));
    }
}

/// Variables that the model brings along and that its process did not get.
fn about_the_environment(asked: &Configuration, warnings: &mut Vec<String>) {
    let (_, left_out) = environment::split(&asked.environment);
    if !left_out.is_empty() {
        warnings.push(environment::describe_left_out(&left_out));
    }
}

/// Precision changes outputs on purpose: by how much decides whether its figures are of use. A graph must
/// not change them, and has a finding if it does.
fn about_outputs(measurement: &TrialResult, warnings: &mut Vec<String>) {
    if let Some(why) = &measurement.comparison_failure {
        warnings.push(format!("outputs were not compared with plain float32: {why}"));
    }
    let Some(deviation) = measurement.output_deviation else { return };
    let is_float32 = |used: &Configuration| used.dtype == Precision::Float32;
    if !measurement.configuration.as_ref().is_none_or(is_float32) {
        warnings.push(format!(
            "outputs differ from plain float32 by up to {} (mean {})",
            per_cent(deviation.max),
            per_cent(deviation.mean)
        ));
    }
}

/// A share with two significant digits: `12 %`, `0.83 %`, `4.1e-5 %`.
fn per_cent(share: f64) -> String {
    let value = share * 100.0;
    match value {
        _ if value >= 10.0 => format!("{value:.0} %"),
        _ if value >= 1.0 => format!("{value:.1} %"),
        _ if value >= 0.1 => format!("{value:.2} %"),
        _ if value >= 0.01 => format!("{value:.3} %"),
        _ if value > 0.0 => format!("{value:.1e} %"),
        _ => "0 %".to_owned(),
    }
}

fn describe(found: &Finding) -> String {
    let (value, threshold) = (found.value, found.threshold);
    let limit = format!("(limit {threshold:.4})").replace(".0000", "");
    let limit = if limit.contains('.') {
        format!("{})", limit.trim_end_matches(')').trim_end_matches('0'))
    } else {
        limit
    };
    match found.name {
        FindingName::GeneratorLag => {
            format!("the load generator sent up to {value:.0} µs late {limit}")
        }
        FindingName::GeneratorSaturated => "the load generator could not offer the load".to_owned(),
        FindingName::CpuSteal => {
            format!("{value:.1} % of CPU time was stolen by the hypervisor {limit}")
        }
        FindingName::OtherLoad => {
            format!("other processes used {value:.1} % of a processor {limit}")
        }
        FindingName::RunQueue => {
            format!("{value:.1} tasks of other programs ran or waited for a processor {limit}")
        }
        FindingName::CpuThrottled => {
            format!("a CPU quota on the agent withheld {value:.1} % of processor time {limit}")
        }
        FindingName::MemoryStall => {
            format!("tasks waited for memory {value:.1} % of the time {limit}")
        }
        FindingName::Swapping => format!("{value:.1} pages were swapped per second {limit}"),
        FindingName::MemoryPressure => format!("only {value:.1} % of memory was available {limit}"),
        FindingName::Drift => format!("the target's speed moved by {value:.1} % {limit}"),
        FindingName::IntervalTooWide => format!("the interval is ± {value:.1} % wide {limit}"),
        FindingName::Errors => format!("{value:.2} % of calls failed {limit}"),
        FindingName::TooFewSamples => format!("the percentile rests on {value:.0} calls {limit}"),
        FindingName::LittleLaw => {
            format!("users and throughput × latency differ by {value:.1} % {limit}")
        }
        FindingName::ConfirmationMissed => {
            "fresh load at the answer did not hold the constraint".to_owned()
        }
        FindingName::GpuShared => format!("{value:.0} other process(es) used the GPU"),
        FindingName::GpuThrottled => {
            format!("the GPU ran slower for heat or power in {value:.0} % of samples")
        }
        FindingName::GpuLost => format!("{value:.0} GPU(s) stopped answering during the run"),
        FindingName::BurstCredits => "burst credits may have helped".to_owned(),
        FindingName::Frequency => format!("the processor's clock moved by {value:.1} % {limit}"),
        FindingName::NanOutputs => format!("{value:.0} outputs held NaN"),
        FindingName::OutputDeviation => format!(
            "outputs of the optimized graph differ from the plain one's by up to {} (limit {})",
            per_cent(value),
            per_cent(threshold)
        ),
        FindingName::OutOfTime => "the search ran out of time".to_owned(),
        FindingName::NoBurnIn => {
            "the machine was heated for seconds only, so throttling may be missed".to_owned()
        }
    }
}

/// Why figures are not used.
pub(super) fn unbelievable(validity: &Validity, repeats: u32) -> String {
    let gravest: Vec<String> = validity
        .findings
        .iter()
        .filter(|found| found.severity == Verdict::Invalid)
        .map(describe)
        .collect();
    let times =
        if repeats > 0 { format!(", measured {} times", repeats + 1) } else { String::new() };
    format!("measurement invalid{times}: {}", gravest.join("; "))
}

/// Why a measured candidate is not in the ranking by cost.
pub(super) fn unpriced(facts: &JobFacts, instance_type: &str) -> String {
    let is_zero = facts
        .prices
        .iter()
        .any(|(name, quote)| name.as_str() == instance_type && quote.usd_per_hour.pico_usd() == 0);
    if is_zero {
        return format!(
            "the price of instance type {instance_type:?} is zero, so cost cannot be ranked"
        );
    }
    format!("no price for instance type {instance_type:?}, so cost cannot be ranked")
}

/// Why nothing is recommended; `None` when something is.
pub(super) fn no_recommendation(
    facts: &JobFacts,
    ranking: &[Entry],
    lists: &Lists,
) -> Option<String> {
    if !ranking.is_empty() {
        return None;
    }
    let measured_but_missed =
        lists.rejected.iter().filter_map(|(entry, ratio)| Some((entry, (*ratio)?)));
    if let Some((closest, _)) = measured_but_missed.min_by(|a, b| a.1.total_cmp(&b.1)) {
        let reason = closest.reason.as_deref().unwrap_or_default();
        let open = lists.failed.iter().filter(|(entry, _)| entry.is_open()).count();
        let among = match open {
            0 => "no candidate meets the constraints".to_owned(),
            1 => "no candidate that was judged meets the constraints, 1 is still open".to_owned(),
            _ => {
                format!("no candidate that was judged meets the constraints, {open} are still open")
            }
        };
        return Some(format!(
            "{among}; the closest is {}{}: {reason}",
            closest.instance_type,
            closest.serving().map(|used| format!(", {used}")).unwrap_or_default()
        ));
    }
    if !facts.status.is_final() {
        return Some("no candidate has been measured yet".to_owned());
    }
    let reason = |entry: &Entry| {
        format!("{}: {}", entry.instance_type, entry.reason.as_deref().unwrap_or_default())
    };
    let unbelievable =
        lists.failed.iter().filter(|(_, why)| *why == WhyFailed::Unbelievable).count();
    if unbelievable > 0 && unbelievable == lists.failed.len() {
        return Some(format!("no valid measurement ({unbelievable} invalid)"));
    }
    if let Some((first, _)) = lists.failed.first() {
        return Some(format!("no candidate could be measured; {}", reason(first)));
    }
    if let Some((first, _)) = lists.rejected.first() {
        return Some(format!("no candidate can be recommended; {}", reason(first)));
    }
    Some(match facts.status {
        JobStatus::Stopped => "the job was stopped before anything was measured".to_owned(),
        JobStatus::Pending
        | JobStatus::Running
        | JobStatus::Stopping
        | JobStatus::Completed
        | JobStatus::Failed => match facts.warnings.first() {
            Some(reason) => format!("nothing was measured: {reason}"),
            None => "there was nothing to measure".to_owned(),
        },
    })
}

/// About the job as a whole.
pub(super) fn of_job(
    facts: &JobFacts,
    by: RankedBy,
    ranking: &[Entry],
    lists: &Lists,
) -> Vec<String> {
    let mut warnings = facts.warnings.clone();
    warnings.extend(facts.plan.warnings.iter().cloned());
    let everyone = ranking.iter().chain(lists.rejected.iter().map(|(entry, _)| entry));
    let mut unpriced_types: Vec<&str> = everyone
        .filter(|entry| entry.meets && entry.cost_per_hour_usd.is_none_or(|usd| usd <= 0.0))
        .map(|entry| entry.instance_type.as_str())
        .collect();
    unpriced_types.sort_unstable();
    unpriced_types.dedup();
    for name in unpriced_types {
        warnings
            .push(format!("{} (assay prices set {name} --per-hour USD)", unpriced(facts, name)));
    }
    if by == RankedBy::Throughput && !ranking.is_empty() {
        warnings.push("no candidate has a price, so the ranking is by throughput".to_owned());
    }
    if let Some(best) = ranking.first().filter(|best| !best.tied_with.is_empty()) {
        let ranks: Vec<String> = best.tied_with.iter().map(|rank| format!("#{rank}")).collect();
        warnings.push(format!("#1 is tied with {}: their intervals overlap", ranks.join(", ")));
    }
    if facts.spec.mode == Mode::Quick && facts.spec.load.is_none() && !ranking.is_empty() {
        warnings.push(
            "quick mode heats the machine for seconds only, so throttling may be missed".to_owned(),
        );
    }
    warnings
}
