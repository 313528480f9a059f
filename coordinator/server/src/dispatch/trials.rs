//! Trials: handed out, reported, taken back.
//!
//! Every report proves itself with the token of the lease. One that was applied before is
//! acknowledged again and changes nothing; one with another token is acknowledged as stale.

use std::{collections::BTreeMap, time::Duration};

use assay_measure::{
    ids::{AgentName, LeaseToken, TrialId},
    outcome::{Failure, FailureKind, Progress, StepResult, TrialOutcome},
    printable,
};
use assay_planning::{
    dispatch::{WaitingTrial, assign},
    job_state::JobInput,
    planner::EndedTrial,
    trial_state::{Told, Trial, TrialEffect, TrialEnd, TrialInput, TrialInputDenied, TrialState},
};
use jiff::Timestamp;

use super::{
    Effect, SessionId,
    jobs::ActiveJob,
    state::{State, later},
};
use crate::{
    agent_link::{AgentCommand, AgentReport, Held, ReportKind},
    job_event::{Happening, JobEvent, TrialBrief},
    store::{Change, TrialRecord},
};

/// A trial of a job that has not ended.
#[derive(Clone, Debug)]
pub(super) struct ActiveTrial {
    pub(super) id: TrialId,
    pub(super) trial: Trial,
    /// The lease whose steps count.
    pub(super) run: Option<LeaseToken>,
    /// Steps of that run, which are stored; without their histograms.
    pub(super) steps: BTreeMap<u32, StepResult>,
    /// The agent that should have it says it does not. Until then its own report may still come;
    /// afterwards the trial counts as lost, long before the lease runs out.
    pub(super) unclaimed_until: Option<Timestamp>,
    /// Agents that were offered it and declined, and what they said last; until one begins.
    pub(super) declined: BTreeMap<AgentName, String>,
}

impl ActiveTrial {
    pub(super) fn queued(id: TrialId) -> Self {
        Self {
            id,
            trial: Trial::queued(),
            run: None,
            steps: BTreeMap::new(),
            unclaimed_until: None,
            declined: BTreeMap::new(),
        }
    }

    pub(super) fn record(&self) -> TrialRecord {
        TrialRecord { id: self.id.clone(), trial: self.trial.clone(), run: self.run.clone() }
    }

    pub(super) fn is_held_by(&self, name: &AgentName) -> bool {
        self.trial.lease().is_some_and(|lease| lease.agent() == name)
    }

    /// When its lease counts as run out.
    pub(super) fn next_deadline(&self) -> Option<Timestamp> {
        let lease = self.trial.lease()?;
        let expiry = lease.expires_at();
        Some(self.unclaimed_until.map_or(expiry, |until| until.min(expiry)))
    }

    fn end_of_lease(&self, now: Timestamp) -> TrialInput {
        match self.trial.lease() {
            Some(lease) if !lease.has_expired(now) => {
                TrialInput::Told { token: lease.token().clone(), what: Told::Forgotten }
            }
            Some(_) | None => TrialInput::ClockAdvanced,
        }
    }
}

impl Held {
    fn says(&self, what: Told) -> TrialInput {
        TrialInput::Told { token: self.token.clone(), what }
    }
}

impl State {
    pub(super) fn trial(&self, id: &TrialId) -> Option<&ActiveTrial> {
        let (job, trial) = self.find_trial(id)?;
        Some(&self.jobs[job].trials[trial])
    }

    fn trial_mut(&mut self, id: &TrialId) -> Option<&mut ActiveTrial> {
        let (job, trial) = self.find_trial(id)?;
        Some(&mut self.jobs[job].trials[trial])
    }

    fn find_trial(&self, id: &TrialId) -> Option<(usize, usize)> {
        let name = id.job();
        let job = self.jobs.iter().position(|job| job.spec.name == name)?;
        let trial = self.jobs[job].trials.iter().position(|active| active.id == *id)?;
        Some((job, trial))
    }

    pub(super) fn take_report(&mut self, session: SessionId, report: AgentReport, now: Timestamp) {
        let Some(name) = self.agent_of(session).map(|agent| agent.record.facts.name.clone()) else {
            // Its connection is ending; what counts is sent again over the next one.
            return;
        };
        if let Some(agent) = self.agents.get_mut(&name) {
            agent.record.last_seen_at = now;
        }
        match report {
            AgentReport::Heartbeat(held) => self.take_heartbeat(session, &name, held, now),
            AgentReport::Progressed(held, progress) => self.take_progress(&held, progress, now),
            AgentReport::StepFinished(held, step) => self.take_step(session, held, step, now),
            AgentReport::StepUnreadable(held, index) => {
                self.acknowledge(session, held, ReportKind::Step(index), true);
            }
            AgentReport::TrialFinished(held, outcome) => {
                if matches!(*outcome, TrialOutcome::Cancelled { .. }) {
                    self.let_rest(&name, now);
                }
                self.take_outcome(session, held, *outcome, now)
            }
            AgentReport::TrialDeclined(held, reason) => {
                self.take_decline(&name, &held, &reason, now)
            }
        }
    }

