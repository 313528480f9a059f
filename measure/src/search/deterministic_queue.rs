//! How long one waits in a queue with Poisson arrivals, equal service times and `c` servers (M/D/c),
//! exactly.
//!
//! The distribution of waiting time follows from that of the number in the system (G. J. Franx, *A
//! simple solution for the M/D/c waiting time distribution*, Operations Research Letters 29, 2001):
//! every term is positive, so nothing cancels, unlike in Erlang's alternating series. The number in
//! the system, seen every service time, is a Markov chain that moves down by at most `c`; its
//! stationary distribution is found by the elimination of Grassmann, Taksar and Heyman (Operations
//! Research 33, 1985), which subtracts nothing either.

/// Beyond so many servers elimination takes milliseconds, and the limit below is close.
const MOST_EXACT_SERVERS: usize = 48;
/// Arrivals in one service time beyond this probability are left out.
const NEGLIGIBLE_ARRIVALS: f64 = 1e-13;
/// States of the chain beyond this probability are left out.
const NEGLIGIBLE_QUEUE: f64 = 1e-11;
/// The busiest queue considered: above it the chain grows without end, and so would the time that a
/// real queue takes to settle.
pub(super) const LARGEST_UTILIZATION: f64 = 0.995;
/// The idlest one.
pub(super) const SMALLEST_UTILIZATION: f64 = 0.002;

/// The largest utilization (arrival rate × service time ÷ servers) at which at most `share` of
/// requests wait longer than `wait`, given in service times. Zero when even an empty queue is too slow.
pub(super) fn largest_utilization(servers: usize, wait: f64, share: f64) -> f64 {
    if wait.is_nan() || wait < 0.0 {
        return 0.0;
    }
    let excess = |utilization: f64| {
        (share_waiting_longer(servers, utilization, wait).max(1e-30) / share).ln()
    };
    let (mut low, mut high) = (SMALLEST_UTILIZATION, LARGEST_UTILIZATION);
    if excess(high) <= 0.0 {
        return high;
    }
    if excess(low) >= 0.0 {
        return low;
    }
    // Bisection brings the bracket to a smooth stretch, the secant finishes within it.
    for _ in 0..6 {
        let middle = f64::midpoint(low, high);
        *(if excess(middle) <= 0.0 { &mut low } else { &mut high }) = middle;
    }
    let (mut below, mut above) = (excess(low), excess(high));
    for _ in 0..20 {
        let guess = (low - below * (high - low) / (above - below)).clamp(low, high);
        let found = excess(guess);
        if found.abs() < 1e-7 || high - low < 1e-9 {
            return guess;
        }
        // Halving the value at the end that stays is the Illinois rule against creeping.
        if found < 0.0 {
            (low, below, above) = (guess, found, above / 2.0);
        } else {
            (high, above, below) = (guess, found, below / 2.0);
        }
    }
    f64::midpoint(low, high)
}

/// The share of requests that wait longer than `wait` service times.
pub(super) fn share_waiting_longer(servers: usize, utilization: f64, wait: f64) -> f64 {
    if wait < 0.0 || utilization >= 1.0 {
        return 1.0;
    }
    if utilization <= 0.0 {
        return 0.0;
    }
    if servers > MOST_EXACT_SERVERS {
        // Queues of equal (1 − ρ)·√c and wait·√c look alike when c is large (Halfin and Whitt,
        // Operations Research 29, 1981; for equal service times Jelenković, Mandelbaum, Momčilović 2004).
        let scale = (servers as f64 / MOST_EXACT_SERVERS as f64).sqrt();
        return share_waiting_longer(
            MOST_EXACT_SERVERS,
            1.0 - (1.0 - utilization) * scale,
            wait * scale,
        );
    }
    let arrivals = utilization * servers as f64;
    let more_in_system = tail_of_number_in_system(servers, arrivals);
    // Franx: with k = ⌊wait⌋ + 1 and λ' = arrivals·(k − wait),
    // P(W > wait) = Σ_j e^{−λ'} λ'^j / j! · P(queue > k·c − j − 1).
    let periods = wait.floor() + 1.0;
    let mean = arrivals * (periods - wait);
    let queue_terms =
        (periods * servers as f64).min(more_in_system.len() as f64 + 4.0 * mean + 64.0);
    let (mut weight, mut total, mut seen) = ((-mean).exp(), 0.0, 0.0);
    let mut term = 0.0;
    while term < queue_terms {
        let in_system = periods * servers as f64 - term - 1.0 + servers as f64;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "not negative, saturating"
        )]
        let beyond = more_in_system.get(in_system as usize).copied().unwrap_or(0.0);
        total += weight * beyond;
        seen += weight;
        term += 1.0;
        weight *= mean / term;
    }
    (total + (1.0 - seen).max(0.0)).clamp(0.0, 1.0)
}

