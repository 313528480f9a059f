//! The figures of a trial, put together from everything that was recorded.

use std::time::Duration;

use assay_measure::{
    configuration::Configuration,
    hardware::{HostFacts, LimitInForce, Utilization},
    latency::Latency,
    outcome::{HarnessFigures, TrialResult},
    trial::{TrialSpec, Work},
    validity::{Evidence, MachineEvidence, judge},
};

use super::{
    comparison::Outputs,
    failure::describe,
    observability::Observability,
    record::{Measured, Record, span_ns},
};
use crate::{
    capacity::{StepRecord, evidence_of_steps},
    hardware::{evidence, sampler::Sampler},
    model_host::client::HostStatistics,
};

/// What is known besides the record.
pub(super) struct Context<'a> {
    pub(super) spec: &'a TrialSpec,
    pub(super) host: HostFacts,
    pub(super) limits_in_force: Vec<LimitInForce>,
    pub(super) statistics: HostStatistics,
    pub(super) idle: Utilization,
    pub(super) outputs: Outputs,
    pub(super) remarks: Vec<String>,
    pub(super) ready_after: Duration,
    pub(super) took: Duration,
    pub(super) sampler: &'a Sampler,
    pub(super) observability: Observability,
    pub(super) model_vcpus: usize,
    pub(super) shares_cores: bool,
}

/// Puts the figures together and judges them.
pub(super) fn measurement(record: Record, context: Context<'_>) -> TrialResult {
    let steps = record.steps();
    let at_answer = record.at_answer();
    let figures = record.figures_at_answer();
    let utilization = span(&at_answer, record.base_ns)
        .map_or_else(Utilization::default, |(from_ns, to_ns)| {
            context.observability.narrowed(context.sampler.window(from_ns, to_ns))
        });
    let nan_outputs = context.statistics.nan_outputs.unwrap_or(0);
    let evidence = Evidence {
        machine: (context.observability != Observability::Nothing)
            .then(|| machine_evidence(&record, &utilization, &context)),
        nan_outputs,
        graph_output_deviation: context.outputs.by_graph,
        ..evidence_of_calls(&record, &context)
    };
    TrialResult {
        latency: Latency::of(&figures.latency),
        harness: harness(&record, Latency::of(&figures.lag), &context),
        energy_j_per_inference: energy_per_call(&utilization, figures.answered),
        idle: Some(context.observability.narrowed(context.idle.clone()))
            .filter(|idle| idle.samples > 0),
        validity: judge(&evidence),
        limits_in_force: context.limits_in_force,
        configuration: context
            .spec
            .served()
            .map(|served| reported_configuration(&served.configuration, &context.statistics)),
        output_deviation: context.outputs.deviation,
        comparison_failure: context.outputs.failure,
        remarks: context.remarks,
        nan_outputs,
        calls: steps.iter().map(|step| step.figures.answered + step.figures.errors.total()).sum(),
        failed_calls: steps.iter().map(|step| step.figures.errors.total()).sum(),
        first_error: steps
            .iter()
            .find_map(|step| step.figures.first_failure.as_ref())
            .map(describe),
        ready_after: context.ready_after,
        took: context.took,
        utilization,
        answer: record.answer().cloned(),
        stopped_by: record.stopped_by(),
        host: context.host,
    }
}

/// From the begin of the first of these steps to the end of the last, as far as they follow each other.
fn span(steps: &[&StepRecord], base_ns: u64) -> Option<(u64, u64)> {
    let (mut from_ns, to_ns) = span_ns(base_ns, steps.last()?);
    for pair in steps.windows(2).rev() {
        let [earlier, later] = pair else { continue };
        if earlier.plan.index + 1 != later.plan.index {
            break;
        }
        from_ns = span_ns(base_ns, earlier).0;
    }
    Some((from_ns, to_ns))
}

fn evidence_of_calls(record: &Record, context: &Context<'_>) -> Evidence {
    match (&record.measured, &context.spec.work) {
        (Measured::Search(run), Work::Search(plan)) => run.evidence(plan, context.shares_cores),
        (Measured::Search(_) | Measured::Fixed(_) | Measured::Stepped { .. }, _) => {
            // A level that did not hold ends the load by design; only the answer must be sound.
            let judged = match &record.measured {
                Measured::Stepped { .. } => record.at_answer(),
                Measured::Search(_) | Measured::Fixed(_) => record.steps().iter().collect(),
            };
            evidence_of_steps(record.answer(), &judged, record.steps(), context.shares_cores)
        }
    }
}

fn machine_evidence(
    record: &Record,
    utilization: &Utilization,
    context: &Context<'_>,
) -> MachineEvidence {
    let clock = |step: Option<&StepRecord>| {
        let (from_ns, to_ns) = span_ns(record.base_ns, step?);
        context.sampler.window(from_ns, to_ns).cpu_mhz
    };
    let clocks = clock(record.steps().first()).zip(clock(record.steps().last()));
    let clock_change = clocks.map(|(first, last)| (last / first - 1.0) * 100.0);
    // The time in which credits run out is minutes to hours; a soak is the user's way to see it.
    let soaked = matches!(&context.spec.work, Work::Search(plan) if plan.soak.is_some());
    MachineEvidence {
        frequency_change_pct: clock_change,
        // An emulated type borrows the shape, not the credits.
        burst_credits: context.spec.emulated().is_none()
            && context.spec.instance_type.is_burstable()
            && !soaked,
        ..evidence::of_window(utilization, context.host.memory_bytes)
    }
}

fn harness(record: &Record, lag: Option<Latency>, context: &Context<'_>) -> HarnessFigures {
    let sampler_cpu_s = context.sampler.cpu_seconds();
    let generator_cpu: Duration =
        record.steps().iter().map(|step| step.figures.generator_cpu).sum();
    let available_s = record.elapsed.as_secs_f64() * context.model_vcpus as f64;
    let used_s = generator_cpu.as_secs_f64() + sampler_cpu_s;
    HarnessFigures {
        cpu_share_pct: if available_s > 0.0 { used_s / available_s * 100.0 } else { 0.0 },
        lag_p50_us: lag.map_or(0, |lag| lag.p50_us),
        lag_p99_us: lag.map_or(0, |lag| lag.p99_us),
        sampler_cpu_s,
    }
}

fn energy_per_call(utilization: &Utilization, calls: u64) -> Option<f64> {
    let energies: Vec<f64> = utilization.gpus.iter().filter_map(|gpu| gpu.energy_j).collect();
    (!energies.is_empty() && calls > 0).then(|| energies.iter().sum::<f64>() / calls as f64)
}

/// What was asked for, with what the host says of itself.
fn reported_configuration(asked: &Configuration, statistics: &HostStatistics) -> Configuration {
    let mut configuration = asked.clone();
    if let Some(allocator) = statistics.allocator.as_deref().and_then(|word| word.parse().ok()) {
        configuration.allocator = allocator;
    }
    configuration
}
