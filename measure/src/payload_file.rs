//! What payloads may be: how many bodies of what size, which entries an archive of them may have, and the
//! content types that file names suggest.
//!
//! The agent, which sends the bodies, and the coordinator, which may fetch the archive from somebody else's
//! storage, hold payloads against the same rules. Both read files; nothing here does.

use std::path::{Component, Path};

/// The largest single body.
pub const BODY_LIMIT: u64 = 256 << 20;
/// The largest sum of all bodies; agents hold them in memory.
pub const TOTAL_LIMIT: u64 = 1 << 30;
/// The largest number of bodies, and of entries in an archive.
pub const COUNT_LIMIT: usize = 10_000;
/// As much as an archive may inflate to: the bodies and the archive's own headers.
pub const INFLATED_LIMIT: u64 = TOTAL_LIMIT + COUNT_LIMIT as u64 * 4096;

/// Content types by file extension.
const BY_EXTENSION: [(&str, &str); 9] = [
    ("npy", "application/x-npy"),
    ("npz", "application/x-npz"),
    ("json", "application/json"),
    ("csv", "text/csv"),
    ("bin", "application/octet-stream"),
    ("jpg", "image/jpeg"),
    ("jpeg", "image/jpeg"),
    ("png", "image/png"),
    ("txt", "text/plain"),
];

/// What an entry of an archive is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryKind {
    /// A plain file: a body.
    File,
    /// A folder: passed over.
    Folder,
    /// A link, a device, a pipe.
    Other,
}

/// What is wrong with an entry of an archive. Nothing is ever unpacked to disk, so none of these could do
/// harm; an archive that has one was made by mistake or in bad faith, and its bodies are not to be trusted.
#[must_use]
pub fn hostile_entry(path: &Path, kind: EntryKind) -> Option<&'static str> {
    if kind == EntryKind::Other {
        return Some("a link or a device");
    }
    let inside = |part| matches!(part, Component::Normal(_) | Component::CurDir);
    (!path.components().all(inside)).then_some("outside of the archive")
}

/// The bodies counted so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    bodies: usize,
    total: u64,
}

impl Tally {
    /// Counts one more body; one without bytes is not sent, and does not count.
    ///
    /// # Errors
    /// The limit that it would break, for people.
    pub fn count(&mut self, size_bytes: u64) -> Result<(), &'static str> {
        if size_bytes > BODY_LIMIT {
            return Err("a body may have 256 MiB");
        }
        if self.total + size_bytes > TOTAL_LIMIT {
            return Err("all bodies together may have 1 GiB");
        }
        if self.bodies == COUNT_LIMIT {
            return Err("there may be 10000 bodies");
        }
        if size_bytes > 0 {
            self.bodies += 1;
            self.total += size_bytes;
        }
        Ok(())
    }

    /// How many bodies there are to send.
    #[must_use]
    pub const fn bodies(&self) -> usize {
        self.bodies
    }
}

/// The content type that a file's extension suggests.
#[must_use]
pub fn content_type(file_name: &str) -> Option<&'static str> {
    let extension = file_name.rsplit_once('.')?.1.to_ascii_lowercase();
    BY_EXTENSION
        .iter()
        .find(|(known, _)| *known == extension)
        .map(|(_, content_type)| *content_type)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_that_lead_out_or_are_no_files_are_named() {
        let file = |path: &str| hostile_entry(Path::new(path), EntryKind::File);
        assert_eq!((file("a.npy"), file("./deep/a.npy")), (None, None));
        for path in ["../a", "a/../../b", "/etc/passwd", ".."] {
            assert_eq!(file(path), Some("outside of the archive"), "{path}");
        }
        assert_eq!(hostile_entry(Path::new("deep"), EntryKind::Folder), None);
        assert!(hostile_entry(Path::new("link"), EntryKind::Other).is_some());
    }

    #[test]
    fn bodies_are_counted_up_to_each_limit() {
        let mut tally = Tally::default();
        assert!(tally.count(BODY_LIMIT + 1).is_err());
        for _ in 0..TOTAL_LIMIT / BODY_LIMIT {
            tally.count(BODY_LIMIT).unwrap();
        }
        assert!(tally.count(1).is_err());
        let mut tally = Tally::default();
        tally.count(0).unwrap();
        assert_eq!(tally.bodies(), 0);
        for _ in 0..COUNT_LIMIT {
            tally.count(1).unwrap();
        }
        assert!(tally.count(1).is_err());
        assert_eq!(tally.bodies(), COUNT_LIMIT);
    }

    #[test]
    fn extensions_suggest_content_types() {
        assert_eq!(content_type("photos/CAT.JPG"), Some("image/jpeg"));
        assert_eq!((content_type("npy"), content_type("a.xyz")), (None, None));
    }
}
