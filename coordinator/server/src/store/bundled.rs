//! A job as a whole, to be taken to another coordinator.

use assay_measure::ids::{JobName, LeaseToken};
use sqlx::sqlite::SqliteRow;

use super::{
    Store, StoreError, broken,
    read::{job_record, planned_trials, step, trials_of},
    row::{column, from_json, parse, timestamp, uncount},
};
use crate::bundle::{Bundle, BundledStep, BundledTrial, Entry, What};

impl Store {
    /// Everything that is kept of a job.
    pub(crate) async fn bundle(&self, name: &JobName) -> Result<Option<Bundle>, StoreError> {
        let row = sqlx::query("select * from job where name = $1")
            .bind(name.as_str())
            .fetch_optional(&self.readers)
            .await
            .map_err(broken("read a job from"))?;
        let Some(row) = row else { return Ok(None) };
        let recommended: Option<String> = column(&row, "recommended_json")?;
        let recommended =
            recommended.map(|text| from_json("a recommendation", &text)).transpose()?;
        let mut bundle = Bundle::of(job_record(&row)?, recommended);
        let planned = planned_trials(&self.readers, name).await?;
        for (planned, record) in planned.into_iter().zip(trials_of(&self.readers, name).await?) {
            bundle.trials.push(BundledTrial { planned, trial: record.trial, run: record.run });
        }
        let sql = "select event.sequence, event.at_us, event.event_json, event.step_trial, event.step_token,
                          step.result, step.histogram
                   from event left join step on step.trial = event.step_trial
                     and step.lease_token = event.step_token and step.step_index = event.step_index
                   where event.job = $1 order by event.sequence";
        let rows = sqlx::query(sql)
            .bind(name.as_str())
            .fetch_all(&self.readers)
            .await
            .map_err(broken("read events from"))?;
        bundle.record = rows.iter().map(entry).collect::<Result<_, _>>()?;
        Ok(Some(bundle))
    }
}

fn entry(row: &SqliteRow) -> Result<Entry, StoreError> {
    let text: Option<String> = column(row, "event_json")?;
    let what = match text {
        Some(text) => What::Happened(from_json("an event", &text)?),
        None => {
            let token: String = column(row, "step_token")?;
            What::Step {
                trial: parse("a trial id", column(row, "step_trial")?)?,
                token: parse::<LeaseToken>("a lease token", &token)?,
                step: Box::new(BundledStep(step(row)?)),
            }
        }
    };
    Ok(Entry {
        sequence: uncount(column(row, "sequence")?),
        at: timestamp(column(row, "at_us")?)?,
        what,
    })
}
