//! What an agent is asked to do: one candidate, measured once.

use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use crate::artifact::ArtifactRef;
use crate::{
    configuration::Configuration,
    hardware::Shape,
    ids::{EndpointName, InstanceTypeName, TrialId},
    input_spec::InputSpec,
    load_profile::LoadProfile,
    search::SearchPlan,
};

/// Everything an agent needs to know to run one trial. Running it twice is harmless.
#[derive(Clone, Debug, PartialEq)]
pub struct TrialSpec {
    /// The trial's name.
    pub id: TrialId,
    /// The instance type measured (the first, when several of the same shape share the trial).
    pub instance_type: InstanceTypeName,
    /// What is put under load.
    pub subject: TrialSubject,
    /// What to send.
    pub payload: Payload,
    /// Declared inputs of the model.
    pub inputs: Vec<InputSpec>,
    /// Search for the capacity, or hold a fixed load.
    pub work: Work,
    /// A request that takes longer counts as failed; the model is taken to hang when all do.
    pub request_timeout: Duration,
}

impl TrialSpec {
    /// The model, if one is served for the trial.
    #[must_use]
    pub const fn served(&self) -> Option<&ServedModel> {
        self.subject.served()
    }

    /// The shape to emulate, if any.
    #[must_use]
    pub fn emulated(&self) -> Option<Shape> {
        self.subject.emulated()
    }
}

/// What a trial puts under load.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum TrialSubject {
    /// A server that runs already. The agent's operator made it known under this name; where it is, only
    /// the agent knows.
    Endpoint {
        /// Its name.
        endpoint: EndpointName,
    },
    /// A model that the agent serves for the trial.
    Served(ServedModel),
}

impl TrialSubject {
    /// The model, if one is served for the trial.
    #[must_use]
    pub const fn served(&self) -> Option<&ServedModel> {
        match self {
            Self::Served(served) => Some(served),
            Self::Endpoint { .. } => None,
        }
    }

    /// The same, to be changed.
    #[must_use]
    pub const fn served_mut(&mut self) -> Option<&mut ServedModel> {
        match self {
            Self::Served(served) => Some(served),
            Self::Endpoint { .. } => None,
        }
    }

    /// The shape to emulate, if any.
    #[must_use]
    pub fn emulated(&self) -> Option<Shape> {
        self.served().and_then(|served| served.emulated)
    }
}

/// A model, and how the agent serves it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ServedModel {
    /// The shape to emulate on this machine; absent when the machine is of that type itself.
    pub emulated: Option<Shape>,
    /// How the model is served.
    pub configuration: Configuration,
    /// The model file.
    pub model: ArtifactRef,
    /// How long the host may take from its start until it answers `/ping`.
    pub ready_within: Duration,
}

/// What is done with the model once it serves.
#[derive(Clone, Debug, PartialEq)]
pub enum Work {
    /// Find its capacity.
    Search(SearchPlan),
    /// Hold this load and report each of its phases.
    Load(LoadProfile),
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

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;
    use crate::units::Bytes;

    #[test]
    fn either_subject_survives_json() {
        let endpoint = TrialSubject::Endpoint { endpoint: "mine".parse().unwrap() };
        let served = TrialSubject::Served(ServedModel {
            emulated: Some(Shape { vcpus: 2, memory_bytes: Bytes::gib(4) }),
            configuration: Configuration::cpu(NonZeroU32::MIN, NonZeroU32::MIN),
            model: ArtifactRef::awaited("model.pt"),
            ready_within: Duration::from_secs(60),
        });
        for subject in [endpoint, served] {
            let text = serde_json::to_string(&subject).unwrap();
            assert_eq!(serde_json::from_str::<TrialSubject>(&text).unwrap(), subject);
        }
    }
}
