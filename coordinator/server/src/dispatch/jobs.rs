//! Jobs: accepted, planned, stopped, concluded, deleted.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use assay_measure::{
    ids::{JobName, TrialId},
    job::{JobSpec, JobStatus},
    outcome::{FailureKind, TrialOutcome},
};
use assay_planning::{
    catalogue::Catalogue,
    fleet::AgentView,
    job_report::{self, JobFacts, Overrides, TrialFacts},
    job_state::{JobInput, JobInputDenied, JobState, StopReason, claim_name},
    out_of_time,
    planner::{self, Plan, PlanError},
    trial_state::{TrialEnd, TrialInput},
};
use jiff::Timestamp;

use super::{Created, Effect, Refused, state::State, trials::ActiveTrial};
use crate::{
    job_event::{Happening, JobEvent, TrialBrief},
    store::{Change, JobRecord, Planned, Recommended},
};

// More distinct reasons than these help nobody in one line.
const REASONS_SHOWN: usize = 3;

/// A job that has not ended.
#[derive(Clone, Debug)]
pub(super) struct ActiveJob {
    pub(super) spec: JobSpec,
    pub(super) created_at: Timestamp,
    pub(super) state: JobState,
    /// Why it stands where it stands, for people.
    pub(super) reason: String,
    pub(super) planned: Option<Planned>,
    /// In the order of the plan.
    pub(super) trials: Vec<ActiveTrial>,
    pub(super) last_sequence: u64,
    /// Since when it waits to begin and nobody is there who would. Counted anew after a restart: who was
    /// connected meanwhile nobody knows.
    pub(super) unserved_since: Option<Timestamp>,
}

