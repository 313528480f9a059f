//! Mixes against brute force, on known figures, and at hostile sizes.

use proptest::prelude::*;

use super::*;
use crate::{
    job_report::{Overrides, build, samples},
    sizing::size,
    testing::{measured, measurement},
};

fn candidate(name: &str, usd: &str, per_min: u64) -> MixCandidate {
    MixCandidate {
        instance_type: name.parse().unwrap(),
        per_hour: usd.parse().unwrap(),
        capacity: MilliPerMinute::new(per_min * 1000),
        at_most: None,
    }
}

fn whole(per_minute: f64) -> Demand {
    Demand { rate: Rate::per_minute(per_minute).unwrap(), headroom_pct: 100 }
}

fn shown(mix: &FleetMix) -> String {
    let parts = mix
        .parts
        .iter()
        .map(|part| format!("{}×{}@{}", part.instance_count, part.instance_type, part.candidate));
    parts.collect::<Vec<_>>().join(" ")
}

fn raw(price: u64, milli: u64, at_most: Option<u32>) -> MixCandidate {
    MixCandidate {
        instance_type: "own.a".parse().unwrap(),
        per_hour: PricePerHour::from_pico_usd(price),
        capacity: MilliPerMinute::new(milli),
        at_most,
    }
}

fn counts(mix: &FleetMix, of: usize) -> Vec<u64> {
    let mut counts = vec![0; of];
    for part in &mix.parts {
        counts[part.candidate] += part.instance_count;
    }
    counts
}

#[test]
fn a_smaller_type_carries_the_rest_for_less() {
    let candidates = [candidate("ml.big", "1", 1000), candidate("ml.small", "0.2", 150)];
    let mix = cheapest(&candidates, whole(2100.0)).unwrap();
    assert_eq!(shown(&mix), "2×ml.big@0 1×ml.small@1");
    assert!(mix.proven && mix.ties_settled);
    assert_eq!(mix.instance_count, 3);
    assert!((mix.usd_per_month - 2.2 * 730.0).abs() < 1e-9);
    assert!((mix.usable_per_min - 2150.0).abs() < 1e-9);
    assert!((mix.cost_per_million_usd.unwrap() - 2.2 / (60.0 * 2100.0) * 1e6).abs() < 1e-9);
    let single = mix.single.unwrap();
    assert_eq!((single.part.candidate, single.part.instance_count), (1, 14));
    assert!((single.usd_per_month - 2.8 * 730.0).abs() < 1e-9);
    assert!((mix.saving_usd_per_month.unwrap() - 0.6 * 730.0).abs() < 1e-9);
}

#[test]
fn each_type_is_loaded_up_to_its_own_capacity_times_the_headroom() {
    let candidates = [candidate("ml.big", "1", 1000), candidate("ml.small", "0.2", 150)];
    let demand = Demand { rate: Rate::per_minute(1470.0).unwrap(), headroom_pct: 70 };
    // 70 % of 2150 is 1505.
    assert_eq!(shown(&cheapest(&candidates, demand).unwrap()), "2×ml.big@0 1×ml.small@1");
}

#[test]
fn a_single_type_is_sized_as_everywhere_else() {
    for (per_minute, headroom_pct) in [(40_000.0, 70), (1_400.0, 70), (0.0, 70), (999.999, 33)] {
        let demand = Demand { rate: Rate::per_minute(per_minute).unwrap(), headroom_pct };
        let one = candidate("ml.one", "0.115", 1000);
        let mix = cheapest(std::slice::from_ref(&one), demand).unwrap();
        let sizing = size(demand, one.capacity, Some(one.per_hour)).unwrap();
        assert_eq!(mix.instance_count, sizing.instance_count);
        assert!((mix.usd_per_month - sizing.usd_per_month.unwrap()).abs() < 1e-9);
        assert_eq!(mix.cost_per_million_usd.is_some(), sizing.cost_per_million_usd.is_some());
        assert_eq!(mix.saving_usd_per_month, Some(0.0));
    }
}

