//! What the search knows about time, which it learns from observations alone.
//!
//! Every step is planned to end, with its verdicts, before the deadline. How long the target needs to
//! work off what is outstanding is not known in advance; the longest latency just seen stands for it.

use std::time::Duration;

use super::{Sample, StepObservation, StepPlan};
use crate::units::as_micros;

/// What is outstanding may take so many times the longest latency seen, and a driver pauses a little
/// between steps. Both only hold back time; nothing waits for them.
const DRAIN_RESERVE: f64 = 1.5;
const PAUSE_US: f64 = 100_000.0;

#[derive(Debug)]
pub(super) struct Clock {
    deadline_us: u64,
    /// When the next step begins if it waits for all that is outstanding.
    free_us: u64,
    /// When the last planned step ends.
    planned_end_us: u64,
}

impl Clock {
    pub(super) fn new(max_duration: Duration) -> Self {
        Self { deadline_us: as_micros(max_duration), free_us: 0, planned_end_us: 0 }
    }

    /// Time from the next step's beginning to the deadline.
    pub(super) fn left(&self, continues: bool) -> Duration {
        let start =
            if continues { self.planned_end_us } else { self.free_us.max(self.planned_end_us) };
        Duration::from_micros(self.deadline_us.saturating_sub(start))
    }

    /// Time from the search's beginning to that of the next step.
    pub(super) fn spent(&self) -> Duration {
        Duration::from_micros(self.free_us.max(self.planned_end_us))
    }

    pub(super) fn step_planned(&mut self, step: &StepPlan) {
        let start = if step.continues {
            self.planned_end_us
        } else {
            self.free_us.max(self.planned_end_us)
        };
        self.planned_end_us = start.saturating_add(as_micros(step.duration));
        self.free_us = self.planned_end_us.saturating_add(as_micros(step.verdict_after));
    }

    /// `following`: the step that began, without a pause, when the observed one ended.
    pub(super) fn step_observed(
        &mut self,
        step: &StepPlan,
        observation: &StepObservation,
        following: Option<&StepPlan>,
    ) {
        let ended = observation.started_us.saturating_add(observation.elapsed_us);
        let last = following.unwrap_or(step);
        self.planned_end_us =
            following.map_or(ended, |next| ended.saturating_add(as_micros(next.duration)));
        let longest_us =
            observation.samples.iter().map(|sample: &Sample| sample.latency_us).max().unwrap_or(0);
        let verdicts_us = as_micros(last.verdict_after).max(reserve(longest_us));
        self.free_us = self.planned_end_us.saturating_add(verdicts_us);
    }
}

fn reserve(latency_us: u64) -> u64 {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "not negative, the cast saturates"
    )]
    let reserved = (latency_us as f64 * DRAIN_RESERVE + PAUSE_US) as u64;
    reserved
}
