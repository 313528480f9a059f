//! The log in which a server tells its batches to whoever measures it: records of one size in a ring
//! that the writer goes round and round, without ever waiting for the reader.
//!
//! Only the format and how it is read. Who holds the bytes, and how they come from one process to the
//! other, is the callers' business.

use thiserror::Error;

/// What one record takes.
pub const RECORD_BYTES: usize = 40;

/// Records in a ring: the longest step of a search at three batches a millisecond. Memory is used as
/// far as it is written.
pub const SLOTS: u64 = 1 << 18;

/// One batch, as the server saw it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    /// When its service began, on the machine's monotonic clock, in nanoseconds.
    pub started_ns: u64,
    /// How long its service took, in nanoseconds.
    pub service_ns: u64,
    /// Requests in it.
    pub requests: u32,
    /// How long the first of them had waited, in microseconds.
    pub waited_us: u32,
}

/// What stands in a slot of the ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Slot {
    /// Nothing yet.
    Empty,
    /// Parts of different records.
    Torn,
    /// A whole record with its number.
    Written(u64, Record),
}

impl Record {
    /// The bytes of the record with this number. Numbers begin at 1, without gaps.
    #[must_use]
    pub fn encode(&self, number: u64) -> [u8; RECORD_BYTES] {
        let counts = (u64::from(self.requests) << 32) | u64::from(self.waited_us);
        let words = [number, self.started_ns, self.service_ns, counts];
        let mut bytes = [0; RECORD_BYTES];
        let places = bytes.as_chunks_mut::<8>().0;
        for (place, word) in places.iter_mut().zip(words.into_iter().chain([seal(&words)])) {
            *place = word.to_le_bytes();
        }
        bytes
    }
}

impl Slot {
    fn decode(bytes: &[u8; RECORD_BYTES]) -> Self {
        let mut words = [0; RECORD_BYTES / 8];
        for (word, place) in words.iter_mut().zip(bytes.as_chunks::<8>().0) {
            *word = u64::from_le_bytes(*place);
        }
        if words == [0; RECORD_BYTES / 8] {
            return Self::Empty;
        }
        let [number, started_ns, service_ns, counts, sealed] = words;
        if sealed != seal(&[number, started_ns, service_ns, counts]) {
            return Self::Torn;
        }
        let half = |word: u64| u32::try_from(word & u64::from(u32::MAX)).unwrap_or(u32::MAX);
        let record = Record {
            started_ns,
            service_ns,
            requests: half(counts >> 32),
            waited_us: half(counts),
        };
        Self::Written(number, record)
    }
}

/// The last word of a record. Every step can be undone, so any one word that belongs to another record
/// changes it.
fn seal(words: &[u64; 4]) -> u64 {
    const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;
    words.iter().fold(FACTOR, |sealed, word| (sealed ^ word).wrapping_mul(FACTOR).rotate_left(23))
}

/// Where in a ring of so many slots a record stands, in bytes.
#[must_use]
pub fn offset(number: u64, slots: u64) -> u64 {
    (number % slots.max(1)) * RECORD_BYTES as u64
}

/// Not every batch can be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Unreadable {
    /// A record consists of parts of different ones: it was read while it was written. Reading again
    /// helps if that was all.
    #[error("batch {number} of the log is torn")]
    Torn {
        /// Its number.
        number: u64,
    },
    /// The writer came round before the record was read.
    #[error("batch {number} of the log was overwritten before it was read")]
    Overwritten {
        /// Its number.
        number: u64,
    },
}

/// Reads a ring from its first record on, each record once.
#[derive(Clone, Debug)]
pub struct Reader {
    next: u64,
}

impl Default for Reader {
    fn default() -> Self {
        Self { next: 1 }
    }
}

impl Reader {
    /// Where the next record will stand in a ring of so many slots, in bytes.
    #[must_use]
    pub fn offset(&self, slots: u64) -> u64 {
        offset(self.next, slots)
    }

