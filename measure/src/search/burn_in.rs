//! What saturation says about a target: its settled plateau, and whether it throttles.
//!
//! Full mode saturates the target before the run, so that the answer is that of a warm machine. Quick
//! mode only does so for a moment after the answer was confirmed: too late to measure it warm, but
//! soon enough to tell that it would be another one.

use super::{StepObservation, drift, estimate_of, observed::throughputs, staircase::Plateau};
use crate::statistics::mean_interval;

/// A fall of throughput by more is throttling.
const THROTTLING: f64 = 0.015;
/// Parts into which saturation is cut.
const WINDOWS: usize = 20;

/// Takes the settled part of the burn-in for the plateau; returns the change of throughput when it
/// fell.
pub(super) fn burnt_in(
    plateau: &mut Plateau,
    users: u32,
    observation: &StepObservation,
) -> Option<f64> {
    const SETTLED_FROM: usize = 8;
    const FIFTH: usize = WINDOWS / 5;
    plateau.batches.add(&observation.batches, false);
    let windows = throughputs(observation, users, WINDOWS);
    if windows.len() < WINDOWS {
        return None;
    }
    if let Some(found) = mean_interval(&windows[SETTLED_FROM..]) {
        plateau.throughput = estimate_of(found);
    }
    fall(&windows[..FIFTH], &windows[WINDOWS - FIFTH..])
}

/// The change of throughput in a moment of saturation after the answer, when it fell. A machine warm
/// enough to throttle soon does so at its end, so the last quarter is held against the first half.
pub(super) fn throttled(users: u32, observation: &StepObservation) -> Option<f64> {
    const QUARTER: usize = WINDOWS / 4;
    let windows = throughputs(observation, users, WINDOWS);
    if windows.len() < WINDOWS {
        return None;
    }
    fall(&windows[..WINDOWS / 2], &windows[WINDOWS - QUARTER..])
}

fn fall(before: &[f64], after: &[f64]) -> Option<f64> {
    drift::of_means(before, after, THROTTLING).filter(|change| *change < 0.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::search::{Estimate, LimitedBy, Sample, Verdict, batching::BatchesSeen};
    use crate::units::Rate;

    /// Forty-five seconds of answers, one after the other, ever slower by a share of the first.
    fn burn(slowdown: f64) -> StepObservation {
        let (mut at_us, mut samples) = (0.0_f64, Vec::new());
        while at_us < 45e6 {
            at_us += 10_000.0 * (1.0 + slowdown * at_us / 45e6);
            let sample = Sample { intended_us: 0, latency_us: 0, verdict: Verdict::Answered };
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "below a minute"
            )]
            samples.push(Sample { intended_us: at_us as u64, ..sample });
        }
        StepObservation { samples, elapsed_us: 45_000_000, ..StepObservation::default() }
    }

    fn plateau() -> Plateau {
        let rate = Rate::per_second(150.0).unwrap();
        Plateau {
            throughput: Estimate { value: rate, low: rate, high: rate },
            users: 2,
            filling_users: 2,
            unloaded_us: 10_000.0,
            limited_by: LimitedBy::Saturation,
            steps: vec![1],
            contending_servers: None,
            batches: BatchesSeen::default(),
        }
    }

    #[test]
    fn a_steady_target_settles_at_its_own_throughput() {
        let mut found = plateau();
        assert_eq!(burnt_in(&mut found, 1, &burn(0.0)), None);
        assert!((found.throughput.value.as_per_second() - 100.0).abs() < 0.1);
    }

    #[test]
    fn a_target_that_slows_down_is_throttled() {
        let mut found = plateau();
        let change = burnt_in(&mut found, 1, &burn(0.1)).unwrap();
        assert!((-0.09..-0.06).contains(&change), "{change}");
        assert!(found.throughput.value.as_per_second() < 95.0);
        assert_eq!(burnt_in(&mut found, 1, &StepObservation::default()), None);
    }

    #[test]
    fn a_moment_of_saturation_tells_a_slowing_target_from_a_steady_one() {
        assert_eq!(throttled(1, &burn(0.0)), None);
        assert!(throttled(1, &burn(0.1)).unwrap() < -0.03);
        assert_eq!(throttled(1, &burn(-0.1)), None, "getting faster is no throttling");
        assert_eq!(throttled(1, &StepObservation::default()), None);
    }
}
