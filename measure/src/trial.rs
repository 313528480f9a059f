//! What an agent is asked to do: one candidate, measured once.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{
    configuration::Configuration,
    hardware::Shape,
    ids::{InstanceTypeName, Sha256, TrialId},
    input_spec::InputSpec,
    schedule::Phase,
    search::SearchPlan,
    stepped_load::SteppedLoad,
    units::Bytes,
};

/// Everything an agent needs to know to run one trial. Running it twice is harmless.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrialSpec {
    /// The trial's name.
    pub id: TrialId,
    /// The instance type measured (the first, when several of the same shape share the trial).
    pub instance_type: InstanceTypeName,
    /// The shape to emulate on this machine; absent when the machine is of that type itself.
    pub emulated: Option<Shape>,
    /// How the model is served.
    pub configuration: Configuration,
    /// The model file.
    pub model: ArtifactRef,
    /// What to send.
    pub payload: Payload,
    /// Declared inputs of the model.
    pub inputs: Vec<InputSpec>,
    /// Search for the capacity, or hold a fixed load.
    pub work: Work,
    /// How long the host may take from its start until it answers `/ping`.
    pub ready_within: Duration,
    /// A request that takes longer counts as failed; the model is taken to hang when all do.
    pub request_timeout: Duration,
}

/// What is done with the model once it serves.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Work {
    /// Find its capacity.
    Search(SearchPlan),
    /// Hold these loads one after another and report each.
    Fixed(Vec<Phase>),
    /// Hold these loads one after another until a condition says to stop; the answer is the start of
    /// the plateau.
    Stepped(SteppedLoad),
}

/// A file held by the coordinator, named by its checksum.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ArtifactRef {
    /// The file's name, for people and for its extension.
    pub name: String,
    /// Its checksum, which names it.
    pub sha256: Sha256,
    /// Its size.
    pub size_bytes: Bytes,
}

/// The checksum of no bytes at all.
const OF_NOTHING: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

impl ArtifactRef {
    /// A file of which nothing has arrived yet: it is being fetched from somewhere.
    ///
    /// # Panics
    /// Never: the checksum is a constant.
    #[must_use]
    pub fn awaited(name: impl Into<String>) -> Self {
        let sha256 = Sha256::new(OF_NOTHING).expect("64 lower-case hexadecimal digits");
        Self { name: name.into(), sha256, size_bytes: Bytes::new(0) }
    }

    /// Nothing of it has arrived. An empty file that was uploaded is refused, so this has one meaning only.
    #[must_use]
    pub const fn is_awaited(&self) -> bool {
        self.size_bytes.count() == 0
    }
}

/// Request bodies to send.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Payload {
    /// One body, or a gzip tar of which every regular file is one body, sent in turn.
    pub artifact: ArtifactRef,
    /// Whether `artifact` is such an archive.
    pub is_archive: bool,
    /// The `Content-Type` of every body.
    pub content_type: String,
}
