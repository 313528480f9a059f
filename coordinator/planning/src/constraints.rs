//! Does a measured candidate hold the constraints, and if not, how far off is it?
//!
//! A search steers to the very rate at which the constraint is just met, so its own latency figures lie
//! on either side of the limit by chance: there the verdict is that of the confirmation, which allows
//! for sampling error. A fixed load is not steered, so its figures are compared as they are.

use assay_measure::{
    figures,
    latency::Latency,
    outcome::{StepResult, TrialResult},
    search::Confirmation,
    slo::Slo,
    units::as_micros,
};

/// A constraint that does not hold.
#[derive(Clone, Debug, PartialEq)]
pub struct Miss {
    /// What was seen and how far off it is, for people.
    pub reason: String,
    /// The figure over its limit: 1.1 is ten per cent over. At least 1.
    pub ratio: f64,
}

/// The first constraint that a measurement misses, if any; the worst when the figures tell.
#[must_use]
pub fn missed(constraints: &[Slo], measurement: &TrialResult) -> Option<Miss> {
    let first = constraints.first()?;
    let Some(answer) = &measurement.answer else {
        return worst(constraints, measurement.latency.as_ref()?, "under the load given");
    };
    match answer.confirmation {
        Confirmation::Held | Confirmation::NotRun | Confirmation::NotNeeded => None,
        Confirmation::Missed => {
            let rate = format!("at {:.0}/min", answer.capacity.value.as_per_minute());
            let seen = measurement.latency.as_ref();
            let worst = seen.and_then(|latency| worst(constraints, latency, &rate));
            Some(worst.unwrap_or_else(|| Miss {
                reason: format!("fresh load {rate} did not hold {first}"),
                ratio: 1.0,
            }))
        }
    }
}

/// How far off one request at a time is, told from the steps of a search that found even that too slow.
#[must_use]
pub fn missed_unloaded(constraints: &[Slo], steps: &[StepResult]) -> Option<Miss> {
    let unloaded =
        steps.iter().filter(|step| step.users == Some(1)).filter_map(|step| step.latency);
    // The longest such step says most.
    worst(constraints, &unloaded.max_by_key(|latency| latency.count)?, "of one request at a time")
}

fn worst(constraints: &[Slo], latency: &Latency, circumstance: &str) -> Option<Miss> {
    constraints
        .iter()
        .filter_map(|slo| {
            let (seen, limit) = (latency.figure_us(slo.metric()), as_micros(slo.limit()));
            (seen > limit).then(|| Miss {
                reason: format!(
                    "{} {circumstance} is {}, {} over",
                    slo.metric(),
                    figures::plain_latency(seen),
                    figures::plain_latency(seen - limit)
                ),
                ratio: seen as f64 / limit as f64,
            })
        })
        .max_by(|a, b| a.ratio.total_cmp(&b.ratio))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use assay_measure::{search::Purpose, units::Rate};

    use super::*;
    use crate::testing;

    fn slo(text: &str) -> Slo {
        text.parse().unwrap()
    }

    fn step(users: u32, p95_us: u64) -> StepResult {
        StepResult {
            users: Some(users),
            achieved: Rate::per_second(10.0).unwrap(),
            latency: Some(testing::latency(p95_us)),
            accepted: Some(false),
            ..StepResult::unmeasured(0, Purpose::Staircase, Duration::from_secs(2))
        }
    }

    #[test]
    fn a_searched_answer_is_judged_by_its_confirmation_and_not_by_chance() {
        let mut measurement = testing::measurement(2310.0, 20.0);
        measurement.latency = Some(testing::latency(50_300));
        assert_eq!(missed(&[slo("p95<=50ms")], &measurement), None);
        measurement.answer.as_mut().unwrap().confirmation = Confirmation::Missed;
        let miss = missed(&[slo("p95<=50ms")], &measurement).unwrap();
        assert_eq!(miss.reason, "p95 at 2310/min is 50.3 ms, 300 µs over");
        let miss = missed(&[slo("p95<=80ms")], &measurement).unwrap();
        assert_eq!(miss.reason, "fresh load at 2310/min did not hold p95<=80ms");
        assert_eq!(missed(&[], &measurement), None);
    }

    #[test]
    fn a_fixed_load_is_judged_by_its_figures_and_the_worst_constraint_is_named() {
        let mut measurement = testing::measurement(2310.0, 20.0);
        measurement.answer = None;
        assert_eq!(missed(&[slo("p95<=50ms")], &measurement), None);
        let miss = missed(&[slo("p95<=40ms"), slo("p50<=7ms")], &measurement).unwrap();
        assert_eq!(miss.reason, "p50 under the load given is 28 ms, 21 ms over");
        assert!((miss.ratio - 4.0).abs() < 1e-12);
    }

    #[test]
    fn a_lone_request_that_is_too_slow_says_how_far_off_it_is() {
        let steps = [step(2, 200_000), step(1, 61_000)];
        let miss = missed_unloaded(&[slo("p95<=50ms")], &steps).unwrap();
        assert_eq!(miss.reason, "p95 of one request at a time is 61 ms, 11 ms over");
        assert_eq!(missed_unloaded(&[slo("p95<=50ms")], &steps[..1]), None);
    }
}
