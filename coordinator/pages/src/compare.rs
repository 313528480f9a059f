//! Two jobs held against each other.

use askama::Template;
use assay_planning::{compare::Comparison, report::JobReport};

use crate::{drawings, filters, frame::Frame};

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
    Compared(Box<Compared>),
}

/// A comparison with its drawings.
#[derive(Clone, Debug)]
pub struct Compared {
    comparison: Comparison,
    /// The load curves of each candidate, as far as there are any.
    curves: Vec<Option<String>>,
}

impl Compared {
    /// Of these two reports.
    #[must_use]
    pub fn new(comparison: Comparison, base: &JobReport, new: &JobReport) -> Self {
        let curves = comparison.candidates.iter();
        let curves = curves.map(|one| drawings::of_both(base, new, &one.candidate)).collect();
        Self { comparison, curves }
    }
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
