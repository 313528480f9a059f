//! One candidate: its figures, whether they can be believed, and every step.

use askama::Template;
use assay_planning::report::{Entry, JobReport};

use crate::{
    drawings::{self, Chart},
    filters,
    frame::Frame,
    results::job_path,
};

/// The page of a candidate that a trial measured.
#[derive(Clone, Debug, Template)]
#[template(path = "trial.html")]
pub struct Trial<'a> {
    frame: Frame,
    report: &'a JobReport,
    entry: &'a Entry,
    path: String,
    charts: Vec<Chart>,
}

impl<'a> Trial<'a> {
    #[must_use]
    pub fn new(frame: Frame, report: &'a JobReport, entry: &'a Entry) -> Self {
        Self {
            frame,
            report,
            entry,
            path: job_path(&report.name),
            charts: drawings::of_entry(report, entry),
        }
    }
}
