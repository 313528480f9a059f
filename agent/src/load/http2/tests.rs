//! Against tonic, an independent HTTP/2 and gRPC: over real sockets, through the whole generator.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use assay_measure::{
    schedule::Load,
    search::{Purpose, StepPlan},
};
use assay_proto::inference::{
    ModelConfigRequest, ModelConfigResponse, ModelInferRequest, ModelInferResponse,
    ModelMetadataRequest, ModelMetadataResponse, ModelReadyRequest, ModelReadyResponse,
    ModelStatisticsRequest, ModelStatisticsResponse, ServerLiveRequest, ServerLiveResponse,
    ServerMetadataRequest, ServerMetadataResponse, ServerReadyRequest, ServerReadyResponse,
    grpc_inference_service_server::{GrpcInferenceService, GrpcInferenceServiceServer},
};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status};

use super::*;
use crate::load::{
    Generator, GeneratorOptions,
    exchange::Ending,
    figures::{EndedStep, ErrorKind},
};

type Script = dyn Fn(&ModelInferRequest) -> Result<ModelInferResponse, Status> + Send + Sync;

struct Service {
    script: Box<Script>,
    after: Duration,
}

#[tonic::async_trait]
impl GrpcInferenceService for Service {
    async fn model_infer(
        &self,
        request: Request<ModelInferRequest>,
    ) -> Result<Response<ModelInferResponse>, Status> {
        let answer = (self.script)(request.get_ref());
        tokio::time::sleep(self.after).await;
        answer.map(Response::new)
    }
    async fn server_live(
        &self,
        _: Request<ServerLiveRequest>,
    ) -> Result<Response<ServerLiveResponse>, Status> {
        Err(Status::unimplemented(""))
    }
    async fn server_ready(
        &self,
        _: Request<ServerReadyRequest>,
    ) -> Result<Response<ServerReadyResponse>, Status> {
        Err(Status::unimplemented(""))
    }
    async fn model_ready(
        &self,
        _: Request<ModelReadyRequest>,
    ) -> Result<Response<ModelReadyResponse>, Status> {
        Err(Status::unimplemented(""))
    }
    async fn server_metadata(
        &self,
        _: Request<ServerMetadataRequest>,
    ) -> Result<Response<ServerMetadataResponse>, Status> {
        Err(Status::unimplemented(""))
    }
    async fn model_metadata(
        &self,
        _: Request<ModelMetadataRequest>,
    ) -> Result<Response<ModelMetadataResponse>, Status> {
        Err(Status::unimplemented(""))
    }
    async fn model_config(
        &self,
        _: Request<ModelConfigRequest>,
    ) -> Result<Response<ModelConfigResponse>, Status> {
        Err(Status::unimplemented(""))
    }
    async fn model_statistics(
        &self,
        _: Request<ModelStatisticsRequest>,
    ) -> Result<Response<ModelStatisticsResponse>, Status> {
        Err(Status::unimplemented(""))
    }
}

/// Serves on a port of its own until it is dropped.
struct Server {
    runtime: Option<tokio::runtime::Runtime>,
    target: Target,
}

