//! Files that nobody means to use: what file managers, archivers and editors leave beside samples and models.
//!
//! One list for folders and archives, for payloads and models, so that all programs pass over the same. What
//! is passed over is told: see [`PassedOver`].

use std::{
    fmt,
    path::{Component, Path},
};

/// What Windows leaves in folders, in lower case.
const LEFT_BY_WINDOWS: [&str; 2] = ["thumbs.db", "desktop.ini"];
/// The folder in which macOS packs what a file system has no place for.
const MACOS_FOLDER: &str = "__MACOSX";
/// So many names are told; of the rest the number.
const TOLD: usize = 3;

/// Whether a path below a folder or in an archive is hidden (its name, or that of a folder on the way, begins
/// with a dot: `._a.npy`, `.DS_Store`, `.ipynb_checkpoints/a.json`), lies in `__MACOSX/`, or is Windows' own
/// (`Thumbs.db`, `desktop.ini`).
#[must_use]
pub fn is_stray(path: &Path) -> bool {
    path.components().any(|part| {
        let Component::Normal(name) = part else { return false };
        let name = name.to_string_lossy();
        name.starts_with('.')
            || name == MACOS_FOLDER
            || LEFT_BY_WINDOWS.iter().any(|known| name.eq_ignore_ascii_case(known))
    })
}

/// Which files were not taken, in the order they were met.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PassedOver {
    first: Vec<String>,
    count: usize,
}

impl PassedOver {
    /// Notes one more file or folder.
    pub fn note(&mut self, name: impl Into<String>) {
        if self.first.len() < TOLD {
            self.first.push(name.into());
        }
        self.count += 1;
    }

    /// Whether everything was taken.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The same in a sentence; `None` when everything was taken.
    #[must_use]
    pub fn sentence(&self) -> Option<String> {
        (!self.is_empty()).then(|| self.to_string())
    }
}

/// `passed over ._a.npy, ._b.npy, .DS_Store and 2 more`.
impl fmt::Display for PassedOver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<String> = self.first.iter().map(|name| printable(name)).collect();
        write!(f, "passed over {}", names.join(", "))?;
        match self.count - self.first.len() {
            0 => Ok(()),
            more => write!(f, " and {more} more"),
        }
    }
}

/// A name from somebody else's archive, fit for a terminal.
#[must_use]
pub fn printable(name: &str) -> String {
    name.chars()
        .flat_map(|c| if c.is_control() { c.escape_default().collect() } else { vec![c] })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hidden_files_and_what_desktops_leave_behind_are_stray() {
        for path in [
            "._a.npy",
            "./._a.npy",
            ".DS_Store",
            "deep/.DS_Store",
            ".ipynb_checkpoints/a-checkpoint.json",
            "__MACOSX/a.npy",
            "x/__MACOSX/._a.npy",
            "Thumbs.db",
            "photos/THUMBS.DB",
            "Desktop.ini",
        ] {
            assert!(is_stray(Path::new(path)), "{path}");
        }
        for path in ["a.npy", "./a.npy", "../a.npy", "a.b/c.json", "macosx/a", "thumbs.db.json"] {
            assert!(!is_stray(Path::new(path)), "{path}");
        }
    }

    #[test]
    fn what_was_passed_over_is_told_by_name_and_then_by_number() {
        let mut passed_over = PassedOver::default();
        assert_eq!(passed_over.sentence(), None);
        for name in ["._a", "._\u{1b}[2Jb"] {
            passed_over.note(name);
        }
        assert_eq!(passed_over.to_string(), "passed over ._a, ._\\u{1b}[2Jb");
        for name in ["c", "d", "e"] {
            passed_over.note(name);
        }
        assert_eq!(passed_over.to_string(), "passed over ._a, ._\\u{1b}[2Jb, c and 2 more");
    }
}
