//! Tells every batch to whoever measures this host, in the ring that [`assay_measure::batch_log`]
//! describes.
//!
//! One small write per batch, made before its requests are answered: who has an answer finds its batch
//! in the log.

use std::{
    fs::{File, OpenOptions},
    io,
    os::unix::fs::FileExt,
    path::Path,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use assay_measure::batch_log::{RECORD_BYTES, Record, offset};

use crate::clock;

/// A log, open for writing.
#[derive(Debug)]
pub(crate) struct BatchLog {
    file: File,
    slots: u64,
    /// The same moment on the engine's clock and, in nanoseconds, on the reader's.
    origin: (Instant, u64),
    /// The number of the last record.
    last: Mutex<u64>,
}

/// A forward pass that has ended.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pass {
    pub(super) started: Instant,
    pub(super) compute: Duration,
    pub(super) requests: u32,
    /// How long the first of them had waited.
    pub(super) waited: Duration,
}

impl BatchLog {
    /// Opens a log that somebody else has made; its size says how many records it holds.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().write(true).open(path)?;
        let slots = file.metadata()?.len() / RECORD_BYTES as u64;
        if slots == 0 {
            let problem = "it has no room for a record";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, problem));
        }
        Ok(Self { file, slots, origin: clock::moment(), last: Mutex::new(0) })
    }

    pub(super) fn tell(&self, pass: &Pass) {
        let (origin, origin_ns) = self.origin;
        let since = pass.started.saturating_duration_since(origin);
        let record = Record {
            started_ns: origin_ns.saturating_add(nanoseconds(since)),
            service_ns: nanoseconds(pass.compute),
            requests: pass.requests,
            waited_us: u32::try_from(pass.waited.as_micros()).unwrap_or(u32::MAX),
        };
        // Held while writing: a record is never there before the one that it follows.
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        *last += 1;
        let at = offset(*last, self.slots);
        if let Err(error) = self.file.write_all_at(&record.encode(*last), at) {
            // The reader finds no record with this number and does without from here on.
            tracing::debug!(%error, number = *last, "a batch cannot be told");
        }
    }
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
