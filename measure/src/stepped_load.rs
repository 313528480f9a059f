//! A load that rises level by level until a condition says to stop, and what it tells of the capacity.
//!
//! The user fixes the levels (users in closed loop, as ramps or stairs); the target decides how many of
//! them are reached. A level that loses too many calls or misses a latency threshold ends the load and
//! does not count. The answer is the start of the plateau: the fewest users that reach 97 % of the
//! highest throughput seen. What is decided here is pure; the agent holds the levels.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::{
    configuration::word_enum,
    latency::Latency,
    schedule::{Load, Phase},
    search::{Answer, Confirmation, Estimate, LimitedBy, StepObservation, step_throughputs},
    slo::{Slo, SloMetric},
    statistics::mean_interval,
    units::{Rate, as_micros},
};

/// A segment of constant load is judged after this long at the latest.
const LONGEST_SEGMENT: Duration = Duration::from_secs(60);
/// Shorter segments, such as those of a ramp, are judged together.
const SHORTEST_LEVEL: Duration = Duration::from_secs(2);
/// The plateau begins where this share of its throughput is reached.
const PLATEAU_SHARE: f64 = 0.97;
/// Throughput that grows by less than this, with [`MORE_USERS`], does not grow.
const GROWTH: f64 = 1.03;
/// So many times the users ought to bring much more than [`GROWTH`] before the plateau.
const MORE_USERS: f64 = 1.25;
/// One level without growth may be chance.
const FLAT_LEVELS: u32 = 2;
/// Parts of a level whose throughputs give the interval.
const PARTS: usize = 10;
/// An interval of this relative half-width is as narrow as a fixed load is asked for.
const PRECISE: f64 = 0.03;

word_enum!(
    /// What happens once more users bring no more throughput.
    FlatInvocations, "flat invocations", "stop, continue" {
        /// The load ends.
        Stop = "stop",
        /// It goes on as planned.
        Continue = "continue",
    }
);

word_enum!(
    /// What ended a stepped load.
    StopCause, "stop cause", "load_ended, max_invocations, latency, flat_invocations, errors" {
        /// It was over.
        LoadEnded = "load_ended",
        /// The invocations wanted were reached.
        MaxInvocations = "max_invocations",
        /// A latency threshold was missed.
        Latency = "latency",
        /// More users brought no more invocations.
        FlatInvocations = "flat_invocations",
        /// Too many calls failed.
        Errors = "errors",
    }
);

/// When a stepped load ends before its time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StoppingConditions {
    /// Enough invocations.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_invocations: Option<Rate>,
    /// Latency thresholds, all of which must hold.
    #[serde(default)]
    pub latency: Vec<Slo>,
    /// What happens once more users bring no more.
    pub flat_invocations: FlatInvocations,
    /// The largest share of a level's calls that may fail, in [0, 1].
    pub max_error_share: f64,
}

impl Default for StoppingConditions {
    /// Saturation and one per cent of failed calls.
    fn default() -> Self {
        Self {
            max_invocations: None,
            latency: Vec::new(),
            flat_invocations: FlatInvocations::Stop,
            max_error_share: 0.01,
        }
    }
}

/// Levels to hold one after another, and when to stop.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Unchecked", into = "Unchecked")]
pub struct SteppedLoad {
    phases: Vec<Phase>,
    stopping: StoppingConditions,
}

#[derive(Serialize, Deserialize)]
struct Unchecked {
    phases: Vec<Phase>,
    stopping: StoppingConditions,
}

/// A load that cannot be held level by level.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum SteppedLoadError {
    /// There is none.
    #[error("stopping conditions need a fixed load of at least one phase")]
    Empty,
    /// Users can be counted in closed loop only.
    #[error("stopping conditions need a load of users; rates and recorded times have none")]
    NotClosed,
    /// A phase lasts no time.
    #[error("a phase of the load has no duration")]
    NoDuration,
    /// The share is none.
    #[error("the share of calls that may fail must lie between 0 and 1")]
    ErrorShare,
    /// Nothing would ever be enough.
    #[error("the invocations to stop at must be more than 0")]
    NoInvocations,
}

