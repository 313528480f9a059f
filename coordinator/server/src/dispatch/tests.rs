//! The state and the real store under random operations: agents come and go, reports are lost or
//! come twice, the coordinator dies, and time passes by hand. Whatever happens, no host measures two
//! trials at once, records have no gaps, and in the end every job ends.

use std::{
    collections::{BTreeMap, BTreeSet},
    num::NonZeroU32,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use assay_measure::{
    ids::{JobName, LeaseToken, TrialId},
    outcome::TrialOutcome,
};
use assay_planning::price_file::PriceTable;
use jiff::Timestamp;
use proptest::prelude::*;
use tempfile::TempDir;
use tokio::{
    runtime::Runtime,
    sync::{mpsc, oneshot},
};
use tokio_util::sync::CancellationToken;

use super::{
    Dispatch, Effect, Event, Registration, SessionId, State, Terms, state::TokenSource,
    terms::later,
};
use crate::{
    agent_link::{AgentCommand, AgentFacts, AgentReport, Held, ReportKind},
    clock::Clock,
    store::{Recovered, Store},
    tests::support::{host, invalid, job_spec, measured, step},
};

const TERMS: Terms =
    Terms { heartbeat_interval: Duration::from_secs(5), lease_term: Duration::from_secs(30) };
// Agents 0 and 1 share a host.
const AGENTS: usize = 3;
const TYPES: [&str; 3] = ["ml.c5.large", "ml.c5.xlarge", "ml.t2.medium"];

#[derive(Clone, Copy, Debug)]
enum Operation {
    Connect(usize),
    LoseConnection(usize),
    Heartbeat(usize),
    Step(usize),
    StepAgain(usize),
    Finish(usize, Ending),
    RestartAgent(usize),
    Decline(usize),
    CreateJob,
    StopJob(usize),
    RestartCoordinator,
    Pass(u64),
}

#[derive(Clone, Copy, Debug)]
enum Ending {
    Measured,
    Invalid,
    Cancelled,
}

fn operation() -> impl Strategy<Value = Operation> {
    let agent = || 0..AGENTS;
    let ending =
        prop_oneof![Just(Ending::Measured), Just(Ending::Invalid), Just(Ending::Cancelled)];
    prop_oneof![
        4 => agent().prop_map(Operation::Connect),
        1 => agent().prop_map(Operation::LoseConnection),
        4 => agent().prop_map(Operation::Heartbeat),
        4 => agent().prop_map(Operation::Step),
        1 => agent().prop_map(Operation::StepAgain),
        4 => (agent(), ending).prop_map(|(agent, ending)| Operation::Finish(agent, ending)),
        1 => agent().prop_map(Operation::RestartAgent),
        1 => agent().prop_map(Operation::Decline),
        2 => Just(Operation::CreateJob),
        1 => (0..4_usize).prop_map(Operation::StopJob),
        1 => Just(Operation::RestartCoordinator),
        3 => (1..40_u64).prop_map(Operation::Pass),
    ]
}

#[derive(Default)]
struct SimulatedAgent {
    session: Option<SessionId>,
    running: Option<Held>,
    cancelled: bool,
    next_step: u32,
}

struct World {
    runtime: Runtime,
    _scratch: TempDir,
    store: Store,
    state: State,
    now: Timestamp,
    agents: [SimulatedAgent; AGENTS],
    next_session: u64,
    jobs: Vec<JobName>,
    tokens: Arc<AtomicU64>,
    /// Every lease whose outcome was acknowledged as counting.
    counted: BTreeSet<LeaseToken>,
    /// The latest lease of every trial.
    leases: BTreeMap<TrialId, LeaseToken>,
}

fn token_source(drawn: &Arc<AtomicU64>) -> TokenSource {
    let drawn = Arc::clone(drawn);
    Box::new(move || format!("{:x}", drawn.fetch_add(1, Ordering::Relaxed)).parse().unwrap())
}

fn state_of(recovered: Recovered, tokens: &Arc<AtomicU64>, now: Timestamp) -> State {
    State::recovered(recovered, PriceTable::default(), TERMS, token_source(tokens), now)
}

impl World {
    fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let scratch = tempfile::tempdir().unwrap();
        let store = runtime.block_on(Store::open(&scratch.path().join("assay.db"))).unwrap();
        let now = Timestamp::from_second(1_790_000_000).unwrap();
        let tokens = Arc::new(AtomicU64::new(1));
        let state = state_of(Recovered::default(), &tokens, now);
        Self {
            runtime,
            _scratch: scratch,
            store,
            state,
            now,
            agents: Default::default(),
            next_session: 1,
            jobs: Vec::new(),
            tokens,
            counted: BTreeSet::new(),
            leases: BTreeMap::new(),
        }
    }

    fn send(&mut self, event: Event) {
        let effects = self.state.handle(event, self.now);
        self.perform(effects);
    }

    fn perform(&mut self, effects: Vec<Effect>) {
        let mut changes = Vec::new();
        let mut rest = Vec::new();
        for effect in effects {
            if let Effect::Store(change) = effect {
                changes.push(change);
            } else {
                rest.push(effect);
            }
        }
        self.runtime.block_on(self.store.commit(changes)).unwrap();
        for effect in rest {
            match effect {
                Effect::Tell(session, command) => self.tell(session, command),
                Effect::Disconnect(session) => {
                    if let Some(agent) = self.agent_at(session) {
                        agent.session = None;
                    }
                }
                Effect::Answer(answer) => answer(),
                Effect::Store(_) | Effect::Publish(..) | Effect::PricesChanged(_) => {}
            }
        }
    }

    fn agent_at(&mut self, session: SessionId) -> Option<&mut SimulatedAgent> {
        self.agents.iter_mut().find(|agent| agent.session == Some(session))
    }

    fn tell(&mut self, session: SessionId, command: AgentCommand) {
        if let AgentCommand::Acknowledge { held, report: ReportKind::Outcome, stale: false } =
            &command
        {
            assert_eq!(self.leases.get(&held.trial), Some(&held.token), "an old lease counted");
            self.counted.insert(held.token.clone());
        }
        if let AgentCommand::StartTrial(token, spec) = &command {
            self.leases.insert(spec.id.clone(), token.clone());
        }
        let Some(agent) = self.agent_at(session) else { return };
        match command {
            AgentCommand::StartTrial(token, spec) => {
                let held = Held { trial: spec.id, token };
                // It still cleans up after one that was taken away.
                if agent.running.is_some() {
                    let declined = AgentReport::TrialDeclined(held, "busy".to_owned());
                    return self.send(Event::AgentReported(session, declined));
                }
                agent.running = Some(held);
                (agent.cancelled, agent.next_step) = (false, 0);
            }
            AgentCommand::CancelTrial(held, _) => agent.cancelled = agent.running == Some(held),
            AgentCommand::Registered { held_trial_stands: false, .. }
            | AgentCommand::HeartbeatSeen { lease_stands: false } => agent.running = None,
            AgentCommand::Registered { .. }
            | AgentCommand::HeartbeatSeen { .. }
            | AgentCommand::Acknowledge { .. }
            | AgentCommand::Drain(_) => {}
        }
    }

    fn facts(index: usize) -> AgentFacts {
        AgentFacts {
            name: format!("agent-{index}").parse().unwrap(),
            version: String::new(),
            instance_type: "local".parse().unwrap(),
            instance_type_source: String::new(),
            fingerprint: format!("host-{}", index.max(1)).parse().unwrap(),
            host: host(),
            labels: BTreeMap::new(),
            emulates: true,
            endpoints: BTreeSet::new(),
        }
    }

    fn connect(&mut self, index: usize) {
        if self.agents[index].session.is_some() {
            return;
        }
        let session = SessionId(self.next_session);
        self.next_session += 1;
        self.agents[index].session = Some(session);
        self.send(Event::AgentAttached {
            session,
            outbox: mpsc::channel(1).0,
            facts: Box::new(Self::facts(index)),
            held: self.agents[index].running.clone(),
            answer: oneshot::channel().0,
        });
    }

    fn report(&mut self, index: usize, report: impl FnOnce(Held) -> AgentReport) {
        let agent = &self.agents[index];
        if let Some((session, held)) = agent.session.zip(agent.running.clone()) {
            self.send(Event::AgentReported(session, report(held)));
        }
    }

    fn finish(&mut self, index: usize, ending: Ending) {
        let outcome = match ending {
            _ if self.agents[index].cancelled => TrialOutcome::Cancelled { by: "x".to_owned() },
            Ending::Measured => measured(),
            Ending::Invalid => invalid(),
            Ending::Cancelled => return,
        };
        let agent = &mut self.agents[index];
        let Some(session) = agent.session else { return };
        // The next trial may come with the acknowledgement.
        if let Some(held) = agent.running.take() {
            let finished = AgentReport::TrialFinished(held, Box::new(outcome));
            self.send(Event::AgentReported(session, finished));
        }
    }

    fn carry_out(&mut self, operation: Operation) {
        match operation {
            Operation::Connect(index) => self.connect(index),
            Operation::LoseConnection(index) => {
                if let Some(session) = self.agents[index].session.take() {
                    self.send(Event::AgentLeft(session));
                }
            }
            Operation::Heartbeat(index) => {
                if let Some(session) = self.agents[index].session {
                    let running = self.agents[index].running.clone();
                    self.send(Event::AgentReported(session, AgentReport::Heartbeat(running)));
                }
            }
            Operation::Step(index) => {
                let next = self.agents[index].next_step;
                self.agents[index].next_step += 1;
                self.report(index, |held| AgentReport::StepFinished(held, Box::new(step(next))));
            }
            Operation::StepAgain(index) => {
                let last = self.agents[index].next_step.saturating_sub(1);
                self.report(index, |held| AgentReport::StepFinished(held, Box::new(step(last))));
            }
            Operation::Finish(index, ending) => self.finish(index, ending),
            Operation::RestartAgent(index) => {
                self.carry_out(Operation::LoseConnection(index));
                self.agents[index].running = None;
                self.connect(index);
            }
            Operation::Decline(index) => {
                if self.agents[index].next_step == 0 {
                    let running = self.agents[index].running.clone();
                    self.agents[index].running = None;
                    if let Some((session, held)) = self.agents[index].session.zip(running) {
                        let declined = AgentReport::TrialDeclined(held, "busy".to_owned());
                        self.send(Event::AgentReported(session, declined));
                    }
                }
            }
            Operation::CreateJob => self.create_job(),
            Operation::StopJob(index) => {
                if let Some(name) = self.jobs.get(index).cloned() {
                    let answer = oneshot::channel().0;
                    self.send(Event::StopJob { name, by: "x".to_owned(), answer });
                }
            }
            Operation::RestartCoordinator => self.restart_coordinator(),
            Operation::Pass(seconds) => self.pass(Duration::from_secs(seconds)),
        }
    }

    fn create_job(&mut self) {
        let name = format!("job-{}", self.jobs.len());
        let mut spec = job_spec(&name, &TYPES);
        let number = self.jobs.len();
        spec.limits.most_at_once = (number % 2 == 1).then_some(NonZeroU32::MIN);
        spec.limits.begin_within = (number % 3 == 2).then_some(Duration::from_secs(20));
        self.jobs.push(spec.name.clone());
        let answer = oneshot::channel().0;
        self.send(Event::CreateJob { spec: Box::new(spec), hold: None, answer });
    }

    fn restart_coordinator(&mut self) {
        for agent in &mut self.agents {
            agent.session = None;
        }
        let recovered = self.runtime.block_on(self.store.recover()).unwrap();
        self.state = state_of(recovered, &self.tokens, self.now);
        let effects = self.state.begin(self.now);
        self.perform(effects);
    }

    /// Time passes from one deadline to the next, as timers would have it.
    fn pass(&mut self, time: Duration) {
        let until = later(self.now, time);
        while let Some(deadline) = self.state.next_deadline().filter(|at| *at <= until) {
            self.now = self.now.max(deadline);
            self.send(Event::ClockAdvanced);
            let next = self.state.next_deadline();
            assert!(next.is_none_or(|next| next > self.now), "the clock would spin at {next:?}");
        }
        self.now = until;
    }

    fn check(&self) {
        let mut hosts = BTreeSet::new();
        for active in self.state.jobs.iter().flat_map(|job| &job.trials) {
            if let Some(lease) = active.trial.lease() {
                let agent = &self.state.agents[lease.agent()];
                let free = hosts.insert(agent.record.facts.fingerprint.clone());
                assert!(free, "two trials on {}", agent.record.facts.fingerprint);
            }
        }
    }

    fn check_records(&self) {
        for job in &self.jobs {
            let events = self.runtime.block_on(self.store.events(job, 0, 100_000)).unwrap();
            let sequences: Vec<u64> = events.iter().map(|event| event.sequence).collect();
            assert_eq!(sequences, (1..=events.len() as u64).collect::<Vec<_>>(), "{job}");
            let facts = self.runtime.block_on(self.store.job_facts(job)).unwrap().unwrap();
            assert!(facts.status.is_final(), "{job} is {}", facts.status);
            assert!(facts.trials.values().all(|trial| trial.end.is_some()));
        }
    }

    /// With everybody well again, everything comes to its end.
    fn wind_up(&mut self) {
        for _ in 0..200 {
            for index in 0..AGENTS {
                self.connect(index);
                self.carry_out(Operation::Heartbeat(index));
                self.finish(index, Ending::Measured);
                self.check();
            }
            if self.state.jobs.is_empty() {
                return;
            }
            self.pass(Duration::from_secs(5));
        }
        panic!("jobs do not end: {:?}", self.state);
    }
}

