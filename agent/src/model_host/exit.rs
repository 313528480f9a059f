//! How a host ended, in words.

use std::{os::unix::process::ExitStatusExt, process::ExitStatus};

/// How a host ended by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exit(pub(super) ExitStatus);

impl Exit {
    /// It was killed by a signal, not by its own will.
    #[must_use]
    pub fn signal(self) -> Option<i32> {
        self.0.signal()
    }

    #[must_use]
    pub fn code(self) -> Option<i32> {
        self.0.code()
    }

    /// In words, such as `was killed by signal 11 (SIGSEGV)`.
    #[must_use]
    pub fn in_words(self) -> String {
        match (self.signal(), self.code()) {
            (Some(signal), _) => match signal_name(signal) {
                Some(name) => format!("was killed by signal {signal} ({name})"),
                None => format!("was killed by signal {signal}"),
            },
            (None, Some(code)) => format!("exited with status {code}"),
            (None, None) => "ended".to_owned(),
        }
    }
}

fn signal_name(signal: i32) -> Option<&'static str> {
    Some(match signal {
        libc::SIGSEGV => "SIGSEGV",
        libc::SIGBUS => "SIGBUS",
        libc::SIGABRT => "SIGABRT",
        libc::SIGILL => "SIGILL",
        libc::SIGFPE => "SIGFPE",
        libc::SIGKILL => "SIGKILL",
        libc::SIGTERM => "SIGTERM",
        libc::SIGINT => "SIGINT",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endings_are_told_in_words() {
        assert_eq!(Exit(ExitStatus::from_raw(11)).in_words(), "was killed by signal 11 (SIGSEGV)");
        assert_eq!(Exit(ExitStatus::from_raw(1 << 8)).in_words(), "exited with status 1");
    }
}