/// A segment of constant load that is performed as one step.
#[derive(Clone, Debug, PartialEq)]
pub struct Segment {
    /// The load and its duration.
    pub phase: Phase,
    /// The level is judged after it.
    pub ends_level: bool,
}

impl SteppedLoad {
    /// A load that can be held.
    ///
    /// # Errors
    /// [`SteppedLoadError`] says what is missing.
    pub fn new(phases: Vec<Phase>, stopping: StoppingConditions) -> Result<Self, SteppedLoadError> {
        if phases.is_empty() {
            return Err(SteppedLoadError::Empty);
        }
        if phases.iter().any(|phase| !matches!(phase.load, Load::Closed { .. })) {
            return Err(SteppedLoadError::NotClosed);
        }
        if phases.iter().any(|phase| phase.duration.is_zero()) {
            return Err(SteppedLoadError::NoDuration);
        }
        if !(0.0..=1.0).contains(&stopping.max_error_share) {
            return Err(SteppedLoadError::ErrorShare);
        }
        if stopping.max_invocations.is_some_and(|rate| rate <= Rate::ZERO) {
            return Err(SteppedLoadError::NoInvocations);
        }
        Ok(Self { phases, stopping })
    }

    /// What was asked for.
    #[must_use]
    pub fn phases(&self) -> &[Phase] {
        &self.phases
    }

    /// When it ends before its time.
    #[must_use]
    pub const fn stopping(&self) -> &StoppingConditions {
        &self.stopping
    }

    /// The same with more latency thresholds.
    #[must_use]
    pub fn within(mut self, thresholds: &[Slo]) -> Self {
        self.stopping.latency.extend(thresholds);
        self
    }

    /// How long it takes if nothing stops it.
    #[must_use]
    pub fn duration(&self) -> Duration {
        self.phases.iter().fold(Duration::ZERO, |sum, phase| sum.saturating_add(phase.duration))
    }

    /// The steps to perform: long phases in parts, short ones marked as parts of one level.
    #[must_use]
    pub fn segments(&self) -> Vec<Segment> {
        let mut segments = Vec::new();
        let mut level = Duration::ZERO;
        for phase in self.phases.iter().flat_map(parts) {
            level += phase.duration;
            let ends_level = level >= SHORTEST_LEVEL;
            if ends_level {
                level = Duration::ZERO;
            }
            segments.push(Segment { phase, ends_level });
        }
        if let Some(last) = segments.last_mut() {
            last.ends_level = true;
        }
        segments
    }
}

impl TryFrom<Unchecked> for SteppedLoad {
    type Error = SteppedLoadError;
    fn try_from(unchecked: Unchecked) -> Result<Self, SteppedLoadError> {
        Self::new(unchecked.phases, unchecked.stopping)
    }
}

impl From<SteppedLoad> for Unchecked {
    fn from(load: SteppedLoad) -> Self {
        Self { phases: load.phases, stopping: load.stopping }
    }
}

/// A phase in equal parts of at most a minute.
fn parts(phase: &Phase) -> impl Iterator<Item = Phase> + use<> {
    let count = phase.duration.as_micros().div_ceil(LONGEST_SEGMENT.as_micros());
    let count = u32::try_from(count).unwrap_or(u32::MAX).max(1);
    let part = Phase { load: phase.load.clone(), duration: phase.duration / count };
    (0..count).map(move |_| part.clone())
}

/// What a level came to.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Level {
    /// The steps that it was performed in.
    pub steps: Vec<u32>,
    /// The most users in it.
    pub users: u32,
    /// Calls answered.
    pub answered: u64,
    /// Calls that failed.
    pub failed: u64,
    /// How long load was offered.
    pub elapsed: Duration,
    /// Latency of the answered calls; absent when none was answered.
    pub latency: Option<Latency>,
    /// Throughputs per second of its parts.
    pub throughputs: Vec<f64>,
}

