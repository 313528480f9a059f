//! Load schedules: when each request is meant to be sent.
//!
//! A schedule is decided before the run from a seed, and is the same every time; the load generator
//! only carries it out. How long a request takes never moves a later intended send time.

pub mod fixed_load;
pub mod recorded;

use std::time::Duration;

use rand_chacha::{
    ChaCha8Rng,
    rand_core::{Rng, SeedableRng},
};
use serde::{Deserialize, Serialize};

use crate::units::{Rate, as_micros};

/// How requests arrive in open loop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Arrivals {
    /// Exponential gaps, as many independent callers produce.
    Poisson,
    /// Equal gaps; the seed draws where in the first gap the series begins.
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

impl Load {
    /// When requests are meant to be sent, as ascending offsets from the start of the step in
    /// microseconds, up to but not including `duration`. `None` in closed loop, where answers decide.
    ///
    /// A longer duration only adds to the end, and a higher rate draws the same series closer together.
    #[must_use]
    pub fn send_times(&self, duration: Duration) -> Option<SendTimes<'_>> {
        let source = match self {
            Self::Closed { .. } => return None,
            Self::Open { rate, arrivals, seed } => Source::drawn(*rate, *arrivals, *seed),
            Self::Replay { at_us } => Source::Recorded(at_us.iter()),
        };
        Some(SendTimes { source, end_us: as_micros(duration) })
    }
}

/// The intended send times of one step; see [`Load::send_times`].
#[derive(Clone, Debug)]
pub struct SendTimes<'a> {
    source: Source<'a>,
    end_us: u64,
}

#[derive(Clone, Debug)]
enum Source<'a> {
    Nothing,
    Poisson { random: Box<ChaCha8Rng>, mean_gap_us: f64, at_us: f64 },
    Constant { gap_us: f64, phase: f64, sent: f64 },
    Recorded(std::slice::Iter<'a, u64>),
}

impl Source<'_> {
    fn drawn(rate: Rate, arrivals: Arrivals, seed: u64) -> Self {
        if rate <= Rate::ZERO {
            return Self::Nothing;
        }
        let gap_us = 1e6 / rate.as_per_second();
        let mut random = Box::new(ChaCha8Rng::seed_from_u64(seed));
        match arrivals {
            Arrivals::Poisson => Self::Poisson { random, mean_gap_us: gap_us, at_us: 0.0 },
            Arrivals::Constant => Self::Constant { gap_us, phase: uniform(&mut random), sent: 0.0 },
        }
    }

    fn next_us(&mut self) -> Option<f64> {
        match self {
            Self::Nothing => None,
            Self::Poisson { random, mean_gap_us, at_us } => {
                *at_us += exponential(random) * *mean_gap_us;
                Some(*at_us)
            }
            Self::Constant { gap_us, phase, sent } => {
                let at_us = (*phase + *sent) * *gap_us;
                *sent += 1.0;
                Some(at_us)
            }
            Self::Recorded(times) => times.next().map(|at_us| *at_us as f64),
        }
    }
}

impl Iterator for SendTimes<'_> {
    type Item = u64;

    fn next(&mut self) -> Option<u64> {
        let at_us = self.source.next_us()?;
        if at_us >= self.end_us as f64 {
            self.source = Source::Nothing;
            return None;
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "not negative, below end_us"
        )]
        Some(at_us as u64)
    }
}

/// A number in [0, 1) from the upper 53 bits, so that the series does not hang on another crate's
/// choice of algorithm.
fn uniform(random: &mut ChaCha8Rng) -> f64 {
    const STEPS: f64 = (1_u64 << 53) as f64;
    (random.next_u64() >> 11) as f64 / STEPS
}

/// An exponential number of mean 1 by inversion (Devroye, *Non-Uniform Random Variate Generation*, II.2).
fn exponential(random: &mut ChaCha8Rng) -> f64 {
    -(1.0 - uniform(random)).ln()
}

/// A seed for one of many uses of the same seed: SplitMix64's finalizer (Steele, Lea and Flood,
/// OOPSLA 2014) over seed, use and number, so that neighbours share nothing.
#[must_use]
pub fn derive_seed(seed: u64, purpose: u64, number: u64) -> u64 {
    let mix = |mut z: u64| {
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    };
    const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;
    let with_purpose = mix(seed.wrapping_add(GOLDEN).wrapping_add(purpose.wrapping_mul(GOLDEN)));
    mix(with_purpose.wrapping_add(GOLDEN).wrapping_add(number.wrapping_mul(GOLDEN)))
}

#[cfg(test)]
mod tests;