    fn take_heartbeat(
        &mut self,
        session: SessionId,
        name: &AgentName,
        held: Option<Held>,
        now: Timestamp,
    ) {
        let lease_stands = match held {
            Some(held) => self.hear_of(&held, now),
            None => {
                self.expect_claim(name, now);
                true
            }
        };
        self.tell(session, AgentCommand::HeartbeatSeen { lease_stands });
    }

    /// The agent is there and does not run the trial that it should.
    pub(super) fn expect_claim(&mut self, name: &AgentName, now: Timestamp) {
        // Two heartbeats: the first may have crossed the order to start.
        let until = later(now, self.terms.heartbeat_interval.saturating_mul(2));
        for active in self.jobs.iter_mut().flat_map(|job| &mut job.trials) {
            if active.is_held_by(name) {
                active.unclaimed_until.get_or_insert(until);
            }
        }
    }

    /// A sign of life of a trial: renews the lease, and begins the trial if it is the first. False
    /// when the token does not prove the lease.
    fn hear_of(&mut self, held: &Held, now: Timestamp) -> bool {
        self.claim_trial(held, Told::Heard, now)
    }

    /// The agent that should have the trial says that it does. False when the token does not prove the lease.
    pub(super) fn claim_trial(&mut self, held: &Held, what: Told, now: Timestamp) -> bool {
        let claimed = self.move_trial(&held.trial, held.says(what), now).is_ok();
        if let Some(active) = self.trial_mut(&held.trial).filter(|_| claimed) {
            active.unclaimed_until = None;
        }
        claimed
    }

    fn take_progress(&mut self, held: &Held, progress: Progress, now: Timestamp) {
        if !self.hear_of(held, now) {
            return;
        }
        let what = Happening::TrialProgressed { trial: held.trial.clone(), progress };
        let event = JobEvent { sequence: 0, at: now, what };
        self.effects.push(Effect::Publish(held.trial.job(), event));
    }

    fn take_step(&mut self, session: SessionId, held: Held, step: Box<StepResult>, now: Timestamp) {
        let index = step.index;
        if self.counts_already(&held, index) {
            return self.acknowledge(session, held, ReportKind::Step(index), false);
        }
        if !self.hear_of(&held, now) {
            return self.acknowledge(session, held, ReportKind::Step(index), true);
        }
        let Some((job, trial)) = self.find_trial(&held.trial) else {
            return;
        };
        let light = StepResult { histogram: Vec::new(), ..(*step).clone() };
        self.jobs[job].trials[trial].steps.insert(index, light);
        let sequence = self.next_sequence(job);
        self.store(Change::StepFinished {
            trial: held.trial.clone(),
            token: held.token.clone(),
            step: step.clone(),
            at: now,
            sequence,
        });
        let what = Happening::StepFinished { trial: held.trial.clone(), step };
        self.effects.push(Effect::Publish(held.trial.job(), JobEvent { sequence, at: now, what }));
        self.acknowledge(session, held, ReportKind::Step(index), false);
    }

    /// The very step is stored, and its acknowledgement was lost.
    fn counts_already(&self, held: &Held, index: u32) -> bool {
        self.trial(&held.trial).is_some_and(|active| {
            active.run.as_ref() == Some(&held.token) && active.steps.contains_key(&index)
        })
    }

    fn take_outcome(
        &mut self,
        session: SessionId,
        held: Held,
        outcome: TrialOutcome,
        now: Timestamp,
    ) {
        // A trial that failed at once was never heard of before.
        self.hear_of(&held, now);
        let time_left = self.time_left_for(&held.trial, now);
        let finished = held.says(Told::Finished { outcome, time_left });
        let Err(denied) = self.move_trial(&held.trial, finished, now) else {
            return self.acknowledge(session, held, ReportKind::Outcome, false);
        };
        // Reported twice: it ended under this very lease, and the acknowledgement was lost.
        let counted = self.trial(&held.trial).is_some_and(|active| {
            active.trial.end().is_some() && active.run.as_ref() == Some(&held.token)
        });
        tracing::debug!(trial = %held.trial, %denied, counted, "an outcome was reported again or too late");
        self.acknowledge(session, held, ReportKind::Outcome, !counted);
    }

