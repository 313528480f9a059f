//! What a server of equal service times carries under Poisson arrivals (M/D/c), without measuring it.
//!
//! This is the truth that an instrument is held against, so it shares no formula with the search. One
//! server follows Erlang's series; several are simulated with a fixed seed, and the standard error of
//! that is told.

use std::{collections::VecDeque, time::Duration};

use rand_chacha::{
    ChaCha8Rng,
    rand_core::{Rng, SeedableRng},
};
use thiserror::Error;

use crate::{slo::Slo, units::Rate};

pub mod erlang;

/// Constraints are held against service times only between these two. Below, the time on the wire
/// decides; above, a queue near its limit moves more slowly than a measurement of minutes can follow.
pub const LIMIT_IN_SERVICE_TIMES: [f64; 2] = [1.5, 25.0];
/// The most servers in a queue.
pub const MOST_WORKERS: u32 = 64;

const SIMULATED_ARRIVALS: usize = 4_000_000;
/// Left out at the beginning, while the queue fills from empty.
const SETTLING_ARRIVALS: usize = 20_000;
const SIMULATION_SEED: u64 = 0x5EED_0001;
/// Groups that the standard error is taken from; each holds many busy periods.
const GROUPS: usize = 40;

/// Equal servers that take requests first come, first served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KnownQueue {
    workers: u32,
    service_time: Duration,
}

/// A queue, or the constraint on it, cannot be calculated.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum KnownQueueError {
    /// No worker, or too many.
    #[error("{0} workers are not between 1 and {MOST_WORKERS}")]
    Workers(u32),
    /// The service time is too short to keep, or too long to wait for.
    #[error("a service time of {0:?} is not between 500us and 10s")]
    ServiceTime(Duration),
    /// The constraint leaves the range in which a measurement can be held against a calculation.
    #[error(
        "the limit of {constraint} is not between {} and {} service times of {service_time:?}",
        LIMIT_IN_SERVICE_TIMES[0],
        LIMIT_IN_SERVICE_TIMES[1]
    )]
    Limit {
        /// The constraint.
        constraint: Slo,
        /// The service time.
        service_time: Duration,
    },
}

crate::configuration::word_enum!(
    /// Where the figure comes from.
    Method, "method", "service_time, erlang, simulation" {
        /// Without a constraint: servers ÷ service time.
        ServiceTime = "service_time",
        /// Erlang's series for one server.
        Erlang = "erlang",
        /// A simulation of millions of arrivals.
        Simulation = "simulation",
    }
);

/// What a queue carries.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct KnownCapacity {
    /// The largest rate within the constraints.
    pub rate: Rate,
    /// Standard error of a simulated figure; zero when it is exact.
    pub standard_error: Rate,
    /// Where the figure comes from.
    pub method: Method,
}

impl KnownQueue {
    /// A queue of so many servers.
    ///
    /// # Errors
    /// [`KnownQueueError::Workers`] and [`KnownQueueError::ServiceTime`] name the range allowed.
    pub fn new(workers: u32, service_time: Duration) -> Result<Self, KnownQueueError> {
        if workers == 0 || workers > MOST_WORKERS {
            return Err(KnownQueueError::Workers(workers));
        }
        if service_time < Duration::from_micros(500) || service_time > Duration::from_secs(10) {
            return Err(KnownQueueError::ServiceTime(service_time));
        }
        Ok(Self { workers, service_time })
    }

    /// How many requests are served at the same time.
    #[must_use]
    pub const fn workers(self) -> u32 {
        self.workers
    }

    /// How long each takes.
    #[must_use]
    pub const fn service_time(self) -> Duration {
        self.service_time
    }

    /// The rate at which every server is busy all the time.
    #[must_use]
    pub fn saturation(self) -> Rate {
        rate(f64::from(self.workers) / self.service_time.as_secs_f64())
    }