impl Server {
    fn start(
        after: Duration,
        script: impl Fn(&ModelInferRequest) -> Result<ModelInferResponse, Status>
        + Send
        + Sync
        + 'static,
    ) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
        let target = format!("grpc://{}/m", listener.local_addr().unwrap()).parse().unwrap();
        let service = GrpcInferenceServiceServer::new(Service { script: Box::new(script), after })
            .max_decoding_message_size(64 << 20)
            .max_encoding_message_size(64 << 20);
        runtime.spawn(
            tonic::transport::Server::builder()
                .add_service(service)
                .serve_with_incoming(TcpListenerStream::new(listener)),
        );
        Self { runtime: Some(runtime), target }
    }

    fn run(
        &self,
        body: usize,
        options: &GeneratorOptions,
        load: Load,
        duration: Duration,
    ) -> EndedStep {
        let payload = Payload {
            bodies: vec![Bytes::from(vec![5; body])],
            content_type: "application/octet-stream".to_owned(),
            ..Payload::default()
        };
        let inputs = [format!("x=uint8[{body}]").parse().unwrap()];
        let mut generator = Generator::start(
            &self.target,
            &self.target.reach().unwrap(),
            Some(&payload),
            &inputs,
            options,
        )
        .unwrap();
        let verdict_after = Duration::from_secs(20);
        let plan = StepPlan {
            index: 0,
            purpose: Purpose::Fixed,
            load,
            duration,
            continues: false,
            verdict_after,
        };
        generator.submit(&plan).unwrap();
        let result = generator.wait_next().unwrap().unwrap();
        let figures = &result.figures;
        assert_eq!(
            figures.sent,
            figures.answered + figures.errors.total() + figures.outstanding,
            "{figures:?}"
        );
        result
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

fn answer(bytes: usize) -> ModelInferResponse {
    ModelInferResponse {
        raw_output_contents: vec![Bytes::from(vec![1; bytes])],
        ..ModelInferResponse::default()
    }
}

fn burst(count: usize) -> Load {
    Load::Replay { at_us: vec![0; count] }
}

const SHORT: Duration = Duration::from_millis(100);

#[test]
fn calls_arrive_whole_and_are_answered() {
    let server = Server::start(Duration::ZERO, |request| {
        let right = request.model_name == "m"
            && request.inputs[0].name == "x"
            && request.inputs[0].datatype == "UINT8"
            && request.raw_input_contents[0] == vec![5; 64];
        if right { Ok(answer(4)) } else { Err(Status::invalid_argument("not what was sent")) }
    });
    let result =
        server.run(64, &GeneratorOptions::default(), Load::Closed { users: 40 }, 3 * SHORT);
    assert_eq!(result.figures.errors.total(), 0, "{:?}", result.figures.first_failure);
    assert!(result.figures.answered > 40);
    assert_eq!(result.figures.connections_opened, 2, "40 users take two connections of 32");
}

#[test]
fn messages_larger_than_every_window_come_through_in_both_directions() {
    let size = 3 << 20;
    let server = Server::start(Duration::ZERO, move |request| {
        if request.raw_input_contents[0].len() == size {
            Ok(answer(size))
        } else {
            Err(Status::internal("cut"))
        }
    });
    let result = server.run(size, &GeneratorOptions::default(), burst(6), SHORT);
    assert_eq!(
        (result.figures.answered, result.figures.errors.total()),
        (6, 0),
        "{:?}",
        result.figures.first_failure
    );
}

#[test]
fn calls_share_a_connection_and_do_not_wait_for_each_other() {
    let server = Server::start(2 * SHORT, |_| Ok(answer(4)));
    let options = GeneratorOptions { connections: 1, ..GeneratorOptions::default() };
    let result = server.run(8, &options, burst(32), SHORT);
    assert_eq!(
        (result.figures.answered, result.figures.connections_opened, result.figures.waited),
        (32, 1, 0)
    );
    // Each takes 200 ms; one after another they would take 6.4 s.
    assert!(result.figures.latency.max() < 3_000_000, "{}", result.figures.latency.max());
}

#[test]
fn a_status_other_than_ok_is_a_failure_with_its_message() {
    let calls = AtomicU64::new(0);
    let server =
        Server::start(Duration::ZERO, move |_| match calls.fetch_add(1, Ordering::Relaxed) % 3 {
            2 => Err(Status::invalid_argument("shape [1, 4] expected")),
            _ => Ok(answer(4)),
        });
    let result = server.run(8, &GeneratorOptions::default(), burst(30), SHORT);
    assert_eq!((result.figures.answered, result.figures.errors.status), (20, 10));
    let first = result.figures.first_failure.unwrap();
    assert_eq!((first.status, first.message.as_str()), (Some(3), "gRPC status 3"));
    assert_eq!(first.body, b"shape [1, 4] expected");
}

#[test]
fn a_call_that_takes_too_long_is_given_up_and_the_connection_goes_on() {
    let calls = AtomicU64::new(0);
    let server = Server::start(Duration::ZERO, move |_| {
        // Only the first one hangs; this server has one thread, so the others wait behind it.
        if calls.fetch_add(1, Ordering::Relaxed) == 0 {
            std::thread::sleep(Duration::from_millis(900));
        }
        Ok(answer(4))
    });
    let options = GeneratorOptions {
        request_timeout: Duration::from_millis(400),
        ..GeneratorOptions::default()
    };
    let load = Load::Replay { at_us: vec![0, 700_000] };
    let result = server.run(8, &options, load, Duration::from_millis(800));
    assert_eq!(
        (result.figures.errors.timeout, result.figures.answered),
        (1, 1),
        "{:?}",
        result.figures
    );
    assert_eq!(result.figures.connections_opened, 1);
}

#[test]
fn a_server_that_speaks_http1_is_malformed() {
    use crate::load::scripted_server::{Answer, Server as Http1Server};
    let http1 = Http1Server::http(|_| Answer::ok("x"));
    let target = http1.target().to_string().replace("http://", "grpc://") + "/m";
    let server = Server { runtime: None, target: target.parse().unwrap() };
    let options = GeneratorOptions {
        request_timeout: Duration::from_millis(500),
        ..GeneratorOptions::default()
    };
    let result = server.run(8, &options, burst(3), SHORT);
    assert_eq!(
        (result.figures.answered, result.figures.errors.total()),
        (0, 3),
        "{:?}",
        result.figures
    );
}

/// A frame's kind, flags, stream and payload.
type Told<'a> = (Kind, u8, u32, &'a [u8]);

