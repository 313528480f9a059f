//! HTTP/1.1: every request gets the same tiny answer.

use crate::serving::Protocol;

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\nok";
const REQUEST_LIMIT: usize = 16 << 20;

#[derive(Debug, Default)]
pub(crate) struct Http {
    partial: Vec<u8>,
    /// The last whole request: generators repeat themselves, and comparing is cheaper than parsing.
    last: Vec<u8>,
}

impl Protocol for Http {
    fn new(_: &mut Vec<u8>) -> Self {
        Self::default()
    }

    fn read(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> bool {
        let joined;
        let mut rest = if self.partial.is_empty() {
            bytes
        } else {
            self.partial.extend_from_slice(bytes);
            joined = std::mem::take(&mut self.partial);
            &joined[..]
        };
        while !rest.is_empty() {
            let length = if !self.last.is_empty() && rest.starts_with(&self.last) {
                self.last.len()
            } else {
                let Some(length) = request_length(rest) else { break };
                self.last.clear();
                self.last.extend_from_slice(&rest[..length]);
                length
            };
            out.extend_from_slice(ANSWER);
            rest = &rest[length..];
        }
        self.partial.extend_from_slice(rest);
        self.partial.len() <= REQUEST_LIMIT
    }
}

/// Head and body of the request at the front; `None` when it is not whole.
fn request_length(bytes: &[u8]) -> Option<usize> {
    let head = bytes.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
    let length = String::from_utf8_lossy(&bytes[..head])
        .lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        .map_or(Some(0), |(_, value)| value.trim().parse::<usize>().ok())?;
    let whole = head.checked_add(length)?;
    (whole <= bytes.len()).then_some(whole)
}
