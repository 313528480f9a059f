//! A job that has not ended: the one owner of its trials. Whatever happens to them goes through here, so a
//! record, what is stored and what watchers hear cannot part.

use std::{
    collections::{BTreeMap, BTreeSet},
    mem,
};

use assay_measure::{
    ids::{AgentName, JobName, TrialId},
    job::JobSpec,
    outcome::{FailureKind, StepResult, TrialOutcome},
};
use assay_planning::{
    catalogue::Catalogue,
    fleet::AgentView,
    job_report::{self, JobFacts, Overrides, TrialFacts},
    job_state::{JobInput, JobInputDenied, JobState, StopReason},
    out_of_time,
    planner::{self, EndedTrial, Plan, PlanError},
    prices::Prices,
    trial_state::{TrialEffect, TrialEnd, TrialInput, TrialInputDenied, TrialState},
};
use jiff::Timestamp;

use super::{
    Effect, Supply,
    known_agent::KnownAgent,
    terms::Terms,
    trial_run::{TrialRun, outcome_of},
};
use crate::{
    agent_link::{AgentCommand, Held},
    job_event::{Happening, JobEvent, TrialBrief},
    store::{Change, JobRecord, Planned, Recommended},
};

// More distinct reasons than these help nobody in one line.
const REASONS_SHOWN: usize = 3;

/// What a job needs beyond itself when something happens to it, and where to put what follows.
pub(super) struct Context<'a> {
    pub(super) now: Timestamp,
    pub(super) terms: Terms,
    pub(super) agents: &'a BTreeMap<AgentName, KnownAgent>,
    pub(super) prices: &'a Prices,
    pub(super) effects: &'a mut Vec<Effect>,
}

impl Context<'_> {
    fn store(&mut self, change: Change) {
        self.effects.push(Effect::Store(change));
    }

    fn tell(&mut self, name: &AgentName, command: AgentCommand) {
        if let Some(session) = self.agents.get(name).and_then(|agent| agent.session) {
            self.effects.push(Effect::Tell(session, command));
        }
    }
}

/// A job that has not ended.
#[derive(Clone, Debug)]
pub(super) struct JobRun {
    pub(super) spec: JobSpec,
    pub(super) created_at: Timestamp,
    pub(super) state: JobState,
    /// Why it stands where it stands, for people.
    pub(super) reason: String,
    pub(super) planned: Option<Planned>,
    /// In the order of the plan.
    pub(super) trials: Vec<TrialRun>,
    pub(super) last_sequence: u64,
    /// Since when it waits to begin and nobody is there who would. Counted anew after a restart: who was
    /// connected meanwhile nobody knows.
    pub(super) unserved_since: Option<Timestamp>,
}

impl JobRun {
    /// A job of which nothing has happened yet but what its record says.
    pub(super) fn of(record: JobRecord) -> Self {
        let JobRecord { number: _, spec, created_at, state, reason, planned } = record;
        let (trials, last_sequence, unserved_since) = (Vec::new(), 0, None);
        Self { spec, created_at, state, reason, planned, trials, last_sequence, unserved_since }
    }

    pub(super) fn name(&self) -> &JobName {
        &self.spec.name
    }

    pub(super) fn trial(&self, id: &TrialId) -> Option<&TrialRun> {
        self.trials.iter().find(|trial| trial.id == *id)
    }

    pub(super) fn trial_mut(&mut self, id: &TrialId) -> Option<&mut TrialRun> {
        self.trials.iter_mut().find(|trial| trial.id == *id)
    }

    pub(super) fn takes_trials(&self) -> bool {
        match self.state {
            JobState::Pending | JobState::Running { .. } => true,
            JobState::Stopping { .. }
            | JobState::Completed { .. }
            | JobState::Failed { .. }
            | JobState::Stopped { .. } => false,
        }
    }

    /// Plans it if the fleet can carry any of it out; otherwise says what it waits for.
    pub(super) fn make_plan(&mut self, fleet: &[AgentView], context: &mut Context<'_>) {
        if self.spec.awaits_files() {
            let files = self.spec.model().into_iter().chain([&self.spec.payload.artifact]);
            let names: Vec<&str> = files.map(|file| file.name.as_str()).collect();
            let reason = format!("fetching {}", names.join(" and "));
            return self.give_reason(reason, context);
        }
        match planner::plan(&self.spec, Catalogue::builtin(), fleet) {
            Ok(plan) if !plan.trials.is_empty() => self.adopt_plan(plan, context),
            // Every type was refused, and a bigger fleet would have made that no different.
            Ok(plan) => {
                let reason = rejections(&plan);
                // Each is told with its reason in the job's report.
                self.adopt_plan(plan, context);
                self.found_impossible(reason, context);
            }
            Err(PlanError::NoAgents) => {
                self.give_reason("no agent is connected".to_owned(), context);
            }
            // It was offered when the job was created, so its agent may come back.
            Err(error @ PlanError::NoSuchEndpoint { .. }) => {
                self.give_reason(error.to_string(), context);
            }
            Err(error) => self.found_impossible(error.to_string(), context),
        }
    }

