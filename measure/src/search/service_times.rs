//! The service that every request had, read off the times of the answers.
//!
//! From outside only the time of an answer is seen. For servers that take requests in order of arrival
//! it tells the service: a request begins when it arrives, or when a server becomes free, and what is
//! left until its answer is its service. Where busy servers slow each other down, that is taken off:
//! what remains is the service that one request at a time would have had.

use super::{queue_model::QueueModel, replay::Segment};

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

    /// Others that are busy at that moment.
    pub(super) fn others_busy(&self, start_us: f64) -> usize {
        self.free_at_us.iter().skip(1).filter(|free_at| **free_at > start_us).count()
    }

    /// By how much they stretch a service that begins then, when each does by a share.
    pub(super) fn slowdown(&self, start_us: f64, contention: f64) -> f64 {
        if contention > 0.0 { 1.0 + contention * self.others_busy(start_us) as f64 } else { 1.0 }
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
    contention: f64,
}

impl ServiceReader {
    pub(super) fn of(model: &QueueModel) -> Self {
        Self {
            servers: Servers::idle(model.servers),
            overhead_us: model.overhead_us,
            typical_us: model.service_us,
            contention: model.contention,
        }
    }

    /// The services of a segment that follows those read before.
    pub(super) fn read(&mut self, segment: &Segment) -> Vec<f32> {
        if segment.from_idle {
            self.servers.reset();
        }
        let began_us = segment.started_us as f64;
        segment
            .arrivals_us
            .iter()
            .zip(&segment.latencies_us)
            .map(|(offset, latency_us)| {
                let at = began_us + f64::from(*offset);
                let start = self.servers.start(at);
                // Without an answer yet, it will have been one like the others.
                let service = if latency_us.is_finite() {
                    (at + f64::from(*latency_us) - self.overhead_us - start).max(0.0)
                } else {
                    self.typical_us
                };
                let slowdown = self.servers.slowdown(start, self.contention);
                self.servers.occupy(start + service);
                #[expect(clippy::cast_possible_truncation, reason = "seven digits are enough")]
                let unhindered = (service / slowdown) as f32;
                unhindered
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What `servers` make of arrivals, each with its own service.
    fn answered(servers: usize, requests: &[(u32, f32)], extra_us: f32) -> Segment {
        let mut free = Servers::idle(servers);
        let latency = |at: u32, service: f32| {
            let start = free.start(f64::from(at));
            free.occupy(start + f64::from(service));
            #[expect(clippy::cast_possible_truncation, reason = "a test's latency")]
            let latency = (start - f64::from(at)) as f32 + service + extra_us;
            latency
        };
        let mut latency = latency;
        Segment {
            from_idle: true,
            arrivals_us: requests.iter().map(|(at, _)| *at).collect(),
            latencies_us: requests.iter().map(|(at, service)| latency(*at, *service)).collect(),
            ..Segment::default()
        }
    }

    #[test]
    fn services_are_what_is_left_of_latency_without_the_wait() {
        let requests = [
            (0, 900.0),
            (100, 1_200.0),
            (150, 700.0),
            (160, 1_000.0),
            (5_000, 800.0),
            (5_001, 50.0),
        ];
        for servers in [1, 2, 3, 7] {
            let plateau = servers as f64 * 1_000.0;
            let mut reader = ServiceReader::of(&QueueModel::fitted(plateau, 1_000.0));
            let found = reader.read(&answered(servers, &requests, 0.0));
            for (found, (_, service)) in found.iter().zip(&requests) {
                assert!((found - service).abs() < 0.5, "{found} is not {service} of {servers}");
            }
        }
    }

    #[test]
    fn time_on_the_wire_is_no_service() {
        let model = QueueModel::fitted(1_000.0, 1_200.0);
        let found =
            ServiceReader::of(&model).read(&answered(1, &[(0, 1_000.0), (10, 1_000.0)], 200.0));
        assert!(found.iter().all(|service| (service - 1_000.0).abs() < 0.5), "{found:?}");
    }

    #[test]
    fn without_an_answer_or_in_another_order_nothing_is_negative() {
        let mut reader = ServiceReader::of(&QueueModel::fitted(1_000.0, 1_000.0));
        let found = reader.read(&Segment {
            from_idle: true,
            arrivals_us: vec![0, 10, 20],
            latencies_us: vec![5_000.0, 100.0, f32::INFINITY],
            ..Segment::default()
        });
        assert_eq!(found, vec![5_000.0, 0.0, 1_000.0]);
    }
}
