//! What our own model host tells of its batches: memory that both share, read step by step.
//!
//! The host writes, this side reads between the steps of a search, and neither ever waits for the
//! other. A batch that was missed ends it: from then on nothing is told, and the search does without.

use std::{
    fs::File,
    io,
    os::{fd::AsRawFd, unix::fs::FileExt},
    process::Command,
    sync::Arc,
};

use assay_measure::{
    batch_log::{RECORD_BYTES, Reader, Record, SLOTS, Unreadable},
    search::{Batch, StepObservation},
};
use rustix::fs::{MemfdFlags, memfd_create};
use thiserror::Error;

use super::launch;
use crate::clock::Clock;

const RING_BYTES: u64 = SLOTS * RECORD_BYTES as u64;
/// As many records are read at once.
const CHUNK: usize = 1024 * RECORD_BYTES;

/// The memory in which a host tells its batches; gone when nobody holds it any more.
#[derive(Clone, Debug)]
pub struct BatchLog {
    memory: Arc<File>,
}

impl BatchLog {
    /// Empty memory; it takes up what is written to it.
    ///
    /// # Errors
    /// When the system refuses it.
    pub fn create() -> io::Result<Self> {
        let memory = File::from(memfd_create("assay-batches", MemfdFlags::CLOEXEC)?);
        memory.set_len(RING_BYTES)?;
        Ok(Self { memory: Arc::new(memory) })
    }

    /// Where a child that was given the log finds it.
    pub(super) fn path(&self) -> String {
        format!("/proc/self/fd/{}", self.memory.as_raw_fd())
    }

    /// Lets the child inherit it.
    pub(super) fn give_to(&self, command: &mut Command) {
        launch::inheriting(command, Arc::clone(&self.memory));
    }

    /// Reads what is told from now on and before, with times on `clock`.
    #[must_use]
    pub fn reader(&self, clock: Clock) -> ToldBatches {
        ToldBatches {
            memory: Arc::clone(&self.memory),
            clock,
            reader: Reader::default(),
            told: Vec::new(),
            is_lost: false,
        }
    }
}