/// A connection that was told something by the peer, with a call in flight.
fn told(frames_sent: &[Told<'_>]) -> (Http2, Result<(), Broken>, Vec<Ended>) {
    let payload = Payload {
        bodies: vec![Bytes::from_static(b"x")],
        content_type: "x".to_owned(),
        ..Payload::default()
    };
    let target: Target = "grpc://127.0.0.1:1/m".parse().unwrap();
    let requests =
        Requests::encode(&target, "m", Some(&payload), &["uint8[1]".parse().unwrap()]).unwrap();
    let mut connection = Http2::new(&Arc::new(requests));
    for _ in 0..2 {
        connection.begin(Ticket {
            run: 1,
            request: 0,
            closed: false,
            waited: false,
            intended_ns: 0,
            sent_ns: 0,
        });
    }
    connection.frame_messages();
    let mut bytes = Vec::new();
    for (kind, flags, stream, payload) in frames_sent {
        frames::push(&mut bytes, *kind, *flags, *stream, payload);
    }
    let mut ended = Vec::new();
    let result = connection.read(&bytes, 1, &mut ended);
    (connection, result, ended)
}

#[test]
fn what_breaks_http2_breaks_the_connection() {
    let bad: [&[Told<'_>]; 9] = [
        &[(Kind::PushPromise, 0, 1, &[0; 4])],
        &[(Kind::Continuation, 0, 1, &[])],
        &[(Kind::Headers, 0, 1, &[0x88]), (Kind::Data, 0, 1, &[])],
        &[(Kind::Headers, frames::END_HEADERS, 1, &[0xbe])],
        &[(Kind::Settings, 0, 0, &[0; 5])],
        &[(Kind::Settings, 0, 0, &[0, 4, 0xff, 0, 0, 0])],
        &[(Kind::WindowUpdate, 0, 0, &WIDEST_WINDOW.to_be_bytes())],
        &[(Kind::WindowUpdate, 0, 0, &[0])],
        &[(Kind::GoAway, 0, 0, &[])],
    ];
    for frames_sent in bad {
        assert!(told(frames_sent).1.is_err(), "{frames_sent:?}");
    }
    let pings = vec![(Kind::Ping, 0, 0, &[0u8; 8][..]); 100_000];
    let (connection, ..) = told(&pings);
    assert!(connection.out.len() <= 4 * OUT_LIMIT + 64, "{}", connection.out.len());
    let settings = vec![(Kind::Settings, 0, 0, &[][..]); 200_000];
    assert!(told(&settings).1.is_err(), "a flood of settings");
}

#[test]
fn resets_and_a_server_going_away_fail_only_their_calls() {
    let (connection, result, ended) = told(&[(Kind::ResetStream, 0, 1, &[0, 0, 0, 7])]);
    assert!(result.is_ok());
    assert_eq!((ended.len(), connection.tickets().count()), (1, 1));
    assert!(
        matches!(&ended[0].ending, Ending::Failed(fault) if fault.kind == ErrorKind::Reset && fault.message.contains('7'))
    );

    let (connection, result, ended) = told(&[(Kind::GoAway, 0, 0, &[0, 0, 0, 1, 0, 0, 0, 0])]);
    assert!(result.is_ok() && connection.spent());
    assert_eq!(
        (ended.len(), connection.tickets().count()),
        (1, 1),
        "call 3 was refused, call 1 goes on"
    );
}

#[test]
fn settings_change_the_windows_of_calls_in_flight() {
    let window = |value: u32| [&[0, 4][..], &value.to_be_bytes()].concat();
    let (connection, result, _) = told(&[(Kind::Settings, 0, 0, &window(10))]);
    assert!(result.is_ok());
    let framed = i64::try_from(connection.requests.messages[0].len()).unwrap();
    assert!(connection.streams.iter().all(|stream| stream.window == 10 - framed));
}

#[test]
fn a_header_block_in_pieces_is_joined() {
    let trailers = [&[0x00, 11][..], b"grpc-status", &[1, b'0']].concat();
    let (head, tail) = trailers.split_at(5);
    let (_, result, ended) = told(&[
        (Kind::Headers, frames::END_HEADERS, 1, &[0x88]),
        (Kind::Data, 0, 1, &[0; 5]),
        (Kind::Headers, frames::END_STREAM, 1, head),
        (Kind::Continuation, frames::END_HEADERS, 1, tail),
    ]);
    assert!(result.is_ok());
    assert!(matches!(ended[..], [Ended { ending: Ending::Answered, .. }]), "{ended:?}");
}

#[test]
fn an_answer_without_status_or_message_is_malformed() {
    let kind = |frames_sent: &[Told<'_>]| match &told(frames_sent).2[..] {
        [Ended { ending: Ending::Failed(fault), .. }] => fault.kind,
        other => panic!("{other:?}"),
    };
    assert_eq!(kind(&[(Kind::Data, frames::END_STREAM, 1, &[0; 5])]), ErrorKind::Malformed);
    let ends = frames::END_STREAM | frames::END_HEADERS;
    assert_eq!(kind(&[(Kind::Headers, ends, 1, &[0x88])]), ErrorKind::Malformed);
    assert_eq!(kind(&[(Kind::Headers, ends, 1, &[0x8d])]), ErrorKind::Status, "HTTP status 404");
    let status = [&[0x00, 11][..], b"grpc-status", &[1, b'0']].concat();
    assert_eq!(kind(&[(Kind::Headers, ends, 1, &status)]), ErrorKind::Malformed, "no message");
}
