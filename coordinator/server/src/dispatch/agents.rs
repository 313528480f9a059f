//! Agents: who is there, who has left, who gets nothing new.
//!
//! An agent that leaves keeps its lease until it runs out; coming back in time, it goes on.

use assay_measure::ids::{AgentName, TrialId};
use assay_planning::{fleet::AgentView, trial_state::Told};
use jiff::Timestamp;

use super::{
    AgentStatus, AttachDenied, Effect, Refused, SessionId, known_agent::KnownAgent, state::State,
    terms::later,
};
use crate::{
    agent_link::{AgentCommand, AgentFacts, Held},
    store::{AgentRecord, Change},
};

impl State {
    pub(super) fn attach_agent(
        &mut self,
        session: SessionId,
        facts: AgentFacts,
        held: Option<Held>,
        now: Timestamp,
    ) -> Result<(), AttachDenied> {
        let name = facts.name.clone();
        let known = self.agents.get(&name);
        if let Some(old) = known.and_then(|agent| agent.session) {
            let same_host =
                known.is_some_and(|agent| agent.record.facts.fingerprint == facts.fingerprint);
            if !(same_host && held.as_ref().is_some_and(|held| self.holds(&name, held))) {
                self.effects.push(Effect::Disconnect(session));
                return Err(AttachDenied::NameConnected(name));
            }
            // It proves to be the same agent, so its old connection is half-dead.
            self.effects.push(Effect::Disconnect(old));
        }
        let draining = known.is_some_and(|agent| agent.record.draining);
        let record = AgentRecord { facts, draining, last_seen_at: now };
        self.store(Change::AgentChanged(Box::new(record.clone())));
        let agent = KnownAgent { session: Some(session), ..KnownAgent::remembered(record) };
        self.agents.insert(name.clone(), agent);
        self.fleet_grew = true;
        self.welcome(session, &name, held, draining, now);
        Ok(())
    }

    fn welcome(
        &mut self,
        session: SessionId,
        name: &AgentName,
        held: Option<Held>,
        draining: bool,
        now: Timestamp,
    ) {
        let greeting = self.effects.len();
        let stands = held.is_some_and(|held| self.resume_trial(name, &held, now));
        let registered = AgentCommand::Registered {
            heartbeat_interval: self.terms.heartbeat_interval,
            lease_term: self.terms.lease_term,
            held_trial_stands: stands,
        };
        // Whatever else follows from its coming back, this is the first that it is told.
        self.effects.insert(greeting, Effect::Tell(session, registered));
        if draining {
            self.tell(session, AgentCommand::Drain(true));
        }
        if !stands {
            self.expect_claim(name, now);
        }
    }

    fn resume_trial(&mut self, name: &AgentName, held: &Held, now: Timestamp) -> bool {
        self.holds(name, held) && self.claim_trial(held, Told::Resumed, now)
    }

    pub(super) fn detach_agent(&mut self, session: SessionId, now: Timestamp) {
        self.effects.push(Effect::Disconnect(session));
        let Some(agent) = self.agents.values_mut().find(|agent| agent.session == Some(session))
        else {
            return;
        };
        agent.session = None;
        agent.record.last_seen_at = now;
        let record = agent.record.clone();
        self.store(Change::AgentChanged(Box::new(record)));
    }

    pub(super) fn drop_silent_agents(&mut self, now: Timestamp) {
        let terms = self.terms;
        let is_lost =
            |agent: &&KnownAgent| later(agent.record.last_seen_at, terms.lease_term) <= now;
        let lost: Vec<SessionId> =
            self.agents.values().filter(is_lost).filter_map(|agent| agent.session).collect();
        for session in lost {
            self.detach_agent(session, now);
        }
        for agent in self.agents.values_mut() {
            agent.resting_until = agent.resting_until.filter(|until| *until > now);
        }
    }

    pub(super) fn drain_agent(
        &mut self,
        name: &AgentName,
        draining: bool,
    ) -> Result<AgentStatus, Refused> {
        let agent = self.agents.get_mut(name).ok_or_else(|| Refused::NoSuchAgent(name.clone()))?;
        agent.record.draining = draining;
        let (record, session) = (agent.record.clone(), agent.session);
        self.store(Change::AgentChanged(Box::new(record)));
        if let Some(session) = session {
            self.tell(session, AgentCommand::Drain(draining));
        }
        self.fleet_grew |= !draining;
        let agent = self.agents.get(name).ok_or_else(|| Refused::NoSuchAgent(name.clone()))?;
        Ok(self.status_of(agent))
    }

    pub(super) fn forget_agent(&mut self, name: &AgentName) -> Result<(), Refused> {
        let agent = self.agents.get(name).ok_or_else(|| Refused::NoSuchAgent(name.clone()))?;
        if agent.session.is_some() {
            return Err(Refused::AgentConnected(name.clone()));
        }
        if let Some(trial) = self.trial_held_by(name) {
            return Err(Refused::AgentHoldsTrial { agent: name.clone(), trial });
        }
        self.agents.remove(name);
        self.store(Change::AgentForgotten(name.clone()));
        Ok(())
    }

    pub(super) fn status_of(&self, agent: &KnownAgent) -> AgentStatus {
        let AgentRecord { facts, draining, last_seen_at } = agent.record.clone();
        let (connected, running) = (agent.session.is_some(), self.trial_held_by(&facts.name));
        AgentStatus { facts, connected, draining, running, last_seen_at }
    }

    /// Agents as the planner sees them. One that left but may still be measuring is there, busy, so
    /// that nobody else measures on its host.
    pub(super) fn fleet(&self) -> Vec<AgentView> {
        let view = |agent: &KnownAgent| {
            let AgentRecord { facts, draining, .. } = &agent.record;
            let holds_trial = self.trial_held_by(&facts.name).is_some();
            (agent.session.is_some() || holds_trial).then(|| AgentView {
                name: facts.name.clone(),
                instance_type: facts.instance_type.clone(),
                fingerprint: facts.fingerprint.clone(),
                host: facts.host.clone(),
                busy: holds_trial || agent.resting_until.is_some() || agent.session.is_none(),
                draining: *draining,
                may_emulate: facts.emulates,
                endpoints: facts.endpoints.clone(),
            })
        };
        self.agents.values().filter_map(view).collect()
    }

    pub(super) fn agent_of(&self, session: SessionId) -> Option<&KnownAgent> {
        self.agents.values().find(|agent| agent.session == Some(session))
    }

    pub(super) fn tell(&mut self, session: SessionId, command: AgentCommand) {
        self.effects.push(Effect::Tell(session, command));
    }

    fn trial_held_by(&self, name: &AgentName) -> Option<TrialId> {
        let mut trials = self.jobs.iter().flat_map(|job| &job.trials);
        trials.find(|active| active.is_held_by(name)).map(|active| active.id.clone())
    }

    fn holds(&self, name: &AgentName, held: &Held) -> bool {
        let lease = self.trial(&held.trial).and_then(|active| active.trial.lease());
        lease.is_some_and(|lease| lease.agent() == name && lease.is_proven_by(&held.token))
    }
}
