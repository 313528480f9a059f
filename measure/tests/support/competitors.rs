//! How other tools look for a capacity: their search rules, re-implemented after their documentation.
//!
//! Only the rule is rebuilt, not the tool: load is sent by the same simulated generator as for our own
//! search, so what differs is what is asked and what is concluded.

use std::time::Duration;

use assay_measure::{
    schedule::{Arrivals, Load, derive_seed},
    search::{Purpose, Sample, StepPlan, Verdict},
    slo::Slo,
    statistics::{batch_means, binomial_at_least, mean, student_t_quantile, variance},
    units::Rate,
};

use crate::simulated_server::{Driver, Server, ServerKind};

/// One way to look for a capacity.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Competitor {
    pub(crate) name: &'static str,
    search: fn(&mut Bench) -> Option<f64>,
}

/// All of them, in the order of the published table.
pub(crate) const COMPETITORS: [Competitor; 7] = [
    Competitor { name: "closed-loop stairs, 30 s steps (SageMaker, Locust)", search: stairs },
    Competitor { name: "concurrency bisection (AIPerf)", search: concurrency_bisection },
    Competitor {
        name: "perf_analyzer bisection, constant gaps",
        search: |bench| perf_analyzer(bench, Arrivals::Constant),
    },
    Competitor {
        name: "perf_analyzer bisection, Poisson",
        search: |bench| perf_analyzer(bench, Arrivals::Poisson),
    },
    Competitor { name: "rate grid after closed maximum (TGI, GKE)", search: rate_grid },
    Competitor { name: "MLPerf FindPeakPerformance, 60 s probes", search: find_peak },
    Competitor { name: "sequential open-loop bisection", search: sequential_bisection },
];

impl Competitor {
    /// The rate found, if any, and how many seconds that took.
    pub(crate) fn search(&self, kind: &ServerKind, slo: Slo, seed: u64) -> (Option<f64>, f64) {
        let mut bench = Bench::new(kind, slo, seed);
        let found = (self.search)(&mut bench);
        (found, bench.driver.seconds())
    }
}

/// A server and the load that is put on it.
#[derive(Debug)]
struct Bench {
    driver: Driver,
    limit_us: f64,
    /// The share of requests that may take longer.
    budget: f64,
    /// What the server does at most, which those rules that begin at a guess are told.
    saturation: f64,
    batches_at_once: u32,
    seed: u64,
    steps: u32,
}

impl Bench {
    fn new(kind: &ServerKind, slo: Slo, seed: u64) -> Self {
        Self {
            driver: Driver::new(Server::new(kind.clone(), seed)),
            limit_us: slo.limit().as_secs_f64() * 1e6,
            budget: slo.miss_budget(),
            saturation: kind.saturation(),
            batches_at_once: u32::try_from(kind.workers * kind.max_batch).expect("few"),
            seed,
            steps: 0,
        }
    }

    fn step(&mut self, load: Load, seconds: f64, continues: bool) -> StepPlan {
        let index = self.steps;
        self.steps += 1;
        StepPlan {
            index,
            purpose: Purpose::Fixed,
            load,
            duration: Duration::from_secs_f64(seconds),
            continues,
            verdict_after: Duration::from_secs_f64(self.limit_us / 1e6),
        }
    }

    /// Throughput per second and the latencies of some users.
    fn closed(&mut self, users: u32, seconds: f64) -> (f64, Vec<f64>) {
        let step = self.step(Load::Closed { users }, seconds, false);
        let seen = self.driver.perform(&step, None);
        (seen.samples.len() as f64 / seconds, latencies_us(&seen.samples))
    }

    /// Latencies at a rate, in windows without a pause between them, until `enough` says so.
    fn open(
        &mut self,
        rate: f64,
        arrivals: Arrivals,
        window_s: f64,
        windows: usize,
        mut enough: impl FnMut(&[Vec<f64>]) -> bool,
    ) -> Vec<Vec<f64>> {
        let rate = Rate::per_second(rate).expect("a rate");
        let mut seen: Vec<Vec<f64>> = Vec::new();
        let load = |bench: &Self| Load::Open {
            rate,
            arrivals,
            seed: derive_seed(bench.seed, 1, u64::from(bench.steps)),
        };
        let first = load(self);
        let mut now = self.step(first, window_s, false);
        while seen.len() < windows {
            let following = load(self);
            let next = self.step(following, window_s, true);
            let ahead = (seen.len() + 1 < windows).then_some(&next);
            let observation = self.driver.perform(&now, ahead);
            seen.push(latencies_us(&observation.samples));
            if enough(&seen) {
                break;
            }
            now = next;
        }
        seen
    }

