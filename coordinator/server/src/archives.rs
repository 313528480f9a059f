//! What was fetched or is about to be uploaded, looked at before anything else is done with it: a payload must be
//! one gzip tar of plain files, a model a TorchScript file or a `model.tar.gz`.
//!
//! Nothing is unpacked here. What is inside a model only the model host can tell, and does before it loads it;
//! the bodies of a payload are read by the agents, which hold them against the same rules.

use std::{
    fs::File,
    io::{self, BufReader, Read},
    path::Path,
};

use assay_measure::{
    payload_file::{self, COUNT_LIMIT, EntryKind, INFLATED_LIMIT, OverLimit, Sorted, Tally},
    stray_file::PassedOver,
};
use flate2::read::GzDecoder;
use thiserror::Error;

const GZIP: [u8; 2] = [0x1f, 0x8b];
/// Of a zip file, which TorchScript is.
const ZIP: [u8; 4] = *b"PK\x03\x04";

/// A file is not what it should be.
#[derive(Debug, Error)]
pub enum BadArchive {
    #[error("it is of the wrong file type: one gzip-compressed tar archive is expected")]
    NotAnArchive,
    #[error("it is not a readable tar.gz: {0}")]
    Damaged(io::Error),
    #[error("its entry {entry:?} is {what}; only plain files and folders are taken")]
    Hostile { entry: String, what: &'static str },
    #[error("it is too large: it holds {0}")]
    TooLarge(OverLimit),
    #[error("it is empty: there is no file with bytes in it to send{}", passed_over.sentence().map_or_else(String::new, |names| format!(" ({names})")))]
    NoBodies { passed_over: PassedOver },
    /// Its first bytes are of no file that a model can be.
    #[error("it is neither a TorchScript file nor a model.tar.gz with one")]
    NotAModel,
}

/// What a payload's archive holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PayloadContent {
    pub bodies: usize,
    /// What the name of the first suggests.
    pub content_type: Option<&'static str>,
    /// The files that are not sent.
    pub passed_over: PassedOver,
}

/// Reads an archive of payloads through once; blocks.
///
/// # Errors
/// [`BadArchive`] says what is wrong with it.
pub fn check_payload(path: &Path) -> Result<PayloadContent, BadArchive> {
    if !first_bytes(path).map_err(BadArchive::Damaged)?.starts_with(&GZIP) {
        return Err(BadArchive::NotAnArchive);
    }
    let file = File::open(path).map_err(BadArchive::Damaged)?;
    // An archive that goes on beyond the limit ends in the middle, and is damaged then.
    let inflated = GzDecoder::new(BufReader::new(file)).take(INFLATED_LIMIT);
    let mut archive = tar::Archive::new(inflated);
    let mut tally = Tally::default();
    let (mut content_type, mut passed_over) = (None, PassedOver::default());
    for (number, entry) in archive.entries().map_err(BadArchive::Damaged)?.enumerate() {
        let entry = entry.map_err(BadArchive::Damaged)?;
        if number == COUNT_LIMIT {
            return Err(BadArchive::TooLarge(OverLimit::Entries));
        }
        let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        match sorted(&entry) {
            Sorted::Hostile(what) => return Err(BadArchive::Hostile { entry: name, what }),
            Sorted::Structure => {}
            Sorted::Stray => passed_over.note(name),
            Sorted::File if entry.size() == 0 => passed_over.note(format!("{name} (empty)")),
            Sorted::File => {
                tally.count(entry.size()).map_err(BadArchive::TooLarge)?;
                content_type.get_or_insert_with(|| payload_file::content_type(&name));
            }
        }
    }
    match tally.bodies() {
        0 => Err(BadArchive::NoBodies { passed_over }),
        bodies => Ok(PayloadContent { bodies, content_type: content_type.flatten(), passed_over }),
    }
}

fn sorted(entry: &tar::Entry<'_, impl Read>) -> Sorted {
    let kind = EntryKind::of_tar_flag(entry.header().entry_type().as_byte());
    match entry.path() {
        Ok(path) => payload_file::sort_entry(&path, kind),
        Err(_) => Sorted::Hostile("not named in UTF-8"),
    }
}

/// Whether a file can be a model at all.
pub(crate) fn check_model(path: &Path) -> Result<(), BadArchive> {
    let start = first_bytes(path).map_err(BadArchive::Damaged)?;
    if start.starts_with(&GZIP) || start.starts_with(&ZIP) {
        Ok(())
    } else {
        Err(BadArchive::NotAModel)
    }
}

