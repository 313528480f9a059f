//! The last lines that the host and the model in it printed, for whoever looks for the reason of a failure.

use std::sync::{Arc, Mutex, PoisonError};

use assay_measure::printable;
use tokio::io::{AsyncRead, AsyncReadExt};

/// As much as is kept.
const KEPT: usize = 64 << 10;
/// As much as goes into a report.
const REPORTED: usize = 8 << 10;
/// As many characters of a line.
const LONGEST_LINE: usize = 1000;

/// The end of a stream that is still being written; clones share it.
#[derive(Clone, Debug, Default)]
pub(super) struct Tail(Arc<Mutex<Vec<u8>>>);

impl Tail {
    /// Reads until the stream ends.
    pub(super) async fn follow(self, mut stream: impl AsyncRead + Unpin) {
        let mut buffer = vec![0; 8 << 10];
        while let Ok(count @ 1..) = stream.read(&mut buffer).await {
            self.push(&buffer[..count]);
        }
    }

    fn push(&self, bytes: &[u8]) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.extend_from_slice(bytes);
        // Cutting only every other time keeps this linear.
        if kept.len() > 2 * KEPT {
            let surplus = kept.len() - KEPT;
            kept.drain(..surplus);
        }
    }

    /// The end of it, beginning with a whole line where it was cut.
    #[must_use]
    pub(super) fn text(&self) -> String {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let from = kept.len().saturating_sub(REPORTED);
        let text = String::from_utf8_lossy(kept.get(from..).unwrap_or_default());
        let whole = match (from > 0).then(|| text.find('\n')).flatten() {
            Some(line_end) => text.get(line_end + 1..).unwrap_or_default(),
            None => &text,
        };
        let fit = |line: &str| printable::brief(&printable::text(line), LONGEST_LINE);
        whole.trim_end().lines().map(fit).collect::<Vec<_>>().join("\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_the_end_of_a_talkative_host_is_kept() {
        let tail = Tail::default();
        let text: String = (0..100_000).map(|number| format!("line {number}\n")).collect();
        tail.clone().follow(text.as_bytes()).await;
        let kept = tail.text();
        assert!(
            kept.len() <= REPORTED && kept.starts_with("line ") && kept.ends_with("line 99999")
        );
        assert!(tail.0.lock().unwrap().len() <= 2 * KEPT);
        let one_line = Tail::default();
        one_line.clone().follow([b'x'; 200_000].as_slice()).await;
        assert!(one_line.text().ends_with("more characters)"), "{}", one_line.text());
        assert!(one_line.text().len() < 2 * LONGEST_LINE);
    }
}