#[test]
fn a_trial_outlives_a_restart_long_after_it_was_granted() {
    let mut world = World::new();
    world.connect(0);
    world.create_job();
    let trial = world.agents[0].running.clone();
    assert!(trial.is_some());
    for _ in 0..20 {
        world.carry_out(Operation::Heartbeat(0));
        world.pass(TERMS.heartbeat_interval);
    }
    world.restart_coordinator();
    world.pass(Duration::from_secs(29));
    world.connect(0);
    world.carry_out(Operation::Heartbeat(0));
    assert_eq!(world.agents[0].running, trial);
}

#[test]
fn a_coordinator_without_work_and_agents_sets_no_timer() {
    let mut world = World::new();
    assert_eq!(world.state.next_deadline(), None);
    world.connect(0);
    assert!(world.state.next_deadline().is_some());
    world.carry_out(Operation::LoseConnection(0));
    assert_eq!(world.state.next_deadline(), None);
}

#[test]
fn an_agent_that_left_before_its_registration_was_handled_is_not_held_to_be_there() {
    let World { runtime, _scratch, store, state, .. } = World::new();
    let (dispatch, link) = Dispatch::new(state, Arc::new(store), Clock::start());
    runtime.block_on(async {
        let registration = || Registration { facts: World::facts(0), held: None };
        // Its connection ends while the loop is busy with something else.
        let waiting = link.attach(registration());
        tokio::select! {
            biased;
            _ = waiting => panic!("nobody answers yet"),
            () = std::future::ready(()) => {}
        }
        let stop = CancellationToken::new();
        let admitted = async {
            let admitted = link.attach(registration()).await.unwrap();
            stop.cancel();
            admitted.map(drop)
        };
        let (ended, admitted) = tokio::join!(dispatch.run(stop.clone()), admitted);
        ended.unwrap();
        assert_eq!(admitted, Ok(()));
    });
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_hosts_measure_one_trial_and_every_job_ends(
        operations in prop::collection::vec(operation(), 1..70)
    ) {
        let mut world = World::new();
        world.create_job();
        for operation in operations {
            world.carry_out(operation);
            world.check();
        }
        world.wind_up();
        world.check_records();
    }
}
