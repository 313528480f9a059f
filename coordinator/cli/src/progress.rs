//! How a job is doing, on standard error: a live line per running trial on a terminal; elsewhere a dated line per
//! event, and at most one a minute besides.

use std::{
    cell::Cell,
    collections::HashMap,
    io::IsTerminal,
    time::{Duration, Instant},
};

use assay_measure::{outcome::TrialOutcome, printable, units::as_micros};
use assay_proto::v1::{self, job_event::Event};
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use jiff::Timestamp;

use crate::{cli::ProgressMode, figures, output};

/// What does not fit is cut off on the right, so what is looked for most often stands on the left.
const LIVE_LINE: &str = "  {spinner} {bar:10.cyan/dim} {wide_msg}";
const BAR_LENGTH: u64 = 1000;
const TICK: Duration = Duration::from_millis(120);
/// Between lines that nothing calls for.
const AT_MOST_EVERY: Duration = Duration::from_secs(60);

pub(crate) struct ProgressView {
    bars: Option<MultiProgress>,
    running: HashMap<String, RunningTrial>,
    mode: ProgressMode,
    /// A line per step.
    verbose: bool,
    last_line_at: Cell<Option<Instant>>,
}

struct RunningTrial {
    label: String,
    bar: ProgressBar,
}

impl ProgressView {
    /// Lines of steps are shown only when `verbose`.
    pub(crate) fn new(mode: ProgressMode, verbose: bool) -> Self {
        let live = mode == ProgressMode::Auto && std::io::stderr().is_terminal();
        Self {
            bars: live.then(MultiProgress::new),
            running: HashMap::new(),
            mode,
            verbose,
            last_line_at: Cell::new(None),
        }
    }

    pub(crate) fn line(&self, text: &str) {
        if self.mode == ProgressMode::None {
            return;
        }
        self.last_line_at.set(Some(Instant::now()));
        let text = printable::line(text);
        match &self.bars {
            // Lines printed through the bars do not tear them; errors mean there is no terminal.
            Some(bars) => {
                drop(bars.println(output::wrapped(&text, "", "      ", terminal_width())))
            }
            None => anstream::eprintln!("{} {}", dated(), text.trim()),
        }
    }

    /// A line that nothing calls for: where there is no live one, and not too often.
    fn besides(&self, text: impl FnOnce() -> String) {
        if self.bars.is_none() && is_due(self.last_line_at.get(), Instant::now()) {
            self.line(&text());
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
        if let Ok(style) = ProgressStyle::with_template(LIVE_LINE) {
            bar.set_style(style.progress_chars("━╸─"));
        }
        let label = short_label(&planned);
        bar.set_message(printable::line(&label));
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
            if left.is_zero() { String::new() } else { format!("{} left  ", figures::clock(left)) };
        let text = format!("{left}{}  {}", trial.label, progress.message);
        trial.bar.set_message(printable::line(&text));
        self.besides(|| text);
    }

    fn step(&self, finished: &v1::TrialStepFinished) {
        let Some(step) = finished.step.as_ref() else { return };
        let label =
            self.running.get(&finished.trial_id).map_or(finished.trial_id.as_str(), |t| &t.label);
        let load = match (step.users, step.offered_per_s) {
            (Some(users), _) => format!("{users} users"),
            (None, Some(rate)) => format!("{}/min offered", figures::grouped(rate * 60.0)),
            (None, None) => "recorded times".to_owned(),
        };
        let p95 = step.latency.as_ref().map(|latency| latency.p95_us);
        let p95 = p95.map_or_else(String::new, |us| format!("  p95 {}", figures::latency(us)));
        let text = format!(
            "  {label}  {} {load}: {}/min{p95}",
            step.purpose,
            figures::grouped(step.achieved_per_s * 60.0)
        );
        if self.verbose {
            self.line(&text);
        } else {
            self.besides(|| text);
        }
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

fn terminal_width() -> Option<u16> {
    terminal_size::terminal_size_of(std::io::stderr()).map(|(width, _)| width.0)
}

fn is_due(last_line_at: Option<Instant>, now: Instant) -> bool {
    last_line_at.is_none_or(|last| now.duration_since(last) >= AT_MOST_EVERY)
}

/// `ml.c5.large, ml.m5.large  workers=1 intra-op=2`.
fn label(planned: &v1::PlannedTrial) -> String {
    format!("{}  {}", planned.instance_types.join(", "), serving(planned))
}

/// The same with the first type and how many more: `ml.c5.large +1  workers=1 intra-op=2`.
fn short_label(planned: &v1::PlannedTrial) -> String {
    let types = match &*planned.instance_types {
        [first, _, ..] => format!("{first} +{}", planned.instance_types.len() - 1),
        few => few.concat(),
    };
    format!("{types}  {}", serving(planned))
}

fn serving(planned: &v1::PlannedTrial) -> String {
    let configuration =
        planned.configuration.clone().map(assay_measure::configuration::Configuration::try_from);
    match configuration {
        Some(Ok(configuration)) => configuration.to_string(),
        Some(Err(_)) | None => {
            planned.endpoint.as_ref().map(|name| format!("endpoint {name}")).unwrap_or_default()
        }
    }
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
                format!("{}/min  ", figures::with_interval(value, Some(interval)))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_nothing_calls_for_comes_once_a_minute_at_most() {
        let now = Instant::now();
        let ago = |seconds| now.checked_sub(Duration::from_secs(seconds));
        assert!(is_due(None, now));
        assert!(!is_due(ago(0), now) && !is_due(ago(59), now));
        assert!(is_due(ago(60), now));
    }

    #[test]
    fn types_that_share_a_trial_are_counted_where_space_is_short() {
        let planned = |types: &[&str]| v1::PlannedTrial {
            instance_types: types.iter().map(|&one| one.to_owned()).collect(),
            endpoint: Some("mine".to_owned()),
            ..v1::PlannedTrial::default()
        };
        assert_eq!(short_label(&planned(&["ml.c5.large"])), "ml.c5.large  endpoint mine");
        let three = planned(&["ml.c5.large", "ml.m5.large", "ml.c6i.large"]);
        assert_eq!(short_label(&three), "ml.c5.large +2  endpoint mine");
        assert_eq!(label(&three), "ml.c5.large, ml.m5.large, ml.c6i.large  endpoint mine");
    }
}
