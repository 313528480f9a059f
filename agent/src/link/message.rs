//! Messages of the link to and from the agent's own types.

use std::collections::{BTreeMap, VecDeque};

use assay_measure::{
    hardware::HostFacts,
    ids::{AgentName, EndpointName, HostFingerprint, LeaseToken},
    trial::TrialSpec,
};
use assay_proto::{
    PROTOCOL_VERSION,
    v1::{
        CoordinatorMessage, HeldTrial, Register, StartTrial, acknowledge,
        coordinator_message::Message,
    },
};

use super::{Acknowledged, Lease, LinkEvent};
use crate::identity::InstanceType;

/// How an agent introduces itself.
#[derive(Clone, Debug)]
pub struct Introduction {
    pub name: AgentName,
    pub instance_type: InstanceType,
    pub fingerprint: HostFingerprint,
    pub host: HostFacts,
    /// What the user wants known of it.
    pub labels: BTreeMap<String, String>,
    /// Whether it may emulate other instance types.
    pub emulates: bool,
    /// Running servers that it may load, by name; where they are is nobody else's business.
    pub endpoints: Vec<EndpointName>,
}

impl Introduction {
    pub(super) fn register(&self, running: Option<Lease>) -> Register {
        Register {
            name: self.name.to_string(),
            protocol_version: PROTOCOL_VERSION,
            agent_version: env!("CARGO_PKG_VERSION").to_owned(),
            instance_type: self.instance_type.name.to_string(),
            instance_type_source: self.instance_type.source.word().to_owned(),
            host_fingerprint: self.fingerprint.to_string(),
            host: Some(self.host.clone().into()),
            labels: self.labels.clone().into_iter().collect(),
            running: running.map(HeldTrial::from),
            emulates: self.emulates,
            endpoints: self.endpoints.iter().map(ToString::to_string).collect(),
        }
    }
}

impl From<Lease> for HeldTrial {
    fn from(lease: Lease) -> Self {
        Self { trial_id: lease.trial.to_string(), lease_token: lease.token.to_string() }
    }
}

/// What a message means; nothing, when it means nothing to us. `unanswered` are the tokens that went
/// out with heartbeats, in order: an answer is about the lease that was held when it was asked for.
pub(super) fn event(
    message: CoordinatorMessage,
    unanswered: &mut VecDeque<Option<LeaseToken>>,
) -> Option<LinkEvent> {
    match message.message? {
        Message::StartTrial(start) => Some(start_trial(start)),
        Message::Acknowledge(acknowledge) => {
            let what = match acknowledge.what? {
                acknowledge::What::StepIndex(index) => Acknowledged::Step(index),
                acknowledge::What::Outcome(_) => Acknowledged::Outcome,
            };
            let token = LeaseToken::new(acknowledge.lease_token).ok()?;
            Some(LinkEvent::Acknowledged { token, what, stale: acknowledge.stale })
        }
        Message::CancelTrial(cancel) => {
            let token = LeaseToken::new(cancel.lease_token).ok()?;
            Some(LinkEvent::CancelTrial { token, by: cancel.by })
        }
        Message::Drain(drain) => Some(LinkEvent::Drain(drain.draining)),
        Message::HeartbeatSeen(seen) => {
            let token = unanswered.pop_front().flatten()?;
            (!seen.lease_stands).then_some(LinkEvent::LeaseLost { token })
        }
        // Only the first message may be one.
        Message::Registered(_) => None,
    }
}

fn start_trial(start: StartTrial) -> LinkEvent {
    let trial = start.spec.as_ref().map(|spec| spec.id.clone()).unwrap_or_default();
    let malformed = |problem: String| LinkEvent::MalformedTrial {
        trial: trial.clone(),
        token: start.lease_token.clone(),
        problem,
    };
    let token = match LeaseToken::new(start.lease_token.clone()) {
        Ok(token) => token,
        Err(error) => return malformed(error.to_string()),
    };
    match start.spec.clone().map(TrialSpec::try_from) {
        Some(Ok(spec)) => LinkEvent::StartTrial { token, spec: Box::new(spec) },
        Some(Err(error)) => malformed(error.to_string()),
        None => malformed("the trial is not described".to_owned()),
    }
}
