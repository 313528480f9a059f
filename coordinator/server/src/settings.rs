//! What a coordinator is started with.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use assay_measure::units::Bytes;
pub use assay_sagemaker::recommendations::{LatencyUnit, OrderRule};

pub use crate::tls::TlsFiles;

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
    /// How the SageMaker API is offered.
    pub aws: AwsSettings,
    /// The largest file that may be uploaded.
    pub artifact_limit: Bytes,
    /// How often agents report that they live.
    pub heartbeat_interval: Duration,
    /// After so long without a sign of life an agent is lost and its trial goes back to the queue.
    pub lease_term: Duration,
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
            aws: AwsSettings::default(),
            artifact_limit: Bytes::gib(20),
            heartbeat_interval: Duration::from_secs(5),
            lease_term: Duration::from_secs(30),
        }
    }
}