/// The log cannot be followed.
#[derive(Debug, Error)]
enum Lost {
    #[error(transparent)]
    Unreadable(#[from] Unreadable),
    #[error(transparent)]
    Read(#[from] io::Error),
}

/// The batches of a host, step by step.
#[derive(Debug)]
pub struct ToldBatches {
    memory: Arc<File>,
    /// The load generator's clock, on which steps are told.
    clock: Clock,
    reader: Reader,
    /// Batches of steps that were not asked for yet.
    told: Vec<Batch>,
    is_lost: bool,
}

impl ToldBatches {
    /// The batches that began within a step and have ended, by their beginnings. Steps are asked for in
    /// order. Empty from the first batch on that was missed.
    pub fn of_step(&mut self, step: &StepObservation) -> Vec<Batch> {
        if self.is_lost {
            return Vec::new();
        }
        if let Err(error) = self.catch_up() {
            tracing::info!(%error, "batches are not followed any more");
            self.is_lost = true;
            return Vec::new();
        }
        let end_us = step.started_us.saturating_add(step.elapsed_us);
        let mut batches = std::mem::take(&mut self.told);
        batches.sort_by_key(|batch| batch.started_us);
        self.told = batches.split_off(batches.partition_point(|batch| batch.started_us < end_us));
        // What began in an earlier step and ended after that was handed in belongs to neither.
        batches.retain(|batch| batch.started_us >= step.started_us);
        tracing::debug!(step = step.index, batches = batches.len(), "told by the host");
        batches
    }

    /// Reads all that was written. A record that was caught in writing is whole a moment later.
    fn catch_up(&mut self) -> Result<(), Lost> {
        match self.read_on() {
            Err(Lost::Unreadable(Unreadable::Torn { .. })) => self.read_on(),
            done => done,
        }
    }

    fn read_on(&mut self) -> Result<(), Lost> {
        let mut buffer = vec![0; CHUNK];
        loop {
            let at = self.reader.offset(SLOTS);
            let to_the_end = usize::try_from(RING_BYTES - at).unwrap_or(usize::MAX);
            let bytes = &mut buffer[..CHUNK.min(to_the_end)];
            self.memory.read_exact_at(bytes, at)?;
            let records = self.reader.read(bytes)?;
            let clock = self.clock;
            self.told.extend(records.iter().filter_map(|record| batch(record, clock)));
            if records.len() * RECORD_BYTES < bytes.len() {
                return Ok(());
            }
        }
    }
}

/// A record as the search knows it; none of the time before its clock began.
fn batch(record: &Record, clock: Clock) -> Option<Batch> {
    Some(Batch {
        started_us: clock.since_start_ns(record.started_ns)? / 1000,
        requests: record.requests,
        service_ns: record.service_ns,
        waited_us: u64::from(record.waited_us),
    })
}

#[cfg(test)]
mod tests {
    use assay_measure::batch_log::offset;

    use super::*;

    /// A log with its reader, and the moment at which the reader's clock began.
    struct Told {
        log: BatchLog,
        reader: ToldBatches,
        origin_ns: u64,
        last: u64,
    }

    impl Told {
        fn new() -> Self {
            let log = BatchLog::create().unwrap();
            let clock = Clock::start();
            let origin = clock.absolute(0);
            let origin_ns = u64::try_from(origin.tv_sec * 1_000_000_000 + origin.tv_nsec).unwrap();
            Self { reader: log.reader(clock), log, origin_ns, last: 0 }
        }

        fn write(&mut self, at_ms: i64, requests: u32) {
            self.last += 1;
            let record = Record {
                started_ns: self.origin_ns.checked_add_signed(at_ms * 1_000_000).unwrap(),
                service_ns: 2_000_000,
                requests,
                waited_us: 7,
            };
            let at = offset(self.last, SLOTS);
            self.log.memory.write_all_at(&record.encode(self.last), at).unwrap();
        }

        /// Sizes of the batches of a step.
        fn sizes(&mut self, from_ms: u64, for_ms: u64) -> Vec<u32> {
            let step = StepObservation {
                started_us: from_ms * 1_000,
                elapsed_us: for_ms * 1_000,
                ..StepObservation::default()
            };
            self.reader.of_step(&step).iter().map(|batch| batch.requests).collect()
        }
    }

    #[test]
    fn every_step_gets_the_batches_that_began_in_it_in_that_order() {
        let mut told = Told::new();
        // Before the clock began, and before the first step.
        told.write(-50, 90);
        told.write(3, 91);
        told.write(12, 2);
        told.write(11, 1);
        told.write(21, 4);
        assert_eq!(told.sizes(10, 10), [1, 2]);
        // Still in service when the first step was handed in, and one of the second.
        told.write(19, 92);
        told.write(20, 3);
        told.write(35, 5);
        assert_eq!(told.sizes(20, 10), [3, 4]);
        assert_eq!(told.sizes(30, 10), [5]);
        assert_eq!(told.sizes(40, 10), [0_u32; 0]);
    }

    #[test]
    fn times_are_told_on_the_generators_clock() {
        let mut told = Told::new();
        told.write(5, 1);
        let step = StepObservation { elapsed_us: 10_000, ..StepObservation::default() };
        let expected =
            Batch { started_us: 5_000, requests: 1, service_ns: 2_000_000, waited_us: 7 };
        assert_eq!(told.reader.of_step(&step), [expected]);
    }

    #[test]
    fn a_missed_batch_ends_what_is_told() {
        let mut told = Told::new();
        told.write(1, 1);
        assert_eq!(told.sizes(0, 10), [1]);
        // The writer comes round: of so many, the first are lost.
        (0..=SLOTS).for_each(|_| told.write(12, 1));
        assert_eq!(told.sizes(10, 10), [0_u32; 0]);
        told.write(21, 1);
        assert_eq!(told.sizes(20, 10), [0_u32; 0]);
    }

    #[test]
    fn a_full_round_is_read_and_the_next_begins_where_it_ended() {
        let mut told = Told::new();
        (0..SLOTS).for_each(|_| told.write(1, 1));
        assert_eq!(told.sizes(0, 10).len() as u64, SLOTS);
        (0..5).for_each(|_| told.write(11, 2));
        assert_eq!(told.sizes(10, 10), [2; 5]);
    }

    #[test]
    fn a_torn_batch_ends_what_is_told() {
        let mut told = Told::new();
        told.write(1, 1);
        told.log.memory.write_all_at(&[9; 8], offset(1, SLOTS) + 8).unwrap();
        assert_eq!(told.sizes(0, 10), [0_u32; 0]);
        told.write(11, 1);
        assert_eq!(told.sizes(10, 10), [0_u32; 0]);
    }

    #[test]
    fn a_child_writes_where_this_side_reads() {
        let log = BatchLog::create().unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", "printf told > \"$0\""]).arg(log.path());
        log.give_to(&mut command);
        assert!(command.status().unwrap().success());
        let mut found = [0; 4];
        log.memory.read_exact_at(&mut found, 0).unwrap();
        assert_eq!(&found, b"told");
    }
}
