//! One lean client: the requests that boto3 sends, over one connection, at almost no cost of its own.

use std::{
    io::{BufRead, BufReader, Write},
    net::TcpStream,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

const PATIENCE: Duration = Duration::from_secs(60);

/// A connection to the coordinator.
#[derive(Debug)]
pub(crate) struct Probe {
    address: String,
    stream: BufReader<TcpStream>,
}

impl Probe {
    pub(crate) fn connect(url: &str) -> Result<Self> {
        let address = url.trim_start_matches("http://").to_owned();
        let stream =
            TcpStream::connect(&address).with_context(|| format!("cannot connect to {address}"))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Self { address, stream: BufReader::new(stream) })
    }

    /// Asks, wants the answer 200, and tells how long it took to be there as a whole.
    pub(crate) fn ask(&mut self, operation: &str, body: &str) -> Result<(Duration, String)> {
        let request = format!(
            "POST / HTTP/1.1\r\nhost: {}\r\ncontent-type: application/x-amz-json-1.1\r\n\
             x-amz-target: SageMaker.{operation}\r\ncontent-length: {}\r\n\r\n{body}",
            self.address,
            body.len()
        );
        let asked = Instant::now();
        self.stream.get_mut().write_all(request.as_bytes())?;
        let (status, answer) = answer(&mut self.stream)?;
        let took = asked.elapsed();
        if status != 200 {
            bail!("{operation} was answered with {status}: {answer}");
        }
        Ok((took, answer))
    }
}

/// The status and the body of an answer that says its length.
fn answer(stream: &mut impl BufRead) -> Result<(u16, String)> {
    let mut line = String::new();
    stream.read_line(&mut line)?;
    let status = line.split(' ').nth(1).and_then(|status| status.parse().ok());
    let status = status.with_context(|| format!("no status in {line:?}"))?;
    let mut length = 0;
    loop {
        line.clear();
        if stream.read_line(&mut line)? == 0 {
            bail!("the answer broke off");
        }
        let header = line.trim();
        if header.is_empty() {
            break;
        }
        if let Some((name, value)) = header.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse()?;
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body)?;
    Ok((status, String::from_utf8(body)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_read_to_its_length_and_no_further() {
        let mut bytes: &[u8] =
            b"HTTP/1.1 400 Bad Request\r\nContent-Length: 3\r\nx: y\r\n\r\nabcHTTP/1.1 200 OK\r\n\r\n";
        assert_eq!(answer(&mut bytes).unwrap(), (400, "abc".to_owned()));
        assert_eq!(answer(&mut bytes).unwrap(), (200, String::new()));
        assert!(answer(&mut bytes).is_err());
    }
}
