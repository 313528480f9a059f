//! Without a constraint the plateau is the answer: it is held in closed loop until its throughput is
//! known well.
//!
//! Two figures are wanted of it, and they belong to two loads. How much the target can do shows when
//! it never waits for the next request; how long a request takes at the start of the plateau shows
//! with the fewest users that reach it. With those alone the throughput would be up to 3 % low: one
//! user of a server of 10 ms leaves it idle while each answer travels. So segments of the second kind
//! are strewn among those of the first.

use std::time::Duration;

use super::{
    Estimate, Mode, StepObservation, drift, estimate_of, observed::throughputs, staircase::Plateau,
};
use crate::statistics::{MeanInterval, mean, mean_interval};

/// Fewer segments have no spread worth the name.
const FEWEST_SEGMENTS: usize = 4;
/// One segment in so many is held with the users of the plateau's start, for its latency.
const START_EVERY: usize = 3;
/// A segment, and each of its parts, is long enough for so many.
const ANSWERS: usize = 30;
/// A segment is cut into so many parts where it has the answers.
const MOST_PARTS: usize = 3;

/// The run at the plateau so far.
#[derive(Debug)]
pub(super) struct PlateauRun {
    segment: Duration,
    shortest: usize,
    longest: usize,
    half_width: f64,
    /// Segments that fill the target, in order.
    filling: Vec<Segment>,
    /// Steps with the users of the plateau's start, in order.
    at_start: Vec<u32>,
    counted_from: usize,
    pub(super) drift: Option<f64>,
    moves: bool,
    planned: usize,
    next_is_at_start: bool,
}

/// A segment that fills the target.
#[derive(Clone, Debug)]
struct Segment {
    step: u32,
    throughput: f64,
    /// The same of its parts.
    parts: Vec<f64>,
    requests: u64,
}

impl PlateauRun {
    /// `moves` when the burn-in saw throughput fall.
    pub(super) fn new(mode: Mode, moves: bool) -> Self {
        // Segments, shortest and longest run in segments, half-width: a quick run takes 12 to 36 s,
        // half as long again where the plateau's start is measured apart.
        let (segment, shortest, longest, half_width) = match mode {
            Mode::Quick => (3, 4, 12, 0.03),
            Mode::Full => (5, 6, 36, 0.02),
        };
        Self {
            segment: Duration::from_secs(segment),
            shortest,
            longest,
            half_width,
            filling: Vec::new(),
            at_start: Vec::new(),
            counted_from: 0,
            drift: None,
            moves,
            planned: 0,
            next_is_at_start: false,
        }
    }

    /// Users and length of the next segment, long enough for a few answers of `plateau`; `None` when it
    /// is over.
    pub(super) fn next_segment(&mut self, plateau: &Plateau) -> Option<(u32, Duration)> {
        if self.filling.len() >= self.longest || self.is_precise() {
            return None;
        }
        self.next_is_at_start =
            plateau.users != plateau.filling_users && self.planned % START_EVERY == 1;
        self.planned += 1;
        let users = if self.next_is_at_start { plateau.users } else { plateau.filling_users };
        let throughput = plateau.throughput.value.as_per_second().max(1e-3);
        let wanted =
            Duration::try_from_secs_f64(ANSWERS as f64 / throughput).unwrap_or(self.segment);
        Some((users, wanted.clamp(self.segment, self.segment * 4)))
    }

    pub(super) fn observe(&mut self, users: u32, observation: &StepObservation) {
        if self.next_is_at_start {
            self.at_start.push(observation.index);
            return;
        }
        let parts = (observation.samples.len() / ANSWERS).clamp(1, MOST_PARTS);
        self.filling.push(Segment {
            step: observation.index,
            throughput: throughputs(observation, users, 1).first().copied().unwrap_or(0.0),
            parts: throughputs(observation, users, parts),
            requests: observation.samples.len() as u64,
        });
        let paces: Vec<f64> =
            self.counted().iter().map(|segment| 1.0 / segment.throughput).collect();
        if let Some(change) = drift::of_pace(&paces) {
            self.drift = Some(change);
            self.moves = true;
            self.counted_from += paces.len() / 2;
        }
    }

