//! As much of HPACK (RFC 7541) as a gRPC client needs that forbids its peer a dynamic table: reading
//! statuses out of responses, and writing one fixed set of request headers.

use percent_encoding::percent_decode;

/// How many bits the Huffman code of each octet has (RFC 7541, appendix B; the last is EOS). The code is
/// canonical, so the lengths say all.
#[rustfmt::skip]
const CODE_LENGTHS: [u8; 257] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 28,
    6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6, 5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10,
    13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6,
    15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5, 6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28,
    20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23, 24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24,
    22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23, 21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23,
    26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25, 19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27,
    20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23, 26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26,
    30,
];
const LONGEST_CODE: usize = 30;
const EOS: u16 = 256;

/// The length of the static table.
const STATIC_ENTRIES: u64 = 61;
/// The first name in the static table that is `:status`, and the statuses that follow it.
const STATIC_STATUS: u64 = 8;
const STATIC_STATUSES: [u16; 7] = [200, 204, 206, 304, 400, 404, 500];

/// What a gRPC response's headers say about its end.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Statuses {
    /// `:status`.
    pub(crate) http: Option<u16>,
    /// `grpc-status`.
    pub(crate) grpc: Option<u16>,
    /// `grpc-message`, percent-decoded.
    pub(crate) message: Option<String>,
}

/// Reads a header block. `None` when it is broken, or refers to a dynamic table.
pub(crate) fn read(mut block: &[u8], statuses: &mut Statuses) -> Option<()> {
    while let Some(&first) = block.first() {
        if first & 0x80 != 0 {
            let index = integer(&mut block, 7)?;
            if index == 0 || index > STATIC_ENTRIES {
                return None;
            }
            if let Some(&status) = index
                .checked_sub(STATIC_STATUS)
                .and_then(|at| STATIC_STATUSES.get(usize::try_from(at).ok()?))
            {
                statuses.http = Some(status);
            }
        } else if first & 0xe0 == 0x20 {
            // A new size for the dynamic table, which must be the one allowed: none.
            if integer(&mut block, 5)? != 0 {
                return None;
            }
        } else {
            let prefix = if first & 0x40 != 0 { 6 } else { 4 };
            literal(&mut block, prefix, statuses)?;
        }
    }
    Some(())
}

fn literal(block: &mut &[u8], prefix: u8, statuses: &mut Statuses) -> Option<()> {
    let index = integer(block, prefix)?;
    if index > STATIC_ENTRIES {
        return None;
    }
    let is_status = (STATIC_STATUS..STATIC_STATUS + 7).contains(&index);
    let name =
        if index == 0 { Name::find(string(block)?) } else { is_status.then_some(Name::Status) };
    let value = string(block)?;
    match name {
        Some(Name::Status) => statuses.http = Some(number(&value)?),
        Some(Name::GrpcStatus) => statuses.grpc = Some(number(&value)?),
        Some(Name::GrpcMessage) => {
            let text = value.decoded()?;
            statuses.message = Some(percent_decode(&text).decode_utf8_lossy().into_owned());
        }
        None => {}
    }
    Some(())
}

/// A string as it stands in a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Text<'a> {
    huffman: bool,
    bytes: &'a [u8],
}

impl Text<'_> {
    /// `None` when it is no text in Huffman code.
    #[must_use]
    pub fn decoded(&self) -> Option<Vec<u8>> {
        if self.huffman { huffman_decoded(self.bytes) } else { Some(self.bytes.to_vec()) }
    }
}

/// Takes a string off the front (RFC 7541, 5.2).
pub fn string<'a>(block: &mut &'a [u8]) -> Option<Text<'a>> {
    let huffman = block.first()? & 0x80 != 0;
    let length = usize::try_from(integer(block, 7)?).ok()?;
    let (bytes, rest) = block.split_at_checked(length)?;
    *block = rest;
    Some(Text { huffman, bytes })
}

/// Takes a number off the front (RFC 7541, 5.1); numbers beyond 2^32 are refused.
pub fn integer(block: &mut &[u8], prefix: u8) -> Option<u64> {
    let (&first, mut rest) = block.split_first()?;
    let mask = (1u16 << prefix) - 1;
    let mut value = u64::from(u16::from(first) & mask);
    if value == u64::from(mask) {
        let mut shift = 0;
        loop {
            let (&byte, after) = rest.split_first()?;
            rest = after;
            value += u64::from(byte & 0x7f) << shift;
            shift += 7;
            if byte & 0x80 == 0 {
                break;
            }
            if shift > 28 {
                return None;
            }
        }
    }
    *block = rest;
    Some(value)
}