impl Level {
    /// Adds what a step of it came to; latency and counts are the caller's to set.
    pub fn add(&mut self, users: u32, observation: &StepObservation) {
        self.steps.push(observation.index);
        self.users = self.users.max(users);
        self.elapsed += Duration::from_micros(observation.elapsed_us);
        self.throughputs.extend(step_throughputs(observation, users, PARTS));
    }

    fn per_second(&self) -> f64 {
        let seconds = self.elapsed.as_secs_f64();
        if seconds > 0.0 { self.answered as f64 / seconds } else { 0.0 }
    }

    fn error_share(&self) -> f64 {
        let calls = (self.answered + self.failed) as f64;
        if calls > 0.0 { self.failed as f64 / calls } else { 0.0 }
    }
}

/// Nothing can be said: not even the first level held.
#[derive(Clone, Copy, Debug, PartialEq, Error)]
pub enum NoLevelHeld {
    /// A threshold was missed from the start.
    #[error(
        "the {} of {users} user(s) is {:.1} ms, the threshold is {:.1} ms",
        threshold.metric(),
        *seen_us as f64 / 1e3,
        threshold.limit().as_secs_f64() * 1e3
    )]
    TooSlow {
        /// The users of that level.
        users: u32,
        /// The threshold.
        threshold: Slo,
        /// The figure seen.
        seen_us: u64,
    },
    /// Too many calls failed from the start.
    #[error("{:.1} % of the calls of {users} user(s) fail, {:.1} % are allowed", share * 100.0, allowed * 100.0)]
    TooManyErrors {
        /// The users of that level.
        users: u32,
        /// The share that failed, in [0, 1].
        share: f64,
        /// The share allowed.
        allowed: f64,
    },
    /// No call came back.
    #[error("no call was answered")]
    NoAnswer,
}

/// Watches a stepped load level by level.
#[derive(Clone, Debug)]
pub struct LevelWatch {
    stopping: StoppingConditions,
    held: Vec<Level>,
    flat: u32,
    most_users: u32,
    first_not_held: Option<NoLevelHeld>,
    reached: bool,
}

impl LevelWatch {
    /// A watch over nothing yet.
    #[must_use]
    pub const fn new(stopping: StoppingConditions) -> Self {
        Self {
            stopping,
            held: Vec::new(),
            flat: 0,
            most_users: 0,
            first_not_held: None,
            reached: false,
        }
    }

    /// Takes the next level; says why the load must end, if it must.
    pub fn observe(&mut self, level: Level) -> Option<StopCause> {
        self.most_users = self.most_users.max(level.users);
        if let Some(cause) = self.not_held(&level) {
            return Some(cause);
        }
        let enough = self.stopping.max_invocations.map(Rate::as_per_second);
        self.reached = enough.is_some_and(|enough| level.per_second() >= enough);
        self.flat = if self.is_flat(&level) { self.flat + 1 } else { 0 };
        self.held.push(level);
        if self.reached {
            return Some(StopCause::MaxInvocations);
        }
        let stops = self.stopping.flat_invocations == FlatInvocations::Stop;
        (stops && self.flat >= FLAT_LEVELS).then_some(StopCause::FlatInvocations)
    }

    fn not_held(&mut self, level: &Level) -> Option<StopCause> {
        let allowed = self.stopping.max_error_share;
        let (why, cause) = if level.error_share() > allowed {
            let (users, share) = (level.users, level.error_share());
            (NoLevelHeld::TooManyErrors { users, share, allowed }, StopCause::Errors)
        } else {
            let missed = self.stopping.latency.iter().find_map(|slo| {
                missed_figure(*slo, level.latency.as_ref()?).map(|seen_us| (*slo, seen_us))
            });
            let (threshold, seen_us) = missed?;
            let users = level.users;
            (NoLevelHeld::TooSlow { users, threshold, seen_us }, StopCause::Latency)
        };
        self.first_not_held.get_or_insert(why);
        Some(cause)
    }

    fn is_flat(&self, level: &Level) -> bool {
        self.held.iter().any(|earlier| {
            f64::from(level.users) >= MORE_USERS * f64::from(earlier.users)
                && level.per_second() < GROWTH * earlier.per_second()
        })
    }

