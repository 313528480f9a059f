//! The conversation between coordinator and agent, in domain types: two closed sets of messages.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use assay_measure::{
    hardware::HostFacts,
    ids::{AgentName, EndpointName, HostFingerprint, InstanceTypeName, LeaseToken, TrialId},
    outcome::{Progress, StepResult, TrialOutcome},
    trial::TrialSpec,
};
use serde::{Deserialize, Serialize};

/// What an agent says of itself when it connects.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct AgentFacts {
    pub(crate) name: AgentName,
    pub(crate) version: String,
    pub(crate) instance_type: InstanceTypeName,
    pub(crate) instance_type_source: String,
    pub(crate) fingerprint: HostFingerprint,
    pub(crate) host: HostFacts,
    pub(crate) labels: BTreeMap<String, String>,
    /// Instance types may be emulated on it.
    pub(crate) emulates: bool,
    /// Running servers that it may load, as its operator named them.
    #[serde(default)]
    pub(crate) endpoints: BTreeSet<EndpointName>,
}

/// A trial that an agent holds, with its proof.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Held {
    pub(crate) trial: TrialId,
    pub(crate) token: LeaseToken,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum AgentReport {
    /// It lives, and runs this.
    Heartbeat(Option<Held>),
    Progressed(Held, Progress),
    /// A step came to its end.
    StepFinished(Held, Box<StepResult>),
    /// A report of a step cannot be read, and never will be.
    StepUnreadable(Held, u32),
    /// A trial came to its end.
    TrialFinished(Held, Box<TrialOutcome>),
    /// It cannot take a trial.
    TrialDeclined(Held, String),
}

/// What an agent is told.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum AgentCommand {
    Registered {
        /// How often to give signs of life.
        heartbeat_interval: Duration,
        /// How long a lease lasts without one.
        lease_term: Duration,
        /// The trial it came with is still its own.
        held_trial_stands: bool,
    },
    HeartbeatSeen {
        /// The trial in it is still its own.
        lease_stands: bool,
    },
    StartTrial(LeaseToken, Box<TrialSpec>),
    CancelTrial(Held, String),
    /// A report is stored, or refused for good.
    Acknowledge {
        /// The trial and its proof.
        held: Held,
        report: ReportKind,
        stale: bool,
    },
    /// Take nothing new, or again do.
    Drain(bool),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ReportKind {
    Step(u32),
    Outcome,
}
