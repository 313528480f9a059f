//! The staircase: more and more users in closed loop until throughput no longer grows.
//!
//! It tells how much the target can do at all, how long a request takes alone, and whether a search
//! makes sense: a target that fails, or that misses the constraint even when it has nothing else to
//! do, has no capacity to look for.

use std::time::Duration;

use super::{
    Estimate, LimitedBy, Mode, SearchFailure, StepObservation,
    batching::BatchesSeen,
    estimate_of,
    limit::Limit,
    observed::{Calls, median_latency_us, misses, throughputs},
    queue_model::QueueModel,
};
use crate::{
    schedule::derive_seed,
    slo::Slo,
    statistics::{MeanInterval, binomial_at_least, mean, mean_interval},
};

/// Throughput that grows by less than this from one level to the next does not grow.
const LEAST_GAIN: f64 = 0.03;
/// The plateau begins where throughput reaches this share of the largest.
const PLATEAU_SHARE: f64 = 0.97;
/// Fewer users than this do not end the staircase: a second user often gains nothing on a target
/// that the fourth one wakes up.
const FEWEST_USERS_AT_END: u32 = 4;
/// More users than this are more than one load generator should hold.
const MOST_USERS: u32 = 4096;
/// How long a level lasts, and the single user's, whose latency shapes the model, in a search of so long or longer.
const LEVEL: Duration = Duration::from_millis(1500);
const SINGLE_USER_LEVEL: Duration = Duration::from_secs(2);
const UNHURRIED: Duration = Duration::from_secs(50);
/// A shorter search has shorter levels in proportion, down to this share: a fast target takes ten of them.
const SHORTEST_SHARE: f64 = 0.3;
/// The longest that a level is extended for the sake of answers.
const LONGEST_LEVEL: Duration = Duration::from_secs(6);
/// Answers that a level should see: with fewer, throughput is worse than its least gain.
const ANSWERS_PER_LEVEL: f64 = 30.0;
/// Answers without which a level says nothing, however long they take.
const FEWEST_ANSWERS: f64 = 4.0;
/// Throughput windows per level; a dozen degrees of freedom come together at the plateau.
const WINDOWS: usize = 4;
/// A single user misses too often for chance when chance would do it less often than this.
const LONE_MISS_LEVEL: f64 = 1e-3;

/// Fewer servers than this, as Little's law sees them, are told apart without looking for contention.
const FEWEST_CONTENDING: f64 = 2.5;
/// A second user who slows the first down by less does not matter.
const LEAST_CONTENTION: f64 = 0.02;

/// Separates the long run of a model that serves in batches from all that is really sent.
const LONG_RUN: u64 = 0x10C6;

/// One level of the staircase.
#[derive(Clone, Debug)]
struct Level {
    index: u32,
    users: u32,
    throughput: f64,
    windows: Vec<f64>,
}

/// The staircase so far.
#[derive(Debug)]
pub(super) struct Staircase {
    mode: Mode,
    /// The share of the usual time that a level lasts.
    pace: f64,
    levels: Vec<Level>,
    unloaded_us: f64,
    stale_levels: u32,
    ended_by: Option<LimitedBy>,
    batches: BatchesSeen,
}

/// What the staircase found.
#[derive(Clone, Debug)]
pub(super) struct Plateau {
    /// Throughput per second.
    pub(super) throughput: Estimate,
    /// The fewest users that reach 97 % of it.
    pub(super) users: u32,
    /// Users that leave none of it unused: twice as many, so that one request waits while another one's
    /// answer travels, unless the staircase saw throughput fall with them.
    pub(super) filling_users: u32,
    /// Median latency of one request at a time.
    pub(super) unloaded_us: f64,
    /// Why throughput does not grow.
    pub(super) limited_by: LimitedBy,
    /// The steps at that number of users.
    pub(super) steps: Vec<u32>,
    /// How many servers there are and by what share each other busy one slows a service down, if the
    /// levels show that they do; otherwise throughput and unloaded latency tell how many there are.
    pub(super) contending_servers: Option<(f64, f64)>,
    /// Batches that the target told of in closed loop.
    pub(super) batches: BatchesSeen,
}

