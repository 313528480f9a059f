//! Writes to the store, which is given up with the first that fails.
//!
//! Whoever wrote learns that nothing was kept, and so does whoever waits for [`FailFast::lost`], which ends the
//! coordinator. From then on nothing is written: a disk that has room again for a moment would keep a later change
//! without the one before it.

use std::sync::{Mutex, PoisonError};

use tokio_util::sync::CancellationToken;

use super::StoreError;

/// Whether a store is lost; it works at first.
#[derive(Debug, Default)]
pub(super) struct FailFast {
    lost: CancellationToken,
    why: Mutex<Option<StoreError>>,
}

impl FailFast {
    /// Waits until a write has failed for good, and says why.
    pub(super) async fn lost(&self) -> StoreError {
        self.lost.cancelled().await;
        self.why.lock().unwrap_or_else(PoisonError::into_inner).take().unwrap_or(StoreError::Lost)
    }

    /// Tries a write, once no other has failed.
    pub(super) async fn write<T>(
        &self,
        written: impl Future<Output = Result<T, StoreError>> + Send,
    ) -> Result<T, StoreError> {
        if self.lost.is_cancelled() {
            return Err(StoreError::Lost);
        }
        match written.await {
            Err(error) if error.is_for_good() => {
                self.why.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
                self.lost.cancel();
                Err(StoreError::Lost)
            }
            // Another write failed meanwhile: its change may be one that this one builds on.
            Ok(_) if self.lost.is_cancelled() => Err(StoreError::Lost),
            other => other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::broken;

    fn full() -> StoreError {
        broken("write to")(sqlx::Error::WorkerCrashed)
    }

    #[tokio::test]
    async fn after_the_first_write_that_fails_nothing_is_kept_and_the_reason_is_told() {
        let store = FailFast::default();
        assert_eq!(store.write(async { Ok(1) }).await.unwrap(), 1);
        let refused = store.write(async { Err::<(), _>(full()) }).await.unwrap_err();
        assert!(matches!(refused, StoreError::Lost), "{refused}");
        let mut tried = false;
        let later = store.write(async {
            tried = true;
            Ok(())
        });
        assert!(matches!(later.await, Err(StoreError::Lost)));
        assert!(!tried, "nothing is written after that");
        let why = store.lost().await;
        assert!(matches!(why, StoreError::Database { .. }), "{why}");
    }

    #[tokio::test]
    async fn a_write_that_ends_after_another_failed_is_not_acknowledged() {
        let store = FailFast::default();
        let slow = store.write(async {
            store.write(async { Err::<(), _>(full()) }).await.unwrap_err();
            Ok(())
        });
        assert!(matches!(slow.await, Err(StoreError::Lost)));
    }

    #[tokio::test]
    async fn a_read_that_fails_or_a_row_that_is_damaged_does_not_give_the_store_up() {
        let store = FailFast::default();
        let damaged = || StoreError::Damaged { what: "a row".to_owned(), source: "text".into() };
        store.write(async { Err::<(), _>(damaged()) }).await.unwrap_err();
        store.write(async { Ok(()) }).await.unwrap();
    }
}
