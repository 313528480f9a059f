//! Agents as clients see them.

use assay_proto::v1;

use super::job_wire::timestamp;
use crate::dispatch::AgentStatus;

pub(super) fn agent(status: AgentStatus) -> v1::Agent {
    let facts = status.facts;
    v1::Agent {
        name: facts.name.to_string(),
        instance_type: facts.instance_type.to_string(),
        instance_type_source: facts.instance_type_source,
        connected: status.connected,
        draining: status.draining,
        running_trial_id: status.running.map(|trial| trial.to_string()),
        last_seen_at: Some(timestamp(status.last_seen_at)),
        host: Some(facts.host.into()),
        labels: facts.labels.into_iter().collect(),
        agent_version: facts.version,
        host_fingerprint: facts.fingerprint.to_string(),
        endpoints: facts.endpoints.iter().map(ToString::to_string).collect(),
    }
}
