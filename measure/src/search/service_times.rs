//! The service that every request had, read off the times of the answers.
//!
//! From outside only the time of an answer is seen. For servers that take requests in order of arrival
//! it tells the service: a request begins when it arrives, or when a server becomes free, and what is
//! left until its answer is its service.

use super::queue_model::QueueModel;

/// When each of some servers becomes free.
#[derive(Clone, Debug)]
pub(super) struct Servers {
    free_at_us: Vec<f64>,
}

impl Servers {
    pub(super) fn idle(count: usize) -> Self {
        Self { free_at_us: vec![f64::NEG_INFINITY; count.max(1)] }
    }

    /// When a request that arrives at `at_us` begins.
    pub(super) fn start(&self, at_us: f64) -> f64 {
        self.free_at_us[0].max(at_us)
    }

    /// The request that began last keeps the first server busy until `end_us`.
    pub(super) fn occupy(&mut self, end_us: f64) {
        let count = self.free_at_us.len();
        self.free_at_us[0] = end_us;
        // A heap with the smallest on top, of which only the top has changed.
        let mut at = 0;
        loop {
            let left = 2 * at + 1;
            if left >= count {
                return;
            }
            let right = left + 1;
            let child = if right < count && self.free_at_us[right] < self.free_at_us[left] {
                right
            } else {
                left
            };
            if self.free_at_us[at] <= self.free_at_us[child] {
                return;
            }
            self.free_at_us.swap(at, child);
            at = child;
        }
    }

    /// Moves the clock.
    pub(super) fn shift(&mut self, by_us: f64) {
        for free_at in &mut self.free_at_us {
            *free_at += by_us;
        }
    }

    /// Nothing is in service any more.
    pub(super) fn reset(&mut self) {
        self.free_at_us.fill(f64::NEG_INFINITY);
    }
}

/// Reads services off one segment after the other.
#[derive(Debug)]
pub(super) struct ServiceReader {
    servers: Servers,
    overhead_us: f64,
    typical_us: f64,
}

impl ServiceReader {
    pub(super) fn of(model: &QueueModel) -> Self {
        Self {
            servers: Servers::idle(model.servers),
            overhead_us: model.overhead_us,
            typical_us: model.service_us,
        }
    }

    /// Services of requests sent at `arrivals_us` after `began_us`; a latency is infinite while there
    /// is no answer.
    pub(super) fn read(
        &mut self,
        began_us: f64,
        from_idle: bool,
        arrivals_us: &[u32],
        latencies_us: &[f32],
    ) -> Vec<f32> {
        if from_idle {
            self.servers.reset();
        }
        arrivals_us
            .iter()
            .zip(latencies_us)
            .map(|(offset, latency_us)| {
                let at = began_us + f64::from(*offset);
                let start = self.servers.start(at);
                // Without an answer yet, it will have been one like the others.
                let service = if latency_us.is_finite() {
                    (at + f64::from(*latency_us) - self.overhead_us - start).max(0.0)
                } else {
                    self.typical_us
                };
                self.servers.occupy(start + service);
                #[expect(clippy::cast_possible_truncation, reason = "seven digits are enough")]
                let service = service as f32;
                service
            })
            .collect()
    }
}
