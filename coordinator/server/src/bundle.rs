//! A job as it travels from one coordinator to another: all that its pages, rankings and exports are made of, in one
//! file. Its model and payload stay where they are.
//!
//! The file is JSON, compressed by gzip. Whatever comes in is somebody else's: it is read into domain types, bounded in
//! size, and has to be a whole job that has ended.

use std::{
    collections::BTreeSet,
    io::{self, Read, Write},
};

use assay_measure::{
    ids::{JobName, LeaseToken, TrialId},
    job::JobSpec,
    outcome::StepResult,
};
use assay_planning::{job_state::JobState, planner::PlannedTrial};
use assay_proto::{agent::Malformed, v1};
use base64::{Engine, engine::general_purpose::STANDARD};
use flate2::{Compression, read::GzDecoder, write::GzEncoder};
use jiff::Timestamp;
use prost::Message;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use thiserror::Error;
use tokio::{sync::Semaphore, task::spawn_blocking};

use crate::{
    job_event::Happening,
    store::{Change, JobRecord, Planned, Recommended, TrialRecord},
};

const SCHEMA: &str = "assay.bundle/1";
/// The largest file that is taken.
pub(crate) const LARGEST_FILE: usize = 64 << 20;
/// The most remarks on a plan that a coordinator makes by far.
const MOST_REMARKS: usize = 10_000;
/// One file is read after the other: each may take much memory.
static TURN: Semaphore = Semaphore::const_new(1);
/// The most that may come out of it.
const LARGEST_CONTENT: u64 = 512 << 20;

/// A job that has ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Bundle {
    schema: String,
    pub(crate) spec: JobSpec,
    pub(crate) created_at: Timestamp,
    pub(crate) state: JobState,
    pub(crate) reason: String,
    pub(crate) planned: Option<Planned>,
    pub(crate) recommended: Option<Recommended>,
    pub(crate) trials: Vec<BundledTrial>,
    pub(crate) record: Vec<Entry>,
}

/// A trial with its place in the plan.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct BundledTrial {
    pub(crate) planned: PlannedTrial,
    pub(crate) trial: assay_planning::trial_state::Trial,
    pub(crate) run: Option<LeaseToken>,
}

/// An entry of the job's record.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Entry {
    pub(crate) sequence: u64,
    pub(crate) at: Timestamp,
    pub(crate) what: What,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum What {
    Happened(Happening),
    Step { trial: TrialId, token: LeaseToken, step: Box<BundledStep> },
}

/// A step as the message that is kept of it, histogram included.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct BundledStep(pub(crate) StepResult);

impl Serialize for BundledStep {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let message = v1::StepResult::from(self.0.clone());
        serializer.serialize_str(&STANDARD.encode(message.encode_to_vec()))
    }
}

impl<'de> Deserialize<'de> for BundledStep {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let bytes = STANDARD.decode(text).map_err(D::Error::custom)?;
        let message = v1::StepResult::decode(&*bytes).map_err(D::Error::custom)?;
        message.try_into().map(Self).map_err(|error: Malformed| D::Error::custom(error))
    }
}

