//! What a user asks for: one model, candidates, constraints and goals.

mod subject;

use std::{num::NonZeroU32, str::FromStr, time::Duration};

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::{
    configuration::{Allocator, Device, Graph, Precision, UnknownWord, word_enum},
    environment::{BaseEnvironment, EnvironmentRanges},
    hardware::Shape,
    ids::{EndpointName, InstanceTypeName, JobName, SpecificationName},
    input_spec::InputSpec,
    load_profile::LoadProfile,
    money::PricePerHour,
    search::Mode,
    slo::Slo,
    trial::{ArtifactRef, Payload},
    units::{Bytes, Rate},
};

pub use self::subject::JobSubject;

/// A whole job as the user asked for it. Names and files are resolved; nothing is decided yet.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct JobSpec {
    /// The job's name.
    pub name: JobName,
    /// What is measured.
    #[serde(flatten)]
    pub subject: JobSubject,
    /// What to send to it.
    pub payload: Payload,
    /// Declared inputs; may be empty when the payload speaks for itself.
    pub inputs: Vec<InputSpec>,
    /// Variables that the model brings along: what every configuration begins with.
    #[serde(default, skip_serializing_if = "BaseEnvironment::is_empty")]
    pub environment: BaseEnvironment,
    /// Candidate instance types; empty means every type that the fleet offers.
    pub instance_types: Vec<CandidateType>,
    /// Instance types without an agent are emulated on a machine that is large enough.
    pub emulate: bool,
    /// Which configurations to try.
    pub sweep: Sweep,
    /// Constraints, all of which must hold.
    pub constraints: Vec<Slo>,
    /// Goals; absent ranks by cost per inference alone.
    pub goals: Option<Goals>,
    /// How thorough the searches are.
    pub mode: Mode,
    /// Seed of all randomness; every candidate gets the same arrivals.
    pub seed: u64,
    /// How long each answer is held on top of its confirmation.
    pub soak: Option<Duration>,
    /// A fixed load instead of the search.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub load: Option<LoadProfile>,
    /// How much of the fleet and of time the job may use.
    #[serde(default)]
    pub limits: ResourceLimits,
    /// Region whose prices count.
    pub region: String,
    /// Demand for the sizing.
    pub demand: Option<Demand>,
    /// The whole job ends this long after its first trial began; trials not begun are reported as such. It fails
    /// when no agent that would begin it is connected for as long; waiting behind other jobs does not count.
    pub max_duration: Duration,
    /// How long a model host may load and warm up before it serves; absent leaves it to the planner.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ready_timeout: Option<Duration>,
    /// Prices that this job uses instead of the catalogue's.
    pub price_overrides: Vec<(InstanceTypeName, PricePerHour)>,
}

/// How much of the fleet and of time a job may use; absent is without a limit of its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResourceLimits {
    /// So many trials at most; the candidates beyond are not measured. A trial that is repeated, or
    /// measured in full after a quick one, counts once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub most_trials: Option<NonZeroU32>,
    /// So many trials at once at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub most_at_once: Option<NonZeroU32>,
    /// No trial begins later than this after the first; those that run come to their end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub begin_within: Option<Duration>,
}

impl JobSpec {
    /// The time in which trials are meant to be done.
    #[must_use]
    pub fn working_time(&self) -> Duration {
        self.limits.begin_within.map_or(self.max_duration, |within| within.min(self.max_duration))
    }

    /// Model or payload are still being fetched, so nothing can be measured yet.
    #[must_use]
    pub fn awaits_files(&self) -> bool {
        self.model().is_some_and(ArtifactRef::is_awaited) || self.payload.artifact.is_awaited()
    }

    /// The model that is served on candidates, if any is.
    #[must_use]
    pub const fn model(&self) -> Option<&ArtifactRef> {
        match &self.subject {
            JobSubject::Model { model } | JobSubject::ModelAndEndpoint { model, .. } => Some(model),
            JobSubject::Endpoint { .. } => None,
        }
    }

