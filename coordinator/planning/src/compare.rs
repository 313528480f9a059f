//! Two jobs held against each other: what got better, what got worse, and what nobody can say.
//!
//! # Rule
//! A candidate is an instance type with a configuration (or an endpoint) that both jobs measured. The change of a
//! metric is the ratio of its two figures, and its 95 % interval comes from both of theirs on a logarithmic scale,
//! where errors of independent runs add up in quadrature:
//!
//! `ln r = ln(new / base)`, `h = √(h_base² + h_new²)`, where `h` of one figure is half of `ln(high / low)`.
//!
//! A change is *improved* or *regressed* when it is beyond the gate and the whole interval is beyond half of it,
//! *unchanged* when the whole interval lies within the gate, and *inconclusive* otherwise, or when one of the figures
//! has no interval. Cost and throughput bring theirs; `figure.rs` says what that of a latency is.
//!
//! # Why half of the gate
//! Every rule trades two ways to be wrong. Were the whole interval to be beyond the gate, a regression of 10 % would be
//! missed too often where figures are less sure than ± 2 %: at ± 3 % it is told in 70 % of comparisons. Were it enough
//! that the interval excludes zero, nearly all would be told, but so would 17 % of those by 3 %, which is less than the
//! gate, and each twentieth pair of the same job on a restless machine. Half of the gate tells a change of twice the
//! gate in 96 % where both figures are ± 3 %, and practically always at ± 2 %; one of half the gate, or none, in 2.5 %
//! at most. `tests/compare_repeats.rs` holds it to that on simulated servers; `docs/MEASURING.md` has the figures.

use std::{fmt, str::FromStr};

use serde::{Serialize, Serializer};
use thiserror::Error;

use self::figure::Figure;
pub use self::job::{ComparedCandidate, ComparedJob, NotAJob};

mod figure;
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
}

impl fmt::Display for Metric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

/// What can be said of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    Improved,
    Unchanged,
    Regressed,
    /// The interval says neither, or there is none.
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
    /// Whether it regressed by a gate for its metric, which may be wider than the one of its verdict.
    fn fails(&self, gate: &Gate) -> bool {
        let Some(interval) = self.change_ci95_pct else { return false };
        let less = self.metric.is_better_when_less();
        verdict(self.change_pct, interval, gate.limit_pct, less) == Verdict::Regressed
    }

    fn of(metric: Metric, base: Figure, new: Figure, gate_pct: f64) -> Self {
        let log = (new.value / base.value).ln();
        let half_width = base.half_width.zip(new.half_width).map(|(a, b)| a.hypot(b));
        let pct = |log: f64| (log.exp() - 1.0) * 100.0;
        let interval = half_width.map(|half_width| [pct(log - half_width), pct(log + half_width)]);
        let verdict = interval.map_or(Verdict::Inconclusive, |interval| {
            verdict(pct(log), interval, gate_pct, metric.is_better_when_less())
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

fn verdict(
    change_pct: f64,
    [low, high]: [f64; 2],
    gate_pct: f64,
    is_better_when_less: bool,
) -> Verdict {
    let half = gate_pct / 2.0;
    let below = change_pct < -gate_pct && high < -half;
    let above = change_pct > gate_pct && low > half;
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
        Some(Change::of(metric, Figure::of(base, metric)?, Figure::of(new, metric)?, gate_pct))
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

/// A change that regressed by the gate; and a candidate that has no figures any more, which nobody can
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
