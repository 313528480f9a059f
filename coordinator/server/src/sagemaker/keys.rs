//! The key pairs of a keys file: who may sign requests.
//!
//! ```toml
//! [ci]                          # a name for people, told in the log
//! access_key_id = "AKIAEXAMPLE000000001"
//! secret_access_key = "…"
//! ```

use std::{
    collections::BTreeMap,
    fmt, fs, io,
    path::{Path, PathBuf},
};

use serde::Deserialize;
use thiserror::Error;

// Clients refuse other access key ids, and a short secret can be guessed.
const ID_LENGTH: std::ops::RangeInclusive<usize> = 16..=128;
const SHORTEST_SECRET: usize = 16;

/// Every key pair that is accepted.
#[derive(Debug, Default)]
pub(crate) struct Keys {
    by_id: BTreeMap<String, Key>,
}

pub(crate) struct Key {
    pub(crate) name: String,
    /// What requests are signed with.
    pub(crate) secret: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Pair {
    access_key_id: String,
    secret_access_key: String,
}

/// The keys file cannot be used.
#[derive(Debug, Error)]
pub enum KeysFileError {
    #[error("cannot read the keys file {path}")]
    Unreadable { path: PathBuf, source: io::Error },
    #[error("the keys file {path} is wrong")]
    Malformed {
        path: PathBuf,
        /// What is wrong, without the text around it: secrets must not reach a log.
        source: BadKeys,
    },
}

/// What is wrong with the content of a keys file.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum BadKeys {
    #[error("line {line}: {problem}")]
    Form { line: usize, problem: String },
    #[error("it holds no key pair")]
    Empty,
    #[error("key pair {0:?}: an access key id has 16 to 128 letters, digits or underscores")]
    Id(String),
    #[error("key pair {0:?}: a secret access key has at least 16 characters")]
    Secret(String),
    #[error("key pairs {0:?} and {1:?} have the same access key id")]
    SameId(String, String),
}

impl Keys {
    pub(crate) fn read(path: &Path) -> Result<Self, KeysFileError> {
        let text = fs::read_to_string(path)
            .map_err(|source| KeysFileError::Unreadable { path: path.to_owned(), source })?;
        Self::parse(&text)
            .map_err(|source| KeysFileError::Malformed { path: path.to_owned(), source })
    }

    /// The key pair with this access key id.
    pub(crate) fn get(&self, access_key_id: &str) -> Option<&Key> {
        self.by_id.get(access_key_id)
    }

    pub(crate) fn parse(text: &str) -> Result<Self, BadKeys> {
        let pairs: BTreeMap<String, Pair> = toml::from_str(text).map_err(|error| {
            let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
            let line = before.matches('\n').count() + 1;
            BadKeys::Form { line, problem: error.message().to_owned() }
        })?;
        if pairs.is_empty() {
            return Err(BadKeys::Empty);
        }
        let mut keys = Self::default();
        for (name, pair) in pairs {
            let of_words = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
            let id = pair.access_key_id;
            if !ID_LENGTH.contains(&id.len()) || !id.bytes().all(of_words) {
                return Err(BadKeys::Id(name));
            }
            if pair.secret_access_key.chars().count() < SHORTEST_SECRET {
                return Err(BadKeys::Secret(name));
            }
            if let Some(other) = keys.by_id.get(&id) {
                return Err(BadKeys::SameId(other.name.clone(), name));
            }
            keys.by_id.insert(id, Key { name, secret: pair.secret_access_key });
        }
        Ok(keys)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key").field("name", &self.name).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "0123456789abcdef0123";

    fn pair(name: &str, id: &str, secret: &str) -> String {
        format!("[{name}]\naccess_key_id = \"{id}\"\nsecret_access_key = \"{secret}\"\n")
    }

    #[test]
    fn every_pair_is_found_by_its_id() {
        let text = pair("ci", "AKIAEXAMPLE000000001", SECRET)
            + &pair("ada", "AKIAEXAMPLE000000002", "another secret that is long");
        let keys = Keys::parse(&text).unwrap();
        assert_eq!(keys.get("AKIAEXAMPLE000000001").unwrap().secret, SECRET);
        assert_eq!(keys.get("AKIAEXAMPLE000000002").unwrap().name, "ada");
        assert!(keys.get("AKIAEXAMPLE00000000").is_none());
        assert!(!format!("{keys:?}").contains(SECRET));
    }

    #[test]
    fn a_file_that_is_wrong_is_refused_without_its_secrets() {
        let id = "AKIAEXAMPLE000000001";
        let twice = pair("a", id, SECRET) + &pair("b", id, SECRET);
        for (text, expected) in [
            ("", "it holds no key pair"),
            ("# nothing\n", "it holds no key pair"),
            ("access_key_id = \"x\"", "line 1"),
            ("[ci]\naccess_key_id = \"x\"", "missing field `secret_access_key`"),
            (&pair("ci", id, SECRET).replace("secret_", "sekret_"), "line 3: unknown field"),
            (&pair("ci", "short", SECRET), "an access key id has 16 to 128"),
            (&pair("ci", "AKIA EXAMPLE/000001", SECRET), "an access key id has 16 to 128"),
            (&pair("ci", id, "guess me"), "at least 16 characters"),
            (&twice, "\"a\" and \"b\" have the same access key id"),
            (&format!("[ci]\nsecret_access_key = {SECRET}"), "line 2"),
        ] {
            let refused = Keys::parse(text).unwrap_err().to_string();
            assert!(refused.contains(expected), "{refused}");
            assert!(!refused.contains(SECRET), "{refused}");
        }
    }

    #[test]
    fn a_missing_file_is_refused() {
        let refused = Keys::read(Path::new("/nonexistent/keys.toml")).unwrap_err();
        assert!(matches!(refused, KeysFileError::Unreadable { .. }));
    }
}