    /// The running server that is measured, if one is.
    #[must_use]
    pub const fn endpoint(&self) -> Option<&EndpointName> {
        match &self.subject {
            JobSubject::Endpoint { endpoint } | JobSubject::ModelAndEndpoint { endpoint, .. } => {
                Some(endpoint)
            }
            JobSubject::Model { .. } => None,
        }
    }

    /// What it is about, for people: the model's file, or the endpoint.
    #[must_use]
    pub fn about(&self) -> String {
        match &self.subject {
            JobSubject::Model { model } => model.name.clone(),
            JobSubject::Endpoint { endpoint } => format!("endpoint {endpoint}"),
            JobSubject::ModelAndEndpoint { model, endpoint } => {
                format!("{} and endpoint {endpoint}", model.name)
            }
        }
    }
}

/// A candidate instance type: from the catalogue or the fleet, or a shape of the user's own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CandidateType {
    /// Its name.
    pub name: InstanceTypeName,
    /// Its shape, for a type that the catalogue does not know.
    pub shape: Option<Shape>,
    /// Its price, given with it.
    pub price: Option<PricePerHour>,
    /// Environment variables to try on it. One instance type may stand in a job several times, with
    /// other variables each time.
    #[serde(default, skip_serializing_if = "EnvironmentRanges::is_empty")]
    pub environment: EnvironmentRanges,
    /// Another way to serve the model on it than the job's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub specification: Option<InferenceSpecification>,
}

/// One of several ways to serve a model, described with it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InferenceSpecification {
    /// Its name.
    pub name: SpecificationName,
    /// The variables that the model brings along this way, instead of the job's.
    #[serde(default, skip_serializing_if = "BaseEnvironment::is_empty")]
    pub environment: BaseEnvironment,
}

impl CandidateType {
    /// An instance type that the catalogue or the fleet knows, with nothing said about it.
    #[must_use]
    pub fn named(name: InstanceTypeName) -> Self {
        Self {
            name,
            shape: None,
            price: None,
            environment: EnvironmentRanges::default(),
            specification: None,
        }
    }
}

/// A text is not a candidate instance type.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum CandidateTypeError {
    /// The name.
    #[error(transparent)]
    Name(#[from] crate::ids::BadId),
    /// The shape.
    #[error("{0:?} is not a shape; write an own instance type like onprem.small=1x2GiB@0.05")]
    Shape(String),
    /// The price.
    #[error(transparent)]
    Price(#[from] crate::money::NotAPrice),
}

impl FromStr for CandidateType {
    type Err = CandidateTypeError;
    /// `NAME` or `NAME=VCPUSxMEMORY[@USD_PER_HOUR]`.
    fn from_str(text: &str) -> Result<Self, CandidateTypeError> {
        let Some((name, rest)) = text.split_once('=') else {
            return Ok(Self::named(text.trim().parse()?));
        };
        let (shape, price) = match rest.split_once('@') {
            Some((shape, price)) => (shape, Some(price.parse()?)),
            None => (rest, None),
        };
        let bad = || CandidateTypeError::Shape(shape.to_owned());
        let (vcpus, memory) = shape.trim().split_once('x').ok_or_else(bad)?;
        let vcpus: NonZeroU32 = vcpus.trim().parse().map_err(|_| bad())?;
        let memory_bytes: Bytes = memory.parse().map_err(|_| bad())?;
        if memory_bytes.count() == 0 {
            return Err(bad());
        }
        Ok(Self {
            shape: Some(Shape { vcpus: vcpus.get(), memory_bytes }),
            price,
            ..Self::named(name.trim().parse()?)
        })
    }
}

/// Which configurations to try; an empty list leaves that setting to the planner's automatic grid.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sweep {
    /// Worker threads.
    #[serde(default)]
    pub workers: Vec<NonZeroU32>,
    /// OpenMP threads inside one forward pass.
    #[serde(default)]
    pub intra_op_threads: Vec<NonZeroU32>,
    /// Largest batches.
    #[serde(default)]
    pub max_batch: Vec<NonZeroU32>,
    /// How long a batch waits to fill, in microseconds.
    #[serde(default)]
    pub max_batch_delay_us: Vec<u64>,
    /// Devices.
    #[serde(default)]
    pub device: Vec<Device>,
    /// Precisions.
    #[serde(default)]
    pub dtype: Vec<Precision>,
    /// Graph rewriting.
    #[serde(default)]
    pub graph: Vec<Graph>,
    /// Allocators.
    #[serde(default)]
    pub allocator: Vec<Allocator>,
    /// A setting that is left open takes its default instead of an automatic grid.
    #[serde(default)]
    pub defaults_only: bool,
}