    /// What the levels tell of the capacity, once the load has ended.
    ///
    /// # Errors
    /// [`NoLevelHeld`] when not one level held.
    pub fn answer(&self, cause: StopCause) -> Result<Answer, NoLevelHeld> {
        let chosen = self.chosen();
        let (Some(first), Some(best)) = (chosen.first(), self.best()) else {
            return Err(self.first_not_held.unwrap_or(NoLevelHeld::NoAnswer));
        };
        let capacity = estimate(&chosen);
        let saturated = f64::from(self.most_users) >= MORE_USERS * f64::from(first.users);
        let limited_by = match cause {
            StopCause::Errors => LimitedBy::Errors,
            StopCause::Latency => LimitedBy::Slo,
            StopCause::FlatInvocations => LimitedBy::Saturation,
            StopCause::LoadEnded if saturated => LimitedBy::Saturation,
            StopCause::MaxInvocations | StopCause::LoadEnded => LimitedBy::Load,
        };
        let half_width = (capacity.high.as_per_second() - capacity.low.as_per_second()) / 2.0;
        Ok(Answer {
            plateau: if self.reached { capacity } else { estimate(&[best]) },
            plateau_users: first.users,
            limited_by,
            confirmation: Confirmation::NotNeeded,
            answer_steps: chosen.iter().flat_map(|level| level.steps.iter().copied()).collect(),
            drift: None,
            precise: half_width <= PRECISE * capacity.value.as_per_second(),
            samples: chosen.iter().map(|level| level.answered).sum(),
            out_of_time: false,
            capacity,
        })
    }

    fn best(&self) -> Option<&Level> {
        let answered = self.held.iter().filter(|level| level.answered > 0);
        answered.max_by(|a, b| a.per_second().total_cmp(&b.per_second()))
    }

    /// The level at the start of the plateau, and those right after it with as many users.
    fn chosen(&self) -> Vec<&Level> {
        let Some(best) = self.best() else { return Vec::new() };
        // The invocations wanted count where they were reached, not a little below.
        let enough = match self.held.last().filter(|_| self.reached) {
            Some(last) => last.per_second(),
            None => PLATEAU_SHARE * best.per_second(),
        };
        let on_plateau = |level: &&Level| level.answered > 0 && level.per_second() >= enough;
        let Some(users) = self.held.iter().filter(on_plateau).map(|level| level.users).min() else {
            return Vec::new();
        };
        let is_start = |level: &&Level| level.users == users && on_plateau(level);
        self.held
            .iter()
            .skip_while(|level| !is_start(level))
            .take_while(|level| level.users == users)
            .filter(|level| level.answered > 0)
            .collect()
    }
}

/// A percentile above its threshold. With too few calls for the percentile only the median counts: a
/// single straggler among a handful of calls must not end the load.
fn missed_figure(threshold: Slo, latency: &Latency) -> Option<u64> {
    let beyond = latency.count as f64 * threshold.miss_budget();
    let metric = if beyond < 1.0 { SloMetric::P50 } else { threshold.metric() };
    let seen = latency.figure_us(metric);
    (seen > as_micros(threshold.limit())).then_some(seen)
}

/// Throughput over all of these levels, with the interval that its parts give.
fn estimate(levels: &[&Level]) -> Estimate {
    let answered: u64 = levels.iter().map(|level| level.answered).sum();
    let seconds: f64 = levels.iter().map(|level| level.elapsed.as_secs_f64()).sum();
    let value = if seconds > 0.0 { answered as f64 / seconds } else { 0.0 };
    let parts: Vec<f64> =
        levels.iter().flat_map(|level| level.throughputs.iter().copied()).collect();
    // Too few answers to divide: what a Poisson count of them leaves open.
    let half_width = mean_interval(&parts)
        .map_or_else(|| 1.96 * value / (answered.max(1) as f64).sqrt(), |found| found.half_width);
    let rate = |per_second: f64| Rate::per_second(per_second.max(0.0)).unwrap_or(Rate::ZERO);
    Estimate { value: rate(value), low: rate(value - half_width), high: rate(value + half_width) }
}

#[cfg(test)]
mod tests;
