//! The stream to the coordinator: dialled, registered, kept alive, and dialled again.
//!
//! Wire messages end here: what the coordinator says becomes a [`LinkEvent`], validated. What the
//! agent says is handed to the sender that comes with [`LinkEvent::Attached`]; when the stream breaks
//! that sender is dead and a new one comes. Nothing is stored here: what must not be lost stays with
//! the daemon until it is acknowledged.

mod backoff;
pub mod coordinator;
mod fetch;
mod message;

use std::{collections::VecDeque, time::Duration};

use assay_measure::{
    ids::{LeaseToken, TrialId},
    trial::TrialSpec,
};
use assay_proto::v1::{
    AgentMessage, CoordinatorMessage, Heartbeat, HeldTrial, Registered, agent_message,
    coordinator_message,
};
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::Streaming;

use backoff::Backoff;
use coordinator::{Coordinator, Refusal};
pub use message::Introduction;

/// How long the coordinator may take to answer a registration.
const REGISTER_WITHIN: Duration = Duration::from_secs(10);
/// So many heartbeats without an answer mean that nobody is there any more.
const UNANSWERED_HEARTBEATS: usize = 3;
/// Messages on their way out.
const OUTGOING: usize = 1024;

/// The right to run one trial.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    pub trial: TrialId,
    pub token: LeaseToken,
}

/// What happens on the link.
#[derive(Debug)]
pub enum LinkEvent {
    /// Registered. Everything unacknowledged is to be sent again.
    Attached {
        /// The lease that was held still stands; when false its trial is to be forgotten.
        held_trial_stands: bool,
        /// Takes what is to be sent, until the stream breaks.
        outgoing: mpsc::Sender<AgentMessage>,
    },
    /// The stream broke; it is dialled again.
    Detached {
        reason: String,
        /// What was said on it is refused for good, so saying it again is of no use.
        refused: bool,
    },
    /// The coordinator wants a trial run.
    StartTrial {
        /// The proof of the right to run it.
        token: LeaseToken,
        spec: Box<TrialSpec>,
    },
    /// The coordinator wants a trial run but does not say it properly.
    MalformedTrial {
        /// The trial's name as it came.
        trial: String,
        token: String,
        problem: String,
    },
    /// A report is stored, or refused for good.
    Acknowledged {
        /// The lease it was sent under.
        token: LeaseToken,
        what: Acknowledged,
        /// The lease is gone: stop and forget.
        stale: bool,
    },
    /// The lease is gone: stop and forget.
    LeaseLost { token: LeaseToken },
    /// The trial is to be stopped; its outcome is still reported.
    CancelTrial { token: LeaseToken, by: String },
    /// Take nothing new, or take new trials again.
    Drain(bool),
    /// The coordinator does not want this agent. The link has ended.
    Refused(Refusal),
}

/// What an acknowledgement is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acknowledged {
    Step(u32),
    Outcome,
}

/// Keeps the agent attached until `stop`, or until the coordinator refuses it.
pub async fn keep_attached(
    coordinator: Coordinator,
    introduction: Introduction,
    held: watch::Receiver<Option<Lease>>,
    events: mpsc::Sender<LinkEvent>,
    stop: CancellationToken,
) {
    let mut link = Link { coordinator, introduction, held, events, was_attached: false };
    let mut backoff = Backoff::default();
    loop {
        let ended = tokio::select! {
            ended = link.attach() => ended,
            () = stop.cancelled() => return,
        };
        let (reason, refused) = match ended {
            Ended::Refused(refusal) => {
                let _ = link.events.send(LinkEvent::Refused(refusal)).await;
                return;
            }
            Ended::NotAttached(reason) => (reason, false),
            Ended::Broken { reason, refused } => {
                backoff = Backoff::default();
                (reason, refused)
            }
            Ended::NobodyListens => return,
        };
        if link.events.send(LinkEvent::Detached { reason, refused }).await.is_err() {
            return;
        }
        tokio::select! {
            () = tokio::time::sleep(backoff.next_pause()) => {}
            () = stop.cancelled() => return,
        }
    }
}

struct Link {
    coordinator: Coordinator,
    introduction: Introduction,
    held: watch::Receiver<Option<Lease>>,
    events: mpsc::Sender<LinkEvent>,
    was_attached: bool,
}