#[test]
fn of_equal_price_the_fewest_instances_then_the_least_excess_then_the_first_count() {
    let mix =
        |candidates: &[MixCandidate], demand| shown(&cheapest(candidates, whole(demand)).unwrap());
    let halves = [candidate("ml.half", "0.5", 500), candidate("ml.full", "1", 1000)];
    assert_eq!(mix(&halves, 2500.0), "1×ml.half@0 2×ml.full@1");
    let alike = [candidate("ml.more", "1", 1001), candidate("ml.less", "1", 1000)];
    assert_eq!(mix(&alike, 2000.0), "2×ml.less@1");
    assert_eq!(mix(&alike, 2001.0), "1×ml.more@0 1×ml.less@1");
    let same = [candidate("ml.a", "1", 1000), candidate("ml.b", "1", 1000)];
    assert_eq!(mix(&same, 2000.0), "2×ml.a@0");
}

#[test]
fn a_type_stays_within_its_largest_count() {
    let limited = |most| {
        let mut candidates = [candidate("ml.cheap", "1", 1000), candidate("ml.dear", "3", 1000)];
        candidates[0].at_most = Some(most);
        candidates
    };
    let mix = cheapest(&limited(2), whole(3500.0)).unwrap();
    assert_eq!(shown(&mix), "2×ml.cheap@0 2×ml.dear@1");
    assert_eq!(mix.single.unwrap().part.instance_count, 4);
    assert_eq!(shown(&cheapest(&limited(0), whole(900.0)).unwrap()), "1×ml.dear@1");
    let both = limited(2).map(|each| MixCandidate { at_most: Some(2), ..each });
    let mix = cheapest(&both, whole(3500.0)).unwrap();
    assert_eq!((mix.single, mix.saving_usd_per_month), (None, None));
    assert_eq!(cheapest(&both, whole(4001.0)), Err(NoMix::TooFew { most_per_min: 4000.0 }));
}

#[test]
fn where_nothing_carries_the_demand_the_reason_is_told() {
    let demand = whole(100.0);
    assert_eq!(cheapest(&[], demand), Err(NoMix::NoPrice));
    assert_eq!(cheapest(&[raw(0, 5, None)], demand), Err(NoMix::NoPrice));
    assert_eq!(cheapest(&[raw(0, 5, None), raw(1, 0, None)], demand), Err(NoMix::NoCapacity));
    let nothing = Demand { headroom_pct: 0, ..demand };
    assert_eq!(cheapest(&[raw(1, 5, None)], nothing), Err(NoMix::NoCapacity));
    let endless = whole(1e300);
    let refused = cheapest(&[raw(1, 5, None)], endless).unwrap_err();
    assert!(refused.to_string().starts_with("a demand of 1e300/min"), "{refused}");
    let tiny = cheapest(&[raw(1, 1, None)], whole(1e9)).unwrap_err();
    assert_eq!(
        tiny.to_string(),
        "all instances that can be had carry 4294967.295/min together, less than the demand"
    );
}

#[test]
fn a_free_candidate_is_no_part_of_a_mix() {
    let mix = cheapest(&[raw(0, 1_000_000, None), raw(7, 1000, None)], whole(5.0)).unwrap();
    assert_eq!(counts(&mix, 2), [0, 5]);
}

#[test]
fn a_report_gives_the_best_entry_of_each_type_and_keeps_the_places_of_its_ranking() {
    let outcomes = [300.0, 1000.0].map(|rate| measured(measurement(rate, 1.0)));
    let facts = samples::facts(&["own.a=1x1GiB@0.5", "own.b=2x2GiB@1"], outcomes.to_vec());
    let mut report = build(&facts, Overrides::default());
    assert_eq!(report.ranking[0].instance_type.as_str(), "own.b");
    // The same type with another configuration carries less, a third entry has no price.
    let mut slower = report.ranking[0].clone();
    slower.max_invocations_per_min = Some(900.0);
    let mut unpriced = report.ranking[0].clone();
    unpriced.price = None;
    report.ranking.splice(0..0, [slower, unpriced]);
    let mix = of_report(&report, whole(2100.0)).unwrap();
    assert_eq!(shown(&mix), "2×own.b@2 1×own.a@3");
    assert_eq!(mix.single.unwrap().part.candidate, 2);
    report.ranking.clear();
    assert_eq!(of_report(&report, whole(1.0)), Err(NoMix::NoPrice));
}

