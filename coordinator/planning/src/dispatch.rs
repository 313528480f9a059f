//! Which waiting trial goes to which agent now.
//!
//! One trial at a time per physical host, whatever the number of agents on it; the oldest job first,
//! within a job the order of its plan and no more at once than it may; nothing for agents that are draining.

use std::collections::{BTreeMap, BTreeSet};

use assay_measure::ids::{AgentName, HostFingerprint, JobName, TrialId};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{fleet::AgentView, planner::Placement};

/// A trial that waits for an agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WaitingTrial {
    pub id: TrialId,
    /// Its number within its job.
    pub index: u32,
    pub placement: Placement,
    pub job_created_at: Timestamp,
    /// How many more trials of its job may run now; absent is as many as there is room for.
    #[serde(default)]
    pub job_may_begin: Option<u32>,
}

/// Give this trial to this agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assignment {
    pub trial: TrialId,
    pub agent: AgentName,
}

/// Decides what runs next. The caller grants the leases, in this order.
#[must_use]
pub fn assign(waiting: &[WaitingTrial], fleet: &[AgentView]) -> Vec<Assignment> {
    let mut occupied: BTreeSet<&HostFingerprint> =
        fleet.iter().filter(|agent| agent.busy).map(|agent| &agent.fingerprint).collect();
    let mut oldest_first: Vec<&WaitingTrial> = waiting.iter().collect();
    oldest_first.sort_by_key(|trial| (trial.job_created_at, trial.id.job(), trial.index));
    let mut assignments: Vec<Assignment> = Vec::new();
    let mut begun: BTreeMap<JobName, u32> = BTreeMap::new();
    for trial in oldest_first {
        let of_job = begun.entry(trial.id.job()).or_default();
        if trial.job_may_begin.is_some_and(|most| *of_job >= most) {
            continue;
        }
        let free = fleet
            .iter()
            .filter(|agent| !agent.draining && !occupied.contains(&agent.fingerprint))
            .filter(|agent| trial.placement.allows(agent))
            .min_by_key(|agent| &agent.name);
        if let Some(agent) = free {
            occupied.insert(&agent.fingerprint);
            *of_job += 1;
            assignments.push(Assignment { trial: trial.id.clone(), agent: agent.name.clone() });
        }
    }
    assignments
}

#[cfg(test)]
mod tests;
