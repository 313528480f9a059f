//! The rate that a run allows, and how sure that is.

use super::{LimitedBy, main_run::MainRun};
use crate::statistics::jackknife_half_width;

/// Groups of segments that are left out in turn. More would leave too little in each.
const GROUPS: usize = 10;
/// Fewer groups than this have no spread worth the name.
const FEWEST_GROUPS: usize = 3;
/// Once the target's speed moved, the run is wider than the jackknife sees: it compares segments
/// with each other, not with what is still to come.
const DRIFT_WIDENING: f64 = 1.5;

/// The rate that a run allows so far.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct RunEstimate {
    /// Requests per second.
    pub(super) value: f64,
    /// Half of the 95 % interval, on the logarithm; `None` when nothing can be said.
    pub(super) half_width: Option<f64>,
    pub(super) limited_by: LimitedBy,
}

impl RunEstimate {
    pub(super) fn of(run: &mut MainRun, included: &[usize]) -> Self {
        let positions = run.positions_for(included);
        let allowed = run.allowed_rate_at(&positions);
        if let Some((bracket, by)) = run.ceiling.estimate()
            && bracket.value.as_per_second() < allowed
        {
            let (good, bad) = (bracket.value.as_per_second(), bracket.high.as_per_second());
            return Self { value: good, half_width: Some((bad / good).ln()), limited_by: by };
        }
        if allowed >= run.cap.0 {
            return Self { value: run.cap.0, half_width: Some(0.0), limited_by: run.cap.1 };
        }
        let half_width = match jackknife(run, included) {
            Some(spread) => Some(spread.hypot(resolution(run, included))),
            None => from_episodes(run, included, allowed),
        };
        let widened = half_width.map(|half_width| {
            if run.drift.is_some() { half_width * DRIFT_WIDENING } else { half_width }
        });
        Self { value: allowed, half_width: widened, limited_by: LimitedBy::Slo }
    }
}

/// Leaves out one group of neighbouring segments after the other, inverts what is left, and looks at
/// the spread of the rates. Neighbours stay together because bursts and queues reach across segments.
fn jackknife(run: &mut MainRun, included: &[usize]) -> Option<f64> {
    let groups = GROUPS.min(included.len());
    if groups < FEWEST_GROUPS {
        return None;
    }
    let mut left_out = Vec::with_capacity(groups);
    for group in 0..groups {
        let kept: Vec<usize> = included
            .iter()
            .enumerate()
            .filter(|(n, _)| n * groups / included.len() != group)
            .map(|(_, at)| *at)
            .collect();
        let positions = run.positions_for(&kept);
        left_out.push(run.allowed_rate_at(&positions).min(run.cap.0).ln());
    }
    jackknife_half_width(&left_out)
}

/// Misses are whole: one more or one less would have given another rate. That is all the doubt there
/// is about a target that behaves exactly like the model.
fn resolution(run: &mut MainRun, included: &[usize]) -> f64 {
    let [fewer, more] = [-1.0, 1.0].map(|change| {
        let positions = run.positions_with(included, |misses| misses + change);
        run.allowed_rate_at(&positions).min(run.cap.0)
    });
    (fewer / more).ln().abs() / 2.0
}

/// With too few segments for groups: the episodes of misses come by chance, so their number is
/// uncertain by its root, and the misses with it.
fn from_episodes(run: &mut MainRun, included: &[usize], allowed: f64) -> Option<f64> {
    const DEVIATES: f64 = 1.96;
    let episodes: u32 = included.iter().map(|at| run.trace.segments()[*at].episodes).sum();
    let doubt = DEVIATES / f64::from(episodes.max(1)).sqrt();
    let positions = run.positions_with(included, |misses| misses.max(1.0) * (1.0 + doubt));
    let half_width = (allowed / run.allowed_rate_at(&positions)).ln();
    half_width.is_finite().then_some(half_width.abs())
}
