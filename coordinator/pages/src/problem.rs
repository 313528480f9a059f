//! What is shown when a page cannot be.

use askama::Template;

use crate::{filters, frame::Frame};

/// An error's page.
#[derive(Clone, Debug, Template)]
#[template(path = "problem.html")]
pub struct Problem {
    pub frame: Frame,
    pub title: &'static str,
    /// What went wrong; may be empty.
    pub what: String,
    /// What can be done about it; may be empty.
    pub hint: String,
    /// The HTTP status.
    pub status: u16,
    pub request_id: String,
}