    /// The records from there on that are written, in the order of their writing. `bytes` is what
    /// stands from [`Reader::offset`] on; it may end anywhere before or at the end of the ring.
    ///
    /// # Errors
    /// [`Unreadable`] when one of them is missing; nothing of these bytes counts as read then.
    pub fn read(&mut self, bytes: &[u8]) -> Result<Vec<Record>, Unreadable> {
        let mut number = self.next;
        let mut records = Vec::new();
        for slot in bytes.as_chunks::<RECORD_BYTES>().0 {
            match Slot::decode(slot) {
                Slot::Empty => break,
                Slot::Torn => return Err(Unreadable::Torn { number }),
                // A round ago: this one is still to come.
                Slot::Written(found, _) if found < number => break,
                Slot::Written(found, _) if found > number => {
                    return Err(Unreadable::Overwritten { number });
                }
                Slot::Written(_, record) => records.push(record),
            }
            number += 1;
        }
        self.next = number;
        Ok(records)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SMALL: usize = 8;

    fn record(number: u64) -> Record {
        Record {
            started_ns: number * 1_000,
            service_ns: 700 + number,
            requests: u32::try_from(number % 5).unwrap() + 1,
            waited_us: 30,
        }
    }

    fn write(ring: &mut [u8], number: u64) {
        let at = usize::try_from(offset(number, SMALL as u64)).unwrap();
        ring[at..at + RECORD_BYTES].copy_from_slice(&record(number).encode(number));
    }

    /// A small ring after records 1 to `last`.
    fn written(last: u64) -> Vec<u8> {
        let mut ring = vec![0; SMALL * RECORD_BYTES];
        (1..=last).for_each(|number| write(&mut ring, number));
        ring
    }

    /// Reads up to the end of the ring, and on from its beginning.
    fn read(reader: &mut Reader, ring: &[u8]) -> Result<Vec<Record>, Unreadable> {
        let from = |reader: &Reader| usize::try_from(reader.offset(SMALL as u64)).unwrap();
        let mut records = reader.read(&ring[from(reader)..])?;
        if from(reader) == 0 {
            records.append(&mut reader.read(ring)?);
        }
        Ok(records)
    }

    proptest! {
        #[test]
        fn a_record_comes_back_as_it_was_written(
            number in 1..=u64::MAX,
            started_ns in any::<u64>(),
            service_ns in any::<u64>(),
            requests in any::<u32>(),
            waited_us in any::<u32>(),
        ) {
            let record = Record { started_ns, service_ns, requests, waited_us };
            prop_assert_eq!(
                Slot::decode(&record.encode(number)),
                Slot::Written(number, record)
            );
        }

        #[test]
        fn a_record_of_two_halves_is_torn_wherever_they_meet(
            number in 1..1_000_u64, rounds in 1..9_u64, cut in 1..RECORD_BYTES,
        ) {
            let (older, newer) = (number, number + rounds * SMALL as u64);
            let (older, newer) = (record(older).encode(older), record(newer).encode(newer));
            let mut mixed = newer;
            mixed[cut..].copy_from_slice(&older[cut..]);
            // Halves that are alike make a whole record again.
            prop_assume!(mixed != older && mixed != newer);
            prop_assert_eq!(Slot::decode(&mixed), Slot::Torn);
        }

        #[test]
        fn a_reader_that_keeps_up_reads_every_record_once(
            steps in prop::collection::vec(0..=SMALL as u64, 1..40),
        ) {
            let (mut ring, mut reader, mut last) = (written(0), Reader::default(), 0);
            for step in steps {
                let new: Vec<u64> = (last + 1..=last + step).collect();
                new.iter().for_each(|number| write(&mut ring, *number));
                last += step;
                let expected: Vec<Record> = new.into_iter().map(record).collect();
                prop_assert_eq!(read(&mut reader, &ring), Ok(expected));
            }
        }
    }

    #[test]
    fn what_was_overwritten_is_missed_however_often_the_writer_came_round() {
        for last in [9, 10, 16, 17, 100] {
            let read = read(&mut Reader::default(), &written(last));
            assert_eq!(read, Err(Unreadable::Overwritten { number: 1 }), "{last}");
        }
        assert_eq!(read(&mut Reader::default(), &written(8)).map(|all| all.len()), Ok(8));
    }

    #[test]
    fn a_torn_record_costs_nothing_once_it_is_whole() {
        let mut ring = written(3);
        let whole = ring.clone();
        let last_byte = usize::try_from(offset(2, SMALL as u64)).unwrap() + RECORD_BYTES - 1;
        ring[last_byte] ^= 1;
        let mut reader = Reader::default();
        assert_eq!(read(&mut reader, &ring), Err(Unreadable::Torn { number: 2 }));
        assert_eq!(read(&mut reader, &whole), Ok(vec![record(1), record(2), record(3)]));
    }

    #[test]
    fn bytes_without_room_for_a_record_have_none() {
        assert_eq!(Reader::default().read(&[]), Ok(Vec::new()));
        assert_eq!(Reader::default().read(&[1; RECORD_BYTES - 1]), Ok(Vec::new()));
    }
}
