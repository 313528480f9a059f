//! Two jobs held against each other: what got better, what got worse, and what nobody can say.
//!
//! # Rule
//! A candidate is an instance type with a configuration (or an endpoint) that both jobs measured. The change of a
//! metric is the ratio of its two figures, and its 95 % interval comes from both of theirs on a logarithmic scale,
//! where errors of independent runs add up in quadrature:
//!
//! `ln r = ln(new / base)`, `h = √(h_base² + h_new²)`, where `h` of one figure is half of `ln(high / low)`.
//!
//! A change is *improved* or *regressed* when the whole interval lies beyond the gate, *unchanged* when all of it lies
//! within, and *inconclusive* when it crosses the gate or one of the figures has no interval. Cost and throughput
//! bring theirs; that of a latency percentile is Student's over its values in the steps of the run that gave it.

use std::{fmt, str::FromStr};

use assay_measure::{search::Purpose, statistics::mean_interval};
use serde::{Serialize, Serializer};
use thiserror::Error;

pub use self::job::{ComparedCandidate, ComparedJob, NotAJob};

mod job;

/// Where nothing else is asked for, in per cent: less is not worth acting on, and beyond what a run says of itself
/// machines differ from day to day.
pub const DEFAULT_GATE_PCT: f64 = 5.0;

/// What is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Metric {
    /// Dollars per inference.
    Cost,
    /// Invocations per minute that are carried.
    Throughput,
    P50,
    P95,
    P99,
}

impl Metric {
    pub const ALL: [Self; 5] = [Self::Cost, Self::Throughput, Self::P50, Self::P95, Self::P99];

    /// The word in gates and documents.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Cost => "cost",
            Self::Throughput => "throughput",
            Self::P50 => "p50",
            Self::P95 => "p95",
            Self::P99 => "p99",
        }
    }

    const fn is_better_when_less(self) -> bool {
        match self {
            Self::Cost | Self::P50 | Self::P95 | Self::P99 => true,
            Self::Throughput => false,
        }
    }

    /// The figure, with half of the width of its interval's logarithm.
    fn figure(self, candidate: &ComparedCandidate) -> Option<Figure> {
        let of_interval = |value: Option<f64>, interval: Option<[f64; 2]>| {
            let half_width = interval.and_then(|[low, high]| log_half_width(low, high));
            Some(Figure { value: value.filter(|value| *value > 0.0)?, half_width })
        };
        match self {
            Self::Cost => {
                of_interval(candidate.cost_per_inference_usd, candidate.cost_per_inference_ci95)
            }
            Self::Throughput => {
                of_interval(candidate.max_invocations_per_min, candidate.max_invocations_ci95)
            }
            Self::P50 => latency(candidate, |latency| latency.p50),
            Self::P95 => latency(candidate, |latency| latency.p95),
            Self::P99 => latency(candidate, |latency| latency.p99),
        }
    }
}

impl fmt::Display for Metric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

/// A figure and how sure it is.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Figure {
    value: f64,
    half_width: Option<f64>,
}

fn log_half_width(low: f64, high: f64) -> Option<f64> {
    (low > 0.0 && high >= low && high.is_finite()).then(|| (high / low).ln() / 2.0)
}

fn latency(candidate: &ComparedCandidate, pick: fn(&job::Latency) -> f64) -> Option<Figure> {
    let value = pick(candidate.latency_us.as_ref()?);
    // The steps of a run vary around the load that was found; what the figure is, their spread tells.
    let of_run = candidate
        .steps
        .iter()
        .filter(|step| matches!(step.purpose, Purpose::Main | Purpose::Fixed | Purpose::Soak));
    let logs: Vec<f64> = of_run
        .filter_map(|step| Some(pick(step.latency_us.as_ref()?)))
        .filter(|value| *value > 0.0)
        .map(f64::ln)
        .collect();
    let half_width = mean_interval(&logs).map(|interval| interval.half_width);
    (value > 0.0).then_some(Figure { value, half_width })
}

/// What can be said of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    Improved,
    Unchanged,
    Regressed,
    /// The interval crosses the gate, or there is none.
    Inconclusive,
}

impl Verdict {
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Improved => "improved",
            Self::Unchanged => "unchanged",
            Self::Regressed => "regressed",
            Self::Inconclusive => "inconclusive",
        }
    }
}

