//! The wish to end a trial, with the one who has it.

use std::sync::{Arc, OnceLock};

use tokio_util::sync::CancellationToken;

/// Clones share the wish. The first one counts.
#[derive(Clone, Debug, Default)]
pub struct Cancellation {
    token: CancellationToken,
    by: Arc<OnceLock<String>>,
}

impl Cancellation {
    pub fn cancel(&self, by: &str) {
        self.by.get_or_init(|| by.to_owned());
        self.token.cancel();
    }

    /// Waits until somebody asks; says who.
    pub async fn cancelled(&self) -> String {
        self.token.cancelled().await;
        self.by.get().cloned().unwrap_or_default()
    }
}
