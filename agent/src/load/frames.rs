//! HTTP/2 frames (RFC 9113, 4 and 6): cutting a byte stream into them, and building the few that a
//! client sends. Knows no streams. Public for the server that the generator is measured against.

/// The largest payload that a peer may send; what the protocol starts from.
pub const FRAME_LIMIT: usize = 16 << 10;
const HEADER: usize = 9;

/// What a client says first.
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The widest window that there can be; numbers of streams end there, too.
pub const WIDEST_WINDOW: u32 = 0x7fff_ffff;
/// The window that the protocol starts from.
pub const FIRST_WINDOW: u32 = 65_535;
/// A connection's window that was opened widest is opened again after so many bytes.
pub const REOPEN_AFTER: u32 = 1 << 30;

pub const SETTING_TABLE_SIZE: u16 = 1;
pub const SETTING_PUSH: u16 = 2;
pub const SETTING_STREAMS: u16 = 3;
pub const SETTING_WINDOW: u16 = 4;
pub const SETTING_FRAME_SIZE: u16 = 5;

/// Frame types that a client of ours can meet, as they are numbered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Data,
    /// The beginning of a call or an answer, or trailers.
    Headers,
    /// PRIORITY and whatever came later: passed over.
    Other,
    /// The end of a call before its time.
    ResetStream,
    Settings,
    PushPromise,
    Ping,
    GoAway,
    WindowUpdate,
    /// More of a header block.
    Continuation,
}

impl Kind {
    const ALL: [Self; 10] = [
        Self::Data,
        Self::Headers,
        Self::Other,
        Self::ResetStream,
        Self::Settings,
        Self::PushPromise,
        Self::Ping,
        Self::GoAway,
        Self::WindowUpdate,
        Self::Continuation,
    ];

    fn of(byte: u8) -> Self {
        Self::ALL.get(usize::from(byte)).copied().unwrap_or(Self::Other)
    }
}

/// The sender's last frame on this stream.
pub const END_STREAM: u8 = 0x1;
/// Answers settings or a ping.
pub const ACK: u8 = 0x1;
/// The header block is whole.
pub const END_HEADERS: u8 = 0x4;
pub const PADDED: u8 = 0x8;
/// A priority stands before the header block.
pub const PRIORITY: u8 = 0x20;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    pub kind: Kind,
    pub flags: u8,
    /// 0 for the connection itself.
    pub stream: u32,
    pub payload: &'a [u8],
}

impl<'a> Frame<'a> {
    /// Reads a frame from the front; `Ok(None)` when it is not whole yet, `Err` when it is too long.
    fn read(bytes: &'a [u8]) -> Result<Option<(Self, usize)>, TooLong> {
        let Some(header) = bytes.first_chunk::<HEADER>() else { return Ok(None) };
        let [a, b, c, kind, flags, s0, s1, s2, s3] = *header;
        let length = u32::from_be_bytes([0, a, b, c]) as usize;
        if length > FRAME_LIMIT {
            return Err(TooLong);
        }
        let Some(payload) = bytes.get(HEADER..HEADER + length) else { return Ok(None) };
        let stream = u32::from_be_bytes([s0, s1, s2, s3]) & WIDEST_WINDOW;
        Ok(Some((Self { kind: Kind::of(kind), flags, stream, payload }, HEADER + length)))
    }

    #[must_use]
    pub fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// The payload without padding and priority; `None` when it is shorter than both.
    #[must_use]
    pub fn content(&self) -> Option<&'a [u8]> {
        let mut content = self.payload;
        let mut padding = 0;
        if self.has(PADDED) {
            let (&length, rest) = content.split_first()?;
            (padding, content) = (usize::from(length), rest);
        }
        if self.kind == Kind::Headers && self.has(PRIORITY) {
            content = content.get(5..)?;
        }
        content.get(..content.len().checked_sub(padding)?)
    }

    /// The payload's first four bytes as a number.
    #[must_use]
    pub fn number(&self) -> Option<u32> {
        self.payload.first_chunk::<4>().map(|bytes| u32::from_be_bytes(*bytes))
    }
}

