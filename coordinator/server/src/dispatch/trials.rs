//! Trials: handed out, reported, taken back.
//!
//! Every report proves itself with the token of the lease. One that was applied before is
//! acknowledged again and changes nothing; one with another token is acknowledged as stale.

use std::time::Duration;

use assay_measure::{
    ids::{AgentName, TrialId},
    outcome::{Progress, StepResult, TrialOutcome},
    printable,
};
use assay_planning::{
    dispatch::{WaitingTrial, assign},
    trial_state::{Told, TrialInput},
};
use jiff::Timestamp;

use super::{Effect, SessionId, state::State, terms::later, trial_run::TrialRun};
use crate::{
    agent_link::{AgentCommand, AgentReport, Held, ReportKind},
    job_event::{Happening, JobEvent},
};

impl Held {
    fn says(&self, what: Told) -> TrialInput {
        TrialInput::Told { token: self.token.clone(), what }
    }
}

impl State {
    pub(super) fn trial(&self, id: &TrialId) -> Option<&TrialRun> {
        self.job(&id.job())?.trial(id)
    }

    fn trial_mut(&mut self, id: &TrialId) -> Option<&mut TrialRun> {
        let name = id.job();
        self.jobs.iter_mut().find(|job| *job.name() == name)?.trial_mut(id)
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
        if let Some((job, mut context)) = self.job_mut(&held.trial.job(), now) {
            job.take_step(&held, step, &mut context);
        }
        self.acknowledge(session, held, ReportKind::Step(index), false);
    }

    /// The very step is stored, and its acknowledgement was lost.
    fn counts_already(&self, held: &Held, index: u32) -> bool {
        self.trial(&held.trial).is_some_and(|active| {
            active.is_run_of(&held.token) && active.steps.contains_key(&index)
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
        let counted = self
            .trial(&held.trial)
            .is_some_and(|active| active.trial.end().is_some() && active.is_run_of(&held.token));
        tracing::debug!(trial = %held.trial, %denied, counted, "an outcome was reported again or too late");
        self.acknowledge(session, held, ReportKind::Outcome, !counted);
    }

    /// What is left of the job's time, shared by the trials that have not ended.
    fn time_left_for(&self, trial: &TrialId, now: Timestamp) -> Duration {
        self.job(&trial.job()).map_or(Duration::ZERO, |job| job.time_left_per_trial(now))
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
        let due = |active: &&TrialRun| active.next_deadline().is_some_and(|at| at <= now);
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
}
