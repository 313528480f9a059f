//! The ranking of a report under every choice of goals, for whoever reads it where no ranker is at hand.

use assay_measure::job::{Goals, Importance};

use crate::{
    ranking::{self, Contender, Place},
    report::JobReport,
};

/// A choice of goals and the ranking by it.
#[derive(Clone, Debug, PartialEq)]
pub struct GoalOrder {
    pub goals: Goals,
    /// Best first. Contenders are indices in the ranking of the report.
    pub places: Vec<Place>,
}

/// All 125 of them: by the importance of cost, then of latency, then of throughput, each from the lowest up.
#[must_use]
pub fn of_report(report: &JobReport) -> Vec<GoalOrder> {
    let metric = report.metric();
    let contenders: Vec<(usize, Contender)> = report
        .ranking
        .iter()
        .enumerate()
        .filter_map(|(index, entry)| Some((index, entry.contender(metric)?)))
        .collect();
    let (indices, contenders): (Vec<usize>, Vec<Contender>) = contenders.into_iter().unzip();
    let ranked = |goals: Goals| {
        let mut places = ranking::rank(&contenders, Some(goals)).places;
        for place in &mut places {
            place.contender = indices[place.contender];
        }
        GoalOrder { goals, places }
    };
    every_choice().map(ranked).collect()
}

fn every_choice() -> impl Iterator<Item = Goals> {
    let all = || Importance::ALL.iter().copied();
    all().flat_map(move |cost| {
        all().flat_map(move |latency| {
            all().map(move |throughput| Goals { cost, latency, throughput })
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job_report::{Overrides, build, samples};

    #[test]
    fn every_order_is_the_one_that_the_report_has_for_those_goals() {
        let facts = &samples::of_every_kind()[0];
        let report = build(facts, Overrides::default());
        assert!(report.ranking.len() > 1);
        let orders = of_report(&report);
        assert_eq!(orders.len(), 125);
        for GoalOrder { goals, places } in orders {
            let ranked = build(facts, Overrides { goals: Some(goals), demand: None });
            assert_eq!(places.len(), ranked.ranking.len());
            for (place, entry) in places.iter().zip(&ranked.ranking) {
                let shown = &report.ranking[place.contender];
                assert_eq!(shown.trial, entry.trial);
                assert_eq!(shown.instance_type, entry.instance_type);
                assert_eq!(Some(place.rank), entry.rank);
                assert_eq!(Some(place.score), entry.score);
                assert_eq!(place.tied_with, entry.tied_with);
            }
        }
    }
}
