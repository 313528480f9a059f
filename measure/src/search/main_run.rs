//! The open-loop run: probes that fix the model coarsely, then segments without a pause, each steered
//! to the rate at which the constraints are just met as far as is known.
//!
//! Because the run stays near the answer, a wrong model costs precision, not correctness: replay only
//! cancels the luck of the arrivals.

use std::time::Duration;

use super::{
    LimitedBy, Mode, Purpose, SearchPlan, StepObservation, StepPlan,
    batching::BatchesSeen,
    ceiling::Ceiling,
    drift,
    estimation::RunEstimate,
    limit::Limit,
    observed::{Calls, Pace, longest_us, segment},
    order::{Order, Room, open_loop},
    queue_model::{GRID_STEP, QueueModel},
    replay::Trace,
    resampled_arrivals::ResampledArrivals,
    staircase::Plateau,
    stop_rule::{Progress, StopRule},
};
use crate::units::as_micros;

/// Lengths of the probes. Full mode takes a second, longer one, so that its run begins near the root.
const QUICK_PROBES: &[Duration] = &[Duration::from_secs(4)];
const FULL_PROBES: &[Duration] = &[Duration::from_secs(4), Duration::from_secs(6)];
/// The target is never asked for more than this share of what closed loop got out of it: closer to
/// saturation no queue comes to rest within a run.
const LARGEST_SHARE_OF_PLATEAU: f64 = 0.985;
/// The rate changes at most by this factor per segment: early estimates are rough.
const LARGEST_STEP_UP: f64 = 1.25;
const LARGEST_STEP_DOWN: f64 = 0.7;
/// A queue that takes so many times the constraint, and a second, to work off is not worth waiting
/// for within the run.
const BACKLOG_LIMITS: f64 = 6.0;
const BACKLOG_US: f64 = 1e6;
/// A segment shorter than this share of the usual one is not worth beginning.
const SHORTEST_SEGMENT: f64 = 0.4;
/// Verdicts of one segment must be in before the next one ends, with this much to spare.
const VERDICT_SLACK: f64 = 1.25;
/// With fewer misses a constraint says little about the multiplier.
const FEWEST_MISSES: f64 = 5.0;
/// Where on the grid the model stands as the closed loop fitted it.
const CLOSED_LOOP_PACE: f64 = 0.0;
/// Rates that differ by less are one when the target's pace is compared.
const SAME_RATE: f64 = 0.03;
/// Segments in a row that the generator may spoil before the rate is taken to be beyond it.
const SPOILED_IN_A_ROW: u32 = 2;

/// The open-loop run so far.
#[derive(Debug)]
pub(super) struct MainRun {
    pub(super) model: QueueModel,
    pub(super) trace: Trace,
    pub(super) fresh: ResampledArrivals,
    /// Where on the grid fresh load came out, per constraint.
    pub(super) fresh_positions: Vec<f64>,
    plateau: Plateau,
    /// Batches of the closed loop and the probes, while every step tells of its own.
    batches: Option<BatchesSeen>,
    pub(super) ceiling: Ceiling,
    /// The largest rate to ask for: a fixed share of the plateau, and as sure as that.
    pub(super) cap: RunEstimate,
    pub(super) rule: StopRule,
    /// Segments that the generator or errors spoiled.
    pub(super) spoiled: Vec<bool>,
    /// Segments before this one no longer count.
    pub(super) counted_from: usize,
    /// Where on the grid the last inversions ended, per constraint.
    pub(super) positions: Vec<f64>,
    /// A change of the target's speed, ever since the first main segment.
    pub(super) drift: Option<f64>,
    pub(super) estimate: Option<RunEstimate>,
    /// Of the inversions alone, on the logarithm.
    pub(super) inversion_half_width: f64,
    seed: u64,
    probes: &'static [Duration],
    planned: u64,
    planned_main: Duration,
    next_rate: f64,
    restarts: bool,
    /// The machine got slower under the burn-in.
    pub(super) throttled: bool,
    lagged: u32,
    last_miss_us: Option<u64>,
    met: bool,
    cut_short: bool,
    /// Of the estimates so far, on the logarithm.
    half_widths: Vec<f64>,
}

