//! When each request is over: the workers of a known server, as pure book-keeping in nanoseconds.

use std::{cmp::Reverse, collections::BinaryHeap};

use super::Service;

/// When each worker is free.
#[derive(Debug)]
pub(super) struct Workers {
    free_at_ns: BinaryHeap<Reverse<u64>>,
    service_ns: u64,
    /// From when on, counted from the first request, and the service time then.
    change: Option<(u64, u64)>,
    first_ns: Option<u64>,
}

impl Workers {
    pub(super) fn new(service: Service) -> Self {
        let nanoseconds =
            |duration: std::time::Duration| u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        Self {
            free_at_ns: (0..service.queue.workers()).map(|_| Reverse(0)).collect(),
            service_ns: nanoseconds(service.queue.service_time()),
            change: service
                .change
                .map(|change| (nanoseconds(change.after), nanoseconds(change.service_time))),
            first_ns: None,
        }
    }

    /// Takes the next request in order of arrival; returns when it is over.
    pub(super) fn take(&mut self, arrived_ns: u64) -> u64 {
        let first_ns = *self.first_ns.get_or_insert(arrived_ns);
        let Reverse(free_ns) = self.free_at_ns.pop().unwrap_or(Reverse(arrived_ns));
        let begins_ns = free_ns.max(arrived_ns);
        let service_ns = match self.change {
            Some((after_ns, changed_ns)) if begins_ns - first_ns >= after_ns => changed_ns,
            Some(_) | None => self.service_ns,
        };
        let over_ns = begins_ns + service_ns;
        self.free_at_ns.push(Reverse(over_ns));
        over_ns
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use assay_measure::known_queue::KnownQueue;

    use super::*;
    use crate::known_server::Change;

    fn workers(count: u32, change: Option<Change>) -> Workers {
        let queue = KnownQueue::new(count, Duration::from_millis(1)).unwrap();
        Workers::new(Service { queue, change })
    }

    #[test]
    fn one_worker_serves_in_order_and_deadlines_follow_from_deadlines() {
        let mut one = workers(1, None);
        let over: Vec<u64> = [100, 100, 200, 5_000_000].map(|at| one.take(at)).to_vec();
        assert_eq!(over, [1_000_100, 2_000_100, 3_000_100, 6_000_000]);
    }

    #[test]
    fn several_workers_serve_at_the_same_time() {
        let mut two = workers(2, None);
        let over: Vec<u64> = [0, 10, 20, 30].map(|at| two.take(at)).to_vec();
        assert_eq!(over, [1_000_000, 1_000_010, 2_000_000, 2_000_010]);
    }

    #[test]
    fn a_change_counts_from_the_first_request_and_for_those_that_begin_after_it() {
        let change =
            Change { after: Duration::from_millis(2), service_time: Duration::from_millis(3) };
        let mut slowing = workers(1, Some(change));
        let over: Vec<u64> = [7_000_000; 4].map(|at| slowing.take(at)).to_vec();
        assert_eq!(over, [8_000_000, 9_000_000, 12_000_000, 15_000_000]);
    }
}
