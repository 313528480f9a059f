//! What a person sees while a task works: one line per phase, and a moving one on a terminal.

use std::io::{self, IsTerminal, Read, Write};

/// The terminal or log behind stderr.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Console {
    terminal: bool,
}

impl Console {
    /// Looks once whether stderr is a terminal.
    pub(crate) fn new() -> Self {
        Self { terminal: io::stderr().is_terminal() }
    }

    pub(crate) fn is_terminal(self) -> bool {
        self.terminal
    }

    pub(crate) fn say(self, line: &str) {
        eprintln!("xtask: {line}");
    }

    /// A counter of bytes that shows itself on a terminal only.
    pub(crate) fn progress(self, label: &str, total_bytes: u64) -> Progress {
        Progress {
            terminal: self.terminal,
            label: label.to_owned(),
            total_bytes,
            done_bytes: 0,
            shown_percent: None,
        }
    }
}

/// Bytes done out of a known total.
#[derive(Debug)]
pub(crate) struct Progress {
    terminal: bool,
    label: String,
    total_bytes: u64,
    done_bytes: u64,
    shown_percent: Option<u64>,
}

impl Progress {
    /// Hands a file on piece by piece, to its end.
    pub(crate) fn pieces(
        &mut self,
        input: &mut impl Read,
        mut take: impl FnMut(&[u8]) -> io::Result<()>,
    ) -> io::Result<()> {
        let mut buffer = vec![0; 1 << 18];
        loop {
            let length = input.read(&mut buffer)?;
            if length == 0 {
                return Ok(());
            }
            take(&buffer[..length])?;
            self.advance(length as u64);
        }
    }

    /// Adds to what is done, and redraws when the whole percentage changed.
    fn advance(&mut self, bytes: u64) {
        self.done_bytes += bytes;
        let percent = (self.done_bytes * 100).checked_div(self.total_bytes).unwrap_or(100);
        if self.terminal && self.shown_percent != Some(percent) {
            self.shown_percent = Some(percent);
            eprint!("\rxtask: {} {percent:3} %", self.label);
            // A progress line that cannot be drawn is no reason to stop.
            _ = io::stderr().flush();
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.shown_percent.is_some() {
            eprint!("\r\x1b[2K");
        }
    }
}
