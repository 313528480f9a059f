//! HTTP/1.1 with keep-alive: one request at a time on a connection, sent from bytes encoded once.

use std::sync::Arc;

use bytes::Bytes;
use rustix::io::Errno;

use super::{
    exchange::{Broken, Ended, Ending, Exchange, Fault, Socket, Ticket},
    figures::ErrorKind,
    response::{Response, ResponseReader},
};
use crate::{payload::Payload, target::Target};

/// Encoded HTTP/1.1 requests.
#[derive(Debug)]
pub(crate) struct Requests(Vec<Bytes>);

impl Requests {
    /// One `POST` for each body; a single `GET` without a payload. Targets without a path get the
    /// SageMaker contract's: `/invocations` with a payload, `/ping` without.
    pub(crate) fn encode(target: &Target, payload: Option<&Payload>) -> Self {
        let given = match target {
            Target::Http { path, .. } => path.as_deref(),
            Target::Unix { .. } | Target::Grpc { .. } => None,
        };
        let host = target.authority();
        let common = format!(
            "Host: {host}\r\nUser-Agent: assay/{}\r\nAccept: */*\r\n",
            env!("CARGO_PKG_VERSION")
        );
        let Some(payload) = payload else {
            let path = given.unwrap_or("/ping");
            return Self(vec![Bytes::from(format!("GET {path} HTTP/1.1\r\n{common}\r\n"))]);
        };
        let path = given.unwrap_or("/invocations");
        let encode = |body: &Bytes| {
            let mut request = format!(
                "POST {path} HTTP/1.1\r\n{common}Content-Type: {}\r\nContent-Length: {}\r\n\r\n",
                payload.content_type,
                body.len()
            )
            .into_bytes();
            request.extend_from_slice(body);
            Bytes::from(request)
        };
        Self(payload.bodies.iter().map(encode).collect())
    }
}

#[derive(Debug)]
pub(crate) struct Http1 {
    requests: Arc<Requests>,
    ticket: Option<Ticket>,
    written: usize,
    reader: ResponseReader,
    spent: bool,
}

impl Http1 {
    fn unwritten(&self) -> &[u8] {
        match &self.ticket {
            Some(ticket) => &self.requests.0[ticket.request as usize][self.written..],
            None => &[],
        }
    }

    fn end(&mut self, response: Response, at_ns: u64, ended: &mut Vec<Ended>) {
        // An answer before the request is out leaves the rest of it in the way of the next one.
        self.spent |= !response.reusable || !self.unwritten().is_empty();
        if let Some(ticket) = self.ticket.take() {
            ended.push(Ended { ticket, ending: verdict(response), at_ns });
        }
    }
}

fn verdict(response: Response) -> Ending {
    if (200..300).contains(&response.status) {
        return Ending::Answered;
    }
    Ending::Failed(Box::new(Fault {
        kind: ErrorKind::Status,
        message: format!("HTTP status {}", response.status),
        status: Some(response.status),
        excerpt: response.excerpt,
    }))
}

impl Exchange for Http1 {
    type Requests = Requests;

    fn new(requests: &Arc<Requests>) -> Self {
        Self {
            requests: Arc::clone(requests),
            ticket: None,
            written: 0,
            reader: ResponseReader::default(),
            spent: false,
        }
    }

    fn streams(_: &Requests) -> u32 {
        1
    }

    fn variety(requests: &Requests) -> u32 {
        u32::try_from(requests.0.len()).unwrap_or(u32::MAX)
    }

    fn free(&self) -> u32 {
        u32::from(self.ticket.is_none() && !self.spent)
    }

    fn begin(&mut self, ticket: Ticket) {
        self.ticket = Some(ticket);
        self.written = 0;
    }

    fn write(&mut self, socket: &Socket) -> Result<bool, Errno> {
        while !self.unwritten().is_empty() {
            let sent = socket.send(self.unwritten())?;
            if sent == 0 {
                return Ok(false);
            }
            self.written += sent;
        }
        Ok(true)
    }

    fn has_output(&self) -> bool {
        false
    }

    fn read(&mut self, bytes: &[u8], at_ns: u64, ended: &mut Vec<Ended>) -> Result<(), Broken> {
        if self.ticket.is_none() {
            // Bytes that nobody asked for, such as a 408 before the server hangs up.
            self.spent = true;
            return Ok(());
        }
        let (used, response) =
            self.reader.read(bytes).map_err(|violation| Broken(violation.to_string()))?;
        if let Some(response) = response {
            self.end(response, at_ns, ended);
            self.spent |= used < bytes.len();
        }
        Ok(())
    }

    fn closed(&mut self, at_ns: u64, ended: &mut Vec<Ended>) -> Result<(), Broken> {
        self.spent = true;
        match self.reader.close() {
            Ok(Some(response)) => self.end(response, at_ns, ended),
            Ok(None) => {}
            Err(violation) => return Err(Broken(violation.to_string())),
        }
        Ok(())
    }

    fn spent(&self) -> bool {
        self.spent
    }

    fn expire(&mut self, before_ns: u64, expired: &mut Vec<Ticket>) -> bool {
        let late = self.ticket.take_if(|ticket| ticket.intended_ns < before_ns);
        expired.extend(late);
        late.is_none()
    }

    fn tickets(&self) -> impl Iterator<Item = Ticket> {
        self.ticket.into_iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_carry_the_body_and_its_length() {
        let payload = Payload {
            bodies: vec![Bytes::from("ab"), Bytes::from("c")],
            content_type: "text/csv".to_owned(),
            ..Payload::default()
        };
        let target: Target = "http://h:81/x?y=z".parse().unwrap();
        let requests = Requests::encode(&target, Some(&payload));
        let text = String::from_utf8(requests.0[0].to_vec()).unwrap();
        assert!(text.starts_with("POST /x?y=z HTTP/1.1\r\nHost: h:81\r\n"), "{text}");
        assert!(text.ends_with("Content-Type: text/csv\r\nContent-Length: 2\r\n\r\nab"), "{text}");
        assert_eq!(Http1::variety(&requests), 2);
    }

    #[test]
    fn the_path_follows_the_sagemaker_contract_when_none_is_given() {
        let start = |target: &str, payload: Option<&Payload>| {
            let requests = Requests::encode(&target.parse().unwrap(), payload);
            String::from_utf8_lossy(&requests.0[0]).lines().next().unwrap_or_default().to_owned()
        };
        let payload = Payload {
            bodies: vec![Bytes::from("x")],
            content_type: "text/csv".to_owned(),
            ..Payload::default()
        };
        assert_eq!(start("http://h", None), "GET /ping HTTP/1.1");
        assert_eq!(start("http://h/", None), "GET / HTTP/1.1");
        assert_eq!(start("unix:/s", Some(&payload)), "POST /invocations HTTP/1.1");
    }
}
