//! gRPC over HTTP/2 without TLS: unary calls of one method, several at once on a connection, sent from
//! messages encoded once.
//!
//! The client forbids server push and the dynamic header table, and opens its windows so wide that
//! responses never wait for it.

use std::sync::Arc;

use assay_measure::input_spec::InputSpec;
use bytes::Bytes;
use rustix::io::Errno;

use super::{
    exchange::{Broken, Ended, Ending, Exchange, Fault, Socket, Ticket},
    figures::ErrorKind,
    frames::{self, Frame, FrameReader, Kind, TooLong},
    hpack::{self, Names, RequestHeaders, Statuses},
    infer_request::{self, RequestError},
    response::BODY_LIMIT,
};
use crate::{payload::Payload, target::Target};

const INFER_PATH: &str = "/inference.GRPCInferenceService/ModelInfer";
/// Calls at once on one connection, for messages that fit into one frame. Larger ones would stand in
/// each other's way, so they get a connection each.
const STREAMS: u32 = 32;
/// The window that the protocol starts from.
const FIRST_WINDOW: i64 = 65_535;
const WIDEST_WINDOW: u32 = 0x7fff_ffff;
/// The connection's window is opened again after so many bytes.
const REOPEN_AFTER: u32 = 1 << 30;
/// No more is prepared for writing than this and a frame.
const OUT_LIMIT: usize = 256 << 10;
const LAST_STREAM: u32 = 0x7fff_ffff;
const HEADER_BLOCK_LIMIT: usize = 64 << 10;

const SETTING_TABLE_SIZE: u16 = 1;
const SETTING_PUSH: u16 = 2;
const SETTING_STREAMS: u16 = 3;
const SETTING_WINDOW: u16 = 4;
const SETTING_FRAME_SIZE: u16 = 5;

const CANCEL: u32 = 8;

/// Encoded calls.
#[derive(Debug)]
pub(crate) struct Requests {
    headers: RequestHeaders,
    messages: Vec<Bytes>,
    names: Names,
}

impl Requests {
    /// One `ModelInfer` call for each body.
    pub(crate) fn encode(target: &Target, model: &str, payload: Option<&Payload>, inputs: &[InputSpec]) -> Result<Self, RequestError> {
        Ok(Self {
            headers: RequestHeaders::grpc(&target.authority(), INFER_PATH),
            messages: infer_request::encode(model, payload, inputs)?,
            names: Names::new(),
        })
    }
}

/// One call in flight.
#[derive(Debug)]
struct Stream {
    id: u32,
    ticket: Ticket,
    /// Bytes of the message that were framed.
    framed: usize,
    window: i64,
    statuses: Statuses,
    /// Bytes of the answer's message so far.
    received: u64,
}

/// One connection.
#[derive(Debug)]
pub(crate) struct Http2 {
    requests: Arc<Requests>,
    reader: FrameReader,
    out: Vec<u8>,
    written: usize,
    streams: Vec<Stream>,
    next_id: u32,
    /// Calls whose message is not wholly framed.
    unsent: usize,
    window: i64,
    peer_window: i64,
    peer_frame: usize,
    peer_streams: u32,
    /// The peer keeps a table of header fields.
    table: bool,
    /// The peer must be told that its table will not be used.
    table_refused: bool,
    settings_seen: bool,
    table_filled: bool,
    received: u32,
    spent: bool,
    /// A header block that continues: its stream, whether that ends with it, and what came so far.
    block: Option<(u32, bool, Vec<u8>)>,
}

impl From<TooLong> for Broken {
    fn from(_: TooLong) -> Self {
        Self("an HTTP/2 frame is longer than allowed".to_owned())
    }
}

fn broken(what: &str) -> Broken {
    Broken(format!("the answer breaks HTTP/2: {what}"))
}

impl Http2 {
    fn stream(&mut self, id: u32) -> Option<&mut Stream> {
        self.streams.iter_mut().find(|stream| stream.id == id)
    }

    fn remove(&mut self, id: u32) -> Option<Stream> {
        let at = self.streams.iter().position(|stream| stream.id == id)?;
        let stream = self.streams.remove(at);
        if stream.framed < self.requests.messages[stream.ticket.request as usize].len() {
            self.unsent -= 1;
        }
        Some(stream)
    }

