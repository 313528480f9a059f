//! A report as CSV, Markdown or JSON lines.

use std::fmt::Write as _;

use assay_measure::{figures, outcome::TrialResult, printable};
use serde::Serialize;

use crate::report::{Entry, JobReport};

/// One row per candidate, in the order ranking, rejected, failed. A job without candidates has one row,
/// of the list `job`, with the reason why there are none.
///
/// # Errors
/// When the CSV writer fails, which memory does not.
pub fn csv(report: &JobReport) -> Result<String, csv::Error> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    for (list, entry) in entries(report) {
        writer.serialize(CandidateRow::of(report.name.as_str(), list, entry))?;
    }
    if let Some(reason) = why_no_entries(report) {
        let reason = Some(reason);
        writer.serialize(CandidateRow {
            job: report.name.as_str(),
            list: JOB,
            reason,
            ..<_>::default()
        })?;
    }
    let bytes = writer.into_inner().map_err(csv::IntoInnerError::into_error)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
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

/// The columns of [`csv`]; a missing figure is an empty field.
#[derive(Default, Serialize)]
struct CandidateRow<'a> {
    job: &'a str,
    list: &'static str,
    rank: Option<u32>,
    score: Option<f64>,
    instance_type: &'a str,
    emulated: bool,
    configuration: Option<String>,
    usd_per_hour: Option<f64>,
    price_estimate: Option<bool>,
    cost_per_hour_usd: Option<f64>,
    cost_per_inference_usd: Option<f64>,
    cost_per_million_usd: Option<f64>,
    max_invocations_per_min: Option<f64>,
    max_invocations_low: Option<f64>,
    max_invocations_high: Option<f64>,
    plateau_invocations_per_min: Option<f64>,
    latency_mean_us: Option<f64>,
    latency_p50_us: Option<u64>,
    latency_p90_us: Option<u64>,
    latency_p95_us: Option<u64>,
    latency_p99_us: Option<u64>,
    cpu_utilization_pct: Option<f64>,
    memory_utilization_pct: Option<f64>,
    energy_j_per_inference: Option<f64>,
    output_deviation_max: Option<f64>,
    output_deviation_mean: Option<f64>,
    meets: bool,
    verdict: Option<&'static str>,
    reason: Option<&'a str>,
}

impl<'a> CandidateRow<'a> {
    fn of(job: &'a str, list: &'static str, entry: &'a Entry) -> Self {
        let latency = entry.latency();
        let result: Option<&TrialResult> = entry.result.as_deref();
        let deviation = result.and_then(|result| result.output_deviation);
        Self {
            job,
            list,
            rank: entry.rank,
            score: entry.score,
            instance_type: entry.instance_type.as_str(),
            emulated: entry.emulated,
            configuration: entry.serving(),
            usd_per_hour: entry.price.as_ref().map(|price| price.usd_per_hour.as_usd()),
            price_estimate: entry.price.as_ref().map(|price| price.estimate),
            cost_per_hour_usd: entry.cost_per_hour_usd,
            cost_per_inference_usd: entry.cost_per_inference_usd,
            cost_per_million_usd: entry.cost_per_million_usd,
            max_invocations_per_min: entry.max_invocations_per_min,
            max_invocations_low: entry.max_invocations_ci95.map(|[low, _]| low),
            max_invocations_high: entry.max_invocations_ci95.map(|[_, high]| high),
            plateau_invocations_per_min: entry.plateau_invocations_per_min(),
            latency_mean_us: latency.map(|latency| latency.mean_us),
            latency_p50_us: latency.map(|latency| latency.p50_us),
            latency_p90_us: latency.map(|latency| latency.p90_us),
            latency_p95_us: latency.map(|latency| latency.p95_us),
            latency_p99_us: latency.map(|latency| latency.p99_us),
            cpu_utilization_pct: entry.cpu_utilization_pct(),
            memory_utilization_pct: entry.memory_utilization_pct,
            energy_j_per_inference: result.and_then(|result| result.energy_j_per_inference),
            output_deviation_max: deviation.map(|deviation| deviation.max),
            output_deviation_mean: deviation.map(|deviation| deviation.mean),
            meets: entry.meets,
            verdict: entry.validity.as_ref().map(|validity| validity.verdict.word()),
            reason: entry.reason.as_deref(),
        }
    }
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
