//! The rate that a run allows, and how sure that is.

use super::{LimitedBy, main_run::MainRun};
use crate::statistics::jackknife_half_width;

/// Groups of segments that are left out in turn. More would leave too little in each.
const GROUPS: usize = 10;
/// Fewer groups than this have no spread worth the name.
const FEWEST_GROUPS: usize = 3;
/// Once the target's speed moved, the run is wider than the jackknife sees: it compares segments
/// with each other, not with what is still to come. On a simulated machine that throttles, intervals
/// widened by half held the truth in three of four searches, doubled ones do in nine of ten.
const DRIFT_WIDENING: f64 = 2.0;

/// The rate that a run allows so far, in requests per second.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct RunEstimate {
    pub(super) value: f64,
    pub(super) low: f64,
    pub(super) high: f64,
    pub(super) limited_by: LimitedBy,
}

impl RunEstimate {
    pub(super) fn of(run: &mut MainRun, included: &[usize]) -> Self {
        let positions = run.positions_for(included);
        let allowed = run.allowed_rate_at(&positions);
        if let Some((bracket, limited_by)) = run.ceiling.estimate()
            && bracket.value.as_per_second() < allowed
        {
            let [value, low, high] = [bracket.value, bracket.low, bracket.high].map(f64::from);
            return Self { value, low, high, limited_by };
        }
        if allowed >= run.cap.value {
            return run.cap;
        }
        let half_width = match jackknife(run, included) {
            Some(spread) => Some(spread.hypot(resolution(run, included))),
            None => from_episodes(run, included, allowed),
        };
        let widening = if run.drift.is_some() { DRIFT_WIDENING } else { 1.0 };
        // Nothing known about the spread leaves everything up to the plateau possible.
        let (low, high) = half_width.map_or((0.0, run.cap.high.max(allowed)), |half_width| {
            let reach = (half_width * widening).exp();
            (allowed / reach, allowed * reach)
        });
        Self { value: allowed, low, high, limited_by: LimitedBy::Slo }
    }

    /// Half of the interval's width, relative.
    pub(super) fn half_width(&self) -> f64 {
        (self.high - self.low) / (2.0 * self.value)
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
        left_out.push(run.allowed_rate_at(&positions).min(run.cap.value).ln());
    }
    jackknife_half_width(&left_out)
}

/// Misses are whole: one more or one less would have given another rate. That is all the doubt there
/// is about a target that behaves exactly like the model.
fn resolution(run: &mut MainRun, included: &[usize]) -> f64 {
    let [fewer, more] = [-1.0, 1.0].map(|change| {
        let positions = run.positions_with(included, |misses| misses + change);
        run.allowed_rate_at(&positions).min(run.cap.value)
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
