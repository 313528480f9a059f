//! JSON 1.1 over HTTP: one URL, the operation in a header, the content in the body.
//!
//! Every answer carries `x-amzn-RequestId`. Clients retry a 5xx, so only a failing store gives one.

use std::{sync::Arc, time::Duration};

use assay_sagemaker::{
    error::{ApiError, ErrorCode},
    operation::Operation,
    request::Request as Asked,
    service::Service,
};
use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    response::Response,
    routing::post,
};
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use serde_json::Value;
use tokio::time::timeout;
use tracing::Instrument;

use crate::{
    random,
    sagemaker::{Api, Caller, dispatch, signature::Gate},
};

/// The largest request: ten times what the largest documents of the API need.
pub(crate) const BODY_LIMIT: usize = 1 << 20;

// A client reads the refusal of a large request only once it has sent the whole; beyond this the
// connection is closed on it.
const DRAIN_LIMIT: usize = 16 << 20;
const BODY_TIMEOUT: Duration = Duration::from_secs(30);
const CONTENT_TYPE: &str = "application/x-amz-json-1.1";
const TARGET: HeaderName = HeaderName::from_static("x-amz-target");
const REQUEST_ID: HeaderName = HeaderName::from_static("x-amzn-requestid");

pub(crate) fn routes(api: Arc<Api>, gate: Gate) -> Router {
    let front = Front { api, gate: Arc::new(gate) };
    Router::new().route("/", post(answer).with_state(front))
}

#[derive(Clone)]
struct Front {
    api: Arc<Api>,
    gate: Arc<Gate>,
}

/// What is known of a request before it is looked into.
struct Opened {
    operation: Operation,
    caller: Caller,
    body: Bytes,
}

async fn answer(State(front): State<Front>, request: Request) -> Response {
    let request_id = random::uuid();
    let target = text_of(request.headers(), &TARGET).unwrap_or_default().to_owned();
    let span = tracing::debug_span!("aws", target, request_id);
    let answered = front.answer(request).instrument(span).await;
    let mut response = match answered {
        Ok(document) => response(StatusCode::OK, document.as_ref()),
        Err(error) => {
            tracing::debug!(%error, target, request_id, "refused");
            refusal(&error, Service::of_target(&target))
        }
    };
    let request_id = HeaderValue::from_str(&request_id).expect("a UUID is a header value");
    response.headers_mut().insert(REQUEST_ID, request_id);
    response
}

impl Front {
    async fn answer(&self, request: Request) -> Result<Option<Value>, ApiError> {
        let Opened { operation, caller, body } = self.open(request).await?;
        let asked = Asked::read(operation, &body)?;
        dispatch(&self.api, asked, &caller).await
    }

    /// Authenticates first: who may not ask learns nothing, not even whether the operation exists.
    async fn open(&self, request: Request) -> Result<Opened, ApiError> {
        let (parts, body) = request.into_parts();
        let claim = self.gate.claim(&parts, self.api.clock.time_of_day())?;
        let body = read(body).await?;
        claim.verify(&parts, &body)?;
        let target = text_of(&parts.headers, &TARGET).ok_or_else(|| {
            ApiError::new(
                ErrorCode::UnknownOperationException,
                "the header X-Amz-Target is missing",
            )
        })?;
        let operation = Operation::from_target(target)?;
        require_json(&parts.headers)?;
        let user_agent = text_of(&parts.headers, &header::USER_AGENT).unwrap_or_default();
        let caller = Caller { user_agent: user_agent.to_owned() };
        Ok(Opened { operation, caller, body })
    }
}

fn text_of<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// Beside what it says, this keeps web pages of other origins out: browsers ask before they send it.
fn require_json(headers: &HeaderMap) -> Result<(), ApiError> {
    let given = text_of(headers, &header::CONTENT_TYPE).unwrap_or_default();
    let essence = given.split(';').next().unwrap_or_default().trim();
    if essence.eq_ignore_ascii_case(CONTENT_TYPE) {
        return Ok(());
    }
    let shown: String = given.chars().take(100).collect();
    Err(ApiError::serialization(format!(
        "the content type is {shown:?}; {CONTENT_TYPE:?} is expected"
    )))
}

async fn read(body: Body) -> Result<Bytes, ApiError> {
    match timeout(BODY_TIMEOUT, collect(body)).await {
        Ok(read) => read,
        Err(_) => Err(ApiError::serialization(format!(
            "the request did not arrive within {} s",
            BODY_TIMEOUT.as_secs()
        ))),
    }
}

async fn collect(body: Body) -> Result<Bytes, ApiError> {
    let mut chunks = body.into_data_stream();
    let mut whole = BytesMut::new();
    let mut size = 0;
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|_| ApiError::serialization("the request broke off"))?;
        size += chunk.len();
        if size <= BODY_LIMIT {
            whole.extend_from_slice(&chunk);
        } else if size > DRAIN_LIMIT {
            break;
        }
    }
    if size > BODY_LIMIT {
        return Err(ApiError::validation(format!("the request has more than {BODY_LIMIT} bytes")));
    }
    Ok(whole.freeze())
}

fn refusal(error: &ApiError, service: Service) -> Response {
    let status =
        StatusCode::from_u16(error.http_status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response(status, Some(&error.body(service)))
}

fn response(status: StatusCode, document: Option<&Value>) -> Response {
    let body = document.map_or_else(Body::empty, |document| Body::from(document.to_string()));
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let content_type = HeaderValue::from_static(CONTENT_TYPE);
    response.headers_mut().insert(header::CONTENT_TYPE, content_type);
    response
}
