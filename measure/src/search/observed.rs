//! Reading figures off an observation, whatever state it is in: unsorted, empty, zero long.

use super::{
    Batch, Sample, StepObservation, Verdict, batching::Batching, limit::Limit,
    queue_model::QueueModel, replay::Segment,
};
use crate::statistics::{median, wilson_interval};

/// A share is beyond its limit only when the lower end of its 95 % interval is.
const ERROR_DEVIATES: f64 = 1.96;
/// Misses closer than so many times the constraint belong to one episode: a queue that has made one
/// request miss has by then been worked off.
const EPISODE_GAP: f64 = 5.0;
/// The fewest requests without a queue that make a median.
const FEWEST_UNQUEUED: usize = 15;

/// Calls of a step by what became of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Calls {
    pub(super) answered: u64,
    pub(super) failed: u64,
    pub(super) outstanding: u64,
}

impl Calls {
    pub(super) fn of(samples: &[Sample]) -> Self {
        let mut calls = Self::default();
        for sample in samples {
            match sample.verdict {
                Verdict::Answered => calls.answered += 1,
                Verdict::Failed => calls.failed += 1,
                Verdict::Outstanding => calls.outstanding += 1,
            }
        }
        calls
    }

    /// Failed calls are more than `allowed`, beyond doubt.
    pub(super) fn fail_beyond(self, allowed: f64) -> bool {
        let allowed = if allowed.is_nan() { 0.0 } else { allowed.clamp(0.0, 1.0) };
        wilson_interval(self.failed, self.answered + self.failed, ERROR_DEVIATES).0 > allowed
    }

    /// Failed among those that ended.
    pub(super) fn failed_share(self) -> f64 {
        self.failed as f64 / (self.answered + self.failed).max(1) as f64
    }
}

/// Whether a request broke the constraint. One that was never answered did; one that failed at once
/// did not, errors have their own limit.
pub(super) fn misses(sample: &Sample, limit: Limit) -> bool {
    sample.verdict == Verdict::Outstanding || sample.latency_us as f64 > limit.latency_us
}

/// Median latency of the answered calls, in microseconds.
pub(super) fn median_latency_us(samples: &[Sample]) -> Option<f64> {
    let answered: Vec<f64> = samples
        .iter()
        .filter(|sample| sample.verdict == Verdict::Answered)
        .map(|sample| sample.latency_us as f64)
        .collect();
    median(&answered)
}

/// Throughputs per second in up to `windows` equal windows of a step with so many users, from the times
/// at which answers came. Windows begin and end with an answer, so that no fraction of one is lost:
/// counting answers in windows of fixed length is off by one each, a few per cent at low rates.
///
/// Answers come in bursts, from several workers in step or from a batch, so the first and the last one of
/// a window would count a burst too many: two workers of 50 ms in step seem 1 % faster than they are for
/// 2.5 s. While every user is answered once the pattern repeats, so a window reaches from the mean time
/// of as many answers as there are users to the mean time of as many others.
pub(crate) fn throughputs(observation: &StepObservation, users: u32, windows: usize) -> Vec<f64> {
    let mut ended: Vec<u64> = observation
        .samples
        .iter()
        .filter(|sample| sample.verdict == Verdict::Answered)
        .map(|sample| sample.intended_us.saturating_add(sample.latency_us))
        .collect();
    ended.sort_unstable();
    let users = usize::try_from(users).unwrap_or(usize::MAX).max(1);
    // Neighbouring windows that share more than half of their answers would seem too much alike, and without a
    // whole round at each end the bursts are back: few answers make fewer windows.
    let windows = windows.min((ended.len() / users.saturating_mul(2)).max(1));
    let round = users.min(ended.len() / 2).max(1);
    let (Some(first), Some(last)) = (ended.get(round - 1).copied(), ended.last().copied()) else {
        return Vec::new();
    };
    let span = (last - first) as f64;
    let edges = (0..=windows).map(|edge| {
        let offset = span * edge as f64 / windows.max(1) as f64;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "between 0 and the span"
        )]
        let time = first.saturating_add(offset as u64);
        // The last of several answers at one instant.
        ended.partition_point(|at| *at <= time)
    });
    let edges: Vec<(usize, f64)> = edges
        .map(|answers| {
            let since_first =
                ended[answers - round..answers].iter().map(|at| (at - ended[0]) as f64);
            (answers, since_first.sum::<f64>() / round as f64)
        })
        .collect();
    edges
        .windows(2)
        .filter(|edge| edge[1].1 > edge[0].1)
        .map(|edge| (edge[1].0 - edge[0].0) as f64 * 1e6 / (edge[1].1 - edge[0].1))
        .collect()
}

