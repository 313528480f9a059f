//! A figure of a candidate, and how sure it is.
//!
//! Cost and throughput bring their intervals. A latency is that of all calls in the steps at the load that was found,
//! and is in doubt for two reasons:
//!
//! - *The luck of the run.* Steps differ from the figure by some spread (root mean square on the logarithm), the figure
//!   rests on those at its load, and a queue carries its luck from one step to the next, so two of them count as one
//!   that is independent: `t · spread / √(steps / 2)`.
//! - *The load itself.* It is an estimate, and the closer to saturation it is, the more latency follows from it:
//!   waiting grows as `1 / (1 − ρ)`, so a load that is larger by 1 % waits longer by `ρ / (1 − ρ)` per cent, where `ρ`
//!   is its share of the plateau. A fixed load is known, and so is the load of a closed loop.
//!
//! With the spread of the steps alone, half of all pairs of the same job on the simulated server with a noisy neighbour
//! differed "for certain" in their 99th percentiles.

use assay_measure::{search::Purpose, statistics::student_t_quantile};

use super::{
    Metric,
    job::{ComparedCandidate, Latency, Step},
};

/// A step within so much of the load that was found is one at it, as the search has it.
const NEAR: f64 = 0.02;
/// So many steps in a row are worth one that is independent.
const STEPS_PER_INDEPENDENT: f64 = 2.0;
/// No open loop is steered closer to the plateau than this.
const LARGEST_SHARE_OF_PLATEAU: f64 = 0.985;

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Figure {
    pub(super) value: f64,
    /// Half of the width of its 95 % interval, on the logarithm.
    pub(super) half_width: Option<f64>,
}

impl Figure {
    pub(super) fn of(candidate: &ComparedCandidate, metric: Metric) -> Option<Self> {
        let positive = |value: Option<f64>| value.filter(|value| *value > 0.0);
        match metric {
            Metric::Cost => Some(Self {
                value: positive(candidate.cost_per_inference_usd)?,
                half_width: log_half_width(candidate.cost_per_inference_ci95),
            }),
            Metric::Throughput => Some(Self {
                value: positive(candidate.max_invocations_per_min)?,
                half_width: log_half_width(candidate.max_invocations_ci95),
            }),
            Metric::P50 => Self::of_latency(candidate, |latency| latency.p50),
            Metric::P95 => Self::of_latency(candidate, |latency| latency.p95),
            Metric::P99 => Self::of_latency(candidate, |latency| latency.p99),
        }
    }

    fn of_latency(candidate: &ComparedCandidate, pick: fn(&Latency) -> f64) -> Option<Self> {
        let value = pick(candidate.latency_us.as_ref()?);
        let half_widths = luck_of_the_run(candidate, value, pick).zip(doubt_of_the_load(candidate));
        (value > 0.0).then_some(Self { value, half_width: half_widths.map(|(a, b)| a.hypot(b)) })
    }
}

fn log_half_width(interval: Option<[f64; 2]>) -> Option<f64> {
    let [low, high] = interval?;
    (low > 0.0 && high >= low && high.is_finite()).then(|| (high / low).ln() / 2.0)
}

/// Steps of the load that a figure may belong to.
fn of_run(candidate: &ComparedCandidate) -> impl Iterator<Item = &Step> {
    candidate.steps.iter().filter(|step| {
        matches!(step.purpose, Purpose::Main | Purpose::Confirm | Purpose::Fixed | Purpose::Soak)
    })
}

fn luck_of_the_run(
    candidate: &ComparedCandidate,
    value: f64,
    pick: fn(&Latency) -> f64,
) -> Option<f64> {
    let (mut steps, mut at_its_load, mut squares) = (0.0, 0.0, 0.0);
    for step in of_run(candidate) {
        let Some(of_step) = step.latency_us.as_ref().map(pick).filter(|value| *value > 0.0) else {
            continue;
        };
        steps += 1.0;
        at_its_load += if is_at_its_load(candidate, step) { 1.0 } else { 0.0 };
        squares += (of_step / value).ln().powi(2);
    }
    let spread = (squares / (steps - 1.0)).sqrt();
    let independent: f64 = at_its_load / STEPS_PER_INDEPENDENT;
    (at_its_load > 1.5)
        .then(|| student_t_quantile(0.975, at_its_load - 1.0) * spread / independent.sqrt())
}

fn is_at_its_load(candidate: &ComparedCandidate, step: &Step) -> bool {
    let steered = step.offered_per_min.filter(|_| step.purpose == Purpose::Main);
    let found = steered.zip(candidate.max_invocations_per_min);
    found.is_none_or(|(offered, found)| (offered / found - 1.0).abs() <= NEAR)
}

/// Nothing where the load is not the search's own; absent where nobody knows how sure that is.
fn doubt_of_the_load(candidate: &ComparedCandidate) -> Option<f64> {
    let is_steered = of_run(candidate)
        .any(|step| step.purpose == Purpose::Main && step.offered_per_min.is_some());
    if !is_steered {
        return Some(0.0);
    }
    let half_width = log_half_width(candidate.max_invocations_ci95)?;
    let share = candidate.max_invocations_per_min? / candidate.plateau_invocations_per_min?;
    let share = share.min(LARGEST_SHARE_OF_PLATEAU);
    Some(half_width * share / (1.0 - share))
}
