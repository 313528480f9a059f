//! The cheapest mix of instance types that carries a demand.
//!
//! Whole instances of one type overshoot a demand; a smaller type for the rest often costs less. Every instance is
//! loaded up to its own measured capacity times the headroom. Counts are decided on integers ([`mod@search`] says how),
//! dollars are for showing.

use assay_measure::{ids::InstanceTypeName, job::Demand, money::PricePerHour, units::Rate};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use self::search::{Kind, best_single, carried, price_of, search};
use crate::{
    cost::MilliPerMinute,
    report::{Entry, JobReport},
    sizing::HOURS_PER_MONTH,
};

mod search;

/// Demands and capacities beyond 2⁵⁷ milli-invocations per minute would overflow the arithmetic.
const MOST_MILLI: u64 = 1 << 57;

/// An instance type that may be a part of a fleet, with how much one instance of it carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MixCandidate {
    pub instance_type: InstanceTypeName,
    /// The price of an instance. A price of zero is no price: such a candidate is left out.
    pub per_hour: PricePerHour,
    /// The measured capacity of an instance, without headroom. At zero the candidate is left out.
    pub capacity: MilliPerMinute,
    /// The most instances that can be had; absent is without a limit (of less than 2³²).
    pub at_most: Option<u32>,
}

/// So many instances of one candidate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MixPart {
    /// The place of the candidate in the list given, from 0; in a report's ranking for [`of_report`].
    pub candidate: usize,
    pub instance_type: InstanceTypeName,
    /// At least one.
    pub instance_count: u64,
}

/// The cheapest fleet that carries a demand, with the cheapest one of a single type beside it.
///
/// Among fleets of equal price it is one with the fewest instances, of these one with the least excess capacity, of
/// these the one with more instances of larger capacity, then of candidates that come first.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FleetMix {
    pub demand_per_min: f64,
    /// The share of each capacity that is used, 0 to 1.
    pub headroom: f64,
    /// The instances, in the order of the candidates; at least one.
    pub parts: Vec<MixPart>,
    /// Instances in all.
    pub instance_count: u64,
    /// Invocations per minute that they carry within the headroom, at least the demand.
    pub usable_per_min: f64,
    /// Dollars per month for them.
    pub usd_per_month: f64,
    /// Dollars per million inferences at that demand; absent when the demand is zero.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost_per_million_usd: Option<f64>,
    /// The cheapest fleet of one type; absent when no type carries the demand alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub single: Option<SingleTypeFleet>,
    /// Dollars per month that the mix saves against `single`, never below zero.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub saving_usd_per_month: Option<f64>,
    /// Whether no fleet of these candidates is cheaper. The search is bounded; where it was cut short this is the
    /// best fleet that it has seen, which is never dearer than `single`.
    pub proven: bool,
    /// Whether the choice among fleets of equal price was carried to its end.
    pub ties_settled: bool,
}

/// A fleet of one type.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SingleTypeFleet {
    #[serde(flatten)]
    pub part: MixPart,
    /// Dollars per month for it.
    pub usd_per_month: f64,
}

/// Why no fleet carries a demand.
#[derive(Clone, Copy, Debug, PartialEq, Error)]
pub enum NoMix {
    #[error("no candidate has a price")]
    NoPrice,
    #[error("no candidate with a price carries anything within the headroom")]
    NoCapacity,
    /// The limits on the numbers of instances are too low.
    #[error(
        "all instances that can be had carry {most_per_min}/min together, less than the demand"
    )]
    TooFew { most_per_min: f64 },
    /// Far above any load that there is.
    #[error("a demand of {demand_per_min:e}/min is more than can be calculated with")]
    DemandTooLarge { demand_per_min: f64 },
}