/// How the pace of a target is told: it moves when the target itself gets slower or faster, whatever
/// the bursts of arrivals.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Pace {
    /// By the requests that found one of so many servers free.
    OfUnqueued { servers: usize },
    /// By how long its batches take.
    OfBatches(Batching),
}

impl Pace {
    /// As the model allows.
    pub(super) fn by(model: &QueueModel) -> Self {
        model.batching.map_or(Self::OfUnqueued { servers: model.servers }, Self::OfBatches)
    }

    /// In microseconds; `None` when too little was seen.
    pub(super) fn of(self, samples: &[Sample], batches: &[Batch]) -> Option<f64> {
        match self {
            Self::OfUnqueued { servers } => pace_us(samples, servers),
            Self::OfBatches(batching) => batching.pace_us(batches),
        }
    }

    /// The same for a segment that was kept.
    pub(super) fn of_segment(self, segment: &Segment) -> Option<f64> {
        let kept = segment.arrivals_us.iter().zip(&segment.latencies_us);
        let samples: Vec<Sample> = kept
            .map(|(at, latency)| Sample {
                intended_us: u64::from(*at),
                #[expect(
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    reason = "was whole microseconds; the cast saturates"
                )]
                latency_us: *latency as u64,
                verdict: if latency.is_finite() { Verdict::Answered } else { Verdict::Outstanding },
            })
            .collect();
        self.of(&samples, &segment.batches)
    }
}

/// An open-loop step as a segment for replay. `last_miss_us` is when the last miss before it was sent,
/// and is moved on.
pub(super) fn segment(
    observation: &StepObservation,
    limits: &[Limit],
    pace: Pace,
    last_miss_us: &mut Option<u64>,
) -> Segment {
    let mut samples = observation.samples.clone();
    if !samples.is_sorted_by_key(|sample| sample.intended_us) {
        samples.sort_by_key(|sample| sample.intended_us);
    }
    let arrivals_us = samples
        .iter()
        .map(|sample| {
            u32::try_from(sample.intended_us.saturating_sub(observation.started_us))
                .unwrap_or(u32::MAX)
        })
        .collect();
    let latencies_us = samples
        .iter()
        .map(|sample| match sample.verdict {
            Verdict::Outstanding => f32::INFINITY,
            Verdict::Answered | Verdict::Failed => sample.latency_us as f32,
        })
        .collect();
    let count = |limit: &Limit| samples.iter().filter(|sample| misses(sample, *limit)).count();
    let counted: Vec<u32> =
        limits.iter().map(|limit| u32::try_from(count(limit)).unwrap_or(u32::MAX)).collect();
    let most = counted
        .iter()
        .enumerate()
        .max_by_key(|(_, misses)| **misses)
        .map(|(number, _)| limits[number]);
    Segment {
        index: observation.index,
        started_us: observation.started_us,
        ended_us: observation.started_us.saturating_add(observation.elapsed_us),
        episodes: most.map_or(0, |limit| episodes(&samples, limit, last_miss_us)),
        pace_us: pace.of(&samples, &observation.batches),
        batches: observation.batches.clone(),
        requests: samples.len() as u64,
        arrivals_us,
        latencies_us,
        misses: counted,
        ..Segment::default()
    }
}

fn episodes(samples: &[Sample], limit: Limit, last_miss_us: &mut Option<u64>) -> u32 {
    let mut episodes = 0;
    for sample in samples.iter().filter(|sample| misses(sample, limit)) {
        let quiet_us = last_miss_us.map(|last| sample.intended_us.saturating_sub(last));
        if quiet_us.is_none_or(|quiet| quiet as f64 > EPISODE_GAP * limit.latency_us) {
            episodes += 1;
        }
        *last_miss_us = Some(sample.intended_us);
    }
    episodes
}

/// Median latency of the requests that found a server free: those that came after the answer to the
/// request `servers` before them.
fn pace_us(samples: &[Sample], servers: usize) -> Option<f64> {
    let unqueued: Vec<f64> = samples
        .iter()
        .zip(samples.iter().skip(servers))
        .filter(|(before, sample)| {
            sample.verdict == Verdict::Answered
                && before.verdict != Verdict::Outstanding
                && before.intended_us.saturating_add(before.latency_us) <= sample.intended_us
        })
        .map(|(_, sample)| sample.latency_us as f64)
        .collect();
    if unqueued.len() < FEWEST_UNQUEUED { None } else { median(&unqueued) }
}

