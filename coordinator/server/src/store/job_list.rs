//! Jobs as the SageMaker API lists them: filtered, sorted and paged by the store, each with the request it came from.
//!
//! Plans and reports stay where they are: a list of a hundred jobs reads a hundred short rows.

use assay_planning::job_state::JobState;
use assay_sagemaker::shapes::{
    jobs::{JobSortKey, RecommendationJobStatus},
    lists::SortOrder,
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

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