    /// What is left of the job's time, shared by the trials that have not ended.
    fn time_left_for(&self, trial: &TrialId, now: Timestamp) -> Duration {
        let job = self.find_trial(trial).map(|(job, _)| &self.jobs[job]);
        job.map_or(Duration::ZERO, |job| job.time_left_per_trial(now))
    }

    fn take_decline(&mut self, name: &AgentName, held: &Held, reason: &str, now: Timestamp) {
        tracing::info!(trial = %held.trial, agent = %name, reason, "an agent declined a trial");
        self.let_rest(name, now);
        if let Err(denied) = self.move_trial(&held.trial, held.says(Told::Returned), now) {
            tracing::debug!(trial = %held.trial, %denied, "a trial was declined that is not the agent's");
            return;
        }
        if let Some(active) = self.trial_mut(&held.trial) {
            active.declined.insert(name.clone(), printable::line(reason));
        }
    }

    /// Offering a trial at once to an agent that just sent one back would go on as fast as messages fly.
    fn let_rest(&mut self, name: &AgentName, now: Timestamp) {
        let rest = later(now, self.terms.heartbeat_interval);
        if let Some(agent) = self.agents.get_mut(name) {
            agent.resting_until = Some(rest);
        }
    }

    fn acknowledge(&mut self, session: SessionId, held: Held, report: ReportKind, stale: bool) {
        self.tell(session, AgentCommand::Acknowledge { held, report, stale });
    }

    pub(super) fn expire_leases(&mut self, now: Timestamp) {
        let due = |active: &&ActiveTrial| active.next_deadline().is_some_and(|at| at <= now);
        let due: Vec<(TrialId, TrialInput)> = self
            .jobs
            .iter()
            .flat_map(|job| &job.trials)
            .filter(due)
            .map(|active| (active.id.clone(), active.end_of_lease(now)))
            .collect();
        for (id, event) in due {
            if let Err(denied) = self.move_trial(&id, event, now) {
                tracing::error!(trial = %id, %denied, "a lease that ran out cannot be ended");
            }
        }
    }

    pub(super) fn hand_out_trials(&mut self, now: Timestamp) {
        let fleet = self.fleet();
        // Most events find every agent at work; looking through all that waits would be in vain.
        if !fleet.iter().any(|agent| !agent.busy && !agent.draining) {
            return;
        }
        let waiting: Vec<WaitingTrial> = self.waiting_trials();
        if waiting.is_empty() {
            return;
        }
        for assignment in assign(&waiting, &fleet) {
            let token = (self.tokens)();
            let granted = TrialInput::Granted { agent: assignment.agent, token };
            if let Err(denied) = self.move_trial(&assignment.trial, granted, now) {
                tracing::error!(trial = %assignment.trial, %denied, "a waiting trial cannot be given out");
            }
        }
    }

    fn waiting_trials(&self) -> Vec<WaitingTrial> {
        let mut waiting = Vec::new();
        for job in self.jobs.iter().filter(|job| job.takes_trials()) {
            let Some(planned) = &job.planned else { continue };
            let job_may_begin = job.may_begin();
            for (index, active) in (0u32..).zip(&job.trials) {
                if !active.trial.is_queued() {
                    continue;
                }
                let Some(trial) = planned.plan.trial(&active.id) else { continue };
                waiting.push(WaitingTrial {
                    id: active.id.clone(),
                    index,
                    placement: trial.placement.clone(),
                    job_created_at: job.created_at,
                    job_may_begin,
                });
            }
        }
        waiting
    }

    /// Moves a trial and does what follows from it.
    pub(super) fn move_trial(
        &mut self,
        id: &TrialId,
        event: TrialInput,
        now: Timestamp,
    ) -> Result<(), TrialInputDenied> {
        let (job, trial) = self.find_trial(id).ok_or(TrialInputDenied::AlreadyEnded)?;
        let active = &mut self.jobs[job].trials[trial];
        let (next, effects) = active.trial.apply(event, now, self.terms.lease_term)?;
        let before = std::mem::replace(&mut active.trial, next);
        for effect in effects {
            self.follow((job, trial), effect, now);
        }
        let active = &self.jobs[job].trials[trial];
        if is_worth_storing(&before, &active.trial) {
            let record = active.record();
            self.store(Change::TrialMoved(Box::new(record)));
        }
        let began = matches!(before.state, TrialState::Leased { .. })
            && matches!(self.jobs[job].trials[trial].trial.state, TrialState::Running { .. });
        if began {
            self.jobs[job].trials[trial].declined.clear();
            self.announce_beginning((job, trial), now);
        }
        Ok(())
    }

