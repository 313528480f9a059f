//! Drives the capacity search: performs the steps it asks for and hands back what came of them.
//!
//! Decides nothing itself. Used by trials and by `assay-agent capacity` alike.

use std::{collections::VecDeque, time::Duration};

use assay_measure::{
    hardware::Utilization,
    latency::{self, Latency},
    outcome::StepResult,
    schedule::{Load, Phase},
    search::{
        Answer, Batch, Next, Purpose, Search, SearchFailure, SearchPlan, StepObservation, StepPlan,
        UnexpectedObservation, Verdict,
    },
    slo::Slo,
    units::{Rate, as_micros},
    validity::{ClosedLoopEvidence, Evidence, GeneratorEvidence},
};
use thiserror::Error;

use crate::load::{
    Generator, GeneratorError,
    figures::{EndedStep, StepEnd, StepFigures},
};

/// A step that has ended, as reports show it.
#[derive(Clone, Debug)]
pub struct StepRecord {
    pub plan: StepPlan,
    /// When it began, since the generator was started.
    pub started: Duration,
    /// How long load was offered.
    pub elapsed: Duration,
    pub figures: StepFigures,
    /// The generator could not keep the schedule.
    pub generator_saturated: bool,
    /// Calls that missed a constraint, failed ones included; absent without one.
    pub missed: Option<u64>,
    /// Every constraint held; absent without one, and in closed loop, which says nothing about arrivals.
    pub accepted: Option<bool>,
    /// Batches that the target told.
    pub batches: usize,
}

