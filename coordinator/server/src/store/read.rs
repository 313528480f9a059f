//! Rows as domain types.

use std::collections::{BTreeMap, BTreeSet};

use assay_measure::{
    ids::{JobName, LeaseToken, Sha256, TrialId},
    job::JobStatus,
    money::PricePerHour,
    outcome::StepResult,
    trial::ArtifactRef,
    units::Bytes,
};
use assay_planning::{
    job_report::{JobFacts, TrialFacts},
    planner::PlannedTrial,
    price_file::PriceRow,
};
use assay_proto::v1;
use sqlx::{AssertSqlSafe, SqlitePool, sqlite::SqliteRow};

use super::{
    AgentRecord, Histograms, JobQuery, JobRecord, JobSummary, Planned, Recovered, RecoveredJob,
    Store, StoreError, TrialRecord, broken,
    row::{column, count, from_json, from_message, parse, timestamp, uncount},
};
use crate::job_event::{Happening, JobEvent};

const SUMMARIES: &str = "select job.*,
     (select count(*) from trial where trial.job = job.name) as trials_total,
     (select count(*) from trial where trial.job = job.name and state = 'ended') as trials_ended,
     (select at_us from event where event.job = job.name order by sequence desc limit 1) as modified_at_us
     from job";

impl Store {
    /// Everything that a coordinator needs to go on where the last one ended.
    pub(crate) async fn recover(&self) -> Result<Recovered, StoreError> {
        let next_number: i64 = sqlx::query_scalar(
            "select 1 + max((select coalesce(max(number), 0) from job),
                            (select coalesce(max(number), 0) from deleted_job))",
        )
        .fetch_one(&self.readers)
        .await
        .map_err(broken("read"))?;
        let ended = "select name from job where status in ('completed', 'failed', 'stopped')";
        Ok(Recovered {
            active: active_jobs(&self.readers).await?,
            ended: names(&self.readers, ended).await?,
            deleted: names(&self.readers, "select name from deleted_job").await?,
            next_number: uncount(next_number),
            agents: agents(&self.readers).await?,
            own_prices: own_prices(&self.readers).await?,
        })
    }

    /// Jobs at a glance, newest first.
    pub(crate) async fn jobs(&self, query: &JobQuery) -> Result<Vec<JobSummary>, StoreError> {
        let wanted = "where ($1 is null or number < $1) and ($2 is null or status = $2)
             and instr(name, $3) > 0
             and ($5 = '' or instr(spec_json ->> '$.model.name', $5) > 0)
             and ($6 = '' or exists (select 1 from json_each(plan_json, '$.plan.candidates')
                                     where json_each.value ->> '$.instance_type' = $6))
             order by number desc limit $4";
        let rows = sqlx::query(AssertSqlSafe(format!("{SUMMARIES} {wanted}")))
            .bind(query.before_number.map(count))
            .bind(query.status.map(JobStatus::word))
            .bind(&query.name_contains)
            .bind(query.limit)
            .bind(&query.model_contains)
            .bind(&query.instance_type)
            .fetch_all(&self.readers)
            .await
            .map_err(broken("read jobs from"))?;
        rows.iter().map(job_summary).collect()
    }

    /// One job at a glance.
    pub(crate) async fn job(&self, name: &JobName) -> Result<Option<JobSummary>, StoreError> {
        let row = sqlx::query(AssertSqlSafe(format!("{SUMMARIES} where name = $1")))
            .bind(name.as_str())
            .fetch_optional(&self.readers)
            .await
            .map_err(broken("read a job from"))?;
        row.as_ref().map(job_summary).transpose()
    }

    /// Everything that a job's report is made of; its steps come without their histograms.
    pub(crate) async fn job_facts(&self, name: &JobName) -> Result<Option<JobFacts>, StoreError> {
        let Some(summary) = self.job(name).await? else {
            return Ok(None);
        };
        let mut steps = steps_of(&self.readers, name).await?;
        let facts = |record: TrialRecord| {
            let facts = TrialFacts {
                end: record.trial.end().cloned(),
                steps: steps.remove(&record.id).unwrap_or_default(),
                repeats: record.trial.repeats,
            };
            (record.id, facts)
        };
        let trials = trials_of(&self.readers, name).await?.into_iter().map(facts).collect();
        let Planned { mut plan, prices } = summary.planned.unwrap_or_default();
        plan.trials = planned_trials(&self.readers, name).await?;
        let reason = Some(summary.reason).filter(|reason| !reason.is_empty());
        Ok(Some(JobFacts {
            spec: summary.spec,
            status: summary.status,
            created_at: summary.created_at,
            finished_at: summary.finished_at,
            plan,
            trials,
            prices,
            warnings: reason.into_iter().collect(),
        }))
    }

    /// The histograms of the steps that count, by trial and the step's index; of one trial alone if that is all that
    /// is wanted.
    pub(crate) async fn histograms(
        &self,
        job: &JobName,
        trial: Option<&TrialId>,
    ) -> Result<Histograms, StoreError> {
        let rows = sqlx::query(
            "select step.trial, step.step_index, step.histogram from step
             join trial on trial.id = step.trial and trial.run_token = step.lease_token
             where trial.job = $1 and ($2 is null or trial.id = $2) and step.histogram is not null",
        )
        .bind(job.as_str())
        .bind(trial.map(TrialId::as_str))
        .fetch_all(&self.readers)
        .await
        .map_err(broken("read steps from"))?;
        let histogram = |row: &SqliteRow| {
            let trial = parse("a trial id", column(row, "trial")?)?;
            Ok(((trial, column(row, "step_index")?), column(row, "histogram")?))
        };
        rows.iter().map(histogram).collect()
    }

    /// Whether any job refers to a file.
    pub(crate) async fn needs(&self, file: &Sha256) -> Result<bool, StoreError> {
        sqlx::query_scalar(
            "select exists (select 1 from job
             where $1 in (spec_json ->> '$.model.sha256', spec_json ->> '$.payload.artifact.sha256',
                          spec_json ->> '$.load.recorded.artifact.sha256'))",
        )
        .bind(file.as_str())
        .fetch_one(&self.readers)
        .await
        .map_err(broken("read jobs from"))
    }

    /// A file that was stored, whether a job refers to it or not.
    pub(crate) async fn artifact(
        &self,
        sha256: &Sha256,
    ) -> Result<Option<ArtifactRef>, StoreError> {
        let row = sqlx::query("select name, size_bytes from artifact where sha256 = $1")
            .bind(sha256.as_str())
            .fetch_optional(&self.readers)
            .await
            .map_err(broken("read an artifact from"))?;
        let artifact = |row: SqliteRow| {
            Ok(ArtifactRef {
                name: column(&row, "name")?,
                sha256: sha256.clone(),
                size_bytes: Bytes::new(uncount(column(&row, "size_bytes")?)),
            })
        };
        row.map(artifact).transpose()
    }

    /// Models that jobs refer to, the one of the newest job first, each once.
    pub(crate) async fn known_models(&self, limit: u32) -> Result<Vec<ArtifactRef>, StoreError> {
        let models: Vec<String> = sqlx::query_scalar(
            "select spec_json -> '$.model' from job where spec_json ->> '$.model.sha256' <> ''
             group by spec_json ->> '$.model.sha256' order by max(number) desc limit $1",
        )
        .bind(limit)
        .fetch_all(&self.readers)
        .await
        .map_err(broken("read jobs from"))?;
        models.iter().map(|model| from_json("a model", model)).collect()
    }

    /// The sequence number of the last entry in a job's record; 0 without any.
    pub(crate) async fn last_event(&self, job: &JobName) -> Result<u64, StoreError> {
        let last: i64 =
            sqlx::query_scalar("select coalesce(max(sequence), 0) from event where job = $1")
                .bind(job.as_str())
                .fetch_one(&self.readers)
                .await
                .map_err(broken("read events from"))?;
        Ok(last.unsigned_abs())
    }

    /// The record of a job after a sequence number, at most `limit` entries, ascending.
    pub(crate) async fn events(
        &self,
        job: &JobName,
        after: u64,
        limit: u32,
    ) -> Result<Vec<JobEvent>, StoreError> {
        let rows = sqlx::query(
            "select event.sequence, event.at_us, event.event_json, event.step_trial,
                    step.result, step.histogram
             from event left join step on step.trial = event.step_trial
               and step.lease_token = event.step_token and step.step_index = event.step_index
             where event.job = $1 and event.sequence > $2 order by event.sequence limit $3",
        )
        .bind(job.as_str())
        .bind(count(after))
        .bind(limit)
        .fetch_all(&self.readers)
        .await
        .map_err(broken("read events from"))?;
        rows.iter().map(event).collect()
    }
}

