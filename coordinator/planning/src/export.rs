//! A report as CSV, Markdown or JSON lines.

use crate::report::JobReport;

/// One row per candidate, in the order ranking, rejected, failed.
///
/// # Errors
/// When the CSV writer fails, which memory does not.
pub fn csv(report: &JobReport) -> Result<String, csv::Error> {
    todo!("{report:?}")
}

/// A table of the ranking, then what was rejected and failed, then warnings.
#[must_use]
pub fn markdown(report: &JobReport) -> String {
    todo!("{report:?}")
}

/// One candidate per line, each with the field `list` (`ranking`, `rejected` or `failed`) and `job`.
///
/// # Errors
/// When a figure cannot be written as JSON.
pub fn jsonl(report: &JobReport) -> Result<String, serde_json::Error> {
    todo!("{report:?}")
}
