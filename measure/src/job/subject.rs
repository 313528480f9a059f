//! What a job measures: a model on candidates, a server that runs already, or both.

use serde::{Deserialize, Serialize};

use crate::{ids::EndpointName, trial::ArtifactRef};

/// What a job measures.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum JobSubject {
    /// A model on candidates, and beside them a server that runs already, to be compared with.
    ModelAndEndpoint {
        /// The model.
        model: ArtifactRef,
        /// The server.
        endpoint: EndpointName,
    },
    /// A server that runs already, and nothing else.
    Endpoint {
        /// The server.
        endpoint: EndpointName,
    },
    /// A model on candidates.
    Model {
        /// The model.
        model: ArtifactRef,
    },
}

impl JobSubject {
    /// The same with another file for its model, if it has one.
    #[must_use]
    pub fn with_model(self, model: Option<ArtifactRef>) -> Self {
        match (self, model) {
            (Self::Model { .. }, Some(model)) => Self::Model { model },
            (Self::ModelAndEndpoint { endpoint, .. }, Some(model)) => {
                Self::ModelAndEndpoint { model, endpoint }
            }
            (same, _) => same,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subject_is_told_by_its_members_as_jobs_were_before_there_were_endpoints() {
        #[derive(Debug, PartialEq, Serialize, Deserialize)]
        struct Stored {
            #[serde(flatten)]
            subject: JobSubject,
        }
        let model = || ArtifactRef::awaited("model.pt");
        let endpoint = || "mine".parse().unwrap();
        for (subject, members) in [
            (JobSubject::Model { model: model() }, &["model"][..]),
            (JobSubject::Endpoint { endpoint: endpoint() }, &["endpoint"]),
            (
                JobSubject::ModelAndEndpoint { model: model(), endpoint: endpoint() },
                &["endpoint", "model"],
            ),
        ] {
            let json = serde_json::to_value(Stored { subject: subject.clone() }).unwrap();
            assert_eq!(json.as_object().unwrap().keys().collect::<Vec<_>>(), members);
            assert_eq!(serde_json::from_value::<Stored>(json).unwrap(), Stored { subject });
        }
        assert!(serde_json::from_str::<Stored>("{}").is_err(), "nothing to measure");
    }
}
