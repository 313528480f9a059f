//! A step as it is reported: from its record and what the machine was seen doing.

use assay_measure::{hardware::Utilization, outcome::StepReport};
use hdrhistogram::{
    Histogram,
    serialization::{Serializer, V2Serializer},
};

use crate::capacity::StepRecord;

/// The report of one step.
#[must_use]
pub fn step_report(record: &StepRecord, utilization: Utilization) -> StepReport {
    StepReport {
        index: record.plan.index,
        purpose: record.plan.purpose,
        users: record.users(),
        offered: record.offered(),
        achieved: record.achieved(),
        duration: record.elapsed,
        latency: record.latency().unwrap_or_default(),
        failed_calls: record.figures.errors.total(),
        missed_calls: record.missed,
        accepted: record.accepted,
        utilization,
        histogram: encoded(&record.figures.latency),
    }
}

/// HDR V2 encoding; empty when there is nothing in it.
fn encoded(histogram: &Histogram<u64>) -> Vec<u8> {
    let mut bytes = Vec::new();
    if histogram.is_empty() {
        return bytes;
    }
    match V2Serializer::new().serialize(histogram, &mut bytes) {
        Ok(_) => bytes,
        Err(error) => {
            tracing::warn!(%error, "a histogram cannot be encoded and is left out");
            Vec::new()
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use assay_measure::{
        schedule::Load,
        search::{Purpose, StepObservation, StepPlan},
        units::Rate,
    };

    use super::*;
    use crate::load::figures::{StepEnd, StepFigures, StepResult};

    fn record(latencies_us: &[u64]) -> StepRecord {
        let mut figures = StepFigures::new();
        for &latency_us in latencies_us {
            figures.answered += 1;
            figures.latency.record(latency_us).unwrap();
        }
        figures.errors.status = 2;
        let plan = StepPlan {
            index: 3,
            purpose: Purpose::Staircase,
            load: Load::Closed { users: 4 },
            duration: Duration::from_secs(2),
            continues: false,
            verdict_after: Duration::from_secs(1),
        };
        let observation =
            StepObservation { index: 3, elapsed_us: 2_000_000, ..StepObservation::default() };
        StepRecord::new(plan, &[], 0.0, StepResult { observation, figures, end: StepEnd::Complete })
    }

    #[test]
    fn a_report_carries_the_figures_and_the_whole_histogram() {
        let record = record(&[1000, 2000, 3000]);
        let report = step_report(&record, Utilization::default());
        assert_eq!((report.index, report.users, report.offered), (3, Some(4), None));
        assert_eq!(report.achieved, Rate::per_second(1.5).unwrap());
        assert_eq!((report.latency.count, report.failed_calls, report.accepted), (3, 2, None));
        let mut reader = hdrhistogram::serialization::Deserializer::new();
        let read: Histogram<u64> = reader.deserialize(&mut report.histogram.as_slice()).unwrap();
        assert_eq!(read, record.figures.latency);
    }

    #[test]
    fn nothing_answered_is_an_empty_histogram() {
        assert!(step_report(&record(&[]), Utilization::default()).histogram.is_empty());
    }
}
