//! gRPC: the Open Inference Protocol v2 with one model, `echo`, whose output is always the same.
//!
//! Only the `id` of a call comes back. The connection's window is obeyed, streams' own are not: no
//! answer is larger than the smallest window that a client starts with.

use std::rc::Rc;

use assay_agent::load::frames::{
    self, FIRST_WINDOW, Frame, FrameReader, Kind, REOPEN_AFTER, TooLong, WIDEST_WINDOW,
};
use assay_proto::inference::{
    DataType, InferStatistics, ModelConfig, ModelConfigResponse, ModelInferResponse, ModelInput,
    ModelMetadataResponse, ModelOutput, ModelReadyResponse, ModelStatistics,
    ModelStatisticsResponse, ServerLiveResponse, ServerMetadataResponse, ServerReadyResponse,
    StatisticDuration, model_infer_response::InferOutputTensor,
    model_metadata_response::TensorMetadata,
};
use prost::{Message, encoding::decode_varint};

use crate::{header_blocks::HeaderBlocks, serving::Protocol};

const MODEL: &str = "echo";
const INPUT_SHAPE: [i64; 2] = [1, 16];
const OUTPUT_SHAPE: [i64; 2] = [1, 4];
const OUTPUT_BYTES: usize = 16;
const ANSWERED: &[u8] = b"\x88\x0f\x10\x10application/grpc";
const SUCCEEDED: &[u8] = b"\x00\x0bgrpc-status\x010";
const UNIMPLEMENTED: &[u8] = b"\x88\x0f\x10\x10application/grpc\x00\x0bgrpc-status\x0212";
const STREAMS: u32 = 1024;
const WINDOW: u32 = 16 << 20;
const MESSAGE_LIMIT: usize = 16 << 20;
const MESSAGE_PREFIX: usize = 5;

const SERVICE: &[u8] = b"/inference.GRPCInferenceService/";

/// A call whose message has not arrived as a whole.
#[derive(Debug)]
struct Call {
    stream: u32,
    path: Rc<[u8]>,
    message: Vec<u8>,
}

#[derive(Debug)]
pub(crate) struct Grpc {
    preface_left: usize,
    reader: FrameReader,
    conversation: Conversation,
}

/// What is said on a connection, after the preface.
#[derive(Debug)]
struct Conversation {
    headers: HeaderBlocks,
    /// The last header block that left the table as it was, and what it asked for.
    last: Option<(Vec<u8>, Rc<[u8]>)>,
    /// A header block that continues.
    block: Option<Vec<u8>>,
    calls: Vec<Call>,
    inferred: Vec<u8>,
    inferences: u64,
    received: u32,
    /// What the peer still takes.
    window: i64,
    /// Answers for which the window was too small.
    held: Vec<(u32, Vec<u8>)>,
}

/// The peer makes no sense.
struct Nonsense;

impl From<TooLong> for Nonsense {
    fn from(_: TooLong) -> Self {
        Self
    }
}

impl Protocol for Grpc {
    fn new(out: &mut Vec<u8>) -> Self {
        let settings = [(frames::SETTING_STREAMS, STREAMS), (frames::SETTING_WINDOW, WINDOW)];
        frames::push_opening(out, &settings);
        Self {
            preface_left: frames::PREFACE.len(),
            reader: FrameReader::default(),
            conversation: Conversation {
                headers: HeaderBlocks::default(),
                last: None,
                block: None,
                calls: Vec::new(),
                inferred: inferred().encode_to_vec(),
                inferences: 0,
                received: 0,
                window: i64::from(FIRST_WINDOW),
                held: Vec::new(),
            },
        }
    }

