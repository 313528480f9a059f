//! Orders, scores and ties, by example and as properties.

use proptest::prelude::*;

use super::*;

fn contender(name: &str, price: &str, per_minute: f64, half_width: f64) -> Contender {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "small positive test figures"
    )]
    let milli = |value: f64| MilliPerMinute::new((value.max(0.0) * 1000.0).round() as u64);
    Contender {
        name: name.to_owned(),
        per_hour: price.parse().ok(),
        capacity: Capacity {
            value: milli(per_minute),
            low: milli(per_minute - half_width),
            high: milli(per_minute + half_width),
        },
        latency_us: 40_000,
    }
}

fn names<'a>(contenders: &'a [Contender], ranking: &Ranking) -> Vec<&'a str> {
    ranking.places.iter().map(|place| contenders[place.contender].name.as_str()).collect()
}

fn goals(text: &str) -> Option<Goals> {
    Some(text.parse().unwrap())
}

#[test]
fn the_three_published_rows_rank_by_cost_per_inference() {
    let rows = [
        contender("ml.c5.xlarge", "0.204", 648.0, 0.0),
        contender("ml.c5d.large", "0.115", 655.0, 0.0),
        contender("ml.m5.large", "0.115", 570.0, 0.0),
    ];
    let ranking = rank(&rows, None);
    assert_eq!(ranking.by, RankedBy::Cost);
    assert_eq!(names(&rows, &ranking), ["ml.c5d.large", "ml.m5.large", "ml.c5.xlarge"]);
    let scores: Vec<String> =
        ranking.places.iter().map(|place| format!("{:.2}", place.score)).collect();
    assert_eq!(scores, ["100.00", "87.02", "55.77"]);
    assert!(ranking.places.iter().all(|place| place.tied_with.is_empty()));
}

#[test]
fn equal_costs_are_ordered_by_name_and_tied() {
    let rows = [contender("b", "0.2", 200.0, 0.0), contender("a", "0.1", 100.0, 0.0)];
    let ranking = rank(&rows, None);
    assert_eq!(names(&rows, &ranking), ["a", "b"]);
    assert_eq!(ranking.places[0].tied_with, [2]);
    assert_eq!(ranking.places[1].tied_with, [1]);
}

#[test]
fn overlapping_intervals_are_ties_and_others_are_not() {
    let rows = [
        contender("a", "0.1", 1000.0, 20.0),
        contender("b", "0.1", 970.0, 20.0),
        contender("c", "0.1", 900.0, 5.0),
    ];
    let ranking = rank(&rows, None);
    let ties: Vec<&[u32]> = ranking.places.iter().map(|place| place.tied_with.as_slice()).collect();
    assert_eq!(ties, [&[2][..], &[1], &[]]);
    let (low, high) = ranking.places[0].score_ci95;
    assert!((low - 98.0).abs() < 1e-9 && (high - 102.0).abs() < 1e-9, "{low} {high}");
}

#[test]
fn goals_weigh_cost_latency_and_throughput_as_a_geometric_mean() {
    let mut rows = [contender("cheap", "0.1", 1000.0, 0.0), contender("fast", "0.4", 2000.0, 0.0)];
    rows[1].latency_us = 10_000;
    let by_cost = rank(&rows, goals("cost=highest"));
    assert_eq!((by_cost.by, names(&rows, &by_cost)), (RankedBy::Goals, vec!["cheap", "fast"]));
    // Weights 16, 1, 1: cost 1/2 of the best, latency and throughput best.
    let expected = 100.0 * (0.5_f64.powf(16.0 / 18.0));
    assert!((by_cost.places[1].score - expected).abs() < 1e-9);
    let by_latency = rank(&rows, goals("latency=highest"));
    assert_eq!(names(&rows, &by_latency), ["fast", "cheap"]);
}

#[test]
fn unpriced_contenders_are_left_out_of_the_ranking_by_cost() {
    let rows = [
        contender("a", "none", 9000.0, 0.0),
        contender("b", "0.1", 100.0, 0.0),
        contender("free", "0", 1.0, 0.0),
    ];
    let ranking = rank(&rows, None);
    assert_eq!((names(&rows, &ranking), ranking.unpriced), (vec!["b"], vec![0, 2]));
}

#[test]
fn without_any_price_throughput_decides() {
    let rows = [contender("a", "none", 100.0, 0.0), contender("b", "none", 400.0, 0.0)];
    for goals in [None, goals("cost=highest")] {
        let ranking = rank(&rows, goals);
        assert_eq!((ranking.by, names(&rows, &ranking)), (RankedBy::Throughput, vec!["b", "a"]));
        assert!((ranking.places[1].score - 25.0).abs() < 1e-9);
    }
}