impl MainRun {
    pub(super) fn new(
        plan: &SearchPlan,
        limits: Vec<Limit>,
        plateau: &Plateau,
        throttled: bool,
    ) -> Self {
        let throughput = plateau.throughput.value.as_per_second();
        let model = plateau.model(Some(&plateau.batches), plan.seed);
        let mut run = Self {
            fresh: ResampledArrivals::new(limits.clone(), &model, throughput, plan.seed),
            batches: model.batching.is_some().then(|| plateau.batches.clone()),
            plateau: plateau.clone(),
            model,
            positions: vec![0.0; limits.len()],
            fresh_positions: vec![0.0; limits.len()],
            trace: Trace::new(limits),
            ceiling: Ceiling::new(plan.max_error_share),
            cap: RunEstimate {
                value: throughput * LARGEST_SHARE_OF_PLATEAU,
                low: plateau.throughput.low.as_per_second() * LARGEST_SHARE_OF_PLATEAU,
                high: plateau.throughput.high.as_per_second() * LARGEST_SHARE_OF_PLATEAU,
                limited_by: plateau.limited_by,
            },
            rule: StopRule::of(plan.mode, throttled),
            spoiled: Vec::new(),
            counted_from: 0,
            drift: None,
            estimate: None,
            inversion_half_width: f64::INFINITY,
            seed: plan.seed,
            probes: match plan.mode {
                Mode::Quick => QUICK_PROBES,
                Mode::Full => FULL_PROBES,
            },
            planned: 0,
            planned_main: Duration::ZERO,
            next_rate: 0.0,
            restarts: true,
            throttled,
            lagged: 0,
            last_miss_us: None,
            met: false,
            cut_short: false,
            half_widths: Vec::new(),
        };
        run.next_rate = run.allowed_rate().min(run.cap.value);
        run
    }

    /// The next segment may follow the last one without a pause.
    pub(super) fn may_continue(&self) -> bool {
        !self.restarts && !self.met && self.planned > self.probes.len() as u64
    }

    /// Time ran out before the run had seen enough.
    pub(super) const fn was_cut_short(&self) -> bool {
        self.cut_short
    }

    /// The next probe or segment; `None` when the run has seen enough, or nothing more fits.
    pub(super) fn order(
        &mut self,
        continues: bool,
        verdict_after: Duration,
        room: Room,
    ) -> Option<Order> {
        if self.met {
            return None;
        }
        let number = self.planned;
        let probe =
            usize::try_from(number).ok().and_then(|number| self.probes.get(number)).copied();
        let usual = probe.unwrap_or(self.rule.segment).max(verdict_after.mul_f64(VERDICT_SLACK));
        let left_of_run = self.rule.longest.max(usual).saturating_sub(self.planned_main);
        let wanted = if probe.is_some() { usual } else { usual.min(left_of_run) };
        let duration = wanted.min(room.0);
        self.cut_short |= duration < wanted;
        if duration < usual.mul_f64(SHORTEST_SEGMENT) {
            return None;
        }
        self.planned += 1;
        if probe.is_none() {
            self.planned_main += duration;
            self.restarts = false;
        }
        Some(Order {
            purpose: if probe.is_some() { Purpose::Probe } else { Purpose::Main },
            load: open_loop(self.next_rate, self.seed, Purpose::Main, number),
            duration,
            continues: continues && probe.is_none(),
        })
    }

    pub(super) fn observe(
        &mut self,
        step: &StepPlan,
        rate: f64,
        observation: &StepObservation,
        max_error_share: f64,
    ) {
        self.learn_from_batches(step.purpose, observation);
        let limits = self.trace.limits().to_vec();
        let pace = Pace::by(&self.model);
        let mut seen = segment(observation, &limits, pace, &mut self.last_miss_us);
        seen.rate = rate;
        seen.from_idle = !step.continues;
        let is_first_of_run =
            step.purpose == Purpose::Main && self.planned_main_segments_seen() == 0;
        if is_first_of_run {
            self.counted_from = self.trace.segments().len();
        }
        let spoiled = self.judge_rate(rate, observation, max_error_share);
        self.spoiled.push(spoiled);
        self.fresh.push(&seen);
        if self.batches.is_none() {
            seen.latencies_us = Vec::new();
        }
        self.trace.push(seen);
        self.update(rate);
        self.restarts |= spoiled || self.backlog_is_hopeless(observation);
    }