    fn holds(&self, latencies_us: &[f64]) -> bool {
        percentile_us(latencies_us, self.budget) <= self.limit_us
    }
}

fn percentile_us(latencies_us: &[f64], beyond: f64) -> f64 {
    let mut sorted = latencies_us.to_vec();
    sorted.sort_by(f64::total_cmp);
    let rank = (sorted.len() as f64 * (1.0 - beyond)).ceil();
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a rank")]
    let at = (rank as usize).saturating_sub(1);
    sorted.get(at).copied().unwrap_or(f64::INFINITY)
}

fn latencies_us(samples: &[Sample]) -> Vec<f64> {
    let of = |sample: &Sample| match sample.verdict {
        Verdict::Answered => sample.latency_us as f64,
        Verdict::Failed | Verdict::Outstanding => f64::INFINITY,
    };
    samples.iter().map(of).collect()
}

/// One more user every 30 s until latency is over the limit or throughput stays flat.
fn stairs(bench: &mut Bench) -> Option<f64> {
    let (mut best, mut last) = (0.0_f64, 0.0);
    for users in 1..200 {
        let (throughput, latencies) = bench.closed(users, 30.0);
        if !bench.holds(&latencies) {
            break;
        }
        best = best.max(throughput);
        if users > bench.batches_at_once && throughput < last * 1.01 {
            break;
        }
        last = throughput;
    }
    (best > 0.0).then_some(best)
}

/// Users doubled, then bisected to 5 %; 1000 requests for each number of them after 5 s of warm-up.
fn concurrency_bisection(bench: &mut Bench) -> Option<f64> {
    let (mut low, mut high, mut found) = (0_u32, 1_u32, None);
    let mut holds = |bench: &mut Bench, users: u32| {
        let (warm, _) = bench.closed(users, 5.0);
        let (throughput, latencies) = bench.closed(users, (1000.0 / warm.max(1.0)).max(3.0));
        bench.holds(&latencies).then(|| found = Some(throughput)).is_some()
    };
    while high < 4096 && holds(bench, high) {
        (low, high) = (high, high * 2);
    }
    while high - low > 1.max(high / 20) {
        let middle = u32::midpoint(low, high);
        if holds(bench, middle) {
            low = middle;
        } else {
            high = middle;
        }
    }
    found
}

/// `--request-rate-range` with `--binary-search`: a rate is judged once three windows in a row agree
/// within 10 %, or one of them is over the limit; ten windows at most.
fn perf_analyzer(bench: &mut Bench, arrivals: Arrivals) -> Option<f64> {
    const WINDOW_S: f64 = 6.0;
    let alike = |values: &[f64]| {
        let least = values.iter().copied().fold(f64::INFINITY, f64::min);
        least > 0.0 && values.iter().copied().fold(0.0, f64::max) / least <= 1.1
    };
    let holds = |bench: &mut Bench, rate: f64| {
        let (limit_us, budget) = (bench.limit_us, bench.budget);
        let mut stable = false;
        let windows = bench.open(rate, arrivals, WINDOW_S, 10, |windows| {
            let Some(last) = windows.len().checked_sub(3).map(|from| &windows[from..]) else {
                return false;
            };
            let counts: Vec<f64> = last.iter().map(|window| window.len() as f64).collect();
            let percentiles: Vec<f64> =
                last.iter().map(|window| percentile_us(window, budget)).collect();
            stable = alike(&counts) && alike(&percentiles);
            stable || percentiles.iter().any(|latency| *latency >= limit_us)
        });
        let last = &windows[windows.len() - 3..];
        let counts: Vec<f64> = last.iter().map(|window| window.len() as f64).collect();
        (stable || alike(&counts)) && bench.holds(&last.concat())
    };
    let (low, high) = (0.3 * bench.saturation, 1.6 * bench.saturation);
    let step = 0.02 * bench.saturation;
    if !holds(bench, low) {
        return None;
    }
    if holds(bench, high) {
        return Some(high);
    }
    Some(bisected(bench, (low, high), |low, high| high - low <= step, holds))
}

