//! A step before its place among the others is known.

use std::time::Duration;

use super::Purpose;
use crate::{
    schedule::{Arrivals, Load, derive_seed},
    units::Rate,
};

/// Time from the next step to the latest end it may have.
#[derive(Clone, Copy, Debug)]
pub(super) struct Room(pub(super) Duration);

/// What a stage asks for.
#[derive(Clone, Debug)]
pub(super) struct Order {
    pub(super) purpose: Purpose,
    pub(super) load: Load,
    pub(super) duration: Duration,
    pub(super) continues: bool,
}

/// A Poisson stream of its own for every use of the search's seed.
pub(super) fn open_loop(rate: f64, seed: u64, purpose: Purpose, number: u64) -> Load {
    /// One request in a quarter of an hour; a rate of none would end every step without a sample.
    const SLOWEST: f64 = 1e-3;
    let rate = Rate::per_second(rate.max(SLOWEST)).unwrap_or(Rate::ZERO);
    Load::Open {
        rate,
        arrivals: Arrivals::Poisson,
        seed: derive_seed(seed, purpose as u64, number),
    }
}