async fn names(db: &SqlitePool, sql: &'static str) -> Result<BTreeSet<JobName>, StoreError> {
    let names: Vec<String> =
        sqlx::query_scalar(sql).fetch_all(db).await.map_err(broken("read jobs from"))?;
    names.iter().map(|name| parse("a job name", name)).collect()
}

async fn active_jobs(db: &SqlitePool) -> Result<Vec<RecoveredJob>, StoreError> {
    let rows = sqlx::query(
        "select job.*, (select coalesce(max(sequence), 0) from event where event.job = job.name)
                as last_sequence
         from job where status not in ('completed', 'failed', 'stopped') order by number",
    )
    .fetch_all(db)
    .await
    .map_err(broken("read jobs from"))?;
    let mut jobs = Vec::with_capacity(rows.len());
    for row in rows {
        let mut record = job_record(&row)?;
        if let Some(planned) = &mut record.planned {
            planned.plan.trials = planned_trials(db, &record.spec.name).await?;
        }
        let mut trials = Vec::new();
        for trial in trials_of(db, &record.spec.name).await? {
            let reported = reported_steps(db, &trial).await?;
            trials.push((trial, reported));
        }
        let last_sequence = uncount(column(&row, "last_sequence")?);
        jobs.push(RecoveredJob { record, trials, last_sequence });
    }
    Ok(jobs)
}

