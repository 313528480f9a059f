//! HdrHistogram's interval log of a trial: one histogram of each step, tagged with what the step was for.
//! Its own tools read it, and pool steps by their tags.

use std::collections::BTreeMap;

use assay_measure::{ids::TrialId, latency, outcome::StepResult};
use assay_planning::report::JobReport;
use hdrhistogram::serialization::{
    V2DeflateSerializer,
    interval_log::{IntervalLogWriterBuilder, Tag},
};

use thiserror::Error;

/// Values are microseconds; the log's column of maxima is in milliseconds.
const MICROSECONDS_PER_MILLISECOND: f64 = 1000.0;

/// There are no logs.
#[derive(Debug, Error)]
pub(super) enum LogError {
    #[error("no call has been answered")]
    NothingAnswered,
    #[error("the histograms of {trial} cannot be written")]
    Unwritten { trial: TrialId, source: Problem },
}

/// The name and content of each trial's log, in the order of the trials.
pub(super) fn of_trials(report: &JobReport) -> Result<Vec<(String, String)>, LogError> {
    let entries = report.entries();
    // Types of one shape share a trial.
    let trials: BTreeMap<&TrialId, &[StepResult]> = entries
        .filter_map(|entry| Some((entry.trial.as_ref()?, &*entry.steps)))
        .filter(|(_, steps)| steps.iter().any(|step| !step.histogram.is_empty()))
        .collect();
    if trials.is_empty() {
        return Err(LogError::NothingAnswered);
    }
    let log = |(trial, steps): (&TrialId, &[StepResult])| {
        let text = of_steps(trial, steps)
            .map_err(|source| LogError::Unwritten { trial: trial.clone(), source })?;
        Ok((format!("{}.hlog", trial.as_str().replace('/', "-")), text))
    };
    trials.into_iter().map(log).collect()
}

type Problem = Box<dyn std::error::Error + Send + Sync>;

/// Times are since the load generator of the trial was started; what time of day that was is not recorded, so the
/// log names none.
fn of_steps(trial: &TrialId, steps: &[StepResult]) -> Result<String, Problem> {
    let mut text = Vec::new();
    let mut serializer = V2DeflateSerializer::new();
    let mut builder = IntervalLogWriterBuilder::new();
    builder
        .add_comment(&format!("[{trial}, logged with assay; values are latencies in microseconds]"))
        .with_max_value_divisor(MICROSECONDS_PER_MILLISECOND);
    let mut log = builder.begin_log_with(&mut text, &mut serializer)?;
    for step in steps {
        let histogram = latency::decode(&step.histogram)?;
        let tag = Tag::new(step.purpose.word());
        log.write_histogram(&histogram, step.started, step.duration, tag)
            .map_err(|error| error.to_string())?;
    }
    Ok(String::from_utf8(text)?)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use assay_measure::search::Purpose;
    use assay_planning::report::Entry;
    use base64::{Engine, engine::general_purpose::STANDARD};
    use hdrhistogram::{
        Histogram,
        serialization::{
            Deserializer,
            interval_log::{IntervalLogIterator, LogEntry},
        },
    };

    use super::*;

    fn step(index: u32, purpose: Purpose, latencies_us: &[u64]) -> StepResult {
        let mut histogram = latency::histogram();
        latencies_us.iter().for_each(|us| histogram.record(*us).unwrap());
        StepResult {
            users: Some(1),
            started: Duration::from_millis(1500 * u64::from(index)),
            latency: latency::Latency::of(&histogram),
            histogram: latency::encode(&histogram),
            ..StepResult::unmeasured(index, purpose, Duration::from_millis(1500))
        }
    }

    fn report(steps: Vec<StepResult>) -> JobReport {
        let entry = |name: &str| Entry {
            trial: "demo/1".parse().ok(),
            steps: steps.clone(),
            ..Entry::new(name.parse().unwrap(), assay_measure::search::Mode::Quick, 1)
        };
        JobReport {
            ranking: vec![entry("own.a"), entry("own.b")],
            ..JobReport::new("demo".parse().unwrap(), "2026-11-22T14:00:00Z".parse().unwrap())
        }
    }

    #[test]
    fn types_that_share_a_trial_have_one_log_with_every_call_of_every_step() {
        let steps = vec![
            step(0, Purpose::Staircase, &[900, 1100, 1000]),
            step(1, Purpose::Main, &[]),
            step(2, Purpose::Main, &[250_000]),
        ];
        let logs = of_trials(&report(steps.clone())).unwrap();
        let [(name, text)] = &*logs else { panic!("{} logs", logs.len()) };
        assert_eq!(name, "demo-1.hlog");
        let mut seen = Vec::new();
        for entry in IntervalLogIterator::new(text.as_bytes()) {
            let LogEntry::Interval(interval) = entry.unwrap() else { continue };
            let bytes = STANDARD.decode(interval.encoded_histogram()).unwrap();
            let read: Histogram<u64> = Deserializer::new().deserialize(&mut &*bytes).unwrap();
            let tag = interval.tag().unwrap().as_str().to_owned();
            seen.push((tag, interval.start_timestamp(), interval.duration(), read));
        }
        let written: Vec<_> = steps
            .iter()
            .map(|step| {
                let histogram = latency::decode(&step.histogram).unwrap();
                (step.purpose.word().to_owned(), step.started, step.duration, histogram)
            })
            .collect();
        assert_eq!(seen, written);
    }

    #[test]
    fn a_job_without_an_answered_call_has_no_log_and_says_so() {
        let error = of_trials(&report(vec![step(0, Purpose::Main, &[])])).unwrap_err();
        assert!(matches!(error, LogError::NothingAnswered), "{error}");
    }
}
