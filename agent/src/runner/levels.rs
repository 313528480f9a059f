//! The levels of a load with stopping conditions: steps put together, and watched one level at a time.

use assay_measure::{
    latency::Latency,
    search::StepObservation,
    stepped_load::{Level, LevelWatch, SteppedLoad, StopCause},
};

use super::{problem::Problem, record::Measured};
use crate::{capacity::StepRecord, load::figures::StepFigures};

/// What was held so far.
#[derive(Debug)]
pub(super) struct Levels {
    watch: LevelWatch,
    /// Whether a level ends with the step of this index.
    ends_level: Vec<bool>,
    steps: Vec<StepRecord>,
    level: Level,
    figures: StepFigures,
}

impl Levels {
    pub(super) fn new(load: &SteppedLoad) -> Self {
        Self {
            watch: LevelWatch::new(load.stopping().clone()),
            ends_level: load.segments().iter().map(|segment| segment.ends_level).collect(),
            steps: Vec::new(),
            level: Level::default(),
            figures: StepFigures::default(),
        }
    }

    /// Takes a step that has ended; says why the load must end, if it must.
    pub(super) fn add(
        &mut self,
        record: StepRecord,
        observation: &StepObservation,
    ) -> Option<StopCause> {
        self.level.add(record.users().unwrap_or(0), observation);
        self.figures.merge(&record.figures);
        let ended = self.ends_level.get(self.steps.len()).copied().unwrap_or(true);
        self.steps.push(record);
        if !ended {
            return None;
        }
        let figures = std::mem::take(&mut self.figures);
        let level = Level {
            answered: figures.answered,
            failed: figures.errors.total(),
            latency: Latency::of(&figures.latency),
            ..std::mem::take(&mut self.level)
        };
        self.watch.observe(level)
    }

    /// What the levels tell, once the load has ended.
    pub(super) fn answer(self, stopped_by: StopCause) -> Result<Measured, Problem> {
        match self.watch.answer(stopped_by) {
            Ok(answer) => Ok(Measured::Stepped { steps: self.steps, answer, stopped_by }),
            Err(why) => {
                let first = self.steps.iter().find_map(|step| step.figures.first_failure.clone());
                Err(Problem::NoLevelHeld { why, first_failure: first.map(Box::new) })
            }
        }
    }
}
