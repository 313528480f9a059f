//! How templates write figures, times and foreign text.

use std::{fmt::Display, time::Duration};

use askama::{Values, filter_fn};
use assay_measure::{figures, job::JobStatus, printable as safe, validity::Verdict};
use assay_planning::{
    compare::{self, Metric},
    report::Entry,
};
use jiff::{Timestamp, tz::TimeZone};

/// A value, behind as many references as a template puts before it.
pub(crate) trait Shown<T> {
    fn shown(&self) -> &T;
}

macro_rules! shown {
    ($($of:ty),* $(,)?) => {
        $(impl Shown<$of> for $of {
            fn shown(&self) -> &$of {
                self
            }
        })*
    };
}
shown!(
    f64,
    u64,
    Option<f64>,
    Duration,
    Timestamp,
    Entry,
    JobStatus,
    Verdict,
    compare::Verdict,
    Metric
);

impl<U, T: Shown<U>> Shown<U> for &T {
    fn shown(&self) -> &U {
        (*self).shown()
    }
}

/// A figure that is not there.
const NONE: &str = "–";

fn or_none(text: Option<String>) -> String {
    text.unwrap_or_else(|| NONE.to_owned())
}

/// Text from elsewhere on one line, without what acts on a reader.
#[filter_fn]
pub(crate) fn line(text: impl Display, _: &dyn Values) -> askama::Result<String> {
    Ok(safe::line(&text.to_string()))
}

/// The same with its lines kept.
#[filter_fn]
pub(crate) fn printable(text: impl Display, _: &dyn Values) -> askama::Result<String> {
    let lines: Vec<String> = text.to_string().lines().map(safe::line).collect();
    Ok(lines.join("\n"))
}

#[filter_fn]
pub(crate) fn grouped(value: impl Shown<f64>, _: &dyn Values) -> askama::Result<String> {
    Ok(figures::grouped(*value.shown()))
}

#[filter_fn]
pub(crate) fn grouped_or_dash(
    value: impl Shown<Option<f64>>,
    _: &dyn Values,
) -> askama::Result<String> {
    Ok(or_none(value.shown().map(figures::grouped)))
}

#[filter_fn]
pub(crate) fn significant(value: impl Shown<f64>, _: &dyn Values) -> askama::Result<String> {
    Ok(figures::significant(*value.shown()))
}

#[filter_fn]
pub(crate) fn one_decimal(
    value: impl Shown<Option<f64>>,
    _: &dyn Values,
) -> askama::Result<String> {
    Ok(or_none(value.shown().map(|value| format!("{value:.1}"))))
}

#[filter_fn]
pub(crate) fn whole(value: impl Shown<Option<f64>>, _: &dyn Values) -> askama::Result<String> {
    Ok(or_none(value.shown().map(|value| format!("{value:.0}"))))
}

/// With its sign, as changes have one.
#[filter_fn]
pub(crate) fn signed(value: impl Shown<f64>, _: &dyn Values) -> askama::Result<String> {
    let value: &f64 = value.shown();
    Ok(format!("{value:+.1}"))
}

#[filter_fn]
pub(crate) fn latency(micros: impl Shown<u64>, _: &dyn Values) -> askama::Result<String> {
    Ok(figures::latency(*micros.shown()))
}

/// A mean latency.
#[filter_fn]
pub(crate) fn micros(micros: impl Shown<f64>, _: &dyn Values) -> askama::Result<String> {
    Ok(figures::latency(whole_micros(*micros.shown())))
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a latency of at most ten minutes in microseconds"
)]
fn whole_micros(micros: f64) -> u64 {
    micros.round() as u64
}

/// Dollars per hour: four decimals, so that prices stand below each other.
#[filter_fn]
pub(crate) fn dollars(usd: impl Shown<f64>, _: &dyn Values) -> askama::Result<String> {
    let usd: &f64 = usd.shown();
    Ok(format!("{usd:.4}"))
}

#[filter_fn]
pub(crate) fn seconds(duration: impl Shown<Duration>, _: &dyn Values) -> askama::Result<String> {
    Ok(format!("{} s", figures::significant(duration.shown().as_secs_f64())))
}

/// `4:08`, in minutes and seconds.
#[filter_fn]
pub(crate) fn clock(duration: impl Shown<Duration>, _: &dyn Values) -> askama::Result<String> {
    let seconds = duration.shown().as_secs();
    Ok(format!("{}:{:02} min", seconds / 60, seconds % 60))
}

#[filter_fn]
pub(crate) fn tenths(duration: impl Shown<Duration>, _: &dyn Values) -> askama::Result<String> {
    Ok(format!("{:.1}", duration.shown().as_secs_f64()))
}

#[filter_fn]
pub(crate) fn minute(at: impl Shown<Timestamp>, _: &dyn Values) -> askama::Result<String> {
    Ok(at.shown().to_zoned(TimeZone::UTC).strftime("%Y-%m-%d %H:%M").to_string())
}