pub(super) fn job_record(row: &SqliteRow) -> Result<JobRecord, StoreError> {
    Ok(JobRecord {
        number: uncount(column(row, "number")?),
        spec: from_json("a job specification", column(row, "spec_json")?)?,
        created_at: timestamp(column(row, "created_at_us")?)?,
        state: from_json("a job state", column(row, "state_json")?)?,
        reason: column(row, "reason")?,
        planned: from_json("a plan", column(row, "plan_json")?)?,
    })
}

/// In the order of their plan.
pub(super) async fn trials_of(
    db: &SqlitePool,
    job: &JobName,
) -> Result<Vec<TrialRecord>, StoreError> {
    let rows =
        sqlx::query("select id, state_json, run_token from trial where job = $1 order by rowid")
            .bind(job.as_str())
            .fetch_all(db)
            .await
            .map_err(broken("read trials from"))?;
    rows.iter().map(trial_record).collect()
}

/// In the order of the plan.
pub(super) async fn planned_trials(
    db: &SqlitePool,
    job: &JobName,
) -> Result<Vec<PlannedTrial>, StoreError> {
    let sql = "select planned_json from trial where job = $1 order by rowid";
    let trials: Vec<String> = sqlx::query_scalar(sql)
        .bind(job.as_str())
        .fetch_all(db)
        .await
        .map_err(broken("read trials from"))?;
    trials.iter().map(|trial| from_json("a planned trial", trial)).collect()
}

pub(super) fn trial_record(row: &SqliteRow) -> Result<TrialRecord, StoreError> {
    let run: Option<String> = column(row, "run_token")?;
    Ok(TrialRecord {
        id: parse("a trial id", column(row, "id")?)?,
        trial: from_json("a trial state", column(row, "state_json")?)?,
        run: run.map(|token| parse("a lease token", &token)).transpose()?,
    })
}

async fn reported_steps(
    db: &SqlitePool,
    trial: &TrialRecord,
) -> Result<Vec<StepResult>, StoreError> {
    let steps: Vec<Vec<u8>> = sqlx::query_scalar(
        "select result from step where trial = $1 and lease_token = $2 order by step_index",
    )
    .bind(trial.id.as_str())
    .bind(trial.run.as_ref().map(LeaseToken::as_str))
    .fetch_all(db)
    .await
    .map_err(broken("read steps from"))?;
    steps.iter().map(|step| from_message::<v1::StepResult, _>("a step", step)).collect()
}