impl Plateau {
    /// The model that the closed loop gives, with what is known of batches.
    pub(super) fn model(&self, batches: Option<&BatchesSeen>, seed: u64) -> QueueModel {
        if let Some(batching) = batches.and_then(BatchesSeen::batching) {
            let seed = derive_seed(seed, LONG_RUN, 0);
            return QueueModel::in_batches(batching, self.unloaded_us, seed);
        }
        let throughput = self.throughput.value.as_per_second();
        match self.contending_servers {
            Some((servers, contention)) => {
                QueueModel::contending(servers, contention, throughput, self.unloaded_us)
            }
            None => QueueModel::fitted(throughput, self.unloaded_us),
        }
    }
}

impl Staircase {
    pub(super) fn new(mode: Mode, max_duration: Duration) -> Self {
        let pace = max_duration.as_secs_f64() / UNHURRIED.as_secs_f64();
        Self {
            mode,
            pace: pace.clamp(SHORTEST_SHARE, 1.0),
            levels: Vec::new(),
            unloaded_us: 0.0,
            stale_levels: 0,
            ended_by: None,
            batches: BatchesSeen::default(),
        }
    }

    /// Users and duration of the next level; `None` when the plateau was reached.
    pub(super) fn next_level(&self, expected_throughput: f64) -> Option<(u32, Duration)> {
        let Some(last) = self.levels.last() else {
            let level = SINGLE_USER_LEVEL.mul_f64(self.pace);
            return Some((1, extended(level, expected_throughput)));
        };
        let next = last.users.saturating_mul(2);
        let ended = self.ended_by.is_some() || next > MOST_USERS;
        (!ended).then(|| (next, extended(LEVEL.mul_f64(self.pace), self.largest())))
    }

    /// The last level carried more than those before it, and another would follow: where throughput ends is not
    /// known. Then the number of its users and what they were served per second.
    pub(super) fn still_grows(&self) -> Option<(u32, f64)> {
        let last = self.levels.last()?;
        let grows = self.levels.len() == 1 || self.stale_levels == 0;
        let goes_on = self.next_level(last.throughput).is_some();
        (grows && goes_on).then_some((last.users, last.throughput))
    }

    /// The levels so far give a plateau.
    pub(super) fn has_levels(&self) -> bool {
        !self.levels.is_empty()
    }

    pub(super) fn observe(
        &mut self,
        users: u32,
        observation: &StepObservation,
        constraints: &[Slo],
        max_error_share: f64,
    ) -> Result<(), SearchFailure> {
        let calls = Calls::of(&observation.samples);
        self.batches.add(&observation.batches, users == 1);
        if self.levels.is_empty() {
            self.unloaded_us = check_single_user(observation, calls, constraints, max_error_share)?;
        } else if calls.fail_beyond(max_error_share) {
            self.ended_by = Some(LimitedBy::Errors);
            return Ok(());
        }
        let windows = throughputs(observation, users, WINDOWS);
        let throughput = mean(&windows)
            .unwrap_or(calls.answered as f64 * 1e6 / observation.elapsed_us.max(1) as f64);
        let grew = throughput > self.largest() * (1.0 + LEAST_GAIN);
        self.levels.push(Level { index: observation.index, users, throughput, windows });
        self.stale_levels = if grew { 0 } else { self.stale_levels + 1 };
        let stale_levels_at_end = match self.mode {
            Mode::Quick => 1,
            Mode::Full => 2,
        };
        if observation.generator_saturated {
            self.ended_by = Some(LimitedBy::Generator);
        } else if self.stale_levels >= stale_levels_at_end && users >= FEWEST_USERS_AT_END {
            self.ended_by = Some(LimitedBy::Saturation);
        }
        Ok(())
    }

    /// What was found; `None` before the first level.
    pub(super) fn plateau(&self) -> Option<Plateau> {
        let largest = self.largest();
        let on_plateau: Vec<&Level> = self
            .levels
            .iter()
            .filter(|level| level.throughput >= PLATEAU_SHARE * largest)
            .collect();
        let first = on_plateau.first()?;
        let windows: Vec<f64> =
            on_plateau.iter().flat_map(|level| level.windows.iter().copied()).collect();
        let found =
            mean_interval(&windows).unwrap_or(MeanInterval { mean: largest, half_width: largest });
        Some(Plateau {
            throughput: estimate_of(found),
            users: first.users,
            filling_users: on_plateau
                .iter()
                .map(|level| level.users)
                .find(|users| *users >= first.users.saturating_mul(2))
                .unwrap_or(first.users),
            unloaded_us: self.unloaded_us,
            limited_by: self.ended_by.unwrap_or(LimitedBy::Saturation),
            steps: vec![first.index],
            contending_servers: self.contending_servers(found.mean, first.users),
            batches: self.batches.clone(),
        })
    }

