//! The bytes of an artifact, whatever becomes of the connection meanwhile: a coordinator that is
//! restarted is dialled again, and goes on where it was interrupted.

use std::{error::Error as _, time::Duration};

use assay_measure::ids::Sha256;
use assay_proto::v1::{ArtifactChunk, FetchArtifactRequest};
use bytes::Bytes;
use futures_util::{Stream, stream};
use tokio::time::Instant;
use tonic::{Code, Status, Streaming};

use super::{
    backoff::Backoff,
    coordinator::{Coordinator, describe},
};

/// So long without a byte: time for a machine to start anew, not for ever.
const PATIENCE: Duration = Duration::from_mins(5);

impl Coordinator {
    /// The bytes of an artifact as they come. Nothing is asked before the first is wanted.
    ///
    /// Errors are one line for people, and the last item.
    pub fn fetch(
        &self,
        sha256: &Sha256,
    ) -> impl Stream<Item = Result<Bytes, String>> + Unpin + use<> {
        self.fetch_within(sha256, PATIENCE)
    }

    /// The same, given up after so long without a byte.
    pub fn fetch_within(
        &self,
        sha256: &Sha256,
        patience: Duration,
    ) -> impl Stream<Item = Result<Bytes, String>> + Unpin + use<> {
        let fetch = Fetch {
            coordinator: self.clone(),
            sha256: sha256.to_string(),
            received: 0,
            open: None,
            backoff: Backoff::default(),
            quiet_since: None,
            patience,
        };
        Box::pin(stream::try_unfold(fetch, async |mut fetch| {
            Ok(fetch.next().await?.map(|data| (data, fetch)))
        }))
    }
}

struct Fetch {
    coordinator: Coordinator,
    sha256: String,
    received: u64,
    open: Option<Streaming<ArtifactChunk>>,
    /// Of the attempts since the last byte.
    backoff: Backoff,
    /// When the first of these attempts failed.
    quiet_since: Option<Instant>,
    patience: Duration,
}

impl Fetch {
    async fn next(&mut self) -> Result<Option<Bytes>, String> {
        loop {
            match self.attempt().await {
                Ok(data) => return Ok(data),
                Err(failed) => {
                    self.open = None;
                    self.pause_after(&failed).await?;
                }
            }
        }
    }

    /// The next bytes, over the open stream or a new one; `None` behind the last.
    async fn attempt(&mut self) -> Result<Option<Bytes>, Status> {
        let open = match &mut self.open {
            Some(open) => open,
            None => {
                let (sha256, offset_bytes) = (self.sha256.clone(), self.received);
                let request = FetchArtifactRequest { sha256, offset_bytes };
                let response = self.coordinator.client().fetch_artifact(request).await?;
                self.open.insert(response.into_inner())
            }
        };
        let Some(chunk) = open.message().await? else { return Ok(None) };
        self.received += chunk.data.len() as u64;
        self.backoff = Backoff::default();
        self.quiet_since = None;
        Ok(Some(chunk.data))
    }

    /// Waits before the next attempt, or says why there is none.
    async fn pause_after(&mut self, failed: &Status) -> Result<(), String> {
        if failed.code() == Code::NotFound {
            return Err("the coordinator does not have it".to_owned());
        }
        if !is_passing(failed) {
            return Err(describe(failed));
        }
        let quiet = self.quiet_since.get_or_insert_with(Instant::now).elapsed();
        if quiet >= self.patience {
            return Err(format!("{} (for {} s in vain)", describe(failed), quiet.as_secs()));
        }
        tracing::info!(
            received_bytes = self.received,
            reason = describe(failed),
            "fetching is tried again"
        );
        tokio::time::sleep(self.backoff.next_pause()).await;
        Ok(())
    }
}

/// The connection is at fault, not the request: what the coordinator itself answers has no cause below
/// it. Proxies answer for one that is away, and tonic calls a broken connection `Unknown`.
fn is_passing(status: &Status) -> bool {
    status.source().is_some()
        || matches!(
            status.code(),
            Code::Unavailable | Code::Unknown | Code::Cancelled | Code::DeadlineExceeded
        )
}
