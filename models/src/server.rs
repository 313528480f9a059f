//! Listening and shutting down: one listener speaks HTTP/1.1 and HTTP/2, gRPC included, by what the
//! caller sends first.
//!
//! Sockets and protocols live on a small async runtime of their own; the model runs on the engine's
//! threads. On SIGTERM or Ctrl-C no more connections are taken, what is in flight gets five seconds, and
//! a second signal ends even that.

use std::{
    convert::Infallible,
    io,
    net::SocketAddr,
    num::NonZeroUsize,
    pin::{Pin, pin},
    sync::Arc,
    time::Duration,
};

use assay_measure::payload_file;
use assay_proto::{
    FILE_DESCRIPTOR_SET, inference::grpc_inference_service_server::GrpcInferenceServiceServer,
};
use axum::{Router, body::Body, extract::Request, response::Response};
use hyper::{body::Incoming, service::Service};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto::Builder,
};
use thiserror::Error;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, UnixListener},
    runtime::Runtime,
    signal::unix::{SignalKind, signal},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tower::ServiceExt;

use crate::{
    engine::Infer, front_end::InferenceFrontEnd, http, oip_grpc::OipGrpc, payload::DecodeSettings,
};

mod listen;

pub use self::listen::{BindError, Bound, ListenAddress};
pub use crate::oip::ENVELOPE_BYTES;

/// What is in flight when the host is told to stop has this long to finish.
const GRACE: Duration = Duration::from_secs(5);
/// A connection on which no request begins, or none gets whole headers, is closed after this long.
const IDLE_TIMEOUT: Duration = Duration::from_secs(300);
/// HTTP/2: a caller that answers no ping is gone.
const PING_INTERVAL: Duration = Duration::from_secs(30);
const PING_TIMEOUT: Duration = Duration::from_secs(20);
/// HTTP/2 windows that let a picture's tensor through without waiting for permission.
const STREAM_WINDOW_BYTES: u32 = 4 * 1024 * 1024;
const CONNECTION_WINDOW_BYTES: u32 = 16 * 1024 * 1024;
const MAX_CONCURRENT_STREAMS: u32 = 1024;
/// Threads for payloads that take long to decode.
const DECODE_THREADS: usize = 4;

#[expect(clippy::cast_possible_truncation, reason = "256 MiB fit")]
const BODY_LIMIT_BYTES: usize = payload_file::BODY_LIMIT as usize;

#[derive(Clone, Debug, PartialEq)]
pub struct ServerSettings {
    pub decode: DecodeSettings,
    pub max_payload_bytes: usize,
    /// Threads for sockets and protocols.
    pub threads: NonZeroUsize,
}

impl Default for ServerSettings {
    fn default() -> Self {
        Self {
            decode: DecodeSettings::default(),
            max_payload_bytes: BODY_LIMIT_BYTES,
            threads: NonZeroUsize::MIN,
        }
    }
}