/// What happens while a search runs.
#[derive(Debug)]
pub enum SearchEvent<'a> {
    /// A step was handed to the generator; it begins when its predecessor ends.
    StepPlanned(&'a StepPlan),
    StepFinished(&'a StepRecord),
}

#[derive(Clone, Debug, PartialEq)]
pub enum SearchEnd {
    Answered(Box<Answer>),
    /// There is no capacity to find.
    Failed(SearchFailure),
    Cancelled,
    /// Nothing accepted connections any more.
    TargetLost {
        reason: String,
    },
}

/// A search that has ended, with every step of it.
#[derive(Clone, Debug)]
pub struct SearchRun {
    pub end: SearchEnd,
    pub steps: Vec<StepRecord>,
}

/// The search could not be driven.
#[derive(Debug, Error)]
pub enum CapacityError {
    #[error(transparent)]
    Generator(#[from] GeneratorError),
    #[error("the search and the load generator disagree")]
    Disagreement(#[from] UnexpectedObservation),
}

/// A segment of fixed load as a step; those behind the first follow without a pause.
#[must_use]
pub fn fixed_step(index: u32, phase: &Phase, verdict_after: Duration) -> StepPlan {
    StepPlan {
        index,
        purpose: Purpose::Fixed,
        load: phase.load.clone(),
        duration: phase.duration,
        continues: index > 0,
        verdict_after,
    }
}

/// A single request, before any load.
#[must_use]
pub fn one_request(index: u32, verdict_after: Duration) -> StepPlan {
    StepPlan {
        index,
        purpose: Purpose::WarmUp,
        load: Load::Replay { at_us: vec![0] },
        duration: Duration::from_millis(1),
        continues: false,
        verdict_after,
    }
}

/// What a target tells of its batches that tells nothing.
#[must_use]
pub fn no_batches(_: &StepObservation) -> Vec<Batch> {
    Vec::new()
}

/// Runs a search to its end on the calling thread; the generator sends on its own. `batches_of` says which
/// batches the target served in a step, see [`StepObservation::batches`].
///
/// # Errors
/// [`CapacityError`] when generator or search fail; a target that fails is a [`SearchEnd`].
pub fn search(
    generator: &mut Generator,
    plan: &SearchPlan,
    mut batches_of: impl FnMut(&StepObservation) -> Vec<Batch>,
    mut observer: impl FnMut(SearchEvent<'_>),
) -> Result<SearchRun, CapacityError> {
    let mut search = Search::new(plan.clone());
    let mut in_flight: VecDeque<StepPlan> = VecDeque::new();
    let mut steps = Vec::new();
    let end = loop {
        let next = search.next();
        let result = match next {
            Next::Step(step) => {
                observer(SearchEvent::StepPlanned(&step));
                match generator.submit(&step) {
                    Ok(()) => {
                        in_flight.push_back(step);
                        continue;
                    }
                    // The results of the steps before say why.
                    Err(GeneratorError::Ended) => generator.wait_next()?,
                    Err(error) => return Err(error.into()),
                }
            }
            Next::Wait => generator.wait_next()?,
            Next::Done(answer) => break SearchEnd::Answered(answer),
            Next::Failed(failure) => break SearchEnd::Failed(failure),
        };
        let (Some(mut result), Some(step)) = (result, in_flight.pop_front()) else {
            break SearchEnd::Cancelled;
        };
        if result.end == StepEnd::Complete {
            result.observation.batches = batches_of(&result.observation);
            search.observe(&result.observation)?;
        }
        let end = result.end.clone();
        let record = StepRecord::new(step, &plan.constraints, plan.max_error_share, result);
        observer(SearchEvent::StepFinished(&record));
        steps.push(record);
        match end {
            StepEnd::Complete => {}
            StepEnd::Cancelled => break SearchEnd::Cancelled,
            StepEnd::TargetLost { reason } => break SearchEnd::TargetLost { reason },
        }
    };
    Ok(SearchRun { end, steps })
}

impl StepRecord {
    /// The record of a step, judged by the constraints.
    #[must_use]
    pub fn new(
        plan: StepPlan,
        constraints: &[Slo],
        max_error_share: f64,
        result: EndedStep,
    ) -> Self {
        let elapsed = result.lasted(&plan.load);
        let EndedStep { observation, figures, .. } = result;
        let judged = !constraints.is_empty() && !matches!(plan.load, Load::Closed { .. });
        let misses = |slo: &Slo| {
            let limit_us = as_micros(slo.limit());
            observation
                .samples
                .iter()
                .filter(|sample| sample.verdict == Verdict::Failed || sample.latency_us > limit_us)
                .count() as u64
        };
        let calls = observation.samples.len() as f64;
        let accepted = judged.then(|| {
            let held = |slo: &Slo| misses(slo) as f64 <= slo.miss_budget() * calls;
            constraints.iter().all(held) && figures.errors.total() as f64 <= max_error_share * calls
        });
        Self {
            missed: judged.then(|| constraints.iter().map(misses).max().unwrap_or(0)),
            accepted,
            plan,
            started: Duration::from_micros(observation.started_us),
            elapsed,
            generator_saturated: observation.generator_saturated,
            batches: observation.batches.len(),
            figures,
        }
    }

    #[must_use]
    pub fn users(&self) -> Option<u32> {
        match self.plan.load {
            Load::Closed { users } => Some(users),
            Load::Open { .. } | Load::Replay { .. } => None,
        }
    }

    /// The rate that was offered in open loop.
    #[must_use]
    pub fn offered(&self) -> Option<Rate> {
        match &self.plan.load {
            Load::Closed { .. } => None,
            Load::Open { rate, .. } => Some(*rate),
            Load::Replay { .. } => Some(per_second(self.figures.sent, self.elapsed)),
        }
    }

    #[must_use]
    pub fn achieved(&self) -> Rate {
        per_second(self.figures.answered, self.elapsed)
    }

    /// Latency of the answered calls.
    #[must_use]
    pub fn latency(&self) -> Option<Latency> {
        Latency::of(&self.figures.latency)
    }

    /// What is told of it, with what the machine was seen doing meanwhile.
    #[must_use]
    pub fn result(&self, utilization: Utilization) -> StepResult {
        StepResult {
            index: self.plan.index,
            purpose: self.plan.purpose,
            users: self.users(),
            offered: self.offered(),
            achieved: self.achieved(),
            started: self.started,
            duration: self.elapsed,
            latency: self.latency(),
            failed_calls: self.figures.errors.total(),
            missed_calls: self.missed,
            accepted: self.accepted,
            utilization,
            histogram: latency::encode(&self.figures.latency),
        }
    }
}

impl SearchRun {
    /// The answer, if there is one.
    #[must_use]
    pub fn answer(&self) -> Option<&Answer> {
        match &self.end {
            SearchEnd::Answered(answer) => Some(answer),
            SearchEnd::Failed(_) | SearchEnd::Cancelled | SearchEnd::TargetLost { .. } => None,
        }
    }

    /// The steps whose latencies belong to the answer; without one, none.
    pub fn answer_steps(&self) -> impl Iterator<Item = &StepRecord> {
        let indices = self.answer().map_or(&[][..], |answer| &answer.answer_steps);
        self.steps.iter().filter(|step| indices.contains(&step.plan.index))
    }

    /// The figures of the answer's steps together.
    #[must_use]
    pub fn answer_figures(&self) -> StepFigures {
        self.answer_steps().map(|step| &step.figures).sum()
    }

    /// The figures of every step together. Latencies of open and closed loop are mixed in it: only the
    /// counts, the generator's time and its lag mean anything.
    #[must_use]
    pub fn totals(&self) -> StepFigures {
        self.steps.iter().map(|step| &step.figures).sum()
    }

    /// What speaks for and against the answer, as far as the load generator knows.
    #[must_use]
    pub fn evidence(&self, plan: &SearchPlan, shares_cores: bool) -> Evidence {
        let judged: Vec<&StepRecord> = self.answer_steps().collect();
        Evidence {
            mode: Some(plan.mode),
            constraints: plan.constraints.clone(),
            max_error_share: plan.max_error_share,
            ..evidence_of_steps(self.answer(), &judged, &self.steps, shares_cores)
        }
    }
}

/// What the calls of the `judged` steps and the closed loops among `all` say about an answer.
#[must_use]
pub fn evidence_of_steps(
    answer: Option<&Answer>,
    judged: &[&StepRecord],
    all: &[StepRecord],
    shares_cores: bool,
) -> Evidence {
    let figures: StepFigures = judged.iter().map(|step| &step.figures).sum();
    let failed_calls = figures.errors.total();
    Evidence {
        answer: answer.cloned(),
        calls: figures.answered + failed_calls,
        failed_calls,
        median_latency_us: Latency::of(&figures.latency).map(|figures| figures.p50_us as f64),
        generator: GeneratorEvidence {
            lag_p99_us: Latency::of(&figures.lag).map(|lag| lag.p99_us as f64),
            saturated: judged.iter().any(|step| step.generator_saturated),
            shares_cores,
        },
        closed_loop: all.iter().filter_map(closed_loop_evidence).collect(),
        ..Evidence::default()
    }
}

/// What a closed-loop step says about Little's law; steps with failed calls say nothing.
fn closed_loop_evidence(step: &StepRecord) -> Option<ClosedLoopEvidence> {
    let users = step.users().filter(|_| step.figures.errors.total() == 0)?;
    Some(ClosedLoopEvidence {
        users,
        answered: step.figures.answered,
        per_second: step.achieved().as_per_second(),
        mean_latency_us: step.latency()?.mean_us,
    })
}

/// A count over a time as a rate.
#[must_use]
pub fn per_second(count: u64, elapsed: Duration) -> Rate {
    let seconds = elapsed.as_secs_f64();
    if seconds > 0.0 {
        Rate::per_second(count as f64 / seconds).unwrap_or(Rate::ZERO)
    } else {
        Rate::ZERO
    }
}

#[cfg(test)]
mod tests;
