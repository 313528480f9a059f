//! Models, model packages and their groups, tags: kept, shown, listed and removed.
//!
//! Nothing is done with a model here; jobs read what is kept (`jobs::intake`).

pub(crate) mod groups;
pub(crate) mod metadata;
pub(crate) mod models;
pub(crate) mod packages;
pub(crate) mod tags;

use assay_sagemaker::{
    error::{ApiError, ErrorCode},
    shapes::lists::{ListRequest, SortKey, SortOrder},
    timestamp::Timestamp,
};
use serde::Serialize;
use serde_json::{Value, json};

use crate::{
    sagemaker::{
        Api,
        paging::{self, page_size, position},
    },
    store::registry::{Kind, Position, Resource, ResourceQuery},
};

/// Resources have so many tags at most.
pub(crate) const MOST_TAGS: usize = 50;

/// One page of what is asked for, oldest first unless the request says otherwise, and the token for the next.
/// `narrow` sets further conditions.
async fn page(
    api: &Api,
    kind: Kind,
    request: ListRequest,
    narrow: impl FnOnce(&mut ResourceQuery),
) -> Result<(Vec<Resource>, Option<String>), ApiError> {
    let limit = page_size(request.max_results);
    let mut query = ResourceQuery {
        name_contains: request.name_contains,
        created_after: request.creation_time_after.map(Timestamp::time),
        created_before: request.creation_time_before.map(Timestamp::time),
        sort_by: request.sort_by.unwrap_or(SortKey::CreationTime),
        order: request.sort_order.unwrap_or(SortOrder::Ascending),
        // One more tells whether there is another page.
        limit: limit + 1,
        ..ResourceQuery::all(kind)
    };
    narrow(&mut query);
    let same_list = identity(&query);
    query.after = position::<Position>(&same_list, request.next_token.as_deref())?;
    let mut found = api.store.resources(&query).await?;
    let token = paging::cut(&mut found, limit, &same_list, |last| Position {
        label: last.label().to_owned(),
        created_at: last.created_at,
        number: last.number,
    });
    Ok((found, token))
}

/// What decides on a list and its order.
fn identity(query: &ResourceQuery) -> Value {
    json!([
        query.kind.word(),
        query.name_contains,
        query.created_after,
        query.created_before,
        query.approval,
        query.group,
        query.versioned,
        query.sort_by,
        query.order,
    ])
}

/// The moment of a creation, as exact as the wire: filters by a time that was shown find what it was of.
fn now(api: &Api) -> jiff::Timestamp {
    Timestamp::new(api.clock.now()).time()
}

/// What is kept of a request. Its tags are kept as tags.
fn document(request: impl Serialize) -> Result<Value, ApiError> {
    serde_json::to_value(request).map_err(|error| {
        tracing::error!(%error, "a request cannot be written as JSON");
        ApiError::new(ErrorCode::InternalFailure, "the request cannot be kept")
    })
}

fn conflict(message: impl Into<String>) -> ApiError {
    ApiError::new(ErrorCode::ConflictException, message)
}
