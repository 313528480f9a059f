//! Without a constraint the plateau is the answer: it is held in closed loop until its throughput is
//! known well.

use std::time::Duration;

use super::{
    Estimate, Mode, StepObservation, drift, estimate_of, observed::throughputs, staircase::Plateau,
};
use crate::statistics::{MeanInterval, mean_interval};

/// Fewer segments have no spread worth the name.
const FEWEST_SEGMENTS: usize = 4;
/// Once throughput moved, later changes must be expected too.
const DRIFT_WIDENING: f64 = 1.5;

/// The run at the plateau so far.
#[derive(Debug)]
pub(super) struct PlateauRun {
    segment: Duration,
    shortest: usize,
    longest: usize,
    half_width: f64,
    throughputs: Vec<f64>,
    steps: Vec<u32>,
    requests: Vec<u64>,
    counted_from: usize,
    pub(super) drift: Option<f64>,
    planned: usize,
}

impl PlateauRun {
    pub(super) fn new(mode: Mode) -> Self {
        // Segments, shortest and longest run in segments, half-width: a quick run takes 12 to 36 s.
        let (segment, shortest, longest, half_width) = match mode {
            Mode::Quick => (3, 4, 12, 0.03),
            Mode::Full => (5, 6, 36, 0.02),
        };
        Self {
            segment: Duration::from_secs(segment),
            shortest,
            longest,
            half_width,
            throughputs: Vec::new(),
            steps: Vec::new(),
            requests: Vec::new(),
            counted_from: 0,
            drift: None,
            planned: 0,
        }
    }

    /// The length of the next segment, long enough for a few answers of `plateau`; `None` when it is over.
    pub(super) fn next_segment(&mut self, plateau: &Plateau) -> Option<Duration> {
        const ANSWERS: f64 = 30.0;
        if self.planned >= self.longest || self.is_precise() {
            return None;
        }
        self.planned += 1;
        let throughput = plateau.throughput.value.as_per_second().max(1e-3);
        let wanted = Duration::try_from_secs_f64(ANSWERS / throughput).unwrap_or(self.segment);
        Some(wanted.clamp(self.segment, self.segment * 4))
    }

    pub(super) fn observe(&mut self, observation: &StepObservation) {
        self.throughputs.push(throughputs(observation, 1).first().copied().unwrap_or(0.0));
        self.steps.push(observation.index);
        self.requests.push(observation.samples.len() as u64);
        let paces: Vec<f64> = self.counted().iter().map(|throughput| 1.0 / throughput).collect();
        if let Some(change) = drift::of_pace(&paces) {
            self.drift = Some(change);
            self.counted_from += paces.len() / 2;
        }
    }

    pub(super) fn is_precise(&self) -> bool {
        self.counted().len() >= FEWEST_SEGMENTS
            && self.throughputs.len() >= self.shortest
            && self.interval().is_some_and(|found| found.half_width <= self.half_width * found.mean)
    }

    fn counted(&self) -> &[f64] {
        &self.throughputs[self.counted_from..]
    }

    fn interval(&self) -> Option<MeanInterval> {
        let found = mean_interval(self.counted())?;
        let widening = if self.drift.is_some() { DRIFT_WIDENING } else { 1.0 };
        Some(MeanInterval { half_width: found.half_width * widening, ..found })
    }

    /// The throughput held; `None` before there are two segments.
    pub(super) fn estimate(&self) -> Option<Estimate> {
        self.interval().map(estimate_of)
    }

    pub(super) fn steps(&self) -> Vec<u32> {
        self.steps[self.counted_from..].to_vec()
    }

    pub(super) fn requests(&self) -> u64 {
        self.requests[self.counted_from..].iter().sum()
    }
}
