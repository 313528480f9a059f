//! Keeps jobs, trials, steps, events, agents and prices. What is committed survives a crash.
//!
//! The store speaks domain types only; SQL stays below this module. Changes come as a closed list and are
//! committed together or not at all. Who decides on them is [`crate::dispatch`].

mod bundled;
mod fail_fast;
pub(crate) mod job_list;
mod read;
pub(crate) mod registry;
mod row;
mod sqlite;
mod write;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
};

use assay_measure::{
    ids::{AgentName, InstanceTypeName, JobName, LeaseToken, Sha256, TrialId},
    job::{JobSpec, JobStatus},
    outcome::StepResult,
    trial::ArtifactRef,
};
use assay_planning::{
    job_state::JobState,
    planner::{Plan, PlannedTrial},
    price_file::PriceRow,
    prices::PriceQuote,
    trial_state::Trial,
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use thiserror::Error;

pub(crate) use self::sqlite::Store;
use crate::{agent_link::AgentFacts, job_event::JobEvent};

/// Latencies of steps in HdrHistogram's V2 encoding, by trial and the step's index.
pub(crate) type Histograms = BTreeMap<(TrialId, u32), Vec<u8>>;

/// One change. Applying a list of them twice ends in the same state.
#[derive(Clone, Debug)]
pub(crate) enum Change {
    JobCreated(Box<JobRecord>),
    /// The files that a job waited for are there.
    JobSupplied {
        spec: Box<JobSpec>,
    },
    /// It was decided what to run for a job, or trials were added.
    JobPlanned {
        job: JobName,
        /// Its candidates, and what they cost. The trials of this plan are not looked at.
        planned: Box<Planned>,
        /// The trials that are new: each is written once.
        trials: Vec<(PlannedTrial, TrialRecord)>,
    },
    /// A job moved, or waits for another reason.
    JobMoved {
        job: JobName,
        state: JobState,
        reason: String,
        /// The best candidate, once the job has ended.
        recommended: Option<Recommended>,
    },
    /// An ended job was deleted; its name stays taken.
    JobDeleted {
        job: JobName,
        at: Timestamp,
    },
    TrialMoved(Box<TrialRecord>),
    StepFinished {
        trial: TrialId,
        /// The lease it was measured under.
        token: LeaseToken,
        step: Box<StepResult>,
        at: Timestamp,
        /// Its place in the job's record.
        sequence: u64,
    },
    /// Something else happened to a job.
    Happened {
        job: JobName,
        event: JobEvent,
    },
    /// An agent connected, left, or was told to drain.
    AgentChanged(Box<AgentRecord>),
    AgentForgotten(AgentName),
    /// The operator stated a price.
    OwnPriceSet(PriceRow),
    ArtifactStored {
        artifact: ArtifactRef,
        at: Timestamp,
    },
    /// A file is about to be removed.
    ArtifactRemoved(Sha256),
}

/// A job as it is kept.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct JobRecord {
    /// Counts jobs in order of creation.
    pub(crate) number: u64,
    pub(crate) spec: JobSpec,
    pub(crate) created_at: Timestamp,
    pub(crate) state: JobState,
    /// Why, for people; may be empty.
    pub(crate) reason: String,
    /// What to run, once that is decided.
    pub(crate) planned: Option<Planned>,
}

/// What to run for a job, and prices as they were when that was decided.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Planned {
    pub(crate) plan: Plan,
    pub(crate) prices: BTreeMap<InstanceTypeName, PriceQuote>,
}

impl Planned {
    /// What is written when these trials were added to the plan.
    pub(crate) fn change(&self, job: JobName, added: &[TrialId]) -> Change {
        let planned = Self { plan: self.plan.without_trials(), prices: self.prices.clone() };
        let is_new = |trial: &&PlannedTrial| added.contains(&trial.id);
        let queued = |trial: &PlannedTrial| {
            let record = TrialRecord { id: trial.id.clone(), trial: Trial::queued(), run: None };
            (trial.clone(), record)
        };
        let trials = self.plan.trials.iter().filter(is_new).map(queued).collect();
        Change::JobPlanned { job, planned: Box::new(planned), trials }
    }
}