    fn read(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> bool {
        let preface = self.preface_left.min(bytes.len());
        self.preface_left -= preface;
        let Self { reader, conversation, .. } = self;
        reader.read(&bytes[preface..], |frame| conversation.take(frame, out)).is_ok()
    }
}

impl Conversation {
    fn take(&mut self, frame: Frame<'_>, out: &mut Vec<u8>) -> Result<(), Nonsense> {
        match frame.kind {
            Kind::Headers => {
                let block = frame.content().ok_or(Nonsense)?;
                if frame.has(frames::END_HEADERS) {
                    return self.begin(frame.stream, block);
                }
                self.block = Some(block.to_vec());
            }
            Kind::Continuation => {
                let mut block = self.block.take().ok_or(Nonsense)?;
                block.extend_from_slice(frame.payload);
                if frame.has(frames::END_HEADERS) {
                    return self.begin(frame.stream, &block);
                }
                self.block = Some(block);
            }
            Kind::Data => return self.data(frame, out),
            Kind::ResetStream => self.calls.retain(|call| call.stream != frame.stream),
            Kind::Settings if !frame.has(frames::ACK) => {
                frames::push(out, Kind::Settings, frames::ACK, 0, &[]);
            }
            Kind::Ping if !frame.has(frames::ACK) => {
                frames::push(out, Kind::Ping, frames::ACK, 0, frame.payload);
            }
            Kind::WindowUpdate if frame.stream == 0 => {
                self.window += i64::from(frame.number().ok_or(Nonsense)? & WIDEST_WINDOW);
                for (stream, message) in std::mem::take(&mut self.held) {
                    self.answer(stream, message, out);
                }
            }
            Kind::Settings
            | Kind::Ping
            | Kind::WindowUpdate
            | Kind::GoAway
            | Kind::PushPromise
            | Kind::Other => {}
        }
        Ok(())
    }

    fn begin(&mut self, stream: u32, block: &[u8]) -> Result<(), Nonsense> {
        let known = self.last.as_ref().filter(|(last, _)| last == block);
        let path = if let Some((_, path)) = known {
            Rc::clone(path)
        } else {
            let fields = self.headers.read(block).ok_or(Nonsense)?;
            let path: Rc<[u8]> = fields.path.unwrap_or_default().into();
            self.last = fields.changes_nothing.then(|| (block.to_vec(), Rc::clone(&path)));
            path
        };
        self.calls.push(Call { stream, path, message: Vec::new() });
        Ok(())
    }

    fn data(&mut self, frame: Frame<'_>, out: &mut Vec<u8>) -> Result<(), Nonsense> {
        self.received += u32::try_from(frame.payload.len()).unwrap_or(u32::MAX);
        if self.received >= REOPEN_AFTER {
            frames::push(out, Kind::WindowUpdate, 0, 0, &self.received.to_be_bytes());
            self.received = 0;
        }
        let content = frame.content().ok_or(Nonsense)?;
        let Some(place) = self.calls.iter().position(|call| call.stream == frame.stream) else {
            return Ok(());
        };
        if !frame.has(frames::END_STREAM) {
            let message = &mut self.calls[place].message;
            message.extend_from_slice(content);
            return if message.len() > MESSAGE_LIMIT { Err(Nonsense) } else { Ok(()) };
        }
        let mut call = self.calls.remove(place);
        let message = if call.message.is_empty() {
            content
        } else {
            call.message.extend_from_slice(content);
            &call.message
        };
        match self.message(&call.path, message.get(MESSAGE_PREFIX..).unwrap_or_default()) {
            Some(message) => self.answer(call.stream, message, out),
            None => {
                let flags = frames::END_HEADERS | frames::END_STREAM;
                frames::push(out, Kind::Headers, flags, call.stream, UNIMPLEMENTED);
            }
        }
        Ok(())
    }

    /// Head, message and trailers of an answer, once the window is wide enough.
    fn answer(&mut self, stream: u32, message: Vec<u8>, out: &mut Vec<u8>) {
        let length = i64::try_from(message.len()).unwrap_or(i64::MAX);
        if length > self.window {
            self.held.push((stream, message));
            return;
        }
        self.window -= length;
        frames::push(out, Kind::Headers, frames::END_HEADERS, stream, ANSWERED);
        frames::push(out, Kind::Data, 0, stream, &message);
        let flags = frames::END_HEADERS | frames::END_STREAM;
        frames::push(out, Kind::Headers, flags, stream, SUCCEEDED);
    }

