//! What the host tells of its start, over a pipe that only it writes to.

use std::{
    fs::File,
    io,
    os::fd::OwnedFd,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use assay_measure::host_status::{HostStatus, LONGEST_LINE_BYTES};
use rustix::pipe::{PipeFlags, pipe_with};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, BufReader},
    net::unix::pipe::Receiver,
};

/// A host tells a line for each pass of its warm-up and a few more.
const MOST_LINES: usize = 10_000;

/// How far a host has come; clones share it.
#[derive(Clone, Debug, Default)]
pub(super) struct Told(Arc<Mutex<Progress>>);

/// What was told so far.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Progress {
    /// libtorch has loaded the model.
    pub loaded: bool,
    /// The longest pass of the warm-up.
    pub longest_pass: Option<Duration>,
    /// The answer of a comparison: largest and mean deviation.
    pub compared: Option<(f64, f64)>,
    pub failure: Option<Failure>,
}

/// Why a host ends, in its own words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// A stable word for programs.
    pub code: String,
    pub message: String,
}

impl Progress {
    /// What a host is at that is not ready yet.
    #[must_use]
    pub fn in_words(&self) -> String {
        match (self.loaded, self.longest_pass) {
            (false, _) => "it was still loading the model".to_owned(),
            (true, None) => {
                "the model was loaded, and its first warm-up pass was not over".to_owned()
            }
            (true, Some(pass)) => {
                format!(
                    "the model was being warmed up, and a pass takes {:.1} s",
                    pass.as_secs_f64()
                )
            }
        }
    }

    fn add(&mut self, status: HostStatus) {
        match status {
            HostStatus::Loaded => self.loaded = true,
            HostStatus::WarmedUp { pass_us } => {
                self.longest_pass = self.longest_pass.max(Some(Duration::from_micros(pass_us)));
            }
            HostStatus::Compared { max, mean } => self.compared = Some((max, mean)),
            HostStatus::Failed { code, message, causes } => {
                let message = [vec![message], causes].concat().join(": ");
                self.failure = Some(Failure { code, message });
            }
        }
    }
}

impl Told {
    /// A pipe: the end to follow, and the one for the child.
    pub(super) fn pipe() -> io::Result<(Receiver, File)> {
        let (read, write): (OwnedFd, OwnedFd) = pipe_with(PipeFlags::CLOEXEC)?;
        Ok((Receiver::from_owned_fd(read)?, File::from(write)))
    }

    /// Reads what is told until the host ends; whatever is no status is passed over.
    pub(super) async fn follow(self, pipe: Receiver) {
        let mut reader = BufReader::new(pipe);
        for _ in 0..MOST_LINES {
            let mut line = Vec::new();
            let limit = u64::try_from(LONGEST_LINE_BYTES).unwrap_or(u64::MAX);
            match (&mut reader).take(limit).read_until(b'\n', &mut line).await {
                Ok(1..) => {
                    if let Some(status) = HostStatus::read(&String::from_utf8_lossy(&line)) {
                        self.lock().add(status);
                    }
                }
                Ok(0) | Err(_) => return,
            }
        }
    }

    /// What was told so far.
    pub(super) fn progress(&self) -> Progress {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Progress> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    async fn after(text: &[u8]) -> Progress {
        let (reader, mut writer) = Told::pipe().unwrap();
        let told = Told::default();
        let follow = tokio::spawn(told.clone().follow(reader));
        let text = text.to_owned();
        tokio::task::spawn_blocking(move || writer.write_all(&text)).await.unwrap().unwrap();
        follow.await.unwrap();
        told.progress()
    }

    #[tokio::test]
    async fn how_far_a_host_came_is_told_in_words() {
        assert_eq!(after(b"").await.in_words(), "it was still loading the model");
        let loaded = HostStatus::Loaded.line();
        let first = after(loaded.as_bytes()).await;
        assert_eq!(
            first.in_words(),
            "the model was loaded, and its first warm-up pass was not over"
        );
        let passes = [40_000_000, 2_000_000].map(|pass_us| HostStatus::WarmedUp { pass_us }.line());
        let slow = after((loaded + &passes.concat()).as_bytes()).await;
        assert_eq!(slow.in_words(), "the model was being warmed up, and a pass takes 40.0 s");
    }

    #[tokio::test]
    async fn what_is_no_status_is_passed_over_however_much_of_it_there_is() {
        let failed = HostStatus::Failed {
            code: "engine".to_owned(),
            message: "what".to_owned(),
            causes: vec!["why".to_owned()],
        };
        let mut text = vec![b'x'; 3 * LONGEST_LINE_BYTES];
        text.extend_from_slice(b"\n{\"failed\":1}\n\xff\xfe\n");
        text.extend_from_slice(failed.line().as_bytes());
        let failure = after(&text).await.failure.unwrap();
        assert_eq!((failure.code.as_str(), failure.message.as_str()), ("engine", "what: why"));
        let endless = b"{}\n".repeat(MOST_LINES + 1);
        assert_eq!(after(&endless[..30_000]).await, Progress::default());
    }
}
