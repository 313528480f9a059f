//! How many requests a forward pass is given: as many as were asked for, as long as larger passes take
//! less time per request.
//!
//! Batches do not pay everywhere. They save calls, and they give wide hardware enough to do; but on one
//! thread, activations that outgrow the cache can cost more than the calls did, and every request of a
//! batch waits for all of it. So the warm-up tries sizes, in turns because machines change their speed.

use std::{iter, num::NonZeroU32, time::Duration};

/// A smaller batch is preferred if a request in it takes at most so much longer than in the best: less is
/// what two looks at the same size differ by, and a larger batch makes its requests wait.
const TOLERANCE: f64 = 0.05;
/// Larger passes are not tried: starting would take too long.
const LONGEST_PASS: Duration = Duration::from_secs(1);
/// The executor records the types of a new shape in its first pass and compiles in the second.
const PASSES_TO_COMPILE: u32 = 2;
/// The least time that a size took in so many rounds is what it takes: interruptions only add.
const FEWEST_ROUNDS: u32 = 5;
/// Short passes are tried more often.
const MOST_ROUNDS: u32 = 20;
/// No round begins after so much time, but for the first few.
const PATIENCE: Duration = Duration::from_secs(1);

/// What a pass of so many requests was seen to take.
type Tried = (NonZeroU32, Duration);

/// The size that pays, at most `most`. `pass` runs so many requests together and says how long it took;
/// `None` when they cannot run together, which is left for the first real batch to find out.
pub(super) fn find(
    most: NonZeroU32,
    mut pass: impl FnMut(NonZeroU32) -> Option<Duration>,
) -> NonZeroU32 {
    try_sizes(most, &mut pass).map_or(most, |tried| choice(most, &tried))
}

fn try_sizes(
    most: NonZeroU32,
    pass: &mut impl FnMut(NonZeroU32) -> Option<Duration>,
) -> Option<Vec<Tried>> {
    let mut tried = Vec::new();
    for size in sizes(most) {
        let mut took = Duration::ZERO;
        for _ in 0..PASSES_TO_COMPILE {
            took = pass(size)?;
        }
        if took > LONGEST_PASS {
            break;
        }
        tried.push((size, Duration::MAX));
    }
    let mut spent = Duration::ZERO;
    for round in 0..MOST_ROUNDS {
        if round >= FEWEST_ROUNDS && spent > PATIENCE {
            break;
        }
        for (size, least) in &mut tried {
            let took = pass(*size)?;
            tracing::debug!(%size, ?took, round, "tried");
            spent += took;
            *least = took.min(*least);
        }
    }
    Some(tried)
}

/// Powers of two, and the largest allowed.
fn sizes(most: NonZeroU32) -> impl Iterator<Item = NonZeroU32> {
    let doubled = |size: &NonZeroU32| size.checked_mul(NonZeroU32::MIN.saturating_add(1));
    iter::successors(Some(NonZeroU32::MIN), doubled)
        .take_while(move |size| *size < most)
        .chain(iter::once(most))
}

/// The smallest size that is as good as the best; `most` if that is the largest that was tried.
fn choice(most: NonZeroU32, tried: &[Tried]) -> NonZeroU32 {
    let per_request = |(size, took): &Tried| took.as_secs_f64() / f64::from(size.get());
    let Some(best) = tried.iter().map(per_request).min_by(f64::total_cmp) else { return most };
    let as_good = |one: &&Tried| per_request(one) <= best * (1.0 + TOLERANCE);
    match (tried.iter().find(as_good), tried.last()) {
        (Some((size, _)), Some((largest, _))) if size < largest => *size,
        _ => most,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(value: u32) -> NonZeroU32 {
        NonZeroU32::new(value).unwrap()
    }

    /// The size found for a model whose passes take so many microseconds.
    fn found(most: u32, mut microseconds: impl FnMut(u32) -> u64) -> u32 {
        find(number(most), |size| Some(Duration::from_micros(microseconds(size.get())))).get()
    }

    #[test]
    fn sizes_double_up_to_the_largest_allowed() {
        let all = |most| sizes(number(most)).map(NonZeroU32::get).collect::<Vec<_>>();
        assert_eq!(all(1), [1]);
        assert_eq!(all(2), [1, 2]);
        assert_eq!(all(6), [1, 2, 4, 6]);
        assert_eq!(all(8), [1, 2, 4, 8]);
        assert_eq!(all(u32::MAX).len(), 33);
    }

    #[test]
    fn batches_grow_as_long_as_they_pay() {
        assert_eq!(found(8, |size| 100 + u64::from(size)), 8, "a call costs, a row hardly");
        assert_eq!(found(8, |size| 1000 * u64::from(size)), 1, "nothing is gained");
        assert_eq!(found(8, |size| 1000 * u64::from(size) + 50 * u64::from(size)), 1);
        assert_eq!(found(8, |size| if size > 2 { 1200 } else { 900 } * u64::from(size) + 500), 2);
        assert_eq!(found(8, |size| 1000 * u64::from(size) + 10), 1, "one per cent decides nothing");
    }

    #[test]
    fn an_interrupted_pass_decides_nothing() {
        let mut passes = 0;
        let disturbed = |size: u32| {
            passes += 1;
            let stall = if passes % 5 == 0 { 5_000 } else { 0 };
            100 + 10 * u64::from(size) + stall
        };
        assert_eq!(found(6, disturbed), 6);
    }

    #[test]
    fn what_takes_too_long_to_try_is_allowed_unless_smaller_passes_say_otherwise() {
        let mut largest = 0;
        let mut slow = |each: u64, call: u64| {
            found(64, |size| {
                largest = size.max(largest);
                call + each * u64::from(size)
            })
        };
        let (gaining, losing) = (slow(100_000, 100_000), slow(100_000, 0));
        assert_eq!((gaining, losing), (64, 1));
        assert_eq!(largest, 16, "1.7 s is over the limit, and nothing larger is tried");
        assert_eq!(found(4, |size| 2_000_000 * u64::from(size)), 4, "nothing is known");
    }

    #[test]
    fn trying_ends() {
        let mut passes = 0;
        find(number(2), |_| {
            passes += 1;
            Some(Duration::ZERO)
        });
        assert_eq!(passes, 2 * (PASSES_TO_COMPILE + MOST_ROUNDS));
        passes = 0;
        find(number(2), |_| {
            passes += 1;
            Some(PATIENCE / 2)
        });
        assert_eq!(passes, 2 * (PASSES_TO_COMPILE + FEWEST_ROUNDS));
    }

    #[test]
    fn what_cannot_run_together_is_left_for_serving_to_find_out() {
        let alone = |size: NonZeroU32| (size.get() == 1).then_some(Duration::from_millis(1));
        assert_eq!(find(number(8), alone), number(8));
    }
}