    pub(super) fn is_precise(&self) -> bool {
        self.counted().len() >= FEWEST_SEGMENTS
            && self.filling.len() >= self.shortest
            && self.interval().is_some_and(|found| found.half_width <= self.half_width * found.mean)
    }

    fn counted(&self) -> &[Segment] {
        &self.filling[self.counted_from..]
    }

    fn interval(&self) -> Option<MeanInterval> {
        let throughputs: Vec<f64> =
            self.counted().iter().map(|segment| segment.throughput).collect();
        let of_segments = mean_interval(&throughputs)?;
        // A handful of segments agree by chance more often than their parts do, and what moves slowly
        // shows in the segments alone: whichever says less is believed.
        let parts: Vec<f64> =
            self.counted().iter().flat_map(|segment| segment.parts.iter().copied()).collect();
        let of_parts = mean_interval(&parts).map_or(0.0, |found| found.half_width);
        let found =
            MeanInterval { half_width: of_segments.half_width.max(of_parts), ..of_segments };
        // What moved before may move on: by as much as it did between the halves of what is left, since
        // a machine that heats up approaches its end ever more slowly.
        let moving = if self.moves { change_between_halves(&throughputs) } else { 0.0 };
        Some(MeanInterval { half_width: found.half_width + moving, ..found })
    }

    /// The throughput held; `None` before there are two segments.
    pub(super) fn estimate(&self) -> Option<Estimate> {
        self.interval().map(estimate_of)
    }

    /// The steps whose latencies are those of the start of `plateau`.
    pub(super) fn steps(&self, plateau: &Plateau) -> Vec<u32> {
        let counted = self.counted().iter().map(|segment| segment.step);
        if plateau.users == plateau.filling_users {
            return counted.collect();
        }
        let from = counted.min().unwrap_or(0);
        let at_start: Vec<u32> =
            self.at_start.iter().copied().filter(|step| *step > from).collect();
        if at_start.is_empty() { plateau.steps.clone() } else { at_start }
    }

    pub(super) fn requests(&self) -> u64 {
        self.counted().iter().map(|segment| segment.requests).sum()
    }
}

/// How far the mean moved from the first half to the second; nothing with fewer than two.
fn change_between_halves(values: &[f64]) -> f64 {
    let (first, second) = values.split_at(values.len() / 2);
    match (mean(first), mean(second)) {
        (Some(first), Some(second)) => (second - first).abs(),
        _ => 0.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::search::{Sample, Verdict};

    /// Three seconds, each with so many answers evenly spaced.
    fn segment(answers_per_s: [u64; 3]) -> StepObservation {
        let ended = (0..).zip(answers_per_s).flat_map(|(second, answers)| {
            (1..=answers).map(move |n| second * 1_000_000 + n * 1_000_000 / answers)
        });
        let samples = ended
            .map(|at| Sample { intended_us: 0, latency_us: at, verdict: Verdict::Answered })
            .collect();
        StepObservation { samples, elapsed_us: 3_000_000, ..StepObservation::default() }
    }

    fn half_width_of(segments: [[u64; 3]; 4]) -> f64 {
        let mut run = PlateauRun::new(Mode::Quick, false);
        for seconds in segments {
            run.observe(1, &segment(seconds));
        }
        run.interval().unwrap().half_width
    }

    #[test]
    fn segments_that_agree_by_chance_are_not_believed() {
        // Of 300 answers each, although single seconds differ by a fifth.
        let found = half_width_of([[90, 110, 100], [110, 90, 100], [100, 90, 110], [110, 100, 90]]);
        assert!(found > 4.0, "{found}");
    }

    #[test]
    fn what_moves_slowly_shows_in_the_segments() {
        let found = half_width_of([[90; 3], [100; 3], [100; 3], [110; 3]]);
        // Student with three degrees of freedom; the seconds would say half of it.
        assert!((found - 3.182 * 8.165 / 2.0).abs() < 0.2, "{found}");
    }

    #[test]
    fn an_even_target_has_a_narrow_interval() {
        assert!(half_width_of([[100; 3]; 4]) < 0.1);
    }
}
