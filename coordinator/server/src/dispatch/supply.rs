//! Jobs whose files are fetched after they were accepted: until then they wait, and can be stopped like any other.

use assay_measure::ids::JobName;
use jiff::Timestamp;

use super::{Refused, Supply, state::State};
use crate::store::Change;

impl State {
    /// The files are there: the job goes on as if it had been created with them. Supplying it twice is harmless.
    pub(super) fn supply_job(
        &mut self,
        name: &JobName,
        files: Supply,
        now: Timestamp,
    ) -> Result<(), Refused> {
        let index = self.waiting_job(name)?;
        let Some(index) = index else { return Ok(()) };
        let job = &mut self.jobs[index];
        job.spec.subject = job.spec.subject.clone().with_model(files.model);
        job.spec.payload = files.payload;
        job.spec.inputs = files.inputs;
        let spec = Box::new(job.spec.clone());
        self.store(Change::JobSupplied { spec });
        self.give_reason(index, String::new(), now);
        let fleet = self.fleet();
        self.plan_job(index, &fleet, now);
        Ok(())
    }

    /// The files cannot be had, so nothing can be measured.
    pub(super) fn give_up_job(
        &mut self,
        name: &JobName,
        reason: String,
        now: Timestamp,
    ) -> Result<(), Refused> {
        if let Some(index) = self.waiting_job(name)? {
            self.found_impossible(index, reason, now);
        }
        Ok(())
    }

    /// The job if it still waits for its files; none if it has them, or is being stopped.
    fn waiting_job(&self, name: &JobName) -> Result<Option<usize>, Refused> {
        let Some(index) = self.jobs.iter().position(|job| job.spec.name == *name) else {
            return Err(self.not_active(name));
        };
        let job = &self.jobs[index];
        Ok((job.spec.awaits_files() && job.takes_trials()).then_some(index))
    }
}
