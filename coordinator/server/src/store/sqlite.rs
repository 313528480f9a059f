//! The store in one SQLite file: WAL, every commit synced.
//!
//! One connection writes and a few read, so a reader never waits for the disk.

use std::{path::Path, time::Duration};

use sqlx::{
    SqlitePool,
    migrate::Migrator,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};

use super::{Change, StoreError, broken, fail_fast::FailFast, write};

static MIGRATIONS: Migrator = sqlx::migrate!("src/store/migrations");
const READERS: u32 = 3;

/// Where everything durable is kept: one SQLite file.
#[derive(Debug)]
pub(crate) struct Store {
    pub(super) writer: SqlitePool,
    pub(super) readers: SqlitePool,
    pub(super) fail_fast: FailFast,
}

impl Store {
    /// Opens the file, makes it if it does not exist, and brings its schema up to date. A file with a
    /// newer schema is left as it is.
    pub(crate) async fn open(file: &Path) -> Result<Self, StoreError> {
        let options = SqliteConnectOptions::new()
            .filename(file)
            .create_if_missing(true)
            .foreign_keys(true)
            .busy_timeout(Duration::from_secs(10))
            .synchronous(SqliteSynchronous::Full);
        if file.exists() {
            refuse_newer_schema(file, options.clone()).await?;
        }
        let options = options.journal_mode(SqliteJournalMode::Wal);
        let writer = SqlitePoolOptions::new()
            .max_connections(1)
            .idle_timeout(None)
            .max_lifetime(None)
            .connect_with(options.clone())
            .await
            .map_err(broken("open"))?;
        MIGRATIONS.run(&writer).await.map_err(|source| StoreError::Migration { source })?;
        outlast_other_writers(&writer).await?;
        let readers = SqlitePoolOptions::new()
            .max_connections(READERS)
            .connect_lazy_with(options.read_only(true));
        Ok(Self { writer, readers, fail_fast: FailFast::default() })
    }

    /// Makes all changes durable, or none of them.
    pub(crate) async fn commit(&self, changes: Vec<Change>) -> Result<(), StoreError> {
        let write = async {
            let mut transaction = self.writer.begin().await.map_err(broken("write to"))?;
            for change in changes {
                write::apply(&mut transaction, change).await?;
            }
            transaction.commit().await.map_err(broken("write to"))
        };
        self.fail_fast.write(write).await
    }

    /// Waits until a write has failed for good, and says why.
    pub(crate) async fn lost(&self) -> StoreError {
        self.fail_fast.lost().await
    }

    /// Closes the file once everything under way is done.
    pub(crate) async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }
}

/// Waits until what another coordinator was about to commit is in the file, or is not. It runs on a thread of
/// the database driver, which in the same process goes on for a moment after that coordinator was dropped and
/// its data directory was free again; committed after we have read, its entries would take the places of ours.
async fn outlast_other_writers(writer: &SqlitePool) -> Result<(), StoreError> {
    let alone = writer.begin_with("begin immediate").await.map_err(broken("write to"))?;
    alone.rollback().await.map_err(broken("write to"))
}

async fn refuse_newer_schema(file: &Path, options: SqliteConnectOptions) -> Result<(), StoreError> {
    let pool = SqlitePoolOptions::new()
        .max_connections(1)
        .connect_with(options)
        .await
        .map_err(broken("open"))?;
    let found = applied_version(&pool).await;
    pool.close().await;
    let known = MIGRATIONS.iter().map(|migration| migration.version).max();
    match found? {
        Some(found) if Some(found) > known => {
            Err(StoreError::NewerSchema { path: file.to_owned(), found, known: known.unwrap_or(0) })
        }
        Some(_) | None => Ok(()),
    }
}

async fn applied_version(pool: &SqlitePool) -> Result<Option<i64>, StoreError> {
    let tables: i64 =
        sqlx::query_scalar("select count(*) from sqlite_schema where name = '_sqlx_migrations'")
            .fetch_one(pool)
            .await
            .map_err(broken("read the schema version of"))?;
    if tables == 0 {
        return Ok(None);
    }
    sqlx::query_scalar("select max(version) from _sqlx_migrations")
        .fetch_one(pool)
        .await
        .map_err(broken("read the schema version of"))
}

#[cfg(test)]
mod tests {
    use sqlx::{ConnectOptions, Connection};

    use super::*;

    /// Whoever reads too early is done long before.
    const HEAD_START: Duration = Duration::from_millis(300);

    #[tokio::test]
    async fn what_a_coordinator_commits_after_its_end_is_seen_by_the_next() {
        let scratch = tempfile::tempdir().unwrap();
        let file = scratch.path().join("assay.db");
        Store::open(&file).await.unwrap().close().await;
        // The thread of a coordinator that was dropped, in the middle of a commit.
        let mut late = SqliteConnectOptions::new().filename(&file).connect().await.unwrap();
        let mut transaction = late.begin().await.unwrap();
        sqlx::query("insert into deleted_job values ('late', 7, 0)")
            .execute(&mut *transaction)
            .await
            .unwrap();

        let path = file.clone();
        let mut next =
            tokio::spawn(async move { Store::open(&path).await.unwrap().recover().await.unwrap() });
        let early = tokio::time::timeout(HEAD_START, &mut next).await;
        transaction.commit().await.unwrap();
        let recovered = match early {
            Ok(recovered) => recovered.unwrap(),
            Err(_) => next.await.unwrap(),
        };
        assert!(recovered.deleted.contains(&"late".parse().unwrap()), "{recovered:?}");
        assert_eq!(recovered.next_number, 8);
    }
}