    /// The largest Poisson rate at which every constraint holds; the saturation when there is none.
    /// For several servers this takes about a second of one processor.
    ///
    /// # Errors
    /// [`KnownQueueError::Limit`].
    pub fn capacity(self, constraints: &[Slo]) -> Result<KnownCapacity, KnownQueueError> {
        let mut found = KnownCapacity {
            rate: self.saturation(),
            standard_error: Rate::ZERO,
            method: Method::ServiceTime,
        };
        for constraint in constraints {
            let one = self.capacity_within(*constraint)?;
            if one.rate < found.rate {
                found = one;
            }
        }
        Ok(found)
    }

    fn capacity_within(self, constraint: Slo) -> Result<KnownCapacity, KnownQueueError> {
        let service_s = self.service_time.as_secs_f64();
        let limit_s = constraint.limit().as_secs_f64();
        let [shortest, longest] = LIMIT_IN_SERVICE_TIMES;
        if !(shortest..=longest).contains(&(limit_s / service_s)) {
            let service_time = self.service_time;
            return Err(KnownQueueError::Limit { constraint, service_time });
        }
        let budget = constraint.miss_budget();
        if self.workers == 1 {
            let exact = erlang::capacity(service_s, limit_s, budget);
            let method = Method::Erlang;
            return Ok(KnownCapacity { rate: rate(exact), standard_error: Rate::ZERO, method });
        }
        let simulation = Simulation::new(self.workers, limit_s / service_s - 1.0);
        let (utilization, standard_error) = simulation.largest_utilization(budget);
        let all_busy = self.saturation().as_per_second();
        Ok(KnownCapacity {
            rate: rate(utilization * all_busy),
            standard_error: rate(standard_error * all_busy),
            method: Method::Simulation,
        })
    }
}

fn rate(per_second: f64) -> Rate {
    Rate::per_second(per_second).unwrap_or(Rate::ZERO)
}

/// The same arrivals at every utilization, only closer together: the share of late requests then grows
/// with the utilization without noise, and can be solved for.
struct Simulation {
    workers: usize,
    /// The longest wait allowed, in service times.
    wait: f64,
    /// Gaps between arrivals, of mean 1.
    gaps: Vec<f64>,
}

impl Simulation {
    fn new(workers: u32, wait: f64) -> Self {
        let mut random = ChaCha8Rng::seed_from_u64(SIMULATION_SEED);
        let mut gap = || -(1.0 - (random.next_u64() >> 11) as f64 / (1_u64 << 53) as f64).ln();
        let gaps = (0..SETTLING_ARRIVALS + SIMULATED_ARRIVALS).map(|_| gap()).collect();
        Self { workers: workers as usize, wait, gaps }
    }

    /// The largest utilization at which at most `budget` of the requests wait too long, and its
    /// standard error.
    fn largest_utilization(&self, budget: f64) -> (f64, f64) {
        let (mut low, mut high) = (0.001, 0.999);
        for _ in 0..20 {
            let middle = f64::midpoint(low, high);
            if mean(&self.late_shares(middle)) <= budget {
                low = middle;
            } else {
                high = middle;
            }
        }
        let shares = self.late_shares(low);
        let centre = mean(&shares);
        let squares: f64 = shares.iter().map(|share| (share - centre).powi(2)).sum();
        let error_of_share = (squares / (GROUPS * (GROUPS - 1)) as f64).sqrt();
        let aside = low * 0.99;
        let slope = (centre - mean(&self.late_shares(aside))) / (low - aside);
        (low, if slope > 0.0 { error_of_share / slope } else { f64::INFINITY })
    }

