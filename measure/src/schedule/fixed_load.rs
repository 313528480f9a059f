//! Loads that a user fixes instead of searching: users, phases and stairs.
//!
//! | text | meaning |
//! |---|---|
//! | `users:8` or `users:8/90s` | eight users, for the time given or the caller's default |
//! | `phases:1+3/2m,7+0/60s` | phases in a row: users at the start, users added per **minute**, how long |
//! | `stairs:5x2/10m` | five steps that add two users each; ten minutes for the **whole** staircase |
//!
//! Units are those of SageMaker's traffic patterns `PHASES` and `STAIRS` as its developer guide
//! defines them. Recorded traces are read elsewhere: they are files, not text.

use std::{fmt, num::NonZeroU32, str::FromStr, time::Duration};

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::{Load, Phase};
use crate::units::{UnitError, parse_duration};

/// The most users that one load may hold at once.
pub const MOST_USERS: u32 = 100_000;
/// The most constant segments that one load may expand to; a faster ramp is no longer a ramp.
pub const MOST_SEGMENTS: usize = 10_000;
/// The longest that a load may last.
pub const LONGEST: Duration = Duration::from_secs(24 * 3600);

/// A load that the user fixed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum FixedLoad {
    /// So many users all the time.
    Users {
        /// How many.
        users: NonZeroU32,
        /// How long; `None` leaves it to the caller.
        duration: Option<Duration>,
    },
    /// One ramp after another.
    Phases(Vec<Ramp>),
    /// Equal steps upwards.
    Stairs {
        /// How many steps.
        steps: NonZeroU32,
        /// How many users each step adds; the first step starts from none.
        users_per_step: NonZeroU32,
        /// How long the whole staircase takes.
        duration: Duration,
    },
}

/// Users that become more at a steady pace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ramp {
    /// Users at the start.
    pub initial_users: NonZeroU32,
    /// Users added per minute.
    pub spawn_per_minute: u32,
    /// How long.
    pub duration: Duration,
}

/// A text is not a fixed load.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum FixedLoadError {
    /// None of the known kinds.
    #[error("{0:?} is not a load; write it like users:8, phases:1+3/2m,7+0/60s or stairs:5x2/10m")]
    Shape(String),
    /// A count is zero, no number, or too large.
    #[error("{0:?} is not a count between 1 and {MOST_USERS}")]
    Count(String),
    /// A duration cannot be read.
    #[error(transparent)]
    Duration(#[from] UnitError),
    /// The load lasts no time at all, or more than a day.
    #[error("a load must last between 1ms and 24h, {0:?} does not")]
    Length(String),
    /// More users or more distinct segments than can be carried out.
    #[error("{0:?} grows beyond {MOST_USERS} users or changes more than {MOST_SEGMENTS} times")]
    TooLarge(String),
}

impl FixedLoad {
    /// The load as constant segments of closed loop, in order. `default_duration` is for `users:N`
    /// without a duration.
    #[must_use]
    pub fn phases(&self, default_duration: Duration) -> Vec<Phase> {
        match self {
            Self::Users { users, duration } => {
                vec![closed(users.get(), duration.unwrap_or(default_duration))]
            }
            Self::Phases(ramps) => ramps.iter().flat_map(Ramp::segments).collect(),
            Self::Stairs { steps, users_per_step, duration } => (1..=steps.get())
                .map(|step| {
                    closed(step.saturating_mul(users_per_step.get()), *duration / steps.get())
                })
                .collect(),
        }
    }

