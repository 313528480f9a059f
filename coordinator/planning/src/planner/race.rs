//! Which configurations are worth a full search: each is measured quickly first, and only what may
//! still win its instance type is measured in full.
//!
//! Configurations of one type have one price, so more capacity is less cost, whatever the price. The
//! one that was quickly found to carry most is measured in full; after that another one follows only
//! while its quick interval lies above that full figure. What overlaps is a tie, and minutes spent on
//! it would not change what the user pays. Under goals latency counts too, so everything that the
//! quick intervals leave in the race is measured in full. Of every type at least one configuration is,
//! so types are compared by full figures. The quick trials of a race do not look for throttling: the burn-in of
//! the full one on the same machine does. What quick trials cost that had to be measured again, the full
//! ones of their type make up for.

use std::{
    collections::{BTreeMap, BTreeSet},
    iter,
    time::Duration,
};

use assay_measure::{
    ids::{InstanceTypeName, TrialId},
    job::JobSpec,
    latency::Latency,
    outcome::{TrialOutcome, TrialResult},
    search::Mode,
    slo::SloMetric,
    validity::Verdict,
};
use serde::{Deserialize, Serialize};

use super::{Candidate, Plan, PlannedTrial, timing};
use crate::{constraints, fleet::AgentView};

#[derive(Clone, Debug, PartialEq)]
pub struct EndedTrial {
    pub outcome: TrialOutcome,
    /// How often it was measured again before.
    pub repeats: u32,
}

impl EndedTrial {
    fn took_again(&self) -> Duration {
        self.outcome.took().saturating_mul(self.repeats)
    }
}

/// How a candidate comes to its figures.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "stage", rename_all = "snake_case")]
pub enum Stage {
    /// Its trial is its only one.
    #[default]
    Single,
    /// Its trial is the quick one that decides whether a full one follows.
    Screening,
    /// Its quick trial stays its only one: another configuration of the type is as good or better, or
    /// it failed.
    Dominated,
    /// Its trial is a full one.
    Final {
        /// The quick trial before it.
        screening: TrialId,
    },
}

impl Stage {
    /// The quick trial before a full one.
    #[must_use]
    pub const fn screening(&self) -> Option<&TrialId> {
        match self {
            Self::Final { screening } => Some(screening),
            Self::Single | Self::Screening | Self::Dominated => None,
        }
    }
}

impl Candidate {
    /// Both are ways to serve the model on one type, itself included. An endpoint is no such way: whoever
    /// compares with it wants its figures in full.
    fn is_rival_of(&self, other: &Self) -> bool {
        self.instance_type == other.instance_type
            && self.serving.configuration().is_some()
            && other.serving.configuration().is_some()
    }
}

impl Plan {
    /// Makes quick trials of those whose candidates have rivals of the same instance type.
    pub(super) fn begin_race(&mut self, job: &JobSpec) {
        if job.mode != Mode::Full || job.load.is_some() {
            return;
        }
        let has_rivals = |candidate: &&Candidate| {
            self.candidates.iter().filter(|other| other.is_rival_of(candidate)).count() > 1
        };
        let screenings: BTreeSet<TrialId> = self
            .candidates
            .iter()
            .filter(has_rivals)
            .map(|candidate| candidate.trial.clone())
            .collect();
        for candidate in &mut self.candidates {
            if screenings.contains(&candidate.trial) {
                candidate.stage = Stage::Screening;
            }
        }
        for trial in &mut self.trials {
            if let Some(search) = &mut trial.search
                && screenings.contains(&trial.id)
            {
                search.mode = Mode::Quick;
                search.soak = None;
                search.skip_thermal_check = true;
            }
        }
    }

    /// One quick trial of each instance type that is still racing; types that share theirs have one.
    pub(super) fn screening_of_each_type(&self) -> impl Iterator<Item = &PlannedTrial> {
        let screenings =
            self.candidates.iter().filter(|candidate| candidate.stage == Stage::Screening);
        let by_type: BTreeMap<&InstanceTypeName, &TrialId> =
            screenings.map(|candidate| (&candidate.instance_type, &candidate.trial)).collect();
        let screenings: BTreeSet<&TrialId> = by_type.into_values().collect();
        screenings.into_iter().filter_map(|id| self.trial(id))
    }

    /// Adds the full trials that are worth it in those instance types whose trials have all ended,
    /// within the time left. Returns the names of new trials, `None` when nothing was decided.
    ///
    /// `ended` tells how a trial ended, `None` while it has not.
    pub fn advance_race(
        &mut self,
        job: &JobSpec,
        fleet: &[AgentView],
        ended: impl Fn(&TrialId) -> Option<EndedTrial>,
        time_left: Duration,
    ) -> Option<Vec<TrialId>> {
        let racing: BTreeSet<InstanceTypeName> = self
            .candidates
            .iter()
            .filter(|candidate| candidate.stage == Stage::Screening)
            .map(|candidate| candidate.instance_type.clone())
            .collect();
        let first_new = self.trials.len();
        let mut makes_up_for: Vec<Duration> = Vec::new();
        let mut decided = false;
        for instance_type in racing {
            let is_racing = |candidate: &Candidate| {
                candidate.instance_type == instance_type
                    && candidate.serving.configuration().is_some()
            };
            let rivals: Vec<usize> = (0..self.candidates.len())
                .filter(|&index| is_racing(&self.candidates[index]))
                .collect();
            let ended: Option<Vec<EndedTrial>> =
                rivals.iter().map(|&index| ended(&self.candidates[index].trial)).collect();
            let Some(ended) = ended else { continue };
            decided = true;
            let again: Duration = ended.iter().map(EndedTrial::took_again).sum();
            let ended: Vec<TrialOutcome> = ended.into_iter().map(|one| one.outcome).collect();
            let stages: Vec<&Stage> =
                rivals.iter().map(|&index| &self.candidates[index].stage).collect();
            for (&index, turn) in rivals.iter().zip(turns(job, &stages, &ended)) {
                match turn {
                    Turn::Final => self.send_to_final(job, index),
                    Turn::Out => self.candidates[index].stage = Stage::Dominated,
                    Turn::Wait => {}
                }
            }
            let sent = self.trials.len() - first_new - makes_up_for.len();
            makes_up_for.extend(iter::repeat_n(again.div_f64(sent.max(1) as f64), sent));
        }
        let finals = &mut self.trials[first_new..];
        let queue = timing::longest_queue(finals, fleet);
        for (trial, makes_up_for) in finals.iter_mut().zip(makes_up_for) {
            timing::give(trial, job, queue, time_left, makes_up_for);
        }
        decided.then(|| finals.iter().map(|trial| trial.id.clone()).collect())
    }