    /// The share of requests that wait too long, in each group of arrivals. First come, first served
    /// with equal service times means that request n begins when request n − c is over.
    fn late_shares(&self, utilization: f64) -> Vec<f64> {
        let gap = 1.0 / (utilization * self.workers as f64);
        let mut over: VecDeque<f64> = VecDeque::from(vec![0.0; self.workers]);
        let mut late = vec![0_u32; GROUPS];
        let group = SIMULATED_ARRIVALS / GROUPS;
        let mut now = 0.0;
        for (number, unit) in self.gaps.iter().enumerate() {
            now += unit * gap;
            let begins = over.pop_front().unwrap_or(0.0).max(now);
            over.push_back(begins + 1.0);
            if number >= SETTLING_ARRIVALS && begins - now > self.wait {
                late[((number - SETTLING_ARRIVALS) / group).min(GROUPS - 1)] += 1;
            }
        }
        late.into_iter().map(|count| f64::from(count) / group as f64).collect()
    }
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue(workers: u32, service_ms: u64) -> KnownQueue {
        KnownQueue::new(workers, Duration::from_millis(service_ms)).unwrap()
    }

    fn capacity(queue: KnownQueue, constraints: &[&str]) -> KnownCapacity {
        let constraints: Vec<Slo> = constraints.iter().map(|text| text.parse().unwrap()).collect();
        queue.capacity(&constraints).unwrap()
    }

    #[test]
    fn one_server_of_ten_milliseconds_carries_what_erlang_says() {
        let found = capacity(queue(1, 10), &["p95<=50ms"]);
        assert!((found.rate.as_per_second() - 69.377).abs() < 1e-3, "{found:?}");
        assert_eq!((found.method, found.standard_error), (Method::Erlang, Rate::ZERO));
    }

    #[test]
    fn without_a_constraint_every_server_is_busy_all_the_time() {
        let found = capacity(queue(2, 4), &[]);
        assert!((found.rate.as_per_second() - 500.0).abs() < 1e-9, "{found:?}");
        assert_eq!(found.method, Method::ServiceTime);
    }

    #[test]
    fn the_simulation_of_one_server_agrees_with_erlang_within_its_own_error() {
        for (wait, budget) in [(4.0, 0.05), (1.5, 0.10), (9.0, 0.01)] {
            let exact = erlang::capacity(1.0, wait + 1.0, budget);
            let (found, error) = Simulation::new(1, wait).largest_utilization(budget);
            assert!(error < 0.002 * exact, "±{error}");
            assert!((found - exact).abs() < 4.0 * error + 1e-5, "{found} ± {error}, not {exact}");
        }
    }

    #[test]
    fn two_servers_of_four_milliseconds_carry_what_the_exact_solution_says() {
        // By G. J. Franx's formula over the stationary distribution of the number in the system.
        const EXACT_PER_S: f64 = 377.360_6;
        let found = capacity(queue(2, 4), &["p99<=20ms"]);
        let error = found.standard_error.as_per_second();
        assert!(error > 0.0 && error < 0.002 * EXACT_PER_S, "{found:?}");
        let apart = (found.rate.as_per_second() - EXACT_PER_S).abs();
        assert!(apart < 4.0 * error + 1e-3, "{found:?} is {apart} off");
    }

    #[test]
    fn the_tightest_of_several_constraints_decides() {
        let both = capacity(queue(1, 10), &["p95<=50ms", "p99<=40ms"]);
        assert_eq!(both, capacity(queue(1, 10), &["p99<=40ms"]));
    }

    #[test]
    fn what_cannot_be_calculated_says_why() {
        let ten = Duration::from_millis(10);
        assert_eq!(KnownQueue::new(0, ten), Err(KnownQueueError::Workers(0)));
        assert_eq!(KnownQueue::new(65, ten), Err(KnownQueueError::Workers(65)));
        let short = Duration::from_micros(499);
        assert_eq!(KnownQueue::new(1, short), Err(KnownQueueError::ServiceTime(short)));
        for text in ["p95<=14ms", "p95<=251ms"] {
            let error = queue(1, 10).capacity(&[text.parse().unwrap()]).unwrap_err();
            assert_eq!(
                error.to_string(),
                format!("the limit of {text} is not between 1.5 and 25 service times of 10ms")
            );
        }
    }
}
