//! What a model host tells whoever started it: one line of JSON each, over an inherited descriptor.
//!
//! Standard output and standard error belong to the model as well, which may print whatever it likes;
//! nothing is believed that stands there.

use serde::{Deserialize, Serialize};

/// A longer line is none of the host's.
pub const LONGEST_LINE_BYTES: usize = 64 << 10;

/// One thing told.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HostStatus {
    /// libtorch has loaded the model.
    Loaded,
    /// A forward pass of the warm-up is over.
    WarmedUp {
        /// What the pass took.
        pass_us: u64,
    },
    /// The answer of `compare`: how far outputs are from plain float32, relative to their largest element.
    Compared {
        /// The largest deviation of any element.
        max: f64,
        /// The mean deviation.
        mean: f64,
    },
    /// It ends, since this went wrong.
    Failed {
        /// A stable word for programs: `artifact`, `engine`, `model`, `outputs` …
        code: String,
        /// What, exactly.
        message: String,
        /// Why, outermost first.
        causes: Vec<String>,
    },
}

impl HostStatus {
    /// As one line, newline included.
    #[must_use]
    pub fn line(&self) -> String {
        let mut line = serde_json::to_string(self).unwrap_or_default();
        line.push('\n');
        line
    }

    /// From one line; absent if it is no status.
    #[must_use]
    pub fn read(line: &str) -> Option<Self> {
        serde_json::from_str(line.trim()).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_is_told_comes_back_from_its_line() {
        for status in [
            HostStatus::Loaded,
            HostStatus::WarmedUp { pass_us: 40_000_000 },
            HostStatus::Compared { max: 0.5, mean: 0.25 },
            HostStatus::Failed {
                code: "engine".to_owned(),
                message: "a line\nand another".to_owned(),
                causes: vec!["why".to_owned()],
            },
        ] {
            let line = status.line();
            assert_eq!(line.matches('\n').count(), 1, "{line:?}");
            assert_eq!(HostStatus::read(&line), Some(status));
        }
        for other in ["", "listening http://127.0.0.1:1", "{}", "{\"failed\":{}}"] {
            assert_eq!(HostStatus::read(other), None, "{other}");
        }
    }
}
