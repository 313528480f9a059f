//! The registry: groups of models, their versions, and the jobs that say which machine should serve one.

use askama::Template;
use assay_measure::job::JobStatus;
use jiff::Timestamp;

use crate::{filters, frame::Frame};

/// A group of versions.
#[derive(Clone, Debug)]
pub struct GroupRow {
    pub name: String,
    pub description: String,
    pub created_at: Timestamp,
    pub versions: u64,
    /// Absent without any.
    pub latest: Option<u32>,
}

/// A version in a group, or a package without versions.
#[derive(Clone, Debug)]
pub struct VersionRow {
    /// Within its group.
    pub label: String,
    /// Of its page.
    pub path: String,
    pub description: String,
    /// `Approved`, `Rejected` or `PendingManualApproval`, where somebody is to say.
    pub approval: Option<&'static str>,
    pub created_at: Timestamp,
}

/// All groups, and packages that are in none.
#[derive(Clone, Debug, Template)]
#[template(path = "models.html")]
pub struct Models {
    pub frame: Frame,
    pub groups: Vec<GroupRow>,
    pub packages: Vec<VersionRow>,
    /// There are more than are shown.
    pub more: bool,
    pub name_contains: String,
    /// What clients of the SageMaker API are told to ask.
    pub endpoint_url: String,
}

/// One group.
#[derive(Clone, Debug, Template)]
#[template(path = "model_group.html")]
pub struct Group {
    pub frame: Frame,
    pub name: String,
    pub description: String,
    pub versions: Vec<VersionRow>,
    /// There are more than are shown.
    pub more: bool,
}

/// A job that measured a version.
#[derive(Clone, Debug)]
pub struct VersionJob {
    pub name: String,
    /// Of its page.
    pub path: String,
    pub status: JobStatus,
    pub created_at: Timestamp,
}

/// What is asked for with *Get recommendations*, as it was typed.
#[derive(Clone, Debug, Default)]
pub struct Asked {
    pub job_name: String,
    pub payload_url: String,
    pub content_type: String,
    /// With commas between; empty is what the version supports.
    pub instance_types: String,
    /// Why it could not be done; empty before anybody has tried.
    pub error: String,
}

/// One version.
#[derive(Clone, Debug, Template)]
#[template(path = "model_version.html")]
pub struct Version {
    pub frame: Frame,
    /// The group that it is in, if any.
    pub group: Option<String>,
    pub label: String,
    pub path: String,
    pub arn: String,
    /// What is known of it, in the registry's words.
    pub facts: Vec<(&'static str, String)>,
    /// It names a sample of what is sent to it.
    pub has_payload: bool,
    pub asked: Asked,
    pub jobs: Vec<VersionJob>,
}

/// Of a group's page. Names hold nothing that a URL would read otherwise.
#[must_use]
pub fn group_path(name: &str) -> String {
    format!("/models/{name}")
}