/// The cheapest fleet of these candidates that carries a demand. A demand of zero still needs an instance.
///
/// # Errors
/// [`NoMix`] says why nothing carries it.
pub fn cheapest(candidates: &[MixCandidate], demand: Demand) -> Result<FleetMix, NoMix> {
    let wanted = MilliPerMinute::from_rate(demand.rate).count();
    if wanted > MOST_MILLI {
        return Err(NoMix::DemandTooLarge { demand_per_min: demand.rate.as_per_minute() });
    }
    let priced = |candidate: &&MixCandidate| candidate.per_hour.pico_usd() > 0;
    if !candidates.iter().any(|candidate| priced(&candidate)) {
        return Err(NoMix::NoPrice);
    }
    let able: Vec<usize> = (0..candidates.len())
        .filter(|&at| priced(&&candidates[at]) && usable(&candidates[at], demand) > 0)
        .collect();
    if able.is_empty() {
        return Err(NoMix::NoCapacity);
    }
    let kind = |&at: &usize| Kind {
        price: u128::from(candidates[at].per_hour.pico_usd()),
        capacity: usable(&candidates[at], demand),
        most: u64::from(candidates[at].at_most.unwrap_or(u32::MAX)),
    };
    let kinds: Vec<Kind> = able.iter().map(kind).collect();
    // Capacities count in hundredths of their unit, so that the headroom rounds nothing away.
    let needed = u128::from(wanted.max(1)) * 100;
    let Some(found) = search(&kinds, needed) else {
        let all: Vec<u64> = kinds.iter().map(|kind| kind.most).collect();
        return Err(NoMix::TooFew { most_per_min: per_minute(carried(&kinds, &all)) });
    };
    let part = |(place, count): (usize, u64)| MixPart {
        candidate: able[place],
        instance_type: candidates[able[place]].instance_type.clone(),
        instance_count: count,
    };
    let price = price_of(&kinds, &found.counts);
    let single = best_single(&kinds, needed)
        .map(|(place, count)| (u128::from(count) * kinds[place].price, part((place, count))));
    let used = found.counts.iter().copied().enumerate().filter(|(_, count)| *count > 0);
    let demand_per_min = demand.rate.as_per_minute();
    Ok(FleetMix {
        demand_per_min,
        headroom: f64::from(demand.headroom_pct) / 100.0,
        parts: used.map(part).collect(),
        instance_count: found.counts.iter().sum(),
        usable_per_min: per_minute(carried(&kinds, &found.counts)),
        usd_per_month: usd_per_month(price),
        cost_per_million_usd: (demand_per_min > 0.0)
            .then(|| price as f64 / PICO_PER_USD / (60.0 * demand_per_min) * 1e6),
        saving_usd_per_month: single
            .as_ref()
            .map(|(single, _)| usd_per_month(single.saturating_sub(price))),
        single: single
            .map(|(price, part)| SingleTypeFleet { part, usd_per_month: usd_per_month(price) }),
        proven: found.proven,
        ties_settled: found.ties_settled,
    })
}

/// The cheapest fleet of what a job recommends: the entries of its ranking that have a price and a capacity.
/// An entry is passed over where another one of the same type carries as much for as little.
///
/// # Errors
/// [`NoMix`] says why nothing carries the demand.
pub fn of_report(report: &JobReport, demand: Demand) -> Result<FleetMix, NoMix> {
    let entries: Vec<(usize, MixCandidate)> = report
        .ranking
        .iter()
        .enumerate()
        .filter_map(|(place, entry)| Some((place, candidate_of(entry)?)))
        .collect();
    let is_needed = |place: usize, one: &MixCandidate| {
        !entries.iter().any(|(other_place, other)| {
            let as_good = other.instance_type == one.instance_type
                && other.per_hour <= one.per_hour
                && other.capacity >= one.capacity;
            let same = other.per_hour == one.per_hour && other.capacity == one.capacity;
            as_good && (!same || *other_place < place)
        })
    };
    let (places, candidates): (Vec<usize>, Vec<MixCandidate>) =
        entries.iter().filter(|(place, one)| is_needed(*place, one)).cloned().unzip();
    let mut mix = cheapest(&candidates, demand)?;
    let single = mix.single.as_mut().map(|single| &mut single.part);
    for part in mix.parts.iter_mut().chain(single) {
        part.candidate = places[part.candidate];
    }
    Ok(mix)
}

fn candidate_of(entry: &Entry) -> Option<MixCandidate> {
    Some(MixCandidate {
        instance_type: entry.instance_type.clone(),
        per_hour: entry.price.as_ref()?.usd_per_hour,
        capacity: MilliPerMinute::from_rate(Rate::per_minute(entry.max_invocations_per_min?).ok()?),
        at_most: None,
    })
}

/// What an instance carries within the headroom, in hundredths of milli-invocations per minute.
fn usable(candidate: &MixCandidate, demand: Demand) -> u128 {
    u128::from(candidate.capacity.count().min(MOST_MILLI))
        * u128::from(demand.headroom_pct.min(100))
}

const PICO_PER_USD: f64 = 1e12;

fn usd_per_month(pico_per_hour: u128) -> f64 {
    pico_per_hour as f64 / PICO_PER_USD * HOURS_PER_MONTH
}

fn per_minute(hundredths_of_milli: u128) -> f64 {
    hundredths_of_milli as f64 / 100_000.0
}

#[cfg(test)]
mod tests;
