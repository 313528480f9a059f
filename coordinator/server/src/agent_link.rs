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
    /// Its name.
    pub(crate) name: AgentName,
    /// Its version, for people.
    pub(crate) version: String,
    /// The instance type of its machine.
    pub(crate) instance_type: InstanceTypeName,
    /// Where it knows that from.
    pub(crate) instance_type_source: String,
    /// Its physical host.
    pub(crate) fingerprint: HostFingerprint,
    /// Its machine.
    pub(crate) host: HostFacts,
    /// For people.
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
    /// The trial.
    pub(crate) trial: TrialId,
    /// The proof.
    pub(crate) token: LeaseToken,
}

/// What an agent reports.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum AgentReport {
    /// It lives, and runs this.
    Heartbeat(Option<Held>),
    /// A trial came further.
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
    /// It is registered.
    Registered {
        /// How often to give signs of life.
        heartbeat_interval: Duration,
        /// How long a lease lasts without one.
        lease_term: Duration,
        /// The trial it came with is still its own.
        held_trial_stands: bool,
    },
    /// Its heartbeat arrived.
    HeartbeatSeen {
        /// The trial in it is still its own.
        lease_stands: bool,
    },
    /// Run a trial.
    StartTrial(LeaseToken, Box<TrialSpec>),
    /// Stop a trial.
    CancelTrial(Held, String),
    /// A report is stored, or refused for good.
    Acknowledge {
        /// The trial and its proof.
        held: Held,
        /// Which report.
        report: ReportKind,
        /// It did not count.
        stale: bool,
    },
    /// Take nothing new, or again do.
    Drain(bool),
}

/// Which report is acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ReportKind {
    /// The step of this index.
    Step(u32),
    /// The outcome.
    Outcome,
}
