//! The coordinator as a gRPC peer: address, certificates, token, and what its refusals mean.

use std::{error::Error as _, time::Duration};

use assay_proto::{LARGEST_REQUEST, v1::agent_service_client::AgentServiceClient};
use thiserror::Error;
use tonic::{
    Code, Status,
    metadata::{Ascii, MetadataValue},
    service::{Interceptor, interceptor::InterceptedService},
    transport::{Certificate, Channel, ClientTlsConfig, Endpoint},
};

/// Where the coordinator is, and how it is trusted and convinced.
#[derive(Clone, Debug)]
pub struct Coordinates {
    /// `http://HOST:PORT` or `https://HOST:PORT`.
    pub url: String,
    /// Certificates to trust instead of the system's, in PEM.
    pub ca_certificate: Option<Vec<u8>>,
    pub token: Option<String>,
}

/// The coordinator cannot even be dialled.
#[derive(Debug, Error)]
pub enum BadCoordinates {
    #[error("{0:?} is not the address of a coordinator; write it like http://127.0.0.1:7440")]
    Url(String),
    #[error("{0:?} has no TLS: the token would be readable on the way")]
    TokenInTheClear(String),
    #[error("cannot set up TLS: {0}")]
    Tls(String),
    #[error("the token holds characters other than visible ASCII ones")]
    Token,
}

/// A coordinator. Connections are made when they are needed and shared between calls.
#[derive(Clone, Debug)]
pub struct Coordinator {
    channel: Channel,
    authorization: Authorization,
}

/// Puts the token into every call.
#[derive(Clone, Debug)]
pub struct Authorization(Option<MetadataValue<Ascii>>);

impl Interceptor for Authorization {
    fn call(&mut self, mut request: tonic::Request<()>) -> Result<tonic::Request<()>, Status> {
        if let Some(value) = &self.0 {
            request.metadata_mut().insert("authorization", value.clone());
        }
        Ok(request)
    }
}

impl Coordinator {
    /// Prepares to talk; nothing is dialled yet. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// [`BadCoordinates`] when address, certificate or token cannot be right.
    pub fn new(coordinates: &Coordinates) -> Result<Self, BadCoordinates> {
        let bad_url = || BadCoordinates::Url(coordinates.url.clone());
        let endpoint = Endpoint::from_shared(coordinates.url.clone()).map_err(|_| bad_url())?;
        let uri = endpoint.uri().clone();
        let host = uri.host().filter(|host| !host.is_empty()).ok_or_else(bad_url)?;
        let mut endpoint = endpoint
            .connect_timeout(Duration::from_secs(5))
            // Both are off by default, and a cut cable would go unnoticed.
            .http2_keep_alive_interval(Duration::from_secs(10))
            .keep_alive_timeout(Duration::from_secs(5))
            .keep_alive_while_idle(true)
            .tcp_nodelay(true);
        match uri.scheme_str() {
            Some("https") => {
                let tls = match &coordinates.ca_certificate {
                    Some(pem) => ClientTlsConfig::new().ca_certificate(Certificate::from_pem(pem)),
                    None => ClientTlsConfig::new().with_native_roots(),
                };
                endpoint =
                    endpoint.tls_config(tls).map_err(|error| BadCoordinates::Tls(chain(&error)))?;
            }
            Some("http") if coordinates.token.is_some() && !is_loopback(host) => {
                return Err(BadCoordinates::TokenInTheClear(coordinates.url.clone()));
            }
            Some("http") => {}
            _ => return Err(bad_url()),
        }
        let authorization = match &coordinates.token {
            Some(token) => {
                let mut value: MetadataValue<Ascii> =
                    format!("Bearer {token}").parse().map_err(|_| BadCoordinates::Token)?;
                value.set_sensitive(true);
                Some(value)
            }
            None => None,
        };
        Ok(Self { channel: endpoint.connect_lazy(), authorization: Authorization(authorization) })
    }

    /// A client over the shared connection.
    #[must_use]
    pub fn client(&self) -> AgentServiceClient<InterceptedService<Channel, Authorization>> {
        AgentServiceClient::with_interceptor(self.channel.clone(), self.authorization.clone())
            .max_decoding_message_size(LARGEST_REQUEST)
            .max_encoding_message_size(LARGEST_REQUEST)
    }
}

fn is_loopback(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || address.parse().is_ok_and(|ip: std::net::IpAddr| ip.is_loopback())
}

/// The coordinator does not want this agent, and asking again would not help.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Refusal {
    #[error("the coordinator refuses this agent: {0}")]
    NameTaken(String),
    #[error("the coordinator refuses this agent: {0}")]
    ProtocolVersion(String),
    #[error("the coordinator refuses this agent: {0}")]
    Unauthenticated(String),
    #[error("the coordinator refuses this agent: {0}")]
    Malformed(String),
    #[error("there is no coordinator at this address: {0}")]
    NoCoordinator(String),
}

