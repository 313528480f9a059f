//! Which trials are run when a job may run fewer than were planned.
//!
//! Every instance type gets its turn before any gets a second one: the first configuration of each, then
//! the second of each, in the order asked for. The candidates beyond are rejected with that reason.

use std::collections::{BTreeMap, BTreeSet};

use assay_measure::{
    ids::{InstanceTypeName, TrialId},
    job::JobSpec,
};

use super::{Candidate, Plan, Rejection};

impl Plan {
    /// Keeps as many trials as the job may run.
    pub(super) fn keep_to_limit(&mut self, job: &JobSpec) {
        let Some(most) = job.limits.most_trials else { return };
        let most_trials = usize::try_from(most.get()).unwrap_or(usize::MAX);
        if self.trials.len() <= most_trials {
            return;
        }
        let kept: BTreeSet<TrialId> = self.in_turns().into_iter().take(most_trials).collect();
        let (candidates, beyond): (Vec<Candidate>, Vec<Candidate>) =
            std::mem::take(&mut self.candidates)
                .into_iter()
                .partition(|candidate| kept.contains(&candidate.trial));
        self.candidates = candidates;
        for candidate in beyond {
            self.reject(Rejection {
                instance_type: candidate.instance_type,
                configuration: candidate.serving.configuration().cloned(),
                reason: format!("not measured: the job may run at most {most} trials"),
            });
        }
        self.trials.retain(|trial| kept.contains(&trial.id));
        self.renumber(job);
    }

    /// Trials, those of every type's first configuration first.
    fn in_turns(&self) -> Vec<TrialId> {
        let mut turns: BTreeMap<&InstanceTypeName, usize> = BTreeMap::new();
        let mut by_turn: Vec<(usize, &TrialId)> = Vec::new();
        for candidate in &self.candidates {
            let turn = turns.entry(&candidate.instance_type).or_default();
            if !by_turn.iter().any(|(_, known)| *known == &candidate.trial) {
                by_turn.push((*turn, &candidate.trial));
            }
            *turn += 1;
        }
        // Stable: within a turn the order asked for.
        by_turn.sort_by_key(|(turn, _)| *turn);
        by_turn.into_iter().map(|(_, trial)| trial.clone()).collect()
    }

    /// Names count without gaps, so that later trials get names of their own.
    fn renumber(&mut self, job: &JobSpec) {
        let mut names: BTreeMap<TrialId, TrialId> = BTreeMap::new();
        for (number, trial) in (1..).zip(&mut self.trials) {
            let name = TrialId::of(&job.name, number);
            names.insert(std::mem::replace(&mut trial.id, name.clone()), name);
        }
        for candidate in &mut self.candidates {
            if let Some(name) = names.get(&candidate.trial) {
                candidate.trial = name.clone();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        catalogue::Catalogue,
        planner::plan,
        testing::{self, local},
    };

    fn limited(types: &[&str], most: u32) -> Plan {
        let mut job = testing::job(types);
        job.limits.most_trials = std::num::NonZeroU32::new(most);
        plan(&job, Catalogue::builtin(), &[local()]).unwrap()
    }

    #[test]
    fn every_type_has_its_turn_and_the_rest_is_told_why_it_is_not_measured() {
        // Two configurations on two processors, one on one.
        let plan = limited(&["own.a=2x1GiB", "own.b=1x1GiB", "own.c=1x2GiB"], 2);
        let shown: Vec<String> = plan
            .candidates
            .iter()
            .map(|each| format!("{} {} {}", each.instance_type, each.serving, each.trial))
            .collect();
        // The two small ones share a trial.
        assert_eq!(
            shown,
            [
                "own.a workers=1 intra-op=2 demo/1",
                "own.b workers=1 intra-op=1 demo/2",
                "own.c workers=1 intra-op=1 demo/2"
            ]
        );
        assert_eq!((plan.trials.len(), plan.rejections.len()), (2, 1));
        let rejected = &plan.rejections[0];
        assert_eq!(rejected.reason, "not measured: the job may run at most 2 trials");
        assert_eq!(rejected.configuration.as_ref().unwrap().workers.get(), 2);
    }

    #[test]
    fn a_limit_that_is_not_reached_changes_nothing() {
        let types = ["own.a=2x1GiB", "own.b=1x1GiB"];
        assert_eq!(limited(&types, 3).trials, limited(&types, 100).trials);
        assert!(limited(&types, 3).rejections.is_empty());
    }
}
