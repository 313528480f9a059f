//! The SageMaker API as its clients see it: JSON over HTTP, on a free port.

mod endpoints;
mod environment;
mod front;
mod inputs;
mod measured;
mod packages;
mod random;
mod registry;
mod signed;

use std::collections::BTreeMap;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::support::{Coordinator, within};

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("no JSON: {self:?}"))
    }

    /// The code and the message of a refusal.
    pub(crate) fn refusal(&self) -> (String, String) {
        assert!((400..500).contains(&self.status), "{self:?}");
        let body = self.json();
        let message = body.get("Message").or(body.get("message")).unwrap();
        (body["__type"].as_str().unwrap().to_owned(), message.as_str().unwrap().to_owned())
    }
}

/// One HTTP/1.1 request to `POST /`.
pub(crate) async fn post(url: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
    let request = written(url, "POST /", headers, body);
    exchange(url, &request).await.expect("the connection ended without an answer")
}

/// A request as it goes over the wire.
fn written(url: &str, asks: &str, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let mut head = format!("{asks} HTTP/1.1\r\nconnection: close\r\n");
    if !headers.iter().any(|(name, _)| *name == "host") {
        head += &format!("host: {}\r\n", url.trim_start_matches("http://"));
    }
    if !headers.iter().any(|(name, _)| *name == "content-length") {
        head += &format!("content-length: {}\r\n", body.len());
    }
    for (name, value) in headers {
        head += &format!("{name}: {value}\r\n");
    }
    [head.as_bytes(), b"\r\n", body].concat()
}

/// `None` when the connection ended without a whole answer.
async fn exchange(url: &str, request: &[u8]) -> Option<Answer> {
    let address = url.trim_start_matches("http://");
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    // A server that refuses what it has seen so far need not take the rest.
    drop(stream.write_all(request).await);
    let mut answer = Vec::new();
    drop(within("an answer", stream.read_to_end(&mut answer)).await);
    parsed(&String::from_utf8(answer).unwrap())
}

fn parsed(answer: &str) -> Option<Answer> {
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let mut lines = head.lines();
    let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
    let header = |line: &str| {
        let (name, value) = line.split_once(": ")?;
        Some((name.to_ascii_lowercase(), value.to_owned()))
    };
    let headers: BTreeMap<_, _> = lines.map(header).collect::<Option<_>>()?;
    let length = headers.get("content-length").and_then(|length| length.parse().ok());
    let is_whole = length.is_none_or(|length: usize| length == body.len());
    is_whole.then(|| Answer { status, headers, body: body.to_owned() })
}

impl Coordinator {
    /// Any answer to an operation of SageMaker, or of the logs with their prefix.
    pub(crate) async fn aws(&self, operation: &str, request: &Value) -> Answer {
        let target = match operation.split_once('.') {
            Some(_) => operation.to_owned(),
            None => format!("SageMaker.{operation}"),
        };
        let headers =
            [("x-amz-target", target.as_str()), ("content-type", "application/x-amz-json-1.1")];
        post(&self.url, &headers, request.to_string().as_bytes()).await
    }

    /// An operation that succeeds with a document.
    pub(crate) async fn aws_ok(&self, operation: &str, request: &Value) -> Value {
        let answer = self.aws(operation, request).await;
        assert_eq!(answer.status, 200, "{operation}: {}", answer.body);
        answer.json()
    }

    /// An operation that succeeds without a document.
    pub(crate) async fn aws_done(&self, operation: &str, request: &Value) {
        let answer = self.aws(operation, request).await;
        assert_eq!((answer.status, answer.body.as_str()), (200, ""), "{operation}");
    }

    /// An operation that is refused with this code; the message.
    pub(crate) async fn aws_refused(&self, operation: &str, request: &Value, code: &str) -> String {
        let (found, message) = self.aws(operation, request).await.refusal();
        assert_eq!(found, code, "{operation}: {message}");
        message
    }
}
