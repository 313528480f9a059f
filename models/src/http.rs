//! SageMaker's container contract, `GET /ping` and `POST /invocations`, and the router of everything HTTP.

use std::sync::Arc;

use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use bytes::Bytes;

use crate::{
    engine::{InferError, Inferred},
    front_end::InferenceFrontEnd,
    oip_http,
    payload::{self, ContentType, Decoded, Open},
    refusal::Refusal,
    request_body,
    response::{self, Encoded, ResponseFormat},
    statistics,
    tensor::WireTensor,
};

const INVOCATIONS: &str = "/invocations";
/// For answers of bare elements: what they are.
const OUTPUTS_HEADER: HeaderName = HeaderName::from_static("x-assay-outputs");

/// All HTTP routes; no fallback, so that it can be merged with others (see [`not_found`]).
pub(crate) fn router(front_end: Arc<InferenceFrontEnd>) -> Router {
    Router::new()
        .route("/ping", get(ping))
        .route(
            INVOCATIONS,
            post(|State(front_end), request| async move { invocations(&front_end, request).await }),
        )
        .merge(oip_http::router())
        .method_not_allowed_fallback(method_not_allowed)
        .with_state(front_end)
}

/// The answer for a path that nothing is served under.
pub(crate) async fn not_found(request: Request) -> Response {
    let is_grpc = request
        .headers()
        .get(header::CONTENT_TYPE)
        .is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"));
    if is_grpc {
        return assay_proto::refusal(
            tonic::Code::Unimplemented,
            format!("no method {}", request.uri().path()),
        )
        .into_http();
    }
    Refusal::new(StatusCode::NOT_FOUND, format!("nothing is served at {}", request.uri().path()))
        .hint("GET /ping, POST /invocations, GET /v2, POST /v2/models/NAME/infer")
        .into_response()
}

async fn method_not_allowed(request: Request) -> Response {
    let error = format!("{} is not allowed at {}", request.method(), request.uri().path());
    Refusal::new(StatusCode::METHOD_NOT_ALLOWED, error).into_response()
}

async fn ping(State(front_end): State<Arc<InferenceFrontEnd>>) -> Response {
    if front_end.is_ready() {
        return StatusCode::OK.into_response();
    }
    Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "the model host is stopping").into_response()
}

/// Whether a request is one for [`invocations`].
pub(crate) fn is_invocation(request: &Request) -> bool {
    request.method() == Method::POST && request.uri().path() == INVOCATIONS
}

/// Decodes a payload, runs the model and encodes what it returns.
pub(crate) async fn invocations(front_end: &Arc<InferenceFrontEnd>, request: Request) -> Response {
    let mut counted = front_end.statistics.request_arrived();
    let outcome = invoke(front_end, request, &mut counted).await;
    counted.ended(&outcome);
    outcome.unwrap_or_else(Refusal::into_response)
}

async fn invoke(
    front_end: &Arc<InferenceFrontEnd>,
    request: Request,
    counted: &mut statistics::Request<'_>,
) -> Result<Response, Refusal> {
    let (parts, body) = request.into_parts();
    let content_type = content_type(&parts.headers)?;
    let accept = parts
        .headers
        .get(header::ACCEPT)
        .map(|value| value.to_str().unwrap_or("an unreadable header"));
    let format = ResponseFormat::negotiate(accept)?;
    let body = request_body::read(&parts.headers, body, front_end.max_payload_bytes).await?;
    counted.body_read();
    let Decoded { tensors, open } = decode(front_end, content_type, body.clone()).await?;
    counted.decoded();
    let inferred = match open {
        None => {
            drop(body);
            front_end.infer(tensors).await?
        }
        Some(open) => infer_as_taken(front_end, content_type, &body, tensors, open).await?,
    };
    counted.outputs_arrived(&inferred);
    Ok(to_response(format, response::encode(format, &inferred.outputs)?))
}

fn content_type(headers: &HeaderMap) -> Result<ContentType, Refusal> {
    let value = headers
        .get(header::CONTENT_TYPE)
        .map_or("", |value| value.to_str().unwrap_or("an unreadable header"));
    Ok(ContentType::parse(value)?)
}

/// Runs the model on numbers whose types nobody has declared: if it raises, with those that it takes instead.
async fn infer_as_taken(
    front_end: &Arc<InferenceFrontEnd>,
    content_type: ContentType,
    body: &Bytes,
    tensors: Vec<WireTensor>,
    open: Open,
) -> Result<Inferred, Refusal> {
    let raised = match front_end.infer(tensors).await {
        Ok(inferred) => {
            front_end.number_types.accepted(open);
            return Ok(inferred);
        }
        Err(raised @ InferError::ModelRaised { .. }) => raised,
        Err(other) => return Err(other.into()),
    };
    for dtypes in open.others() {
        let (shared, body) = (Arc::clone(front_end), body.clone());
        let expected = open.expecting(&dtypes, &front_end.expected);
        let decode = move || payload::decode(content_type, &body, &expected, &shared.decode);
        let Ok(Ok(tensors)) = tokio::task::spawn_blocking(decode).await else { continue };
        if let Ok(inferred) = front_end.infer(tensors).await {
            front_end.number_types.wants(open, dtypes);
            return Ok(inferred);
        }
    }
    Err(raised.into())
}

/// Decodes at once what is quick, and pictures and long texts on a thread that may take its time.
async fn decode(
    front_end: &Arc<InferenceFrontEnd>,
    content_type: ContentType,
    body: Bytes,
) -> Result<Decoded, Refusal> {
    let is_slow = content_type.is_slow_to_decode(body.len());
    let shared = Arc::clone(front_end);
    let decode = move || {
        let (expected, settings) = (&shared.expected, &shared.decode);
        shared.number_types.decode(content_type, &body, expected, settings)
    };
    if !is_slow {
        return Ok(decode()?);
    }
    tokio::task::spawn_blocking(decode)
        .await
        .map_err(|error| {
            Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "the payload could not be decoded")
                .because(error.to_string())
        })?
        .map_err(Refusal::from)
}

fn to_response(format: ResponseFormat, Encoded { body, layout }: Encoded) -> Response {
    let mut response = Response::new(Body::from(body));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(format.as_str()));
    if let Some(layout) = layout.and_then(|layout| HeaderValue::try_from(layout).ok()) {
        response.headers_mut().insert(OUTPUTS_HEADER, layout);
    }
    response
}
