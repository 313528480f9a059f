//! Jobs whose files are fetched after they were accepted: until then they wait, and can be stopped like any other.

use assay_measure::ids::JobName;
use jiff::Timestamp;

use super::{
    Refused, Supply,
    job_run::{Context, JobRun},
    state::State,
};

impl State {
    /// The files are there: the job goes on as if it had been created with them. Supplying it twice is harmless.
    pub(super) fn supply_job(
        &mut self,
        name: &JobName,
        files: Supply,
        now: Timestamp,
    ) -> Result<(), Refused> {
        let fleet = self.fleet();
        let Some((job, mut context)) = self.waiting_job(name, now)? else { return Ok(()) };
        job.supply(files, &mut context);
        job.make_plan(&fleet, &mut context);
        Ok(())
    }

    /// The files cannot be had, so nothing can be measured.
    pub(super) fn give_up_job(
        &mut self,
        name: &JobName,
        reason: String,
        now: Timestamp,
    ) -> Result<(), Refused> {
        if let Some((job, mut context)) = self.waiting_job(name, now)? {
            job.found_impossible(reason, &mut context);
        }
        Ok(())
    }

    /// The job if it still waits for its files; none if it has them, or is being stopped.
    fn waiting_job(
        &mut self,
        name: &JobName,
        now: Timestamp,
    ) -> Result<Option<(&mut JobRun, Context<'_>)>, Refused> {
        if self.job(name).is_none() {
            return Err(self.not_active(name));
        }
        let job = self.job_mut(name, now);
        Ok(job.filter(|(job, _)| job.spec.awaits_files() && job.takes_trials()))
    }
}
