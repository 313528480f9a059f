//! Recorded arrivals: one intended send time per line, in seconds since the first; `#` begins a comment.

use std::{io, path::Path, time::Duration};

use assay_measure::units::as_micros;
use thiserror::Error;

use crate::load::ARRIVALS_LIMIT;

/// A trace cannot be replayed.
#[derive(Debug, Error)]
pub enum TraceError {
    /// The file cannot be read.
    #[error("it cannot be read")]
    Read(#[source] io::Error),
    /// A line is no time.
    #[error("line {line}: {text:?} is not a time in seconds")]
    NotATime {
        /// Counts from 1.
        line: usize,
        /// What stands there.
        text: String,
    },
    /// A line goes back in time.
    #[error("line {line}: {text:?} lies before the time on the line before")]
    Descends {
        /// Counts from 1.
        line: usize,
        /// What stands there.
        text: String,
    },
    /// There is no time in it.
    #[error("it holds no times")]
    Empty,
    /// There are too many.
    #[error("it holds more than {ARRIVALS_LIMIT} times")]
    TooLong,
}

/// Reads the send times of a file, as microseconds.
///
/// # Errors
/// [`TraceError`] names the line that is wrong.
pub fn read(path: &Path) -> Result<Vec<u64>, TraceError> {
    parse(&std::fs::read_to_string(path).map_err(TraceError::Read)?)
}

/// Reads the send times of a text, as microseconds.
///
/// # Errors
/// [`TraceError`] names the line that is wrong.
pub fn parse(text: &str) -> Result<Vec<u64>, TraceError> {
    let mut at_us: Vec<u64> = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let value = line.split('#').next().unwrap_or_default().trim();
        if value.is_empty() {
            continue;
        }
        let position = || (index + 1, value.to_owned());
        let time = value
            .parse()
            .ok()
            .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
            .map(as_micros);
        let Some(time) = time else {
            let (line, text) = position();
            return Err(TraceError::NotATime { line, text });
        };
        if at_us.last().is_some_and(|&last| time < last) {
            let (line, text) = position();
            return Err(TraceError::Descends { line, text });
        }
        if at_us.len() == ARRIVALS_LIMIT {
            return Err(TraceError::TooLong);
        }
        at_us.push(time);
    }
    if at_us.is_empty() { Err(TraceError::Empty) } else { Ok(at_us) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_in_seconds_and_comments_passed_over() {
        assert_eq!(
            parse("# a trace\n0\n0.5 # half\n\n0.5\n1.25\n").unwrap(),
            [0, 500_000, 500_000, 1_250_000]
        );
    }

    #[test]
    fn a_wrong_line_is_named() {
        assert_eq!(
            parse("0\nx\n").unwrap_err().to_string(),
            "line 2: \"x\" is not a time in seconds"
        );
        for bad in ["-1", "NaN", "inf", "1e300", "1,5"] {
            assert!(matches!(parse(bad), Err(TraceError::NotATime { line: 1, .. })), "{bad}");
        }
        assert!(matches!(parse("1\n# c\n0.5\n"), Err(TraceError::Descends { line: 3, .. })));
        assert!(matches!(parse("# nothing\n"), Err(TraceError::Empty)));
        assert!(matches!(read(Path::new("/nonexistent/trace")), Err(TraceError::Read(_))));
    }
}
