//! Until when a sending thread sleeps, and how.

use assay_measure::units::as_micros;
use rustix::{
    event::epoll::{self, Event},
    io::Errno,
    time::Timespec,
};

use super::{Exchange, Run, Worker};

/// While threads agree on a start, one that is ready looks again so often.
const GATE_POLL_NS: u64 = 200_000;
const AT_ONCE: Timespec = Timespec { tv_sec: 0, tv_nsec: 0 };

impl<E: Exchange> Worker<E> {
    /// When this thread has to act next without anything arriving.
    fn next_deadline_ns(&self) -> (u64, bool) {
        let mut at_ns = u64::MAX;
        let mut precise = false;
        if let Some(run) = self.runs.last().filter(|run| run.is_offering()) {
            at_ns = run.end_ns;
            if let Some(intended_ns) = run.next_intended_ns().filter(|&intended| intended <= at_ns)
            {
                at_ns = intended_ns;
                precise = true;
            }
        }
        let mut also = |other_ns: u64| {
            if other_ns < at_ns {
                at_ns = other_ns;
                precise = false;
            }
        };
        self.runs.iter().filter_map(Run::final_at_ns).for_each(&mut also);
        if self.in_flight > 0 || !self.waiting.is_empty() {
            also(self.next_scan_ns);
        }
        if !self.waiting.is_empty() && self.connect_after_ns > 0 && self.pool.connecting() == 0 {
            // In the past when the back-off is over and every connection is busy: then an answer wakes us.
            if self.connect_after_ns > self.now_ns() {
                also(self.connect_after_ns);
            }
        }
        if let Some(start_ns) = self.planned.front().and_then(|next| next.gate.start_ns()) {
            also(start_ns);
        } else if self.arrived_at_gate {
            also(self.now_ns() + GATE_POLL_NS);
        }
        (at_ns, precise)
    }

    /// Sleeps until something arrives or is due; just before a send time it does not sleep but asks again.
    pub(super) fn wait(&mut self, events: &mut Vec<Event>) -> Result<(), Errno> {
        let (deadline_ns, precise) = self.next_deadline_ns();
        let early_ns = if precise { as_micros(self.settings.spin) * 1000 } else { 0 };
        let wake_ns = deadline_ns.saturating_sub(early_ns);
        let timeout = if wake_ns <= self.now_ns() {
            Some(&AT_ONCE)
        } else {
            if deadline_ns < u64::MAX {
                self.alarm.set(wake_ns)?;
            }
            None
        };
        match epoll::wait(&self.epoll, rustix::buffer::spare_capacity(events), timeout) {
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(error) => Err(error),
        }
    }
}