impl ActiveJob {
    /// A job of which nothing has happened yet but what its record says.
    pub(super) fn of(record: JobRecord) -> Self {
        let JobRecord { number: _, spec, created_at, state, reason, planned } = record;
        let (trials, last_sequence, unserved_since) = (Vec::new(), 0, None);
        Self { spec, created_at, state, reason, planned, trials, last_sequence, unserved_since }
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

    /// Nothing is left to wait for.
    fn is_through(&self) -> bool {
        let all_ended = self.trials.iter().all(|active| active.trial.end().is_some());
        let never_planned = self.planned.is_none() && self.takes_trials();
        all_ended && !never_planned
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
        let facts_of = |active: &ActiveTrial| TrialFacts {
            end: active.trial.end().cloned(),
            steps: active.steps.values().cloned().collect(),
            repeats: active.trial.repeats,
        };
        let facts = JobFacts {
            spec: self.spec.clone(),
            status: self.state.status(),
            created_at: self.created_at,
            finished_at: self.state.finished_at(),
            plan: planned.plan.clone(),
            trials: self
                .trials
                .iter()
                .map(|active| (active.id.clone(), facts_of(active)))
                .collect(),
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

impl State {
    pub(super) fn create_job(&mut self, spec: JobSpec, now: Timestamp) -> Result<Created, Refused> {
        claim_name(&spec.name, &self.taken)?;
        let fleet = self.fleet();
        // Whatever no fleet can change is refused now, before anything is stored.
        match planner::plan(&spec, Catalogue::builtin(), &fleet) {
            Ok(_) | Err(PlanError::NoAgents) => {}
            Err(error) => return Err(error.into()),
        }
        let record = JobRecord {
            number: self.next_number,
            spec,
            created_at: now,
            state: JobState::Pending,
            reason: String::new(),
            planned: None,
        };
        self.next_number += 1;
        self.taken.insert(record.spec.name.clone());
        self.store(Change::JobCreated(Box::new(record.clone())));
        self.jobs.push(ActiveJob::of(record));
        let index = self.jobs.len() - 1;
        self.happen(
            index,
            Happening::StatusChanged { status: JobStatus::Pending, reason: String::new() },
            now,
        );
        self.plan_job(index, &fleet, now);
        Ok(self.created(index))
    }

    fn created(&self, index: usize) -> Created {
        let job = &self.jobs[index];
        let Some(Planned { plan, .. }) = &job.planned else {
            return Created {
                trials: Vec::new(),
                warnings: vec![job.reason.clone()],
                expected: Duration::ZERO,
            };
        };
        let rejected = plan.rejections.iter().map(|rejected| {
            format!("{} will not be measured: {}", rejected.instance_type, rejected.reason)
        });
        Created {
            trials: plan.trials.iter().map(|trial| TrialBrief::of(plan, trial)).collect(),
            warnings: plan.warnings.iter().cloned().chain(rejected).collect(),
            expected: plan.expected(&job.spec),
        }
    }

    pub(super) fn stop_job(
        &mut self,
        name: &JobName,
        by: String,
        now: Timestamp,
    ) -> Result<(), Refused> {
        let Some(index) = self.jobs.iter().position(|job| job.spec.name == *name) else {
            return Err(self.not_active(name));
        };
        match self.move_job(index, JobInput::StopAsked { by }, now) {
            Ok(()) | Err(JobInputDenied::AlreadyStopping) => Ok(()),
            Err(JobInputDenied::AlreadyEnded(_) | JobInputDenied::AlreadyBegun) => {
                Err(Refused::JobEnded(name.clone()))
            }
        }
    }

    pub(super) fn not_active(&self, name: &JobName) -> Refused {
        if self.ended.contains(name) {
            return Refused::JobEnded(name.clone());
        }
        Refused::NoSuchJob(name.clone())
    }

    pub(super) fn delete_job(&mut self, name: &JobName, now: Timestamp) -> Result<(), Refused> {
        if self.jobs.iter().any(|job| job.spec.name == *name) {
            return Err(Refused::JobActive(name.clone()));
        }
        if !self.ended.remove(name) {
            return Err(Refused::NoSuchJob(name.clone()));
        }
        self.store(Change::JobDeleted { job: name.clone(), at: now });
        Ok(())
    }

    pub(super) fn plan_waiting_jobs(&mut self, now: Timestamp) {
        let fleet = self.fleet();
        for index in 0..self.jobs.len() {
            let job = &self.jobs[index];
            if job.planned.is_none() && job.takes_trials() {
                self.plan_job(index, &fleet, now);
            }
        }
    }

    /// Plans a job if the fleet can carry any of it out; otherwise says what it waits for.
    pub(super) fn plan_job(&mut self, index: usize, fleet: &[AgentView], now: Timestamp) {
        let spec = &self.jobs[index].spec;
        if spec.awaits_files() {
            let files = spec.model().into_iter().chain([&spec.payload.artifact]);
            let names: Vec<&str> = files.map(|file| file.name.as_str()).collect();
            let reason = format!("fetching {}", names.join(" and "));
            return self.give_reason(index, reason, now);
        }
        match planner::plan(spec, Catalogue::builtin(), fleet) {
            Ok(plan) if !plan.trials.is_empty() => self.adopt_plan(index, plan),
            // Every type was refused, and a bigger fleet would have made that no different.
            Ok(plan) => {
                let reason = rejections(&plan);
                // Each is told with its reason in the job's report.
                self.adopt_plan(index, plan);
                self.found_impossible(index, reason, now);
            }
            Err(PlanError::NoAgents) => {
                self.give_reason(index, "no agent is connected".to_owned(), now)
            }
            // It was offered when the job was created, so its agent may come back.
            Err(error @ PlanError::NoSuchEndpoint { .. }) => {
                self.give_reason(index, error.to_string(), now)
            }
            Err(error) => self.found_impossible(index, error.to_string(), now),
        }
    }

    fn adopt_plan(&mut self, index: usize, plan: Plan) {
        let job = &mut self.jobs[index];
        let names: BTreeSet<_> = plan
            .candidates
            .iter()
            .map(|candidate| &candidate.instance_type)
            .chain(plan.rejections.iter().map(|rejected| &rejected.instance_type))
            .collect();
        let prices = self.prices.freeze(&job.spec, names);
        let trials: Vec<TrialId> = plan.trials.iter().map(|trial| trial.id.clone()).collect();
        let planned = Planned { plan, prices };
        let change = planned.change(job.spec.name.clone(), &trials);
        job.planned = Some(planned);
        job.trials = trials.into_iter().map(ActiveTrial::queued).collect();
        self.store(change);
    }

    pub(super) fn found_impossible(&mut self, index: usize, reason: String, now: Timestamp) {
        if let Err(error) = self.move_job(index, JobInput::FoundImpossible { reason }, now) {
            tracing::error!(%error, "a job without a plan had begun");
        }
    }

    pub(super) fn give_reason(&mut self, index: usize, reason: String, now: Timestamp) {
        let job = &mut self.jobs[index];
        if job.reason == reason {
            return;
        }
        job.reason.clone_from(&reason);
        let status = job.state.status();
        let moved = Change::JobMoved {
            job: job.spec.name.clone(),
            state: job.state.clone(),
            reason: reason.clone(),
            recommended: None,
        };
        self.store(moved);
        self.happen(index, Happening::StatusChanged { status, reason }, now);
    }

    pub(super) fn conclude_finished_jobs(&mut self, now: Timestamp) {
        for index in 0..self.jobs.len() {
            let job = &self.jobs[index];
            if job.state.status().is_final() || !job.is_through() {
                continue;
            }
            let (measured, why_not) = job.tally();
            let through = JobInput::AllTrialsEnded { measured, why_not };
            if let Err(error) = self.move_job(index, through, now) {
                tracing::error!(%error, "a finished job cannot be concluded");
            }
        }
        let (ended, active) = std::mem::take(&mut self.jobs)
            .into_iter()
            .partition(|job| job.state.status().is_final());
        self.jobs = active;
        let ended: Vec<ActiveJob> = ended;
        self.ended.extend(ended.into_iter().map(|job| job.spec.name));
    }

    pub(super) fn move_job(
        &mut self,
        index: usize,
        change: JobInput,
        now: Timestamp,
    ) -> Result<(), JobInputDenied> {
        let job = &mut self.jobs[index];
        let state = job.state.apply(change, now)?;
        if state == job.state {
            return Ok(());
        }
        job.reason = reason_of(&state);
        let (status, before) = (state.status(), job.state.status());
        job.state = state;
        let recommended = if status.is_final() { job.recommended() } else { None };
        let moved = Change::JobMoved {
            job: job.spec.name.clone(),
            state: job.state.clone(),
            reason: job.reason.clone(),
            recommended,
        };
        self.store(moved);
        if status != before {
            let reason = self.jobs[index].reason.clone();
            self.happen(index, Happening::StatusChanged { status, reason }, now);
            self.cancel_open_trials(index, now);
        }
        Ok(())
    }

    /// Cancels what has not ended of a job that is being stopped.
    fn cancel_open_trials(&mut self, index: usize, now: Timestamp) {
        let job = &self.jobs[index];
        let JobState::Stopping { why } = &job.state else { return };
        let by = why.in_whose_name().to_owned();
        let open: Vec<_> = job.open_trials().map(|active| active.id.clone()).collect();
        for id in open {
            // A refusal means that it is being cancelled already.
            drop(self.move_trial(&id, TrialInput::CancelAsked { by: by.clone() }, now));
        }
    }

    /// Adds to a job's record and tells those who watch.
    pub(super) fn happen(&mut self, index: usize, what: Happening, at: Timestamp) {
        let event = JobEvent { sequence: self.next_sequence(index), at, what };
        let job = self.jobs[index].spec.name.clone();
        self.store(Change::Happened { job: job.clone(), event: event.clone() });
        self.effects.push(Effect::Publish(job, event));
    }

    pub(super) fn next_sequence(&mut self, index: usize) -> u64 {
        let job = &mut self.jobs[index];
        job.last_sequence += 1;
        job.last_sequence
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
