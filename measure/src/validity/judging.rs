//! From evidence to findings: every threshold stands here, named and argued.

use super::{Finding, FindingName, Validity, Verdict};
use crate::{
    search::{Answer, Confirmation, Mode},
    slo::Slo,
};

/// Where figures begin to matter.
pub mod thresholds {
    /// Generator lag: 99th percentile as a share of the tightest constraint.
    pub const LAG_SHARE_OF_CONSTRAINT: f64 = 0.01;
    /// Generator lag: 99th percentile as a share of the median latency.
    pub const LAG_SHARE_OF_MEDIAN: f64 = 0.10;
    /// Generator lag that is nobody's fault when the model keeps every processor busy: one time slice of
    /// the Linux scheduler (3 ms), after which a sleeper that was woken runs at the latest, and a
    /// millisecond on top.
    pub const LAG_ON_BUSY_CORES_US: f64 = 4_000.0;
    /// So many times over its threshold, lag makes the figures worthless.
    pub const LAG_INVALID_FACTOR: f64 = 10.0;
    /// CPU steal in per cent: suspect.
    pub const STEAL_PCT: f64 = 1.0;
    /// CPU steal in per cent: invalid.
    pub const STEAL_INVALID_PCT: f64 = 10.0;
    /// Other processes, in per cent of one processor: suspect.
    pub const OTHER_LOAD_PCT: f64 = 5.0;
    /// Other processes, in per cent of one processor: invalid.
    pub const OTHER_LOAD_INVALID_PCT: f64 = 50.0;
    /// Pages swapped per second: a handful is housekeeping.
    pub const SWAPPED_PAGES_PER_S: f64 = 10.0;
    /// Memory available, in per cent of the machine's.
    pub const MEMORY_AVAILABLE_PCT: f64 = 5.0;
    /// Time in which some task waited for memory, in per cent: pages are being reclaimed and read again.
    pub const MEMORY_PRESSURE_PCT: f64 = 1.0;
    /// Foreign tasks that ran or waited, mean count: as if one other program ran all the time. Below
    /// that, the share of a processor that others got says more than a count taken once a second.
    pub const OTHER_RUNNABLE_TASKS: f64 = 1.0;
    /// Processor time withheld by a quota, in per cent of the model's processors: suspect.
    pub const QUOTA_THROTTLED_PCT: f64 = 1.0;
    /// The same: invalid.
    pub const QUOTA_THROTTLED_INVALID_PCT: f64 = 10.0;
    /// Fall of the processor's clock in per cent.
    pub const FREQUENCY_PCT: f64 = 5.0;
    /// Half-width of the interval in per cent of the answer, in full mode.
    pub const HALF_WIDTH_FULL_PCT: f64 = 2.0;
    /// The same in quick mode.
    pub const HALF_WIDTH_QUICK_PCT: f64 = 3.0;
    /// The same in either mode from where the answer says nothing: a quarter more or less is
    /// the step from one instance size to the next, so nothing can be ranked by it.
    pub const HALF_WIDTH_INVALID_PCT: f64 = 25.0;
    /// Change of the target's speed in per cent.
    pub const DRIFT_PCT: f64 = 1.5;
    /// Failed calls in per cent: so many times the allowed share makes it invalid.
    pub const ERRORS_INVALID_FACTOR: f64 = 10.0;
    /// Calls that must lie beyond a percentile before it means much.
    pub const CALLS_BEYOND_PERCENTILE: f64 = 10.0;
    /// With fewer beyond it the percentile is the largest latency seen, by another name.
    pub const CALLS_BEYOND_PERCENTILE_INVALID: f64 = 1.0;
    /// Difference between users and throughput × latency in closed loop, in per cent.
    pub const LITTLE_LAW_PCT: f64 = 5.0;
    /// Largest relative deviation of outputs where only the graph was rewritten: the order of additions
    /// moves float32 by 1e-6, and a wrong rewrite by far more.
    pub const OUTPUT_DEVIATION: f64 = 1e-4;
    /// Answers per user before Little's law is applied: what is in flight at the edges of a step is then
    /// under 2.5 % of it.
    pub const LITTLE_LAW_ANSWERS_PER_USER: u64 = 40;
}

