//! Progress on standard error: a live line on a terminal, otherwise one dated line per step.

use std::{io::IsTerminal, time::Duration};

use assay_measure::printable;
use indicatif::{ProgressBar, ProgressStyle};
use jiff::Timestamp;

pub(crate) struct Progress {
    bar: Option<ProgressBar>,
}

impl Progress {
    pub(crate) fn start() -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::new_spinner();
            if let Ok(style) = ProgressStyle::with_template("  {spinner} {msg}  {elapsed}") {
                bar.set_style(style);
            }
            bar.enable_steady_tick(Duration::from_millis(200));
            bar
        });
        Self { bar }
    }

    /// What is being done now.
    pub(crate) fn doing(&self, message: &str) {
        if let Some(bar) = &self.bar {
            bar.set_message(printable::line(message));
        }
    }

    pub(crate) fn done(&self, message: &str) {
        let message = printable::line(message);
        match &self.bar {
            Some(bar) => bar.println(format!("  {message}")),
            None => {
                anstream::eprintln!("{} {message}", Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ"))
            }
        }
    }

    pub(crate) fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