/// A trial as it is kept.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct TrialRecord {
    pub(crate) id: TrialId,
    pub(crate) trial: Trial,
    /// The lease whose steps count: the last one granted, unless its run was discarded.
    pub(crate) run: Option<LeaseToken>,
}

/// An agent as it is kept.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct AgentRecord {
    /// What it said of itself.
    pub(crate) facts: AgentFacts,
    /// It gets nothing new.
    pub(crate) draining: bool,
    pub(crate) last_seen_at: Timestamp,
}

/// The best candidate of an ended job.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Recommended {
    pub(crate) instance_type: String,
    /// How the model is served, for people.
    pub(crate) configuration: String,
    /// Cost per inference, if priced.
    pub(crate) cost_per_inference_usd: Option<f64>,
}

/// A job at a glance.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct JobSummary {
    /// Counts jobs in order of creation.
    pub(crate) number: u64,
    pub(crate) spec: JobSpec,
    pub(crate) status: JobStatus,
    /// The same with what belongs to it.
    pub(crate) state: JobState,
    pub(crate) reason: String,
    pub(crate) created_at: Timestamp,
    /// When something last happened to it.
    pub(crate) modified_at: Timestamp,
    pub(crate) finished_at: Option<Timestamp>,
    /// What is planned, once that is decided; without the trials.
    pub(crate) planned: Option<Planned>,
    /// How many trials are planned.
    pub(crate) trials_total: u32,
    pub(crate) trials_ended: u32,
    /// The best candidate, once the job has ended.
    pub(crate) recommended: Option<Recommended>,
}

#[derive(Clone, Debug)]
pub(crate) struct JobQuery {
    /// Only jobs created before this one.
    pub(crate) before_number: Option<u64>,
    /// Only jobs in this state.
    pub(crate) status: Option<JobStatus>,
    /// Only jobs whose name contains this.
    pub(crate) name_contains: String,
    /// Only jobs of a model whose name contains this; empty is any.
    pub(crate) model_contains: String,
    /// Only jobs with this instance type among their candidates; empty is any.
    pub(crate) instance_type: String,
    pub(crate) limit: u32,
}

/// What a coordinator begins with.
#[derive(Clone, Debug, Default)]
pub(crate) struct Recovered {
    /// Jobs that have not ended, in order of creation.
    pub(crate) active: Vec<RecoveredJob>,
    pub(crate) ended: BTreeSet<JobName>,
    pub(crate) deleted: BTreeSet<JobName>,
    pub(crate) next_number: u64,
    /// Agents that were ever connected.
    pub(crate) agents: Vec<AgentRecord>,
    pub(crate) own_prices: Vec<PriceRow>,
}

/// A job that goes on.
#[derive(Clone, Debug)]
pub(crate) struct RecoveredJob {
    pub(crate) record: JobRecord,
    /// Its trials, in order, with the steps already reported in the run that counts, which come
    /// without their histograms.
    pub(crate) trials: Vec<(TrialRecord, Vec<StepResult>)>,
    /// The last sequence number of its record.
    pub(crate) last_sequence: u64,
}