/// A sweep setting or its value is unknown.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum SweepError {
    /// Not of the form `SETTING=VALUE[,VALUE…]`.
    #[error("{0:?} is not a sweep; write it like workers=1,2")]
    Grammar(String),
    /// The setting's name.
    #[error(transparent)]
    Setting(#[from] UnknownWord),
    /// A value of it.
    #[error("{value:?} is not a value for {setting}: {reason}")]
    Value {
        /// The setting.
        setting: &'static str,
        /// The value as given.
        value: String,
        /// What a value looks like.
        reason: String,
    },
}

impl Sweep {
    /// Adds one `SETTING=VALUE[,VALUE…]`: `workers`, `intra-op`, `max-batch`, `max-batch-delay-us`,
    /// `device`, `dtype`, `graph` or `allocator`.
    ///
    /// # Errors
    /// [`SweepError`] names what is wrong with the text.
    pub fn add(&mut self, text: &str) -> Result<(), SweepError> {
        let (setting, values) =
            text.split_once('=').ok_or_else(|| SweepError::Grammar(text.to_owned()))?;
        match setting.trim() {
            "workers" => extend(&mut self.workers, "workers", values),
            "intra-op" => extend(&mut self.intra_op_threads, "intra-op", values),
            "max-batch" => extend(&mut self.max_batch, "max-batch", values),
            "max-batch-delay-us" => {
                extend(&mut self.max_batch_delay_us, "max-batch-delay-us", values)
            }
            "device" => extend(&mut self.device, "device", values),
            "dtype" => extend(&mut self.dtype, "dtype", values),
            "graph" => extend(&mut self.graph, "graph", values),
            "allocator" => extend(&mut self.allocator, "allocator", values),
            other => Err(SweepError::Setting(UnknownWord {
                kind: "sweep setting",
                word: other.to_owned(),
                known: "workers, intra-op, max-batch, max-batch-delay-us, device, dtype, graph, allocator",
            })),
        }
    }
}

fn extend<T>(list: &mut Vec<T>, setting: &'static str, values: &str) -> Result<(), SweepError>
where
    T: FromStr + PartialEq,
    T::Err: std::fmt::Display,
{
    for value in values.split(',') {
        let parsed = value.trim().parse().map_err(|error: T::Err| SweepError::Value {
            setting,
            value: value.to_owned(),
            reason: error.to_string(),
        })?;
        if !list.contains(&parsed) {
            list.push(parsed);
        }
    }
    Ok(())
}

word_enum!(
    /// How much a goal counts: weights 1, 2, 4, 8, 16.
    Importance, "importance", "lowest, low, moderate, high, highest" {
        /// Weight 1.
        Lowest = "lowest",
        /// Weight 2.
        Low = "low",
        /// Weight 4.
        Moderate = "moderate",
        /// Weight 8.
        High = "high",
        /// Weight 16.
        Highest = "highest",
    }
);

impl Importance {
    /// The weight in the score's geometric mean.
    #[must_use]
    pub const fn weight(self) -> u32 {
        match self {
            Self::Lowest => 1,
            Self::Low => 2,
            Self::Moderate => 4,
            Self::High => 8,
            Self::Highest => 16,
        }
    }
}

/// What matters how much.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Goals {
    /// Cost per inference.
    pub cost: Importance,
    /// Latency.
    pub latency: Importance,
    /// Throughput.
    pub throughput: Importance,
}

