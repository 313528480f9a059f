//! Changes as SQL. Each statement may be applied twice.

use assay_measure::{
    ids::{AgentName, JobName, LeaseToken, Sha256, TrialId},
    job::JobSpec,
    outcome::StepResult,
    trial::ArtifactRef,
};
use assay_planning::{job_state::JobState, planner::PlannedTrial, price_file::PriceRow};
use assay_proto::v1;
use jiff::Timestamp;
use prost::Message;
use sqlx::SqliteConnection;

use super::{
    AgentRecord, Change, JobRecord, Planned, Recommended, StoreError, TrialRecord,
    row::{count, execute, json, micros},
};
use crate::job_event::JobEvent;

pub(super) async fn apply(db: &mut SqliteConnection, change: Change) -> Result<(), StoreError> {
    match change {
        Change::JobCreated(record) => create_job(db, &record).await,
        Change::JobSupplied { spec } => supply_job(db, &spec).await,
        Change::JobPlanned { job, planned, trials } => {
            plan_job(db, &job, &planned).await?;
            for (planned, record) in &trials {
                add_trial(db, planned, record).await?;
            }
            Ok(())
        }
        Change::JobMoved { job, state, reason, recommended } => {
            move_job(db, &job, &state, &reason, recommended.as_ref()).await
        }
        Change::JobDeleted { job, at } => delete_job(db, &job, at).await,
        Change::TrialMoved(record) => move_trial(db, &record).await,
        Change::StepFinished { trial, token, step, at, sequence } => {
            put_step_event(db, (&trial, &token, step.index), at, sequence).await?;
            put_step(db, &trial, &token, *step).await
        }
        Change::Happened { job, event } => put_event(db, &job, &event).await,
        Change::AgentChanged(record) => put_agent(db, &record).await,
        Change::AgentForgotten(name) => forget_agent(db, &name).await,
        Change::OwnPriceSet(row) => put_price(db, &row).await,
        Change::ArtifactStored { artifact, at } => put_artifact(db, &artifact, at).await,
        Change::ArtifactRemoved(sha256) => remove_artifact(db, &sha256).await,
    }
}

async fn create_job(db: &mut SqliteConnection, record: &JobRecord) -> Result<(), StoreError> {
    let query = sqlx::query(
        "insert into job (name, number, created_at_us, status, reason, spec_json, state_json, plan_json)
         values ($1, $2, $3, $4, $5, $6, $7, $8) on conflict (name) do nothing",
    )
    .bind(record.spec.name.as_str())
    .bind(count(record.number))
    .bind(micros(record.created_at))
    .bind(record.state.status().word())
    .bind(&record.reason)
    .bind(json("job specification", &record.spec)?)
    .bind(json("job state", &record.state)?)
    .bind(json("plan", &record.planned)?);
    execute(db, "write a job to", query).await
}

async fn supply_job(db: &mut SqliteConnection, spec: &JobSpec) -> Result<(), StoreError> {
    let query = sqlx::query("update job set spec_json = $2 where name = $1")
        .bind(spec.name.as_str())
        .bind(json("job specification", spec)?);
    execute(db, "write a job to", query).await
}

async fn plan_job(
    db: &mut SqliteConnection,
    job: &JobName,
    planned: &Planned,
) -> Result<(), StoreError> {
    let query = sqlx::query("update job set plan_json = $2 where name = $1")
        .bind(job.as_str())
        .bind(json("plan", &Some(planned))?);
    execute(db, "write a plan to", query).await
}

async fn move_job(
    db: &mut SqliteConnection,
    job: &JobName,
    state: &JobState,
    reason: &str,
    recommended: Option<&Recommended>,
) -> Result<(), StoreError> {
    let recommended =
        recommended.map(|recommended| json("recommendation", recommended)).transpose()?;
    let query = sqlx::query(
        "update job set status = $2, reason = $3, state_json = $4, finished_at_us = $5,
         recommended_json = $6 where name = $1",
    )
    .bind(job.as_str())
    .bind(state.status().word())
    .bind(reason)
    .bind(json("job state", state)?)
    .bind(state.finished_at().map(micros))
    .bind(recommended);
    execute(db, "write a job to", query).await
}

async fn delete_job(
    db: &mut SqliteConnection,
    job: &JobName,
    at: Timestamp,
) -> Result<(), StoreError> {
    let query = sqlx::query(
        "insert into deleted_job (name, number, deleted_at_us)
         select name, number, $2 from job where name = $1 on conflict do nothing",
    )
    .bind(job.as_str())
    .bind(micros(at));
    execute(db, "delete a job from", query).await?;
    // Trials, steps and events go with it.
    let query = sqlx::query("delete from job where name = $1").bind(job.as_str());
    execute(db, "delete a job from", query).await
}

async fn add_trial(
    db: &mut SqliteConnection,
    planned: &PlannedTrial,
    record: &TrialRecord,
) -> Result<(), StoreError> {
    let query = sqlx::query(
        "insert into trial (id, job, planned_json, state, state_json) values ($1, $2, $3, $4, $5)
         on conflict do nothing",
    )
    .bind(record.id.as_str())
    .bind(record.id.job().as_str())
    .bind(json("planned trial", planned)?)
    .bind(record.trial.word())
    .bind(json("trial state", &record.trial)?);
    execute(db, "write a trial to", query).await?;
    move_trial(db, record).await
}

