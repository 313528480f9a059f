//! One connection of a known server: recognizes where a request ends, and throws its body away.
//!
//! HTTP/1.0 and 1.1 with `Content-Length`; one request at a time, a pipelined one waits. Chunked bodies
//! are refused. Bytes in, verdicts out: the sockets are the acceptor's.

/// A head larger than this is refused.
const LONGEST_HEAD: usize = 16 << 10;
/// A body larger than this is refused.
const LONGEST_BODY: usize = 1 << 30;
const MOST_HEADERS: usize = 64;

/// What bytes came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Seen {
    Part,
    /// Its last byte is here.
    Whole,
    /// It cannot be served; the connection ends with this status.
    Refused(u16),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Progress {
    Head,
    Body { left: usize },
    InService,
}

/// How far the current request has come.
#[derive(Debug)]
pub(super) struct Connection {
    progress: Progress,
    /// Bytes of a head, or of requests that wait.
    kept: Vec<u8>,
    keep_alive: bool,
}

impl Connection {
    pub(super) const fn new() -> Self {
        Self { progress: Progress::Head, kept: Vec::new(), keep_alive: true }
    }

    /// Takes bytes that arrived.
    pub(super) fn read(&mut self, bytes: &[u8]) -> Seen {
        match self.progress {
            Progress::Body { left } if bytes.len() < left => {
                self.progress = Progress::Body { left: left - bytes.len() };
                Seen::Part
            }
            Progress::Body { left } => {
                self.progress = Progress::InService;
                self.keep(&bytes[left..]).unwrap_or(Seen::Whole)
            }
            Progress::InService => self.keep(bytes).unwrap_or(Seen::Part),
            Progress::Head => {
                self.kept.extend_from_slice(bytes);
                self.parse()
            }
        }
    }

    /// The request was answered; the next one may be here already.
    pub(super) fn answered(&mut self) -> Seen {
        self.progress = Progress::Head;
        if self.kept.is_empty() { Seen::Part } else { self.parse() }
    }

    /// The peer wants to send more requests.
    pub(super) const fn stays(&self) -> bool {
        self.keep_alive
    }

    fn keep(&mut self, bytes: &[u8]) -> Option<Seen> {
        self.kept.extend_from_slice(bytes);
        (self.kept.len() > LONGEST_HEAD).then_some(Seen::Refused(431))
    }

    fn parse(&mut self) -> Seen {
        let mut headers = [httparse::EMPTY_HEADER; MOST_HEADERS];
        let mut request = httparse::Request::new(&mut headers);
        let head = match request.parse(&self.kept) {
            Ok(httparse::Status::Complete(head)) => head,
            Ok(httparse::Status::Partial) if self.kept.len() <= LONGEST_HEAD => return Seen::Part,
            Ok(httparse::Status::Partial) => return Seen::Refused(431),
            Err(_) => return Seen::Refused(400),
        };
        let named = |name: &str| {
            let header =
                request.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name));
            header.map(|header| String::from_utf8_lossy(header.value).trim().to_ascii_lowercase())
        };
        let connection = named("connection");
        self.keep_alive = match request.version {
            Some(0) => connection.as_deref() == Some("keep-alive"),
            Some(_) | None => connection.as_deref() != Some("close"),
        };
        if named("transfer-encoding").is_some() {
            return Seen::Refused(411);
        }
        let body = match named("content-length").map(|text| text.parse::<usize>()) {
            None => 0,
            Some(Ok(length)) if length <= LONGEST_BODY => length,
            Some(Ok(_)) => return Seen::Refused(413),
            Some(Err(_)) => return Seen::Refused(400),
        };
        let here = self.kept.len() - head;
        if here < body {
            self.kept.clear();
            self.progress = Progress::Body { left: body - here };
            return Seen::Part;
        }
        self.kept.drain(..head + body);
        self.progress = Progress::InService;
        Seen::Whole
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_whole_with_its_last_byte_and_not_before() {
        let request = b"POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello";
        let mut connection = Connection::new();
        let (last, before) = request.split_last().unwrap();
        for byte in before {
            assert_eq!(connection.read(&[*byte]), Seen::Part);
        }
        assert_eq!(connection.read(&[*last]), Seen::Whole);
        assert!(connection.stays());
    }

    #[test]
    fn a_request_sent_ahead_waits_for_its_turn() {
        let mut connection = Connection::new();
        let two = b"POST / HTTP/1.1\r\nContent-Length: 1\r\n\r\nxGET / HTTP/1.1\r\nConnection: close\r\n\r\n";
        assert_eq!(connection.read(two), Seen::Whole);
        assert_eq!(connection.answered(), Seen::Whole);
        assert!(!connection.stays());
        assert_eq!(connection.answered(), Seen::Part);
    }

    #[test]
    fn what_cannot_be_served_is_refused() {
        let seen = |text: &str| Connection::new().read(text.as_bytes());
        assert_eq!(seen("nonsense\r\n\r\n"), Seen::Refused(400));
        assert_eq!(seen("GET / HTTP/1.1\r\nContent-Length: x\r\n\r\n"), Seen::Refused(400));
        assert_eq!(
            seen("GET / HTTP/1.1\r\nContent-Length: 9999999999\r\n\r\n"),
            Seen::Refused(413)
        );
        assert_eq!(
            seen("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"),
            Seen::Refused(411)
        );
        let endless = format!("GET / HTTP/1.1\r\nA: {}", "a".repeat(LONGEST_HEAD));
        assert_eq!(seen(&endless), Seen::Refused(431));
        let mut patient = Connection::new();
        assert_eq!(patient.read(b"GET / HTTP/1.1\r\n\r\n"), Seen::Whole);
        assert_eq!(patient.read(&vec![b'a'; LONGEST_HEAD + 1]), Seen::Refused(431));
    }
}
