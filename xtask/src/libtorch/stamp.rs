//! The stamp: written when everything is unpacked, it says from what and how much.
//!
//! It lists the sums of the wheels and counts the files and their bytes. Set-ups that were cut short,
//! that have lost files, or that come from other wheels are told apart without reading a gigabyte.

use std::{
    fs::{self, File},
    io::Write,
    path::Path,
};

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::wheels::Wheel;

const FILE: &str = "stamp.json";

/// What is done with the content of the wheels; another number, and a set-up is made anew.
const FORMAT: u32 = 2;

/// The folders that a set-up consists of.
pub(crate) const FOLDERS: [&str; 2] = ["torch", "nvidia"];

/// Whether `dir` holds exactly what was once unpacked from these wheels.
pub(crate) fn is_whole(dir: &Path, wheels: &[Wheel]) -> bool {
    let Ok(text) = fs::read_to_string(dir.join(FILE)) else {
        return false;
    };
    let Ok(found) = serde_json::from_str::<Value>(&text) else {
        return false;
    };
    // A folder that cannot be read is as good as none.
    describe(dir, wheels).is_ok_and(|expected| expected == found)
}

/// Makes the set-up in `dir` a whole one. Call it when everything else is on disk.
pub(crate) fn write(dir: &Path, wheels: &[Wheel]) -> Result<()> {
    let unfinished = dir.join("stamp.unfinished");
    let text = format!("{:#}\n", describe(dir, wheels)?);
    let mut file = File::create(&unfinished)
        .with_context(|| format!("cannot create {}", unfinished.display()))?;
    file.write_all(text.as_bytes())
        .and_then(|()| file.sync_all())
        .with_context(|| format!("cannot write {}", unfinished.display()))?;
    fs::rename(&unfinished, dir.join(FILE))
        .with_context(|| format!("cannot rename {}", unfinished.display()))
}

/// From here on the set-up counts as broken, until [`write`].
pub(crate) fn remove(dir: &Path) -> Result<()> {
    let path = dir.join(FILE);
    match fs::remove_file(&path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", path.display()))
        }
        _ => Ok(()),
    }
}

fn describe(dir: &Path, wheels: &[Wheel]) -> Result<Value> {
    let mut count = Count::default();
    for folder in FOLDERS {
        count.add(&dir.join(folder))?;
    }
    let sums: serde_json::Map<String, Value> =
        wheels.iter().map(|wheel| (wheel.file.to_owned(), json!(wheel.sha256))).collect();
    Ok(
        json!({ "format": FORMAT, "wheels_sha256": sums, "files": count.files, "bytes": count.bytes }),
    )
}

#[derive(Debug, Default)]
struct Count {
    files: u64,
    bytes: u64,
}

impl Count {
    fn add(&mut self, dir: &Path) -> Result<()> {
        for entry in fs::read_dir(dir).with_context(|| format!("cannot list {}", dir.display()))? {
            let entry = entry?;
            let metadata = entry.metadata()?;
            if metadata.is_dir() {
                self.add(&entry.path())?;
            } else {
                self.files += 1;
                self.bytes += metadata.len();
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::libtorch::wheels::for_architecture;

    fn set_up() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for folder in FOLDERS {
            fs::create_dir_all(dir.path().join(folder).join("lib")).unwrap();
            fs::write(dir.path().join(folder).join("lib/library.so"), b"machine code").unwrap();
        }
        write(dir.path(), for_architecture("x86_64").unwrap()).unwrap();
        dir
    }

    #[test]
    fn a_stamped_folder_is_whole_and_one_without_a_stamp_is_not() {
        let dir = set_up();
        assert!(is_whole(dir.path(), for_architecture("x86_64").unwrap()));
        remove(dir.path()).unwrap();
        assert!(!is_whole(dir.path(), for_architecture("x86_64").unwrap()));
    }

    #[test]
    fn a_missing_or_truncated_library_is_noticed() {
        let wheels = for_architecture("x86_64").unwrap();
        let dir = set_up();
        fs::write(dir.path().join("torch/lib/library.so"), b"machine").unwrap();
        assert!(!is_whole(dir.path(), wheels));
        let dir = set_up();
        fs::remove_file(dir.path().join("nvidia/lib/library.so")).unwrap();
        assert!(!is_whole(dir.path(), wheels));
    }

    #[test]
    fn a_set_up_from_other_wheels_is_not_taken_for_ours() {
        assert!(!is_whole(set_up().path(), for_architecture("aarch64").unwrap()));
    }

    #[test]
    fn a_torn_stamp_is_no_stamp() {
        let dir = set_up();
        fs::write(dir.path().join(FILE), b"{\"format\": 1, \"whe").unwrap();
        assert!(!is_whole(dir.path(), for_architecture("x86_64").unwrap()));
    }
}
