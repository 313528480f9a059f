//! The Open Inference Protocol v2 over HTTP: JSON, and tensors as binary data behind it.

use std::sync::Arc;

use assay_proto::inference::{DataType, ModelStatistics, StatisticDuration};
use axum::{
    Json, Router,
    body::Body,
    extract::{Path, Request, State},
    http::{HeaderName, HeaderValue, StatusCode, header},
    response::Response,
    routing::{get, post},
};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{
    front_end::InferenceFrontEnd,
    oip::{self, ENVELOPE_BYTES, OipError},
    refusal::Refusal,
    request_body, statistics,
};

mod message;

/// The length of the JSON part of a body that binary data follows.
const HEADER_LENGTH: HeaderName = HeaderName::from_static("inference-header-content-length");

type Shared = State<Arc<InferenceFrontEnd>>;

/// The model that a path names.
#[derive(Debug, Deserialize)]
struct ModelPath {
    model: String,
    #[serde(default)]
    version: String,
}

pub(crate) fn router() -> Router<Arc<InferenceFrontEnd>> {
    let model = Router::new()
        .route("/", get(metadata))
        .route("/ready", get(model_ready))
        .route("/config", get(config))
        .route("/stats", get(model_statistics))
        .route("/infer", post(infer));
    Router::new()
        .route("/v2", get(server))
        .route("/v2/health/live", get(live))
        .route("/v2/health/ready", get(ready))
        .route("/v2/models/stats", get(all_statistics))
        .nest("/v2/models/{model}", model.clone())
        .nest("/v2/models/{model}/versions/{version}", model)
}

impl From<OipError> for Refusal {
    fn from(error: OipError) -> Self {
        match error {
            unknown @ (OipError::UnknownModel { .. } | OipError::UnknownVersion { .. }) => {
                Self::new(StatusCode::NOT_FOUND, unknown.to_string())
            }
            OipError::Invalid(message) => {
                Self::bad_request("the request is not valid").because(message)
            }
            OipError::Infer(error) => error.into(),
        }
    }
}

async fn live() -> StatusCode {
    StatusCode::OK
}

async fn ready(State(front_end): Shared) -> StatusCode {
    if front_end.is_ready() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }
}

async fn server() -> Json<Value> {
    let server = oip::server_metadata();
    Json(json!({"name": server.name, "version": server.version, "extensions": server.extensions}))
}

async fn model_ready(
    State(front_end): Shared,
    Path(path): Path<ModelPath>,
) -> Result<StatusCode, Refusal> {
    oip::check_model(&front_end, &path.model, &path.version)?;
    Ok(ready(State(front_end)).await)
}

async fn metadata(
    State(front_end): Shared,
    Path(path): Path<ModelPath>,
) -> Result<Json<Value>, Refusal> {
    oip::check_model(&front_end, &path.model, &path.version)?;
    let model = oip::model_metadata(&front_end);
    let tensors = |tensors: &[assay_proto::inference::model_metadata_response::TensorMetadata]| -> Vec<Value> {
        tensors.iter().map(|t| json!({"name": t.name, "datatype": t.datatype, "shape": t.shape})).collect()
    };
    Ok(Json(json!({
        "name": model.name, "versions": model.versions, "platform": model.platform,
        "inputs": tensors(&model.inputs), "outputs": tensors(&model.outputs),
    })))
}

async fn config(
    State(front_end): Shared,
    Path(path): Path<ModelPath>,
) -> Result<Json<Value>, Refusal> {
    oip::check_model(&front_end, &path.model, &path.version)?;
    let config = oip::model_config(&front_end);
    let tensor = |name: &str, data_type: i32, dims: &[i64]| {
        let data_type = DataType::try_from(data_type).unwrap_or(DataType::TypeInvalid);
        json!({"name": name, "data_type": data_type.as_str_name(), "dims": dims})
    };
    let mut value = json!({
        "name": config.name, "platform": config.platform, "backend": config.backend,
        "max_batch_size": config.max_batch_size,
        "input": config.input.iter().map(|t| tensor(&t.name, t.data_type, &t.dims)).collect::<Vec<_>>(),
        "output": config.output.iter().map(|t| tensor(&t.name, t.data_type, &t.dims)).collect::<Vec<_>>(),
    });
    if let Some(batching) = config.dynamic_batching {
        value["dynamic_batching"] = json!({
            "preferred_batch_size": batching.preferred_batch_size,
            "max_queue_delay_microseconds": batching.max_queue_delay_microseconds,
        });
    }
    Ok(Json(value))
}

