//! What keeps a file although no job in the store refers to it yet: a job is being created with it, or an
//! upload was answered and its job is still to come.
//!
//! Lives in memory. A restart forgets promises, which removes nothing: files go only when a job is deleted.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use assay_measure::ids::Sha256;
use jiff::{SignedDuration, Timestamp};
use tokio::sync::{OwnedRwLockReadGuard, OwnedRwLockWriteGuard, RwLock};

/// Who uploads creates the job next; a model that waits longer has been abandoned.
const PROMISE_TERM: SignedDuration = SignedDuration::from_hours(1);

/// Shared by everybody who stores, uses or removes files.
#[derive(Clone, Debug, Default)]
pub(super) struct Holds {
    removal: Arc<RwLock<()>>,
    promises: Arc<Mutex<BTreeMap<Sha256, Promise>>>,
}

/// As long as it lives, no file is removed. To be held briefly: who removes waits, and others behind it.
#[derive(Debug)]
pub(crate) struct Hold {
    _shared: OwnedRwLockReadGuard<()>,
}

/// Jobs to come that were told that a file is there.
#[derive(Clone, Copy, Debug)]
struct Promise {
    jobs: u32,
    until: Timestamp,
}

impl Holds {
    pub(super) async fn hold(&self) -> Hold {
        Hold { _shared: Arc::clone(&self.removal).read_owned().await }
    }

    /// Nobody holds anything as long as the answer lives.
    pub(super) async fn alone(&self) -> OwnedRwLockWriteGuard<()> {
        Arc::clone(&self.removal).write_owned().await
    }

    pub(super) fn promise(&self, file: &Sha256, now: Timestamp) {
        let until = now.saturating_add(PROMISE_TERM).unwrap_or(Timestamp::MAX);
        self.with_promises(now, |promises| {
            let promise = promises.entry(file.clone()).or_insert(Promise { jobs: 0, until });
            *promise = Promise { jobs: promise.jobs.saturating_add(1), until };
        });
    }

    /// A job has come for the file.
    pub(super) fn fulfil(&self, file: &Sha256, now: Timestamp) {
        self.with_promises(now, |promises| {
            if let Some(promise) = promises.get_mut(file) {
                promise.jobs -= 1;
                if promise.jobs == 0 {
                    promises.remove(file);
                }
            }
        });
    }

    pub(super) fn is_promised(&self, file: &Sha256, now: Timestamp) -> bool {
        self.with_promises(now, |promises| promises.contains_key(file))
    }

    fn with_promises<T>(
        &self,
        now: Timestamp,
        act: impl FnOnce(&mut BTreeMap<Sha256, Promise>) -> T,
    ) -> T {
        let mut promises = self.promises.lock().unwrap_or_else(PoisonError::into_inner);
        promises.retain(|_, promise| promise.until > now);
        act(&mut promises)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_promise_ends_with_its_last_job_or_with_its_time() {
        let holds = Holds::default();
        let file: Sha256 = "a".repeat(64).parse().unwrap();
        let now = Timestamp::UNIX_EPOCH;
        assert!(!holds.is_promised(&file, now));
        holds.promise(&file, now);
        holds.promise(&file, now);
        holds.fulfil(&file, now);
        assert!(holds.is_promised(&file, now), "a second job is still to come");
        holds.fulfil(&file, now);
        assert!(!holds.is_promised(&file, now));
        // A job that needed no upload takes nothing from anybody.
        holds.fulfil(&file, now);
        holds.promise(&file, now);
        assert!(holds.is_promised(&file, now));
        assert!(!holds.is_promised(&file, now + PROMISE_TERM));
    }
}