/// Everything that speaks for or against a measurement. What was not observed is absent.
#[derive(Clone, Debug, Default)]
pub struct Evidence {
    /// The answer of the search; absent for a fixed load.
    pub answer: Option<Answer>,
    /// How thorough the search was; absent for a fixed load.
    pub mode: Option<Mode>,
    /// The constraints.
    pub constraints: Vec<Slo>,
    /// The largest share of failed calls allowed, in [0, 1].
    pub max_error_share: f64,
    /// Calls at the answer, or in the whole fixed load.
    pub calls: u64,
    /// Of these, failed.
    pub failed_calls: u64,
    /// Median latency of these in microseconds.
    pub median_latency_us: Option<f64>,
    /// The load generator, over the same calls.
    pub generator: GeneratorEvidence,
    /// Closed-loop steps.
    pub closed_loop: Vec<ClosedLoopEvidence>,
    /// The machine, where it was watched.
    pub machine: Option<MachineEvidence>,
    /// Calls whose output held a NaN.
    pub nan_outputs: u64,
    /// How far the outputs of a rewritten graph are from those of the plain one; absent where precision
    /// changed as well, which moves outputs on purpose.
    pub graph_output_deviation: Option<f64>,
}

/// How the load generator did.
#[derive(Clone, Copy, Debug, Default)]
pub struct GeneratorEvidence {
    /// 99th percentile of its lag behind the schedule, in microseconds; absent without open-loop steps.
    pub lag_p99_us: Option<f64>,
    /// It could not offer the load.
    pub saturated: bool,
    /// It shares its processors with the model, or may have to.
    pub shares_cores: bool,
}

/// One closed-loop step.
#[derive(Clone, Copy, Debug)]
pub struct ClosedLoopEvidence {
    /// Users.
    pub users: u32,
    /// Calls answered.
    pub answered: u64,
    /// Answers per second.
    pub per_second: f64,
    /// Mean latency in microseconds.
    pub mean_latency_us: f64,
}

/// What the machine was seen doing at the answer. Absent figures could not be had.
#[derive(Clone, Copy, Debug, Default)]
pub struct MachineEvidence {
    /// Processor time taken by the hypervisor, in per cent.
    pub steal_pct: Option<f64>,
    /// Processor time of other processes, in per cent of one processor.
    pub other_cpu_pct: Option<f64>,
    /// Tasks of others that ran or waited for a processor, mean count.
    pub other_runnable_tasks: Option<f64>,
    /// Processor time withheld by a quota that is not the emulated type's, in per cent.
    pub quota_throttled_pct: Option<f64>,
    /// Time in which some task waited for memory, in per cent.
    pub memory_pressure_pct: Option<f64>,
    /// Pages swapped per second.
    pub swapped_pages_per_s: Option<f64>,
    /// The least memory available, in per cent of the machine's.
    pub memory_available_pct: Option<f64>,
    /// Change of the processor's clock between the begin and the end of the run, in per cent.
    pub frequency_change_pct: Option<f64>,
    /// The largest number of other processes on a GPU.
    pub gpu_other_processes: Option<u32>,
    /// Share of samples in which a GPU ran slower for heat or power, in per cent.
    pub gpu_throttled_pct: Option<f64>,
    /// GPUs that were lost.
    pub gpus_lost: u32,
    /// The instance family lives on burst credits, and no soak outlasted them.
    pub burst_credits: bool,
}

/// Judges a measurement.
#[must_use]
pub fn judge(evidence: &Evidence) -> Validity {
    let mut findings = Vec::new();
    judge_generator(evidence, &mut findings);
    judge_calls(evidence, &mut findings);
    judge_answer(evidence, &mut findings);
    if let Some(machine) = &evidence.machine {
        judge_machine(machine, &mut findings);
    }
    Validity::from_findings(findings)
}

/// A finding if `value` is above `threshold`; invalid from `invalid_above` on.
fn above(
    findings: &mut Vec<Finding>,
    name: FindingName,
    value: f64,
    threshold: f64,
    invalid_above: f64,
) {
    if value > threshold {
        let severity = if value > invalid_above { Verdict::Invalid } else { Verdict::Suspect };
        findings.push(Finding { name, value, threshold, severity });
    }
}

