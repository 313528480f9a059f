//! Between columns and domain types.

use std::str::FromStr;

use assay_proto::agent::Malformed;
use jiff::Timestamp;
use prost::Message;
use serde::{Serialize, de::DeserializeOwned};
use sqlx::{
    Decode, Row, Sqlite, SqliteConnection, Type,
    query::Query,
    sqlite::{SqliteArguments, SqliteRow},
};

use super::{StoreError, broken};

/// A domain type as JSON text.
pub(super) fn json<T: Serialize>(what: &'static str, value: &T) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(|error| damaged(what, error))
}

/// A domain type from JSON text.
pub(super) fn from_json<T: DeserializeOwned>(
    what: &'static str,
    text: &str,
) -> Result<T, StoreError> {
    serde_json::from_str(text).map_err(|error| damaged(what, error))
}

/// A domain type from the message that is kept of it.
pub(super) fn from_message<M, T>(what: &'static str, bytes: &[u8]) -> Result<T, StoreError>
where
    M: Message + Default,
    T: TryFrom<M, Error = Malformed>,
{
    let message = M::decode(bytes).map_err(|error| damaged(what, error))?;
    message.try_into().map_err(|error| damaged(what, error))
}

/// A domain type from its own text.
pub(super) fn parse<T>(what: &'static str, text: &str) -> Result<T, StoreError>
where
    T: FromStr,
    T::Err: std::error::Error + Send + Sync + 'static,
{
    text.parse().map_err(|error| damaged(what, error))
}

/// A time as a column holds it.
pub(super) fn micros(at: Timestamp) -> i64 {
    at.as_microsecond()
}

/// A time from its column.
pub(super) fn timestamp(micros: i64) -> Result<Timestamp, StoreError> {
    Timestamp::from_microsecond(micros).map_err(|error| damaged("a time", error))
}

/// A count as a column holds it; none comes near the limit.
pub(super) fn count(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// A count from its column.
pub(super) fn uncount(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(0)
}

/// Carries a change out; what cannot be done is said when it fails.
pub(super) async fn execute(
    db: &mut SqliteConnection,
    action: &'static str,
    query: Query<'_, Sqlite, SqliteArguments>,
) -> Result<(), StoreError> {
    query.execute(db).await.map_err(broken(action))?;
    Ok(())
}

pub(super) fn column<'r, T>(row: &'r SqliteRow, name: &str) -> Result<T, StoreError>
where
    T: Decode<'r, Sqlite> + Type<Sqlite>,
{
    row.try_get(name).map_err(broken("read a column of"))
}

fn damaged(what: &str, source: impl std::error::Error + Send + Sync + 'static) -> StoreError {
    StoreError::Damaged { what: what.to_owned(), source: Box::new(source) }
}
