//! What the SageMaker API keeps: models, model packages and their groups, the requests behind jobs, tags.
//!
//! Resources carry their document as the API wrote it; whatever is searched, sorted or must be unique stands
//! beside it. Each call is one transaction, so requests that come at the same time see each other whole.

use assay_sagemaker::shapes::{
    lists::{SortKey, SortOrder},
    packages::ApprovalStatus,
    tags::Tag,
};
use async_trait::async_trait;
use jiff::Timestamp;
use serde_json::Value;

use crate::store::StoreError;

/// Where the API's own resources are kept.
#[async_trait]
pub(crate) trait Registry: Send + Sync + 'static {
    async fn add(&self, new: NewResource) -> Result<Added, StoreError>;
    async fn resource(&self, kind: Kind, name: &str) -> Result<Option<Resource>, StoreError>;
    /// Resources of one kind, in order.
    async fn resources(&self, query: &ResourceQuery) -> Result<Vec<Resource>, StoreError>;
    /// Changes a resource, unless it was changed or removed since it was read: then `false`.
    async fn change(&self, changed: &Resource) -> Result<bool, StoreError>;
    /// Removes a resource with its tags.
    async fn remove(&self, kind: Kind, name: &str) -> Result<Removed, StoreError>;
    /// The last completed job of this API that measured what lies at a URL.
    async fn last_job_of(&self, model_url: &str) -> Result<Option<String>, StoreError>;
    /// The tags of `<kind>/<name>`, by key.
    async fn tags(&self, resource: &str) -> Result<Vec<Tag>, StoreError>;
    /// Sets tags and gives all of them; `None`, and nothing is set, when that were more than `most`.
    async fn put_tags(
        &self,
        resource: &str,
        tags: &[Tag],
        most: usize,
    ) -> Result<Option<Vec<Tag>>, StoreError>;
    /// Removes tags; those that are not there are no matter.
    async fn remove_tags(&self, resource: &str, keys: &[String]) -> Result<(), StoreError>;
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    Model,
    /// A group of model packages.
    Group,
    /// A model package, or a version of one in a group.
    Package,
    /// What was asked of a recommendation job.
    Job,
}

impl Kind {
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Model => "model",
            Self::Group => "model-package-group",
            Self::Package => "model-package",
            Self::Job => "inference-recommendations-job",
        }
    }
}

/// A resource to be added.
#[derive(Clone, Debug)]
pub(crate) struct NewResource {
    pub(crate) kind: Kind,
    pub(crate) name: NewName,
    pub(crate) created_at: Timestamp,
    pub(crate) approval: Option<ApprovalStatus>,
    /// Of a request that may come twice.
    pub(crate) once: Option<Once>,
    pub(crate) document: Value,
    pub(crate) tags: Vec<Tag>,
}

/// What it is going to be called.
#[derive(Clone, Debug)]
pub(crate) enum NewName {
    Given(String),
    /// `<group>/<the group's next version>`.
    VersionOf(String),
}

/// Tells a request that comes again from another one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Once {
    pub(crate) token: String,
    pub(crate) request_sha256: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Added {
    /// It is there now, under this name.
    New(String),
    /// The same request came before; this is what it added.
    Before(String),
    NameTaken,
    /// There is no such group.
    NoGroup,
    /// The client's token came with another request.
    TokenReused,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Removed {
    Gone,
    NotThere,
    /// Packages are in the group.
    NotEmpty,
}

/// A resource as it is kept.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Resource {
    pub(crate) kind: Kind,
    pub(crate) name: String,
    /// Counts resources in order of creation.
    pub(crate) number: i64,
    pub(crate) created_at: Timestamp,
    pub(crate) modified_at: Timestamp,
    pub(crate) revision: i64,
    pub(crate) version_of: Option<(String, u32)>,
    pub(crate) approval: Option<ApprovalStatus>,
    pub(crate) document: Value,
}

impl Resource {
    /// What lists by name are sorted by.
    pub(crate) fn label(&self) -> &str {
        self.version_of.as_ref().map_or(&self.name, |(group, _)| group)
    }
}

#[derive(Clone, Debug)]
pub(crate) struct ResourceQuery {
    pub(crate) kind: Kind,
    pub(crate) name_contains: Option<String>,
    pub(crate) created_after: Option<Timestamp>,
    pub(crate) created_before: Option<Timestamp>,
    pub(crate) approval: Option<ApprovalStatus>,
    /// Only versions in this group.
    pub(crate) group: Option<String>,
    /// Only packages in groups, or only those in none.
    pub(crate) versioned: Option<bool>,
    pub(crate) sort_by: SortKey,
    pub(crate) order: SortOrder,
    pub(crate) after: Option<Position>,
    pub(crate) limit: usize,
}

/// The last entry of a page.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub(crate) struct Position {
    pub(crate) label: String,
    pub(crate) created_at: Timestamp,
    pub(crate) number: i64,
}

impl ResourceQuery {
    /// Everything of one kind, oldest first.
    pub(crate) fn all(kind: Kind) -> Self {
        Self {
            kind,
            name_contains: None,
            created_after: None,
            created_before: None,
            approval: None,
            group: None,
            versioned: None,
            sort_by: SortKey::CreationTime,
            order: SortOrder::Ascending,
            after: None,
            limit: usize::MAX,
        }
    }
}