#[derive(Debug, Error)]
pub enum ServeError {
    #[error("cannot start the server's threads")]
    Runtime(#[source] io::Error),
    /// The signals that end the host could not be listened for.
    #[error("cannot listen for signals")]
    Signals(#[source] io::Error),
    /// A listening socket could not be handed to the runtime.
    #[error("cannot serve on {address}")]
    Listener { address: String, source: io::Error },
    #[error("cannot describe the gRPC services")]
    Reflection(#[from] tonic_reflection::server::Error),
}

/// Serves until SIGTERM or Ctrl-C. `ready` is called once, with the first listener's address, when
/// callers can connect.
///
/// # Errors
/// [`ServeError`], before `ready` was called.
pub fn serve(
    bound: Vec<Bound>,
    engine: Arc<dyn Infer>,
    settings: &ServerSettings,
    ready: impl FnOnce(&str),
) -> Result<(), ServeError> {
    let runtime = runtime(settings.threads.get()).map_err(ServeError::Runtime)?;
    let outcome = runtime.block_on(async {
        let stop = Stop::default();
        let mut signals = JoinSet::new();
        signals.spawn(watch_signals(&stop).map_err(ServeError::Signals)?);
        serve_until(bound, engine, settings, ready, stop).await
    });
    // A decoder that is still at work must not hold up the end.
    runtime.shutdown_timeout(Duration::from_millis(100));
    outcome
}

fn runtime(threads: usize) -> io::Result<Runtime> {
    // One thread is this very one: no hand-over between threads on the path of a request.
    let mut builder = if threads == 1 {
        tokio::runtime::Builder::new_current_thread()
    } else {
        tokio::runtime::Builder::new_multi_thread()
    };
    builder
        .worker_threads(threads)
        .max_blocking_threads(DECODE_THREADS)
        .thread_name("assay-server")
        .enable_all()
        .build()
}

/// When to stop: gently first, at once if asked again.
#[derive(Clone, Debug, Default)]
pub struct Stop {
    /// No more connections; finish what is in flight.
    pub gently: CancellationToken,
    pub now: CancellationToken,
}

/// Stops gently on the first SIGTERM or Ctrl-C, at once on the second.
fn watch_signals(stop: &Stop) -> io::Result<impl Future<Output = ()> + 'static> {
    let (mut terminate, mut interrupt) =
        (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let asked = [stop.gently.clone(), stop.now.clone()];
    Ok(async move {
        for ask in asked {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            ask.cancel();
        }
    })
}

/// Serves until told to stop; see [`serve`].
///
/// # Errors
/// [`ServeError`], before `ready` was called.
pub async fn serve_until(
    bound: Vec<Bound>,
    engine: Arc<dyn Infer>,
    settings: &ServerSettings,
    ready: impl FnOnce(&str),
    stop: Stop,
) -> Result<(), ServeError> {
    let ServerSettings { decode, max_payload_bytes, .. } = settings.clone();
    let front_end = Arc::new(InferenceFrontEnd::new(engine, decode, max_payload_bytes));
    let front =
        Front { router: router(Arc::clone(&front_end)).await?, front_end: Arc::clone(&front_end) };
    let address = bound.first().map(Bound::url).unwrap_or_default();
    let mut listeners = JoinSet::new();
    for bound in bound {
        let url = bound.url();
        let failed = |source| ServeError::Listener { address: url.clone(), source };
        tracing::info!(address = %url, "listening");
        match bound {
            Bound::Tcp { listener, .. } => {
                let listener = TcpListener::from_std(listener).map_err(failed)?;
                let connect = async move || {
                    let (stream, _) = listener.accept().await?;
                    // Answers are written whole: waiting to fill a packet would only add latency.
                    drop(stream.set_nodelay(true));
                    Ok(stream)
                };
                listeners.spawn(accept(connect, front.clone(), stop.clone()));
            }
            Bound::Unix { listener, file } => {
                let listener = UnixListener::from_std(listener).map_err(failed)?;
                let connect = async move || {
                    // The socket's file stays as long as somebody listens behind it.
                    let _stays = &file;
                    Ok(listener.accept().await?.0)
                };
                listeners.spawn(accept(connect, front.clone(), stop.clone()));
            }
        }
    }
    ready(&address);
    stop.gently.cancelled().await;
    front_end.stop_being_ready();
    while let Some(ended) = listeners.join_next().await {
        if let Err(error) = ended {
            tracing::error!(%error, "a listener failed");
        }
    }
    Ok(())
}

/// Every protocol in one router.
async fn router(front_end: Arc<InferenceFrontEnd>) -> Result<Router, ServeError> {
    let limit = front_end.max_payload_bytes.saturating_add(ENVELOPE_BYTES);
    let grpc = GrpcInferenceServiceServer::new(OipGrpc::new(Arc::clone(&front_end)))
        .max_decoding_message_size(limit)
        .max_encoding_message_size(usize::MAX)
        .accept_compressed(tonic::codec::CompressionEncoding::Gzip);
    let (health, health_service) = tonic_health::server::health_reporter();
    health.set_serving::<GrpcInferenceServiceServer<OipGrpc>>().await;
    let reflection = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
            .with_service_name("inference.GRPCInferenceService")
            .with_service_name("grpc.health.v1.Health")
    };
    let grpc = Routes::new(grpc)
        .add_service(health_service)
        .add_service(reflection().build_v1()?)
        .add_service(reflection().build_v1alpha()?)
        .into_axum_router();
    // tonic brings a fallback of its own; ours answers both kinds of callers.
    Ok(grpc.fallback(http::not_found).merge(http::router(front_end)).with_state(()))
}

/// Serves what connects until told to stop, then drains; the listener ends with `connect`.
async fn accept<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    connect: impl AsyncFn() -> io::Result<S>,
    front: Front,
    stop: Stop,
) {
    let mut connections = Connections::new(front, stop.clone());
    loop {
        tokio::select! {
            () = stop.gently.cancelled() => break,
            accepted = connect() => match accepted {
                Ok(stream) => connections.serve(stream),
                Err(error) => rest_after(&error).await,
            },
            () = connections.reap() => {}
        }
    }
    drop(connect);
    connections.drain().await;
}

/// Too many open files pass when connections end; until then accepting would only spin.
async fn rest_after(error: &io::Error) {
    tracing::warn!(%error, "cannot accept a connection");
    tokio::time::sleep(Duration::from_millis(50)).await;
}

/// What a connection is served by: the path that carries the load directly, every other by the router,
/// whose layers cost a small model's request a microsecond or two.
#[derive(Clone)]
struct Front {
    front_end: Arc<InferenceFrontEnd>,
    router: Router,
}

impl Service<Request<Incoming>> for Front {
    type Response = Response;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response, Infallible>> + Send>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let request = request.map(Body::new);
        if http::is_invocation(&request) {
            let front_end = Arc::clone(&self.front_end);
            return Box::pin(async move { Ok(http::invocations(&front_end, request).await) });
        }
        Box::pin(self.router.clone().oneshot(request))
    }
}