    fn adopt_plan(&mut self, plan: Plan, context: &mut Context<'_>) {
        let names: BTreeSet<_> = plan
            .candidates
            .iter()
            .map(|candidate| &candidate.instance_type)
            .chain(plan.rejections.iter().map(|rejected| &rejected.instance_type))
            .collect();
        let prices = context.prices.freeze(&self.spec, names);
        let trials: Vec<TrialId> = plan.trials.iter().map(|trial| trial.id.clone()).collect();
        let planned = Planned { plan, prices };
        context.store(planned.change(self.spec.name.clone(), &trials));
        self.planned = Some(planned);
        self.trials = trials.into_iter().map(TrialRun::queued).collect();
    }

    /// Adds what follows from the end of a trial: another round of a race, one more screening.
    pub(super) fn extend_plan(
        &mut self,
        id: &TrialId,
        outcome: &TrialOutcome,
        fleet: &[AgentView],
        context: &mut Context<'_>,
    ) {
        let time_left = self.time_to_begin(context.now);
        let Self { spec, planned, trials, .. } = self;
        let Some(planned) = planned else { return };
        let mut added = planned.plan.after_outcome(id, outcome);
        let ended = |id: &TrialId| {
            let trial = &trials.iter().find(|trial| trial.id == *id)?.trial;
            Some(EndedTrial { outcome: outcome_of(trial.end()?), repeats: trial.repeats })
        };
        let decided = planned.plan.advance_race(spec, fleet, ended, time_left);
        if added.is_empty() && decided.is_none() {
            return;
        }
        added.extend(decided.unwrap_or_default());
        context.store(planned.change(spec.name.clone(), &added));
        trials.extend(added.into_iter().map(TrialRun::queued));
    }

    pub(super) fn found_impossible(&mut self, reason: String, context: &mut Context<'_>) {
        if let Err(error) = self.apply(JobInput::FoundImpossible { reason }, context) {
            tracing::error!(%error, "a job without a plan had begun");
        }
    }

    pub(super) fn give_reason(&mut self, reason: String, context: &mut Context<'_>) {
        if self.reason == reason {
            return;
        }
        self.reason = reason;
        context.store(self.moved(None));
        self.announce_status(context);
    }

    /// Moves it and does what follows; nothing happens if it stays where it is.
    pub(super) fn apply(
        &mut self,
        input: JobInput,
        context: &mut Context<'_>,
    ) -> Result<(), JobInputDenied> {
        let state = self.state.apply(input, context.now)?;
        if state == self.state {
            return Ok(());
        }
        self.reason = reason_of(&state);
        let before = mem::replace(&mut self.state, state).status();
        let recommended = if self.state.status().is_final() { self.recommended() } else { None };
        context.store(self.moved(recommended));
        if self.state.status() != before {
            self.announce_status(context);
            self.cancel_open_trials(context);
        }
        Ok(())
    }

    /// Its files are there.
    pub(super) fn supply(&mut self, files: Supply, context: &mut Context<'_>) {
        self.spec.subject = self.spec.subject.clone().with_model(files.model);
        self.spec.payload = files.payload;
        self.spec.inputs = files.inputs;
        context.store(Change::JobSupplied { spec: Box::new(self.spec.clone()) });
        self.give_reason(String::new(), context);
    }

    fn moved(&self, recommended: Option<Recommended>) -> Change {
        Change::JobMoved {
            job: self.spec.name.clone(),
            state: self.state.clone(),
            reason: self.reason.clone(),
            recommended,
        }
    }

    /// Cancels what has not ended of a job that is being stopped.
    fn cancel_open_trials(&mut self, context: &mut Context<'_>) {
        let JobState::Stopping { why } = &self.state else { return };
        let by = why.in_whose_name().to_owned();
        let open: Vec<_> = self.open_trials().map(|trial| trial.id.clone()).collect();
        for id in open {
            // A refusal means that it is being cancelled already.
            drop(self.move_trial(&id, TrialInput::CancelAsked { by: by.clone() }, context));
        }
    }