/// A change for the worse that is not let through: `cost>+5%`, `throughput<-10%`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Gate {
    pub metric: Metric,
    /// In per cent, above zero.
    pub limit_pct: f64,
}

/// A gate that is not understood.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{0:?} is no gate; write METRIC>+N% with cost, p50, p95 or p99, or throughput<-N%")]
pub struct GateError(String);

impl FromStr for Gate {
    type Err = GateError;

    fn from_str(text: &str) -> Result<Self, GateError> {
        let wrong = || GateError(text.to_owned());
        let metric_of = |word: &str| Metric::ALL.into_iter().find(|one| one.word() == word.trim());
        let (metric, limit, sign) = match text.split_once(['>', '<']) {
            Some((word, limit)) if text.contains('>') => (metric_of(word), limit, '+'),
            Some((word, limit)) => (metric_of(word), limit, '-'),
            None => return Err(wrong()),
        };
        let metric = metric.filter(|one| one.is_better_when_less() == (sign == '+'));
        let limit = limit.trim().strip_prefix(sign).and_then(|limit| limit.strip_suffix('%'));
        let limit_pct = limit.and_then(|limit| limit.trim().parse::<f64>().ok());
        let limit_pct = limit_pct.filter(|limit| {
            *limit > 0.0 && *limit < if sign == '-' { 100.0 } else { f64::INFINITY }
        });
        Ok(Self { metric: metric.ok_or_else(wrong)?, limit_pct: limit_pct.ok_or_else(wrong)? })
    }
}

/// As it is written.
impl Serialize for Gate {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl fmt::Display for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.metric.is_better_when_less() { ">+" } else { "<-" };
        write!(f, "{}{sign}{}%", self.metric, self.limit_pct)
    }
}

/// How one metric of one candidate changed.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Change {
    pub metric: Metric,
    pub base: f64,
    pub new: f64,
    /// From base to new, in per cent of base.
    pub change_pct: f64,
    /// Its 95 % confidence interval; absent where a figure has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub change_ci95_pct: Option<[f64; 2]>,
    /// Beyond this, in per cent, a change counts.
    pub gate_pct: f64,
    pub verdict: Verdict,
}

impl Change {
    /// Whether it is for certain beyond a gate for its metric, which may be wider than the one of its verdict.
    fn fails(&self, gate: &Gate) -> bool {
        let verdict =
            |interval| verdict(interval, gate.limit_pct, self.metric.is_better_when_less());
        self.change_ci95_pct.map(verdict) == Some(Verdict::Regressed)
    }

    fn of(metric: Metric, base: Figure, new: Figure, gate_pct: f64) -> Self {
        let log = (new.value / base.value).ln();
        let half_width = base.half_width.zip(new.half_width).map(|(a, b)| a.hypot(b));
        let pct = |log: f64| (log.exp() - 1.0) * 100.0;
        let interval = half_width.map(|half_width| [pct(log - half_width), pct(log + half_width)]);
        let verdict = interval.map_or(Verdict::Inconclusive, |interval| {
            verdict(interval, gate_pct, metric.is_better_when_less())
        });
        Self {
            metric,
            base: base.value,
            new: new.value,
            change_pct: pct(log),
            change_ci95_pct: interval,
            gate_pct,
            verdict,
        }
    }
}

fn verdict([low, high]: [f64; 2], gate_pct: f64, is_better_when_less: bool) -> Verdict {
    let (below, above) = (high < -gate_pct, low > gate_pct);
    match (below, above, is_better_when_less) {
        (true, _, true) | (_, true, false) => Verdict::Improved,
        (_, true, true) | (true, _, false) => Verdict::Regressed,
        (false, false, _) if low >= -gate_pct && high <= gate_pct => Verdict::Unchanged,
        (false, false, _) => Verdict::Inconclusive,
    }
}

/// A candidate that both jobs measured.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Compared {
    /// Type and configuration, or endpoint.
    pub candidate: String,
    pub changes: Vec<Change>,
}

/// A candidate that has figures in one of the jobs only.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Unmatched {
    pub candidate: String,
    /// Why the other job has none, where it says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// A parameter that is not the same in both.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Difference {
    pub field: &'static str,
    pub base: String,
    pub new: String,
}

