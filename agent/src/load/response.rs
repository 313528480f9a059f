//! Reads HTTP/1.1 responses as they arrive, in pieces of any size, without keeping their bodies.
//!
//! Only what a load generator needs: the status, where the response ends, whether the connection can
//! be used again, and the first bytes of a body that reports an error.

use std::mem::MaybeUninit;

use thiserror::Error;

use super::chunked::Chunks;

/// The longest head of a response.
pub(crate) const HEAD_LIMIT: usize = 64 << 10;
/// The longest body of a response.
pub(crate) const BODY_LIMIT: u64 = 1 << 30;
/// How much of an error's body is kept.
pub(crate) const EXCERPT_LIMIT: usize = 2 << 10;
const HEADER_LIMIT: usize = 128;

/// What came back breaks HTTP, or a limit.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(crate) enum Violation {
    #[error("the head of the response is not HTTP/1.1: {0}")]
    Head(String),
    #[error("the head of the response is longer than {HEAD_LIMIT} bytes")]
    HeadTooLong,
    #[error("the body of the response is longer than {BODY_LIMIT} bytes")]
    BodyTooLong,
    /// `Content-Length` is no number, or there are two that differ.
    #[error("the response has no usable Content-Length")]
    ContentLength,
    #[error("the chunked body of the response is broken")]
    Chunk,
    #[error("the connection closed inside a response")]
    Truncated,
    #[error("the response switches protocols")]
    Switch,
}

/// A response that has ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Response {
    pub(crate) status: u16,
    /// The connection can carry another request.
    pub(crate) reusable: bool,
    /// The first bytes of the body when the status is not 2xx.
    pub(crate) excerpt: Vec<u8>,
}

/// The state between two reads.
#[derive(Debug)]
pub(crate) struct ResponseReader {
    state: State,
    partial: Vec<u8>,
    status: u16,
    reusable: bool,
    excerpt: Vec<u8>,
    body_bytes: u64,
}

#[derive(Clone, Copy, Debug)]
enum State {
    Head,
    Sized { left: u64 },
    Chunked(Chunks),
    UntilClose,
}

impl Default for ResponseReader {
    fn default() -> Self {
        Self {
            state: State::Head,
            partial: Vec::new(),
            status: 0,
            reusable: false,
            excerpt: Vec::new(),
            body_bytes: 0,
        }
    }
}

impl ResponseReader {
    /// Takes the next bytes. Returns how many were used and the response if it ended with them.
    ///
    /// # Errors
    /// [`Violation`]; the connection must not be used any more.
    pub(crate) fn read(&mut self, bytes: &[u8]) -> Result<(usize, Option<Response>), Violation> {
        let mut used = 0;
        loop {
            let rest = &bytes[used..];
            match self.state {
                State::Head => {
                    let Some(head) = self.head(rest)? else { return Ok((bytes.len(), None)) };
                    used += head;
                    if matches!(self.state, State::Sized { left: 0 }) {
                        return Ok((used, Some(self.complete())));
                    }
                }
                State::Sized { left } => {
                    let now = usize::try_from(left).unwrap_or(usize::MAX).min(rest.len());
                    self.body(&rest[..now])?;
                    used += now;
                    let left = left - now as u64;
                    self.state = State::Sized { left };
                    return Ok((used, (left == 0).then(|| self.complete())));
                }
                State::Chunked(mut chunks) => {
                    let step = chunks.read(rest).ok_or(Violation::Chunk)?;
                    self.body(&rest[step.data.clone()])?;
                    used += step.used;
                    self.state = State::Chunked(chunks);
                    if step.ended {
                        return Ok((used, Some(self.complete())));
                    }
                }
                State::UntilClose => {
                    self.body(rest)?;
                    return Ok((bytes.len(), None));
                }
            }
            if used == bytes.len() {
                return Ok((used, None));
            }
        }
    }

    /// The peer closed the connection: a response without a length ends here.
    ///
    /// # Errors
    /// [`Violation::Truncated`] when the response has begun and is not whole. `Ok(None)` when none has begun.
    pub(crate) fn close(&mut self) -> Result<Option<Response>, Violation> {
        match self.state {
            State::UntilClose => Ok(Some(self.complete())),
            State::Head if self.partial.is_empty() => Ok(None),
            State::Head | State::Sized { .. } | State::Chunked(_) => Err(Violation::Truncated),
        }
    }