    /// Moves a trial and does what follows from it; says how it ended if it ended by that.
    pub(super) fn move_trial(
        &mut self,
        id: &TrialId,
        input: TrialInput,
        context: &mut Context<'_>,
    ) -> Result<Option<TrialOutcome>, TrialInputDenied> {
        let active = self.trial_mut(id).ok_or(TrialInputDenied::AlreadyEnded)?;
        let (next, effects) = active.trial.apply(input, context.now, context.terms.lease_term)?;
        let before = mem::replace(&mut active.trial, next);
        let began = matches!(before.state, TrialState::Leased { .. })
            && matches!(active.trial.state, TrialState::Running { .. });
        if began {
            active.declined.clear();
        }
        let mut outcome = None;
        for effect in effects {
            outcome = self.follow(id, effect, context).or(outcome);
        }
        if let Some(active) = self.trial(id).filter(|active| active.differs_in_store(&before)) {
            context.store(Change::TrialMoved(Box::new(active.record())));
        }
        if began {
            self.announce_beginning(id, context);
        }
        Ok(outcome)
    }

    fn follow(
        &mut self,
        id: &TrialId,
        effect: TrialEffect,
        context: &mut Context<'_>,
    ) -> Option<TrialOutcome> {
        let active = self.trial_mut(id)?;
        match effect {
            TrialEffect::StartOnAgent { agent, token } => {
                active.start_over(Some(token.clone()));
                active.unclaimed_until = None;
                let planned = self.planned.as_ref()?.plan.trial(id)?;
                let spec = Box::new(planned.spec(&self.spec));
                context.tell(&agent, AgentCommand::StartTrial(token, spec));
            }
            TrialEffect::CancelOnAgent { agent, token, by } => {
                let held = Held { trial: id.clone(), token };
                context.tell(&agent, AgentCommand::CancelTrial(held, by));
            }
            TrialEffect::DiscardSteps => active.start_over(None),
            TrialEffect::Requeued { reason } => {
                active.unclaimed_until = None;
                self.happen(Happening::TrialReturned { trial: id.clone(), reason }, context);
            }
            TrialEffect::Concluded => {
                let outcome = outcome_of(active.trial.end()?);
                let told = Box::new(outcome.clone());
                self.happen(Happening::TrialEnded { trial: id.clone(), outcome: told }, context);
                return Some(outcome);
            }
        }
        None
    }

    fn announce_beginning(&mut self, id: &TrialId, context: &mut Context<'_>) {
        if let Err(denied) = self.apply(JobInput::TrialBegan, context) {
            tracing::error!(%denied, "a trial of an ended job began");
        }
        let plan = self.planned.as_ref().map(|planned| &planned.plan);
        let brief = plan.and_then(|plan| Some(TrialBrief::of(plan, plan.trial(id)?)));
        let lease = self.trial(id).and_then(|active| active.trial.lease());
        let agent = lease.map(|lease| lease.agent().clone());
        if let Some((trial, agent)) = brief.zip(agent) {
            self.happen(Happening::TrialStarted { trial, agent }, context);
        }
    }

    /// Counts a step of the run that is under way.
    pub(super) fn take_step(
        &mut self,
        held: &Held,
        step: Box<StepResult>,
        context: &mut Context<'_>,
    ) {
        let Some(active) = self.trial_mut(&held.trial) else { return };
        let light = StepResult { histogram: Vec::new(), ..(*step).clone() };
        active.steps.insert(step.index, light);
        self.last_sequence += 1;
        let (at, sequence) = (context.now, self.last_sequence);
        context.store(Change::StepFinished {
            trial: held.trial.clone(),
            token: held.token.clone(),
            step: step.clone(),
            at,
            sequence,
        });
        let what = Happening::StepFinished { trial: held.trial.clone(), step };
        let event = JobEvent { sequence, at, what };
        context.effects.push(Effect::Publish(self.spec.name.clone(), event));
    }

    pub(super) fn announce_status(&mut self, context: &mut Context<'_>) {
        let (status, reason) = (self.state.status(), self.reason.clone());
        self.happen(Happening::StatusChanged { status, reason }, context);
    }

    /// Adds to its record and tells those who watch.
    fn happen(&mut self, what: Happening, context: &mut Context<'_>) {
        self.last_sequence += 1;
        let event = JobEvent { sequence: self.last_sequence, at: context.now, what };
        let job = self.spec.name.clone();
        context.store(Change::Happened { job: job.clone(), event: event.clone() });
        context.effects.push(Effect::Publish(job, event));
    }