/// Two jobs held against each other: the document `assay.compare/1`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Comparison {
    pub schema: &'static str,
    /// Names of the jobs.
    pub base: String,
    pub new: String,
    /// Only what differs.
    pub differences: Vec<Difference>,
    pub candidates: Vec<Compared>,
    pub only_in_base: Vec<Unmatched>,
    pub only_in_new: Vec<Unmatched>,
    /// Gates that did not hold, each with its reason.
    pub failed_gates: Vec<FailedGate>,
}

/// The name and version of the document.
pub const SCHEMA: &str = "assay.compare/1";

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FailedGate {
    pub gate: Gate,
    pub candidate: String,
    pub reason: String,
}

/// Why two jobs cannot be compared.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Unlike {
    #[error("the jobs differ in {}: {} against {}", .0.field, .0.base, .0.new)]
    Field(Difference),
    #[error("no candidate was measured by both jobs")]
    NothingInCommon,
}

/// Fields of which a difference makes figures incomparable, unless it is allowed by name.
pub const FIELDS: [&str; 5] = ["constraints", "load", "machine", "endpoint", "mode"];

/// Compares two jobs. A gate that is not given for a metric is [`DEFAULT_GATE_PCT`], and then fails nothing.
///
/// # Errors
/// When they were measured under other conditions and that is not allowed by name (see [`FIELDS`]), or have no
/// candidate in common.
pub fn compare(
    base: &ComparedJob,
    new: &ComparedJob,
    gates: &[Gate],
    allowed: &[String],
) -> Result<Comparison, Unlike> {
    let differences = job::differences(base, new);
    let refused = differences
        .iter()
        .find(|one| FIELDS.contains(&one.field) && !allowed.iter().any(|name| name == one.field));
    if let Some(refused) = refused {
        return Err(Unlike::Field(refused.clone()));
    }
    let candidates: Vec<Compared> = base
        .measured()
        .filter_map(|candidate| {
            let other = new.measured().find(|other| other.key() == candidate.key())?;
            Some(Compared { candidate: candidate.key(), changes: changes(candidate, other, gates) })
        })
        .collect();
    if candidates.is_empty() {
        return Err(Unlike::NothingInCommon);
    }
    let only_in_base = unmatched(base, new);
    let failed_gates = failed_gates(&candidates, &only_in_base, gates);
    Ok(Comparison {
        schema: SCHEMA,
        base: base.name.clone(),
        new: new.name.clone(),
        differences,
        candidates,
        only_in_new: unmatched(new, base),
        only_in_base,
        failed_gates,
    })
}

fn changes(base: &ComparedCandidate, new: &ComparedCandidate, gates: &[Gate]) -> Vec<Change> {
    let change = |metric: Metric| {
        let gate = gates.iter().filter(|gate| gate.metric == metric).map(|gate| gate.limit_pct);
        let gate_pct = gate.reduce(f64::min).unwrap_or(DEFAULT_GATE_PCT);
        Some(Change::of(metric, metric.figure(base)?, metric.figure(new)?, gate_pct))
    };
    Metric::ALL.into_iter().filter_map(change).collect()
}

fn unmatched(of: &ComparedJob, other: &ComparedJob) -> Vec<Unmatched> {
    let alone = of.measured().filter(|one| other.measured().all(|two| two.key() != one.key()));
    alone
        .map(|one| Unmatched {
            candidate: one.key(),
            reason: other.unmeasured(&one.key()).and_then(|two| two.reason.clone()),
        })
        .collect()
}

/// A change that is beyond the gate for certain; and a candidate that has no figures any more, which nobody can
/// hold against it.
fn failed_gates(candidates: &[Compared], lost: &[Unmatched], gates: &[Gate]) -> Vec<FailedGate> {
    let mut failed = Vec::new();
    for gate in gates {
        for compared in candidates {
            let change = compared.changes.iter().find(|change| change.metric == gate.metric);
            let reason = match change {
                Some(change) if change.fails(gate) => format!("{:+.1} %", change.change_pct),
                Some(_) => continue,
                None => format!("one of the jobs has no {}", gate.metric),
            };
            let candidate = compared.candidate.clone();
            failed.push(FailedGate { gate: *gate, candidate, reason });
        }
        for lost in lost.iter().filter(|lost| lost.reason.is_some()) {
            failed.push(FailedGate {
                gate: *gate,
                candidate: lost.candidate.clone(),
                reason: lost.reason.clone().unwrap_or_default(),
            });
        }
    }
    failed
}

#[cfg(test)]
mod tests;