    /// The batches of the last probe, close to the answer, tell how long batches take; later ones only
    /// that they are larger, or more at once, than was known. A step that does not tell makes the target
    /// a black box for good.
    fn learn_from_batches(&mut self, purpose: Purpose, observation: &StepObservation) {
        let Some(seen) = &mut self.batches else { return };
        let is_last_probe =
            purpose == Purpose::Probe && self.trace.segments().len() + 1 == self.probes.len();
        let is_told =
            !observation.batches.is_empty() || Calls::of(&observation.samples).answered == 0;
        if !is_told {
            self.batches = None;
        } else if is_last_probe {
            seen.retime(&observation.batches);
        } else if !seen.outgrown_by(&observation.batches) {
            return;
        }
        self.model = self.plateau.model(self.batches.as_ref(), self.seed);
        let pace = Pace::by(&self.model);
        self.trace.set_paces(|segment| pace.of_segment(segment));
        self.trace.forget_replays();
        self.positions.fill(CLOSED_LOOP_PACE);
        self.fresh_positions.fill(CLOSED_LOOP_PACE);
        let throughput = self.plateau.throughput.value.as_per_second();
        let limits = self.trace.limits().to_vec();
        self.fresh = ResampledArrivals::new(limits, &self.model, throughput, self.seed);
        self.trace.segments().iter().for_each(|segment| self.fresh.push(segment));
    }

    /// What a model leaves in doubt whose own answers are known only so well.
    pub(super) fn doubt_of_model(&self) -> f64 {
        let positions = self.positions.iter().enumerate();
        positions.map(|(number, at)| self.model.root_half_width(number, *at)).fold(0.0, f64::max)
    }

    fn planned_main_segments_seen(&self) -> usize {
        self.trace.segments().len().saturating_sub(self.probes.len())
    }

    /// Keeps book of rates at which calls fail or the generator lags; true when the segment says
    /// nothing about latency.
    fn judge_rate(
        &mut self,
        rate: f64,
        observation: &StepObservation,
        max_error_share: f64,
    ) -> bool {
        let calls = Calls::of(&observation.samples);
        self.lagged = if observation.generator_saturated { self.lagged + 1 } else { 0 };
        self.ceiling.observe(rate, calls, self.lagged >= SPOILED_IN_A_ROW);
        self.lagged > 0 || calls.fail_beyond(max_error_share)
    }

    fn backlog_is_hopeless(&self, observation: &StepObservation) -> bool {
        let longest_limit =
            self.trace.limits().iter().map(|limit| limit.latency_us).fold(0.0, f64::max);
        let hopeless_us = BACKLOG_LIMITS * longest_limit + BACKLOG_US;
        let outstanding_us =
            Calls::of(&observation.samples).outstanding as f64 * 1e6 / self.cap.value.max(1e-6);
        outstanding_us > hopeless_us || longest_us(&observation.samples) as f64 > hopeless_us
    }

    /// The rate at which the model meets every constraint, wherever the inversions stand.
    fn allowed_rate(&mut self) -> f64 {
        self.allowed_rate_at(&self.positions.clone())
    }

    pub(super) fn allowed_rate_at(&mut self, positions: &[f64]) -> f64 {
        let limits = self.trace.limits().to_vec();
        let rates = limits.iter().zip(positions).enumerate();
        rates
            .map(|(number, (limit, at))| self.model.allowed_rate(number, *limit, *at))
            .fold(f64::INFINITY, f64::min)
    }

    /// The inversions over some segments, per constraint.
    pub(super) fn positions_for(&mut self, included: &[usize]) -> Vec<f64> {
        self.positions_with(included, |misses| misses)
    }

