//! What the planner sees of the agents: a snapshot, without connections.

use std::collections::BTreeSet;

use assay_measure::{
    hardware::HostFacts,
    ids::{AgentName, EndpointName, HostFingerprint, InstanceTypeName},
};
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AgentView {
    pub name: AgentName,
    pub instance_type: InstanceTypeName,
    /// Its physical host; agents that share one share everything.
    pub fingerprint: HostFingerprint,
    pub host: HostFacts,
    /// It holds a trial (leased, running or being cancelled).
    pub busy: bool,
    /// It gets no further trials.
    pub draining: bool,
    /// Smaller instance types may be emulated on it.
    pub may_emulate: bool,
    /// Running servers that it may load.
    #[serde(default)]
    pub endpoints: BTreeSet<EndpointName>,
}
