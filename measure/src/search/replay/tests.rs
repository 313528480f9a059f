use proptest::prelude::*;

use super::*;
use crate::{
    schedule::{Arrivals, Load},
    units::Rate,
};

const LIMITS: [Limit; 2] =
    [Limit { latency_us: 50_000.0, budget: 0.05 }, Limit { latency_us: 90_000.0, budget: 0.01 }];

/// A segment as servers of the model's own kind would answer it.
fn segment_of(model: &QueueModel, times: f64, rate: f64, seed: u64, began_us: u64) -> Segment {
    let load =
        Load::Open { rate: Rate::per_second(rate).unwrap(), arrivals: Arrivals::Poisson, seed };
    let sent = load.send_times(std::time::Duration::from_secs(20)).unwrap();
    let arrivals_us: Vec<u32> = sent.map(|at| u32::try_from(at).unwrap()).collect();
    let service = model.service_us * times;
    let mut free = vec![0.0_f64; model.servers];
    let mut misses = vec![0; LIMITS.len()];
    for at in &arrivals_us {
        free.sort_by(f64::total_cmp);
        let start = free[0].max(f64::from(*at));
        free[0] = start + service;
        for (missed, limit) in misses.iter_mut().zip(LIMITS) {
            *missed += u32::from(start + service - f64::from(*at) > limit.latency_us);
        }
    }
    Segment {
        rate,
        from_idle: true,
        started_us: began_us,
        arrivals_us,
        misses,
        ..Segment::default()
    }
}

/// Where the model misses as often as was observed.
fn inverted(
    trace: &mut Trace,
    model: &QueueModel,
    constraint: usize,
    included: &[usize],
    from: f64,
) -> f64 {
    let misses = trace.observed(constraint, included) as f64;
    trace.invert(model, constraint, included, from, misses)
}

proptest! {
    #[test]
    fn inversion_finds_the_multiplier_that_made_the_misses(
        servers in 1usize..9, times in 0.8f64..1.2, seed: u64,
    ) {
        let model = QueueModel::fitted(100.0 * servers as f64, 10_000.0);
        let mut trace = Trace::new(LIMITS.to_vec());
        for number in 0..3 {
            // 85 % busy at multiplier 1.2: misses enough, and a queue that comes to rest.
            let rate = 100.0 * servers as f64 * 0.85 / times;
            trace.push(segment_of(&model, times, rate, seed ^ number, number * 100_000_000));
        }
        let included = [0, 1, 2];
        for constraint in 0..2 {
            if trace.observed(constraint, &included) < 5 {
                continue;
            }
            let found = multiplier(inverted(&mut trace, &model, constraint, &included, 3.0));
            prop_assert!((found / times - 1.0).abs() < 0.02, "{found} is not {times}");
        }
    }
}

#[test]
fn segments_left_out_do_not_count_and_carried_replays_equal_fresh_ones() {
    let model = QueueModel::fitted(100.0, 10_000.0);
    let (quiet, overloaded) =
        (segment_of(&model, 1.0, 70.0, 3, 0), segment_of(&model, 1.6, 70.0, 4, 30_000_000));
    let mut carried = Trace::new(LIMITS.to_vec());
    carried.push(quiet.clone());
    let first = inverted(&mut carried, &model, 0, &[0], 0.0);
    carried.push(overloaded.clone());
    assert!(inverted(&mut carried, &model, 0, &[0, 1], 0.0) > first + 5.0);
    assert!((inverted(&mut carried, &model, 0, &[0], 0.0) - first).abs() < 1e-12);

    let mut fresh = Trace::new(LIMITS.to_vec());
    fresh.push(quiet);
    fresh.push(overloaded);
    assert!(
        (inverted(&mut fresh, &model, 0, &[0, 1], -9.0)
            - inverted(&mut carried, &model, 0, &[0, 1], 30.0))
        .abs()
            < 1e-12
    );
}

#[test]
fn a_run_without_misses_or_of_misses_alone_stays_on_the_grid() {
    let model = QueueModel::fitted(100.0, 10_000.0);
    let mut trace = Trace::new(LIMITS.to_vec());
    let mut segment = segment_of(&model, 1.0, 30.0, 3, 0);
    segment.misses = vec![0, 0];
    trace.push(segment.clone());
    let bound = inverted(&mut trace, &model, 0, &[0], 0.0);
    assert!(bound > 0.0 && bound < f64::from(GRID_REACH));
    let all = u32::try_from(segment.arrivals_us.len()).unwrap();
    trace.push(Segment { misses: vec![all + 1, all + 1], ..segment });
    assert!((inverted(&mut trace, &model, 0, &[1], 0.0) - f64::from(GRID_REACH)).abs() < 1e-12);
    assert!(
        (inverted(&mut trace, &model, 0, &[], 0.0) - f64::from(GRID_REACH)).abs() < 1e-12,
        "no arrivals never miss"
    );
}

#[test]
fn old_arrivals_make_room_for_new_ones() {
    let mut trace = Trace::new(LIMITS.to_vec());
    for _ in 0..4 {
        trace.push(Segment {
            arrivals_us: vec![0; MOST_ARRIVALS / 3],
            misses: vec![0, 0],
            ..Segment::default()
        });
    }
    assert_eq!(trace.first_kept(), 1);
    assert!(
        trace.segments()[0].arrivals_us.is_empty() && !trace.segments()[1].arrivals_us.is_empty()
    );
}

#[test]
fn a_segment_that_begins_idle_forgets_the_queue_before_it() {
    let model = QueueModel::fitted(100.0, 10_000.0);
    let overloaded = segment_of(&model, 1.0, 200.0, 3, 0);
    let after = Segment { from_idle: true, ..segment_of(&model, 1.0, 60.0, 4, 20_000_000) };
    let alone = {
        let mut trace = Trace::new(LIMITS.to_vec());
        trace.push(after.clone());
        inverted(&mut trace, &model, 0, &[0], 0.0)
    };
    for (from_idle, alike) in [(true, true), (false, false)] {
        let mut trace = Trace::new(LIMITS.to_vec());
        trace.push(overloaded.clone());
        trace.push(Segment { from_idle, ..after.clone() });
        let found = inverted(&mut trace, &model, 0, &[1], 0.0);
        assert_eq!((found - alone).abs() < 1e-9, alike, "{found} and {alone}");
    }
}
