//! The traffic of a load test: so many closed-loop users, for so long, one part after another.
//!
//! A user sends, waits for the answer and sends again. With `PHASES` a phase begins with
//! `InitialNumberOfUsers` and gains `SpawnRate` users a minute: after `t` minutes there are
//! `floor(initial + rate × t)`. With `STAIRS` the whole staircase lasts `DurationInSeconds`, a step
//! `DurationInSeconds / NumberOfSteps`, and step `i` (from 1) has `i × UsersPerStep` users. (The API
//! reference calls the duration that of one step; the developer guide, which works an example, says
//! otherwise and is followed.)

use std::time::Duration;

use assay_measure::schedule::{Load, Phase};

use crate::{
    error::ApiError,
    shapes::jobs::{self, Stairs, TrafficPattern, TrafficType},
};

/// Neighbouring phases may differ by so many users where they meet.
const LARGEST_GAP: u32 = 3;

/// More steps than this last too short a time to measure anything: 3600 s in steps of a second.
const MOST_STEPS: u32 = 3600;

/// The parts of the traffic, checked against each other.
///
/// # Errors
/// `ValidationException` when type and content do not fit, a member is missing, phases do not meet, or
/// the traffic lasts longer than the job.
pub fn parts(
    pattern: &TrafficPattern,
    job_duration_in_seconds: Option<i32>,
) -> Result<Vec<Phase>, ApiError> {
    let parts = match (pattern.traffic_type, &pattern.phases, &pattern.stairs) {
        (_, Some(_), Some(_)) => {
            return Err(refused("TrafficPattern must have Phases or Stairs, not both."));
        }
        (None | Some(TrafficType::Phases), Some(phases), None) => of_phases(phases)?,
        (None | Some(TrafficType::Stairs), None, Some(stairs)) => of_stairs(stairs)?,
        (Some(TrafficType::Stairs), _, None) => {
            return Err(refused(
                "TrafficPattern.Stairs must be specified with TrafficType STAIRS.",
            ));
        }
        (Some(TrafficType::Phases), None, _) => {
            return Err(refused(
                "TrafficPattern.Phases must be specified with TrafficType PHASES.",
            ));
        }
        (None, None, None) => {
            return Err(refused("TrafficPattern must have Phases or Stairs."));
        }
    };
    let total: Duration = parts.iter().map(|part| part.duration).sum();
    let limit =
        job_duration_in_seconds.map(|seconds| Duration::from_secs(u64::from(count(seconds))));
    if limit.is_some_and(|limit| total > limit) {
        return Err(refused(format!(
            "Total Traffic duration (across) should not be more than Job duration. \
             The traffic lasts {} s, the job {} s.",
            total.as_secs(),
            limit.unwrap_or_default().as_secs()
        )));
    }
    Ok(parts)
}

/// The traffic in one line, for the job's log.
#[must_use]
pub fn described(parts: &[Phase]) -> String {
    let part = |part: &Phase| match &part.load {
        Load::Closed { users } => format!("{users} users for {} s", part.duration.as_secs_f64()),
        Load::Open { .. } | Load::Replay { .. } => {
            format!("open loop for {} s", part.duration.as_secs_f64())
        }
    };
    parts.iter().map(part).collect::<Vec<_>>().join(", then ")
}

fn of_phases(phases: &[jobs::Phase]) -> Result<Vec<Phase>, ApiError> {
    let mut parts = Vec::new();
    let mut before: Option<u32> = None;
    for (number, phase) in (1..).zip(phases) {
        let member = |value: Option<i32>, name: &str| {
            let missing =
                || refused(format!("TrafficPattern.Phases: phase {number} lacks {name}."));
            value.map(count).ok_or_else(missing)
        };
        let initial = member(phase.initial_number_of_users, "InitialNumberOfUsers")?;
        let rate = member(phase.spawn_rate, "SpawnRate")?;
        let seconds = member(phase.duration_in_seconds, "DurationInSeconds")?;
        if let Some(before) = before.filter(|before| before.abs_diff(initial) > LARGEST_GAP) {
            return Err(refused(format!(
                "Users at the end of prev phase is {before} while initial users of current phase is {initial}. \
                 They may differ by {LARGEST_GAP} at most."
            )));
        }
        before = Some(initial.saturating_add(spawned(rate, seconds)));
        ramp(&mut parts, initial, rate, seconds);
    }
    Ok(parts)
}

/// Users gained after so many seconds.
fn spawned(rate: u32, seconds: u32) -> u32 {
    u32::try_from(u64::from(rate) * u64::from(seconds) / 60).unwrap_or(u32::MAX)
}

/// One part per number of users.
fn ramp(parts: &mut Vec<Phase>, initial: u32, rate: u32, seconds: u32) {
    let whole = Duration::from_secs(u64::from(seconds));
    let begins = |gained: u32| Duration::from_secs(60) * gained / rate.max(1);
    for gained in 0..=spawned(rate, seconds) {
        let end = if rate == 0 { whole } else { whole.min(begins(gained + 1)) };
        let duration = end.saturating_sub(begins(gained));
        if !duration.is_zero() {
            let users = initial.saturating_add(gained);
            parts.push(Phase { load: Load::Closed { users }, duration });
        }
    }
}

fn of_stairs(stairs: &Stairs) -> Result<Vec<Phase>, ApiError> {
    let member = |value: Option<i32>, name: &str| {
        let missing = || refused(format!("TrafficPattern.Stairs lacks {name}."));
        value.map(count).ok_or_else(missing)
    };
    let seconds = member(stairs.duration_in_seconds, "DurationInSeconds")?;
    let steps = member(stairs.number_of_steps, "NumberOfSteps")?;
    let users = member(stairs.users_per_step, "UsersPerStep")?;
    if steps > seconds.min(MOST_STEPS) {
        return Err(refused(format!(
            "TrafficPattern.Stairs: {steps} steps in {seconds} s would last less than a second each; \
             a step lasts DurationInSeconds / NumberOfSteps."
        )));
    }
    let duration = Duration::from_secs(u64::from(seconds)) / steps.max(1);
    let step = |number: u32| Phase { load: Load::Closed { users: number * users }, duration };
    Ok((1..=steps).map(step).collect())
}

/// Limits of the table exclude negative numbers.
fn count(value: i32) -> u32 {
    u32::try_from(value).unwrap_or(0)
}

fn refused(message: impl Into<String>) -> ApiError {
    ApiError::validation(message)
}

#[cfg(test)]
mod tests;
