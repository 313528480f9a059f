//! Jobs: accepted, planned, stopped, concluded, deleted.

use std::time::Duration;

use assay_measure::{
    ids::{JobName, TrialId},
    job::JobSpec,
    outcome::TrialOutcome,
};
use assay_planning::{
    catalogue::Catalogue,
    job_state::{JobInput, JobInputDenied, JobState, claim_name},
    planner::{self, Plan, PlanError},
    trial_state::{TrialInput, TrialInputDenied},
};
use jiff::Timestamp;

use super::{
    Created, Refused,
    job_run::{Context, JobRun},
    state::State,
};
use crate::{
    bundle::Bundle,
    job_event::TrialBrief,
    store::{Change, JobRecord, Planned},
};

impl JobRun {
    fn created(&self) -> Created {
        let Some(Planned { plan, .. }) = &self.planned else {
            return Created {
                trials: Vec::new(),
                warnings: vec![self.reason.clone()],
                expected: Duration::ZERO,
            };
        };
        Created::of(plan, &self.spec)
    }
}

impl Created {
    fn of(plan: &Plan, spec: &JobSpec) -> Self {
        let rejected = plan.rejections.iter().map(|rejected| {
            format!("{} will not be measured: {}", rejected.instance_type, rejected.reason)
        });
        Self {
            trials: plan.trials.iter().map(|trial| TrialBrief::of(plan, trial)).collect(),
            warnings: plan.warnings.iter().cloned().chain(rejected).collect(),
            expected: plan.expected(spec),
        }
    }
}

impl State {
    pub(super) fn job(&self, name: &JobName) -> Option<&JobRun> {
        self.jobs.iter().find(|job| job.name() == name)
    }

    /// A job, and what it needs when something happens to it.
    pub(super) fn job_mut(
        &mut self,
        name: &JobName,
        now: Timestamp,
    ) -> Option<(&mut JobRun, Context<'_>)> {
        let Self { jobs, terms, agents, prices, effects, .. } = self;
        let job = jobs.iter_mut().find(|job| job.name() == name)?;
        Some((job, Context { now, terms: *terms, agents, prices, effects }))
    }

    pub(super) fn for_each_job(
        &mut self,
        now: Timestamp,
        mut act: impl FnMut(&mut JobRun, &mut Context<'_>),
    ) {
        let Self { jobs, terms, agents, prices, effects, .. } = self;
        let mut context = Context { now, terms: *terms, agents, prices, effects };
        for job in jobs {
            act(job, &mut context);
        }
    }

    pub(super) fn create_job(&mut self, spec: JobSpec, now: Timestamp) -> Result<Created, Refused> {
        claim_name(&spec.name, &self.taken)?;
        let fleet = self.fleet();
        // Whatever no fleet can change is refused now, before anything is stored.
        match planner::plan(&spec, Catalogue::builtin(), &fleet) {
            Ok(_) | Err(PlanError::NoAgents) => {}
            Err(error) => return Err(error.into()),
        }
        let name = spec.name.clone();
        let record = JobRecord {
            number: self.next_number,
            spec,
            created_at: now,
            state: JobState::Pending,
            reason: String::new(),
            planned: None,
        };
        self.next_number += 1;
        self.taken.insert(name.clone());
        self.store(Change::JobCreated(Box::new(record.clone())));
        self.jobs.push(JobRun::of(record));
        let (job, mut context) =
            self.job_mut(&name, now).ok_or_else(|| Refused::NoSuchJob(name.clone()))?;
        job.announce_status(&mut context);
        job.make_plan(&fleet, &mut context);
        Ok(job.created())
    }

    /// What would be measured if the job were created now.
    pub(super) fn plan_job(&self, spec: &JobSpec) -> Result<Created, Refused> {
        claim_name(&spec.name, &self.taken)?;
        let plan = planner::plan(spec, Catalogue::builtin(), &self.fleet())?;
        Ok(Created::of(&plan, spec))
    }

    /// A job that has ended elsewhere is one that has ended here.
    pub(super) fn import_job(&mut self, bundle: Bundle) -> Result<(), Refused> {
        let name = bundle.spec.name.clone();
        claim_name(&name, &self.taken)?;
        let number = self.next_number;
        self.next_number += 1;
        self.taken.insert(name.clone());
        self.ended.insert(name);
        for change in bundle.changes(number) {
            self.store(change);
        }
        Ok(())
    }

    pub(super) fn stop_job(
        &mut self,
        name: &JobName,
        by: String,
        now: Timestamp,
    ) -> Result<(), Refused> {
        let Some((job, mut context)) = self.job_mut(name, now) else {
            return Err(self.not_active(name));
        };
        match job.apply(JobInput::StopAsked { by }, &mut context) {
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
        if self.job(name).is_some() {
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
        self.for_each_job(now, |job, context| {
            if job.planned.is_none() && job.takes_trials() {
                job.make_plan(&fleet, context);
            }
        });
    }

    pub(super) fn conclude_finished_jobs(&mut self, now: Timestamp) {
        self.for_each_job(now, JobRun::conclude);
        let ended = self.jobs.extract_if(.., |job| job.state.status().is_final());
        self.ended.extend(ended.map(|job| job.spec.name));
    }

    /// Moves a trial, and plans on from it if it ended by that.
    pub(super) fn move_trial(
        &mut self,
        id: &TrialId,
        input: TrialInput,
        now: Timestamp,
    ) -> Result<(), TrialInputDenied> {
        let (job, mut context) =
            self.job_mut(&id.job(), now).ok_or(TrialInputDenied::AlreadyEnded)?;
        if let Some(outcome) = job.move_trial(id, input, &mut context)?
            && job.takes_trials()
        {
            self.plan_on(id, &outcome, now);
        }
        Ok(())
    }

    fn plan_on(&mut self, id: &TrialId, outcome: &TrialOutcome, now: Timestamp) {
        // Its agent is free again by now.
        let fleet = self.fleet();
        if let Some((job, mut context)) = self.job_mut(&id.job(), now) {
            job.extend_plan(id, outcome, &fleet, &mut context);
        }
    }
}
