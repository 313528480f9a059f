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
    exchange::{Broken, Ended, Exchange, Socket, Ticket},
    frames::{self, FIRST_WINDOW, FrameReader, Kind, TooLong, WIDEST_WINDOW},
    hpack::{self, RequestHeaders, Statuses},
    infer_request::{self, RequestError},
};
use crate::{payload::Payload, target::Target};

const INFER_PATH: &str = "/inference.GRPCInferenceService/ModelInfer";
/// Calls at once on one connection, for messages that fit into one frame. Larger ones would stand in
/// each other's way, so they get a connection each.
const STREAMS: u32 = 32;
/// No more is prepared for writing than this and a frame.
const OUT_LIMIT: usize = 256 << 10;
const CANCEL: u32 = 8;

mod incoming;

#[derive(Debug)]
pub(crate) struct Requests {
    headers: RequestHeaders,
    messages: Vec<Bytes>,
}

impl Requests {
    /// One `ModelInfer` call for each body.
    pub(crate) fn encode(
        target: &Target,
        model: &str,
        payload: Option<&Payload>,
        inputs: &[InputSpec],
    ) -> Result<Self, RequestError> {
        Ok(Self {
            headers: RequestHeaders::grpc(&target.authority(), INFER_PATH),
            messages: infer_request::encode(model, payload, inputs)?,
        })
    }
}

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
            while stream.framed < message.len()
                && *window > 0
                && stream.window > 0
                && out.len() < OUT_LIMIT
            {
                let rest = &message[stream.framed..];
                let allowed = usize::try_from((*window).min(stream.window)).unwrap_or(0);
                let part = &rest[..rest.len().min(*peer_frame).min(allowed)];
                let last = part.len() == rest.len();
                frames::push(
                    out,
                    Kind::Data,
                    if last { frames::END_STREAM } else { 0 },
                    stream.id,
                    part,
                );
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
}

impl Exchange for Http2 {
    type Requests = Requests;

    fn new(requests: &Arc<Requests>) -> Self {
        let mut out = frames::PREFACE.to_vec();
        let frame_size = u32::try_from(frames::FRAME_LIMIT).unwrap_or(u32::MAX);
        let settings = [
            (frames::SETTING_TABLE_SIZE, 0),
            (frames::SETTING_PUSH, 0),
            (frames::SETTING_WINDOW, WIDEST_WINDOW),
            (frames::SETTING_FRAME_SIZE, frame_size),
        ];
        frames::push_opening(&mut out, &settings);
        Self {
            requests: Arc::clone(requests),
            reader: FrameReader::default(),
            out,
            written: 0,
            streams: Vec::new(),
            next_id: 1,
            unsent: 0,
            window: i64::from(FIRST_WINDOW),
            peer_window: i64::from(FIRST_WINDOW),
            peer_frame: frames::FRAME_LIMIT,
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
        self.spent |= self.next_id >= WIDEST_WINDOW - 1;
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
        self.streams.push(Stream {
            id,
            ticket,
            framed: 0,
            window,
            statuses: Statuses::default(),
            received: 0,
        });
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
        if self.out.len() > 4 * OUT_LIMIT {
            Err(broken("a flood of control frames"))
        } else {
            Ok(())
        }
    }

    fn closed(&mut self, _: u64, _: &mut Vec<Ended>) -> Result<(), Broken> {
        self.spent = true;
        Ok(())
    }

    fn spent(&self) -> bool {
        self.spent
    }

    fn expire(&mut self, before_ns: u64, expired: &mut Vec<Ticket>) -> bool {
        let late: Vec<u32> = self
            .streams
            .iter()
            .filter(|stream| stream.ticket.intended_ns < before_ns)
            .map(|stream| stream.id)
            .collect();
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
