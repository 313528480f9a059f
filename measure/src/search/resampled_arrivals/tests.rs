use super::*;
use crate::{
    schedule::{Arrivals, Load},
    units::Rate,
};

const P95_50MS: Limit = Limit { latency_us: 50_000.0, budget: 0.05 };

/// Twenty seconds of a server whose services take turns, a long one after some short ones.
fn segment(number: u64, rate: f64, services_us: &[f64]) -> Segment {
    let load = Load::Open {
        rate: Rate::per_second(rate).unwrap(),
        arrivals: Arrivals::Poisson,
        seed: 900 + number,
    };
    let sent = load.send_times(std::time::Duration::from_secs(20)).unwrap();
    let arrivals_us: Vec<u32> = sent.map(|at| u32::try_from(at).unwrap()).collect();
    let mut free = 0.0_f64;
    let latencies_us = arrivals_us
        .iter()
        .zip(services_us.iter().cycle())
        .map(|(at, service)| {
            free = free.max(f64::from(*at)) + service;
            #[expect(clippy::cast_possible_truncation, reason = "a test's latency")]
            let latency = (free - f64::from(*at)) as f32;
            latency
        })
        .collect();
    Segment {
        rate,
        from_idle: true,
        started_us: number * 30_000_000,
        ended_us: number * 30_000_000 + 20_000_000,
        arrivals_us,
        latencies_us,
        ..Segment::default()
    }
}

fn found(rate: f64, services_us: &[f64], segments: u64) -> f64 {
    let mut model = QueueModel::fitted(100.0, 10_000.0);
    let mut fresh = ResampledArrivals::new(vec![P95_50MS], &model, 100.0, 5);
    for number in 0..segments {
        fresh.push(&segment(number, rate, services_us));
    }
    let included: Vec<usize> = (0..fresh.resampled.len()).collect();
    let mut position = 0.0;
    for _ in 0..3 {
        position = fresh.invert(&mut model, 0, &included, position);
        fresh.fit_control_coefficient(&mut model, 0, &included, position);
    }
    model.allowed_rate(0, P95_50MS, position)
}

#[test]
fn equal_services_give_erlangs_rate_whatever_rate_was_sent() {
    for rate in [40.0, 69.0, 80.0] {
        let allowed = found(rate, &[10_000.0], 2);
        assert!((allowed / 69.377 - 1.0).abs() < 1e-3, "{allowed} from {rate}");
    }
}

#[test]
fn slower_services_allow_proportionally_less() {
    // A wait of as many services, not of as many milliseconds, makes it slightly more than 5 %.
    let (usual, slower) = (found(60.0, &[10_000.0], 2), found(60.0, &[10_500.0], 2));
    assert!((0.93..0.953).contains(&(slower / usual)), "{slower} and {usual}");
}

#[test]
fn long_services_cost_more_than_their_mean() {
    let mixed: Vec<f64> = (0..50).map(|n| if n == 7 { 100_000.0 } else { 8_163.3 }).collect();
    let (equal, mixed) = (found(50.0, &[10_000.0], 6), found(50.0, &mixed, 6));
    assert!(mixed < 0.9 * equal, "{mixed} and {equal}");
}

#[test]
fn segments_left_out_do_not_count_and_carried_replays_equal_fresh_ones() {
    let (fast, slow) = (segment(0, 60.0, &[9_000.0]), segment(1, 60.0, &[12_000.0]));
    let mut model = QueueModel::fitted(100.0, 10_000.0);
    let trace = |segments: &[&Segment], model: &QueueModel| {
        let mut fresh = ResampledArrivals::new(vec![P95_50MS], model, 100.0, 5);
        segments.iter().for_each(|segment| fresh.push(segment));
        fresh
    };
    let mut carried = trace(&[&fast], &model);
    let alone = carried.invert(&mut model, 0, &[0], 0.0);
    carried.push(&slow);
    assert!((carried.invert(&mut model, 0, &[0], 9.0) - alone).abs() < 1e-12);
    let both = carried.invert(&mut model, 0, &[0, 1], 0.0);
    assert!(both > alone + 3.0, "{both} and {alone}");
    let again = trace(&[&fast, &slow], &model).invert(&mut model, 0, &[0, 1], -9.0);
    assert!((again - both).abs() < 1e-12);
}

#[test]
fn nothing_seen_stays_on_the_grid() {
    let mut model = QueueModel::fitted(100.0, 10_000.0);
    let mut fresh = ResampledArrivals::new(vec![P95_50MS], &model, 100.0, 5);
    fresh.push(&Segment { from_idle: true, ended_us: 5_000_000, ..Segment::default() });
    fresh.fit_control_coefficient(&mut model, 0, &[0], 0.0);
    assert!(fresh.invert(&mut model, 0, &[0], 0.0).abs() <= f64::from(GRID_REACH));
}

#[test]
fn fast_targets_are_looked_at_in_part() {
    assert_eq!([10.0, 100.0, 200.0, 50_000.0].map(streams), [8, 8, 4, 2]);
    let mut fresh =
        ResampledArrivals::new(vec![P95_50MS], &QueueModel::fitted(10_000.0, 100.0), 10_000.0, 5);
    fresh.push(&segment(0, 5_000.0, &[100.0]));
    assert_eq!(fresh.resampled[0].services.len(), MOST_PER_SEGMENT);
    assert!((0.25e6..0.35e6).contains(&fresh.resampled[0].covered_us));
}

#[test]
fn a_segment_without_any_batch_says_nothing() {
    let batching =
        Batching { workers: 1, most: 4, fixed_us: 8_000.0, per_request_us: 2_000.0, delay_us: 0.0 };
    let mut model = QueueModel::in_batches(batching, 10_000.0, 3);
    let mut fresh = ResampledArrivals::new(vec![P95_50MS], &model, 250.0, 5);
    let told = |number: u64| {
        let batch = |n: u64| crate::search::Batch {
            started_us: number * 30_000_000 + n * 20_000,
            requests: 2,
            service_ns: 12_000_000,
            waited_us: 0,
        };
        Segment { batches: (0..1_000).map(batch).collect(), ..segment(number, 150.0, &[6_000.0]) }
    };
    fresh.push(&told(0));
    let position = fresh.invert(&mut model, 0, &[0], 0.0);
    let blank = Segment { from_idle: false, ..segment(1, 150.0, &[6_000.0]) };
    fresh.push(&blank);
    fresh.push(&told(2));
    assert!((fresh.invert(&mut model, 0, &[0, 1], 0.0) - position).abs() < 1e-9);
    assert!(position.abs() < 0.5, "{position} is not the model's own pace");
}
