//! What `load` and `capacity` print: the documents `assay.load/1` and `assay.capacity/1`, and tables.
//!
//! Field names are a contract (`agent/schema/`): additions are allowed, renames are not. A figure that
//! was not measured is absent.

use std::{fmt::Write, time::Duration};

use assay_measure::{figures, latency::Latency};
use comfy_table::{CellAlignment, Table};
use serde::Serialize;

use crate::load::figures::{ErrorCounts, FirstFailure, StepFigures};

pub mod capacity;
pub mod load;

/// The load generator's own part.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct GeneratorReport {
    /// Processor time of the sending threads.
    pub cpu_seconds: f64,
    pub requests: u64,
    /// How late it handled requests; absent in closed loop, where nothing is due.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lag_us: Option<Latency>,
    /// It could not offer the load.
    pub saturated: bool,
    /// Requests that waited because every connection was busy.
    pub waited_for_connection: u64,
    pub connections_opened: u64,
}

impl GeneratorReport {
    /// Of a step or several together.
    #[must_use]
    pub fn of(figures: &StepFigures, saturated: bool) -> Self {
        Self {
            cpu_seconds: figures.generator_cpu.as_secs_f64(),
            requests: figures.sent,
            lag_us: Latency::of(&figures.lag),
            saturated,
            waited_for_connection: figures.waited,
            connections_opened: figures.connections_opened,
        }
    }
}

/// A number with its thousands apart.
#[must_use]
pub fn grouped(value: f64) -> String {
    let digits = if value.abs() < 100.0 { format!("{value:.1}") } else { format!("{value:.0}") };
    let digits = digits.strip_suffix(".0").unwrap_or(&digits);
    let (whole, rest) = digits.split_at(digits.find('.').unwrap_or(digits.len()));
    let mut text = String::new();
    for (index, digit) in whole.chars().enumerate() {
        if (whole.len() - index).is_multiple_of(3) && text.ends_with(|c: char| c.is_ascii_digit()) {
            text.push(' ');
        }
        text.push(digit);
    }
    text + rest
}

fn seconds(duration: Duration) -> String {
    format!("{:.1} s", duration.as_secs_f64())
}

/// A figure of a latency, where there is one.
fn figure(latency: Option<&Latency>, pick: fn(&Latency) -> u64) -> String {
    latency.map_or_else(|| "-".to_owned(), |latency| figures::latency(pick(latency)))
}

pub(crate) fn line(text: &mut String, label: &str, value: &str) {
    // Writing to a String cannot fail.
    let _ = writeln!(text, "  {label:<10} {value}");
}

/// Columns as wide as what stands in them; the first to the left, figures to the right.
fn table<const COLUMNS: usize>(
    text: &mut String,
    heads: [&str; COLUMNS],
    rows: impl Iterator<Item = [String; COLUMNS]>,
) {
    let mut table = Table::new();
    table.load_style(comfy_table::presets::NOTHING);
    table.set_header(heads);
    table.add_rows(rows);
    for (index, column) in table.column_iter_mut().enumerate() {
        column.set_padding((2, 0));
        if index > 0 {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    let _ = writeln!(text, "\n{}", table.trim_fmt());
}

fn latency_table(text: &mut String, rows: &[(&str, Option<Latency>)]) {
    let heads = ["", "MEAN", "P50", "P90", "P95", "P99", "P99.9", "MAX"];
    let row = |(label, latency): &(&str, Option<Latency>)| {
        let Latency { mean_us, p50_us, p90_us, p95_us, p99_us, p999_us, max_us, count: _ } =
            (*latency)?;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a mean of microseconds, at most ten minutes"
        )]
        let mean_us = mean_us.round() as u64;
        let [mean, p50, p90, p95, p99, p999, max] =
            [mean_us, p50_us, p90_us, p95_us, p99_us, p999_us, max_us].map(figures::latency);
        Some([(*label).to_owned(), mean, p50, p90, p95, p99, p999, max])
    };
    table(text, heads, rows.iter().filter_map(row));
}

fn errors_in_words(errors: &ErrorCounts) -> String {
    let ErrorCounts { connect, timeout, reset, status, malformed } = *errors;
    let counts = [
        ("no connection", connect),
        ("timeout", timeout),
        ("reset", reset),
        ("error status", status),
        ("malformed", malformed),
    ];
    let some = counts.iter().filter(|(_, count)| *count > 0);
    some.map(|(kind, count)| format!("{count} {kind}")).collect::<Vec<_>>().join(", ")
}

fn first_failure(text: &mut String, failure: Option<&FirstFailure>) {
    if let Some(FirstFailure { message, body, .. }) = failure {
        let body = String::from_utf8_lossy(body);
        let body: String =
            body.chars().take(200).map(|c| if c.is_control() { ' ' } else { c }).collect();
        let separator = if body.is_empty() { "" } else { ": " };
        line(text, "First", &format!("{message}{separator}{body}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_keep_their_unit_and_their_thousands_apart() {
        assert_eq!(
            ["0 µs", "999 µs", "1.50 ms", "27.9 ms", "250 ms", "2.00 s", "600 s"],
            [0, 999, 1_500, 27_900, 250_000, 2_000_000, 600_000_000]
                .map(figures::latency)
                .each_ref()
                .map(String::as_str)
        );
        assert_eq!(
            ["0", "7.5", "100", "2 310", "1 234 567"],
            [0.0, 7.5, 100.2, 2310.0, 1_234_567.0].map(grouped).each_ref().map(String::as_str)
        );
    }
}
