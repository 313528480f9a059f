//! A store that is given up with the first write that fails.
//!
//! Whoever wrote learns that nothing was kept, and so does whoever waits for [`FailFast::lost`], which ends the
//! coordinator. From then on nothing is written: a disk that has room again for a moment would keep a later change
//! without the one before it.

use std::sync::{Mutex, PoisonError};

use assay_measure::ids::{JobName, Sha256};
use assay_planning::job_report::JobFacts;
use assay_sagemaker::shapes::tags::Tag;
use async_trait::async_trait;
use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use crate::{
    job_event::JobEvent,
    store::{
        Change, Histograms, JobQuery, JobSummary, Recovered, Store, StoreError, TrialRecord,
        job_list::{JobLine, JobListQuery},
        registry::{Added, Kind, NewResource, Registry, Removed, Resource, ResourceQuery},
    },
};

/// A store, and whether it is lost.
#[derive(Debug)]
pub(crate) struct FailFast<S> {
    store: S,
    lost: CancellationToken,
    why: Mutex<Option<StoreError>>,
}

impl<S> FailFast<S> {
    /// This store, which works so far.
    pub(crate) fn new(store: S) -> Self {
        Self { store, lost: CancellationToken::new(), why: Mutex::new(None) }
    }

    /// The store itself, to be closed.
    pub(crate) fn inner(&self) -> &S {
        &self.store
    }

    /// Waits until a write has failed for good, and says why.
    pub(crate) async fn lost(&self) -> StoreError {
        self.lost.cancelled().await;
        self.why.lock().unwrap_or_else(PoisonError::into_inner).take().unwrap_or(StoreError::Lost)
    }

    /// Tries a write, once no other has failed.
    async fn write<T>(
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

#[async_trait]
impl<S: Store> Store for FailFast<S> {
    async fn commit(&self, changes: Vec<Change>) -> Result<(), StoreError> {
        self.write(self.store.commit(changes)).await
    }

    async fn recover(&self) -> Result<Recovered, StoreError> {
        self.store.recover().await
    }

    async fn job(&self, name: &JobName) -> Result<Option<JobSummary>, StoreError> {
        self.store.job(name).await
    }

    async fn jobs(&self, query: &JobQuery) -> Result<Vec<JobSummary>, StoreError> {
        self.store.jobs(query).await
    }

    async fn job_facts(&self, name: &JobName) -> Result<Option<JobFacts>, StoreError> {
        self.store.job_facts(name).await
    }

    async fn histograms(&self, job: &JobName) -> Result<Histograms, StoreError> {
        self.store.histograms(job).await
    }

    async fn job_list(&self, query: &JobListQuery) -> Result<Vec<JobLine>, StoreError> {
        self.store.job_list(query).await
    }

    async fn trials(
        &self,
        job: &JobName,
    ) -> Result<Vec<(TrialRecord, Option<Timestamp>)>, StoreError> {
        self.store.trials(job).await
    }

    async fn needs(&self, file: &Sha256) -> Result<bool, StoreError> {
        self.store.needs(file).await
    }

    async fn events(
        &self,
        job: &JobName,
        after: u64,
        limit: u32,
    ) -> Result<Vec<JobEvent>, StoreError> {
        self.store.events(job, after, limit).await
    }
}

#[async_trait]
impl<S: Registry> Registry for FailFast<S> {
    async fn add(&self, new: NewResource) -> Result<Added, StoreError> {
        self.write(self.store.add(new)).await
    }

    async fn resource(&self, kind: Kind, name: &str) -> Result<Option<Resource>, StoreError> {
        self.store.resource(kind, name).await
    }

    async fn resources(&self, query: &ResourceQuery) -> Result<Vec<Resource>, StoreError> {
        self.store.resources(query).await
    }

    async fn change(&self, changed: &Resource) -> Result<bool, StoreError> {
        self.write(self.store.change(changed)).await
    }

    async fn remove(&self, kind: Kind, name: &str) -> Result<Removed, StoreError> {
        self.write(self.store.remove(kind, name)).await
    }

    async fn last_job_of(&self, model_url: &str) -> Result<Option<String>, StoreError> {
        self.store.last_job_of(model_url).await
    }

    async fn tags(&self, resource: &str) -> Result<Vec<Tag>, StoreError> {
        self.store.tags(resource).await
    }

    async fn put_tags(
        &self,
        resource: &str,
        tags: &[Tag],
        most: usize,
    ) -> Result<Option<Vec<Tag>>, StoreError> {
        self.write(self.store.put_tags(resource, tags, most)).await
    }

    async fn remove_tags(&self, resource: &str, keys: &[String]) -> Result<(), StoreError> {
        self.write(self.store.remove_tags(resource, keys)).await
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
        let store = FailFast::new(());
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
        let store = FailFast::new(());
        let slow = store.write(async {
            store.write(async { Err::<(), _>(full()) }).await.unwrap_err();
            Ok(())
        });
        assert!(matches!(slow.await, Err(StoreError::Lost)));
    }

    #[tokio::test]
    async fn a_read_that_fails_or_a_row_that_is_damaged_does_not_give_the_store_up() {
        let store = FailFast::new(());
        let damaged = || StoreError::Damaged { what: "a row".to_owned(), source: "text".into() };
        store.write(async { Err::<(), _>(damaged()) }).await.unwrap_err();
        store.write(async { Ok(()) }).await.unwrap();
    }
}
