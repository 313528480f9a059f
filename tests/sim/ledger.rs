//! What agents saw with their own eyes, to be held against what the coordinator has on record.
//!
//! A lease is known to stand from when its trial arrived at the agent until the agent last sent
//! something under it for the first time that the coordinator accepted. The coordinator's own view is
//! longer at both ends, so two such spans that overlap prove that two leases stood at once.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, MutexGuard},
    time::Instant,
};

use assay_proto::v1;

#[derive(Default)]
pub(crate) struct Ledger {
    runs: Mutex<Vec<Run>>,
}

/// One lease of one trial, as its agent saw it.
#[derive(Clone, Debug)]
pub(crate) struct Run {
    pub(crate) agent: String,
    pub(crate) host: String,
    pub(crate) trial: String,
    began: Instant,
    stood: Instant,
    /// Steps of which the coordinator said that they count.
    pub(crate) steps: BTreeSet<u32>,
    /// The coordinator said that the outcome counts.
    pub(crate) outcome_counts: bool,
}

/// Which run; stands in all figures of it.
pub(crate) type Mark = u64;

impl Ledger {
    fn runs(&self) -> MutexGuard<'_, Vec<Run>> {
        self.runs.lock().unwrap()
    }

    pub(crate) fn began(&self, agent: &v1::Register, trial: &str) -> Mark {
        let now = Instant::now();
        let run = Run {
            agent: agent.name.clone(),
            host: agent.host_fingerprint.clone(),
            trial: trial.to_owned(),
            began: now,
            stood: now,
            steps: BTreeSet::new(),
            outcome_counts: false,
        };
        let mut runs = self.runs();
        runs.push(run);
        (runs.len() - 1) as Mark
    }

    /// What was sent then, and never before, was accepted.
    pub(crate) fn stood(&self, mark: Mark, sent_at: Instant) {
        let mut runs = self.runs();
        let run = &mut runs[index(mark)];
        run.stood = run.stood.max(sent_at);
    }

    pub(crate) fn step_counts(&self, mark: Mark, step: u32) {
        self.runs()[index(mark)].steps.insert(step);
    }

    pub(crate) fn outcome_counts(&self, mark: Mark) {
        self.runs()[index(mark)].outcome_counts = true;
    }

    pub(crate) fn by_mark(&self) -> BTreeMap<Mark, Run> {
        (0..).zip(self.runs().iter().cloned()).collect()
    }

    /// No host and no trial had two leases at once.
    pub(crate) fn assert_leases_never_overlap(&self) {
        let runs = self.runs();
        for (position, run) in runs.iter().enumerate() {
            for other in &runs[..position] {
                let overlap = run.began < other.stood && other.began < run.stood;
                let related = run.host == other.host || run.trial == other.trial;
                assert!(!(overlap && related), "two leases at once:\n{run:?}\n{other:?}");
            }
        }
    }
}

fn index(mark: Mark) -> usize {
    usize::try_from(mark).unwrap()
}