/// A text is not a set of goals.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum GoalsError {
    /// Not of the form `cost=…,latency=…,throughput=…`.
    #[error(
        "{0:?} is not a set of goals; write it like cost=highest,latency=low,throughput=lowest"
    )]
    Grammar(String),
    /// An unknown goal or importance.
    #[error(transparent)]
    Word(#[from] UnknownWord),
}

impl FromStr for Goals {
    type Err = GoalsError;
    /// Goals that are not named count `lowest`.
    fn from_str(text: &str) -> Result<Self, GoalsError> {
        let mut goals = Self {
            cost: Importance::Lowest,
            latency: Importance::Lowest,
            throughput: Importance::Lowest,
        };
        for part in text.split(',') {
            let (goal, importance) =
                part.split_once('=').ok_or_else(|| GoalsError::Grammar(text.to_owned()))?;
            let importance = importance.trim().parse()?;
            match goal.trim() {
                "cost" => goals.cost = importance,
                "latency" => goals.latency = importance,
                "throughput" => goals.throughput = importance,
                other => {
                    return Err(UnknownWord {
                        kind: "goal",
                        word: other.to_owned(),
                        known: "cost, latency, throughput",
                    }
                    .into());
                }
            }
        }
        Ok(goals)
    }
}

/// The load that the deployment must carry, and how full its instances may be.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Demand {
    /// Invocations to carry.
    pub rate: Rate,
    /// Share of the capacity that is used, in per cent, 1 to 100.
    pub headroom_pct: u8,
}

word_enum!(
    /// The state of a job. It only moves forward.
    JobStatus, "job status", "pending, running, stopping, completed, failed, stopped" {
        /// Waiting for agents.
        Pending = "pending",
        /// At least one trial has begun.
        Running = "running",
        /// A stop was asked for; trials are ending.
        Stopping = "stopping",
        /// Every trial has ended.
        Completed = "completed",
        /// No trial could be measured, or the job was impossible.
        Failed = "failed",
        /// Somebody stopped it; what was measured stands.
        Stopped = "stopped",
    }
);

impl JobStatus {
    /// Whether nothing will change any more.
    #[must_use]
    pub const fn is_final(self) -> bool {
        match self {
            Self::Completed | Self::Failed | Self::Stopped => true,
            Self::Pending | Self::Running | Self::Stopping => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_own_shape_is_read_with_and_without_a_price() {
        let own: CandidateType = "onprem.small=1x2GiB@0.05".parse().unwrap();
        assert_eq!(own.shape, Some(Shape { vcpus: 1, memory_bytes: Bytes::gib(2) }));
        assert_eq!(own.price, Some("0.05".parse().unwrap()));
        assert_eq!("ml.c5.large".parse::<CandidateType>().unwrap().shape, None);
        for bad in ["", "a=", "a=1", "a=0x1GiB", "a=1x0GiB", "a=1x1GiB@x", "a b=1x1GiB"] {
            assert!(bad.parse::<CandidateType>().is_err(), "{bad:?} was accepted");
        }
    }

    #[test]
    fn sweeps_collect_values_once_and_refuse_unknown_settings() {
        let mut sweep = Sweep::default();
        sweep.add("workers=1,2").unwrap();
        sweep.add("workers=2,4").unwrap();
        assert_eq!(sweep.workers.len(), 3);
        for bad in ["workers", "workers=0", "workers=", "threads=2", "dtype=float8"] {
            assert!(sweep.add(bad).is_err(), "{bad:?} was accepted");
        }
    }

    #[test]
    fn goals_name_the_unknown_word() {
        let goals: Goals = "cost=highest,latency=low".parse().unwrap();
        assert_eq!(goals.throughput, Importance::Lowest);
        assert!(
            "cost=huge".parse::<Goals>().unwrap_err().to_string().contains("importance \"huge\"")
        );
        assert!("price=high".parse::<Goals>().unwrap_err().to_string().contains("goal \"price\""));
        assert!("cost".parse::<Goals>().is_err());
    }
}