    /// Frames messages as far as windows and the output buffer allow.
    fn frame_messages(&mut self) {
        let Self { requests, out, streams, unsent, window, peer_frame, .. } = self;
        for stream in streams.iter_mut() {
            let message = &requests.messages[stream.ticket.request as usize];
            while stream.framed < message.len() && *window > 0 && stream.window > 0 && out.len() < OUT_LIMIT {
                let rest = &message[stream.framed..];
                let allowed = usize::try_from((*window).min(stream.window)).unwrap_or(0);
                let part = &rest[..rest.len().min(*peer_frame).min(allowed)];
                let last = part.len() == rest.len();
                frames::push(out, Kind::Data, if last { frames::END_STREAM } else { 0 }, stream.id, part);
                stream.framed += part.len();
                let sent = i64::try_from(part.len()).unwrap_or(i64::MAX);
                stream.window -= sent;
                *window -= sent;
                if last {
                    *unsent -= 1;
                }
            }
            if *window <= 0 || out.len() >= OUT_LIMIT || *unsent == 0 {
                break;
            }
        }
    }

    fn take(&mut self, frame: Frame<'_>, at_ns: u64, ended: &mut Vec<Ended>) -> Result<(), Broken> {
        if self.block.is_some() && frame.kind != Kind::Continuation {
            return Err(broken("a header block is interrupted"));
        }
        match frame.kind {
            Kind::Data => self.take_data(frame, at_ns, ended),
            Kind::Headers => {
                let content = frame.content().ok_or_else(|| broken("padding"))?;
                let ends = frame.has(frames::END_STREAM);
                if frame.has(frames::END_HEADERS) {
                    return self.take_headers(frame.stream, ends, content, at_ns, ended);
                }
                self.block = Some((frame.stream, ends, content.to_vec()));
                Ok(())
            }
            Kind::Continuation => self.take_continuation(frame, at_ns, ended),
            Kind::ResetStream => {
                if let Some(stream) = self.remove(frame.stream) {
                    let code = frame.number().unwrap_or(0);
                    let fault = Fault::new(ErrorKind::Reset, format!("the server reset the call (HTTP/2 error {code})"));
                    ended.push(Ended { ticket: stream.ticket, ending: Ending::Failed(Box::new(fault)), at_ns });
                }
                Ok(())
            }
            Kind::Settings => self.take_settings(frame),
            Kind::Ping => {
                if !frame.has(frames::ACK) && self.out.len() < OUT_LIMIT {
                    frames::push(&mut self.out, Kind::Ping, frames::ACK, 0, frame.payload);
                }
                Ok(())
            }
            Kind::GoAway => {
                self.spent = true;
                let last = frame.number().ok_or_else(|| broken("GOAWAY"))? & LAST_STREAM;
                let fault = Fault::new(ErrorKind::Reset, "the server is going away");
                let refused: Vec<u32> = self.streams.iter().map(|stream| stream.id).filter(|&id| id > last).collect();
                for stream in refused.into_iter().filter_map(|id| self.remove(id)) {
                    ended.push(Ended { ticket: stream.ticket, ending: Ending::Failed(Box::new(fault.clone())), at_ns });
                }
                Ok(())
            }
            Kind::WindowUpdate => self.take_window_update(frame),
            Kind::PushPromise => Err(broken("a push that was forbidden")),
            Kind::Other => Ok(()),
        }
    }

    fn take_data(&mut self, frame: Frame<'_>, at_ns: u64, ended: &mut Vec<Ended>) -> Result<(), Broken> {
        // The padding counts too (RFC 9113, 6.9.1).
        self.received += u32::try_from(frame.payload.len()).unwrap_or(u32::MAX);
        if self.received >= REOPEN_AFTER {
            frames::push(&mut self.out, Kind::WindowUpdate, 0, 0, &self.received.to_be_bytes());
            self.received = 0;
        }
        if let Some(stream) = self.stream(frame.stream) {
            stream.received += frame.payload.len() as u64;
            if stream.received > BODY_LIMIT {
                return Err(Broken(format!("the answer is longer than {BODY_LIMIT} bytes")));
            }
            if frame.has(frames::END_STREAM) {
                self.end(frame.stream, at_ns, ended);
            }
        }
        Ok(())
    }

    fn take_continuation(&mut self, frame: Frame<'_>, at_ns: u64, ended: &mut Vec<Ended>) -> Result<(), Broken> {
        let Some((stream, ends, mut block)) = self.block.take() else {
            return Err(broken("a continuation of nothing"));
        };
        block.extend_from_slice(frame.payload);
        if stream != frame.stream || block.len() > HEADER_BLOCK_LIMIT {
            return Err(broken("its headers"));
        }
        if frame.has(frames::END_HEADERS) {
            return self.take_headers(stream, ends, &block, at_ns, ended);
        }
        self.block = Some((stream, ends, block));
        Ok(())
    }

