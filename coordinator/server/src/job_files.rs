//! The files of jobs, and their removal once no job needs them.
//!
//! A file that somebody needs never goes: not while a job refers to it, is being created with it, or was
//! promised it. A crash half-way leaves a file that nobody needs.

use std::io;

use assay_measure::{ids::Sha256, job::JobSpec, load_profile::LoadProfile};
use jiff::Timestamp;
use thiserror::Error;

use crate::{
    artifacts::Artifacts,
    store::{Change, Store, StoreError},
};

/// A file that nobody needs is still there.
#[derive(Debug, Error)]
pub(crate) enum NotRemoved {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("the file {0} cannot be removed")]
    File(Sha256, #[source] io::Error),
}

/// What a job refers to, without what it still waits for.
pub(crate) fn of(spec: &JobSpec) -> Vec<Sha256> {
    let recording = spec.load.as_ref().and_then(LoadProfile::artifact);
    let files = spec.model().into_iter().chain([&spec.payload.artifact]).chain(recording);
    files.filter(|file| !file.is_awaited()).map(|file| file.sha256.clone()).collect()
}

/// Removes those of a deleted job's files that nobody else needs.
pub(crate) async fn remove_unneeded(
    files: &[Sha256],
    artifacts: &Artifacts,
    store: &Store,
    now: Timestamp,
) -> Result<(), NotRemoved> {
    let removal = artifacts.removal().await;
    for file in files {
        if removal.is_promised(file, now) || store.needs(file).await? {
            continue;
        }
        // In this order a file that is listed is there.
        store.commit(vec![Change::ArtifactRemoved(file.clone())]).await?;
        removal.remove(file).await.map_err(|error| NotRemoved::File(file.clone(), error))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::{pin::pin, time::Duration};

    use assay_measure::{job::JobSubject, trial::ArtifactRef, units::Bytes};
    use assay_planning::job_state::JobState;
    use tempfile::TempDir;
    use tokio::time::timeout;

    use super::*;
    use crate::{
        store::{JobRecord, Store},
        tests::support::{MODEL, PAYLOAD, artifact, job_spec},
    };

    const HEAD_START: Duration = Duration::from_millis(300);

    async fn files_without_a_job() -> (TempDir, Artifacts, Store) {
        let scratch = tempfile::tempdir().unwrap();
        let artifacts = Artifacts::open(scratch.path(), Bytes::mib(1)).unwrap();
        for content in [MODEL, PAYLOAD] {
            let mut upload = artifacts.begin(artifact(content)).unwrap();
            upload.take(content.into()).await;
            upload.finish().await.unwrap();
        }
        let store = Store::open(&scratch.path().join("assay.db")).await.unwrap();
        (scratch, artifacts, store)
    }

    fn created(spec: JobSpec) -> Change {
        Change::JobCreated(Box::new(JobRecord {
            number: 1,
            spec,
            created_at: Timestamp::UNIX_EPOCH,
            state: JobState::Pending,
            reason: String::new(),
            planned: None,
        }))
    }

    #[tokio::test]
    async fn a_removal_waits_for_a_job_that_is_being_created_and_then_sees_it() {
        let (_scratch, artifacts, store) = files_without_a_job().await;
        let spec = job_spec("new", &["ml.c5.large"]);
        let files = of(&spec);
        let hold = artifacts.hold().await;
        let mut removing = pin!(remove_unneeded(&files, &artifacts, &store, Timestamp::UNIX_EPOCH));
        // Enough for whoever does not wait.
        assert!(timeout(HEAD_START, removing.as_mut()).await.is_err());
        store.commit(vec![created(spec)]).await.unwrap();
        drop(hold);
        removing.await.unwrap();
        assert!(artifacts.holds(&artifact(MODEL)) && artifacts.holds(&artifact(PAYLOAD)));
    }

    #[tokio::test]
    async fn a_file_that_a_crash_left_behind_serves_the_next_job_and_goes_with_it() {
        let (scratch, _, store) = files_without_a_job().await;
        let spec = job_spec("next", &["ml.c5.large"]);
        // As far as a removal can come before a crash.
        let forgotten = of(&spec).into_iter().map(Change::ArtifactRemoved);
        store.commit(forgotten.collect()).await.unwrap();
        let artifacts = Artifacts::open(scratch.path(), Bytes::mib(1)).unwrap();
        assert!(artifacts.holds(&artifact(MODEL)));
        remove_unneeded(&of(&spec), &artifacts, &store, Timestamp::UNIX_EPOCH).await.unwrap();
        assert!(!artifacts.holds(&artifact(MODEL)) && !artifacts.holds(&artifact(PAYLOAD)));
        // Nothing is left to remove, which is no error.
        remove_unneeded(&of(&spec), &artifacts, &store, Timestamp::UNIX_EPOCH).await.unwrap();
    }

    #[test]
    fn a_job_that_waits_for_its_files_refers_to_none() {
        let mut spec = job_spec("waiting", &["ml.c5.large"]);
        assert_eq!(of(&spec).len(), 2);
        spec.subject = JobSubject::Model { model: ArtifactRef::awaited("model.pt") };
        assert_eq!(of(&spec), [artifact(PAYLOAD).sha256]);
    }
}
