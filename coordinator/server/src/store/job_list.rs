//! Jobs as the SageMaker API lists them: filtered, sorted and paged by the store, each with the request it came from.
//!
//! Plans and reports stay where they are: a list of a hundred jobs reads a hundred short rows.

use assay_measure::ids::JobName;
use assay_planning::job_state::JobState;
use assay_sagemaker::shapes::{
    jobs::{JobSortKey, RecommendationJobStatus},
    lists::SortOrder,
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sqlx::{AssertSqlSafe, sqlite::SqliteRow};

use super::{
    Store, StoreError, TrialRecord, broken,
    read::trial_record,
    registry::Kind,
    row::{column, from_json, micros, timestamp},
};

/// Which jobs to list, and in which order.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct JobListQuery {
    pub(crate) created_after: Option<Timestamp>,
    pub(crate) created_before: Option<Timestamp>,
    pub(crate) modified_after: Option<Timestamp>,
    pub(crate) modified_before: Option<Timestamp>,
    pub(crate) name_contains: Option<String>,
    pub(crate) status: Option<RecommendationJobStatus>,
    pub(crate) model_name: Option<String>,
    pub(crate) package_arn: Option<String>,
    pub(crate) sort_by: JobSortKey,
    pub(crate) order: SortOrder,
    /// The last entry of the page before; not a part of what makes two queries the same.
    #[serde(skip)]
    pub(crate) after: Option<JobPosition>,
    #[serde(skip)]
    pub(crate) limit: usize,
}

impl JobListQuery {
    pub(crate) const fn all() -> Self {
        Self {
            created_after: None,
            created_before: None,
            modified_after: None,
            modified_before: None,
            name_contains: None,
            status: None,
            model_name: None,
            package_arn: None,
            sort_by: JobSortKey::Name,
            order: SortOrder::Ascending,
            after: None,
            limit: usize::MAX,
        }
    }
}

/// The last entry of a page.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct JobPosition {
    pub(crate) key: String,
    /// Tells entries with the same key apart.
    pub(crate) number: i64,
}

/// A job in a list.
#[derive(Clone, Debug)]
pub(crate) struct JobLine {
    pub(crate) name: String,
    pub(crate) position: JobPosition,
    pub(crate) state: JobState,
    pub(crate) reason: String,
    pub(crate) created_at: Timestamp,
    pub(crate) modified_at: Timestamp,
    pub(crate) finished_at: Option<Timestamp>,
    pub(crate) model: String,
    /// What the job was created with through the SageMaker API; absent for other jobs.
    pub(crate) intake: Option<Value>,
}

/// When something last happened to a job.
const MODIFIED_AT: &str = "coalesce((select at_us from event where event.job = job.name \
     order by sequence desc limit 1), job.created_at_us)";

/// A job's status in SageMaker's words: a job whose time is up is still in progress.
const STATUS: &str = "case when status = 'running' then 'IN_PROGRESS' \
     when status = 'stopping' and state_json ->> '$.why' = 'time_up' then 'IN_PROGRESS' \
     else upper(status) end";

impl Store {
    /// Jobs as the SageMaker API lists them.
    pub(crate) async fn job_list(&self, query: &JobListQuery) -> Result<Vec<JobLine>, StoreError> {
        let after = query.after.as_ref();
        let rows = sqlx::query(AssertSqlSafe(select(query)))
            .bind(Kind::Job.word())
            .bind(query.created_after.map(micros))
            .bind(query.created_before.map(micros))
            .bind(query.modified_after.map(micros))
            .bind(query.modified_before.map(micros))
            .bind(query.name_contains.as_deref())
            .bind(query.status.map(RecommendationJobStatus::word))
            .bind(query.model_name.as_deref())
            .bind(query.package_arn.as_deref())
            .bind(after.map(|position| position.number))
            .bind(after.map(|position| position.key.as_str()))
            .bind(i64::try_from(query.limit).unwrap_or(i64::MAX))
            .fetch_all(&self.readers)
            .await
            .map_err(broken("read jobs from"))?;
        rows.iter().map(line).collect()
    }

