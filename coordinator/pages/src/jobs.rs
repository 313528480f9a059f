//! The list of jobs.

use askama::Template;
use assay_measure::job::JobStatus;
use jiff::Timestamp;

use crate::{filters, frame::Frame};

/// One job of the list.
#[derive(Clone, Debug)]
pub struct JobRow {
    pub name: String,
    /// Of its page.
    pub path: String,
    pub status: JobStatus,
    /// The model's file, or the endpoint.
    pub about: String,
    pub created_at: Timestamp,
    pub trials_total: u32,
    pub trials_ended: u32,
    /// The best candidate, once the job has ended.
    pub recommended: Option<String>,
    pub usd_per_million: Option<f64>,
    /// What it waits for, or why it failed; may be empty.
    pub reason: String,
}

/// Which jobs are shown.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    pub name_contains: String,
    pub status: Option<JobStatus>,
    pub model_contains: String,
    pub instance_type: String,
}

impl Filter {
    fn is_set(&self) -> bool {
        let texts = [&self.name_contains, &self.model_contains, &self.instance_type];
        self.status.is_some() || texts.iter().any(|text| !text.is_empty())
    }

    fn wants(&self, status: &JobStatus) -> bool {
        self.status.as_ref() == Some(status)
    }
}

/// The list of jobs, newest first.
#[derive(Clone, Debug, Template)]
#[template(path = "jobs.html")]
pub struct Jobs {
    pub frame: Frame,
    pub rows: Vec<JobRow>,
    pub filter: Filter,
    /// The path of the page with older jobs.
    pub next: Option<String>,
    /// How many agents are connected.
    pub agents: usize,
    /// The flags with which agents and clients reach this coordinator.
    pub reached_by: String,
}
