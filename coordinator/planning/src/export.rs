//! A report as tables, CSV, Markdown or JSON lines.

use std::fmt::Write as _;

use assay_measure::{figures, printable};
use serde::Serialize;

use self::table::{Table, Values};
use crate::report::{Entry, JobReport};

mod choice;
pub mod table;

pub use self::choice::{ExportFormat, ExportTable};

/// A table with a header; a missing figure is an empty field.
///
/// # Errors
/// When the CSV writer fails, which memory does not.
pub fn csv(table: &Table) -> Result<String, csv::Error> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(table.columns.iter().map(|column| column.name))?;
    for row in 0..table.rows {
        let cells = table.columns.iter().map(|column| match &column.values {
            Values::Text(values) => Cell::Text(values[row].as_deref()),
            Values::Real(values) => Cell::Real(values[row]),
            Values::Whole(values) => Cell::Whole(values[row]),
            Values::Flag(values) => Cell::Flag(values[row]),
        });
        writer.serialize(cells.collect::<Vec<_>>())?;
    }
    let bytes = writer.into_inner().map_err(csv::IntoInnerError::into_error)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[derive(Serialize)]
#[serde(untagged)]
enum Cell<'a> {
    Text(Option<&'a str>),
    Real(Option<f64>),
    Whole(Option<u64>),
    Flag(Option<bool>),
}

/// A table of the ranking, then what was rejected and failed, then warnings.
#[must_use]
pub fn markdown(report: &JobReport) -> String {
    let mut text = format!(
        "# {}\n\nModel `{}`, status {}.\n",
        report.name,
        cell(&report.about()),
        report.status
    );
    if !report.ranking.is_empty() {
        text.push_str(
            "\n| # | Instance type | Configuration | Score | $/1M | $/hour | p95 | Max inv/min | CPU | Tied with | Verdict |\n\
             |--:|---|---|--:|--:|--:|--:|--:|--:|---|---|\n",
        );
        for entry in &report.ranking {
            text.push_str(&markdown_row(entry));
        }
        if report.ranking.iter().any(|entry| entry.emulated) {
            text.push_str(
                "\n\\* emulated on another machine: compare shapes with it, not clouds.\n",
            );
        }
    }
    for (title, list) in [("Rejected", &report.rejected), ("Failed", &report.failed)] {
        if !list.is_empty() {
            let _ = write!(text, "\n## {title}\n\n");
        }
        for entry in list {
            let reason = cell(entry.reason.as_deref().unwrap_or("no reason was given"));
            let _ = writeln!(text, "- {}: {reason}", described(entry));
        }
    }
    let recommendation = match (report.recommendation(), &report.no_recommendation_reason) {
        (Some(best), _) => described(best),
        (None, Some(reason)) => format!("none: {}", cell(reason)),
        (None, None) => "none".to_owned(),
    };
    let _ = write!(text, "\nRecommendation: {recommendation}\n");
    for warning in &report.warnings {
        let _ = write!(text, "\n> warning: {}\n", cell(warning));
    }
    text
}

/// One candidate per line, each with the fields `job` and `list` (`ranking`, `rejected` or `failed`). A
/// job without candidates is one line, with the `list` `job` and the `reason`.
///
/// # Errors
/// When a figure cannot be written as JSON.
pub fn jsonl(report: &JobReport) -> Result<String, serde_json::Error> {
    #[derive(Serialize)]
    struct Line<'a> {
        job: &'a str,
        list: &'static str,
        #[serde(flatten)]
        entry: &'a Entry,
    }
    let mut text = String::new();
    for (list, entry) in entries(report) {
        text.push_str(&serde_json::to_string(&Line { job: report.name.as_str(), list, entry })?);
        text.push('\n');
    }
    if let Some(reason) = why_no_entries(report) {
        let line = serde_json::json!({ "job": report.name, "list": JOB, "reason": reason });
        text = format!("{line}\n");
    }
    Ok(text)
}

/// What stands as the list of a row about the job itself.
const JOB: &str = "job";

/// Why there is no candidate to write about, if there is none.
fn why_no_entries(report: &JobReport) -> Option<&str> {
    if entries(report).next().is_some() {
        return None;
    }
    Some(report.no_recommendation_reason.as_deref().unwrap_or("no reason was given"))
}

fn entries(report: &JobReport) -> impl Iterator<Item = (&'static str, &Entry)> {
    let ranking = report.ranking.iter().map(|entry| ("ranking", entry));
    let rejected = report.rejected.iter().map(|entry| ("rejected", entry));
    let failed = report.failed.iter().map(|entry| ("failed", entry));
    ranking.chain(rejected).chain(failed)
}

fn markdown_row(entry: &Entry) -> String {
    let number = |value: Option<f64>, decimals: usize| {
        value.map_or("–".to_owned(), |value| format!("{value:.decimals$}"))
    };
    let capacity = match (entry.max_invocations_per_min, entry.max_invocations_ci95) {
        (Some(value), Some([low, high])) => format!("{value:.0} ± {:.0}", (high - low) / 2.0),
        (value, _) => number(value, 0),
    };
    let estimate = if entry.price.as_ref().is_some_and(|price| price.estimate) { "~" } else { "" };
    let ties: Vec<String> = entry.tied_with.iter().map(|rank| format!("#{rank}")).collect();
    format!(
        "| {} | {}{} | {} | {} | {} | {estimate}{} | {} | {capacity} | {} | {} | {} |\n",
        entry.rank.map_or(String::new(), |rank| rank.to_string()),
        cell(entry.instance_type.as_str()),
        if entry.emulated { "\\*" } else { "" },
        cell(&entry.serving().unwrap_or_default()),
        number(entry.score, 1),
        number(entry.cost_per_million_usd, 3),
        number(entry.cost_per_hour_usd, 4),
        entry.latency().map_or("–".to_owned(), |latency| figures::plain_latency(latency.p95_us)),
        entry.cpu_utilization_pct().map_or("–".to_owned(), |share| format!("{share:.0} %")),
        ties.join(" "),
        match (&entry.validity, entry.is_suspect()) {
            (Some(_), true) => format!("suspect: {}", entry.doubts()),
            (Some(validity), false) => validity.verdict.to_string(),
            (None, _) => "–".to_owned(),
        },
    )
}

fn described(entry: &Entry) -> String {
    match entry.serving() {
        Some(serving) => cell(&format!("{}, {serving}", entry.instance_type)),
        None => cell(entry.instance_type.as_str()),
    }
}

/// Text from elsewhere must not break out of its table cell or line, nor act on a terminal.
fn cell(text: &str) -> String {
    printable::line(text).replace('|', "\\|")
}

#[cfg(test)]
mod tests;
