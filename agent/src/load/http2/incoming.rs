//! What arrives on a connection: frames, and what they mean for calls in flight.

use super::{CANCEL, Http2, OUT_LIMIT, Stream, broken};
use crate::load::{
    exchange::{Broken, Ended, Ending, Fault},
    figures::ErrorKind,
    frames::{self, Frame, Kind, REOPEN_AFTER, WIDEST_WINDOW},
    hpack::{self, Statuses},
    response::BODY_LIMIT,
};

const HEADER_BLOCK_LIMIT: usize = 64 << 10;

impl Http2 {
    pub(super) fn take(
        &mut self,
        frame: Frame<'_>,
        at_ns: u64,
        ended: &mut Vec<Ended>,
    ) -> Result<(), Broken> {
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
                    let fault = Fault::new(
                        ErrorKind::Reset,
                        format!("the server reset the call (HTTP/2 error {code})"),
                    );
                    ended.push(Ended::failed(stream.ticket, fault, at_ns));
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
                let last = frame.number().ok_or_else(|| broken("GOAWAY"))? & WIDEST_WINDOW;
                let fault = Fault::new(ErrorKind::Reset, "the server is going away");
                let refused: Vec<u32> =
                    self.streams.iter().map(|stream| stream.id).filter(|&id| id > last).collect();
                for stream in refused.into_iter().filter_map(|id| self.remove(id)) {
                    ended.push(Ended::failed(stream.ticket, fault.clone(), at_ns));
                }
                Ok(())
            }
            Kind::WindowUpdate => self.take_window_update(frame),
            Kind::PushPromise => Err(broken("a push that was forbidden")),
            Kind::Other => Ok(()),
        }
    }

    fn take_data(
        &mut self,
        frame: Frame<'_>,
        at_ns: u64,
        ended: &mut Vec<Ended>,
    ) -> Result<(), Broken> {
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

    fn take_continuation(
        &mut self,
        frame: Frame<'_>,
        at_ns: u64,
        ended: &mut Vec<Ended>,
    ) -> Result<(), Broken> {
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

    fn take_headers(
        &mut self,
        id: u32,
        ends: bool,
        block: &[u8],
        at_ns: u64,
        ended: &mut Vec<Ended>,
    ) -> Result<(), Broken> {
        // Of a call that was given up nothing matters; blocks do not depend on each other.
        let Some(stream) = self.stream(id) else { return Ok(()) };
        hpack::read(block, &mut stream.statuses).ok_or_else(|| broken("its headers"))?;
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
                frames::SETTING_TABLE_SIZE => {
                    self.table = value >= hpack::TABLE_NEEDED;
                    self.table_refused = !self.table;
                }
                frames::SETTING_STREAMS => self.peer_streams = value,
                frames::SETTING_WINDOW => self.set_peer_window(value)?,
                frames::SETTING_FRAME_SIZE => {
                    self.peer_frame = (value as usize).clamp(frames::FRAME_LIMIT, OUT_LIMIT)
                }
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
        let more =
            i64::from(frame.number().ok_or_else(|| broken("WINDOW_UPDATE"))? & WIDEST_WINDOW);
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
        (None, Some(status)) if status != 200 => Fault {
            status: Some(status),
            ..Fault::new(ErrorKind::Status, format!("HTTP status {status}, no gRPC"))
        },
        (None, _) => Fault::new(ErrorKind::Malformed, "the answer has no gRPC status"),
    };
    Ending::Failed(Box::new(fault))
}
