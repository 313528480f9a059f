//! Load schedules: when each request is meant to be sent.
//!
//! A schedule is decided before the run from a seed, and is the same every time; the load generator
//! only carries it out. How long a request takes never moves a later intended send time.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::units::Rate;

/// How requests arrive in open loop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Arrivals {
    /// Exponential gaps, as many independent callers produce.
    Poisson,
    /// Equal gaps.
    Constant,
}

/// One constant load.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Load {
    /// Each of so many users sends its next request as soon as the last one is answered.
    Closed {
        /// How many users; at least 1.
        users: u32,
    },
    /// Requests arrive at a rate, whatever the target does.
    Open {
        /// The mean rate of arrivals.
        rate: Rate,
        /// How they are spaced.
        arrivals: Arrivals,
        /// Where the spacing comes from.
        seed: u64,
    },
    /// Requests arrive at recorded times.
    Replay {
        /// Intended send times as offsets from the start of the step, ascending, in microseconds.
        at_us: Vec<u64>,
    },
}

/// One part of a fixed load: how much, and for how long.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Phase {
    /// The load.
    pub load: Load,
    /// How long it is held.
    pub duration: Duration,
}
