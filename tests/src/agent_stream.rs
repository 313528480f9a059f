//! An agent's stream to the coordinator without an agent: what it says, and what it hears.

use std::{collections::HashMap, time::Duration};

use assay_proto::v1::{
    self, agent_message, agent_service_client::AgentServiceClient, coordinator_message,
};
use tokio::{sync::mpsc, time::timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming, transport::Endpoint};

use crate::known_figures::host;

/// Dialling takes no longer unless the network swallows it and is never cut.
const DIAL_WITHIN: Duration = Duration::from_secs(5);

pub struct Stream {
    say: mpsc::Sender<v1::AgentMessage>,
    heard: Streaming<v1::CoordinatorMessage>,
}

impl Stream {
    /// # Errors
    /// Nobody listens, nothing comes back, or the coordinator refuses the registration.
    pub async fn attach(
        url: &str,
        register: v1::Register,
    ) -> Result<(Self, v1::Registered), Status> {
        let attached = timeout(DIAL_WITHIN, async {
            let channel =
                Endpoint::from_shared(url.to_owned()).expect("a test dials a URL").connect().await;
            let channel = channel.map_err(|error| Status::unavailable(error.to_string()))?;
            let (say, messages) = mpsc::channel(256);
            say.try_send(message(agent_message::Message::Register(register)))
                .expect("the channel is empty");
            let mut client = AgentServiceClient::new(channel);
            let answer = client.attach(ReceiverStream::new(messages)).await?;
            let mut stream = Self { say, heard: answer.into_inner() };
            match stream.hear().await {
                Some(coordinator_message::Message::Registered(registered)) => {
                    Ok((stream, registered))
                }
                Some(other) => panic!("expected the registration's answer, got {other:?}"),
                None => Err(Status::unavailable("the stream ended")),
            }
        });
        attached.await.unwrap_or_else(|_| Err(Status::unavailable("no answer")))
    }

    /// Says something. On a stream that has ended nobody hears it, as on any network.
    pub fn say(&self, what: agent_message::Message) {
        drop(self.say.try_send(message(what)));
    }

    /// What the coordinator says next; `None` when the stream has ended.
    pub async fn hear(&mut self) -> Option<coordinator_message::Message> {
        self.heard.message().await.ok().flatten().and_then(|heard| heard.message)
    }
}

fn message(message: agent_message::Message) -> v1::AgentMessage {
    v1::AgentMessage { message: Some(message) }
}

/// An agent of this name and instance type on a host of its own.
pub fn registration(name: &str, instance_type: &str, host_fingerprint: &str) -> v1::Register {
    v1::Register {
        name: name.to_owned(),
        protocol_version: assay_proto::PROTOCOL_VERSION,
        agent_version: "0".to_owned(),
        instance_type: instance_type.to_owned(),
        instance_type_source: "flag".to_owned(),
        host_fingerprint: host_fingerprint.to_owned(),
        host: Some(host().into()),
        labels: HashMap::new(),
        running: None,
        emulates: false,
        endpoints: Vec::new(),
    }
}

pub fn held(start: &v1::StartTrial) -> v1::HeldTrial {
    v1::HeldTrial {
        trial_id: start.spec.as_ref().expect("a trial has a specification").id.clone(),
        lease_token: start.lease_token.clone(),
    }
}

pub fn step_finished(held: &v1::HeldTrial, step: v1::StepResult) -> agent_message::Message {
    agent_message::Message::StepFinished(v1::StepFinished {
        trial_id: held.trial_id.clone(),
        lease_token: held.lease_token.clone(),
        step: Some(step),
    })
}

pub fn trial_finished(held: &v1::HeldTrial, outcome: v1::TrialOutcome) -> agent_message::Message {
    agent_message::Message::TrialFinished(v1::TrialFinished {
        trial_id: held.trial_id.clone(),
        lease_token: held.lease_token.clone(),
        outcome: Some(outcome),
    })
}

pub fn heartbeat(running: Option<v1::HeldTrial>) -> agent_message::Message {
    agent_message::Message::Heartbeat(v1::Heartbeat { running })
}
