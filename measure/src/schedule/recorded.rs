//! Recorded arrivals: one intended send time per line, in seconds since the first; `#` begins a comment.

use std::time::Duration;

use thiserror::Error;

use super::{Load, Phase};
use crate::units::as_micros;

/// The most send times of one trace; they are held in memory.
pub const TIMES_LIMIT: usize = 50_000_000;

/// No load lasts longer than a day. What lies further off is a time of day rather than one since the first arrival.
const LONGEST: Duration = Duration::from_secs(86_400);
/// So much of a line is shown that is wrong.
const SHOWN_CHARACTERS: usize = 80;

/// A trace cannot be replayed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum TraceError {
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
    /// A line lies too far from the first.
    #[error(
        "line {line}: {text:?} is more than a day; times are in seconds since the first arrival"
    )]
    TooFar {
        /// Counts from 1.
        line: usize,
        /// What stands there.
        text: String,
    },
    /// There is no time in it.
    #[error("it holds no times")]
    Empty,
    /// There are too many.
    #[error("it holds more than {TIMES_LIMIT} times")]
    TooLong,
}

/// Reads a trace: a [`Load::Replay`] that ends one microsecond after the last send time.
///
/// # Errors
/// [`TraceError`] names the line that is wrong.
pub fn parse(text: &str) -> Result<Phase, TraceError> {
    let mut at_us: Vec<u64> = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let value = line.split('#').next().unwrap_or_default().trim();
        if value.is_empty() {
            continue;
        }
        let position = || (index + 1, value.chars().take(SHOWN_CHARACTERS).collect());
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
        if time >= as_micros(LONGEST) {
            let (line, text) = position();
            return Err(TraceError::TooFar { line, text });
        }
        if at_us.len() == TIMES_LIMIT {
            return Err(TraceError::TooLong);
        }
        at_us.push(time);
    }
    let last = *at_us.last().ok_or(TraceError::Empty)?;
    let duration = Duration::from_micros(last.saturating_add(1));
    Ok(Phase { load: Load::Replay { at_us }, duration })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_in_seconds_and_comments_passed_over() {
        let phase = parse("# a trace\n0\n0.5 # half\n\n0.5\n1.25\n").unwrap();
        assert_eq!(phase.load, Load::Replay { at_us: vec![0, 500_000, 500_000, 1_250_000] });
        assert_eq!(phase.duration, Duration::from_micros(1_250_001));
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
        for far in ["1700000000.5", "86400"] {
            let error = parse(&format!("0\n{far}")).unwrap_err();
            assert!(matches!(error, TraceError::TooFar { line: 2, .. }), "{error}");
        }
        assert!(parse("0\n86399").is_ok());
        assert!(parse(&"x".repeat(1_000_000)).unwrap_err().to_string().len() < 200);
        assert!(matches!(parse("1\n# c\n0.5\n"), Err(TraceError::Descends { line: 3, .. })));
        assert!(matches!(parse("# nothing\n"), Err(TraceError::Empty)));
    }
}
