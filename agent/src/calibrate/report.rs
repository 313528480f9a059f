//! Found against exact: the document `assay.calibration/1`, its table, and what it comes to.

use std::time::Duration;

use assay_measure::{
    figures,
    known_queue::{KnownCapacity, KnownQueue, Method},
    latency::Latency,
    search::SearchPlan,
    units::as_micros,
    validity::{Validity, Verdict},
};
use serde::Serialize;

use super::Watched;
use crate::{
    capacity::SearchRun,
    report::{grouped, line},
};

/// So close to the truth is close enough, whatever the interval says.
pub const CLOSE_ENOUGH_PCT: f64 = 2.0;
/// A wider interval says so little that covering the truth is no merit.
pub const WIDEST_HALF_WIDTH_PCT: f64 = 10.0;

/// `assay.calibration/1`: what the search found on a server whose capacity is known.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CalibrationReport {
    /// `assay.calibration/1`.
    pub schema: &'static str,
    pub workers: u32,
    /// Service time of each request.
    pub service_time_us: u64,
    pub constraints: Vec<String>,
    /// `quick` or `full`.
    pub mode: &'static str,
    pub seed: u64,
    pub exact_invocations_per_min: f64,
    /// Where that comes from: `service_time`, `erlang` or `simulation`.
    pub exact_method: &'static str,
    /// Standard error of a simulated figure.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exact_standard_error_per_min: Option<f64>,
    /// What was found; absent when the search has no answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_invocations_per_min: Option<f64>,
    /// Its 95 % confidence interval.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ci95: Option<[f64; 2]>,
    /// How far the found figure is from the exact one; positive promises too much.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deviation_pct: Option<f64>,
    /// The interval holds the exact figure.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub covered: Option<bool>,
    /// Found and exact agree: within 2 %, or within an interval that is narrow enough to say something.
    pub calibrated: bool,
    /// How late the generator handled requests at the answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lag_us: Option<Latency>,
    /// The generator's share of one processor.
    pub generator_cpu_pct: f64,
    /// The server's share of one processor.
    pub server_cpu_pct: f64,
    /// Whether the machine was fit for measuring meanwhile.
    pub validity: Validity,
    /// How long the search took.
    pub duration_s: f64,
}

impl CalibrationReport {
    /// Holds what was found against what is there.
    #[must_use]
    pub fn of(
        queue: KnownQueue,
        exact: &KnownCapacity,
        plan: &SearchPlan,
        run: &SearchRun,
        watched: Watched,
        took: Duration,
    ) -> Self {
        let found = run.answer().map(|answer| answer.capacity);
        let truth = exact.rate.as_per_minute();
        let error = exact.standard_error.as_per_minute();
        let ci95 = found.map(|found| [found.low.as_per_minute(), found.high.as_per_minute()]);
        let value = found.map(|found| found.value.as_per_minute());
        let deviation_pct = value.map(|value| (value / truth - 1.0) * 100.0);
        let covered =
            ci95.map(|[low, high]| low - 2.0 * error <= truth && truth <= high + 2.0 * error);
        Self {
            schema: "assay.calibration/1",
            workers: queue.workers(),
            service_time_us: as_micros(queue.service_time()),
            constraints: plan.constraints.iter().map(ToString::to_string).collect(),
            mode: plan.mode.word(),
            seed: plan.seed,
            exact_invocations_per_min: truth,
            exact_method: exact.method.word(),
            exact_standard_error_per_min: (exact.method == Method::Simulation).then_some(error),
            max_invocations_per_min: value,
            ci95,
            deviation_pct,
            covered,
            calibrated: agrees(value, ci95, deviation_pct, covered),
            lag_us: Latency::of(&run.answer_figures().lag),
            generator_cpu_pct: watched.generator_cpu_pct,
            server_cpu_pct: watched.server_cpu_pct,
            validity: watched.validity,
            duration_s: took.as_secs_f64(),
        }
    }

    /// The report as a person reads it, 80 columns wide; the last line is the conclusion.
    #[must_use]
    pub fn table(&self) -> String {
        let mut text = String::new();
        let mut line = |label: &str, value: &str| line(&mut text, label, value);
        let plural = if self.workers == 1 { "worker" } else { "workers" };
        let constraints = if self.constraints.is_empty() {
            "no constraint".to_owned()
        } else {
            self.constraints.join(", ")
        };
        let service = figures::latency(self.service_time_us);
        line("Server", &format!("{} {plural} of {service}, {constraints}", self.workers));
        line("Exact", &self.exact_in_words());
        if let (Some(value), Some([low, high])) = (self.max_invocations_per_min, self.ci95) {
            let half_width = grouped((high - low) / 2.0);
            let rate = value / 60.0;
            line(
                "Found",
                &format!("{} ± {half_width} invocations/min ({rate:.3}/s)", grouped(value)),
            );
        }
        if let Some(lag) = self.lag_us {
            line(
                "Lag",
                &format!(
                    "p50 {}, p99 {}",
                    figures::latency(lag.p50_us),
                    figures::latency(lag.p99_us)
                ),
            );
        }
        line(
            "Processor",
            &format!(
                "generator {:.1} %, server {:.1} % of one",
                self.generator_cpu_pct, self.server_cpu_pct
            ),
        );
        line("Took", &format!("{:.1} s", self.duration_s));
        line("Validity", self.validity.verdict.word());
        for finding in self.disturbances() {
            line("", &finding);
        }
        line("Verdict", &self.conclusion());
        text
    }

    /// Everything but mere notes, in words.
    pub fn disturbances(&self) -> impl Iterator<Item = String> {
        let grave =
            self.validity.findings.iter().filter(|finding| finding.severity > Verdict::Valid);
        grave.map(|finding| {
            let (word, value, threshold) =
                (finding.severity.word(), finding.value, finding.threshold);
            format!("{word}: {} {value:.2} (threshold {threshold:.2})", finding.name)
        })
    }

    /// One line: whether the instrument can be trusted on this machine.
    #[must_use]
    pub fn conclusion(&self) -> String {
        let Some(deviation) = self.deviation_pct else {
            return "nothing was found".to_owned();
        };
        let interval = match self.covered {
            Some(true) => "the interval holds the exact figure",
            Some(false) | None => "the interval misses the exact figure",
        };
        let word = if self.calibrated { "calibrated" } else { "not calibrated" };
        format!("{word}: {deviation:+.2} % from exact, {interval}")
    }

    fn exact_in_words(&self) -> String {
        let source = match self.exact_standard_error_per_min {
            Some(error) => format!("simulated, standard error {error:.1}/min"),
            None if self.constraints.is_empty() => "workers ÷ service time".to_owned(),
            None => "Erlang's formula".to_owned(),
        };
        let exact = self.exact_invocations_per_min;
        format!("{} invocations/min ({:.3}/s), {source}", grouped(exact), exact / 60.0)
    }
}

fn agrees(
    value: Option<f64>,
    ci95: Option<[f64; 2]>,
    deviation_pct: Option<f64>,
    covered: Option<bool>,
) -> bool {
    let close = deviation_pct.is_some_and(|deviation| deviation.abs() <= CLOSE_ENOUGH_PCT);
    let says_something = value.zip(ci95).is_some_and(|(value, [low, high])| {
        (high - low) / 2.0 <= value * WIDEST_HALF_WIDTH_PCT / 100.0
    });
    close || (covered == Some(true) && says_something)
}

#[cfg(test)]
mod tests;
