//! The order of candidates: by cost per inference, or by a score over cost, latency and throughput.
//!
//! Score with goals: `100 × Π (best/x)^(w/Σw)` over cost per inference, latency and 1/throughput, a weighted
//! geometric mean of ratios to the best. The order itself is decided on `Π x^(w/Σw)`, which does not
//! know the best, so adding or removing a candidate never swaps two others. Without goals the order is
//! cost per inference, then name, and the score is `100 × lowest cost / cost`.

use std::cmp::Ordering;

use assay_measure::{
    job::{Goals, Importance},
    money::PricePerHour,
};
use serde::{Deserialize, Serialize};

use crate::cost::{Capacity, CostKey, MilliPerMinute};

/// What a ranking needs to know of a candidate.
#[derive(Clone, Debug, PartialEq)]
pub struct Contender {
    pub name: String,
    /// Price of the whole endpoint; absent when unpriced.
    pub per_hour: Option<PricePerHour>,
    pub capacity: Capacity,
    /// Latency at the chosen percentile, in microseconds.
    pub latency_us: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RankedBy {
    /// Cost per inference.
    Cost,
    Goals,
    /// Throughput, because no candidate has a price.
    Throughput,
}

impl RankedBy {
    pub const ALL: [Self; 3] = [Self::Cost, Self::Goals, Self::Throughput];

    /// The word used in documents and messages.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Cost => "cost",
            Self::Goals => "goals",
            Self::Throughput => "throughput",
        }
    }
}

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

#[derive(Clone, Debug, PartialEq)]
pub struct Ranking {
    pub by: RankedBy,
    pub places: Vec<Place>,
    /// Contenders left out for want of a price, as indices in the list given.
    pub unpriced: Vec<usize>,
    /// Contenders left out because they carry nothing, as indices in the list given.
    pub without_capacity: Vec<usize>,
}

/// Ranks contenders: by the goals where there are some, else by cost; by throughput when none has a price.
/// A price of zero is no price: everything would be free on it.
#[must_use]
pub fn rank(contenders: &[Contender], goals: Option<Goals>) -> Ranking {
    let carries = |index: &usize| contenders[*index].capacity.value.count() > 0;
    let (able, without_capacity): (Vec<usize>, Vec<usize>) =
        (0..contenders.len()).partition(carries);
    let (mut order, unpriced): (Vec<usize>, Vec<usize>) =
        able.iter().partition(|index| contenders[**index].price().is_some());
    let by = match goals {
        _ if order.is_empty() => RankedBy::Throughput,
        None => RankedBy::Cost,
        Some(_) => RankedBy::Goals,
    };
    let unpriced = if by == RankedBy::Throughput { Vec::new() } else { unpriced };
    if by == RankedBy::Throughput {
        order = able;
    }
    let rule = Rule { by, goals };
    order.sort_by(|a, b| rule.compare(&contenders[*a], &contenders[*b]));
    let best = Best::of(order.iter().map(|index| &contenders[*index]));
    let places = order
        .iter()
        .zip(1..)
        .map(|(&index, rank)| rule.place(index, rank, &contenders[index], best));
    let mut places: Vec<Place> = places.collect();
    mark_ties(&mut places);
    Ranking { by, places, unpriced, without_capacity }
}

fn mark_ties(places: &mut [Place]) {
    let intervals: Vec<(u32, f64, f64)> =
        places.iter().map(|place| (place.rank, place.score_ci95.0, place.score_ci95.1)).collect();
    for place in places {
        let (low, high) = place.score_ci95;
        place.tied_with = intervals
            .iter()
            .filter(|(rank, other_low, other_high)| {
                *rank != place.rank && low <= *other_high && *other_low <= high
            })
            .map(|(rank, _, _)| *rank)
            .collect();
    }
}

#[derive(Clone, Copy)]
struct Rule {
    by: RankedBy,
    goals: Option<Goals>,
}