    /// When two users are served slower than one, every busy server slows the others down. Little's law
    /// alone would then see fewer servers than there are: with `κ` more service time for each other
    /// busy one, `c` servers of unloaded service `s` do `x = c / (s (1 + κ (c − 1)))`, solved for `c` here.
    fn contending_servers(&self, plateau: f64, plateau_users: u32) -> Option<(f64, f64)> {
        let [alone, pair, ..] = self.levels.as_slice() else { return None };
        let seen = plateau * self.unloaded_us / 1e6;
        if pair.users != 2 || seen < FEWEST_CONTENDING {
            return None;
        }
        let per_user: Vec<f64> = pair.windows.iter().map(|throughput| throughput / 2.0).collect();
        let (one, of_two) = (mean_interval(&alone.windows)?, mean_interval(&per_user)?);
        let slowdown = one.mean / of_two.mean - 1.0;
        let doubt = (one.half_width / one.mean).hypot(of_two.half_width / of_two.mean);
        if slowdown < LEAST_CONTENTION.max(doubt) || seen * slowdown >= 1.0 {
            return None;
        }
        let servers = seen * (1.0 - slowdown) / (1.0 - seen * slowdown);
        Some((servers.clamp(seen, f64::from(plateau_users).max(seen)), slowdown))
    }

    fn largest(&self) -> f64 {
        self.levels.iter().map(|level| level.throughput).fold(0.0, f64::max)
    }
}

/// Long enough for the answers that a level needs, at a throughput seen before.
fn extended(least: Duration, throughput: f64) -> Duration {
    let lasting = |answers: f64| {
        Duration::try_from_secs_f64(answers / throughput.max(1e-3)).unwrap_or(LONGEST_LEVEL)
    };
    lasting(ANSWERS_PER_LEVEL).clamp(least, LONGEST_LEVEL.max(lasting(FEWEST_ANSWERS)))
}

/// The median latency of a single user, if the target answers one at all and within the constraints.
fn check_single_user(
    observation: &StepObservation,
    calls: Calls,
    constraints: &[Slo],
    max_error_share: f64,
) -> Result<f64, SearchFailure> {
    if calls.answered == 0 && calls.failed > 0 {
        return Err(SearchFailure::AllCallsFailed { calls: calls.failed });
    }
    if calls.fail_beyond(max_error_share) {
        return Err(SearchFailure::TooManyErrors {
            share: calls.failed_share(),
            allowed: max_error_share,
        });
    }
    let unloaded_us = median_latency_us(&observation.samples).ok_or(SearchFailure::NoAnswer)?;
    let asked = observation.samples.len() as u64;
    for constraint in constraints {
        let limit = Limit::of(constraint);
        let missed =
            observation.samples.iter().filter(|sample| misses(sample, limit)).count() as u64;
        if binomial_at_least(missed, asked, limit.budget) < LONE_MISS_LEVEL {
            return Err(SearchFailure::ConstraintUnreachable {
                constraint: *constraint,
                missed_share: missed as f64 / asked as f64,
                unloaded_median_us: unloaded_us,
            });
        }
    }
    Ok(unloaded_us)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A staircase of one user and two, with windows of these throughputs, and a plateau of 154.
    fn seen(alone: [f64; 4], pair: [f64; 4]) -> Option<(f64, f64)> {
        let level = |users, windows: [f64; 4]| Level {
            index: users,
            users,
            throughput: mean(&windows).unwrap(),
            windows: windows.to_vec(),
        };
        let mut staircase = Staircase::new(Mode::Full, UNHURRIED);
        staircase.unloaded_us = 20_000.0;
        staircase.levels = vec![level(1, alone), level(2, pair)];
        staircase.contending_servers(154.0, 4)
    }

    #[test]
    fn four_servers_that_slow_each_other_down_are_not_taken_for_three() {
        let (servers, slowdown) = seen([50.0, 50.2, 49.8, 50.0], [91.0, 90.8, 91.2, 90.6]).unwrap();
        assert!((servers - 4.0).abs() < 0.2 && (slowdown - 0.1).abs() < 0.01);
    }

    #[test]
    fn no_contention_is_seen_where_there_is_none_or_it_is_in_doubt() {
        assert_eq!(seen([50.0; 4], [100.0; 4]), None);
        assert_eq!(seen([45.0, 55.0, 50.0, 50.0], [80.0, 110.0, 84.0, 100.0]), None);
        assert_eq!(seen([50.0; 4], [50.0; 4]), None, "more than the plateau allows");
    }
}