    fn checked(self, text: &str) -> Result<Self, FixedLoadError> {
        let (segments, length, most_users) = match &self {
            Self::Users { users, duration } => {
                (1, duration.unwrap_or(Duration::from_secs(1)), users.get())
            }
            Self::Phases(ramps) => (
                ramps.iter().fold(0, |sum: usize, ramp| {
                    sum.saturating_add(ramp.users_added() as usize + 1)
                }),
                ramps.iter().fold(Duration::ZERO, |sum, ramp| sum.saturating_add(ramp.duration)),
                ramps.iter().map(Ramp::final_users).max().unwrap_or(0),
            ),
            Self::Stairs { steps, users_per_step, duration } => {
                (steps.get() as usize, *duration, steps.get().saturating_mul(users_per_step.get()))
            }
        };
        if !(Duration::from_millis(1)..=LONGEST).contains(&length) {
            return Err(FixedLoadError::Length(text.to_owned()));
        }
        if segments > MOST_SEGMENTS || most_users > MOST_USERS {
            return Err(FixedLoadError::TooLarge(text.to_owned()));
        }
        Ok(self)
    }
}

impl Ramp {
    /// How many users join while it lasts, the last instant not included.
    fn users_added(&self) -> u32 {
        let added = u128::from(self.spawn_per_minute) * self.duration.as_nanos().saturating_sub(1)
            / MINUTE_NANOS;
        u32::try_from(added).unwrap_or(u32::MAX)
    }

    fn final_users(&self) -> u32 {
        self.initial_users.get().saturating_add(self.users_added())
    }

    fn segments(&self) -> impl Iterator<Item = Phase> + '_ {
        (0..=self.users_added()).map(|added| {
            let end = self.joins_at(added.saturating_add(1)).min(self.duration);
            closed(
                self.initial_users.get().saturating_add(added),
                end.saturating_sub(self.joins_at(added)),
            )
        })
    }

    /// When the so-manieth user joins: every `60 s / spawn_per_minute`.
    fn joins_at(&self, added: u32) -> Duration {
        let nanos =
            (u128::from(added) * MINUTE_NANOS).checked_div(u128::from(self.spawn_per_minute));
        match nanos {
            None if added == 0 => Duration::ZERO,
            None => Duration::MAX,
            Some(nanos) => Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX)),
        }
    }
}

const MINUTE_NANOS: u128 = 60_000_000_000;

fn closed(users: u32, duration: Duration) -> Phase {
    Phase { load: Load::Closed { users }, duration }
}

fn count(text: &str) -> Result<NonZeroU32, FixedLoadError> {
    let bad = || FixedLoadError::Count(text.to_owned());
    let count: NonZeroU32 = text.trim().parse().map_err(|_| bad())?;
    if count.get() > MOST_USERS { Err(bad()) } else { Ok(count) }
}

fn ramp(text: &str) -> Result<Ramp, FixedLoadError> {
    let shape = || FixedLoadError::Shape(text.to_owned());
    let (users, duration) = text.split_once('/').ok_or_else(shape)?;
    let (initial, spawn) = users.split_once('+').ok_or_else(shape)?;
    let spawn_per_minute = match spawn.trim() {
        "0" => 0,
        some => count(some)?.get(),
    };
    Ok(Ramp {
        initial_users: count(initial)?,
        spawn_per_minute,
        duration: parse_duration(duration)?,
    })
}

impl FromStr for FixedLoad {
    type Err = FixedLoadError;
    fn from_str(text: &str) -> Result<Self, FixedLoadError> {
        let shape = || FixedLoadError::Shape(text.to_owned());
        let (kind, rest) = text.trim().split_once(':').ok_or_else(shape)?;
        let load = match kind {
            "users" => match rest.split_once('/') {
                None => Self::Users { users: count(rest)?, duration: None },
                Some((users, duration)) => {
                    Self::Users { users: count(users)?, duration: Some(parse_duration(duration)?) }
                }
            },
            "phases" => Self::Phases(rest.split(',').map(ramp).collect::<Result<_, _>>()?),
            "stairs" => {
                let (steps, duration) = rest.split_once('/').ok_or_else(shape)?;
                let (steps, users) = steps.split_once('x').ok_or_else(shape)?;
                Self::Stairs {
                    steps: count(steps)?,
                    users_per_step: count(users)?,
                    duration: parse_duration(duration)?,
                }
            }
            _ => return Err(shape()),
        };
        load.checked(text)
    }
}