/// The best figure in each respect, not necessarily of one candidate.
#[derive(Clone, Copy)]
struct Best {
    cost: f64,
    latency_us: f64,
    rate: f64,
}

impl Best {
    fn of<'a>(contenders: impl Iterator<Item = &'a Contender>) -> Self {
        let none = Self { cost: f64::INFINITY, latency_us: f64::INFINITY, rate: 0.0 };
        contenders.fold(none, |best, contender| Self {
            cost: best.cost.min(contender.cost_at(contender.capacity.value)),
            latency_us: best.latency_us.min(contender.latency()),
            rate: best.rate.max(contender.capacity.value.as_per_minute()),
        })
    }
}

impl Contender {
    fn price(&self) -> Option<PricePerHour> {
        self.per_hour.filter(|price| price.pico_usd() > 0)
    }

    fn cost_key(&self) -> Option<CostKey> {
        self.price().map(|per_hour| CostKey { per_hour, rate: self.capacity.value })
    }

    /// Dollars per inference at some capacity; infinite when unpriced.
    fn cost_at(&self, rate: MilliPerMinute) -> f64 {
        self.price()
            .map_or(f64::INFINITY, |per_hour| CostKey { per_hour, rate }.per_inference_usd())
    }

    /// A latency under a microsecond cannot be measured.
    fn latency(&self) -> f64 {
        self.latency_us.max(1) as f64
    }
}

impl Rule {
    fn compare(self, a: &Contender, b: &Contender) -> Ordering {
        let by_cost = || match (a.cost_key(), b.cost_key()) {
            (Some(a), Some(b)) => a.compare(b),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (None, None) => Ordering::Equal,
        };
        let first = match (self.by, self.goals) {
            (RankedBy::Goals, Some(goals)) => log_loss(a, goals).total_cmp(&log_loss(b, goals)),
            (RankedBy::Throughput, _) => b.capacity.value.cmp(&a.capacity.value),
            (RankedBy::Cost, _) | (RankedBy::Goals, None) => Ordering::Equal,
        };
        first.then_with(by_cost).then_with(|| a.name.cmp(&b.name))
    }

    fn place(self, index: usize, rank: u32, contender: &Contender, best: Best) -> Place {
        let at = |rate: MilliPerMinute| self.score(contender, rate, best);
        let Capacity { value, low, high } = contender.capacity;
        let score_ci95 = (at(low), at(high));
        Place { contender: index, rank, score: at(value), score_ci95, tied_with: Vec::new() }
    }

    /// The score that the contender would have at some capacity; `best` stays as it was found.
    fn score(self, contender: &Contender, rate: MilliPerMinute, best: Best) -> f64 {
        if rate.count() == 0 {
            return 0.0;
        }
        let cost = best.cost / contender.cost_at(rate);
        let throughput = rate.as_per_minute() / best.rate;
        match (self.by, self.goals) {
            (RankedBy::Throughput, _) => 100.0 * throughput,
            (RankedBy::Goals, Some(goals)) => {
                let latency = best.latency_us / contender.latency();
                let log = weighted_mean(goals, cost.ln(), latency.ln(), throughput.ln());
                100.0 * log.exp()
            }
            (RankedBy::Cost, _) | (RankedBy::Goals, None) => 100.0 * cost,
        }
    }
}

/// `ln Π x^(w/Σw)` over cost, latency and 1/throughput: what the score's order is decided on.
fn log_loss(contender: &Contender, goals: Goals) -> f64 {
    let rate = contender.capacity.value;
    let slowness = -rate.as_per_minute().ln();
    weighted_mean(goals, contender.cost_at(rate).ln(), contender.latency().ln(), slowness)
}

fn weighted_mean(goals: Goals, cost: f64, latency: f64, throughput: f64) -> f64 {
    let weight = |importance: Importance| f64::from(importance.weight());
    let (c, l, t) = (weight(goals.cost), weight(goals.latency), weight(goals.throughput));
    (c * cost + l * latency + t * throughput) / (c + l + t)
}

#[cfg(test)]
mod tests;