/// A finding that is a fact rather than a figure.
fn fact(findings: &mut Vec<Finding>, holds: bool, name: FindingName, severity: Verdict) {
    if holds {
        findings.push(Finding { name, value: 1.0, threshold: 0.0, severity });
    }
}

fn judge_generator(evidence: &Evidence, findings: &mut Vec<Finding>) {
    use thresholds as t;
    fact(findings, evidence.generator.saturated, FindingName::GeneratorSaturated, Verdict::Invalid);
    let Some(lag_us) = evidence.generator.lag_p99_us else { return };
    if let Some(threshold) = lag_threshold_us(evidence) {
        above(
            findings,
            FindingName::GeneratorLag,
            lag_us,
            threshold,
            threshold * t::LAG_INVALID_FACTOR,
        );
    }
}

/// The largest lag that does not matter, in microseconds.
fn lag_threshold_us(evidence: &Evidence) -> Option<f64> {
    use thresholds as t;
    let tightest = evidence
        .constraints
        .iter()
        .map(|slo| slo.limit().as_secs_f64() * 1e6)
        .min_by(f64::total_cmp);
    let by_constraint = tightest.map(|limit| limit * t::LAG_SHARE_OF_CONSTRAINT);
    let by_median = evidence.median_latency_us.map(|median| median * t::LAG_SHARE_OF_MEDIAN);
    let threshold = by_constraint.into_iter().chain(by_median).min_by(f64::total_cmp)?;
    Some(if evidence.generator.shares_cores {
        threshold.max(t::LAG_ON_BUSY_CORES_US)
    } else {
        threshold
    })
}

fn judge_calls(evidence: &Evidence, findings: &mut Vec<Finding>) {
    use thresholds as t;
    let allowed_pct = evidence.max_error_share * 100.0;
    if evidence.calls > 0 {
        let failed_pct = evidence.failed_calls as f64 / evidence.calls as f64 * 100.0;
        let invalid_pct = (allowed_pct * t::ERRORS_INVALID_FACTOR).min(50.0);
        above(findings, FindingName::Errors, failed_pct, allowed_pct, invalid_pct);
    }
    let budget = evidence.constraints.iter().map(|slo| slo.miss_budget()).min_by(f64::total_cmp);
    if let Some(budget) = budget {
        let needed = t::CALLS_BEYOND_PERCENTILE / budget;
        if (evidence.calls as f64) < needed - 0.5 {
            let invalid_below = t::CALLS_BEYOND_PERCENTILE_INVALID / budget - 0.5;
            let is_invalid = (evidence.calls as f64) < invalid_below;
            findings.push(Finding {
                name: FindingName::TooFewSamples,
                value: evidence.calls as f64,
                threshold: needed.round(),
                severity: if is_invalid { Verdict::Invalid } else { Verdict::Suspect },
            });
        }
    }
    let worst = evidence.closed_loop.iter().filter_map(little_law_gap_pct).max_by(f64::total_cmp);
    if let Some(gap_pct) = worst {
        above(findings, FindingName::LittleLaw, gap_pct, t::LITTLE_LAW_PCT, f64::INFINITY);
    }
    if evidence.nan_outputs > 0 {
        let value = evidence.nan_outputs as f64;
        findings.push(Finding {
            name: FindingName::NanOutputs,
            value,
            threshold: 0.0,
            severity: Verdict::Valid,
        });
    }
    if let Some(deviation) = evidence.graph_output_deviation {
        let limit = t::OUTPUT_DEVIATION;
        above(findings, FindingName::OutputDeviation, deviation, limit, f64::INFINITY);
    }
}

/// How far users and throughput × latency are apart, in per cent; `None` for steps too short to tell.
fn little_law_gap_pct(step: &ClosedLoopEvidence) -> Option<f64> {
    let users = f64::from(step.users);
    let enough = step.users > 0
        && step.answered >= u64::from(step.users) * thresholds::LITTLE_LAW_ANSWERS_PER_USER;
    enough.then(|| (step.per_second * step.mean_latency_us / 1e6 / users - 1.0).abs() * 100.0)
}

