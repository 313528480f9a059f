//! Fresh load at the answer: the answer never rests on a model alone.
//!
//! No model takes part here. The answer is the rate at which the constraint is just met, so about
//! half of all confirmations see a few misses too many; only what chance does not explain speaks
//! against it. Misses come in clusters, hence batches, not a plain binomial test.

use super::{
    Answer, Confirmation, Drift, StepObservation, drift,
    limit::Limit,
    observed::{Calls, Pace, misses},
};
use crate::statistics::{batch_means, mean, student_t_quantile, variance, wilson_interval};

/// One-sided: a confirmation of an exact answer fails wrongly in one of a hundred searches.
const CONFIDENCE: f64 = 0.99;
const DEVIATES: f64 = 2.326;
const BATCHES: usize = 10;

/// What was seen at the answer so far.
#[derive(Debug)]
pub(super) struct Confirming {
    limits: Vec<Limit>,
    max_error_share: f64,
    /// Per constraint, 1 for every request that missed and 0 for every other.
    missed: Vec<Vec<f64>>,
    calls: Calls,
    pub(super) steps: Vec<u32>,
    pub(super) paces_us: Vec<f64>,
}

impl Confirming {
    pub(super) fn new(limits: &[Limit], max_error_share: f64) -> Self {
        Self {
            limits: limits.to_vec(),
            max_error_share,
            missed: vec![Vec::new(); limits.len()],
            calls: Calls::default(),
            steps: Vec::new(),
            paces_us: Vec::new(),
        }
    }

    pub(super) fn observe(&mut self, observation: &StepObservation, pace: Pace) {
        for (missed, limit) in self.missed.iter_mut().zip(&self.limits) {
            missed.extend(
                observation
                    .samples
                    .iter()
                    .map(|sample| f64::from(u8::from(misses(sample, *limit)))),
            );
        }
        let calls = Calls::of(&observation.samples);
        self.calls.answered += calls.answered;
        self.calls.failed += calls.failed;
        self.calls.outstanding += calls.outstanding;
        self.steps.push(observation.index);
        self.paces_us.extend(pace.of(&observation.samples, &observation.batches));
    }

    pub(super) fn requests(&self) -> u64 {
        self.calls.answered + self.calls.failed + self.calls.outstanding
    }

    /// Writes what was seen into the answer.
    pub(super) fn settle(&self, answer: &mut Answer) {
        answer.confirmation = self.verdict();
        answer.answer_steps.extend(&self.steps);
        answer.samples += self.requests();
    }

    /// The same after a soak, which can only take back what was confirmed.
    pub(super) fn settle_after_soak(&self, answer: &mut Answer) {
        if self.verdict() == Confirmation::Missed {
            answer.confirmation = Confirmation::Missed;
        }
        answer.answer_steps.extend(&self.steps);
        answer.samples += self.requests();
        if let Some(relative_change) = drift::of_pace(&self.paces_us) {
            answer.drift = Some(Drift { relative_change });
        }
    }

    fn verdict(&self) -> Confirmation {
        if self.requests() == 0 {
            return Confirmation::NotRun;
        }
        let too_many = self
            .missed
            .iter()
            .zip(&self.limits)
            .any(|(missed, limit)| lowest_share(missed) > limit.budget);
        if too_many || self.calls.fail_beyond(self.max_error_share) {
            Confirmation::Missed
        } else {
            Confirmation::Held
        }
    }
}

/// The lower end of the share of ones: by batches and by Wilson, whichever is lower. Batches know
/// about clusters, Wilson keeps a few requests from proving anything.
fn lowest_share(ones: &[f64]) -> f64 {
    let count = ones.iter().filter(|one| **one > 0.5).count() as u64;
    let by_wilson = wilson_interval(count, ones.len() as u64, DEVIATES).0;
    let batches = batch_means(ones, BATCHES);
    let (Some(share), Some(spread)) = (mean(&batches), variance(&batches)) else {
        return by_wilson;
    };
    let freedom = batches.len() as f64 - 1.0;
    let by_batches =
        share - student_t_quantile(CONFIDENCE, freedom) * (spread / batches.len() as f64).sqrt();
    by_batches.min(by_wilson)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::search::{Sample, Verdict};

    const LIMIT: Limit = Limit { latency_us: 1_000.0, budget: 0.05 };

    /// A thousand requests of which `late` miss, spread evenly or one after the other.
    fn verdict(late: u64, clustered: bool, failed: u64) -> Confirmation {
        let sample = |n: u64| {
            let misses =
                if clustered { n < late } else { late > 0 && n.is_multiple_of(1000 / late) };
            Sample {
                intended_us: n * 1000,
                latency_us: if misses { 2_000 } else { 500 },
                verdict: if n < failed { Verdict::Failed } else { Verdict::Answered },
            }
        };
        let mut confirming = Confirming::new(&[LIMIT], 0.01);
        confirming.observe(
            &StepObservation {
                samples: (0..1000).map(sample).collect(),
                ..StepObservation::default()
            },
            Pace::OfUnqueued { servers: 1 },
        );
        confirming.verdict()
    }

    #[test]
    fn misses_within_the_budget_hold_and_far_beyond_it_do_not() {
        assert_eq!(verdict(0, false, 0), Confirmation::Held);
        assert_eq!(verdict(50, false, 0), Confirmation::Held);
        assert_eq!(verdict(200, false, 0), Confirmation::Missed);
        assert_eq!(verdict(1000, false, 0), Confirmation::Missed);
    }

    #[test]
    fn one_burst_is_chance_where_even_misses_are_not() {
        assert_eq!(verdict(100, true, 0), Confirmation::Held);
        assert_eq!(verdict(100, false, 0), Confirmation::Missed);
    }

    #[test]
    fn failing_calls_do_not_confirm_and_no_calls_confirm_nothing() {
        assert_eq!(verdict(0, false, 100), Confirmation::Missed);
        assert_eq!(Confirming::new(&[LIMIT], 0.01).verdict(), Confirmation::NotRun);
    }
}