/// A frame exceeds [`FRAME_LIMIT`].
#[derive(Debug, PartialEq, Eq)]
pub struct TooLong;

/// Cuts arriving bytes into frames; the rest of an unfinished one waits here.
#[derive(Debug, Default)]
pub struct FrameReader {
    partial: Vec<u8>,
}

impl FrameReader {
    /// Hands every whole frame to `take`, which stops the reading with an error.
    ///
    /// # Errors
    /// That of `take`, or a frame that is [`TooLong`].
    pub fn read<E: From<TooLong>>(
        &mut self,
        bytes: &[u8],
        mut take: impl FnMut(Frame<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let joined;
        let mut rest = if self.partial.is_empty() {
            bytes
        } else {
            let mut partial = std::mem::take(&mut self.partial);
            partial.extend_from_slice(bytes);
            joined = partial;
            &joined[..]
        };
        while let Some((frame, used)) = Frame::read(rest)? {
            take(frame)?;
            rest = &rest[used..];
        }
        self.partial.extend_from_slice(rest);
        Ok(())
    }
}

pub fn push(out: &mut Vec<u8>, kind: Kind, flags: u8, stream: u32, payload: &[u8]) {
    let length = u32::try_from(payload.len()).unwrap_or(u32::MAX);
    out.extend_from_slice(&length.to_be_bytes()[1..]);
    out.push(kind as u8);
    out.push(flags);
    out.extend_from_slice(&stream.to_be_bytes());
    out.extend_from_slice(payload);
}

/// Settings, and a connection's window as wide as it can be.
pub fn push_opening(out: &mut Vec<u8>, settings: &[(u16, u32)]) {
    let mut payload = Vec::new();
    for (key, value) in settings {
        payload.extend(key.to_be_bytes());
        payload.extend(value.to_be_bytes());
    }
    push(out, Kind::Settings, 0, 0, &payload);
    push(out, Kind::WindowUpdate, 0, 0, &(WIDEST_WINDOW - FIRST_WINDOW).to_be_bytes());
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn collect(
        reader: &mut FrameReader,
        bytes: &[u8],
        seen: &mut Vec<(Kind, u8, u32, Vec<u8>)>,
    ) -> Result<(), TooLong> {
        reader.read(bytes, |frame| {
            seen.push((frame.kind, frame.flags, frame.stream, frame.payload.to_vec()));
            Ok(())
        })
    }

    #[test]
    fn a_frame_that_is_too_long_is_refused() {
        let mut reader = FrameReader::default();
        assert_eq!(
            collect(&mut reader, &[0, 0x40, 1, 0, 0, 0, 0, 0, 1], &mut Vec::new()),
            Err(TooLong)
        );
    }

    #[test]
    fn padding_and_priority_are_taken_off() {
        let frame = |flags, payload| Frame { kind: Kind::Headers, flags, stream: 1, payload };
        assert_eq!(frame(PADDED, &[2, 7, 8, 0, 0]).content(), Some(&[7, 8][..]));
        assert_eq!(frame(PADDED | PRIORITY, &[1, 0, 0, 0, 0, 0, 9, 0]).content(), Some(&[9][..]));
        assert_eq!(frame(PADDED, &[5, 1]).content(), None);
        assert_eq!(frame(PADDED, &[]).content(), None);
        assert_eq!(frame(PRIORITY, &[0; 4]).content(), None);
    }

    proptest! {
        #[test]
        fn frames_read_the_same_however_they_are_cut(
            payloads in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..40), 1..10),
            cut in 1usize..20,
        ) {
            let mut bytes = Vec::new();
            for (stream, payload) in (1u32..).zip(&payloads) {
                push(&mut bytes, Kind::Data, END_STREAM, stream, payload);
            }
            let (mut reader, mut seen) = (FrameReader::default(), Vec::new());
            for piece in bytes.chunks(cut) {
                collect(&mut reader, piece, &mut seen).unwrap();
            }
            let expected: Vec<_> = (1u32..).zip(payloads).map(|(stream, payload)| (Kind::Data, END_STREAM, stream, payload)).collect();
            prop_assert_eq!(seen, expected);
        }
    }
}