impl Refusal {
    pub(super) fn from_status(status: &Status) -> Option<Self> {
        type Meaning = fn(String) -> Refusal;
        const MEANINGS: [(Code, Meaning); 6] = [
            (Code::AlreadyExists, Refusal::NameTaken),
            (Code::FailedPrecondition, Refusal::ProtocolVersion),
            (Code::Unauthenticated, Refusal::Unauthenticated),
            (Code::PermissionDenied, Refusal::Unauthenticated),
            (Code::InvalidArgument, Refusal::Malformed),
            (Code::Unimplemented, Refusal::NoCoordinator),
        ];
        let (_, refusal) = MEANINGS.iter().find(|(code, _)| *code == status.code())?;
        Some(refusal(status.message().to_owned()))
    }

    /// One thing to do next.
    #[must_use]
    pub const fn hint(&self) -> &'static str {
        match self {
            Self::NameTaken(_) => "give this agent another --name, or stop the other one",
            Self::ProtocolVersion(_) => "install the same version of assay-agent and assay",
            Self::Unauthenticated(_) => {
                "give --token-file a file with a token that the coordinator knows"
            }
            Self::Malformed(_) => {
                "install the same version of assay-agent and assay, and check --labels"
            }
            Self::NoCoordinator(_) => "check --server; `assay serve` prints its address",
        }
    }

    #[must_use]
    pub const fn exit_code(&self) -> u8 {
        if matches!(self, Self::Unauthenticated(_)) { 4 } else { 1 }
    }
}

/// Whether a stream was ended over something that was said on it, which would end the next one too: a
/// message that cannot be read, or is larger than the coordinator takes.
pub(super) fn refuses_for_good(status: &Status) -> bool {
    let about_size = || status.message().contains("message") && status.message().contains("larg");
    matches!(status.code(), Code::InvalidArgument | Code::OutOfRange)
        || (status.code() == Code::ResourceExhausted && about_size())
}

/// A failed call in one line: gRPC's message, and what the transport said below it.
pub(super) fn describe(status: &Status) -> String {
    let mut text = if status.message().is_empty() {
        format!("{:?}", status.code())
    } else {
        status.message().to_owned()
    };
    if let Some(source) = status.source() {
        let below = chain(source);
        if !text.contains(&below) {
            text = format!("{text}: {below}");
        }
    }
    text
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(next) = source {
        let below = next.to_string();
        if !text.contains(&below) {
            text = format!("{text}: {below}");
        }
        source = next.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn coordinates(url: &str, token: Option<&str>) -> Coordinates {
        Coordinates { url: url.to_owned(), ca_certificate: None, token: token.map(str::to_owned) }
    }

    #[tokio::test]
    async fn what_is_no_address_is_refused_before_dialling() {
        for bad in ["", "127.0.0.1:7440", "ftp://host", "http://", "not a url"] {
            let error = Coordinator::new(&coordinates(bad, None)).unwrap_err();
            assert!(matches!(error, BadCoordinates::Url(_)), "{bad:?}: {error}");
        }
        assert!(Coordinator::new(&coordinates("http://10.1.2.3:7440", None)).is_ok());
    }

    #[tokio::test]
    async fn a_token_is_never_sent_in_the_clear() {
        let sent = Coordinator::new(&coordinates("http://10.1.2.3:7440", Some("secret")));
        assert!(matches!(sent, Err(BadCoordinates::TokenInTheClear(_))));
        assert!(Coordinator::new(&coordinates("http://127.0.0.1:7440", Some("secret"))).is_ok());
        assert!(Coordinator::new(&coordinates("http://[::1]:7440", Some("secret"))).is_ok());
        let bad = Coordinator::new(&coordinates("http://127.0.0.1:7440", Some("a\nb")));
        assert!(matches!(bad, Err(BadCoordinates::Token)));
    }

    #[test]
    fn refusals_end_the_agent_and_broken_connections_do_not() {
        let refusal = Refusal::from_status(&Status::unauthenticated("unknown token")).unwrap();
        assert_eq!((refusal.exit_code(), refusal.hint().is_empty()), (4, false));
        assert_eq!(Refusal::from_status(&Status::already_exists("x")).unwrap().exit_code(), 1);
        assert_eq!(Refusal::from_status(&Status::failed_precondition("x")).unwrap().exit_code(), 1);
        assert_eq!(Refusal::from_status(&Status::unknown("h2 protocol error")), None);
        assert_eq!(Refusal::from_status(&Status::unavailable("x")), None);
    }
}
