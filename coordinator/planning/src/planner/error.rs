//! Why there is no plan.

use std::collections::BTreeSet;

use assay_measure::ids::{EndpointName, InstanceTypeName};
use thiserror::Error;

use super::MOST_CANDIDATES;
use crate::{catalogue::UnknownInstanceType, sweep::EnvironmentConflict};

#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum PlanError {
    #[error(transparent)]
    UnknownInstanceType(#[from] UnknownInstanceType),
    /// No agent offers anything to measure on; try again when one has connected.
    #[error("no agent is connected, so there is nothing to measure on")]
    NoAgents,
    /// No agent offers the endpoint; try again when one does.
    #[error("no agent offers endpoint {endpoint}{}", among(.offered))]
    NoSuchEndpoint { endpoint: EndpointName, offered: BTreeSet<EndpointName> },
    /// The environment of a candidate contradicts itself or the sweep.
    #[error("the environment of {instance_type} cannot be tried: {conflict}")]
    Environment { instance_type: InstanceTypeName, conflict: EnvironmentConflict },
    /// A name stands for one machine.
    #[error("{instance_type} is given twice, with another shape or price")]
    TwoShapes { instance_type: InstanceTypeName },
    #[error("the sweep makes {count} candidates; at most {MOST_CANDIDATES} can be planned")]
    TooMany { count: usize },
}

fn among(endpoints: &BTreeSet<EndpointName>) -> String {
    let names: Vec<&str> = endpoints.iter().map(EndpointName::as_str).collect();
    if names.is_empty() { String::new() } else { format!("; offered are {}", names.join(", ")) }
}

impl PlanError {
    /// One thing to do next.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::UnknownInstanceType(unknown) => unknown.hint(),
            Self::NoAgents => {
                "start `assay-agent run --server URL` on a candidate machine".to_owned()
            }
            Self::NoSuchEndpoint { endpoint, .. } => format!(
                "start the agent beside it with `assay-agent run --endpoint {endpoint}=http://HOST:PORT/PATH`"
            ),
            Self::Environment { .. } => {
                "give every setting once: by an environment variable or by the sweep".to_owned()
            }
            Self::TwoShapes { .. } => "give each shape a name of its own".to_owned(),
            Self::TooMany { .. } => "sweep fewer settings at a time".to_owned(),
        }
    }
}