    /// Ends it when nothing is left to wait for.
    pub(super) fn conclude(&mut self, context: &mut Context<'_>) {
        let never_planned = self.planned.is_none() && self.takes_trials();
        let is_through = !never_planned && self.open_trials().next().is_none();
        if self.state.status().is_final() || !is_through {
            return;
        }
        let (measured, why_not) = self.tally();
        if let Err(error) = self.apply(JobInput::AllTrialsEnded { measured, why_not }, context) {
            tracing::error!(%error, "a finished job cannot be concluded");
        }
    }

    /// How many trials were measured, and why the others were not.
    fn tally(&self) -> (u32, String) {
        let mut measured = 0;
        let mut reasons = Vec::new();
        for end in self.trials.iter().filter_map(|active| active.trial.end()) {
            // A candidate that is too slow was measured well enough to be rejected.
            if end.measurement().is_some() || too_slow(end) {
                measured += 1;
                continue;
            }
            let reason = why_not(end, &self.spec);
            if !reasons.contains(&reason) {
                reasons.push(reason);
            }
        }
        let more = reasons.len().saturating_sub(REASONS_SHOWN);
        reasons.truncate(REASONS_SHOWN);
        let mut line = reasons.join("; ");
        if more > 0 {
            line.push_str(&format!("; and {more} other reasons"));
        }
        (measured, line)
    }

    fn recommended(&self) -> Option<Recommended> {
        let planned = self.planned.as_ref()?;
        let trials = self.trials.iter().map(|active| (active.id.clone(), TrialFacts::from(active)));
        let facts = JobFacts {
            spec: self.spec.clone(),
            status: self.state.status(),
            created_at: self.created_at,
            finished_at: self.state.finished_at(),
            plan: planned.plan.clone(),
            trials: trials.collect(),
            prices: planned.prices.clone(),
            warnings: Vec::new(),
        };
        let best = job_report::build(&facts, Overrides::default()).ranking.into_iter().next()?;
        Some(Recommended {
            configuration: best.serving().unwrap_or_default(),
            instance_type: best.instance_type.to_string(),
            cost_per_inference_usd: best.cost_per_inference_usd,
        })
    }
}

/// Even one request at a time missed a constraint.
fn too_slow(end: &TrialEnd) -> bool {
    match end {
        TrialEnd::Reported { outcome: TrialOutcome::Failed(failure) } => {
            failure.kind == FailureKind::TooSlow
        }
        TrialEnd::Reported { .. } | TrialEnd::Lost { .. } | TrialEnd::NotRun { .. } => false,
    }
}

/// Why a trial was not measured, in a few words.
fn why_not(end: &TrialEnd, spec: &JobSpec) -> String {
    match end {
        TrialEnd::Reported { outcome: TrialOutcome::Failed(failure) } => {
            out_of_time::why_failed(failure)
        }
        TrialEnd::Reported { outcome: TrialOutcome::Cancelled { by } }
        | TrialEnd::NotRun { by } => {
            out_of_time::why_cancelled(by, spec).unwrap_or_else(|| format!("cancelled by {by}"))
        }
        TrialEnd::Lost { losses, last_agent } => {
            format!("its agent was lost {losses} times, last {last_agent}")
        }
        TrialEnd::Reported { outcome: TrialOutcome::Measured(_) } => String::new(),
    }
}

fn rejections(plan: &Plan) -> String {
    let mut reasons: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for rejected in &plan.rejections {
        reasons.entry(&rejected.reason).or_default().insert(rejected.instance_type.as_str());
    }
    let line = |(reason, types): (&str, BTreeSet<&str>)| {
        format!("{}: {reason}", Vec::from_iter(types).join(", "))
    };
    reasons.into_iter().map(line).collect::<Vec<_>>().join("; ")
}

fn reason_of(state: &JobState) -> String {
    match state {
        JobState::Pending | JobState::Running { .. } | JobState::Completed { .. } => String::new(),
        JobState::Stopping { why: StopReason::Asked { by } } | JobState::Stopped { by, .. } => {
            format!("stopped by {by}")
        }
        JobState::Stopping { why: StopReason::TimeUp } => {
            "the job's time limit has passed".to_owned()
        }
        JobState::Stopping { why: StopReason::NobodyCame { reason } } => reason.clone(),
        JobState::Failed { reason, .. } => reason.clone(),
    }
}