async fn model_statistics(
    state: Shared,
    Path(path): Path<ModelPath>,
) -> Result<Json<Value>, Refusal> {
    oip::check_model(&state.0, &path.model, &path.version)?;
    Ok(all_statistics(state).await)
}

/// Triton's statistics, and our own beside them.
async fn all_statistics(State(front_end): Shared) -> Json<Value> {
    let snapshot = front_end.statistics.snapshot();
    let batch_sizes = snapshot.batches.iter().map(|batches| {
        json!({"size": batches.size, "batches": batches.passes.count, "compute_ns": batches.passes.ns})
    });
    Json(json!({
        "model_stats": [statistics_json(&oip::model_statistics(&front_end))],
        "assay": {
            "requests": snapshot.requests,
            "errors": snapshot.fail.count,
            "abandoned": snapshot.abandoned,
            "nan_outputs": snapshot.nan_outputs,
            "batches": snapshot.batch_count(),
            "batch_sizes": batch_sizes.collect::<Vec<_>>(),
            "allocator": front_end.facts().allocator.word(),
        },
    }))
}

fn statistics_json(model: &ModelStatistics) -> Value {
    let duration = |duration: Option<StatisticDuration>| {
        let StatisticDuration { count, ns } = duration.unwrap_or_default();
        json!({"count": count, "ns": ns})
    };
    let all = model.inference_stats.unwrap_or_default();
    let batch_stats = model.batch_stats.iter().map(|batch| {
        json!({
            "batch_size": batch.batch_size,
            "compute_input": duration(batch.compute_input),
            "compute_infer": duration(batch.compute_infer),
            "compute_output": duration(batch.compute_output),
        })
    });
    json!({
        "name": model.name, "version": model.version, "last_inference": model.last_inference,
        "inference_count": model.inference_count, "execution_count": model.execution_count,
        "inference_stats": {
            "success": duration(all.success), "fail": duration(all.fail), "queue": duration(all.queue),
            "compute_input": duration(all.compute_input), "compute_infer": duration(all.compute_infer),
            "compute_output": duration(all.compute_output),
            "cache_hit": duration(all.cache_hit), "cache_miss": duration(all.cache_miss),
        },
        "batch_stats": batch_stats.collect::<Vec<_>>(),
    })
}

async fn infer(
    State(front_end): Shared,
    Path(path): Path<ModelPath>,
    request: Request,
) -> Result<Response, Refusal> {
    let mut counted = front_end.statistics.request_arrived();
    let outcome = answer(&front_end, &path, request, &mut counted).await;
    counted.ended(&outcome);
    outcome
}

async fn answer(
    front_end: &Arc<InferenceFrontEnd>,
    path: &ModelPath,
    request: Request,
    counted: &mut statistics::Request<'_>,
) -> Result<Response, Refusal> {
    oip::check_model(front_end, &path.model, &path.version)?;
    let (parts, body) = request.into_parts();
    let header_length = parts.headers.get(HEADER_LENGTH).map(|value| {
        let number = value.to_str().ok().and_then(|text| text.trim().parse::<usize>().ok());
        number.ok_or_else(|| {
            OipError::invalid(format!("Inference-Header-Content-Length is {value:?}, no length"))
        })
    });
    let header_length = header_length.transpose()?;
    let limit = front_end.max_payload_bytes.saturating_add(ENVELOPE_BYTES);
    let body = request_body::read(&parts.headers, body, limit).await?;
    counted.body_read();
    let request = message::read(&body, header_length)?;
    let message::InferRequest { id, inputs, outputs } = request;
    counted.decoded();
    let inferred = front_end.infer(inputs).await?;
    counted.outputs_arrived(&inferred);
    let selected = oip::select(&inferred.outputs, outputs.names.iter().map(String::as_str))?;
    let (body, json_length) =
        message::write(&front_end.facts().name, id.as_deref(), &selected, &outputs);
    let has_binary = json_length < body.len();
    let mut response = Response::new(Body::from(body));
    let kind = if has_binary { "application/octet-stream" } else { "application/json" };
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    if has_binary {
        response.headers_mut().insert(HEADER_LENGTH, HeaderValue::from(json_length));
    }
    Ok(response)
}
