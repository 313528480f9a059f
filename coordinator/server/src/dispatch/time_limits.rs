//! What a job's own limits on time and on trials at once come to.

use std::time::Duration;

use assay_measure::ids::TrialId;
use assay_planning::{
    job_state::{JobInput, JobState},
    out_of_time,
    trial_state::TrialInput,
};
use jiff::Timestamp;

use super::{job_run::JobRun, state::State, terms::later, trial_run::TrialRun};

impl JobRun {
    /// When it must end; its time runs from the beginning of its first trial.
    fn ends_by(&self) -> Option<Timestamp> {
        match self.state {
            JobState::Running { started_at } => Some(later(started_at, self.spec.max_duration)),
            JobState::Pending
            | JobState::Stopping { .. }
            | JobState::Completed { .. }
            | JobState::Failed { .. }
            | JobState::Stopped { .. } => None,
        }
    }

    /// When the last trial may begin; from then on those that run come to their end.
    fn begins_by(&self) -> Option<Timestamp> {
        let JobState::Running { started_at } = self.state else { return None };
        Some(later(started_at, self.spec.limits.begin_within?))
    }

    fn first_queued(&self) -> Option<TrialId> {
        let queued = self.trials.iter().find(|active| active.trial.is_queued())?;
        Some(queued.id.clone())
    }

    /// A trial that waits although none may begin any more.
    fn late_to_begin(&self, now: Timestamp) -> Option<TrialId> {
        self.begins_by().filter(|at| *at <= now)?;
        self.first_queued()
    }

    /// What is left of the time in which trials may begin; none while it does not run.
    pub(super) fn time_to_begin(&self, now: Timestamp) -> Duration {
        let until = self.begins_by().into_iter().chain(self.ends_by()).min();
        let left = until.map_or(jiff::SignedDuration::ZERO, |by| by.duration_since(now));
        Duration::try_from(left).unwrap_or(Duration::ZERO)
    }

    /// How many more trials may run at once; absent is without a limit.
    pub(super) fn may_begin(&self) -> Option<u32> {
        let most = self.spec.limits.most_at_once?.get();
        let run = self.trials.iter().filter(|active| active.trial.lease().is_some()).count();
        Some(most.saturating_sub(u32::try_from(run).unwrap_or(u32::MAX)))
    }

    /// What is left of its time for each trial that has not ended.
    pub(super) fn time_left_per_trial(&self, now: Timestamp) -> Duration {
        let open = self.open_trials().count();
        let open = u32::try_from(open).unwrap_or(u32::MAX).max(1);
        self.time_to_begin(now) / open
    }

    pub(super) fn next_deadline(&self) -> Option<Timestamp> {
        let of_trials = self.trials.iter().filter_map(TrialRun::next_deadline);
        // Only what waits is ended by the time to begin; without it the deadline would stay in the past.
        let begins_by = self.begins_by().filter(|_| self.first_queued().is_some());
        of_trials.chain(self.ends_by()).chain(begins_by).chain(self.gives_up_at()).min()
    }
}

impl State {
    pub(super) fn end_late_jobs(&mut self, now: Timestamp) {
        self.for_each_job(now, |job, context| {
            if job.ends_by().is_some_and(|at| at <= now)
                && let Err(error) = job.apply(JobInput::TimeUp, context)
            {
                tracing::error!(%error, "a running job cannot be ended");
            }
        });
    }

    /// Ends what still waits in jobs whose time to begin trials is over.
    pub(super) fn end_late_beginnings(&mut self, now: Timestamp) {
        // The end of one may bring others into the queue; those do not begin either.
        while let Some(id) = self.jobs.iter().find_map(|job| job.late_to_begin(now)) {
            let cancel = TrialInput::CancelAsked { by: out_of_time::TIME_TO_BEGIN.to_owned() };
            if let Err(denied) = self.move_trial(&id, cancel, now) {
                tracing::error!(trial = %id, %denied, "a waiting trial cannot be ended");
                break;
            }
        }
    }
}