fn first_bytes(path: &Path) -> io::Result<Vec<u8>> {
    let mut start = Vec::new();
    File::open(path)?.take(ZIP.len() as u64).read_to_end(&mut start)?;
    Ok(start)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::{Compression, write::GzEncoder};
    use tar::EntryType;
    use tempfile::NamedTempFile;

    use super::*;

    fn file(bytes: &[u8]) -> NamedTempFile {
        let mut file = NamedTempFile::new().unwrap();
        file.write_all(bytes).unwrap();
        file
    }

    /// Entries whose names are written as they are, however wrong.
    fn archive(entries: &[(&str, EntryType, &[u8])]) -> Vec<u8> {
        let mut builder = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
        for (name, kind, body) in entries {
            let mut header = tar::Header::new_gnu();
            header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
            header.set_entry_type(*kind);
            header.set_size(body.len() as u64);
            header.set_mode(0o644);
            header.set_cksum();
            builder.append(&header, *body).unwrap();
        }
        builder.into_inner().unwrap().finish().unwrap()
    }

    fn refused(bytes: &[u8]) -> String {
        check_payload(file(bytes).path()).unwrap_err().to_string()
    }

    #[test]
    fn every_plain_file_is_a_body_and_the_first_name_suggests_the_content_type() {
        let bytes = archive(&[
            ("deep/", EntryType::Directory, b""),
            ("deep/empty.json", EntryType::Regular, b""),
            ("deep/a.npy", EntryType::Regular, b"one"),
            ("b.csv", EntryType::Regular, b"two"),
        ]);
        let content = check_payload(file(&bytes).path()).unwrap();
        assert_eq!(content.bodies, 2);
        assert_eq!(content.content_type, Some("application/x-npy"));
    }

    #[test]
    fn hidden_files_and_the_archives_own_entries_are_no_bodies() {
        let bytes = archive(&[
            ("pax_global_header", EntryType::XGlobalHeader, b"16 comment=abcd\n"),
            ("./._a.npy", EntryType::Regular, b"mac"),
            ("./a.npy", EntryType::Regular, b"one"),
            (".ipynb_checkpoints/a.json", EntryType::Regular, b"old"),
        ]);
        let content = check_payload(file(&bytes).path()).unwrap();
        assert_eq!((content.bodies, content.content_type), (1, Some("application/x-npy")));
        let told = content.passed_over.to_string();
        assert_eq!(told, "passed over ./._a.npy, .ipynb_checkpoints/a.json");
        let nothing = refused(&archive(&[(".DS_Store", EntryType::Regular, b"mac")]));
        assert!(nothing.ends_with("to send (passed over .DS_Store)"), "{nothing}");
    }

    #[test]
    fn hostile_entries_are_refused_by_name() {
        for (name, kind) in [
            ("../evil.npy", EntryType::Regular),
            ("a/../../evil.npy", EntryType::Regular),
            ("/etc/evil.npy", EntryType::Regular),
            ("link.npy", EntryType::Symlink),
            ("link.npy", EntryType::Link),
            ("device", EntryType::Char),
            ("disk", EntryType::Block),
            ("pipe", EntryType::Fifo),
        ] {
            let bytes = archive(&[("ok.npy", EntryType::Regular, b"ok"), (name, kind, b"")]);
            let refused = refused(&bytes);
            assert!(refused.contains(&format!("{name:?}")), "{name} {kind:?}: {refused}");
        }
    }

    #[test]
    fn what_is_no_archive_or_damaged_or_empty_is_refused() {
        assert!(refused(b"PK\x03\x04").contains("wrong file type"));
        assert!(refused(b"").contains("wrong file type"));
        assert!(refused(&archive(&[])).contains("empty"));
        assert!(refused(&archive(&[("a.npy", EntryType::Regular, b"")])).contains("empty"));
        let whole = archive(&[("a.npy", EntryType::Regular, &[7; 5000])]);
        assert!(refused(&whole[..whole.len() / 2]).contains("not a readable tar.gz"));
    }

    #[test]
    fn bombs_are_refused_before_they_go_off() {
        let many = vec![("x", EntryType::Regular, b"".as_slice()); COUNT_LIMIT + 1];
        assert!(refused(&archive(&many)).contains("10000 entries"));
        // The header alone announces the size.
        let mut header = tar::Header::new_gnu();
        header.set_path("big.npy").unwrap();
        header.set_size(payload_file::BODY_LIMIT + 1);
        header.set_cksum();
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(header.as_bytes()).unwrap();
        let told = refused(&encoder.finish().unwrap());
        assert!(told.contains("268435457 bytes") && told.contains("256 MiB"), "{told}");
    }

    #[test]
    fn a_model_is_told_by_its_first_bytes() {
        assert!(check_model(file(&archive(&[])).path()).is_ok());
        assert!(check_model(file(b"PK\x03\x04rest").path()).is_ok());
        for other in [b"".as_slice(), b"\x80\x02pickle", b"<html>"] {
            assert!(check_model(file(other).path()).is_err(), "{other:?}");
        }
    }
}