/// Entry `n` is the probability of more than `n` in the system.
fn tail_of_number_in_system(servers: usize, arrivals: f64) -> Vec<f64> {
    let probabilities = Chain::new(servers, arrivals).stationary();
    let mut tail = vec![0.0; probabilities.len()];
    let mut beyond = 0.0;
    for (entry, probability) in tail.iter_mut().zip(&probabilities).rev() {
        *entry = beyond;
        beyond += probability;
    }
    tail
}

/// Transition probabilities of the number in the system over one service time: from `i`, the `c` in
/// service leave (or all, when fewer) and a Poisson number arrives. Row `i` holds the probabilities
/// of `max(i − c, 0) + 0, 1, 2, …`; the last state stands for all above it.
struct Chain {
    servers: usize,
    width: usize,
    states: usize,
    rows: Vec<f64>,
}

impl Chain {
    fn new(servers: usize, arrivals: f64) -> Self {
        let steps = poisson_probabilities(arrivals);
        let decay = queue_decay(arrivals / servers as f64);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "positive and bounded by the largest utilization"
        )]
        let tail = (NEGLIGIBLE_QUEUE.ln() / -decay).ceil() as usize;
        let (width, states) = (steps.len(), servers + steps.len() + tail);
        let mut chain = Self { servers, width, states, rows: vec![0.0; width * states] };
        for from in 0..states {
            let base = chain.base(from);
            for (step, probability) in steps.iter().enumerate() {
                let to = (base + step).min(states - 1);
                chain.rows[from * width + to - base] += probability;
            }
        }
        chain
    }

    fn base(&self, from: usize) -> usize {
        from.saturating_sub(self.servers)
    }

    fn stationary(mut self) -> Vec<f64> {
        for state in (1..self.states).rev() {
            self.eliminate(state);
        }
        let mut probabilities = vec![1.0; self.states];
        let mut total = 1.0;
        for state in 1..self.states {
            let sum: f64 = self
                .sources(state)
                .map(|from| {
                    probabilities[from] * self.rows[from * self.width + state - self.base(from)]
                })
                .sum();
            probabilities[state] = sum;
            total += sum;
        }
        probabilities.iter_mut().for_each(|probability| *probability /= total);
        probabilities
    }

    /// The lower states from which `state` can be reached directly.
    fn sources(&self, state: usize) -> std::ops::Range<usize> {
        let lowest_base = (state + 1).saturating_sub(self.width);
        let first = if lowest_base == 0 { 0 } else { lowest_base + self.servers };
        first.min(state)..state
    }

    /// Censors the chain to the states below `state`.
    fn eliminate(&mut self, state: usize) {
        let (base, width) = (self.base(state), self.width);
        // Few arrivals end a row before it comes back to the state it belongs to.
        let reach = (state - base).min(width);
        let row: Vec<f64> = self.rows[state * width..state * width + reach].to_vec();
        let leaving: f64 = row.iter().sum();
        for from in self.sources(state) {
            let from_base = self.base(from);
            let share = self.rows[from * width + state - from_base] / leaving;
            self.rows[from * width + state - from_base] = share;
            let start = from * width + base - from_base;
            for (entry, probability) in self.rows[start..start + reach].iter_mut().zip(&row) {
                *entry += share * probability;
            }
        }
    }
}

fn poisson_probabilities(mean: f64) -> Vec<f64> {
    let (mut weight, mut seen, mut probabilities) = ((-mean).exp(), 0.0, Vec::new());
    while probabilities.len() < 2
        || (1.0 - seen > NEGLIGIBLE_ARRIVALS && probabilities.len() < 1000)
    {
        probabilities.push(weight);
        seen += weight;
        weight *= mean / probabilities.len() as f64;
    }
    probabilities
}