    /// The same for other numbers of misses than were observed.
    ///
    /// A constraint that hardly ever misses only bounds the multiplier from above. There is one
    /// target, so what is known better stands in when it is lower: the multiplier of the constraint
    /// that misses most, or else the pace of the closed loop.
    pub(super) fn positions_with(
        &mut self,
        included: &[usize],
        changed: impl Fn(f64) -> f64,
    ) -> Vec<f64> {
        let requests: u64 = included.iter().map(|at| self.trace.segments()[*at].requests).sum();
        let observed: Vec<u64> =
            (0..self.positions.len()).map(|number| self.trace.observed(number, included)).collect();
        let mut positions = self.positions.clone();
        for (number, position) in positions.iter_mut().enumerate() {
            let misses = changed(observed[number] as f64);
            *position = self.trace.invert(&self.model, number, included, *position, misses);
        }
        let limits = self.trace.limits();
        let tells = |number: usize| {
            let misses = observed[number] as f64;
            misses >= FEWEST_MISSES || misses > limits[number].budget * requests as f64
        };
        let telling = (0..positions.len())
            .filter(|number| tells(*number))
            .max_by_key(|number| observed[*number]);
        let best = telling.map_or(CLOSED_LOOP_PACE, |number| positions[number]);
        for (number, position) in positions.iter_mut().enumerate() {
            if !tells(number) {
                *position = position.min(best);
            }
        }
        positions
    }

    /// The segments that count.
    pub(super) fn included(&self) -> Vec<usize> {
        let from = self.counted_from.max(self.trace.first_kept());
        (from..self.trace.segments().len()).filter(|at| !self.spoiled[*at]).collect()
    }

    fn update(&mut self, last_rate: f64) {
        let included = self.included();
        if !included.is_empty() {
            self.positions = self.positions_for(&included);
            self.trace
                .settle_near(self.positions.iter().sum::<f64>() / self.positions.len() as f64);
        }
        if !included.is_empty() {
            self.try_resampled_arrivals(&included);
        }
        let found = (!included.is_empty()).then(|| RunEstimate::of(self, &included));
        let allowed = found.map_or_else(|| self.allowed_rate(), |found| found.value);
        let wanted = allowed.min(self.cap.value);
        let held_back = self.ceiling.limit().map_or(f64::INFINITY, |(most, _)| most);
        self.next_rate =
            wanted.clamp(last_rate * LARGEST_STEP_DOWN, last_rate * LARGEST_STEP_UP).min(held_back);
        let Some(found) = found else { return };
        let estimate = self.steadied(found);
        self.estimate = Some(estimate);
        if self.planned_main_segments_seen() == 0 {
            return;
        }
        let drifting = self.find_drift(&included);
        if drifting {
            self.counted_from = included[included.len() / 2];
        }
        self.met = self.rule.is_met(&self.progress(&included, &estimate, drifting));
    }

    fn try_resampled_arrivals(&mut self, included: &[usize]) {
        for number in 0..self.positions.len() {
            for _ in 0..2 {
                let from = self.fresh_positions[number];
                let found = self.fresh.invert(&mut self.model, number, included, from);
                self.fresh.fit_control_coefficient(&mut self.model, number, included, found);
                self.fresh_positions[number] = found;
            }
        }
        let middle = self.fresh_positions.iter().sum::<f64>() / self.fresh_positions.len() as f64;
        self.fresh.settle_near(middle);
    }

    /// The rate that fresh load over some segments allows.
    pub(super) fn allowed_under_resampled_arrivals(&mut self, included: &[usize]) -> f64 {
        let positions: Vec<f64> = (0..self.positions.len())
            .map(|number| {
                let from = self.fresh_positions[number];
                self.fresh.invert(&mut self.model, number, included, from)
            })
            .collect();
        self.allowed_rate_at(&positions)
    }