    fn take_headers(&mut self, id: u32, ends: bool, block: &[u8], at_ns: u64, ended: &mut Vec<Ended>) -> Result<(), Broken> {
        let requests = Arc::clone(&self.requests);
        // Of a call that was given up nothing matters; blocks do not depend on each other.
        let Some(stream) = self.stream(id) else { return Ok(()) };
        hpack::read(block, &requests.names, &mut stream.statuses).ok_or_else(|| broken("its headers"))?;
        if ends {
            self.end(id, at_ns, ended);
        }
        Ok(())
    }

    fn end(&mut self, id: u32, at_ns: u64, ended: &mut Vec<Ended>) {
        if let Some(stream) = self.remove(id) {
            // Answered before the whole message was out: the rest must not follow.
            if stream.framed < self.requests.messages[stream.ticket.request as usize].len() {
                frames::push(&mut self.out, Kind::ResetStream, 0, id, &CANCEL.to_be_bytes());
            }
            ended.push(Ended { ticket: stream.ticket, ending: verdict(stream), at_ns });
        }
    }

    fn take_settings(&mut self, frame: Frame<'_>) -> Result<(), Broken> {
        if frame.has(frames::ACK) {
            return Ok(());
        }
        let settings = frame.payload.chunks_exact(6);
        if !settings.remainder().is_empty() {
            return Err(broken("SETTINGS"));
        }
        self.table |= !self.settings_seen;
        for setting in settings {
            let key = u16::from_be_bytes([setting[0], setting[1]]);
            let value = u32::from_be_bytes([setting[2], setting[3], setting[4], setting[5]]);
            match key {
                SETTING_TABLE_SIZE => {
                    self.table = value >= hpack::TABLE_NEEDED;
                    self.table_refused = !self.table;
                }
                SETTING_STREAMS => self.peer_streams = value,
                SETTING_WINDOW => self.set_peer_window(value)?,
                SETTING_FRAME_SIZE => self.peer_frame = (value as usize).clamp(FRAME_SIZE_LEAST, OUT_LIMIT),
                _ => {}
            }
        }
        self.settings_seen = true;
        frames::push(&mut self.out, Kind::Settings, frames::ACK, 0, &[]);
        Ok(())
    }

    /// Applies to calls in flight as well (RFC 9113, 6.9.2).
    fn set_peer_window(&mut self, value: u32) -> Result<(), Broken> {
        if value > WIDEST_WINDOW {
            return Err(broken("a window"));
        }
        let change = i64::from(value) - self.peer_window;
        self.peer_window = i64::from(value);
        self.streams.iter_mut().for_each(|stream| stream.window += change);
        Ok(())
    }

    fn take_window_update(&mut self, frame: Frame<'_>) -> Result<(), Broken> {
        let more = i64::from(frame.number().ok_or_else(|| broken("WINDOW_UPDATE"))? & WIDEST_WINDOW);
        let window = if frame.stream == 0 {
            &mut self.window
        } else {
            match self.streams.iter_mut().find(|stream| stream.id == frame.stream) {
                Some(stream) => &mut stream.window,
                None => return Ok(()),
            }
        };
        *window += more;
        if *window > i64::from(WIDEST_WINDOW) { Err(broken("a window")) } else { Ok(()) }
    }
}

const FRAME_SIZE_LEAST: usize = 16 << 10;

/// A call counts as answered when its status says so and a message came with it.
fn verdict(stream: Stream) -> Ending {
    let Statuses { http, grpc, message } = stream.statuses;
    let message = message.filter(|message| !message.is_empty());
    let fault = match (grpc, http) {
        (Some(0), _) if stream.received > 0 => return Ending::Answered,
        (Some(0), _) => Fault::new(ErrorKind::Malformed, "gRPC status 0 without a message"),
        (Some(status), _) => Fault {
            kind: ErrorKind::Status,
            message: format!("gRPC status {status}"),
            status: Some(status),
            excerpt: message.unwrap_or_default().into_bytes(),
        },
        (None, Some(status)) if status != 200 => {
            Fault { status: Some(status), ..Fault::new(ErrorKind::Status, format!("HTTP status {status}, no gRPC")) }
        }
        (None, _) => Fault::new(ErrorKind::Malformed, "the answer has no gRPC status"),
    };
    Ending::Failed(Box::new(fault))
}

impl Exchange for Http2 {
    type Requests = Requests;

