//! The one loop that owns jobs, trials, leases and agents.
//!
//! The whole conversation is two closed enums: [`Event`] says everything that can happen, [`Effect`]
//! everything that follows. What follows is decided without I/O by [`state::State`]; this file
//! performs it, in one order always: first the store, then agents, watchers and callers. So whatever
//! anybody was told survives a crash. When the store fails, the loop ends and with it the
//! coordinator: going on from memory would acknowledge what may be lost.

mod agents;
mod job_run;
mod jobs;
mod known_agent;
pub(crate) mod link;
mod recovery;
mod refused;
mod state;
mod supply;
mod terms;
mod time_limits;
mod trial_run;
mod trials;
mod waiting;

#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use assay_measure::{
    ids::{AgentName, JobName, TrialId},
    input_spec::InputSpec,
    job::JobSpec,
    trial::{ArtifactRef, Payload},
};
use assay_planning::{price_file::PriceRow, prices::Prices};
use jiff::Timestamp;
use tokio::{
    sync::{broadcast, mpsc, oneshot, watch},
    time::sleep_until,
};
use tokio_util::sync::CancellationToken;

pub(crate) use self::{
    link::{AgentSession, DispatchLink, Published, Registration, SessionId, Stopping},
    refused::{AttachDenied, Refused},
    state::State,
    terms::Terms,
};
use crate::{
    agent_link::{AgentCommand, AgentFacts, AgentReport, Held},
    artifacts::Hold,
    bundle::Bundle,
    clock::Clock,
    job_event::{JobEvent, TrialBrief},
    store::{Change, Store, StoreError},
};

/// Where a caller waits for its answer.
pub(crate) type AnswerTo<T> = oneshot::Sender<T>;

pub(crate) enum Event {
    /// An agent wants to register.
    AgentAttached {
        session: SessionId,
        outbox: mpsc::Sender<AgentCommand>,
        /// What it says of itself.
        facts: Box<AgentFacts>,
        /// The trial it still holds.
        held: Option<Held>,
        answer: AnswerTo<Result<(), AttachDenied>>,
    },
    AgentReported(SessionId, AgentReport),
    AgentLeft(SessionId),
    /// A client wants a job.
    CreateJob {
        /// What it asks for; its files are there.
        spec: Box<JobSpec>,
        /// Keeps them there until the job is stored; none for a job that awaits its files.
        hold: Option<Hold>,
        answer: AnswerTo<Result<Created, Refused>>,
    },
    /// The files that a job waited for have been stored.
    SupplyJob {
        name: JobName,
        files: Box<Supply>,
        /// Keeps them there until the job is stored with them.
        hold: Option<Hold>,
        /// Whether the job takes them.
        answer: AnswerTo<Result<(), Refused>>,
    },
    /// The files that a job waits for cannot be had.
    GiveUpJob {
        name: JobName,
        reason: String,
        /// Whether the job has failed by that.
        answer: AnswerTo<Result<(), Refused>>,
    },
    /// A client wants a job stopped.
    StopJob {
        name: JobName,
        by: String,
        answer: AnswerTo<Result<(), Refused>>,
    },
    /// A client wants to know what would be measured.
    PlanJob {
        spec: Box<JobSpec>,
        answer: AnswerTo<Result<Created, Refused>>,
    },
    /// A client brings a job of another coordinator, which has ended.
    ImportJob {
        bundle: Box<Bundle>,
        answer: AnswerTo<Result<(), Refused>>,
    },
    /// A client wants an ended job deleted.
    DeleteJob {
        name: JobName,
        answer: AnswerTo<Result<(), Refused>>,
    },
    /// A client wants to know the fleet.
    ListAgents {
        answer: AnswerTo<Vec<AgentStatus>>,
    },
    /// A client wants an agent to take nothing new, or again to do.
    DrainAgent {
        name: AgentName,
        draining: bool,
        answer: AnswerTo<Result<AgentStatus, Refused>>,
    },
    /// A client wants an agent forgotten.
    ForgetAgent {
        name: AgentName,
        answer: AnswerTo<Result<(), Refused>>,
    },
    /// A client states a price.
    SetPrice {
        row: PriceRow,
        answer: AnswerTo<()>,
    },
    ClockAdvanced,
}

impl Event {
    fn take_hold(&mut self) -> Option<Hold> {
        let (Self::CreateJob { hold, .. } | Self::SupplyJob { hold, .. }) = self else {
            return None;
        };
        hold.take()
    }
}

pub(crate) enum Effect {
    Store(Change),
    Tell(SessionId, AgentCommand),
    Disconnect(SessionId),
    /// Tell those who watch a job.
    Publish(JobName, JobEvent),
    /// Prices are others from now on.
    PricesChanged(Arc<Prices>),
    Answer(Box<dyn FnOnce() + Send>),
}

