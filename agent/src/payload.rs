//! Request bodies: one file, every file of a folder, or every file of a gzip tar, sent in turn.
//!
//! Bodies are only read and bounded here; what they mean is between the user and the model.

use std::{
    fs,
    io::{self, Read},
    path::{Path, PathBuf},
};

use assay_measure::{
    payload_file::{
        self, BODY_LIMIT, COUNT_LIMIT, EntryKind, INFLATED_LIMIT, OverLimit, Sorted, Tally,
    },
    stray_file::{PassedOver, is_stray},
};
use bytes::Bytes;
use thiserror::Error;

/// Request bodies and their content type.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Payload {
    /// The bodies, in the order they are sent; at least one.
    pub bodies: Vec<Bytes>,
    /// The `Content-Type` of every body.
    pub content_type: String,
    /// The names of the bodies' files, as far as they come from a folder or an archive.
    pub names: Vec<String>,
    /// The files that are not sent.
    pub passed_over: PassedOver,
}

/// A payload cannot be used.
#[derive(Debug, Error)]
pub enum PayloadError {
    #[error("cannot read payload {path}")]
    Read { path: PathBuf, source: io::Error },
    #[error("payload {path} is not a readable tar.gz")]
    Archive { path: PathBuf, source: io::Error },
    #[error("payload {path} holds no bytes to send{}", in_brackets(passed_over))]
    Empty { path: PathBuf, passed_over: PassedOver },
    #[error("payload {path} is too large")]
    TooLarge { path: PathBuf, source: OverLimit },
    #[error(
        "payload {path} has an entry {entry:?} that is {what}; only plain files and folders are taken"
    )]
    Hostile { path: PathBuf, entry: String, what: &'static str },
    #[error("{0:?} is not a content type")]
    ContentType(String),
}

fn in_brackets(passed_over: &PassedOver) -> String {
    passed_over.sentence().map_or_else(String::new, |sentence| format!(" ({sentence})"))
}

impl Payload {
    /// Reads a file, a folder or a gzip tar (by its name: `.tar.gz` or `.tgz`). Without a content type
    /// it is told from the extension of the first body's file.
    ///
    /// # Errors
    /// [`PayloadError`] when nothing readable of allowed size is there.
    pub fn read(path: &Path, content_type: Option<&str>) -> Result<Self, PayloadError> {
        let name = path.file_name().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
        let mut bodies = Collected::new(path);
        if path.is_dir() {
            bodies.folder(path)?;
        } else if name.ends_with(".tar.gz") || name.ends_with(".tgz") {
            bodies.archive(path)?;
        } else {
            bodies.file(path)?;
        }
        bodies.finish(content_type)
    }

    /// Reads one file as one body, whatever its name.
    ///
    /// # Errors
    /// [`PayloadError`] when it cannot be read, is empty or too large.
    pub fn read_body(path: &Path, content_type: &str) -> Result<Self, PayloadError> {
        let mut bodies = Collected::new(path);
        bodies.file(path)?;
        bodies.finish(Some(content_type))
    }

    /// Reads a gzip tar whatever its name.
    ///
    /// # Errors
    /// [`PayloadError`] when it is not one, or holds nothing of allowed size.
    pub fn read_archive(path: &Path, content_type: &str) -> Result<Self, PayloadError> {
        let mut bodies = Collected::new(path);
        bodies.archive(path)?;
        bodies.finish(Some(content_type))
    }
}

/// Bodies as they are collected, with the limits kept.
struct Collected<'a> {
    origin: &'a Path,
    tally: Tally,
    payload: Payload,
}

impl<'a> Collected<'a> {
    fn new(origin: &'a Path) -> Self {
        Self { origin, tally: Tally::default(), payload: Payload::default() }
    }

    fn file(&mut self, path: &Path) -> Result<(), PayloadError> {
        let read = |source| PayloadError::Read { path: path.to_owned(), source };
        let file = fs::File::open(path).map_err(read)?;
        // What is no plain file, a pipe say, announces nothing.
        let announced = file.metadata().map_err(read)?.len();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        self.add(file, announced, &name)?.map_err(read)
    }

