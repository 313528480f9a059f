//! The gRPC services, and the one router that everything on the port shares.
//!
//! Wire types stop here: services convert them, ask [`crate::dispatch`] or the store, and convert
//! back. Web pages and other HTTP APIs add their routes to [`router`].

mod agent_service;
mod agent_wire;
mod fleet_service;
mod fleet_wire;
mod job_service;
pub(crate) mod job_wire;
mod price_service;
mod status;
pub(crate) mod watch;

use std::sync::Arc;

use assay_proto::{
    LARGEST_REQUEST, refusal,
    v1::{
        agent_service_server::AgentServiceServer, fleet_service_server::FleetServiceServer,
        job_service_server::JobServiceServer, price_service_server::PriceServiceServer,
    },
};
use axum::{
    Router,
    extract::{Request, State},
    middleware,
    response::{IntoResponse, Response},
    routing::get,
};
use http::StatusCode;
use tokio_util::sync::CancellationToken;
use tonic::{Code, service::Routes};
use tonic_health::server::HealthReporter;

use crate::{
    artifacts::Artifacts,
    clock::Clock,
    dispatch::DispatchLink,
    sagemaker::Api,
    store::Store,
    tokens::{Tokens, is_grpc, require_token},
    web,
};

/// What the services work with; each is implemented on it.
#[derive(Clone)]
pub(crate) struct Shared {
    pub(crate) dispatch: DispatchLink,
    pub(crate) store: Arc<Store>,
    pub(crate) artifacts: Artifacts,
    pub(crate) clock: Clock,
    /// What the SageMaker API knows, for whoever asks for it another way.
    pub(crate) aws: Arc<Api>,
    /// Cancelled when the coordinator stops: streams without an end of their own end then.
    pub(crate) stopping: CancellationToken,
}

/// Everything on the port. The reporter says over gRPC whether the coordinator is well.
pub(crate) async fn router(shared: Shared, tokens: Option<Tokens>) -> (Router, HealthReporter) {
    let (health, health_service) = tonic_health::server::health_reporter();
    health.set_serving::<AgentServiceServer<Shared>>().await;
    health.set_serving::<JobServiceServer<Shared>>().await;
    health.set_serving::<FleetServiceServer<Shared>>().await;
    health.set_serving::<PriceServiceServer<Shared>>().await;
    let mut routes = Routes::new(health_service)
        .add_service(
            AgentServiceServer::new(shared.clone()).max_decoding_message_size(LARGEST_REQUEST),
        )
        .add_service(
            JobServiceServer::new(shared.clone()).max_decoding_message_size(LARGEST_REQUEST),
        )
        .add_service(
            FleetServiceServer::new(shared.clone()).max_decoding_message_size(LARGEST_REQUEST),
        )
        .add_service(
            PriceServiceServer::new(shared.clone()).max_decoding_message_size(LARGEST_REQUEST),
        );
    // Both versions: Python's client and many tools speak only the older one.
    match (reflection().build_v1(), reflection().build_v1alpha()) {
        (Ok(v1), Ok(v1alpha)) => routes = routes.add_service(v1).add_service(v1alpha),
        (Err(error), _) | (_, Err(error)) => tracing::error!(%error, "no gRPC reflection"),
    }
    let mut router = routes
        .into_axum_router()
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(ready).with_state(shared.stopping))
        .fallback(not_found);
    if let Some(tokens) = tokens {
        router = router.layer(middleware::from_fn_with_state(tokens, require_token));
    }
    (router, health)
}

fn reflection() -> tonic_reflection::server::Builder<'static> {
    tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(assay_proto::FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
}

async fn ready(State(stopping): State<CancellationToken>) -> (StatusCode, &'static str) {
    if stopping.is_cancelled() {
        (StatusCode::SERVICE_UNAVAILABLE, "stopping\n")
    } else {
        (StatusCode::OK, "ready\n")
    }
}

async fn not_found(request: Request) -> Response {
    if is_grpc(&request) {
        let status = refusal(Code::Unimplemented, format!("no method {}", request.uri().path()));
        return status.into_http::<axum::body::Body>().into_response();
    }
    if web::wants_page(request.headers()) {
        return web::page_not_found(request.uri().path());
    }
    (StatusCode::NOT_FOUND, "not found\n").into_response()
}