    /// Parses the head; `None` when more bytes are needed. Informational responses are passed over.
    fn head(&mut self, bytes: &[u8]) -> Result<Option<usize>, Violation> {
        if self.partial.is_empty() {
            return if let Some(length) = self.parse(bytes)? {
                Ok(Some(length))
            } else {
                self.keep(bytes)?;
                Ok(None)
            };
        }
        let before = self.partial.len();
        self.keep(bytes)?;
        if !bytes.contains(&b'\n') {
            return Ok(None);
        }
        let partial = std::mem::take(&mut self.partial);
        if let Some(length) = self.parse(&partial)? {
            return Ok(Some(length - before));
        }
        self.partial = partial;
        Ok(None)
    }

    fn keep(&mut self, bytes: &[u8]) -> Result<(), Violation> {
        if self.partial.len() + bytes.len() > HEAD_LIMIT {
            return Err(Violation::HeadTooLong);
        }
        self.partial.extend_from_slice(bytes);
        Ok(())
    }

    fn parse(&mut self, bytes: &[u8]) -> Result<Option<usize>, Violation> {
        let mut headers = [const { MaybeUninit::uninit() }; HEADER_LIMIT];
        let mut response = httparse::Response::new(&mut []);
        let parsed = httparse::ParserConfig::default()
            .parse_response_with_uninit_headers(&mut response, bytes, &mut headers)
            .map_err(|error| Violation::Head(error.to_string()))?;
        let httparse::Status::Complete(length) = parsed else { return Ok(None) };
        if length > HEAD_LIMIT {
            return Err(Violation::HeadTooLong);
        }
        let framing = Framing::of(&response)?;
        self.status = response.code.unwrap_or(0);
        self.reusable = framing.keep_alive;
        self.state = match self.status {
            101 => return Err(Violation::Switch),
            100..=199 => State::Head,
            204 | 304 => State::Sized { left: 0 },
            _ if framing.chunked => State::Chunked(Chunks::default()),
            _ => match framing.length {
                Some(left) if left > BODY_LIMIT => return Err(Violation::BodyTooLong),
                Some(left) => State::Sized { left },
                None => {
                    self.reusable = false;
                    State::UntilClose
                }
            },
        };
        Ok(Some(length))
    }

    fn body(&mut self, bytes: &[u8]) -> Result<(), Violation> {
        self.body_bytes += bytes.len() as u64;
        if self.body_bytes > BODY_LIMIT {
            return Err(Violation::BodyTooLong);
        }
        if !(200..300).contains(&self.status) {
            let room = EXCERPT_LIMIT.saturating_sub(self.excerpt.len()).min(bytes.len());
            self.excerpt.extend_from_slice(&bytes[..room]);
        }
        Ok(())
    }

    fn complete(&mut self) -> Response {
        self.state = State::Head;
        self.body_bytes = 0;
        Response {
            status: self.status,
            reusable: self.reusable,
            excerpt: std::mem::take(&mut self.excerpt),
        }
    }
}

/// What the headers say about the body and the connection.
struct Framing {
    length: Option<u64>,
    chunked: bool,
    keep_alive: bool,
}

impl Framing {
    fn of(response: &httparse::Response<'_, '_>) -> Result<Self, Violation> {
        let mut framing =
            Self { length: None, chunked: false, keep_alive: response.version == Some(1) };
        let mut encoded = false;
        for header in &*response.headers {
            let name = header.name;
            if name.eq_ignore_ascii_case("content-length") {
                let length = number(header.value).ok_or(Violation::ContentLength)?;
                if framing.length.is_some_and(|other| other != length) {
                    return Err(Violation::ContentLength);
                }
                framing.length = Some(length);
            } else if name.eq_ignore_ascii_case("transfer-encoding") {
                encoded = true;
                framing.chunked = tokens(header.value)
                    .last()
                    .is_some_and(|token| token.eq_ignore_ascii_case(b"chunked"));
            } else if name.eq_ignore_ascii_case("connection") {
                for token in tokens(header.value) {
                    if token.eq_ignore_ascii_case(b"close") {
                        framing.keep_alive = false;
                    } else if token.eq_ignore_ascii_case(b"keep-alive") {
                        framing.keep_alive = true;
                    }
                }
            }
        }
        // A transfer encoding overrules Content-Length (RFC 9112, 6.3).
        if encoded {
            framing.length = None;
        }
        Ok(framing)
    }
}

fn tokens(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|&byte| byte == b',').map(<[u8]>::trim_ascii)
}

fn number(value: &[u8]) -> Option<u64> {
    let value = value.trim_ascii();
    if value.is_empty() || value.len() > 18 {
        return None;
    }
    value.iter().try_fold(0u64, |sum, byte| {
        byte.is_ascii_digit().then(|| sum * 10 + u64::from(byte - b'0'))
    })
}

#[cfg(test)]
mod tests;