#[test]
fn a_mix_survives_json_and_leaves_out_what_there_is_none_of() {
    let both = [raw(3, 1000, Some(1)), raw(5, 1000, Some(1))];
    let mix = cheapest(&both, whole(2.0)).unwrap();
    let json = serde_json::to_value(&mix).unwrap();
    assert!(json.get("single").is_none() && json.get("saving_usd_per_month").is_none(), "{json}");
    assert_eq!(serde_json::from_value::<FleetMix>(json).unwrap(), mix);
    let single = serde_json::to_value(cheapest(&both, whole(1.0)).unwrap()).unwrap();
    assert_eq!(single["single"]["instance_count"], 1);
}

/// The least (price, count, excess), by trying everything.
fn brute_force(candidates: &[MixCandidate], demand: u64) -> Option<(u64, u64, u64)> {
    fn rest(of: &[MixCandidate], left: i64, so_far: (u64, u64)) -> Option<(u64, u64, u64)> {
        let Some((first, others)) = of.split_first() else {
            return (left <= 0).then(|| (so_far.0, so_far.1, left.unsigned_abs()));
        };
        let capacity = i64::try_from(first.capacity.count()).unwrap();
        let most = u64::try_from(left.max(0)).unwrap().div_ceil(first.capacity.count());
        let most = most.min(first.at_most.map_or(u64::MAX, u64::from));
        (0..=most)
            .filter_map(|count| {
                let left = left - i64::try_from(count).unwrap() * capacity;
                let price = so_far.0 + count * first.per_hour.pico_usd();
                rest(others, left, (price, so_far.1 + count))
            })
            .min()
    }
    rest(candidates, i64::try_from(demand).unwrap(), (0, 0))
}

fn small() -> impl Strategy<Value = (Vec<MixCandidate>, u64)> {
    let at_most = prop_oneof![3 => Just(None), 1 => (0_u32..6).prop_map(Some)];
    let any = (1_u64..30, 1_u64..30, at_most).prop_map(|(p, c, most)| raw(p, c, most));
    let alike = (1_u64..6).prop_map(|size| raw(4 * size, 3 * size, None));
    (proptest::collection::vec(prop_oneof![3 => any, 1 => alike], 1..5), 1_u64..70)
}

/// Figures as clouds have them: prices in units of 0.1 milli-dollar, capacities near in proportion.
fn realistic() -> impl Strategy<Value = (Vec<MixCandidate>, u64)> {
    let any = (100_u64..40_000, 700_u64..1_400)
        .prop_map(|(price, worth)| raw(price * 100_000_000, price * worth * 2, None));
    (proptest::collection::vec(any, 1..30), 1_u64..100_000_000_000)
}

proptest! {
    #[test]
    fn nothing_that_brute_force_finds_is_better((candidates, demand) in small()) {
        let mix = cheapest(&candidates, whole(demand as f64 / 1000.0));
        let expected = brute_force(&candidates, demand);
        let Ok(mix) = mix else {
            prop_assert_eq!(expected, None);
            return Ok(());
        };
        let counts = counts(&mix, candidates.len());
        let total = |of: fn(&MixCandidate) -> u64| -> u64 {
            candidates.iter().zip(&counts).map(|(each, count)| of(each) * count).sum()
        };
        let carried = total(|each| each.capacity.count());
        let found = (total(|each| each.per_hour.pico_usd()), mix.instance_count, carried - demand);
        prop_assert_eq!(Some(found), expected);
        prop_assert!(mix.proven && mix.ties_settled);
        for (each, count) in candidates.iter().zip(&counts) {
            prop_assert!(*count <= each.at_most.map_or(u64::MAX, u64::from));
        }
    }

    #[test]
    fn a_mix_carries_the_demand_without_a_needless_instance_and_is_never_dearer_than_one_type(
        (candidates, demand) in realistic(), headroom_pct in 1_u8..=100,
    ) {
        let demand = Demand { rate: Rate::per_minute(demand as f64 / 1000.0).unwrap(), headroom_pct };
        let mix = cheapest(&candidates, demand).unwrap();
        prop_assert_eq!(&mix, &cheapest(&candidates, demand).unwrap());
        let needed = u128::from(MilliPerMinute::from_rate(demand.rate).count()) * 100;
        let counts = counts(&mix, candidates.len());
        let usable = |at: usize| super::usable(&candidates[at], demand);
        let carried: u128 = (0..counts.len()).map(|at| usable(at) * u128::from(counts[at])).sum();
        prop_assert!(carried >= needed);
        for (at, count) in counts.iter().enumerate() {
            prop_assert!(*count == 0 || carried - usable(at) < needed);
        }
        prop_assert!(mix.saving_usd_per_month.unwrap() >= 0.0);
        prop_assert!(mix.usd_per_month <= mix.single.unwrap().usd_per_month);
    }
}

