//! An agent that does only what the test says.

use std::{collections::VecDeque, time::Duration};

use assay_proto::v1::{self, agent_message, coordinator_message};
use assay_tests::{
    agent_stream::{Stream, heartbeat, held, step_finished, trial_finished},
    wait::until_async,
};

use crate::{
    coordinator::{PATIENCE, within},
    figures::{measured, registration, step},
    network::Network,
};

const BEAT: Duration = Duration::from_millis(50);

pub(crate) struct ScriptedAgent {
    stream: Stream,
    /// Came while the test was asking for something else.
    started: VecDeque<v1::HeldTrial>,
    pub(crate) registered: v1::Registered,
}

impl ScriptedAgent {
    /// On a host of its own.
    pub(crate) async fn attach(network: &Network, name: &str) -> Self {
        Self::attach_as(network, registration(name, &format!("host-of-{name}"))).await
    }

    /// Comes back with a trial that it held before.
    pub(crate) async fn return_with(network: &Network, name: &str, held: &v1::HeldTrial) -> Self {
        let running = Some(held.clone());
        let register = registration(name, &format!("host-of-{name}"));
        Self::attach_as(network, v1::Register { running, ..register }).await
    }

    /// Tries until it is let in: the coordinator may restart, or still hold its last connection.
    pub(crate) async fn attach_as(network: &Network, register: v1::Register) -> Self {
        let attached = until_async("an agent to be let in", PATIENCE, async || {
            Stream::attach(&network.url(), register.clone()).await.ok()
        });
        let (stream, registered) = attached.await;
        Self { stream, started: VecDeque::new(), registered }
    }

    pub(crate) fn say(&self, what: agent_message::Message) {
        self.stream.say(what);
    }

    /// The next command that is not about heartbeats; `None` when the stream has ended.
    pub(crate) async fn hear(&mut self) -> Option<coordinator_message::Message> {
        loop {
            match within("a command", self.stream.hear()).await {
                Some(coordinator_message::Message::HeartbeatSeen(_)) => {}
                heard => return heard,
            }
        }
    }

    pub(crate) async fn expect_start(&mut self) -> v1::HeldTrial {
        if let Some(trial) = self.started.pop_front() {
            return trial;
        }
        match self.hear().await {
            Some(coordinator_message::Message::StartTrial(start)) => held(&start),
            other => panic!("expected a trial, got {other:?}"),
        }
    }

    /// Gives signs of life until there is a trial.
    pub(crate) async fn expect_start_in_time(&mut self) -> v1::HeldTrial {
        let mut beat = tokio::time::interval(BEAT);
        within("a trial", async {
            loop {
                tokio::select! {
                    heard = self.stream.hear() => match heard {
                        Some(coordinator_message::Message::StartTrial(start)) => {
                            return held(&start);
                        }
                        Some(coordinator_message::Message::HeartbeatSeen(_)) => {}
                        other => panic!("expected a trial, got {other:?}"),
                    },
                    _ = beat.tick() => self.stream.say(heartbeat(None)),
                }
            }
        })
        .await
    }

    /// The acknowledgement of what was just reported, before or after the start of another trial.
    pub(crate) async fn expect_acknowledge(&mut self) -> v1::Acknowledge {
        loop {
            match self.hear().await {
                Some(coordinator_message::Message::Acknowledge(acknowledge)) => return acknowledge,
                Some(coordinator_message::Message::StartTrial(start)) => {
                    self.started.push_back(held(&start));
                }
                other => panic!("expected an acknowledgement, got {other:?}"),
            }
        }
    }

    /// The answer to a heartbeat: whether the lease stands.
    pub(crate) async fn lease_stands(&mut self, running: &v1::HeldTrial) -> bool {
        self.say(heartbeat(Some(running.clone())));
        loop {
            match within("a heartbeat's answer", self.stream.hear()).await {
                Some(coordinator_message::Message::HeartbeatSeen(seen)) => {
                    return seen.lease_stands;
                }
                Some(_) => {}
                None => panic!("the stream ended"),
            }
        }
    }

    /// Reports a step; whether it counts.
    pub(crate) async fn step(&mut self, held: &v1::HeldTrial, mark: u64, index: u32) -> bool {
        self.say(step_finished(held, step(mark, index)));
        !self.expect_acknowledge().await.stale
    }

    /// Reports a measurement; whether it counts.
    pub(crate) async fn finish(&mut self, held: &v1::HeldTrial, mark: u64) -> bool {
        self.say(trial_finished(held, measured(mark)));
        !self.expect_acknowledge().await.stale
    }
}