impl fmt::Display for FixedLoad {
    /// The text that reads back as the same load.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Users { users, duration: None } => write!(f, "users:{users}"),
            Self::Users { users, duration: Some(duration) } => {
                write!(f, "users:{users}/{}", Exact(*duration))
            }
            Self::Phases(ramps) => {
                for (number, ramp) in ramps.iter().enumerate() {
                    f.write_str(if number == 0 { "phases:" } else { "," })?;
                    write!(
                        f,
                        "{}+{}/{}",
                        ramp.initial_users,
                        ramp.spawn_per_minute,
                        Exact(ramp.duration)
                    )?;
                }
                Ok(())
            }
            Self::Stairs { steps, users_per_step, duration } => {
                write!(f, "stairs:{steps}x{users_per_step}/{}", Exact(*duration))
            }
        }
    }
}

/// A duration in the largest unit that writes it without a fraction.
struct Exact(Duration);

impl fmt::Display for Exact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let micros = self.0.as_micros();
        if micros.is_multiple_of(1_000_000) {
            write!(f, "{}s", micros / 1_000_000)
        } else if micros.is_multiple_of(1000) {
            write!(f, "{}ms", micros / 1000)
        } else {
            write!(f, "{micros}us")
        }
    }
}

impl TryFrom<String> for FixedLoad {
    type Error = FixedLoadError;
    fn try_from(text: String) -> Result<Self, FixedLoadError> {
        text.parse()
    }
}

impl From<FixedLoad> for String {
    fn from(load: FixedLoad) -> Self {
        load.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn users_and_seconds(text: &str) -> Vec<(u32, f64)> {
        let load: FixedLoad = text.parse().unwrap();
        assert_eq!(
            load.to_string().parse::<FixedLoad>().unwrap(),
            load,
            "{load} does not read back"
        );
        load.phases(Duration::from_secs(60))
            .into_iter()
            .map(|phase| match phase.load {
                Load::Closed { users } => (users, phase.duration.as_secs_f64()),
                Load::Open { .. } | Load::Replay { .. } => panic!("a fixed load is closed loop"),
            })
            .collect()
    }

    #[test]
    fn users_hold_for_their_own_time_or_the_default() {
        assert_eq!(users_and_seconds("users:8"), vec![(8, 60.0)]);
        assert_eq!(users_and_seconds("users:3/1500ms"), vec![(3, 1.5)]);
    }

    #[test]
    fn phases_add_users_by_the_minute() {
        // Two users join per minute: after 30 s and 60 s; at 90 s the phase is over.
        assert_eq!(
            users_and_seconds("phases:1+2/90s,5+0/10s"),
            vec![(1, 30.0), (2, 30.0), (3, 30.0), (5, 10.0)]
        );
    }

    #[test]
    fn stairs_share_the_whole_duration() {
        assert_eq!(users_and_seconds("stairs:3x2/60s"), vec![(2, 20.0), (4, 20.0), (6, 20.0)]);
    }

    #[test]
    fn segments_of_a_ramp_add_up_to_its_duration() {
        let load: FixedLoad = "phases:4+7/100s".parse().unwrap();
        let total: Duration = load.phases(Duration::ZERO).iter().map(|phase| phase.duration).sum();
        assert_eq!(total, Duration::from_secs(100));
    }

    #[test]
    fn what_is_not_a_load_says_why() {
        for (text, part) in [
            ("8", "is not a load"),
            ("crowd:8", "is not a load"),
            ("users:0", "not a count"),
            ("users:-1", "not a count"),
            ("users:200000", "not a count"),
            ("users:1/0s", "must last"),
            ("phases:", "is not a load"),
            ("phases:1+1", "is not a load"),
            ("phases:0+1/5s", "not a count"),
            ("phases:1+1/5", "not a duration"),
            ("phases:1+1/25h", "must last"),
            ("phases:1+100000/1h", "grows beyond"),
            ("stairs:5/10m", "is not a load"),
            ("stairs:400x300/10m", "grows beyond"),
        ] {
            let error = text.parse::<FixedLoad>().unwrap_err().to_string();
            assert!(error.contains(part), "{text:?} said {error:?}");
        }
    }
}
