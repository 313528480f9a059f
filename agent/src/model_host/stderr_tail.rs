//! The last lines that the model host wrote, for the reason of a failure.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncRead, AsyncReadExt};

/// As much as is kept.
const KEPT: usize = 64 << 10;
/// As much as goes into a report.
const REPORTED: usize = 8 << 10;

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
        whole.trim_end().to_owned()
    }

    /// The error that the host gave last, in one line: `error:` and the `cause:` lines after it.
    #[must_use]
    pub(super) fn error(&self) -> Option<String> {
        let text = self.text();
        let mut found: Option<String> = None;
        for line in text.lines().map(str::trim) {
            if let Some(error) = line.strip_prefix("error:") {
                found = Some(error.trim().to_owned());
            } else if let (Some(cause), Some(found)) = (line.strip_prefix("cause:"), &mut found) {
                found.push_str(": ");
                found.push_str(cause.trim());
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_and_causes_become_one_line() {
        let tail = Tail::default();
        tail.push(b"2026-11-22 INFO loading\nerror: cannot load x.pt\n  cause: not a ZIP file\nhint: save it\n");
        assert_eq!(tail.error().as_deref(), Some("cannot load x.pt: not a ZIP file"));
        assert_eq!(Tail::default().error(), None);
    }

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
    }
}