#[filter_fn]
pub(crate) fn second(at: impl Shown<Timestamp>, _: &dyn Values) -> askama::Result<String> {
    Ok(at.shown().to_zoned(TimeZone::UTC).strftime("%Y-%m-%d %H:%M:%S").to_string())
}

#[filter_fn]
pub(crate) fn capitalized(word: impl Display, _: &dyn Values) -> askama::Result<String> {
    let word = word.to_string();
    let mut letters = word.chars();
    let first = letters.next().into_iter().flat_map(char::to_uppercase);
    Ok(first.chain(letters).collect())
}

/// How the candidate answers.
#[filter_fn]
pub(crate) fn serving(entry: impl Shown<Entry>, _: &dyn Values) -> askama::Result<String> {
    Ok(safe::line(&entry.shown().serving().unwrap_or_default()))
}

/// Marks a price that was derived from another.
#[filter_fn]
pub(crate) fn estimate_mark(
    entry: impl Shown<Entry>,
    _: &dyn Values,
) -> askama::Result<&'static str> {
    let price = entry.shown().price.as_ref();
    Ok(if price.is_some_and(|price| price.estimate) { "~" } else { "" })
}

/// ` ± 60`: half of the width of the interval.
#[filter_fn]
pub(crate) fn capacity_interval(
    entry: impl Shown<Entry>,
    _: &dyn Values,
) -> askama::Result<String> {
    let interval = entry.shown().max_invocations_ci95;
    let text = |[low, high]: [f64; 2]| format!(" ± {}", figures::grouped((high - low) / 2.0));
    Ok(interval.map(text).unwrap_or_default())
}

/// Half of the width of an interval, with as many decimals as its figure has, and more where it would be none.
fn beside(half: f64, figure: &str) -> String {
    let decimals = figure.split_once('.').map_or(0, |(_, decimals)| decimals.len());
    let is_plain = figure.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let written = format!("{half:.decimals$}");
    if is_plain && written.bytes().any(|byte| matches!(byte, b'1'..=b'9')) {
        return written;
    }
    figures::significant(half)
}

/// Dollars per million with half of the width of their interval.
#[filter_fn]
pub(crate) fn cost_per_million(entry: impl Shown<Entry>, _: &dyn Values) -> askama::Result<String> {
    let entry = entry.shown();
    let Some(cost) = entry.cost_per_million_usd else { return Ok(NONE.to_owned()) };
    let cost = figures::significant(cost);
    let half = entry.cost_per_inference_ci95.map(|[low, high]| (high - low) / 2.0 * 1e6);
    let half = half.map(|half| format!(" ± {}", beside(half, &cost)));
    Ok(format!("{cost}{}", half.unwrap_or_default()))
}

#[filter_fn]
pub(crate) fn status_class(
    status: impl Shown<JobStatus>,
    _: &dyn Values,
) -> askama::Result<&'static str> {
    Ok(match status.shown() {
        JobStatus::Completed => "good",
        JobStatus::Failed => "bad",
        JobStatus::Stopped => "warn",
        JobStatus::Pending | JobStatus::Running | JobStatus::Stopping => "busy",
    })
}

#[filter_fn]
pub(crate) fn verdict_class(
    verdict: impl Shown<Verdict>,
    _: &dyn Values,
) -> askama::Result<&'static str> {
    Ok(match verdict.shown() {
        Verdict::Valid => "good",
        Verdict::Suspect => "warn",
        Verdict::Invalid => "bad",
    })
}

#[filter_fn]
pub(crate) fn change_class(
    verdict: impl Shown<compare::Verdict>,
    _: &dyn Values,
) -> askama::Result<&'static str> {
    Ok(match verdict.shown() {
        compare::Verdict::Improved => "good",
        compare::Verdict::Regressed => "bad",
        compare::Verdict::Inconclusive => "warn",
        compare::Verdict::Unchanged => "",
    })
}

/// The metric with its unit.
#[filter_fn]
pub(crate) fn metric(metric: impl Shown<Metric>, _: &dyn Values) -> askama::Result<&'static str> {
    Ok(match metric.shown() {
        Metric::Cost => "cost, $ per million",
        Metric::Throughput => "throughput, per minute",
        Metric::P50 => "latency p50",
        Metric::P95 => "latency p95",
        Metric::P99 => "latency p99",
    })
}

/// A figure of that metric.
#[filter_fn]
pub(crate) fn figure(
    metric: impl Shown<Metric>,
    _: &dyn Values,
    value: &f64,
) -> askama::Result<String> {
    Ok(match metric.shown() {
        Metric::Cost => figures::significant(value * 1e6),
        Metric::Throughput => figures::grouped(*value),
        Metric::P50 | Metric::P95 | Metric::P99 => figures::latency(whole_micros(*value)),
    })
}