#[test]
fn what_carries_nothing_is_never_ranked() {
    let rows = [contender("zero", "0.1", 0.0, 0.0), contender("b", "0.1", 1.0, 2.0)];
    let ranking = rank(&rows, None);
    assert_eq!((names(&rows, &ranking), ranking.without_capacity), (vec!["b"], vec![0]));
    assert!(ranking.places[0].score_ci95.0 <= 0.0);
    assert!(rank(&[], None).places.is_empty());
}

fn any_goals() -> impl Strategy<Value = Option<Goals>> {
    let importance = || proptest::sample::select(Importance::ALL);
    proptest::option::of(
        (importance(), importance(), importance()).prop_map(|(cost, latency, throughput)| Goals {
            cost,
            latency,
            throughput,
        }),
    )
}

/// Small ranges, so that equal costs and equal scores really occur.
fn any_contenders() -> impl Strategy<Value = Vec<Contender>> {
    let price = proptest::option::weighted(0.8, 0_u64..6);
    let one =
        (price, 0_u64..8, 0_u64..3, 0_u64..4).prop_map(|(price, rate, width, latency)| Contender {
            name: String::new(),
            per_hour: price.map(|units| PricePerHour::from_pico_usd(units * 50_000_000_000)),
            capacity: Capacity {
                value: MilliPerMinute::new(rate * 250_000),
                low: MilliPerMinute::new((rate * 250_000).saturating_sub(width * 60_000)),
                high: MilliPerMinute::new(rate * 250_000 + width * 60_000),
            },
            latency_us: latency * 10_000,
        });
    proptest::collection::vec(one, 0..9).prop_map(|mut all| {
        for (index, contender) in all.iter_mut().enumerate() {
            contender.name = format!("candidate-{index}");
        }
        all
    })
}

proptest! {
    #[test]
    fn removing_a_candidate_never_swaps_two_others(
        contenders in any_contenders(),
        goals in any_goals(),
        removed in any::<prop::sample::Index>(),
    ) {
        prop_assume!(!contenders.is_empty());
        let mut fewer = contenders.clone();
        fewer.remove(removed.index(contenders.len()));
        let (before, after) = (rank(&contenders, goals), rank(&fewer, goals));
        let (before, after) = (names(&contenders, &before), names(&fewer, &after));
        let common = |list: &[&str], other: &[&str]| -> Vec<String> {
            list.iter().filter(|name| other.contains(name)).map(|name| (*name).to_owned()).collect()
        };
        prop_assert_eq!(common(&before, &after), common(&after, &before));
    }

    #[test]
    fn the_order_does_not_depend_on_the_order_given(
        contenders in any_contenders(),
        goals in any_goals(),
        turn in any::<prop::sample::Index>(),
    ) {
        prop_assume!(!contenders.is_empty());
        let mut turned = contenders.clone();
        turned.rotate_left(turn.index(contenders.len()));
        turned.reverse();
        let (given, other) = (rank(&contenders, goals), rank(&turned, goals));
        prop_assert_eq!(names(&contenders, &given), names(&turned, &other));
    }

    #[test]
    fn every_contender_ends_in_exactly_one_list_and_ranks_count_up(
        contenders in any_contenders(),
        goals in any_goals(),
    ) {
        let ranking = rank(&contenders, goals);
        let mut seen: Vec<usize> = ranking.places.iter().map(|place| place.contender).collect();
        seen.extend(&ranking.unpriced);
        seen.extend(&ranking.without_capacity);
        seen.sort_unstable();
        prop_assert_eq!(seen, (0..contenders.len()).collect::<Vec<_>>());
        for (place, rank) in ranking.places.iter().zip(1..) {
            prop_assert_eq!(place.rank, rank);
            prop_assert!(place.score.is_finite() && place.score_ci95.0.is_finite() && place.score_ci95.1.is_finite());
            prop_assert!(contenders[place.contender].capacity.value.count() > 0);
        }
    }

    #[test]
    fn costs_never_fall_down_the_ranking_by_cost(contenders in any_contenders()) {
        let ranking = rank(&contenders, None);
        prop_assume!(ranking.by == RankedBy::Cost);
        for pair in ranking.places.windows(2) {
            let key = |place: &Place| contenders[place.contender].cost_key().unwrap();
            prop_assert_ne!(key(&pair[0]).compare(key(&pair[1])), Ordering::Greater);
            prop_assert!(pair[0].score >= pair[1].score - 1e-9);
        }
    }

    #[test]
    fn ties_are_mutual_and_never_with_oneself(contenders in any_contenders(), goals in any_goals()) {
        let ranking = rank(&contenders, goals);
        let tied = |a: &Place, b: &Place| a.tied_with.contains(&b.rank);
        for a in &ranking.places {
            prop_assert!(!tied(a, a));
            for b in &ranking.places {
                prop_assert_eq!(tied(a, b), tied(b, a));
            }
        }
    }
}
