//! What a coordinator is started with.

use std::{net::SocketAddr, path::PathBuf, str::FromStr, time::Duration};

use assay_measure::units::Bytes;
pub use assay_sagemaker::recommendations::{LatencyUnit, OrderRule};

use http::Uri;
use thiserror::Error;

pub use crate::tls::TlsFiles;
use crate::web::host_of_url;

/// Everything that a coordinator needs to know before it starts.
#[derive(Debug)]
pub struct ServerSettings {
    pub listen: Listen,
    /// Where jobs, results and uploaded files are kept; made if it does not exist.
    pub data_dir: PathBuf,
    /// TLS certificate and key; required off loopback.
    pub tls: Option<TlsFiles>,
    /// File of access tokens, one per line; required off loopback.
    pub token_file: Option<PathBuf>,
    /// File of the operator's own prices, CSV or TOML.
    pub price_file: Option<PathBuf>,
    /// Where people reach its pages besides its own addresses and the names in its certificate.
    pub public_urls: Vec<PublicUrl>,
    /// How the SageMaker API is offered.
    pub aws: AwsSettings,
    /// The largest file that may be uploaded.
    pub artifact_limit: Bytes,
    /// How often agents report that they live.
    pub heartbeat_interval: Duration,
    /// After so long without a sign of life an agent is lost and its trial goes back to the queue.
    pub lease_term: Duration,
}

/// An address that leads to this coordinator from elsewhere, such as that of a proxy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicUrl {
    host: String,
}

/// A text is no such address.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{0:?} is no address of a web page; write it like https://assay.example.org")]
pub struct PublicUrlError(String);

impl PublicUrl {
    /// In lower case, without port, brackets and final dot.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }
}

impl FromStr for PublicUrl {
    type Err = PublicUrlError;

    fn from_str(text: &str) -> Result<Self, PublicUrlError> {
        let wrong = || PublicUrlError(text.to_owned());
        let url: Uri = text.parse().map_err(|_| wrong())?;
        let is_web = matches!(url.scheme_str(), Some("http" | "https"));
        // Whoever writes a path, or a user's name, expects more of it than a name.
        let is_bare = matches!(url.path_and_query().map(|rest| rest.as_str()), None | Some("/"));
        let host = host_of_url(&url).filter(|_| is_web && is_bare && !text.contains('@'));
        Ok(Self { host: host.ok_or_else(wrong)? })
    }
}

/// How the SageMaker API is offered.
#[derive(Clone, Debug)]
pub struct AwsSettings {
    pub auth: AwsAuth,
    /// The account that resource names carry: 12 digits.
    pub account: String,
    /// The region that resource names and signatures carry, and whose prices count.
    pub region: String,
    /// Models and payloads may be read from `file://` URLs below these directories.
    pub file_url_dirs: Vec<PathBuf>,
    /// The unit of `ModelLatency`.
    pub latency_unit: LatencyUnit,
    /// Which end of a list of recommendations is the cheapest.
    pub order: OrderRule,
}

/// Who may use the SageMaker API. Access tokens do not count there: its clients cannot send them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum AwsAuth {
    /// Everybody on this machine when listening on loopback without tokens, otherwise nobody.
    #[default]
    Unsaid,
    /// Everybody who reaches the port; refused off loopback.
    Off,
    /// Whoever signs with a key pair of this file.
    SigV4 { keys_file: PathBuf },
}

impl Default for AwsSettings {
    fn default() -> Self {
        Self {
            auth: AwsAuth::Unsaid,
            account: "000000000000".to_owned(),
            region: "us-east-1".to_owned(),
            file_url_dirs: Vec::new(),
            latency_unit: LatencyUnit::default(),
            order: OrderRule::default(),
        }
    }
}

#[derive(Debug)]
pub enum Listen {
    /// On this address; port 0 takes any free one.
    At(SocketAddr),
    /// On a socket that is bound already.
    Bound(std::net::TcpListener),
}

impl ServerSettings {
    /// The default settings: no TLS, no tokens, built-in prices, files up to 20 GiB.
    #[must_use]
    pub fn new(listen: Listen, data_dir: impl Into<PathBuf>) -> Self {
        Self {
            listen,
            data_dir: data_dir.into(),
            tls: None,
            token_file: None,
            price_file: None,
            public_urls: Vec::new(),
            aws: AwsSettings::default(),
            artifact_limit: Bytes::gib(20),
            heartbeat_interval: Duration::from_secs(5),
            lease_term: Duration::from_secs(30),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_public_url_is_a_scheme_and_a_host() {
        let host = |text: &str| text.parse::<PublicUrl>().map(|url| url.host().to_owned());
        assert_eq!(host("https://Assay.example.org:8443/").unwrap(), "assay.example.org");
        assert_eq!(host("http://10.0.0.1").unwrap(), "10.0.0.1");
        for bad in [
            "",
            "assay.example.org",
            "ftp://a",
            "https://",
            "https://a/b",
            "https://u@a",
            "https://a b",
        ] {
            assert!(host(bad).is_err(), "{bad:?}");
        }
    }
}
