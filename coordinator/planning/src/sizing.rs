//! How many instances a demand needs, and what they cost.
//!
//! A small demand reverses rankings by capacity alone: one instance is the least that can be rented.

use assay_measure::{job::Demand, money::PricePerHour};
use serde::{Deserialize, Serialize};

use crate::cost::MilliPerMinute;

/// Hours in a month, as cloud prices are usually quoted: 365 days / 12.
pub const HOURS_PER_MONTH: f64 = 730.0;

/// A fleet that carries a demand.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sizing {
    /// The demand.
    pub demand_per_min: f64,
    /// The share of the capacity that is used, 0 to 1.
    pub headroom: f64,
    /// Instances needed, at least one.
    pub instance_count: u64,
    /// Dollars per month for them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usd_per_month: Option<f64>,
    /// Dollars per million inferences at that demand; absent when the demand is zero.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost_per_million_usd: Option<f64>,
}

/// `instances = ceil(demand / (headroom × capacity))`; `None` when nothing can be carried.
#[must_use]
pub fn size(
    demand: Demand,
    capacity: MilliPerMinute,
    per_hour: Option<PricePerHour>,
) -> Option<Sizing> {
    todo!("{demand:?}{capacity:?}{per_hour:?}")
}