    fn folder(&mut self, path: &Path) -> Result<(), PayloadError> {
        let read = |source| PayloadError::Read { path: path.to_owned(), source };
        let entries = fs::read_dir(path).map_err(read)?;
        let mut entries: Vec<_> = entries.collect::<Result<_, _>>().map_err(read)?;
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            if is_stray(Path::new(&entry.file_name())) || !entry.path().is_file() {
                self.payload.passed_over.note(entry.file_name().to_string_lossy());
            } else {
                self.file(&entry.path())?;
            }
        }
        Ok(())
    }

    fn archive(&mut self, path: &Path) -> Result<(), PayloadError> {
        let broken = |source| PayloadError::Archive { path: path.to_owned(), source };
        let file = fs::File::open(path)
            .map_err(|source| PayloadError::Read { path: path.to_owned(), source })?;
        // An archive that goes on beyond the limit ends in the middle, and is damaged then.
        let inflated = flate2::read::GzDecoder::new(io::BufReader::new(file)).take(INFLATED_LIMIT);
        let mut archive = tar::Archive::new(inflated);
        for (number, entry) in archive.entries().map_err(broken)?.enumerate() {
            let entry = entry.map_err(broken)?;
            if number == COUNT_LIMIT {
                return Err(PayloadError::TooLarge {
                    path: path.to_owned(),
                    source: OverLimit::Entries,
                });
            }
            let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
            match sorted(&entry) {
                Sorted::File => {
                    let announced = entry.size();
                    self.add(entry, announced, &name)?.map_err(broken)?;
                }
                Sorted::Stray => self.payload.passed_over.note(name),
                Sorted::Structure => {}
                Sorted::Hostile(what) => {
                    return Err(PayloadError::Hostile { path: path.to_owned(), entry: name, what });
                }
            }
        }
        Ok(())
    }

    /// Adds one body; the inner error is a failed read. What announces too much is not read.
    fn add(
        &mut self,
        source: impl Read,
        announced: u64,
        name: &str,
    ) -> Result<io::Result<()>, PayloadError> {
        let too_large = |source| PayloadError::TooLarge { path: self.origin.to_owned(), source };
        payload_file::check_body(announced).map_err(too_large)?;
        let mut bytes = Vec::new();
        if let Err(error) = source.take(BODY_LIMIT + 1).read_to_end(&mut bytes) {
            return Ok(Err(error));
        }
        self.tally.count(bytes.len() as u64).map_err(too_large)?;
        if bytes.is_empty() {
            self.payload.passed_over.note(format!("{name} (empty)"));
        } else {
            self.payload.bodies.push(Bytes::from(bytes));
            self.payload.names.push(name.to_owned());
        }
        Ok(Ok(()))
    }

    fn finish(self, content_type: Option<&str>) -> Result<Payload, PayloadError> {
        let Self { origin, mut payload, .. } = self;
        let Some(first_name) = payload.names.first() else {
            let (path, passed_over) = (origin.to_owned(), payload.passed_over);
            return Err(PayloadError::Empty { path, passed_over });
        };
        let content_type = content_type.unwrap_or_else(|| guess(first_name)).to_owned();
        if content_type.is_empty()
            || !content_type.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic())
        {
            return Err(PayloadError::ContentType(content_type));
        }
        payload.content_type = content_type;
        Ok(payload)
    }
}

fn sorted(entry: &tar::Entry<'_, impl Read>) -> Sorted {
    let kind = EntryKind::of_tar_flag(entry.header().entry_type().as_byte());
    match entry.path() {
        Ok(path) => payload_file::sort_entry(&path, kind),
        Err(_) => Sorted::Hostile("not named in UTF-8"),
    }
}