    fn new(requests: &Arc<Requests>) -> Self {
        let mut out = frames::PREFACE.to_vec();
        let mut settings = Vec::new();
        let frame_size = u32::try_from(frames::FRAME_LIMIT).unwrap_or(16_384);
        for (key, value) in [
            (SETTING_TABLE_SIZE, 0),
            (SETTING_PUSH, 0),
            (SETTING_WINDOW, WIDEST_WINDOW),
            (SETTING_FRAME_SIZE, frame_size),
        ] {
            settings.extend_from_slice(&key.to_be_bytes());
            settings.extend_from_slice(&value.to_be_bytes());
        }
        frames::push(&mut out, Kind::Settings, 0, 0, &settings);
        let wider = WIDEST_WINDOW - u32::try_from(FIRST_WINDOW).unwrap_or(0);
        frames::push(&mut out, Kind::WindowUpdate, 0, 0, &wider.to_be_bytes());
        Self {
            requests: Arc::clone(requests),
            reader: FrameReader::default(),
            out,
            written: 0,
            streams: Vec::new(),
            next_id: 1,
            unsent: 0,
            window: FIRST_WINDOW,
            peer_window: FIRST_WINDOW,
            peer_frame: FRAME_SIZE_LEAST,
            peer_streams: STREAMS,
            table: false,
            table_refused: false,
            settings_seen: false,
            table_filled: false,
            received: 0,
            spent: false,
            block: None,
        }
    }

    fn streams(requests: &Requests) -> u32 {
        let largest = requests.messages.iter().map(Bytes::len).max().unwrap_or(0);
        if largest <= frames::FRAME_LIMIT { STREAMS } else { 1 }
    }

    fn variety(requests: &Requests) -> u32 {
        u32::try_from(requests.messages.len()).unwrap_or(u32::MAX)
    }

    fn free(&self) -> u32 {
        if self.spent {
            return 0;
        }
        let most = Self::streams(&self.requests).min(self.peer_streams);
        most.saturating_sub(u32::try_from(self.streams.len()).unwrap_or(u32::MAX))
    }

    fn begin(&mut self, ticket: Ticket) {
        let id = self.next_id;
        self.next_id += 2;
        self.spent |= self.next_id >= LAST_STREAM - 1;
        let headers = &self.requests.headers;
        let without_table;
        let block = match (self.table, self.table_filled) {
            (true, true) => &headers.again,
            (true, false) => {
                self.table_filled = true;
                &headers.first
            }
            (false, _) if std::mem::take(&mut self.table_refused) => {
                without_table = [hpack::NO_TABLE, &headers.plain].concat();
                &without_table
            }
            (false, _) => &headers.plain,
        };
        frames::push(&mut self.out, Kind::Headers, frames::END_HEADERS, id, block);
        let window = self.peer_window;
        self.streams.push(Stream { id, ticket, framed: 0, window, statuses: Statuses::default(), received: 0 });
        self.unsent += 1;
    }

    fn write(&mut self, socket: &Socket) -> Result<bool, Errno> {
        loop {
            if self.unsent > 0 {
                self.frame_messages();
            }
            if self.written == self.out.len() {
                self.out.clear();
                self.written = 0;
                return Ok(true);
            }
            let sent = socket.send(&self.out[self.written..])?;
            if sent == 0 {
                return Ok(false);
            }
            self.written += sent;
            if self.written == self.out.len() {
                self.out.clear();
                self.written = 0;
            }
        }
    }

    fn has_output(&self) -> bool {
        self.written < self.out.len() || (self.unsent > 0 && self.window > 0)
    }

    fn read(&mut self, bytes: &[u8], at_ns: u64, ended: &mut Vec<Ended>) -> Result<(), Broken> {
        let mut reader = std::mem::take(&mut self.reader);
        let result = reader.read(bytes, |frame| self.take(frame, at_ns, ended));
        self.reader = reader;
        result?;
        // Answers to pings and settings pile up when the peer sends them but does not read.
        if self.out.len() > 4 * OUT_LIMIT { Err(broken("a flood of control frames")) } else { Ok(()) }
    }

    fn closed(&mut self, _: u64, _: &mut Vec<Ended>) -> Result<(), Broken> {
        self.spent = true;
        Ok(())
    }

    fn spent(&self) -> bool {
        self.spent
    }

    fn expire(&mut self, before_ns: u64, expired: &mut Vec<Ticket>) -> bool {
        let late: Vec<u32> =
            self.streams.iter().filter(|stream| stream.ticket.intended_ns < before_ns).map(|stream| stream.id).collect();
        for id in late {
            frames::push(&mut self.out, Kind::ResetStream, 0, id, &CANCEL.to_be_bytes());
            expired.extend(self.remove(id).map(|stream| stream.ticket));
        }
        true
    }

    fn tickets(&self) -> impl Iterator<Item = Ticket> {
        self.streams.iter().map(|stream| stream.ticket)
    }
}

#[cfg(test)]
mod tests;