    /// The trials of a job, in the order of its plan, each with when its last run began.
    pub(crate) async fn trials(
        &self,
        job: &JobName,
    ) -> Result<Vec<(TrialRecord, Option<Timestamp>)>, StoreError> {
        let rows = sqlx::query(
            "select id, state_json, run_token,
                    (select max(at_us) from event where event.job = trial.job
                       and event_json ->> '$.happening' = 'trial_started'
                       and event_json ->> '$.trial.id' = trial.id) as began_at_us
             from trial where job = $1 order by rowid",
        )
        .bind(job.as_str())
        .fetch_all(&self.readers)
        .await
        .map_err(broken("read trials from"))?;
        let trial = |row: &SqliteRow| {
            let began_at: Option<i64> = column(row, "began_at_us")?;
            Ok((trial_record(row)?, began_at.map(timestamp).transpose()?))
        };
        rows.iter().map(trial).collect()
    }
}

/// Only words of this file go into the text; every value is bound. Keys are compared as text: microseconds of
/// our century all have as many digits.
fn select(query: &JobListQuery) -> String {
    let (comparison, direction) = match query.order {
        SortOrder::Ascending => (">", "asc"),
        SortOrder::Descending => ("<", "desc"),
    };
    let key = match query.sort_by {
        JobSortKey::Name => "name",
        JobSortKey::CreationTime => "cast(created_at_us as text)",
        JobSortKey::Status => "status_word",
    };
    // Only the names of the page are sorted: what a page shows is read for its entries alone.
    format!(
        "with page as (
             select job.number as page_number, {key} as sort_key
             from (select *, {STATUS} as status_word from job) as job
             where ($2 is null or created_at_us > $2) and ($3 is null or created_at_us < $3)
               and ($4 is null or {MODIFIED_AT} > $4) and ($5 is null or {MODIFIED_AT} < $5)
               and ($6 is null or instr(name, $6) > 0)
               and ($7 is null or status_word = $7)
               and ($8 is null or {model_name} = $8)
               and ($9 is null or {package_arn} = $9)
               and ($10 is null or ({key}, number) {comparison} ($11, $10))
             order by sort_key {direction}, number {direction} limit $12)
         select sort_key, job.name, job.number, job.created_at_us, job.finished_at_us, job.reason,
                job.state_json, coalesce(job.spec_json ->> '$.model.name', '') as model,
                {MODIFIED_AT} as modified_at_us, aws_resource.document_json as intake_json
         from page join job on job.number = page_number
         left join aws_resource on aws_resource.kind = $1 and aws_resource.name = job.name
         order by sort_key {direction}, job.number {direction}",
        model_name = requested("ModelName"),
        package_arn = requested("ModelPackageVersionArn"),
    )
}

/// What the request behind a job says of its input.
fn requested(member: &str) -> String {
    format!(
        "(select document_json ->> '$.request.InputConfig.{member}' from aws_resource
          where kind = $1 and aws_resource.name = job.name)"
    )
}

fn line(row: &SqliteRow) -> Result<JobLine, StoreError> {
    let finished_at: Option<i64> = column(row, "finished_at_us")?;
    let intake: Option<String> = column(row, "intake_json")?;
    Ok(JobLine {
        name: column(row, "name")?,
        position: JobPosition { key: column(row, "sort_key")?, number: column(row, "number")? },
        state: from_json("a job state", column(row, "state_json")?)?,
        reason: column(row, "reason")?,
        created_at: timestamp(column(row, "created_at_us")?)?,
        modified_at: timestamp(column(row, "modified_at_us")?)?,
        finished_at: finished_at.map(timestamp).transpose()?,
        model: column(row, "model")?,
        intake: intake.map(|text| from_json("a request for a job", &text)).transpose()?,
    })
}