/// The content type that a file's extension suggests.
fn guess(name: &str) -> &'static str {
    payload_file::content_type(name).unwrap_or("application/octet-stream")
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn archive(entries: &[(&str, &[u8])]) -> Vec<u8> {
        let mut builder = tar::Builder::new(flate2::write::GzEncoder::new(
            Vec::new(),
            flate2::Compression::fast(),
        ));
        for (name, bytes) in entries {
            let mut header = tar::Header::new_gnu();
            header.set_size(bytes.len() as u64);
            header.set_mode(0o600);
            builder.append_data(&mut header, name, *bytes).unwrap();
        }
        builder.into_inner().unwrap().finish().unwrap()
    }

    #[test]
    fn a_folder_is_sent_in_the_order_of_its_file_names() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("b.json"), "2").unwrap();
        fs::write(folder.path().join("a.json"), "1").unwrap();
        fs::write(folder.path().join("empty.json"), "").unwrap();
        fs::create_dir(folder.path().join("inner")).unwrap();
        let payload = Payload::read(folder.path(), None).unwrap();
        assert_eq!(payload.bodies, [Bytes::from("1"), Bytes::from("2")]);
        assert_eq!(payload.content_type, "application/json");
    }

    #[test]
    fn hidden_files_and_what_desktops_leave_behind_are_no_bodies_and_are_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("payload.tar.gz");
        let entries: &[(&str, &[u8])] = &[
            ("./._a.npy", b"mac"),
            ("./a.npy", b"one"),
            ("__MACOSX/x/._b.npy", b"mac"),
            (".ipynb_checkpoints/a.json", b"old"),
            ("b.npy", b"two"),
            ("Thumbs.db", b"windows"),
        ];
        fs::write(&path, archive(entries)).unwrap();
        let payload = Payload::read(&path, None).unwrap();
        assert_eq!(payload.bodies, [Bytes::from("one"), Bytes::from("two")]);
        assert_eq!(payload.names, ["a.npy", "b.npy"]);
        assert_eq!(payload.content_type, "application/x-npy");
        assert_eq!(
            payload.passed_over.to_string(),
            "passed over ._a.npy, __MACOSX/x/._b.npy, .ipynb_checkpoints/a.json and 1 more"
        );
        fs::write(&path, archive(&[(".DS_Store", b"mac")])).unwrap();
        let nothing = Payload::read(&path, None).unwrap_err().to_string();
        assert!(nothing.ends_with("no bytes to send (passed over .DS_Store)"), "{nothing}");
        fs::remove_file(&path).unwrap();
        fs::write(folder.path().join("a.npy"), "1").unwrap();
        fs::write(folder.path().join(".DS_Store"), "mac").unwrap();
        fs::create_dir(folder.path().join("deeper")).unwrap();
        let payload = Payload::read(folder.path(), None).unwrap();
        assert_eq!((payload.bodies.len(), payload.content_type.as_str()), (1, "application/x-npy"));
        assert_eq!(payload.passed_over.to_string(), "passed over .DS_Store, deeper");
    }

    #[test]
    fn what_the_archive_says_about_itself_is_no_body() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("payload");
        let mut builder = tar::Builder::new(flate2::write::GzEncoder::new(
            Vec::new(),
            flate2::Compression::fast(),
        ));
        for (kind, name, content) in [
            (tar::EntryType::XGlobalHeader, "pax_global_header", "16 comment=abcd\n"),
            (tar::EntryType::XHeader, "PaxHeaders/a.npy", "21 path=renamed/a.npy\n"),
            (tar::EntryType::Regular, "a.npy", "body"),
        ] {
            let mut header = tar::Header::new_ustar();
            header.set_path(name).unwrap();
            header.set_entry_type(kind);
            header.set_size(content.len() as u64);
            header.set_cksum();
            builder.append(&header, content.as_bytes()).unwrap();
        }
        fs::write(&path, builder.into_inner().unwrap().finish().unwrap()).unwrap();
        let payload = Payload::read_archive(&path, "application/x-npy").unwrap();
        assert_eq!(payload.bodies, [Bytes::from("body")]);
        assert!(payload.passed_over.is_empty());
    }

    #[test]
    fn an_archive_gives_one_body_for_each_regular_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("payload.tar.gz");
        fs::write(&path, archive(&[("x/1.npy", b"one"), ("x/2.npy", b"two")])).unwrap();
        let payload = Payload::read(&path, None).unwrap();
        assert_eq!(payload.bodies, [Bytes::from("one"), Bytes::from("two")]);
        assert_eq!(payload.content_type, "application/x-npy");
        assert_eq!(Payload::read_archive(&path, "text/csv").unwrap().content_type, "text/csv");
    }

    #[test]
    fn what_cannot_be_sent_is_refused_with_its_name() {
        let folder = tempfile::tempdir().unwrap();
        let missing = folder.path().join("missing.npy");
        assert!(matches!(Payload::read(&missing, None), Err(PayloadError::Read { .. })));
        let empty = folder.path().join("empty.npy");
        fs::write(&empty, "").unwrap();
        assert!(
            matches!(Payload::read(&empty, None), Err(PayloadError::Empty { path, .. }) if path == empty)
        );
        assert!(matches!(Payload::read(folder.path(), None), Err(PayloadError::Empty { .. })));
        let broken = folder.path().join("broken.tar.gz");
        let mut bytes = archive(&[("1", &[7; 100_000])]);
        bytes.truncate(bytes.len() / 2);
        fs::write(&broken, bytes).unwrap();
        assert!(matches!(Payload::read(&broken, None), Err(PayloadError::Archive { .. })));
        let full = folder.path().join("full.npy");
        fs::write(&full, "x").unwrap();
        for bad in ["", "text/\r\nX-Evil: 1", "text/ü"] {
            assert!(
                matches!(Payload::read(&full, Some(bad)), Err(PayloadError::ContentType(_))),
                "{bad:?}"
            );
        }
    }

    /// An archive of one entry whose name and kind are written as they are, unchecked.
    fn archive_with(name: &str, kind: tar::EntryType) -> Vec<u8> {
        let mut builder = tar::Builder::new(flate2::write::GzEncoder::new(
            Vec::new(),
            flate2::Compression::fast(),
        ));
        let mut header = tar::Header::new_gnu();
        header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
        header.set_entry_type(kind);
        header.set_link_name("/etc/passwd").unwrap();
        let content: &[u8] = if kind.is_file() { b"body" } else { b"" };
        header.set_size(content.len() as u64);
        header.set_cksum();
        builder.append(&header, content).unwrap();
        builder.into_inner().unwrap().finish().unwrap()
    }

    #[test]
    fn archives_with_links_devices_or_paths_that_lead_outside_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("payload");
        for (name, kind) in [
            ("../evil.npy", tar::EntryType::Regular),
            ("a/../../evil.npy", tar::EntryType::Regular),
            ("/etc/evil.npy", tar::EntryType::Regular),
            ("link.npy", tar::EntryType::Symlink),
            ("link.npy", tar::EntryType::Link),
            ("device", tar::EntryType::Char),
            ("pipe", tar::EntryType::Fifo),
        ] {
            fs::write(&path, archive_with(name, kind)).unwrap();
            let error = Payload::read_archive(&path, "text/csv").unwrap_err();
            assert!(matches!(error, PayloadError::Hostile { .. }), "{name} {kind:?}: {error}");
        }
        fs::write(&path, archive_with("./fine.npy", tar::EntryType::Regular)).unwrap();
        assert_eq!(Payload::read_archive(&path, "text/csv").unwrap().bodies.len(), 1);
    }

    #[test]
    fn an_archive_with_nothing_in_it_or_too_many_entries_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("payload");
        fs::write(&path, archive(&[])).unwrap();
        assert!(matches!(
            Payload::read_archive(&path, "text/csv"),
            Err(PayloadError::Empty { .. })
        ));
        fs::write(&path, "no archive").unwrap();
        assert!(matches!(
            Payload::read_archive(&path, "text/csv"),
            Err(PayloadError::Archive { .. })
        ));
        let many: Vec<(&str, &[u8])> = vec![("x", b""); COUNT_LIMIT + 1];
        fs::write(&path, archive(&many)).unwrap();
        assert!(matches!(
            Payload::read_archive(&path, "text/csv"),
            Err(PayloadError::TooLarge { .. })
        ));
    }

    #[test]
    fn one_file_is_one_body_even_when_it_is_called_an_archive() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("body.tar.gz");
        fs::write(&path, "bytes").unwrap();
        assert_eq!(Payload::read_body(&path, "text/plain").unwrap().bodies, [Bytes::from("bytes")]);
    }

    #[test]
    fn a_body_that_inflates_beyond_the_limit_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("bomb.tar.gz");
        let mut encoder = flate2::write::GzEncoder::new(
            fs::File::create(&path).unwrap(),
            flate2::Compression::fast(),
        );
        let mut header = tar::Header::new_gnu();
        header.set_path("bomb").unwrap();
        header.set_size(BODY_LIMIT + 1);
        header.set_cksum();
        encoder.write_all(header.as_bytes()).unwrap();
        io::copy(&mut io::repeat(0).take(BODY_LIMIT + 1), &mut encoder).unwrap();
        encoder.finish().unwrap();
        assert!(matches!(Payload::read(&path, None), Err(PayloadError::TooLarge { .. })));
    }
}
