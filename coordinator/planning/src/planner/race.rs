//! Which configurations are worth a full search: each is measured quickly first, and only those that
//! the quick intervals leave in the race of their instance type are measured in full.
//!
//! Configurations of one type have one price, so more capacity is less cost, whatever the price; under
//! goals a configuration is also kept while its latency may win. Of every type at least one
//! configuration is measured in full, so types are compared by full figures.

use std::{collections::BTreeSet, time::Duration};

use assay_measure::{
    ids::{InstanceTypeName, TrialId},
    job::JobSpec,
    outcome::{Measurement, TrialOutcome},
    search::Mode,
    slo::SloMetric,
    trial::Work,
    validity::Verdict,
};
use serde::{Deserialize, Serialize};

use super::{Candidate, Plan, PlannedTrial, timing};
use crate::{constraints, fleet::AgentView};

/// How a candidate comes to its figures.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "stage", rename_all = "snake_case")]
pub enum Stage {
    /// Its trial is its only one.
    #[default]
    Single,
    /// Its trial is the quick one that decides whether a full one follows.
    Heat,
    /// Its quick trial stays its only one: another configuration of the type is better, or it failed.
    Dominated,
    /// Its trial is a full one.
    Final {
        /// The quick trial before it.
        heat: TrialId,
    },
}

impl Stage {
    /// The quick trial before a full one.
    #[must_use]
    pub const fn heat(&self) -> Option<&TrialId> {
        match self {
            Self::Final { heat } => Some(heat),
            Self::Single | Self::Heat | Self::Dominated => None,
        }
    }
}

impl Plan {
    /// Makes quick trials of those whose candidates have rivals of the same instance type.
    pub(super) fn begin_race(&mut self, job: &JobSpec) {
        if job.mode != Mode::Full || job.fixed_load.is_some() {
            return;
        }
        let has_rivals = |candidate: &&Candidate| {
            self.candidates
                .iter()
                .filter(|other| other.instance_type == candidate.instance_type)
                .count()
                > 1
        };
        let heats: BTreeSet<TrialId> = self
            .candidates
            .iter()
            .filter(has_rivals)
            .map(|candidate| candidate.trial.clone())
            .collect();
        for candidate in &mut self.candidates {
            if heats.contains(&candidate.trial) {
                candidate.stage = Stage::Heat;
            }
        }
        for trial in &mut self.trials {
            if let Work::Search(search) = &mut trial.spec.work
                && heats.contains(&trial.spec.id)
            {
                search.mode = Mode::Quick;
                search.soak = None;
            }
        }
    }

    /// Adds the full trials of those instance types whose quick ones have all ended, within the time
    /// left. Returns the names of new trials, `None` when nothing was decided; each type is decided once.
    ///
    /// `outcome` tells how a trial ended, `None` while it has not.
    pub fn advance_race(
        &mut self,
        job: &JobSpec,
        fleet: &[AgentView],
        outcome: impl Fn(&TrialId) -> Option<TrialOutcome>,
        time_left: Duration,
    ) -> Option<Vec<TrialId>> {
        let racing: BTreeSet<InstanceTypeName> = self
            .candidates
            .iter()
            .filter(|candidate| candidate.stage == Stage::Heat)
            .map(|candidate| candidate.instance_type.clone())
            .collect();
        let first_new = self.trials.len();
        let mut decided = false;
        for instance_type in racing {
            let rivals: Vec<usize> = (0..self.candidates.len())
                .filter(|&index| self.candidates[index].instance_type == instance_type)
                .collect();
            let ended: Option<Vec<TrialOutcome>> =
                rivals.iter().map(|&index| outcome(&self.candidates[index].trial)).collect();
            let Some(ended) = ended else { continue };
            decided = true;
            for (&index, in_race) in rivals.iter().zip(stays_in_race(job, &ended)) {
                if in_race {
                    self.send_to_final(job, index);
                } else {
                    self.candidates[index].stage = Stage::Dominated;
                }
            }
        }
        let finals = &mut self.trials[first_new..];
        let queue = timing::longest_queue(finals, fleet);
        for trial in finals.iter_mut() {
            timing::give(trial, queue, time_left);
        }
        decided.then(|| finals.iter().map(|trial| trial.spec.id.clone()).collect())
    }

    fn send_to_final(&mut self, job: &JobSpec, index: usize) {
        let heat = self.candidates[index].trial.clone();
        let sent_already =
            self.candidates.iter().find(|candidate| candidate.stage.heat() == Some(&heat));
        let id = match sent_already.map(|candidate| candidate.trial.clone()) {
            Some(id) => id,
            None => {
                let Some(quick) = self.trial(&heat).cloned() else { return };
                let id = self.next_id(&job.name);
                self.trials.push(in_full(job, quick, id.clone()));
                id
            }
        };
        self.candidates[index].trial = id;
        self.candidates[index].stage = Stage::Final { heat };
    }
}

fn in_full(job: &JobSpec, mut trial: PlannedTrial, id: TrialId) -> PlannedTrial {
    trial.spec.id = id;
    if let Work::Search(search) = &mut trial.spec.work {
        search.mode = Mode::Full;
        search.soak = job.soak;
    }
    trial
}

/// For each of the configurations of a type: may it still be the best of them?
fn stays_in_race(job: &JobSpec, ended: &[TrialOutcome]) -> Vec<bool> {
    let metric = job.constraints.first().map_or(SloMetric::P95, |slo| slo.metric());
    let believed: Vec<&Measurement> = ended
        .iter()
        .filter_map(measurement)
        .filter(|measurement| measurement.validity.verdict != Verdict::Invalid)
        .filter(|measurement| constraints::missed(&job.constraints, measurement).is_none())
        .collect();
    let beaten_by = |own: &Measurement, other: &Measurement| {
        let (Some(own_answer), Some(other_answer)) = (&own.answer, &other.answer) else {
            return false;
        };
        let slower = constraints::figure(metric, &own.latency)
            >= constraints::figure(metric, &other.latency);
        other_answer.capacity.low > own_answer.capacity.high && (job.goals.is_none() || slower)
    };
    let stays = |outcome: &TrialOutcome| {
        measurement(outcome).is_some_and(|own| {
            // Figures that cannot be believed do not rule a configuration out.
            own.validity.verdict == Verdict::Invalid
                || !believed.iter().any(|other| beaten_by(own, other))
        })
    };
    ended.iter().map(stays).collect()
}

fn measurement(outcome: &TrialOutcome) -> Option<&Measurement> {
    match outcome {
        TrialOutcome::Measured(measurement) => Some(measurement),
        TrialOutcome::Failed(_) | TrialOutcome::Cancelled { .. } => None,
    }
}

#[cfg(test)]
mod tests;