    /// The answer's message with its prefix; `None` for methods that are not there.
    fn message(&mut self, path: &[u8], request: &[u8]) -> Option<Vec<u8>> {
        Some(match path.strip_prefix(SERVICE)? {
            b"ModelInfer" => {
                self.inferences += 1;
                let mut message = Vec::with_capacity(MESSAGE_PREFIX + self.inferred.len() + 32);
                message.extend_from_slice(&[0; MESSAGE_PREFIX]);
                message.extend_from_slice(&self.inferred);
                // Fields may stand in any order, and this one has the same number in both messages.
                message.extend_from_slice(id_field(request));
                prefixed(message)
            }
            b"ServerLive" => framed(&ServerLiveResponse { live: true }),
            b"ServerReady" => framed(&ServerReadyResponse { ready: true }),
            b"ModelReady" => framed(&ModelReadyResponse { ready: true }),
            b"ServerMetadata" => framed(&ServerMetadataResponse {
                name: "echo_server".to_owned(),
                version: env!("CARGO_PKG_VERSION").to_owned(),
                extensions: vec!["model_configuration".to_owned(), "statistics".to_owned()],
            }),
            b"ModelMetadata" => framed(&metadata()),
            b"ModelConfig" => framed(&ModelConfigResponse { config: Some(config()) }),
            b"ModelStatistics" => framed(&statistics(self.inferences)),
            _ => return None,
        })
    }
}

fn framed(message: &impl Message) -> Vec<u8> {
    let mut bytes = vec![0; MESSAGE_PREFIX];
    bytes.extend(message.encode_to_vec());
    prefixed(bytes)
}

/// Fills in the length of a message that begins with room for its prefix.
fn prefixed(mut bytes: Vec<u8>) -> Vec<u8> {
    let length = u32::try_from(bytes.len() - MESSAGE_PREFIX).unwrap_or(u32::MAX);
    bytes[1..MESSAGE_PREFIX].copy_from_slice(&length.to_be_bytes());
    bytes
}

/// The field `id` of a `ModelInferRequest`, as it stands in the message; empty when there is none.
fn id_field(request: &[u8]) -> &[u8] {
    let mut rest = request;
    while let Some((&key, after)) = rest.split_first() {
        // Every field of the request is one with a length.
        let mut value = after;
        let Ok(length) = decode_varint(&mut value) else { return &[] };
        let Ok(length) = usize::try_from(length) else { return &[] };
        let Some(next) = value.get(length..) else { return &[] };
        if key == ID_KEY {
            return &rest[..rest.len() - next.len()];
        }
        rest = next;
    }
    &[]
}

/// Field 3, with a length.
const ID_KEY: u8 = 3 << 3 | 2;

fn inferred() -> ModelInferResponse {
    ModelInferResponse {
        model_name: MODEL.to_owned(),
        model_version: "1".to_owned(),
        outputs: vec![InferOutputTensor {
            name: "output_0".to_owned(),
            datatype: "FP32".to_owned(),
            shape: OUTPUT_SHAPE.to_vec(),
            ..InferOutputTensor::default()
        }],
        raw_output_contents: vec![vec![0; OUTPUT_BYTES].into()],
        ..ModelInferResponse::default()
    }
}

fn metadata() -> ModelMetadataResponse {
    let tensor = |name: &str, shape: [i64; 2]| TensorMetadata {
        name: name.to_owned(),
        datatype: "FP32".to_owned(),
        shape: shape.to_vec(),
    };
    ModelMetadataResponse {
        name: MODEL.to_owned(),
        versions: vec!["1".to_owned()],
        platform: "echo".to_owned(),
        inputs: vec![tensor("input_0", INPUT_SHAPE)],
        outputs: vec![tensor("output_0", OUTPUT_SHAPE)],
    }
}

fn config() -> ModelConfig {
    let data_type = DataType::TypeFp32.into();
    ModelConfig {
        name: MODEL.to_owned(),
        platform: "echo".to_owned(),
        input: vec![ModelInput {
            name: "input_0".to_owned(),
            data_type,
            dims: INPUT_SHAPE.to_vec(),
        }],
        output: vec![ModelOutput {
            name: "output_0".to_owned(),
            data_type,
            dims: OUTPUT_SHAPE.to_vec(),
        }],
        ..ModelConfig::default()
    }
}

fn statistics(inferences: u64) -> ModelStatisticsResponse {
    // No call takes any time worth telling, but a client divides by these.
    let spent = || Some(StatisticDuration { count: inferences, ns: inferences });
    ModelStatisticsResponse {
        model_stats: vec![ModelStatistics {
            name: MODEL.to_owned(),
            version: "1".to_owned(),
            inference_count: inferences,
            execution_count: inferences,
            inference_stats: Some(InferStatistics {
                success: spent(),
                queue: spent(),
                compute_input: spent(),
                compute_infer: spent(),
                compute_output: spent(),
                ..InferStatistics::default()
            }),
            ..ModelStatistics::default()
        }],
    }
}