    fn send_to_final(&mut self, job: &JobSpec, index: usize) {
        let screening = self.candidates[index].trial.clone();
        let sent_already = self
            .candidates
            .iter()
            .find(|candidate| candidate.stage.screening() == Some(&screening));
        let id = match sent_already.map(|candidate| candidate.trial.clone()) {
            Some(id) => id,
            None => {
                let Some(quick) = self.trial(&screening).cloned() else { return };
                let id = self.next_id(&job.name);
                self.trials.push(in_full(job, quick, id.clone()));
                id
            }
        };
        self.candidates[index].trial = id;
        self.candidates[index].stage = Stage::Final { screening };
    }
}

fn in_full(job: &JobSpec, mut trial: PlannedTrial, id: TrialId) -> PlannedTrial {
    trial.id = id;
    if let Some(search) = &mut trial.search {
        search.mode = Mode::Full;
        search.soak = job.soak;
        search.skip_thermal_check = false;
    }
    trial
}

/// What comes next for a configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    /// It is measured in full.
    Final,
    /// It stays with its quick figures.
    Out,
    /// Others come first, or it has had its turn.
    Wait,
}

/// For each of the configurations of a type, all of whose trials have ended: what comes next?
fn turns(job: &JobSpec, stages: &[&Stage], ended: &[TrialOutcome]) -> Vec<Turn> {
    let believed: Vec<Option<&TrialResult>> =
        ended.iter().map(|outcome| believable(job, outcome)).collect();
    let capacity = |index: usize| Some(believed[index]?.answer.as_ref()?.capacity);
    let is_waiting = |index: &usize| *stages[*index] == Stage::Screening;
    let in_full = (0..stages.len()).filter(|index| matches!(stages[*index], Stage::Final { .. }));
    let best_in_full = in_full
        .filter_map(capacity)
        .max_by(|a, b| a.value.as_per_second().total_cmp(&b.value.as_per_second()));
    let may_win = |index: &usize| match best_in_full {
        Some(best) => capacity(*index).is_some_and(|found| found.low > best.value),
        None => stays_in_race(job, &ended[*index], &believed),
    };
    let (contending, beaten): (Vec<usize>, Vec<usize>) =
        (0..stages.len()).filter(is_waiting).partition(may_win);
    // Figures that cannot be believed rule nothing out, and they do not lead either.
    let leader = contending
        .iter()
        .copied()
        .filter_map(|index| Some((index, capacity(index)?.value.as_per_second())))
        .max_by(|a, b| a.1.total_cmp(&b.1))
        .map(|(index, _)| index);
    let takes_turns = job.goals.is_none();
    (0..stages.len())
        .map(|index| match () {
            () if beaten.contains(&index) => Turn::Out,
            () if !contending.contains(&index) => Turn::Wait,
            () if takes_turns && leader != Some(index) && believed[index].is_some() => Turn::Wait,
            () => Turn::Final,
        })
        .collect()
}

/// The figures of a trial, unless they cannot be believed or miss a constraint.
fn believable<'a>(job: &JobSpec, outcome: &'a TrialOutcome) -> Option<&'a TrialResult> {
    measurement(outcome)
        .filter(|measurement| measurement.validity.verdict != Verdict::Invalid)
        .filter(|measurement| constraints::missed(&job.constraints, measurement).is_none())
}

/// By its quick figures a configuration may be the best of its type.
fn stays_in_race(job: &JobSpec, outcome: &TrialOutcome, rivals: &[Option<&TrialResult>]) -> bool {
    let metric = job.constraints.first().map_or(SloMetric::P95, |slo| slo.metric());
    let beaten_by = |own: &TrialResult, other: &TrialResult| {
        let (Some(own_answer), Some(other_answer)) = (&own.answer, &other.answer) else {
            return false;
        };
        let figure = |latency: &Latency| latency.figure_us(metric);
        // What was not answered is not faster.
        let slower = match (&own.latency, &other.latency) {
            (Some(own), Some(other)) => figure(own) >= figure(other),
            (own, _) => own.is_none(),
        };
        other_answer.capacity.low > own_answer.capacity.high && (job.goals.is_none() || slower)
    };
    measurement(outcome).is_some_and(|own| {
        own.validity.verdict == Verdict::Invalid
            || !rivals.iter().flatten().any(|other| beaten_by(own, other))
    })
}

fn measurement(outcome: &TrialOutcome) -> Option<&TrialResult> {
    match outcome {
        TrialOutcome::Measured(measurement) => Some(measurement),
        TrialOutcome::Failed(_) | TrialOutcome::Cancelled { .. } => None,
    }
}

#[cfg(test)]
mod tests;
