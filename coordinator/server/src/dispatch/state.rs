//! The state of the coordinator, and what follows from each event. No I/O, no clock, no randomness
//! of its own: time and lease tokens come in.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
};

use assay_measure::ids::{AgentName, JobName, LeaseToken};
use assay_planning::{
    price_file::{PriceRow, PriceTable},
    prices::Prices,
};
use jiff::Timestamp;

use super::{
    AgentStatus, Effect, Event, answer, job_run::JobRun, known_agent::KnownAgent, terms::Terms,
};
use crate::store::Change;

/// Where lease tokens come from; each must be new.
pub(crate) type TokenSource = Box<dyn FnMut() -> LeaseToken + Send>;

/// Everything that the coordinator knows and that is not only in the store.
pub(crate) struct State {
    pub(super) terms: Terms,
    pub(super) tokens: TokenSource,
    /// Jobs that have not ended, in order of creation.
    pub(super) jobs: Vec<JobRun>,
    /// Names of jobs that have ended and are not deleted.
    pub(super) ended: BTreeSet<JobName>,
    /// Every name that was ever used.
    pub(super) taken: BTreeSet<JobName>,
    pub(super) next_number: u64,
    pub(super) agents: BTreeMap<AgentName, KnownAgent>,
    pub(super) price_table: PriceTable,
    pub(super) prices: Arc<Prices>,
    /// Agents came, or may be used again: jobs without a plan may get one.
    pub(super) fleet_grew: bool,
    /// What follows from the event being handled, so far.
    pub(super) effects: Vec<Effect>,
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("State")
            .field("jobs", &self.jobs)
            .field("agents", &self.agents)
            .finish_non_exhaustive()
    }
}

impl State {
    pub(crate) fn handle(&mut self, event: Event, now: Timestamp) -> Vec<Effect> {
        match event {
            Event::AgentAttached { session, facts, held, answer: to, outbox: _ } => {
                let admitted = self.attach_agent(session, *facts, held, now);
                self.effects.push(answer(to, admitted));
            }
            Event::AgentReported(session, report) => self.take_report(session, report, now),
            Event::AgentLeft(session) => self.detach_agent(session, now),
            Event::CreateJob { spec, answer: to, hold: _ } => {
                let created = self.create_job(*spec, now);
                self.effects.push(answer(to, created));
            }
            Event::SupplyJob { name, files, answer: to, hold: _ } => {
                let supplied = self.supply_job(&name, *files, now);
                self.effects.push(answer(to, supplied));
            }
            Event::GiveUpJob { name, reason, answer: to } => {
                let given_up = self.give_up_job(&name, reason, now);
                self.effects.push(answer(to, given_up));
            }
            Event::StopJob { name, by, answer: to } => {
                let stopped = self.stop_job(&name, by, now);
                self.effects.push(answer(to, stopped));
            }
            Event::PlanJob { spec, answer: to } => {
                let planned = self.plan_job(&spec);
                self.effects.push(answer(to, planned));
            }
            Event::ImportJob { bundle, answer: to } => {
                let imported = self.import_job(*bundle);
                self.effects.push(answer(to, imported));
            }
            Event::DeleteJob { name, answer: to } => {
                let deleted = self.delete_job(&name, now);
                self.effects.push(answer(to, deleted));
            }
            Event::ListAgents { answer: to } => {
                let fleet: Vec<AgentStatus> =
                    self.agents.values().map(|agent| self.status_of(agent)).collect();
                self.effects.push(answer(to, fleet));
            }
            Event::DrainAgent { name, draining, answer: to } => {
                let drained = self.drain_agent(&name, draining);
                self.effects.push(answer(to, drained));
            }
            Event::ForgetAgent { name, answer: to } => {
                let forgotten = self.forget_agent(&name);
                self.effects.push(answer(to, forgotten));
            }
            Event::SetPrice { row, answer: to } => {
                self.set_price(row);
                self.effects.push(answer(to, ()));
            }
            Event::ClockAdvanced => self.meet_deadlines(now),
        }
        self.settle(now)
    }

    /// What follows from having just been built.
    pub(crate) fn begin(&mut self, now: Timestamp) -> Vec<Effect> {
        self.fleet_grew = true;
        self.settle(now)
    }

    /// When the clock next matters, if ever.
    pub(crate) fn next_deadline(&self) -> Option<Timestamp> {
        let of_jobs = self.jobs.iter().filter_map(JobRun::next_deadline);
        let of_agents = self.agents.values().filter_map(|agent| agent.next_deadline(self.terms));
        of_jobs.chain(of_agents).min()
    }

    pub(crate) fn prices(&self) -> Arc<Prices> {
        Arc::clone(&self.prices)
    }

    pub(super) fn store(&mut self, change: Change) {
        self.effects.push(Effect::Store(change));
    }

    fn set_price(&mut self, row: PriceRow) {
        self.price_table.set(row.clone());
        self.prices = Arc::new(Prices::with_operator_table(self.price_table.clone()));
        self.store(Change::OwnPriceSet(row));
        self.effects.push(Effect::PricesChanged(self.prices()));
    }

    fn meet_deadlines(&mut self, now: Timestamp) {
        self.drop_silent_agents(now);
        self.expire_leases(now);
        self.end_late_jobs(now);
        self.end_unserved_jobs(now);
    }

    /// Does what became possible: plans jobs, ends what may not begin any more, concludes finished jobs, hands out trials,
    /// and says what the others wait for.
    fn settle(&mut self, now: Timestamp) -> Vec<Effect> {
        if std::mem::take(&mut self.fleet_grew) {
            self.plan_waiting_jobs(now);
        }
        self.end_late_beginnings(now);
        self.conclude_finished_jobs(now);
        self.hand_out_trials(now);
        self.explain_waiting(now);
        std::mem::take(&mut self.effects)
    }
}
