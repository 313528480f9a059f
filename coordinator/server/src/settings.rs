//! What a coordinator is started with.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use assay_measure::units::Bytes;

pub use crate::tls::TlsFiles;

/// Everything that a coordinator needs to know before it starts.
#[derive(Debug)]
pub struct ServerSettings {
    /// Where to listen.
    pub listen: Listen,
    /// Where jobs, results and uploaded files are kept; made if it does not exist.
    pub data_dir: PathBuf,
    /// TLS certificate and key; required off loopback.
    pub tls: Option<TlsFiles>,
    /// File of access tokens, one per line; required off loopback.
    pub token_file: Option<PathBuf>,
    /// File of the operator's own prices, CSV or TOML.
    pub price_file: Option<PathBuf>,
    /// The largest file that may be uploaded.
    pub artifact_limit: Bytes,
    /// How often agents report that they live.
    pub heartbeat_interval: Duration,
    /// After so long without a sign of life an agent is lost and its trial goes back to the queue.
    pub lease_term: Duration,
}

/// Where to listen.
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
            artifact_limit: Bytes::gib(20),
            heartbeat_interval: Duration::from_secs(5),
            lease_term: Duration::from_secs(30),
        }
    }
}