/// The store cannot be used.
#[derive(Debug, Error)]
pub enum StoreError {
    /// A newer coordinator wrote it; it is left as it is.
    #[error("{path} has schema version {found}; this coordinator knows versions up to {known}")]
    NewerSchema { path: PathBuf, found: i64, known: i64 },
    #[error("the store's schema cannot be brought up to date")]
    Migration { source: sqlx::migrate::MigrateError },
    #[error("cannot {action} the store")]
    Database { action: &'static str, source: sqlx::Error },
    /// It holds something that cannot be: another program wrote to it, or it is damaged.
    #[error("the store is damaged: {what} cannot be read")]
    Damaged { what: String, source: Box<dyn std::error::Error + Send + Sync> },
    /// A write failed, this one or one before it: the coordinator ends, and nothing more is kept.
    #[error("the store cannot be written any more, and the coordinator ends")]
    Lost,
}

impl StoreError {
    /// Whether a write that failed like this says that the store itself is at fault, not what was to be written.
    fn is_for_good(&self) -> bool {
        let Self::Database { source, .. } = self else { return false };
        let refused = source.as_database_error().map(|error| error.kind());
        matches!(refused, None | Some(sqlx::error::ErrorKind::Other))
    }
}

pub(crate) fn broken(action: &'static str) -> impl FnOnce(sqlx::Error) -> StoreError {
    move |source| StoreError::Database { action, source }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use assay_measure::{search::Mode, units::Bytes};
    use assay_planning::{
        catalogue::Catalogue,
        fleet::AgentView,
        planner::{self, EndedTrial},
    };

    use super::*;
    use crate::tests::support::{host, job_spec, measured};

    const TYPES: u32 = 20;

    /// Twenty types of fifty configurations each, of which all are measured quickly and then in full.
    fn job() -> JobSpec {
        let mut spec = job_spec("many", &[]);
        let shape = |vcpus: u32| format!("own.{vcpus}={vcpus}x1GiB@0.05").parse().unwrap();
        spec.instance_types = (1..=TYPES).map(shape).collect();
        spec.mode = Mode::Full;
        spec.goals = "cost=low,latency=high,throughput=low".parse().ok();
        let batches: Vec<String> = (1..=50).map(|size| size.to_string()).collect();
        for settings in ["workers=1", "intra-op=1", &format!("max-batch={}", batches.join(","))] {
            spec.sweep.add(settings).unwrap();
        }
        spec
    }

    #[test]
    fn each_of_two_thousand_trials_is_written_once_however_often_the_plan_grows() {
        let job = job();
        let large = AgentView {
            name: "large".parse().unwrap(),
            instance_type: "local".parse().unwrap(),
            fingerprint: "machine".parse().unwrap(),
            host: assay_measure::hardware::HostFacts {
                vcpus: 64,
                memory_bytes: Bytes::gib(64),
                ..host()
            },
            busy: false,
            draining: false,
            may_emulate: true,
            endpoints: BTreeSet::new(),
        };
        let fleet = [large];
        let plan = planner::plan(&job, Catalogue::builtin(), &fleet).unwrap();
        let all =
            |plan: &Plan| plan.trials.iter().map(|trial| trial.id.clone()).collect::<Vec<_>>();
        let mut planned = Planned { plan, prices: BTreeMap::new() };
        let mut written = Vec::new();
        let mut write = |planned: &Planned, added: &[TrialId]| {
            let Change::JobPlanned { planned, trials, .. } =
                planned.change(job.name.clone(), added)
            else {
                panic!("another change")
            };
            assert!(planned.plan.trials.is_empty(), "trials are not written with the plan");
            written.extend(trials.into_iter().map(|(trial, _)| trial.id));
        };
        write(&planned, &all(&planned.plan));
        let mut growths = 0;
        for vcpus in 1..=TYPES {
            let of: BTreeMap<TrialId, u32> = planned
                .plan
                .trials
                .iter()
                .map(|trial| (trial.id.clone(), trial.subject.emulated().unwrap().vcpus))
                .collect();
            let ended = |id: &TrialId| {
                (of[id] <= vcpus).then(|| EndedTrial { outcome: measured(), repeats: 0 })
            };
            let left = Duration::from_secs(1_000_000);
            let added = planned.plan.advance_race(&job, &fleet, ended, left).unwrap_or_default();
            growths += u32::from(!added.is_empty());
            write(&planned, &added);
        }
        assert_eq!((growths, planned.plan.trials.len()), (TYPES, 2000));
        assert_eq!(written, all(&planned.plan));
    }
}
