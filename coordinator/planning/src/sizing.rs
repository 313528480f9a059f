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
    let demand_per_min = demand.rate.as_per_minute();
    let headroom = f64::from(demand.headroom_pct) / 100.0;
    let usable = headroom * capacity.as_per_minute();
    if usable <= 0.0 {
        return None;
    }
    // Rounded to a millionth of an instance first: 60/s over an exact third must not need one more.
    let exact = (demand_per_min / usable * 1e6).round() / 1e6;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "positive; saturation is harmless"
    )]
    let instance_count = (exact.ceil() as u64).max(1);
    let usd_per_hour = per_hour.map(|price| price.as_usd() * instance_count as f64);
    Some(Sizing {
        demand_per_min,
        headroom,
        instance_count,
        usd_per_month: usd_per_hour.map(|usd| usd * HOURS_PER_MONTH),
        cost_per_million_usd: usd_per_hour
            .filter(|_| demand_per_min > 0.0)
            .map(|usd| usd / (60.0 * demand_per_min) * 1e6),
    })
}

#[cfg(test)]
mod tests {
    use assay_measure::units::Rate;

    use super::*;

    fn demand(per_minute: f64, headroom_pct: u8) -> Demand {
        Demand { rate: Rate::per_minute(per_minute).unwrap(), headroom_pct }
    }

    #[test]
    fn instances_cover_the_demand_within_the_headroom() {
        let price = "0.115".parse().ok();
        let sizing = size(demand(40_000.0, 70), MilliPerMinute::new(2_655_000), price).unwrap();
        assert_eq!(sizing.instance_count, 22); // 40000 / (0.7 × 2655) = 21.52
        let month = 0.115 * 22.0 * 730.0;
        assert!((sizing.usd_per_month.unwrap() - month).abs() < 1e-9);
        let million = 0.115 * 22.0 / (60.0 * 40_000.0) * 1e6;
        assert!((sizing.cost_per_million_usd.unwrap() - million).abs() < 1e-9);
    }

    #[test]
    fn an_exact_fit_needs_no_spare_instance_and_no_demand_still_needs_one() {
        assert_eq!(
            size(demand(1_400.0, 70), MilliPerMinute::new(1_000_000), None).unwrap().instance_count,
            2
        );
        let idle = size(demand(0.0, 70), MilliPerMinute::new(1_000_000), "1".parse().ok()).unwrap();
        assert_eq!((idle.instance_count, idle.cost_per_million_usd), (1, None));
    }

    #[test]
    fn what_carries_nothing_cannot_be_sized() {
        assert_eq!(size(demand(10.0, 70), MilliPerMinute::new(0), None), None);
        assert_eq!(size(demand(10.0, 0), MilliPerMinute::new(5), None), None);
    }
}