/// Halves the interval between a rate that holds and one that does not until it is narrow enough; the
/// highest rate that held.
fn bisected(
    bench: &mut Bench,
    (mut low, mut high): (f64, f64),
    is_narrow: impl Fn(f64, f64) -> bool,
    holds: impl Fn(&mut Bench, f64) -> bool,
) -> f64 {
    while !is_narrow(low, high) {
        let middle = f64::midpoint(low, high);
        if holds(bench, middle) {
            low = middle;
        } else {
            high = middle;
        }
    }
    low
}

/// The closed-loop maximum, then ten rates up to 120 % of it, 30 s each, until one misses.
fn rate_grid(bench: &mut Bench) -> Option<f64> {
    let (maximum, _) = bench.closed(128, 30.0);
    let mut best = None;
    for tenth in 1..=10 {
        let rate = f64::from(tenth) * maximum * 0.12;
        let seen = bench.open(rate, Arrivals::Poisson, 30.0, 1, |_| false);
        if !bench.holds(&seen.concat()) {
            break;
        }
        best = Some(rate);
    }
    best
}

/// Doubles a rate that holds, then bisects to 2 %, 60 s each; a rate holds when LoadGen's early
/// stopping is 99 % sure of it.
fn find_peak(bench: &mut Bench) -> Option<f64> {
    let holds = |bench: &mut Bench, rate: f64| {
        let seen = bench.open(rate, Arrivals::Poisson, 60.0, 1, |_| false).concat();
        let late = seen.iter().filter(|latency| **latency > bench.limit_us).count() as u64;
        let sent = seen.len() as u64;
        1.0 - binomial_at_least(late + 1, sent, bench.budget) <= 0.01
    };
    let mut low = 0.25 * bench.saturation;
    if !holds(bench, low) {
        return None;
    }
    let mut high = 2.0 * low;
    while holds(bench, high) {
        (low, high) = (high, 2.0 * high);
    }
    Some(bisected(bench, (low, high), |low, high| (high - low) / high <= 0.02, holds))
}

/// Bisection from the closed-loop maximum; every rate is tested on batch means of its misses until
/// they are clearly above or below what is allowed, 45 s at most.
fn sequential_bisection(bench: &mut Bench) -> Option<f64> {
    const FEWEST_REQUESTS: usize = 400;
    const SHORTEST: usize = 8;
    let (limit_us, budget) = (bench.limit_us, bench.budget);
    let (mut maximum, mut users) = (0.0_f64, 1);
    loop {
        let (throughput, _) = bench.closed(users, 1.5);
        let flat = throughput < maximum * 1.03;
        maximum = maximum.max(throughput);
        if (flat && users >= 4) || users >= 1024 {
            break;
        }
        users *= 2;
    }
    let (mut low, mut high) = (0.3 * maximum, 1.02 * maximum);
    while (high - low) / high > 0.03 {
        let rate = f64::midpoint(low, high);
        let mut decided = None;
        let seen = bench.open(rate, Arrivals::Poisson, 1.0, 45, |windows| {
            let missed = misses(&windows.concat(), limit_us);
            let settled = &missed[missed.len() / 5..];
            if windows.len() >= SHORTEST && settled.len() >= FEWEST_REQUESTS {
                let (share, reach) = batch_interval(settled);
                if share - reach > budget {
                    decided = Some(false);
                } else if share + reach < budget && settled.len() as f64 * budget > 4.0 {
                    decided = Some(true);
                }
            }
            decided.is_some()
        });
        let missed = misses(&seen.concat(), limit_us);
        let holds =
            decided.unwrap_or_else(|| mean(&missed[missed.len() / 10..]).unwrap_or(1.0) <= budget);
        if holds {
            low = rate;
        } else {
            high = rate;
        }
    }
    Some(f64::midpoint(low, high))
}

fn misses(latencies_us: &[f64], limit_us: f64) -> Vec<f64> {
    latencies_us.iter().map(|latency| f64::from(u8::from(*latency > limit_us))).collect()
}

/// Mean and reach of the interval from twenty batches, wider by 1.4 for being looked at repeatedly.
fn batch_interval(values: &[f64]) -> (f64, f64) {
    const BATCHES: usize = 20;
    let batches = batch_means(values, BATCHES);
    let spread = variance(&batches).unwrap_or(f64::INFINITY);
    let reach = student_t_quantile(0.975, BATCHES as f64 - 1.0) * (spread / BATCHES as f64).sqrt();
    (mean(&batches).unwrap_or(1.0), 1.4 * reach)
}