fn judge_answer(evidence: &Evidence, findings: &mut Vec<Finding>) {
    use thresholds as t;
    let quick = evidence.mode == Some(Mode::Quick);
    fact(findings, quick, FindingName::NoBurnIn, Verdict::Valid);
    let Some(answer) = &evidence.answer else { return };
    let rate = answer.capacity.value.as_per_second();
    let width = answer.capacity.high.as_per_second() - answer.capacity.low.as_per_second();
    if rate > 0.0 {
        let threshold = if quick { t::HALF_WIDTH_QUICK_PCT } else { t::HALF_WIDTH_FULL_PCT };
        let half_width_pct = width / 2.0 / rate * 100.0;
        above(
            findings,
            FindingName::IntervalTooWide,
            half_width_pct,
            threshold,
            t::HALF_WIDTH_INVALID_PCT,
        );
    }
    if let Some(drift) = answer.drift {
        let change_pct = drift.relative_change * 100.0;
        if change_pct.abs() > t::DRIFT_PCT {
            let severity = Verdict::Suspect;
            findings.push(Finding {
                name: FindingName::Drift,
                value: change_pct,
                threshold: t::DRIFT_PCT,
                severity,
            });
        }
    }
    let missed = answer.confirmation == Confirmation::Missed;
    fact(findings, missed, FindingName::ConfirmationMissed, Verdict::Invalid);
    fact(findings, answer.out_of_time, FindingName::OutOfTime, Verdict::Suspect);
}

fn judge_machine(machine: &MachineEvidence, findings: &mut Vec<Finding>) {
    use thresholds as t;
    if let Some(steal) = machine.steal_pct {
        above(findings, FindingName::CpuSteal, steal, t::STEAL_PCT, t::STEAL_INVALID_PCT);
    }
    if let Some(other) = machine.other_cpu_pct {
        above(
            findings,
            FindingName::OtherLoad,
            other,
            t::OTHER_LOAD_PCT,
            t::OTHER_LOAD_INVALID_PCT,
        );
    }
    if let Some(tasks) = machine.other_runnable_tasks {
        above(findings, FindingName::RunQueue, tasks, t::OTHER_RUNNABLE_TASKS, f64::INFINITY);
    }
    if let Some(withheld) = machine.quota_throttled_pct {
        above(
            findings,
            FindingName::CpuThrottled,
            withheld,
            t::QUOTA_THROTTLED_PCT,
            t::QUOTA_THROTTLED_INVALID_PCT,
        );
    }
    judge_memory(machine, findings);
    if let Some(change) = machine.frequency_change_pct
        && change < -t::FREQUENCY_PCT
    {
        findings.push(Finding {
            name: FindingName::Frequency,
            value: change,
            threshold: -t::FREQUENCY_PCT,
            severity: Verdict::Suspect,
        });
    }
    judge_gpus(machine, findings);
    fact(findings, machine.burst_credits, FindingName::BurstCredits, Verdict::Valid);
}

fn judge_memory(machine: &MachineEvidence, findings: &mut Vec<Finding>) {
    use thresholds as t;
    if let Some(pages) = machine.swapped_pages_per_s {
        above(findings, FindingName::Swapping, pages, t::SWAPPED_PAGES_PER_S, f64::INFINITY);
    }
    if let Some(available) = machine.memory_available_pct
        && available < t::MEMORY_AVAILABLE_PCT
    {
        findings.push(Finding {
            name: FindingName::MemoryPressure,
            value: available,
            threshold: t::MEMORY_AVAILABLE_PCT,
            severity: Verdict::Suspect,
        });
    }
    if let Some(waiting) = machine.memory_pressure_pct {
        let limit = t::MEMORY_PRESSURE_PCT;
        above(findings, FindingName::MemoryStall, waiting, limit, f64::INFINITY);
    }
}

fn judge_gpus(machine: &MachineEvidence, findings: &mut Vec<Finding>) {
    if let Some(others) = machine.gpu_other_processes {
        above(findings, FindingName::GpuShared, f64::from(others), 0.0, f64::INFINITY);
    }
    if let Some(throttled) = machine.gpu_throttled_pct {
        above(findings, FindingName::GpuThrottled, throttled, 0.0, f64::INFINITY);
    }
    // What a trial on a GPU measured after losing it is not what was asked for.
    above(findings, FindingName::GpuLost, f64::from(machine.gpus_lost), 0.0, f64::INFINITY);
}

#[cfg(test)]
mod tests;