async fn move_trial(db: &mut SqliteConnection, record: &TrialRecord) -> Result<(), StoreError> {
    let lease = record.trial.lease();
    let query = sqlx::query(
        "update trial set state = $2, state_json = $3, agent = $4, lease_expires_at_us = $5,
         run_token = $6 where id = $1",
    )
    .bind(record.id.as_str())
    .bind(record.trial.word())
    .bind(json("trial state", &record.trial)?)
    .bind(lease.map(|lease| lease.agent().as_str()))
    .bind(lease.map(|lease| micros(lease.expires_at())))
    .bind(record.run.as_ref().map(LeaseToken::as_str));
    execute(db, "write a trial to", query).await
}

async fn put_step(
    db: &mut SqliteConnection,
    trial: &TrialId,
    token: &LeaseToken,
    mut step: StepResult,
) -> Result<(), StoreError> {
    let histogram = std::mem::take(&mut step.histogram);
    let index = step.index;
    let query = sqlx::query(
        "insert into step (trial, lease_token, step_index, result, histogram)
         values ($1, $2, $3, $4, $5) on conflict do nothing",
    )
    .bind(trial.as_str())
    .bind(token.as_str())
    .bind(index)
    .bind(v1::StepResult::from(step).encode_to_vec())
    .bind((!histogram.is_empty()).then_some(histogram));
    execute(db, "write a step to", query).await
}

async fn put_step_event(
    db: &mut SqliteConnection,
    (trial, token, index): (&TrialId, &LeaseToken, u32),
    at: Timestamp,
    sequence: u64,
) -> Result<(), StoreError> {
    let query = sqlx::query(
        "insert into event (job, sequence, at_us, step_trial, step_token, step_index)
         values ($1, $2, $3, $4, $5, $6) on conflict do nothing",
    )
    .bind(trial.job().as_str())
    .bind(count(sequence))
    .bind(micros(at))
    .bind(trial.as_str())
    .bind(token.as_str())
    .bind(index);
    execute(db, "write a step to", query).await
}

async fn put_event(
    db: &mut SqliteConnection,
    job: &JobName,
    event: &JobEvent,
) -> Result<(), StoreError> {
    let query = sqlx::query(
        "insert into event (job, sequence, at_us, event_json) values ($1, $2, $3, $4)
         on conflict do nothing",
    )
    .bind(job.as_str())
    .bind(count(event.sequence))
    .bind(micros(event.at))
    .bind(json("event", &event.what)?);
    execute(db, "write an event to", query).await
}

async fn put_agent(db: &mut SqliteConnection, record: &AgentRecord) -> Result<(), StoreError> {
    let query = sqlx::query(
        "insert into agent (name, facts_json, draining, last_seen_at_us) values ($1, $2, $3, $4)
         on conflict (name) do update set facts_json = excluded.facts_json,
           draining = excluded.draining, last_seen_at_us = excluded.last_seen_at_us",
    )
    .bind(record.facts.name.as_str())
    .bind(json("agent", &record.facts)?)
    .bind(record.draining)
    .bind(micros(record.last_seen_at));
    execute(db, "write an agent to", query).await
}

async fn forget_agent(db: &mut SqliteConnection, name: &AgentName) -> Result<(), StoreError> {
    let query = sqlx::query("delete from agent where name = $1").bind(name.as_str());
    execute(db, "delete an agent from", query).await
}

async fn put_price(db: &mut SqliteConnection, row: &PriceRow) -> Result<(), StoreError> {
    let query = sqlx::query(
        "insert into own_price (instance_type, region, pico_usd_per_hour, source, as_of)
         values ($1, $2, $3, $4, $5)
         on conflict (instance_type, region) do update set
           pico_usd_per_hour = excluded.pico_usd_per_hour, source = excluded.source,
           as_of = excluded.as_of",
    )
    .bind(row.instance_type.as_str())
    .bind(&row.region)
    .bind(count(row.usd_per_hour.pico_usd()))
    .bind(&row.source)
    .bind(&row.as_of);
    execute(db, "write a price to", query).await
}

async fn put_artifact(
    db: &mut SqliteConnection,
    artifact: &ArtifactRef,
    at: Timestamp,
) -> Result<(), StoreError> {
    let query = sqlx::query(
        "insert into artifact (sha256, name, size_bytes, stored_at_us) values ($1, $2, $3, $4)
         on conflict do nothing",
    )
    .bind(artifact.sha256.as_str())
    .bind(&artifact.name)
    .bind(count(artifact.size_bytes.count()))
    .bind(micros(at));
    execute(db, "write an artifact to", query).await
}

async fn remove_artifact(db: &mut SqliteConnection, sha256: &Sha256) -> Result<(), StoreError> {
    let query = sqlx::query("delete from artifact where sha256 = $1").bind(sha256.as_str());
    execute(db, "delete an artifact from", query).await
}