enum Ended {
    Refused(Refusal),
    /// The stream did not come to stand.
    NotAttached(String),
    /// The stream stood and broke.
    Broken {
        reason: String,
        /// Over something that was said on it.
        refused: bool,
    },
    /// The agent has gone away.
    NobodyListens,
}

impl Ended {
    /// The stream broke by itself.
    fn broken(reason: &str) -> Self {
        Self::Broken { reason: reason.to_owned(), refused: false }
    }
}

impl Link {
    fn held(&self) -> Option<Lease> {
        self.held.borrow().clone()
    }

    /// One stream, from dialling to its end.
    async fn attach(&mut self) -> Ended {
        let (outgoing, outgoing_receiver) = mpsc::channel(OUTGOING);
        let register = self.introduction.register(self.held());
        // The channel is new and empty.
        let _ = outgoing
            .try_send(AgentMessage { message: Some(agent_message::Message::Register(register)) });
        let dial = self.register(outgoing_receiver);
        let (incoming, registered) = match tokio::time::timeout(REGISTER_WITHIN, dial).await {
            Ok(Ok(attached)) => attached,
            Ok(Err(status)) => return self.not_attached(&status),
            Err(_) => {
                return Ended::NotAttached("the coordinator did not answer in time".to_owned());
            }
        };
        self.was_attached = true;
        let attached = LinkEvent::Attached {
            held_trial_stands: registered.held_trial_stands,
            outgoing: outgoing.clone(),
        };
        if self.events.send(attached).await.is_err() {
            return Ended::NobodyListens;
        }
        self.converse(incoming, &outgoing, &registered).await
    }

    async fn register(
        &self,
        outgoing: mpsc::Receiver<AgentMessage>,
    ) -> Result<(Streaming<CoordinatorMessage>, Registered), tonic::Status> {
        let mut incoming =
            self.coordinator.client().attach(ReceiverStream::new(outgoing)).await?.into_inner();
        let first = incoming.message().await?.and_then(|message| message.message);
        match first {
            Some(coordinator_message::Message::Registered(registered)) => {
                Ok((incoming, registered))
            }
            Some(_) => Err(assay_proto::refusal(
                tonic::Code::Internal,
                "the coordinator did not begin with a registration",
            )),
            None => Err(assay_proto::refusal(
                tonic::Code::Unavailable,
                "the coordinator closed the stream",
            )),
        }
    }

    fn not_attached(&self, status: &tonic::Status) -> Ended {
        match Refusal::from_status(status) {
            // After a broken stream the coordinator may hold on to the dead one for a while: the
            // agent that bears our name is ourselves.
            Some(Refusal::NameTaken(message)) if self.was_attached => Ended::NotAttached(message),
            Some(refusal) => Ended::Refused(refusal),
            None => Ended::NotAttached(coordinator::describe(status)),
        }
    }

    async fn converse(
        &mut self,
        mut incoming: Streaming<CoordinatorMessage>,
        outgoing: &mpsc::Sender<AgentMessage>,
        registered: &Registered,
    ) -> Ended {
        let interval =
            Duration::from_micros(registered.heartbeat_interval_us).max(Duration::from_millis(100));
        let mut beat = tokio::time::interval_at(tokio::time::Instant::now() + interval, interval);
        beat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut unanswered: VecDeque<Option<LeaseToken>> = VecDeque::new();
        loop {
            tokio::select! {
                message = incoming.message() => {
                    let message = match message {
                        Ok(Some(message)) => message,
                        Ok(None) => return Ended::broken("the coordinator closed the stream"),
                        Err(status) => return Ended::Broken {
                            reason: coordinator::describe(&status),
                            refused: coordinator::refuses_for_good(&status),
                        },
                    };
                    let Some(event) = message::event(message, &mut unanswered) else { continue };
                    if self.events.send(event).await.is_err() {
                        return Ended::NobodyListens;
                    }
                }
                _ = beat.tick() => {
                    if unanswered.len() >= UNANSWERED_HEARTBEATS {
                        return Ended::broken(&format!("{UNANSWERED_HEARTBEATS} heartbeats were not answered"));
                    }
                    let running = self.held();
                    unanswered.push_back(running.as_ref().map(|lease| lease.token.clone()));
                    let heartbeat = Heartbeat { running: running.map(HeldTrial::from) };
                    let message = AgentMessage { message: Some(agent_message::Message::Heartbeat(heartbeat)) };
                    // A full queue is a stream that does not move; the unanswered heartbeats end it.
                    let _ = outgoing.try_send(message);
                }
            }
        }
    }
}