    /// The estimate at the widest of its last few intervals. A run that ends as soon as its interval
    /// is narrow would end, more often than not, when the interval is too narrow by chance.
    fn steadied(&mut self, estimate: RunEstimate) -> RunEstimate {
        const LAST: usize = 3;
        if estimate.limited_by != LimitedBy::Slo {
            return estimate;
        }
        self.half_widths.push((estimate.high / estimate.value).ln());
        let recent = &self.half_widths[self.half_widths.len().saturating_sub(LAST)..];
        let reach = recent.iter().copied().fold(0.0, f64::max).exp();
        if estimate.low <= 0.0 || !reach.is_finite() {
            return estimate;
        }
        RunEstimate { low: estimate.value / reach, high: estimate.value * reach, ..estimate }
    }

    fn find_drift(&mut self, included: &[usize]) -> bool {
        // A target that serves in batches answers later at higher rates, which is no drift; its batches
        // themselves tell better.
        let segments = self.trace.segments();
        let latest = segments.last().map_or(0.0, |segment| segment.rate);
        let tells_itself = self.model.batching.is_some();
        let paces: Vec<f64> = included
            .iter()
            .map(|at| &segments[*at])
            .filter(|segment| tells_itself || (segment.rate / latest - 1.0).abs() <= SAME_RATE)
            .filter_map(|segment| segment.pace_us)
            .collect();
        let mut found = drift::of_pace(&paces);
        let (first, second) = included.split_at(included.len() / 2);
        let episodes =
            |half: &[usize]| half.iter().map(|at| self.trace.segments()[*at].episodes).sum::<u32>();
        let enough = episodes(first).min(episodes(second)) >= drift::FEWEST_EPISODES;
        if found.is_none() && !tells_itself && enough {
            let (before, after) = (self.positions_for(first), self.positions_for(second));
            found = before.iter().zip(&after).find_map(|(before, after)| {
                drift::of_multipliers(
                    before * GRID_STEP,
                    after * GRID_STEP,
                    self.inversion_half_width,
                )
            });
        }
        self.drift = found.or(self.drift);
        found.is_some()
    }

    fn progress(&self, included: &[usize], estimate: &RunEstimate, drifting: bool) -> Progress {
        let segments = self.trace.segments();
        let lasting = |segment: &usize| {
            segments[*segment].ended_us.saturating_sub(segments[*segment].started_us)
        };
        let main_began = segments.get(self.probes.len()).map_or(0, |segment| segment.started_us);
        let now = segments.last().map_or(0, |segment| segment.ended_us);
        let budget = self.trace.limits().iter().map(|limit| limit.budget).fold(1.0, f64::min);
        let episodes = included.iter().map(|at| segments[*at].episodes).sum();
        Progress {
            half_width: estimate.half_width(),
            // At a rate that is held back for another reason, misses are not what is waited for.
            episodes: if estimate.limited_by == LimitedBy::Slo {
                episodes
            } else {
                self.rule.episodes
            },
            drifting,
            elapsed: Duration::from_micros(now.saturating_sub(main_began)),
            counted: Duration::from_micros(included.iter().map(lasting).sum()),
            rate: estimate.value,
            budget,
        }
    }

    /// The rule is satisfied by what was seen, time aside.
    pub(super) fn is_precise(&self) -> bool {
        self.met
    }

    /// Steps whose latencies belong to a rate.
    pub(super) fn steps_near(&self, rate: f64) -> Vec<u32> {
        const NEAR: f64 = 0.02;
        let segments = self.trace.segments();
        self.included()
            .into_iter()
            .filter(|at| (segments[*at].rate / rate - 1.0).abs() <= NEAR)
            .map(|at| segments[at].index)
            .collect()
    }

    /// Requests in the segments that count.
    pub(super) fn requests(&self) -> u64 {
        self.included().into_iter().map(|at| self.trace.segments()[at].requests).sum()
    }
}

/// The longest that a verdict can take, in whole milliseconds.
pub(super) fn verdict_after(limits: &[Limit]) -> Duration {
    let longest = limits.iter().map(|limit| limit.latency_us).fold(0.0, f64::max);
    let longest = Duration::try_from_secs_f64(longest / 1e6).unwrap_or_default();
    Duration::from_millis(as_micros(longest).div_ceil(1000) + 1)
}
