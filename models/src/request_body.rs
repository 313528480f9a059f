//! Reads a request's body into one piece of memory, under a size limit and a time limit.
//!
//! A body that arrives in one piece is taken as it is; otherwise it is gathered into memory allocated
//! once, at the announced length.

use std::{pin::pin, time::Duration};

use axum::{
    body::Body,
    http::{HeaderMap, StatusCode, header},
};
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::Body as _;

use crate::refusal::Refusal;

/// A caller that sends slower than this is given up: no more than the limit may take this long.
const READ_TIMEOUT: Duration = Duration::from_secs(60);
/// What is read and thrown away of a refused body, so that the caller, still writing, gets to read the answer.
const DISCARD_BYTES: usize = 256 * 1024 * 1024;
const DISCARD_TIMEOUT: Duration = Duration::from_secs(2);

pub(crate) async fn read(
    headers: &HeaderMap,
    body: Body,
    limit_bytes: usize,
) -> Result<Bytes, Refusal> {
    if let Some(encoding) =
        headers.get(header::CONTENT_ENCODING).filter(|value| value.as_bytes() != b"identity")
    {
        let encoding = String::from_utf8_lossy(encoding.as_bytes());
        let error =
            format!("content encoding {encoding:?} is not understood; send the payload as it is");
        return Err(Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, error));
    }
    let announced = body.size_hint().exact();
    let mut body = pin!(body);
    let refusal = if announced.is_some_and(|bytes| bytes > limit_bytes as u64) {
        Refusal::too_large(limit_bytes, announced)
    } else {
        let capacity = announced.and_then(|bytes| usize::try_from(bytes).ok());
        // The timer is armed only when the body is not there yet.
        match tokio::time::timeout(READ_TIMEOUT, gather(body.as_mut(), capacity, limit_bytes)).await
        {
            Ok(Ok(bytes)) => return Ok(bytes),
            Ok(Err(GatherError::TooLarge)) => Refusal::too_large(limit_bytes, None),
            Ok(Err(GatherError::Broken(error))) => {
                return Err(Refusal::bad_request("the payload did not arrive whole")
                    .because(error.to_string()));
            }
            Err(_) => {
                let error =
                    format!("the payload did not arrive within {} s", READ_TIMEOUT.as_secs());
                return Err(Refusal::new(StatusCode::REQUEST_TIMEOUT, error));
            }
        }
    };
    // A caller that waits for "100 Continue" has sent nothing, and reading would invite it to.
    if !headers.contains_key(header::EXPECT) {
        drop(tokio::time::timeout(DISCARD_TIMEOUT, discard(body.as_mut())).await);
    }
    Err(refusal)
}

enum GatherError {
    TooLarge,
    Broken(axum::Error),
}

async fn gather(
    mut body: std::pin::Pin<&mut Body>,
    capacity: Option<usize>,
    limit_bytes: usize,
) -> Result<Bytes, GatherError> {
    let Some(first) = next_data(body.as_mut()).await? else { return Ok(Bytes::new()) };
    if first.len() > limit_bytes {
        return Err(GatherError::TooLarge);
    }
    if capacity == Some(first.len()) {
        return Ok(first);
    }
    let mut all = BytesMut::with_capacity(capacity.unwrap_or(2 * first.len()));
    all.extend_from_slice(&first);
    drop(first);
    while let Some(data) = next_data(body.as_mut()).await? {
        if data.len() > limit_bytes - all.len() {
            return Err(GatherError::TooLarge);
        }
        all.extend_from_slice(&data);
    }
    Ok(all.freeze())
}

/// The next non-empty piece; trailers are passed over.
async fn next_data(mut body: std::pin::Pin<&mut Body>) -> Result<Option<Bytes>, GatherError> {
    while let Some(frame) = body.frame().await {
        if let Ok(data) = frame.map_err(GatherError::Broken)?.into_data()
            && !data.is_empty()
        {
            return Ok(Some(data));
        }
    }
    Ok(None)
}

async fn discard(mut body: std::pin::Pin<&mut Body>) {
    let mut read = 0;
    while let Ok(Some(data)) = next_data(body.as_mut()).await {
        read += data.len();
        if read > DISCARD_BYTES {
            return;
        }
    }
}
