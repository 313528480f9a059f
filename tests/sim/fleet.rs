//! A coordinator, a network of its own for every agent, and agents that keep the protocol.

use std::{collections::BTreeMap, sync::Arc};

use crate::{
    coordinator::{Coordinator, Terms},
    figures::registration,
    honest_agent::HonestAgent,
    ledger::Ledger,
    network::Network,
};

pub(crate) struct Fleet {
    pub(crate) coordinator: Coordinator,
    pub(crate) ledger: Arc<Ledger>,
    members: BTreeMap<&'static str, Member>,
}

struct Member {
    host: &'static str,
    network: Network,
    agent: HonestAgent,
}

impl Fleet {
    /// Agents by name and host, all connected.
    pub(crate) async fn start(terms: Terms, agents: &[(&'static str, &'static str)]) -> Self {
        let coordinator = Coordinator::start(terms).await;
        let mut fleet = Self { coordinator, ledger: Arc::default(), members: BTreeMap::new() };
        for (name, host) in agents {
            let network = Network::to(fleet.coordinator.address()).await;
            let agent = fleet.agent(name, host, &network);
            fleet.members.insert(name, Member { host, network, agent });
        }
        for (name, _) in agents {
            fleet.coordinator.until_connected(name).await;
        }
        fleet
    }

    fn agent(&self, name: &str, host: &str, network: &Network) -> HonestAgent {
        HonestAgent::start(network.url(), registration(name, host), Arc::clone(&self.ledger))
    }

    pub(crate) fn network(&self, name: &str) -> &Network {
        &self.members[name].network
    }

    /// An agent dies with all that it knows, and starts anew.
    pub(crate) async fn replace(&mut self, name: &'static str) {
        let Member { host, network, agent } = self.members.remove(name).unwrap();
        agent.kill().await;
        let agent = self.agent(name, host, &network);
        self.members.insert(name, Member { host, network, agent });
    }

    /// The coordinator dies between any two of its steps, and starts anew elsewhere.
    pub(crate) async fn restart_coordinator(&self) {
        self.coordinator.crash_and_restart().await;
        for member in self.members.values() {
            member.network.leads_to(self.coordinator.address());
            member.network.cut();
        }
    }
}
