use proptest::prelude::*;

use super::*;

fn open(rate: f64, arrivals: Arrivals, seed: u64) -> Load {
    Load::Open { rate: Rate::per_second(rate).unwrap(), arrivals, seed }
}

fn times(load: &Load, seconds: f64) -> Vec<u64> {
    load.send_times(Duration::from_secs_f64(seconds)).unwrap().collect()
}

proptest! {
    #[test]
    fn times_ascend_within_the_step_and_longer_steps_only_add(
        rate in 0.1f64..20_000.0, seed: u64, seconds in 0.01f64..3.0, poisson: bool,
    ) {
        let load = open(rate, if poisson { Arrivals::Poisson } else { Arrivals::Constant }, seed);
        let short = times(&load, seconds);
        prop_assert!(short.is_sorted());
        prop_assert!(short.last().is_none_or(|last| (*last as f64) < seconds * 1e6));
        let long = times(&load, seconds * 1.7);
        prop_assert_eq!(&long[..short.len()], &short[..]);
        prop_assert!(long[short.len()..].first().is_none_or(|next| *next as f64 >= (seconds * 1e6).floor()));
    }

    #[test]
    fn the_same_seed_gives_the_same_times_and_another_gives_others(seed: u64) {
        let load = open(500.0, Arrivals::Poisson, seed);
        prop_assert_eq!(times(&load, 1.0), times(&load, 1.0));
        prop_assert_ne!(times(&load, 1.0), times(&open(500.0, Arrivals::Poisson, seed ^ 1), 1.0));
    }

    #[test]
    fn poisson_counts_stay_within_six_deviations(rate in 100f64..10_000.0, seed: u64) {
        let count = times(&open(rate, Arrivals::Poisson, seed), 10.0).len() as f64;
        prop_assert!((count - rate * 10.0).abs() < 6.0 * (rate * 10.0).sqrt(), "{count} at {rate}/s");
    }
}

#[test]
fn poisson_gaps_vary_as_much_as_their_mean() {
    let sent = times(&open(1000.0, Arrivals::Poisson, 5), 100.0);
    let gaps: Vec<f64> = sent.windows(2).map(|pair| (pair[1] - pair[0]) as f64).collect();
    let mean = crate::statistics::mean(&gaps).unwrap();
    let deviation = crate::statistics::variance(&gaps).unwrap().sqrt();
    assert!((mean / 1000.0 - 1.0).abs() < 0.02, "mean gap {mean} us");
    assert!((deviation / mean - 1.0).abs() < 0.02, "deviation {deviation} us");
}

#[test]
fn constant_gaps_are_equal_and_their_phase_follows_the_seed() {
    let sent = times(&open(250.0, Arrivals::Constant, 1), 1.0);
    assert_eq!(sent.len(), 250);
    assert!(sent.windows(2).all(|pair| (3999..=4001).contains(&(pair[1] - pair[0]))));
    assert_ne!(sent[0], times(&open(250.0, Arrivals::Constant, 2), 1.0)[0]);
}

#[test]
fn no_rate_sends_nothing_and_closed_loop_has_no_times() {
    assert!(times(&open(0.0, Arrivals::Poisson, 1), 10.0).is_empty());
    assert!(Load::Closed { users: 3 }.send_times(Duration::from_secs(1)).is_none());
}

#[test]
fn recorded_times_are_cut_at_the_end_of_the_step() {
    let load = Load::Replay { at_us: vec![0, 10, 999_999, 1_000_000, 1_000_001] };
    assert_eq!(times(&load, 1.0), vec![0, 10, 999_999]);
}

#[test]
fn derived_seeds_differ_by_purpose_and_number() {
    let mut seeds: Vec<u64> =
        (0..50).flat_map(|n| (0..5).map(move |p| derive_seed(9, p, n))).collect();
    seeds.sort_unstable();
    seeds.dedup();
    assert_eq!(seeds.len(), 250);
}