/// The logarithm of the factor by which the probability of one more in the system falls, far up:
/// the root τ > 1 of ln τ = ρ (τ − 1), from the characteristic equation τ^c = e^{λ(τ−1)}.
fn queue_decay(utilization: f64) -> f64 {
    let excess = |root: f64| root.ln() - utilization * (root - 1.0);
    let mut high = 2.0 / utilization;
    while excess(high) > 0.0 {
        high *= 2.0;
    }
    // The left side is concave, so Newton's steps from above never pass the root.
    for _ in 0..60 {
        high -= excess(high) / (1.0 / high - utilization);
    }
    high.ln().max(1e-3)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// P(W > t) of M/D/1 by Erlang's series (1909), in plain floats: fit for few service times only.
    fn erlang(utilization: f64, wait: f64) -> f64 {
        let (mut sum, mut factorial) = (0.0, 1.0);
        for k in 0..=40 {
            let k = f64::from(k);
            if k > wait {
                break;
            }
            if k > 0.0 {
                factorial *= k;
            }
            let x = utilization * (k - wait);
            sum += x.powf(k) / factorial * (-x).exp();
        }
        1.0 - (1.0 - utilization) * sum
    }

    #[test]
    fn one_server_waits_as_erlang_found() {
        for utilization in [0.05, 0.3, 0.69377, 0.9] {
            for wait in [0.0, 0.4, 1.0, 3.3, 4.0, 7.9] {
                let (found, expected) =
                    (share_waiting_longer(1, utilization, wait), erlang(utilization, wait));
                assert!(
                    (found - expected).abs() < 1e-9,
                    "ρ {utilization}, t {wait}: {found} is not {expected}"
                );
            }
        }
    }

    #[test]
    fn the_published_limit_of_ten_millisecond_service_comes_out() {
        // D = 10 ms and p95 ≤ 50 ms give 69.377 requests per second.
        assert!((largest_utilization(1, 4.0, 0.05) * 100.0 - 69.377).abs() < 1e-3);
    }

    #[test]
    fn several_servers_wait_as_a_long_simulation_does() {
        for (servers, utilization, wait) in
            [(2, 0.8, 0.7), (4, 0.763, 2.0), (8, 0.95, 1.5), (40, 0.97, 0.5)]
        {
            let simulated = simulated_share(servers, utilization, wait, 1_000_000);
            let found = share_waiting_longer(servers, utilization, wait);
            assert!(
                (found / simulated - 1.0).abs() < 0.1,
                "c {servers}: {found} is not {simulated}"
            );
        }
    }

    #[test]
    fn many_servers_are_close_to_their_limit_law() {
        let simulated = simulated_share(200, 0.97, 0.2, 1_500_000);
        let found = share_waiting_longer(200, 0.97, 0.2);
        assert!((found / simulated - 1.0).abs() < 0.2, "{found} is not {simulated}");
    }

    #[test]
    fn idle_queues_of_many_servers_hardly_wait() {
        let shares: Vec<f64> = [0.002, 0.01, 0.1, 0.5, 0.9]
            .iter()
            .map(|at| share_waiting_longer(24, *at, 0.1))
            .collect();
        assert!(shares.is_sorted() && shares[1] < 1e-9 && shares[4] > 0.01, "{shares:?}");
    }

    #[test]
    fn more_patience_carries_more_and_none_carries_nothing() {
        let limits: Vec<f64> = [0.0, 0.5, 2.0, 8.0, 1e6]
            .iter()
            .map(|wait| largest_utilization(2, *wait, 0.05))
            .collect();
        assert!(limits.is_sorted(), "{limits:?}");
        assert!((limits[4] - LARGEST_UTILIZATION).abs() < 1e-12);
        assert!(largest_utilization(2, -0.1, 0.05).abs() < 1e-12);
        assert!(largest_utilization(2, f64::NAN, 0.05).abs() < 1e-12);
    }

    fn simulated_share(servers: usize, utilization: f64, wait: f64, requests: usize) -> f64 {
        use crate::{
            schedule::{Arrivals, Load},
            units::Rate,
        };
        // One service time is a second, stretched so that whole microseconds do not matter.
        let load = Load::Open {
            rate: Rate::per_second(1.0).unwrap(),
            arrivals: Arrivals::Poisson,
            seed: 77,
        };
        let service = utilization * servers as f64 * 1e6;
        let mut free = vec![0.0_f64; servers];
        let mut longer = 0;
        let sent = load.send_times(std::time::Duration::from_secs(u64::MAX / 2_000_000)).unwrap();
        for (number, at) in sent.take(requests).enumerate() {
            let start = free[number % servers].max(at as f64);
            free[number % servers] = start + service;
            longer += u32::from(start - at as f64 > wait * service);
        }
        f64::from(longer) / requests as f64
    }
}
