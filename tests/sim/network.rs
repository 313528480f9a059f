//! The way between agents and coordinator, on which things go wrong when a test says so.
//!
//! One address that stays the same while coordinators come and go behind it. It can swallow what goes
//! one way or the other, and it can cut. A connection that has lost a byte never carries another one
//! in that direction, as bytes after a gap would be no stream: it has to be cut and dialled again.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
    task::JoinSet,
};

/// A way to the coordinator. Dropped, all its connections break.
pub(crate) struct Network {
    address: SocketAddr,
    conditions: watch::Sender<Conditions>,
    lost: Arc<Lost>,
    _accepting: JoinSet<()>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    ToCoordinator,
    ToAgents,
}

#[derive(Clone, Copy)]
struct Conditions {
    coordinator: SocketAddr,
    /// Connections of an earlier one are cut.
    generation: u64,
    loses_to_coordinator: bool,
    loses_to_agents: bool,
}

impl Conditions {
    fn loses(&self, way: Way) -> bool {
        match way {
            Way::ToCoordinator => self.loses_to_coordinator,
            Way::ToAgents => self.loses_to_agents,
        }
    }
}

#[derive(Default)]
struct Lost {
    to_coordinator: AtomicU64,
    to_agents: AtomicU64,
}

impl Lost {
    fn counter(&self, way: Way) -> &AtomicU64 {
        match way {
            Way::ToCoordinator => &self.to_coordinator,
            Way::ToAgents => &self.to_agents,
        }
    }
}

impl Network {
    /// Without faults, to this coordinator.
    pub(crate) async fn to(coordinator: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (conditions, _) = watch::channel(Conditions {
            coordinator,
            generation: 0,
            loses_to_coordinator: false,
            loses_to_agents: false,
        });
        let lost = Arc::default();
        let mut accepting = JoinSet::new();
        accepting.spawn(accept(listener, conditions.subscribe(), Arc::clone(&lost)));
        Self { address, conditions, lost, _accepting: accepting }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Another coordinator stands at the end of it from now on.
    pub(crate) fn leads_to(&self, coordinator: SocketAddr) {
        self.conditions.send_modify(|now| now.coordinator = coordinator);
    }

    /// Ends every connection; new ones are possible at once.
    pub(crate) fn cut(&self) {
        self.conditions.send_modify(|now| now.generation += 1);
    }

    /// Swallows whatever goes this way, until [`Self::heal`].
    pub(crate) fn lose(&self, way: Way) {
        self.conditions.send_modify(|now| match way {
            Way::ToCoordinator => now.loses_to_coordinator = true,
            Way::ToAgents => now.loses_to_agents = true,
        });
    }

    /// Swallows everything; neither side is told.
    pub(crate) fn part(&self) {
        self.lose(Way::ToCoordinator);
        self.lose(Way::ToAgents);
    }

    /// Cuts what is broken and swallows nothing any more.
    pub(crate) fn heal(&self) {
        self.conditions.send_modify(|now| {
            now.generation += 1;
            now.loses_to_coordinator = false;
            now.loses_to_agents = false;
        });
    }

    /// How many bytes were swallowed on this way so far.
    pub(crate) fn lost(&self, way: Way) -> u64 {
        self.lost.counter(way).load(Ordering::SeqCst)
    }
}

async fn accept(listener: TcpListener, conditions: watch::Receiver<Conditions>, lost: Arc<Lost>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            Some(ended) = connections.join_next() => ended.unwrap(),
            accepted = listener.accept() => {
                let (agent, _) = accepted.unwrap();
                connections.spawn(connection(agent, conditions.clone(), Arc::clone(&lost)));
            }
        }
    }
}

/// Carries bytes both ways until either side ends it or it is cut.
async fn connection(agent: TcpStream, conditions: watch::Receiver<Conditions>, lost: Arc<Lost>) {
    let Conditions { coordinator, generation, .. } = *conditions.borrow();
    let mut changes = conditions.clone();
    let cut = changes.wait_for(|now| now.generation != generation);
    let carried = async {
        // Nobody listens while a coordinator restarts; the agent's end closes then.
        let Ok(coordinator) = TcpStream::connect(coordinator).await else { return };
        agent.set_nodelay(true).unwrap();
        coordinator.set_nodelay(true).unwrap();
        let (from_agent, to_agent) = agent.into_split();
        let (from_coordinator, to_coordinator) = coordinator.into_split();
        tokio::select! {
            () = carry(from_agent, to_coordinator, Way::ToCoordinator, &conditions, &lost) => {}
            () = carry(from_coordinator, to_agent, Way::ToAgents, &conditions, &lost) => {}
        }
    };
    tokio::select! {
        _ = cut => {}
        () = carried => {}
    }
}

async fn carry(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    way: Way,
    conditions: &watch::Receiver<Conditions>,
    lost: &Lost,
) {
    let mut buffer = vec![0; 64 * 1024];
    let mut broken = false;
    loop {
        let read = match from.read(&mut buffer).await {
            Ok(0) | Err(_) => return,
            Ok(read) => read,
        };
        broken |= conditions.borrow().loses(way);
        if broken {
            lost.counter(way).fetch_add(read as u64, Ordering::SeqCst);
        } else if to.write_all(&buffer[..read]).await.is_err() {
            return;
        }
    }
}
