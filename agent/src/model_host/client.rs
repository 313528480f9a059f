//! Single requests to the model host: `/ping`, one checking request per body, its statistics. Load is
//! the load generator's business.

use std::{fmt::Display, net::SocketAddr, time::Duration};

use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt, Full};
use hyper::{Request, body::Incoming};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use thiserror::Error;
use tokio::net::TcpStream;

use super::MODEL_NAME;

/// As much of an answer as is kept; the rest is read and dropped.
const KEPT: usize = 64 << 10;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    pub body: Bytes,
}

impl Answer {
    /// What an error answer says: the `error` of a JSON object and its `cause`, or the plain text.
    #[must_use]
    pub fn message(&self) -> String {
        #[derive(Deserialize)]
        struct Said {
            error: String,
            cause: Option<String>,
        }
        match serde_json::from_slice::<Said>(&self.body) {
            Ok(Said { error, cause: Some(cause) }) => format!("{error}: {cause}"),
            Ok(Said { error, cause: None }) => error,
            Err(_) => String::from_utf8_lossy(&self.body).chars().take(2000).collect(),
        }
    }
}

#[derive(Debug, Error)]
pub enum CallError {
    #[error("no answer within {:.1} s", .0.as_secs_f64())]
    TimedOut(Duration),
    #[error("the connection broke: {0}")]
    Broken(String),
}

/// Sends one request on a connection of its own.
///
/// # Errors
/// [`CallError`] when there is no whole answer in time.
pub async fn call(
    address: SocketAddr,
    request: Request<Full<Bytes>>,
    within: Duration,
) -> Result<Answer, CallError> {
    tokio::time::timeout(within, exchange(address, request))
        .await
        .map_err(|_| CallError::TimedOut(within))?
}

async fn exchange(address: SocketAddr, request: Request<Full<Bytes>>) -> Result<Answer, CallError> {
    let stream = TcpStream::connect(address).await.map_err(broken)?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
    let answer = async move {
        let response = sender.send_request(request).await?;
        let status = response.status().as_u16();
        Ok(Answer { status, body: beginning(response.into_body()).await? })
    };
    // The connection does the reading and writing; it ends with the sender.
    let (answer, _) = tokio::join!(answer, connection);
    answer.map_err(broken::<hyper::Error>)
}

fn broken<E: Display>(error: E) -> CallError {
    CallError::Broken(error.to_string())
}

async fn beginning(mut body: Incoming) -> Result<Bytes, hyper::Error> {
    let mut kept = BytesMut::new();
    while let Some(frame) = body.frame().await {
        if let Ok(data) = frame?.into_data() {
            let room = KEPT.saturating_sub(kept.len()).min(data.len());
            kept.extend_from_slice(&data[..room]);
        }
    }
    Ok(kept.freeze())
}

fn get(path: &str) -> Request<Full<Bytes>> {
    let mut request = Request::new(Full::default());
    *request.uri_mut() = path.parse().unwrap_or_default();
    request
        .headers_mut()
        .insert(hyper::header::HOST, hyper::header::HeaderValue::from_static("127.0.0.1"));
    request
}

/// Whether `/ping` is answered with 200.
pub async fn is_healthy(address: SocketAddr) -> bool {
    let answer = call(address, get("/ping"), Duration::from_secs(5)).await;
    answer.is_ok_and(|answer| answer.status == 200)
}

/// Sends one body to `/invocations`.
///
/// # Errors
/// [`CallError`] when there is no whole answer in time.
pub async fn invoke(
    address: SocketAddr,
    content_type: &str,
    body: Bytes,
    within: Duration,
) -> Result<Answer, CallError> {
    let request = Request::post("/invocations")
        .header(hyper::header::HOST, "127.0.0.1")
        .header(hyper::header::CONTENT_TYPE, content_type)
        .body(Full::new(body))
        .map_err(broken)?;
    call(address, request, within).await
}

/// What the host counts and reports of itself; fields it does not give are absent.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
pub struct HostStatistics {
    /// Calls whose output held a NaN.
    pub nan_outputs: Option<u64>,
    pub allocator: Option<String>,
}

/// Asks for the host's statistics; absent when it has none.
pub async fn statistics(address: SocketAddr) -> Option<HostStatistics> {
    #[derive(Deserialize)]
    struct Stats {
        assay: HostStatistics,
    }
    let path = format!("/v2/models/{MODEL_NAME}/stats");
    let answer = call(address, get(&path), Duration::from_secs(5)).await.ok()?;
    let stats: Stats = serde_json::from_slice(&answer.body).ok()?;
    (answer.status == 200).then_some(stats.assay)
}

/// One request to a metadata service, for instances in clouds.
pub(crate) async fn fetch_text(
    address: SocketAddr,
    request: Request<Full<Bytes>>,
    within: Duration,
) -> Option<String> {
    let answer = call(address, request, within).await.ok().filter(|answer| answer.status == 200)?;
    String::from_utf8(answer.body.to_vec()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_answer_is_told_in_the_hosts_own_words() {
        let answer =
            |body: &'static str| Answer { status: 400, body: Bytes::from_static(body.as_bytes()) };
        assert_eq!(
            answer(r#"{"error":"wrong shape","cause":"expected 3 channels"}"#).message(),
            "wrong shape: expected 3 channels"
        );
        assert_eq!(answer(r#"{"error":"wrong shape"}"#).message(), "wrong shape");
        assert_eq!(answer("plain").message(), "plain");
    }

    #[tokio::test]
    async fn nobody_there_is_not_healthy() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        assert!(!is_healthy(address).await);
        assert_eq!(statistics(address).await, None);
    }
}