/// The connections of one listener.
struct Connections {
    tasks: JoinSet<()>,
    builder: Builder<TokioExecutor>,
    front: Front,
    stop: Stop,
}

impl Connections {
    fn new(front: Front, stop: Stop) -> Self {
        let mut builder = Builder::new(TokioExecutor::new());
        builder.http1().timer(TokioTimer::new()).header_read_timeout(IDLE_TIMEOUT);
        builder
            .http2()
            .timer(TokioTimer::new())
            .keep_alive_interval(PING_INTERVAL)
            .keep_alive_timeout(PING_TIMEOUT)
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .max_concurrent_streams(MAX_CONCURRENT_STREAMS);
        Self { tasks: JoinSet::new(), builder, front, stop }
    }

    fn serve<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(&mut self, stream: S) {
        let (builder, stop) = (self.builder.clone(), self.stop.gently.clone());
        let service = self.front.clone();
        self.tasks.spawn(async move {
            let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
            let ended = tokio::select! {
                ended = connection.as_mut() => ended,
                () = stop.cancelled() => {
                    connection.as_mut().graceful_shutdown();
                    connection.await
                }
            };
            // Callers go away in every way there is; nothing here is lost by it.
            if let Err(error) = ended {
                tracing::debug!(%error, "a connection ended early");
            }
        });
    }

    /// Takes note of one connection that has ended; waits for ever when there is none.
    async fn reap(&mut self) {
        match self.tasks.join_next().await {
            Some(ended) => report(ended),
            None => std::future::pending().await,
        }
    }

    /// Waits for the connections under the grace period, then leaves them.
    async fn drain(mut self) {
        let all = async {
            while let Some(ended) = self.tasks.join_next().await {
                report(ended);
            }
        };
        let (grace, now) = (tokio::time::sleep(GRACE), self.stop.now.clone());
        tokio::select! {
            () = all => return,
            () = grace => {}
            () = now.cancelled() => {}
        }
        let left = self.tasks.len();
        tracing::warn!(connections = left, "stopped with requests still in flight");
        self.tasks.shutdown().await;
    }
}

fn report(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        tracing::error!(%error, "serving a connection panicked");
    }
}

/// An address that the operating system chose is part of what is announced.
fn url_of(address: SocketAddr) -> String {
    format!("http://{address}")
}