/// The longest that a request of the step has been waiting, in microseconds.
pub(super) fn longest_us(samples: &[Sample]) -> u64 {
    samples.iter().map(|sample| sample.latency_us).max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(intended_us: u64, latency_us: u64) -> Sample {
        Sample { intended_us, latency_us, verdict: Verdict::Answered }
    }

    #[test]
    fn throughput_is_exact_even_when_few_answers_come_in_batches() {
        // Batches of four every 20 ms: 200 per second, although the windows hold few answers.
        let samples = (0..40).map(|n| answered(0, 20_000 * (n / 4 + 1))).collect();
        let observation =
            StepObservation { samples, elapsed_us: 200_000, ..StepObservation::default() };
        for rate in throughputs(&observation, 4, 4) {
            assert!((rate - 200.0).abs() < 1e-9, "{rate}");
        }
        assert!(throughputs(&StepObservation::default(), 4, 4).is_empty());
        assert!(throughputs(&observation, 4, 0).is_empty());
    }

    #[test]
    fn throughput_is_exact_where_workers_answer_in_step() {
        // Two workers of 50 ms that end within some microseconds of each other, four users, 2.5 s.
        let jitter = |n: u64| n * 7 % 5;
        let samples: Vec<Sample> =
            (0..100).map(|n| answered(0, 50_000 * (n / 2 + 1) + jitter(n))).collect();
        let observation = StepObservation { samples, ..StepObservation::default() };
        for windows in [1, 4] {
            for rate in throughputs(&observation, 4, windows) {
                assert!((rate / 40.0 - 1.0).abs() < 1e-3, "{windows}: {rate}");
            }
        }
    }

    #[test]
    fn throughput_has_one_window_with_more_users_than_answers() {
        let samples = (1..=20).map(|n| answered(0, 10_000 * n)).collect();
        let observation = StepObservation { samples, ..StepObservation::default() };
        let found = throughputs(&observation, 1000, 4);
        assert!(matches!(*found, [rate] if (rate - 100.0).abs() < 1e-9), "{found:?}");
    }

    #[test]
    fn few_answers_in_bursts_are_not_taken_for_many() {
        // Two workers of 110 ms in step, four users, 565 ms: ten answers in pairs.
        let samples = (0..10).map(|n| answered(0, 110_000 * (n / 2 + 1) + n % 2 * 500)).collect();
        let observation = StepObservation { samples, ..StepObservation::default() };
        let found = throughputs(&observation, 4, 4);
        assert!(matches!(*found, [rate] if (rate * 0.055 - 1.0).abs() < 1e-2), "{found:?}");
    }

    #[test]
    fn misses_are_late_or_missing_and_episodes_are_apart() {
        let limit = Limit { latency_us: 1_000.0, budget: 0.05 };
        let late = |at| answered(at, 1_001);
        let samples = vec![
            answered(0, 1_000),
            late(10),
            late(2_000),
            late(20_000),
            Sample { verdict: Verdict::Failed, ..answered(20_100, 5) },
        ];
        let observation =
            StepObservation { samples, elapsed_us: 30_000, ..StepObservation::default() };
        let mut last = None;
        let found = segment(&observation, &[limit], Pace::OfUnqueued { servers: 1 }, &mut last);
        assert_eq!((found.misses, found.episodes, last), (vec![3], 2, Some(20_000)));
        let never = Sample { verdict: Verdict::Outstanding, ..answered(0, 3) };
        assert!(misses(&never, limit));
    }

    #[test]
    fn pace_leaves_out_requests_that_waited() {
        // Pairs: the first finds the server free, the second waits for it.
        let samples: Vec<Sample> =
            (0..40).map(|n| answered(n / 2 * 1_000, 100 + 100 * (n % 2))).collect();
        assert_eq!(pace_us(&samples, 1), Some(100.0));
        assert_eq!(pace_us(&samples[..10], 1), None, "too few");
    }

    #[test]
    fn one_failure_in_few_calls_is_no_proof() {
        let calls = |answered, failed| Calls { answered, failed, outstanding: 0 };
        assert!(!calls(60, 1).fail_beyond(0.01));
        assert!(calls(60, 6).fail_beyond(0.01));
        assert!(!calls(0, 0).fail_beyond(0.0));
        assert!(!calls(0, 10).fail_beyond(1.0));
    }
}
