//! Two jobs held against each other.

use askama::Template;
use assay_planning::compare::Comparison;

use crate::{filters, frame::Frame};

/// What came of it.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// No two jobs were named.
    Nothing,
    /// They were measured under other conditions.
    Unlike {
        text: String,
        /// The path that compares them all the same, where that says anything.
        allow: Option<String>,
    },
    Compared(Box<Comparison>),
}

#[derive(Clone, Debug, Template)]
#[template(path = "compare.html")]
pub struct Compare {
    pub frame: Frame,
    /// Names of the jobs; may be empty.
    pub a: String,
    pub b: String,
    pub outcome: Outcome,
}