    fn follow(&mut self, (job, trial): (usize, usize), effect: TrialEffect, now: Timestamp) {
        let active = &mut self.jobs[job].trials[trial];
        let id = active.id.clone();
        match effect {
            TrialEffect::StartOnAgent { agent, token } => {
                active.run = Some(token.clone());
                active.steps.clear();
                active.unclaimed_until = None;
                let ActiveJob { spec, planned, .. } = &self.jobs[job];
                let planned = planned.as_ref().and_then(|planned| planned.plan.trial(&id));
                if let Some(spec) = planned.map(|planned| planned.spec(spec)) {
                    self.tell_agent(&agent, AgentCommand::StartTrial(token, Box::new(spec)));
                }
            }
            TrialEffect::CancelOnAgent { agent, token, by } => {
                self.tell_agent(&agent, AgentCommand::CancelTrial(Held { trial: id, token }, by));
            }
            TrialEffect::DiscardSteps => {
                active.run = None;
                active.steps.clear();
            }
            TrialEffect::Requeued { reason } => {
                active.unclaimed_until = None;
                self.happen(job, Happening::TrialReturned { trial: id, reason }, now);
            }
            TrialEffect::Concluded => self.conclude_trial((job, trial), now),
        }
    }

    fn announce_beginning(&mut self, (job, trial): (usize, usize), now: Timestamp) {
        let active = &self.jobs[job].trials[trial];
        let planned = self.jobs[job].planned.as_ref();
        let brief = planned.and_then(|planned| {
            Some(TrialBrief::of(&planned.plan, planned.plan.trial(&active.id)?))
        });
        let agent = active.trial.lease().map(|lease| lease.agent().clone());
        if let Err(denied) = self.move_job(job, JobInput::TrialBegan, now) {
            tracing::error!(%denied, "a trial of an ended job began");
        }
        if let Some((trial, agent)) = brief.zip(agent) {
            self.happen(job, Happening::TrialStarted { trial, agent }, now);
        }
    }

    fn conclude_trial(&mut self, (job, trial): (usize, usize), now: Timestamp) {
        let active = &self.jobs[job].trials[trial];
        let id = active.id.clone();
        let Some(outcome) = active.trial.end().map(outcome_of) else {
            return;
        };
        self.happen(
            job,
            Happening::TrialEnded { trial: id.clone(), outcome: Box::new(outcome.clone()) },
            now,
        );
        if !self.jobs[job].takes_trials() {
            return;
        }
        let time_left = self.jobs[job].time_to_begin(now);
        let fleet = self.fleet();
        let ActiveJob { spec, planned, trials, .. } = &mut self.jobs[job];
        let Some(planned) = planned else {
            return;
        };
        let mut added = planned.plan.after_outcome(&id, &outcome);
        let ended = |trial: &TrialId| {
            let trial = &trials.iter().find(|active| active.id == *trial)?.trial;
            Some(EndedTrial { outcome: outcome_of(trial.end()?), repeats: trial.repeats })
        };
        let decided = planned.plan.advance_race(spec, &fleet, ended, time_left);
        if added.is_empty() && decided.is_none() {
            return;
        }
        added.extend(decided.unwrap_or_default());
        let change = planned.change(id.job(), &added);
        self.jobs[job].trials.extend(added.into_iter().map(ActiveTrial::queued));
        self.store(change);
    }
}

/// A mere renewal of the lease is not stored: after a restart every lease is renewed anyway.
fn is_worth_storing(before: &Trial, after: &Trial) -> bool {
    let token = |trial: &Trial| trial.lease().map(|lease| lease.token().clone());
    before.word() != after.word()
        || (before.losses, before.repeats) != (after.losses, after.repeats)
        || token(before) != token(after)
}

/// How a trial ended, in the words that watchers know.
fn outcome_of(end: &TrialEnd) -> TrialOutcome {
    match end {
        TrialEnd::Reported { outcome } => outcome.clone(),
        TrialEnd::Lost { losses, last_agent } => TrialOutcome::Failed(Failure::new(
            FailureKind::Internal,
            format!("the agent was lost {losses} times, last {last_agent}"),
            String::new(),
        )),
        TrialEnd::NotRun { by } => TrialOutcome::Cancelled { by: by.clone() },
    }
}
