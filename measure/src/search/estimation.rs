//! The rate that a run allows, and how sure that is.

use super::{LimitedBy, drift, limit::Limit, main_run::MainRun};
use crate::statistics::{jackknife_half_width, variance};

/// Groups of segments that are left out in turn. More would leave too little in each.
const GROUPS: usize = 10;
/// Fewer groups than this have no spread worth the name.
const FEWEST_GROUPS: usize = 3;
/// Misses that a part without any stands for: between none and one.
const FEWEST_MISSES: f64 = 0.5;
/// In standard errors of the difference between the two ways: up to here fresh load is believed, from
/// there on inversion, and between them a part of each.
const WITHIN_CHANCE: f64 = 1.25;
const BEYOND_CHANCE: f64 = 2.5;
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
        let pair = Pair::over(run, included);
        let left_out = left_out(run, included);
        let share = pair.share_of_inversion(&left_out);
        let inversions: Vec<f64> = left_out.iter().map(|pair| pair.inversion).collect();
        run.inversion_half_width = jackknife_half_width(&inversions).unwrap_or(f64::INFINITY);
        let allowed = pair.mixed(share).exp();
        if let Some((bracket, limited_by)) = run.ceiling.estimate()
            && bracket.value.as_per_second() < allowed
        {
            let [value, low, high] = [bracket.value, bracket.low, bracket.high].map(f64::from);
            return Self { value, low, high, limited_by };
        }
        if allowed >= run.cap.value {
            return run.cap;
        }
        let cap = run.cap.value.ln();
        let logs: Vec<f64> = left_out.iter().map(|pair| pair.mixed(share).min(cap)).collect();
        let half_width = if logs.len() < FEWEST_GROUPS {
            from_episodes(run, included, pair.inversion.exp())
        } else {
            // The part of the difference that was not believed is in doubt.
            let doubted = (1.0 - share) * (pair.inversion - pair.fresh).abs();
            jackknife_half_width(&logs)
                .map(|spread| spread.max(share * unlike_the_model(run, included)))
                .map(|spread| spread.hypot(doubted).hypot(resolution(run, included)))
        };
        // No spread at all is that of an estimate at the end of its range, where more or fewer misses make no
        // difference any more.
        let half_width = half_width.filter(|found| *found > 0.0);
        let half_width = half_width.map(|found| found.hypot(run.doubt_of_model()));
        let half_width = half_width.map(|found| found.hypot(drift_ahead(run, included, share)));
        // Nothing known about the spread leaves everything up to the plateau possible.
        let (low, high) = half_width.map_or((0.0, run.cap.high.max(allowed)), |half_width| {
            let reach = half_width.exp();
            (allowed / reach, allowed * reach)
        });
        Self { value: allowed, low, high, limited_by: LimitedBy::Slo }
    }

    /// Half of the interval's width, relative.
    pub(super) fn half_width(&self) -> f64 {
        (self.high - self.low) / (2.0 * self.value)
    }
}

/// The logarithm of the rate allowed, by two ways that err for different reasons.
#[derive(Clone, Copy, Debug)]
struct Pair {
    /// By inversion: true whatever the target does, but at the mercy of its luck.
    inversion: f64,
    /// Under fresh load: knows far more, if the target serves in order of arrival.
    fresh: f64,
}

impl Pair {
    fn over(run: &mut MainRun, included: &[usize]) -> Self {
        let positions = run.positions_for(included);
        let inversion = run.allowed_rate_at(&positions);
        let fresh = run.allowed_under_resampled_arrivals(included);
        Self { inversion: inversion.ln(), fresh: fresh.ln() }
    }

    fn mixed(self, share_of_inversion: f64) -> f64 {
        self.fresh + share_of_inversion * (self.inversion - self.fresh)
    }

