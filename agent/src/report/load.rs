//! The document `assay.load/1` and its table.

use std::time::Duration;

use assay_measure::{
    latency::Latency,
    schedule::{Arrivals, Load},
};
use serde::Serialize;

use super::{
    GeneratorReport, errors_in_words, figure, first_failure, grouped, latency_table, line, seconds,
    table,
};
use crate::{
    capacity::per_second,
    load::figures::{EndedStep, ErrorCounts, FirstFailure, StepFigures},
};

/// `assay.load/1`: a fixed load and what came of it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LoadReport {
    /// `assay.load/1`.
    pub schema: &'static str,
    pub target: String,
    /// `closed`, `poisson`, `constant` or `replay`.
    pub mode: &'static str,
    /// Users, in closed loop with a constant number of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub users: Option<u32>,
    /// Seed of the arrivals, where they are drawn.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    /// The rate that was asked for, in open loop.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub offered_per_s: Option<f64>,
    /// The rate at which requests were really sent, in open loop.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sent_per_s: Option<f64>,
    /// Answers per second.
    pub achieved_per_s: f64,
    pub requests: u64,
    pub errors: u64,
    pub errors_by_kind: ErrorCounts,
    /// Requests without an answer at the end.
    pub outstanding: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_failure: Option<FirstFailure>,
    /// From the intended send time (closed loop: the actual one); absent when nothing was answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latency_us: Option<Latency>,
    /// From the actual send time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service_time_us: Option<Latency>,
    /// The load generator's own part.
    pub generator: GeneratorReport,
    /// How long load was offered.
    pub duration_s: f64,
    /// It ended before its time: by Ctrl-C, or because the target was lost.
    pub interrupted: bool,
    /// Phase by phase, when there are several.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub phases: Vec<PhaseReport>,
    pub seconds: Vec<SecondReport>,
}

/// One phase of a load.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PhaseReport {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub users: Option<u32>,
    /// Answers per second.
    pub achieved_per_s: f64,
    pub errors: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latency_us: Option<Latency>,
    /// How long it was held.
    pub duration_s: f64,
}

/// One second of a load, counted by when requests ended.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct SecondReport {
    /// Seconds since the load began.
    pub at_s: f64,
    pub answered: u64,
    pub errors: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub p50_us: Option<u64>,
    /// 95th percentile.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub p95_us: Option<u64>,
    /// 99th percentile.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub p99_us: Option<u64>,
}

/// A phase that was carried out: what was asked and what came of it.
#[derive(Debug)]
pub struct Performed {
    pub load: Load,
    pub result: EndedStep,
}

impl Performed {
    fn lasted(&self) -> Duration {
        self.result.lasted(&self.load)
    }
}

impl LoadReport {
    /// The report of one or several phases; at least one.
    #[must_use]
    pub fn of(target: String, performed: &[Performed], interrupted: bool) -> Self {
        let all: StepFigures = performed.iter().map(|phase| &phase.result.figures).sum();
        let elapsed: Duration = performed.iter().map(Performed::lasted).sum();
        let load = performed.first().map(|phase| &phase.load);
        let (mode, seed) = match load {
            None | Some(Load::Closed { .. }) => ("closed", None),
            Some(Load::Open { arrivals: Arrivals::Poisson, seed, .. }) => ("poisson", Some(*seed)),
            Some(Load::Open { arrivals: Arrivals::Constant, seed, .. }) => {
                ("constant", Some(*seed))
            }
            Some(Load::Replay { .. }) => ("replay", None),
        };
        let sent_per_s = per_second(all.sent, elapsed).as_per_second();
        let offered_per_s = match load {
            None | Some(Load::Closed { .. }) => None,
            Some(Load::Open { rate, .. }) => Some(rate.as_per_second()),
            Some(Load::Replay { .. }) => Some(sent_per_s),
        };
        let phases: Vec<PhaseReport> = performed.iter().map(PhaseReport::of).collect();
        Self {
            schema: "assay.load/1",
            target,
            mode,
            users: if phases.len() == 1 { phases[0].users } else { None },
            seed,
            offered_per_s,
            sent_per_s: offered_per_s.map(|_| sent_per_s),
            achieved_per_s: per_second(all.answered, elapsed).as_per_second(),
            requests: all.sent,
            errors: all.errors.total(),
            errors_by_kind: all.errors,
            outstanding: all.outstanding,
            first_failure: all.first_failure.clone(),
            latency_us: Latency::of(&all.latency),
            service_time_us: Latency::of(&all.service_time),
            generator: GeneratorReport::of(
                &all,
                performed.iter().any(|phase| phase.result.observation.generator_saturated),
            ),
            duration_s: elapsed.as_secs_f64(),
            interrupted,
            phases: if phases.len() > 1 { phases } else { Vec::new() },
            seconds: seconds_of(performed),
        }
    }