/// A file is no job that can be brought in.
#[derive(Debug, Error)]
pub(crate) enum BadBundle {
    #[error("it is no file of `assay export --format bundle`")]
    Unreadable(#[from] io::Error),
    #[error("it is no file of `assay export --format bundle`")]
    Malformed(#[from] serde_json::Error),
    #[error("it holds more than {} MiB", LARGEST_CONTENT >> 20)]
    TooLarge,
    #[error("it is of the kind {0:?}, not {SCHEMA}")]
    OtherSchema(String),
    #[error("its job {0} has not ended")]
    NotEnded(JobName),
    #[error("its parts do not belong together: {0}")]
    Torn(String),
}

impl Bundle {
    pub(crate) fn of(record: JobRecord, recommended: Option<Recommended>) -> Self {
        Self {
            schema: SCHEMA.to_owned(),
            spec: record.spec,
            created_at: record.created_at,
            state: record.state,
            reason: record.reason,
            planned: record.planned,
            recommended,
            trials: Vec::new(),
            record: Vec::new(),
        }
    }

    /// The file.
    pub(crate) fn written(&self) -> io::Result<Vec<u8>> {
        let mut file = GzEncoder::new(Vec::new(), Compression::default());
        serde_json::to_writer(&mut file, self)?;
        file.flush()?;
        file.finish()
    }

    /// Reads a file, and holds its parts against each other.
    ///
    /// # Errors
    /// [`BadBundle`] for whatever is no whole job.
    pub(crate) async fn read(file: Vec<u8>) -> Result<Self, BadBundle> {
        let _turn = TURN.acquire().await;
        let read = spawn_blocking(move || Self::read_now(&file)).await;
        read.unwrap_or_else(|_| Err(BadBundle::Torn("reading it failed".to_owned())))
    }

    fn read_now(file: &[u8]) -> Result<Self, BadBundle> {
        #[derive(Deserialize)]
        struct Kind {
            #[serde(default)]
            schema: String,
        }
        let mut content = Vec::new();
        GzDecoder::new(file).take(LARGEST_CONTENT + 1).read_to_end(&mut content)?;
        if content.len() as u64 > LARGEST_CONTENT {
            return Err(BadBundle::TooLarge);
        }
        let Kind { schema } = serde_json::from_slice(&content)?;
        if schema != SCHEMA {
            return Err(BadBundle::OtherSchema(schema));
        }
        let bundle: Self = serde_json::from_slice(&content)?;
        bundle.check()?;
        Ok(bundle)
    }

    fn check(&self) -> Result<(), BadBundle> {
        let name = &self.spec.name;
        if !self.state.status().is_final() {
            return Err(BadBundle::NotEnded(name.clone()));
        }
        let torn = |what: String| Err(BadBundle::Torn(what));
        if self.planned.is_none() && !self.trials.is_empty() {
            return torn("there are trials and no plan".to_owned());
        }
        let mut trials = BTreeSet::new();
        for BundledTrial { planned, trial, .. } in &self.trials {
            let id = &planned.id;
            if id.job() != *name || !trials.insert(id.clone()) {
                return torn(format!("trial {id}"));
            }
            if trial.end().is_none() {
                return torn(format!("trial {id} has not ended"));
            }
        }
        let remarks =
            |planned: &Planned| planned.plan.warnings.len() + planned.plan.rejections.len();
        if self.planned.as_ref().map_or(0, remarks) > MOST_REMARKS {
            return torn(format!("there are more than {MOST_REMARKS} remarks on its plan"));
        }
        let mut candidates = self.planned.iter().flat_map(|planned| &planned.plan.candidates);
        if trials.is_empty() && candidates.next().is_some() {
            return torn("there are candidates and no trials".to_owned());
        }
        for (entry, sequence) in self.record.iter().zip(1..) {
            if entry.sequence != sequence {
                return torn(format!("entry {sequence} of its record"));
            }
            if let What::Step { trial, .. } = &entry.what
                && !trials.contains(trial)
            {
                return torn(format!("a step of trial {trial}"));
            }
        }
        Ok(())
    }

    /// What is stored of it, under a number of this coordinator.
    pub(crate) fn changes(self, number: u64) -> Vec<Change> {
        let name = self.spec.name.clone();
        let record = JobRecord {
            number,
            spec: self.spec,
            created_at: self.created_at,
            state: self.state.clone(),
            reason: self.reason.clone(),
            planned: None,
        };
        let mut changes = vec![Change::JobCreated(Box::new(record))];
        let trials: Vec<(PlannedTrial, TrialRecord)> = self
            .trials
            .into_iter()
            .map(|BundledTrial { planned, trial, run }| {
                let record = TrialRecord { id: planned.id.clone(), trial, run };
                (planned, record)
            })
            .collect();
        changes.extend(self.planned.map(|planned| Change::JobPlanned {
            job: name.clone(),
            planned: Box::new(planned),
            trials,
        }));
        changes.extend(self.record.into_iter().map(|Entry { sequence, at, what }| match what {
            What::Happened(what) => Change::Happened {
                job: name.clone(),
                event: crate::job_event::JobEvent { sequence, at, what },
            },
            What::Step { trial, token, step } => {
                Change::StepFinished { trial, token, step: Box::new(step.0), at, sequence }
            }
        }));
        changes.push(Change::JobMoved {
            job: name,
            state: self.state,
            reason: self.reason,
            recommended: self.recommended,
        });
        changes
    }
}
