//! How everybody else talks to the loop.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use assay_measure::ids::JobName;
use assay_planning::prices::Prices;
use thiserror::Error;
use tokio::sync::{broadcast, mpsc, oneshot, watch};

use super::{AnswerTo, AttachDenied, Event, UNREAD_COMMANDS};
use crate::{
    agent_link::{AgentCommand, AgentFacts, AgentReport, Held},
    job_event::JobEvent,
};

// Requests wait in line beyond that; agents and clients feel it as back-pressure.
const EVENTS_IN_LINE: usize = 256;
// A watcher that falls further behind reads on from the store.
const EVENTS_TO_WATCH: usize = 1024;

/// One connection of one agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct SessionId(pub(super) u64);

/// Something that happened to a job, for whoever watches it.
#[derive(Debug)]
pub(crate) struct Published {
    pub(crate) job: JobName,
    pub(crate) event: JobEvent,
}

/// The coordinator is stopping and takes no more requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the coordinator is stopping")]
pub(crate) struct Stopping;

/// The way to the loop; cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct DispatchLink {
    events: mpsc::Sender<Event>,
    departures: mpsc::UnboundedSender<SessionId>,
    next_session: Arc<AtomicU64>,
    published: broadcast::WeakSender<Arc<Published>>,
    prices: watch::Receiver<Arc<Prices>>,
}

/// The loop's end of it.
#[derive(Debug)]
pub(super) struct Inbox {
    events: mpsc::Receiver<Event>,
    departures: mpsc::UnboundedReceiver<SessionId>,
}

/// An agent's connection as the gRPC service holds it. Dropped, the agent has left.
#[derive(Debug)]
pub(crate) struct AgentSession {
    id: SessionId,
    link: DispatchLink,
    commands: mpsc::Receiver<AgentCommand>,
}

/// What an agent registers with.
#[derive(Debug)]
pub(crate) struct Registration {
    /// What it says of itself.
    pub(crate) facts: AgentFacts,
    /// The trial it still holds.
    pub(crate) held: Option<Held>,
}

/// Both ends, and where the loop publishes.
pub(super) fn connect(
    prices: Arc<Prices>,
) -> (DispatchLink, Inbox, broadcast::Sender<Arc<Published>>, watch::Sender<Arc<Prices>>) {
    let (events, events_in) = mpsc::channel(EVENTS_IN_LINE);
    let (departures, departures_in) = mpsc::unbounded_channel();
    let (published, _) = broadcast::channel(EVENTS_TO_WATCH);
    let (prices_out, prices) = watch::channel(prices);
    let link = DispatchLink {
        events,
        departures,
        next_session: Arc::new(AtomicU64::new(1)),
        published: published.downgrade(),
        prices,
    };
    let inbox = Inbox { events: events_in, departures: departures_in };
    (link, inbox, published, prices_out)
}

/// A link without a loop, and the means to publish in its place.
#[cfg(test)]
pub(crate) fn detached() -> (DispatchLink, broadcast::Sender<Arc<Published>>) {
    let (link, _, published, _) = connect(Arc::new(Prices::builtin()));
    (link, published)
}

impl Inbox {
    /// The next thing to handle. Waits for ever once nobody can send any more.
    pub(super) async fn next(&mut self) -> Event {
        // A departure goes first: the agent may be back already, and would find its place taken.
        tokio::select! {
            biased;
            Some(session) = self.departures.recv() => Event::AgentLeft(session),
            Some(event) = self.events.recv() => event,
            else => std::future::pending().await,
        }
    }
}

impl DispatchLink {
    /// Asks the loop for something.
    pub(crate) async fn ask<T>(
        &self,
        event: impl FnOnce(AnswerTo<T>) -> Event,
    ) -> Result<T, Stopping> {
        let (answer, answered) = oneshot::channel();
        self.events.send(event(answer)).await.map_err(|_| Stopping)?;
        answered.await.map_err(|_| Stopping)
    }

    pub(crate) async fn attach(
        &self,
        registration: Registration,
    ) -> Result<Result<AgentSession, AttachDenied>, Stopping> {
        let id = SessionId(self.next_session.fetch_add(1, Ordering::Relaxed));
        let (outbox, commands) = mpsc::channel(UNREAD_COMMANDS);
        let session = AgentSession { id, link: self.clone(), commands };
        let admitted = self
            .ask(|answer| Event::AgentAttached {
                session: id,
                outbox,
                facts: Box::new(registration.facts),
                held: registration.held,
                answer,
            })
            .await?;
        Ok(admitted.map(|()| session))
    }

    /// What happens from now on, to all jobs.
    pub(crate) fn watch(&self) -> Result<broadcast::Receiver<Arc<Published>>, Stopping> {
        Ok(self.published.upgrade().ok_or(Stopping)?.subscribe())
    }

    pub(crate) fn prices(&self) -> Arc<Prices> {
        Arc::clone(&self.prices.borrow())
    }
}

impl AgentSession {
    /// The next command for the agent; `None` when its connection must end.
    pub(crate) async fn next_command(&mut self) -> Option<AgentCommand> {
        self.commands.recv().await
    }

    pub(crate) async fn report(&self, report: AgentReport) -> Result<(), Stopping> {
        let event = Event::AgentReported(self.id, report);
        self.link.events.send(event).await.map_err(|_| Stopping)
    }
}

impl Drop for AgentSession {
    fn drop(&mut self) {
        // Closed before it is told, so that whoever hears of the departure finds it so.
        self.commands.close();
        // An error means that the loop has ended, and all connections with it.
        let _ = self.link.departures.send(self.id);
    }
}