    /// The report as a person reads it, 80 columns wide.
    #[must_use]
    pub fn table(&self) -> String {
        let mut text = String::new();
        line(&mut text, "Target", &self.target);
        line(&mut text, "Load", &self.load_in_words());
        let failed = if self.errors > 0 {
            format!(
                ", {} failed ({})",
                grouped(self.errors as f64),
                errors_in_words(&self.errors_by_kind)
            )
        } else {
            String::new()
        };
        let open = if self.outstanding > 0 {
            format!(", {} open", self.outstanding)
        } else {
            String::new()
        };
        let duration = seconds(Duration::from_secs_f64(self.duration_s));
        line(
            &mut text,
            "Requests",
            &format!("{} in {duration}{failed}{open}", grouped(self.requests as f64)),
        );
        first_failure(&mut text, self.first_failure.as_ref());
        line(
            &mut text,
            "Answers",
            &format!(
                "{}/s ({}/min)",
                grouped(self.achieved_per_s),
                grouped(self.achieved_per_s * 60.0)
            ),
        );
        line(&mut text, "Generator", &self.generator_in_words());
        let service = self.offered_per_s.and(self.service_time_us);
        latency_table(
            &mut text,
            &[("latency", self.latency_us), ("service", service), ("lag", self.generator.lag_us)],
        );
        self.phase_table(&mut text);
        if self.generator.saturated {
            text.push_str("\n  warning: the load generator was the limit, not the target\n");
        }
        text
    }

    fn load_in_words(&self) -> String {
        match (self.offered_per_s, self.users, self.seed) {
            (Some(rate), _, Some(seed)) => {
                format!("open loop, {} arrivals at {}/s, seed {seed}", self.mode, grouped(rate))
            }
            (Some(rate), _, None) => format!("open loop, recorded arrivals, {}/s", grouped(rate)),
            (None, Some(users), _) => format!("closed loop, {users} users"),
            (None, None, _) => format!("closed loop, {} phases", self.phases.len()),
        }
    }

    fn generator_in_words(&self) -> String {
        let share = if self.duration_s > 0.0 {
            self.generator.cpu_seconds / self.duration_s * 100.0
        } else {
            0.0
        };
        let waited = if self.generator.waited_for_connection > 0 {
            format!(
                ", {} requests waited for a connection",
                grouped(self.generator.waited_for_connection as f64)
            )
        } else {
            String::new()
        };
        format!("{share:.1} % of a core, {} connections{waited}", self.generator.connections_opened)
    }

    fn phase_table(&self, text: &mut String) {
        if self.phases.is_empty() {
            return;
        }
        let heads = ["USERS", "DURATION", "ANSWERS/S", "P50", "P95", "P99", "ERRORS"];
        let row = |phase: &PhaseReport| {
            let of = |pick| figure(phase.latency_us.as_ref(), pick);
            [
                phase.users.map_or_else(String::new, |users| users.to_string()),
                seconds(Duration::from_secs_f64(phase.duration_s)),
                grouped(phase.achieved_per_s),
                of(|l| l.p50_us),
                of(|l| l.p95_us),
                of(|l| l.p99_us),
                phase.errors.to_string(),
            ]
        };
        table(text, heads, self.phases.iter().map(row));
    }
}

impl PhaseReport {
    fn of(performed: &Performed) -> Self {
        let EndedStep { observation: _, figures, .. } = &performed.result;
        let elapsed = performed.lasted();
        let users = match performed.load {
            Load::Closed { users } => Some(users),
            Load::Open { .. } | Load::Replay { .. } => None,
        };
        Self {
            users,
            achieved_per_s: per_second(figures.answered, elapsed).as_per_second(),
            errors: figures.errors.total(),
            latency_us: Latency::of(&figures.latency),
            duration_s: elapsed.as_secs_f64(),
        }
    }
}

fn seconds_of(performed: &[Performed]) -> Vec<SecondReport> {
    let first_us = performed.first().map_or(0, |phase| phase.result.observation.started_us);
    let of = |phase: &Performed| {
        let begin_s = (phase.result.observation.started_us - first_us) as f64 / 1e6;
        phase
            .result
            .figures
            .seconds
            .iter()
            .map(move |second| {
                let latency = Latency::of(&second.latency);
                SecondReport {
                    at_s: begin_s + second.index as f64,
                    answered: second.answered,
                    errors: second.failed,
                    p50_us: latency.map(|latency| latency.p50_us),
                    p95_us: latency.map(|latency| latency.p95_us),
                    p99_us: latency.map(|latency| latency.p99_us),
                }
            })
            .collect::<Vec<_>>()
    };
    performed.iter().flat_map(of).collect()
}
