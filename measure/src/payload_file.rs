//! What payloads may be: how many bodies of what size, which entries an archive of them may have, and the
//! content types that file names suggest.
//!
//! The agent, which sends the bodies, and the coordinator, which may fetch the archive from somebody else's
//! storage, hold payloads against the same rules. Both read files; nothing here does.

use std::path::{Component, Path};

use thiserror::Error;

use crate::{stray_file::is_stray, units::Bytes};

/// The largest single body, from the client to the model host: whoever takes a larger one in hand refuses it
/// before anything starts.
pub const BODY_LIMIT: u64 = 256 << 20;
/// The largest sum of all bodies; agents hold them in memory.
pub const TOTAL_LIMIT: u64 = 1 << 30;
/// The largest number of bodies, and of entries in an archive.
pub const COUNT_LIMIT: usize = 10_000;
/// As much as an archive may inflate to: the bodies and the archive's own headers.
pub const INFLATED_LIMIT: u64 = TOTAL_LIMIT + COUNT_LIMIT as u64 * 4096;

/// Content types by file extension.
const BY_EXTENSION: [(&str, &str); 13] = [
    ("npy", "application/x-npy"),
    ("npz", "application/x-npz"),
    ("json", "application/json"),
    ("jsonl", "application/jsonlines"),
    ("ndjson", "application/jsonlines"),
    ("csv", "text/csv"),
    ("bin", "application/octet-stream"),
    ("jpg", "image/jpeg"),
    ("jpeg", "image/jpeg"),
    ("png", "image/png"),
    ("webp", "image/webp"),
    ("bmp", "image/bmp"),
    ("txt", "text/plain"),
];

/// What an entry of a tar archive is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryKind {
    /// A plain file.
    File,
    /// A folder.
    Folder,
    /// About other entries or the archive itself: PAX headers, long names, a volume's label.
    Metadata,
    /// A symbolic link.
    Symlink,
    /// A hard link.
    HardLink,
    /// A character or block device.
    Device,
    /// A pipe.
    Pipe,
    /// Anything else.
    Unknown,
}

impl EntryKind {
    /// The kind that an entry's type flag says: those of POSIX, and those that GNU and Solaris tar write.
    #[must_use]
    pub const fn of_tar_flag(flag: u8) -> Self {
        match flag {
            b'0' | b'\0' | b'7' | b'S' => Self::File,
            b'5' | b'D' => Self::Folder,
            b'g' | b'x' | b'X' | b'L' | b'K' | b'N' | b'V' | b'A' => Self::Metadata,
            b'2' => Self::Symlink,
            b'1' => Self::HardLink,
            b'3' | b'4' => Self::Device,
            b'6' => Self::Pipe,
            _ => Self::Unknown,
        }
    }

    /// What no archive of ours has a use for, with its article.
    #[must_use]
    pub const fn refusal(self) -> Option<&'static str> {
        match self {
            Self::File | Self::Folder | Self::Metadata => None,
            Self::Symlink => Some("a symbolic link"),
            Self::HardLink => Some("a hard link"),
            Self::Device => Some("a device"),
            Self::Pipe => Some("a pipe"),
            Self::Unknown => Some("an entry of unknown type"),
        }
    }
}

/// What becomes of an entry of an archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sorted {
    /// A plain file: a body, or perhaps the model.
    File,
    /// A stray file, which is passed over and told.
    Stray,
    /// Folders and the archive's own entries: nothing to send and nothing to tell.
    Structure,
    /// The archive is refused for it; the text completes "it is …".
    Hostile(&'static str),
}

/// Sorts an entry of an archive. Nothing is ever unpacked under its own name, so no entry could do harm; an
/// archive that has a hostile one was made by mistake or in bad faith, and its files are not to be trusted.
#[must_use]
pub fn sort_entry(path: &Path, kind: EntryKind) -> Sorted {
    if kind == EntryKind::Metadata {
        return Sorted::Structure;
    }
    let inside = |part| matches!(part, Component::Normal(_) | Component::CurDir);
    if !path.components().all(inside) {
        return Sorted::Hostile("outside of the archive");
    }
    match (kind, kind.refusal()) {
        (EntryKind::Folder, _) => Sorted::Structure,
        // A link in somebody's `.venv` is as little meant to be used as a file there.
        _ if is_stray(path) => Sorted::Stray,
        (_, Some(what)) => Sorted::Hostile(what),
        (_, None) => Sorted::File,
    }
}

/// Bodies break a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum OverLimit {
    /// One is too large.
    #[error("a body of {size} ({} bytes), and one may have {}", size.count(), Bytes::new(BODY_LIMIT))]
    Body {
        /// What it has.
        size: Bytes,
    },
    /// They are too large together.
    #[error("bodies of more than {} together", Bytes::new(TOTAL_LIMIT))]
    Total,
    /// There are too many.
    #[error("more than {COUNT_LIMIT} bodies")]
    Count,
    /// The archive has too many entries.
    #[error("more than {COUNT_LIMIT} entries")]
    Entries,
}

/// Holds one body against the limit.
///
/// # Errors
/// [`OverLimit::Body`].
pub const fn check_body(size_bytes: u64) -> Result<(), OverLimit> {
    if size_bytes > BODY_LIMIT {
        return Err(OverLimit::Body { size: Bytes::new(size_bytes) });
    }
    Ok(())
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
    /// The limit that it would break.
    pub const fn count(&mut self, size_bytes: u64) -> Result<(), OverLimit> {
        if let Err(over) = check_body(size_bytes) {
            return Err(over);
        }
        if self.total + size_bytes > TOTAL_LIMIT {
            return Err(OverLimit::Total);
        }
        if self.bodies == COUNT_LIMIT {
            return Err(OverLimit::Count);
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
        let file = |path: &str| sort_entry(Path::new(path), EntryKind::File);
        assert_eq!((file("a.npy"), file("./deep/a.npy")), (Sorted::File, Sorted::File));
        for path in ["../a", "a/../../b", "/etc/passwd", "..", "../._a"] {
            assert_eq!(file(path), Sorted::Hostile("outside of the archive"), "{path}");
        }
        let kind = |flag| sort_entry(Path::new("x"), EntryKind::of_tar_flag(flag));
        assert_eq!(kind(b'5'), Sorted::Structure);
        for flag in b"123468" {
            assert!(matches!(kind(*flag), Sorted::Hostile(_)), "{flag}");
        }
    }

    #[test]
    fn stray_files_and_the_archives_own_entries_are_no_bodies() {
        let sorted = |path: &str, flag| sort_entry(Path::new(path), EntryKind::of_tar_flag(flag));
        assert_eq!(sorted("./._a.npy", b'0'), Sorted::Stray);
        assert_eq!(sorted(".venv/bin/python", b'2'), Sorted::Stray);
        assert_eq!(sorted("pax_global_header", b'g'), Sorted::Structure);
        assert_eq!(sorted("././@LongLink", b'L'), Sorted::Structure);
        assert_eq!(sorted("sparse.npy", b'S'), Sorted::File);
    }

    #[test]
    fn bodies_are_counted_up_to_each_limit() {
        let mut tally = Tally::default();
        assert_eq!(
            tally.count(BODY_LIMIT + (64 << 20)).unwrap_err().to_string(),
            "a body of 320 MiB (335544320 bytes), and one may have 256 MiB"
        );
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
