//! What measuring left behind: every step, and what they say together.

use std::time::Duration;

use assay_measure::{search::Answer, stepped_load::StopCause};

use crate::{
    capacity::{SearchRun, StepRecord},
    load::figures::StepFigures,
};

#[derive(Debug)]
pub(super) struct Record {
    pub(super) measured: Measured,
    /// The origin of the steps' times on the trial's clock.
    pub(super) base_ns: u64,
    pub(super) elapsed: Duration,
}

#[derive(Debug)]
pub(super) enum Measured {
    Search(Box<SearchRun>),
    Fixed(Vec<StepRecord>),
    /// A load with stopping conditions that has ended.
    Stepped {
        steps: Vec<StepRecord>,
        answer: Answer,
        stopped_by: StopCause,
    },
}

impl Record {
    pub(super) fn steps(&self) -> &[StepRecord] {
        match &self.measured {
            Measured::Search(run) => &run.steps,
            Measured::Fixed(steps) | Measured::Stepped { steps, .. } => steps,
        }
    }

    /// The answer of a search, or of a load with stopping conditions.
    pub(super) fn answer(&self) -> Option<&Answer> {
        match &self.measured {
            Measured::Search(run) => run.answer(),
            Measured::Fixed(_) => None,
            Measured::Stepped { answer, .. } => Some(answer),
        }
    }

    /// What ended a load with stopping conditions.
    pub(super) fn stopped_by(&self) -> Option<StopCause> {
        match &self.measured {
            Measured::Search(_) | Measured::Fixed(_) => None,
            Measured::Stepped { stopped_by, .. } => Some(*stopped_by),
        }
    }

    /// The steps at the answer; of a fixed load, the last one.
    pub(super) fn at_answer(&self) -> Vec<&StepRecord> {
        match &self.measured {
            Measured::Search(run) => run.answer_steps().collect(),
            Measured::Fixed(steps) => steps.last().into_iter().collect(),
            Measured::Stepped { steps, answer, .. } => {
                steps.iter().filter(|step| answer.answer_steps.contains(&step.plan.index)).collect()
            }
        }
    }

    /// The figures of those steps together.
    pub(super) fn figures_at_answer(&self) -> StepFigures {
        self.at_answer().iter().map(|step| &step.figures).sum()
    }
}

/// When a step began and ended on the trial's clock.
pub(super) fn span_ns(base_ns: u64, record: &StepRecord) -> (u64, u64) {
    let nanoseconds = |duration: Duration| u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
    let from_ns = base_ns.saturating_add(nanoseconds(record.started));
    (from_ns, from_ns.saturating_add(nanoseconds(record.elapsed)))
}
