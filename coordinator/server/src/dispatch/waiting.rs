//! What jobs wait for that stand still, and those that have waited for nobody long enough.

use assay_measure::job::JobStatus;
use assay_planning::{
    fleet::AgentView,
    job_state::{JobInput, JobState},
    trial_state::TrialState,
    waiting::{self, OpenTrial, Wait},
};
use jiff::Timestamp;

use super::{job_run::JobRun, state::State, terms::later, trial_run::TrialRun};

impl JobRun {
    /// When it fails if nobody comes who would begin it.
    pub(super) fn gives_up_at(&self) -> Option<Timestamp> {
        let waits = self.state == JobState::Pending;
        self.unserved_since.filter(|_| waits).map(|since| later(since, self.spec.max_duration))
    }

    pub(super) fn open_trials(&self) -> impl Iterator<Item = &TrialRun> {
        self.trials.iter().filter(|active| active.trial.end().is_none())
    }

    /// What stands between it and its next trial; absent while that cannot be said, without a plan.
    fn wait(&self, fleet: &[AgentView]) -> Option<(Wait, String)> {
        let plan = &self.planned.as_ref()?.plan;
        let open = self.open_trials().map(|active| OpenTrial {
            placement: plan.trial(&active.id).map(|trial| &trial.placement),
            has_begun: matches!(
                active.trial.state,
                TrialState::Running { .. } | TrialState::Cancelling { .. }
            ),
            declined: &active.declined,
        });
        let wait = waiting::wait(open, fleet);
        let told =
            wait.describe(self.open_trials().flat_map(|active| plan.candidates_of(&active.id)));
        Some((wait, told))
    }
}

impl State {
    /// Says of every job that stands still why it does, and since when nobody is there to begin it.
    pub(super) fn explain_waiting(&mut self, now: Timestamp) {
        let fleet = self.fleet();
        self.for_each_job(now, |job, context| {
            if !job.takes_trials() {
                return;
            }
            let waits_for_files = job.spec.awaits_files();
            let is_unserved = match job.wait(&fleet) {
                Some((wait, told)) => {
                    job.give_reason(told, context);
                    wait != Wait::None
                }
                None => !waits_for_files,
            };
            let counts = is_unserved && job.state.status() == JobStatus::Pending;
            job.unserved_since = counts.then(|| job.unserved_since.unwrap_or(now));
        });
    }

    /// Fails jobs that waited for an agent for as long as they may take in all.
    pub(super) fn end_unserved_jobs(&mut self, now: Timestamp) {
        let fleet = self.fleet();
        self.for_each_job(now, |job, context| {
            if job.gives_up_at().is_none_or(|at| at > now) {
                return;
            }
            let told = match job.wait(&fleet) {
                // Somebody came at the last moment.
                Some((Wait::None, _)) => return,
                Some((Wait::NoAgent | Wait::Declined(_), told)) => told,
                None => format!("{}, and the job needs {}", job.reason, waiting::wanted(&job.spec)),
            };
            let reason = waiting::describe_at_the_end(&told, job.spec.max_duration);
            if let Err(error) = job.apply(JobInput::NobodyCame { reason }, context) {
                tracing::error!(%error, "a job that nobody would begin had begun");
            }
        });
    }
}