/// The files of a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Supply {
    /// The model; absent for a job on an endpoint alone.
    pub(crate) model: Option<ArtifactRef>,
    pub(crate) payload: Payload,
    /// What the model takes, as far as it has to be declared for these bodies.
    pub(crate) inputs: Vec<InputSpec>,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Created {
    /// What will be measured, as far as that is decided.
    pub(crate) trials: Vec<TrialBrief>,
    pub(crate) warnings: Vec<String>,
    /// Roughly how long all of it takes.
    pub(crate) expected: Duration,
}

/// An agent as clients see it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct AgentStatus {
    /// What it says of itself.
    pub(crate) facts: AgentFacts,
    pub(crate) connected: bool,
    pub(crate) draining: bool,
    pub(crate) running: Option<TrialId>,
    pub(crate) last_seen_at: Timestamp,
}

/// Answers a caller who may have gone.
fn answer<T: Send + 'static>(to: AnswerTo<T>, value: T) -> Effect {
    Effect::Answer(Box::new(move || drop(to.send(value))))
}

/// The loop's ends of its channels.
pub(crate) struct Dispatch {
    state: State,
    store: Arc<Store>,
    clock: Clock,
    inbox: link::Inbox,
    agents: BTreeMap<SessionId, mpsc::Sender<AgentCommand>>,
    published: broadcast::Sender<Arc<Published>>,
    prices: watch::Sender<Arc<Prices>>,
}

// An agent that leaves so many commands unread is gone, whatever its connection says.
const UNREAD_COMMANDS: usize = 256;

impl Dispatch {
    /// A loop over this state, and the link to it.
    pub(crate) fn new(state: State, store: Arc<Store>, clock: Clock) -> (Self, DispatchLink) {
        let (link, inbox, published, prices) = link::connect(state.prices());
        let agents = BTreeMap::new();
        let dispatch = Self { state, store, clock, inbox, agents, published, prices };
        (dispatch, link)
    }

    /// Runs until `stop`; then agents' connections end and what they run goes on without.
    pub(crate) async fn run(mut self, stop: CancellationToken) -> Result<(), StoreError> {
        let effects = self.state.begin(self.clock.now());
        self.perform(effects).await?;
        loop {
            let deadline = self.state.next_deadline().map(|at| self.clock.instant_of(at));
            let mut event = tokio::select! {
                () = stop.cancelled() => return Ok(()),
                event = self.inbox.next() => event,
                () = sleep_until(deadline.unwrap_or_else(far_future)), if deadline.is_some() => Event::ClockAdvanced,
            };
            if let Event::AgentAttached { session, outbox, .. } = &event {
                // Its departure went first and was of nobody; nothing would ever end the session.
                if outbox.is_closed() {
                    continue;
                }
                self.agents.insert(*session, outbox.clone());
            }
            // Files that a job refers to stay until the store knows that it does.
            let _hold = event.take_hold();
            let effects = self.state.handle(event, self.clock.now());
            self.perform(effects).await?;
        }
    }

    async fn perform(&mut self, effects: Vec<Effect>) -> Result<(), StoreError> {
        let mut changes = Vec::new();
        let mut rest = Vec::new();
        for effect in effects {
            match effect {
                Effect::Store(change) => changes.push(change),
                Effect::Tell(..)
                | Effect::Disconnect(_)
                | Effect::Publish(..)
                | Effect::PricesChanged(_)
                | Effect::Answer(_) => rest.push(effect),
            }
        }
        if !changes.is_empty() {
            self.store.commit(changes).await?;
        }
        for effect in rest {
            self.perform_one(effect);
        }
        Ok(())
    }

    fn perform_one(&mut self, effect: Effect) {
        match effect {
            Effect::Store(_) => {}
            Effect::Tell(session, command) => self.tell(session, command),
            Effect::Disconnect(session) => drop(self.agents.remove(&session)),
            // An error means that nobody watches, which is fine.
            Effect::Publish(job, event) => {
                drop(self.published.send(Arc::new(Published { job, event })))
            }
            Effect::PricesChanged(prices) => drop(self.prices.send_replace(prices)),
            Effect::Answer(answer) => answer(),
        }
    }

    fn tell(&mut self, session: SessionId, command: AgentCommand) {
        let Some(outbox) = self.agents.get(&session) else {
            return;
        };
        if let Err(error) = outbox.try_send(command) {
            // Its connection ends, its lease runs on; it comes back or loses the trial.
            tracing::warn!(?session, %error, "an agent does not read its commands");
            self.agents.remove(&session);
        }
    }
}

fn far_future() -> tokio::time::Instant {
    tokio::time::Instant::now() + Duration::from_secs(86_400)
}