    /// How much of the difference to believe: none within chance, all of it far beyond.
    fn share_of_inversion(self, left_out: &[Self]) -> f64 {
        let differences: Vec<f64> =
            left_out.iter().map(|pair| pair.inversion - pair.fresh).collect();
        let Some(spread) = variance(&differences) else { return 0.0 };
        let groups = differences.len() as f64;
        let standard_error = (groups - 1.0) / groups.sqrt() * spread.sqrt();
        let difference = (self.inversion - self.fresh).abs();
        let share = (difference / standard_error - WITHIN_CHANCE) / (BEYOND_CHANCE - WITHIN_CHANCE);
        if share.is_nan() { 0.0 } else { share.clamp(0.0, 1.0) }
    }
}

/// A target whose speed moved may go on moving, which groups of neighbouring segments hardly show: so
/// far the rate may be, at the end of the run, from its middle. A steady change moves the rate from the
/// middle to the end by as much as from the one half to the other.
fn drift_ahead(run: &mut MainRun, included: &[usize], share_of_inversion: f64) -> f64 {
    if run.drift.is_none() && !run.throttled {
        return 0.0;
    }
    let segments = run.trace.segments();
    let paces: Vec<f64> = included.iter().filter_map(|at| segments[*at].pace_us).collect();
    let wander = drift::wander(&paces).unwrap_or(0.0);
    let (first, second) = included.split_at(included.len() / 2);
    if first.is_empty() {
        return wander;
    }
    let [before, after] =
        [first, second].map(|half| Pair::over(run, half).mixed(share_of_inversion));
    wander.hypot(after - before)
}

/// Leaves out one group of neighbouring segments after the other. Neighbours stay together because
/// bursts and queues reach across segments.
fn left_out(run: &mut MainRun, included: &[usize]) -> Vec<Pair> {
    let groups = GROUPS.min(included.len());
    if groups < FEWEST_GROUPS {
        return Vec::new();
    }
    (0..groups)
        .map(|group| {
            let out = part(included, group, groups);
            let kept: Vec<usize> =
                included.iter().filter(|at| !out.contains(at)).copied().collect();
            Pair::over(run, &kept)
        })
        .collect()
}

/// One of some groups of neighbours, about equally large.
fn part(included: &[usize], group: usize, groups: usize) -> Vec<usize> {
    let numbered = included.iter().enumerate();
    numbered.filter(|(n, _)| n * groups / included.len() == group).map(|(_, at)| *at).collect()
}

/// The target need not miss as the model does: from one part of a run to another it misses more or less in
/// relation to the model, so by chance its misses in all are that far from what they ought to be. What
/// this is worth in rate is told by the model's long run: a lucky run, which hardly misses, would
/// understate it.
fn unlike_the_model(run: &mut MainRun, included: &[usize]) -> f64 {
    let groups = GROUPS.min(included.len());
    let parts: Vec<Vec<usize>> = (0..groups).map(|group| part(included, group, groups)).collect();
    let limits = run.trace.limits().to_vec();
    let positions = run.positions.clone();
    let of_constraint = |(number, (limit, at)): (usize, (Limit, f64))| {
        let misses: Vec<(f64, f64)> = parts
            .iter()
            .map(|part| {
                let observed = run.trace.observed(number, part) as f64;
                (observed, run.trace.modelled_at(&run.model, number, part, at))
            })
            .collect();
        let (observed, modelled) =
            misses.iter().fold((0.0, 0.0), |sum, part| (sum.0 + part.0, sum.1 + part.1));
        let left_out: Vec<f64> = misses
            .iter()
            .map(|part| {
                let [of_target, of_model] =
                    [observed - part.0, modelled - part.1].map(|misses| misses.max(FEWEST_MISSES));
                (of_target / of_model).ln()
            })
            .collect();
        let of_misses = jackknife_half_width(&left_out).unwrap_or(0.0);
        of_misses * run.model.rate_per_miss(limit, at)
    };
    limits.into_iter().zip(positions).enumerate().map(of_constraint).fold(0.0, f64::max)
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