fn number(text: &Text<'_>) -> Option<u16> {
    std::str::from_utf8(&text.decoded()?).ok()?.parse().ok()
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Name {
    Status,
    GrpcStatus,
    GrpcMessage,
}

/// The names that matter, as they are spelled without and with Huffman code: the code of a text is
/// unique, so names are compared without decoding them.
const NAMES: [(Name, &[u8], &[u8]); 3] = [
    (Name::GrpcStatus, b"grpc-status", b"\x9a\xca\xc8\xb2\x12\x34\xda\x8f"),
    (Name::GrpcMessage, b"grpc-message", b"\x9a\xca\xc8\xb5\x25\x42\x07\x31\x7f"),
    (Name::Status, b":status", b"\xb8\x84\x8d\x36\xa3"),
];

impl Name {
    fn find(text: Text<'_>) -> Option<Self> {
        let is_it = |(_, plain, coded): &&(Self, &[u8], &[u8])| {
            text.bytes == if text.huffman { *coded } else { *plain }
        };
        NAMES.iter().find(is_it).map(|(name, ..)| *name)
    }
}

/// For every code length, the first code and the symbols that have it, in order.
struct Canonical {
    first: [u32; LONGEST_CODE + 1],
    symbols: Vec<Vec<u16>>,
}

fn canonical() -> Canonical {
    let mut symbols = vec![Vec::new(); LONGEST_CODE + 1];
    for (symbol, &length) in (0u16..).zip(&CODE_LENGTHS) {
        symbols[usize::from(length)].push(symbol);
    }
    let mut first = [0; LONGEST_CODE + 1];
    let mut code = 0;
    for (length, with_length) in symbols.iter().enumerate().skip(1) {
        code <<= 1;
        first[length] = code;
        code += u32::try_from(with_length.len()).unwrap_or(0);
    }
    Canonical { first, symbols }
}

/// A text in Huffman code (RFC 7541, 5.2); `None` when it is none.
fn huffman_decoded(bytes: &[u8]) -> Option<Vec<u8>> {
    let codes = canonical();
    let mut text = Vec::new();
    let (mut code, mut length) = (0u32, 0usize);
    for bit in bytes.iter().flat_map(|byte| (0..8).rev().map(move |at| byte >> at & 1)) {
        code = code << 1 | u32::from(bit);
        length += 1;
        if length > LONGEST_CODE {
            return None;
        }
        let place =
            code.checked_sub(codes.first[length]).and_then(|place| usize::try_from(place).ok());
        if let Some(&symbol) = place.and_then(|place| codes.symbols[length].get(place)) {
            if symbol == EOS {
                return None;
            }
            text.push(u8::try_from(symbol).ok()?);
            (code, length) = (0, 0);
        }
    }
    // What is left must be padding: fewer than eight bits, all ones.
    (length < 8 && code == (1 << length) - 1).then_some(text)
}

/// One set of request headers, as the first and as every later block on a connection.
#[derive(Debug)]
pub(crate) struct RequestHeaders {
    /// Complete in itself: for peers that keep no dynamic table.
    pub(crate) plain: Vec<u8>,
    /// Puts every field into the dynamic table.
    pub(crate) first: Vec<u8>,
    /// Refers to the fields that `first` put there.
    pub(crate) again: Vec<u8>,
}

/// The dynamic table that [`RequestHeaders::first`] fills fits into the protocol's default size.
pub(crate) const TABLE_NEEDED: u32 = 4096;

/// Before a block: the dynamic table has no room from here on.
pub(crate) const NO_TABLE: &[u8] = &[0x20];

impl RequestHeaders {
    /// A gRPC `POST` to a path.
    pub(crate) fn grpc(authority: &str, path: &str) -> Self {
        // Indices of names in the static table: :path 4, :authority 1, content-type 31, user-agent 58.
        let agent = format!("assay/{}", env!("CARGO_PKG_VERSION"));
        let fields: [(u64, &str, &str); 5] = [
            (4, "", path),
            (1, "", authority),
            (31, "", "application/grpc"),
            (0, "te", "trailers"),
            (58, "", &agent),
        ];
        // `:method: POST` and `:scheme: http` stand in the static table.
        let mut headers =
            Self { plain: vec![0x83, 0x86], first: vec![0x83, 0x86], again: vec![0x83, 0x86] };
        for (place, (index, name, value)) in (0u64..).zip(fields) {
            push_literal(&mut headers.plain, 0x00, 4, index, name, value);
            push_literal(&mut headers.first, 0x40, 6, index, name, value);
            // The newest entry is the first of the dynamic table.
            push_integer(&mut headers.again, 0x80, 7, STATIC_ENTRIES + fields.len() as u64 - place);
        }
        headers
    }
}

fn push_literal(block: &mut Vec<u8>, pattern: u8, prefix: u8, index: u64, name: &str, value: &str) {
    push_integer(block, pattern, prefix, index);
    if index == 0 {
        push_integer(block, 0, 7, name.len() as u64);
        block.extend_from_slice(name.as_bytes());
    }
    push_integer(block, 0, 7, value.len() as u64);
    block.extend_from_slice(value.as_bytes());
}

fn push_integer(block: &mut Vec<u8>, pattern: u8, prefix: u8, value: u64) {
    let limit = (1u64 << prefix) - 1;
    let low = |number: u64| u8::try_from(number & 0xff).unwrap_or(0);
    if value < limit {
        block.push(pattern | low(value));
        return;
    }
    block.push(pattern | low(limit));
    let mut rest = value - limit;
    while rest >= 0x80 {
        block.push(0x80 | low(rest & 0x7f));
        rest >>= 7;
    }
    block.push(low(rest));
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn statuses(block: &[u8]) -> Option<Statuses> {
        let mut statuses = Statuses::default();
        read(block, &mut statuses).map(|()| statuses)
    }

    fn huffman_encoded(text: &[u8]) -> Vec<u8> {
        let code = canonical();
        let (mut bits, mut count, mut bytes) = (0u64, 0u32, Vec::new());
        for &byte in text {
            let length = usize::from(CODE_LENGTHS[usize::from(byte)]);
            let place = code.symbols[length]
                .iter()
                .position(|&symbol| symbol == u16::from(byte))
                .unwrap_or(0);
            bits = (bits << length) | (u64::from(code.first[length]) + place as u64);
            count += u32::from(CODE_LENGTHS[usize::from(byte)]);
            while count >= 8 {
                count -= 8;
                bytes.push(u8::try_from(bits >> count & 0xff).unwrap_or(0));
            }
        }
        if count > 0 {
            // Padded with the beginning of EOS, which is all ones.
            bytes.push(u8::try_from((bits << (8 - count) | (0xff >> count)) & 0xff).unwrap_or(0));
        }
        bytes
    }

    #[test]
    fn names_are_known_by_their_code() {
        for (_, plain, coded) in NAMES {
            assert_eq!(huffman_encoded(plain), coded);
        }
    }

    #[test]
    fn huffman_code_agrees_with_the_examples_of_rfc_7541() {
        let encoded = [0xf1, 0xe3, 0xc2, 0xe5, 0xf2, 0x3a, 0x6b, 0xa0, 0xab, 0x90, 0xf4, 0xff];
        assert_eq!(huffman_encoded(b"www.example.com"), encoded);
        assert_eq!(huffman_decoded(&encoded).unwrap(), b"www.example.com");
        assert_eq!(huffman_encoded(b"no-cache"), [0xa8, 0xeb, 0x10, 0x64, 0x9c, 0xbf]);
        assert_eq!(huffman_encoded(b"302"), [0x64, 0x02]);
        assert_eq!(huffman_decoded(&[0xff, 0xff, 0xff, 0xff]), None, "EOS is no text");
        assert_eq!(huffman_decoded(&[0x00]), None, "the padding is zeros");
    }

    #[test]
    fn statuses_are_found_in_every_spelling() {
        assert_eq!(statuses(&[0x20, 0x88]).unwrap().http, Some(200));
        assert_eq!(statuses(&[0x08, 0x03, b'4', b'2', b'9']).unwrap().http, Some(429));
        assert_eq!(statuses(&[0x48, 0x82, 0x64, 0x02]).unwrap().http, Some(302));
        let mut trailers = vec![0x40, 11];
        trailers.extend_from_slice(b"grpc-status");
        trailers.extend_from_slice(&[1, b'0']);
        assert_eq!(statuses(&trailers).unwrap().grpc, Some(0));
        let name = huffman_encoded(b"grpc-status");
        let mut trailers = vec![0x00, 0x80 | u8::try_from(name.len()).unwrap()];
        trailers.extend_from_slice(&name);
        trailers.extend_from_slice(&[2, b'1', b'3', 0x00, 12]);
        trailers.extend_from_slice(b"grpc-message");
        trailers.extend_from_slice(&[7]);
        trailers.extend_from_slice(b"a%20b%c");
        let found = statuses(&trailers).unwrap();
        assert_eq!((found.grpc, found.message.as_deref()), (Some(13), Some("a b%c")));
    }

    #[test]
    fn what_needs_a_dynamic_table_or_is_broken_is_refused() {
        for block in [
            &[0x80][..],
            &[0xbe],
            &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
            &[0x3f, 0xe1, 0x1f],
            &[0x40, 11, b'g'],
            &[0x08, 0x01, b'x'],
            &[0x7f],
            &[0x00],
        ] {
            assert_eq!(statuses(block), None, "{block:?}");
        }
    }

    #[test]
    fn later_request_blocks_refer_to_the_first() {
        let headers =
            RequestHeaders::grpc("127.0.0.1:8081", "/inference.GRPCInferenceService/ModelInfer");
        assert_eq!(
            headers.again,
            [0x83, 0x86, 0x80 | 66, 0x80 | 65, 0x80 | 64, 0x80 | 63, 0x80 | 62]
        );
        assert!(headers.first.len() > headers.again.len());
        assert!(statuses(&headers.plain).is_some() && statuses(&headers.first).is_some());
    }

    proptest! {
        #[test]
        fn huffman_code_is_reversible(text in proptest::collection::vec(any::<u8>(), 0..100)) {
            prop_assert_eq!(huffman_decoded(&huffman_encoded(&text)).unwrap(), text);
        }

        #[test]
        fn no_block_makes_the_reader_panic(block in proptest::collection::vec(any::<u8>(), 0..100)) {
            let _ = statuses(&block);
        }
    }
}
