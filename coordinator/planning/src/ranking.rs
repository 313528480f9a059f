//! The order of candidates: by cost per inference, or by a score over cost, latency and throughput.
//!
//! Score with goals: `100 × Π (best/x)^(w/Σw)` over cost per inference, latency and 1/throughput, a weighted
//! geometric mean of ratios to the best. The order itself is decided on `Π x^(w/Σw)`, which does not
//! know the best, so adding or removing a candidate never swaps two others. Without goals the order is
//! cost per inference, then name, and the score is `100 × lowest cost / cost`.

use assay_measure::{job::Goals, money::PricePerHour};
use serde::{Deserialize, Serialize};

use crate::cost::Capacity;

/// What a ranking needs to know of a candidate.
#[derive(Clone, Debug, PartialEq)]
pub struct Contender {
    /// Decides between equals; unique.
    pub name: String,
    /// Price of the whole endpoint; absent when unpriced.
    pub per_hour: Option<PricePerHour>,
    /// Capacity.
    pub capacity: Capacity,
    /// Latency at the chosen percentile, in microseconds.
    pub latency_us: u64,
}

/// What decided the order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RankedBy {
    /// Cost per inference.
    Cost,
    /// The score over goals.
    Goals,
    /// Throughput, because no candidate has a price.
    Throughput,
}

/// A ranked candidate.
#[derive(Clone, Debug, PartialEq)]
pub struct Place {
    /// Index of the contender in the list given.
    pub contender: usize,
    /// 1 for the best.
    pub rank: u32,
    /// The score; 100 for the best, except that no candidate may be best in all of several goals.
    pub score: f64,
    /// What the interval of the capacity makes of the score.
    pub score_ci95: (f64, f64),
    /// Ranks whose intervals overlap this one.
    pub tied_with: Vec<u32>,
}

/// The order.
#[derive(Clone, Debug, PartialEq)]
pub struct Ranking {
    /// What decided it.
    pub by: RankedBy,
    /// The best first.
    pub places: Vec<Place>,
    /// Contenders left out for want of a price, as indices in the list given.
    pub unpriced: Vec<usize>,
    /// Contenders left out because they carry nothing, as indices in the list given.
    pub without_capacity: Vec<usize>,
}

/// Ranks contenders.
#[must_use]
pub fn rank(contenders: &[Contender], goals: Option<Goals>) -> Ranking {
    todo!("{contenders:?}{goals:?}")
}
