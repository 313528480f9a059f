//! Pages asked for over HTTP, as a browser does.

use std::net::SocketAddr;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::support::{Coordinator, within};

/// An answer: status, head in lower case, body.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) head: String,
    pub(super) body: String,
}

impl Answer {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        let start = format!("{name}: ");
        self.head.lines().find_map(|line| line.strip_prefix(&start))
    }

    /// The pair to send back.
    pub(super) fn cookie(&self) -> String {
        self.header("set-cookie").unwrap().split(';').next().unwrap().to_owned()
    }

    /// What the forms of a page carry.
    pub(super) fn csrf(&self) -> &str {
        let (_, rest) = self.body.split_once(r#"name="csrf" value=""#).unwrap();
        rest.split('"').next().unwrap()
    }
}

pub(super) async fn ask(
    address: SocketAddr,
    method: &str,
    path: &str,
    head: &str,
    body: &str,
) -> Answer {
    let host = if head.contains("host:") { String::new() } else { format!("host: {address}\r\n") };
    let length = body.len();
    let kind = "content-type: application/x-www-form-urlencoded\r\n";
    let form = match method {
        "POST" if head.contains("content-type:") => format!("content-length: {length}\r\n"),
        "POST" => format!("{kind}content-length: {length}\r\n"),
        _ => String::new(),
    };
    let text = format!(
        "{method} {path} HTTP/1.1\r\n{host}accept: text/html\r\nconnection: close\r\n{form}{head}\r\n{body}"
    );
    let answered = async {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(text.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        String::from_utf8_lossy(&answer).into_owned()
    };
    let answer = within("an answer", answered).await;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    let head: Vec<String> = head
        .lines()
        .map(|line| match line.split_once(": ") {
            Some((name, value)) => format!("{}: {value}", name.to_ascii_lowercase()),
            None => line.to_owned(),
        })
        .collect();
    Answer { status, head: head.join("\n"), body: body.to_owned() }
}

pub(super) async fn get(address: SocketAddr, path: &str) -> Answer {
    ask(address, "GET", path, "", "").await
}

pub(super) fn address_of(coordinator: &Coordinator) -> SocketAddr {
    coordinator.url.strip_prefix("http://").unwrap().parse().unwrap()
}