async fn agents(db: &SqlitePool) -> Result<Vec<AgentRecord>, StoreError> {
    let rows = sqlx::query("select * from agent order by name")
        .fetch_all(db)
        .await
        .map_err(broken("read agents from"))?;
    let agent = |row: &SqliteRow| {
        Ok(AgentRecord {
            facts: from_json("an agent", column(row, "facts_json")?)?,
            draining: column(row, "draining")?,
            last_seen_at: timestamp(column(row, "last_seen_at_us")?)?,
        })
    };
    rows.iter().map(agent).collect()
}

async fn own_prices(db: &SqlitePool) -> Result<Vec<PriceRow>, StoreError> {
    let rows = sqlx::query("select * from own_price order by rowid")
        .fetch_all(db)
        .await
        .map_err(broken("read prices from"))?;
    let price = |row: &SqliteRow| {
        Ok(PriceRow {
            instance_type: parse("an instance type", column(row, "instance_type")?)?,
            region: column(row, "region")?,
            usd_per_hour: PricePerHour::from_pico_usd(uncount(column(row, "pico_usd_per_hour")?)),
            source: column(row, "source")?,
            as_of: column(row, "as_of")?,
        })
    };
    rows.iter().map(price).collect()
}

fn job_summary(row: &SqliteRow) -> Result<JobSummary, StoreError> {
    let finished_at: Option<i64> = column(row, "finished_at_us")?;
    let recommended: Option<String> = column(row, "recommended_json")?;
    let modified_at: Option<i64> = column(row, "modified_at_us")?;
    let record = job_record(row)?;
    Ok(JobSummary {
        number: record.number,
        status: record.state.status(),
        state: record.state,
        modified_at: modified_at.map_or(Ok(record.created_at), timestamp)?,
        reason: record.reason,
        created_at: record.created_at,
        finished_at: finished_at.map(timestamp).transpose()?,
        planned: record.planned,
        spec: record.spec,
        trials_total: column(row, "trials_total")?,
        trials_ended: column(row, "trials_ended")?,
        recommended: recommended.map(|text| from_json("a recommendation", &text)).transpose()?,
    })
}

/// The steps that count, by trial, in order, without their histograms.
async fn steps_of(
    db: &SqlitePool,
    job: &JobName,
) -> Result<BTreeMap<TrialId, Vec<StepResult>>, StoreError> {
    let rows = sqlx::query(
        "select step.trial, step.result from step
         join trial on trial.id = step.trial and trial.run_token = step.lease_token
         where trial.job = $1 order by step.trial, step.step_index",
    )
    .bind(job.as_str())
    .fetch_all(db)
    .await
    .map_err(broken("read steps from"))?;
    let mut steps: BTreeMap<TrialId, Vec<StepResult>> = BTreeMap::new();
    for row in rows {
        let trial = parse("a trial id", column(&row, "trial")?)?;
        let step = from_message::<v1::StepResult, _>("a step", column(&row, "result")?)?;
        steps.entry(trial).or_default().push(step);
    }
    Ok(steps)
}

pub(super) fn step(row: &SqliteRow) -> Result<StepResult, StoreError> {
    let mut step: StepResult = from_message::<v1::StepResult, _>("a step", column(row, "result")?)?;
    let histogram: Option<Vec<u8>> = column(row, "histogram")?;
    step.histogram = histogram.unwrap_or_default();
    Ok(step)
}

fn event(row: &SqliteRow) -> Result<JobEvent, StoreError> {
    let text: Option<String> = column(row, "event_json")?;
    let what = match text {
        Some(text) => from_json("an event", &text)?,
        None => Happening::StepFinished {
            trial: parse("a trial id", column(row, "step_trial")?)?,
            step: Box::new(step(row)?),
        },
    };
    Ok(JobEvent {
        sequence: uncount(column(row, "sequence")?),
        at: timestamp(column(row, "at_us")?)?,
        what,
    })
}