/// The same figures every time, each below `below`.
fn figures(mut state: u64) -> impl FnMut(u64) -> u64 {
    move |below| {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    }
}

#[test]
fn thirty_types_and_more_than_ten_thousand_instances_are_proven() {
    for seed in 0..5 {
        let mut figure = figures(seed);
        let families: Vec<MixCandidate> = (0..30)
            .map(|at| {
                // Sizes double, as do prices; what they carry is within a hundredth of that.
                let price = (900 + 40 * (at / 6)) * (1 << (at % 6));
                raw(price * 100_000_000, price * (9_900 + figure(200)) / 10, None)
            })
            .collect();
        let mix = cheapest(&families, whole(1e9)).unwrap();
        assert!(mix.proven && mix.instance_count > 10_000, "{seed}: {mix:?}");
    }
}

#[test]
fn a_search_that_is_cut_short_says_so_and_its_mix_is_none_the_less_whole() {
    let mut figure = figures(12_345);
    // Prices without a common unit, and thirty types that are much alike per capacity.
    let alike: Vec<MixCandidate> = (0..30)
        .map(|_| {
            let price = 50_000_000_000 + figure(400_000_000_000);
            raw(price, price / 100_000 + figure(1000), None)
        })
        .collect();
    let demand = whole(10_000_000.0);
    let mix = cheapest(&alike, demand).unwrap();
    assert!(!mix.proven && !mix.ties_settled, "{mix:?}");
    assert_eq!(mix, cheapest(&alike, demand).unwrap());
    assert!(mix.usable_per_min >= 10_000_000.0 && mix.saving_usd_per_month.unwrap() > 0.0);
    let excess = mix.usable_per_min - 10_000_000.0;
    for part in &mix.parts {
        assert!(excess < alike[part.candidate].capacity.as_per_minute(), "{part:?} is not needed");
    }
}

#[test]
fn capacities_of_wildly_different_size_and_prices_at_both_ends_overflow_nothing() {
    let mut wild: Vec<MixCandidate> =
        (0..30).map(|at| raw(1_000_003 << at, (1 << at) + 3, None)).collect();
    wild.extend([raw(u64::MAX, u64::MAX, None), raw(u64::MAX, 1, None), raw(1, u64::MAX, Some(1))]);
    for per_minute in [0.0, 1.0, 1e6, 1e10, 1e14] {
        let mix = cheapest(&wild[..32], whole(per_minute)).unwrap();
        assert!(mix.usable_per_min >= per_minute, "{mix:?}");
        let all = cheapest(&wild, whole(per_minute)).unwrap();
        assert_eq!((shown(&all), all.proven), ("1×own.a@32".to_owned(), true));
    }
}

#[test]
fn hundreds_of_types_that_are_few_each_are_put_together() {
    let mut figure = figures(7);
    let few: Vec<MixCandidate> = (0..400)
        .map(|_| {
            let price = 50_000_000_000 + figure(400_000_000_000);
            raw(price, price / 100_000 + figure(1000), Some(3))
        })
        .collect();
    let mix = cheapest(&few, whole(300_000.0)).unwrap();
    assert!(mix.usable_per_min >= 300_000.0 && mix.single.is_none(), "{mix:?}");
    assert!(mix.parts.len() > 100 && mix.parts.iter().all(|part| part.instance_count <= 3));
}
