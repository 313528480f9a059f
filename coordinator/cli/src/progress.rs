//! How a job is doing, on standard error: bars on a terminal, otherwise a dated line per step.

use std::{collections::HashMap, io::IsTerminal, time::Duration};

use assay_measure::{outcome::TrialOutcome, printable, units::as_micros};
use assay_proto::v1::{self, job_event::Event};
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use jiff::Timestamp;

use crate::figures;

const BAR: &str = "  {spinner} {prefix}  {bar:16.cyan/dim} {msg}";
const BAR_LENGTH: u64 = 1000;
const TICK: Duration = Duration::from_millis(120);

pub(crate) struct ProgressView {
    bars: Option<MultiProgress>,
    running: HashMap<String, RunningTrial>,
    silent: bool,
    steps: bool,
}

struct RunningTrial {
    label: String,
    bar: ProgressBar,
}

impl ProgressView {
    /// Bars when standard error is a terminal; nothing at all when `quiet`.
    pub(crate) fn new(quiet: bool, verbose: bool) -> Self {
        let terminal = std::io::stderr().is_terminal() && !quiet;
        Self {
            bars: terminal.then(MultiProgress::new),
            running: HashMap::new(),
            silent: quiet,
            steps: verbose || !terminal,
        }
    }

    pub(crate) fn line(&self, text: &str) {
        if self.silent {
            return;
        }
        let text = printable::line(text);
        match &self.bars {
            // Lines printed through the bars do not tear them; errors mean there is no terminal.
            Some(bars) => drop(bars.println(text)),
            None => anstream::eprintln!("{} {}", dated(), text.trim()),
        }
    }

    pub(crate) fn event(&mut self, event: v1::JobEvent) {
        match event.event {
            None => {}
            Some(Event::StatusChanged(changed)) if changed.reason.is_empty() => {}
            Some(Event::StatusChanged(changed)) => self.line(&format!("  {}", changed.reason)),
            Some(Event::TrialStarted(started)) => self.started(started),
            Some(Event::TrialProgressed(progressed)) => self.progressed(&progressed),
            Some(Event::StepFinished(finished)) => self.step(&finished),
            Some(Event::TrialEnded(ended)) => self.ended(ended),
            Some(Event::TrialReturned(returned)) => {
                self.clear(&returned.trial_id);
                self.line(&format!(
                    "  ↻ {}: {}; measured again",
                    returned.trial_id, returned.reason
                ));
            }
        }
    }

    pub(crate) fn finish(&mut self) {
        for (_, trial) in self.running.drain() {
            trial.bar.finish_and_clear();
        }
    }

    fn started(&mut self, started: v1::TrialStarted) {
        let Some(planned) = started.trial else { return };
        let label = label(&planned);
        if self.bars.is_none() {
            self.line(&format!("{label}  started on {}", started.agent));
        }
        let bar = match &self.bars {
            Some(bars) => bars.add(ProgressBar::new(BAR_LENGTH)),
            None => ProgressBar::hidden(),
        };
        if let Ok(style) = ProgressStyle::with_template(BAR) {
            bar.set_style(style.progress_chars("━╸─"));
        }
        bar.set_prefix(printable::line(&label));
        bar.enable_steady_tick(TICK);
        self.running.insert(planned.trial_id, RunningTrial { label, bar });
    }

    fn progressed(&self, progressed: &v1::TrialProgressed) {
        let (Some(trial), Some(progress)) =
            (self.running.get(&progressed.trial_id), progressed.progress.as_ref())
        else {
            return;
        };
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "clamped to 0..=1000"
        )]
        let position = (progress.fraction.clamp(0.0, 1.0) * BAR_LENGTH as f64) as u64;
        trial.bar.set_position(position);
        let left = Duration::from_micros(progress.left_us);
        let left =
            if left.is_zero() { String::new() } else { format!("  {} left", figures::clock(left)) };
        trial.bar.set_message(format!("{}{left}", printable::line(&progress.message)));
    }

    fn step(&self, finished: &v1::TrialStepFinished) {
        let (Some(step), true) = (finished.step.as_ref(), self.steps) else { return };
        let label =
            self.running.get(&finished.trial_id).map_or(finished.trial_id.as_str(), |t| &t.label);
        let load = match (step.users, step.offered_per_s) {
            (Some(users), _) => format!("{users} users"),
            (None, Some(rate)) => format!("{}/min offered", figures::grouped(rate * 60.0)),
            (None, None) => "recorded times".to_owned(),
        };
        let p95 = step.latency.as_ref().map(|latency| latency.p95_us);
        let p95 = p95.map_or_else(String::new, |us| format!("  p95 {}", figures::latency(us)));
        self.line(&format!(
            "  {label}  {} {load}: {}/min{p95}",
            step.purpose,
            figures::grouped(step.achieved_per_s * 60.0)
        ));
    }

    fn ended(&mut self, ended: v1::TrialEnded) {
        let label = self.clear(&ended.trial_id).unwrap_or(ended.trial_id);
        let outcome = ended.outcome.map(TrialOutcome::try_from);
        match outcome {
            Some(Ok(outcome)) => self.line(&outcome_line(&label, &outcome)),
            Some(Err(malformed)) => self.line(&format!("  ! {label}  {malformed}")),
            None => {}
        }
    }

    fn clear(&mut self, trial_id: &str) -> Option<String> {
        let trial = self.running.remove(trial_id)?;
        trial.bar.finish_and_clear();
        Some(trial.label)
    }
}

/// `ml.c5.large, ml.m5.large  workers=1 intra-op=2`.
fn label(planned: &v1::PlannedTrial) -> String {
    let configuration =
        planned.configuration.clone().map(assay_measure::configuration::Configuration::try_from);
    let configuration = match configuration {
        Some(Ok(configuration)) => configuration.to_string(),
        Some(Err(_)) | None => {
            planned.endpoint.as_ref().map(|name| format!("endpoint {name}")).unwrap_or_default()
        }
    };
    format!("{}  {configuration}", planned.instance_types.join(", "))
}

fn outcome_line(label: &str, outcome: &TrialOutcome) -> String {
    match outcome {
        TrialOutcome::Measured(measurement) => {
            let p95 = measurement.latency.map_or_else(String::new, |latency| {
                format!("p95 {}  ", figures::latency(latency.p95_us))
            });
            let took = figures::clock(Duration::from_micros(as_micros(measurement.took)));
            let mark = match measurement.validity.verdict {
                assay_measure::validity::Verdict::Valid => "✓",
                assay_measure::validity::Verdict::Suspect => "?",
                assay_measure::validity::Verdict::Invalid => "✗",
            };
            let capacity = measurement.answer.as_ref().map_or_else(String::new, |answer| {
                let interval =
                    [answer.capacity.low.as_per_minute(), answer.capacity.high.as_per_minute()];
                let value = answer.capacity.value.as_per_minute();
                format!("{} inv/min  ", figures::with_interval(value, Some(interval)))
            });
            format!("  {mark} {label}  {capacity}{p95}in {took}")
        }
        TrialOutcome::Failed(failure) => format!("  ✗ {label}  {}", failure.message),
        TrialOutcome::Cancelled { by } => format!("  - {label}  cancelled by {by}"),
    }
}

fn dated() -> String {
    Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}
