//! Why a coordinator cannot start, and what to do about it.

use std::{io, net::SocketAddr, path::PathBuf};

use assay_planning::price_file::PriceFileError;
use thiserror::Error;

use crate::{
    data_dir::DataDirError, sagemaker::keys::KeysFileError, store::StoreError, tls::TlsFileError,
    tokens::TokenFileError,
};
use assay_sagemaker::arn::BadAccount;

/// A coordinator cannot start. Nothing was left half-done.
#[derive(Debug, Error)]
pub enum StartError {
    #[error("refusing to listen on {0} without authentication")]
    Unprotected(SocketAddr),
    #[error("cannot listen on {address}")]
    Listen { address: SocketAddr, source: io::Error },
    #[error("cannot use the listening socket")]
    Socket(#[source] io::Error),
    #[error(transparent)]
    Tls(#[from] TlsFileError),
    #[error(transparent)]
    Tokens(#[from] TokenFileError),
    #[error("refusing to offer the SageMaker API on {0} without signatures")]
    AwsUnprotected(SocketAddr),
    #[error(transparent)]
    AwsKeys(#[from] KeysFileError),
    /// What resource names of the SageMaker API are made of.
    #[error(transparent)]
    AwsAccount(#[from] BadAccount),
    #[error("cannot use {path} for file:// URLs")]
    FileUrlDir { path: PathBuf, source: io::Error },
    #[error("cannot read the price file {path}")]
    PricesUnreadable { path: PathBuf, source: io::Error },
    #[error("the price file {path} is wrong")]
    PricesMalformed { path: PathBuf, source: PriceFileError },
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("cannot use the directory of uploaded files {path}")]
    Artifacts { path: PathBuf, source: io::Error },
}

impl StartError {
    /// One thing to do next, for people.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Unprotected(_) => {
                "give --tls-cert, --tls-key and --token-file, or listen on 127.0.0.1"
            }
            Self::Listen { source, .. } if source.kind() == io::ErrorKind::AddrInUse => {
                "choose another port with --listen, or port 0 for any free one"
            }
            Self::Listen { .. } => "listen on an address of this machine, such as 127.0.0.1:7440",
            Self::Tls(_) => "--tls-cert takes a certificate chain and --tls-key its key, both PEM",
            Self::Tokens(_) => "write one token per line; lines that begin with # are comments",
            Self::AwsUnprotected(_) => {
                "give --aws-auth sigv4 with --aws-keys FILE, or listen on 127.0.0.1"
            }
            Self::AwsKeys(_) => {
                "write a table for each key pair: [NAME], access_key_id = \"…\", secret_access_key = \"…\""
            }
            Self::AwsAccount(_) => {
                "--aws-account takes 12 digits and --aws-region a name such as us-east-1"
            }
            Self::FileUrlDir { .. } => "--allow-file-urls takes a directory that exists",
            Self::PricesUnreadable { .. } | Self::PricesMalformed { .. } => {
                "CSV needs the columns instance_type,region,usd_per_hour,source,as_of"
            }
            Self::DataDir(DataDirError::NotWritable { .. }) | Self::Artifacts { .. } => {
                "choose a directory that this user may write to with --data-dir"
            }
            Self::DataDir(DataDirError::InUse { .. }) => {
                "stop the other coordinator, or give this one a --data-dir of its own"
            }
            Self::Store(StoreError::NewerSchema { .. }) => {
                "use the version of assay that wrote it, or a newer one, or another --data-dir"
            }
            Self::Store(_) | Self::Socket(_) => return None,
        };
        Some(hint.to_owned())
    }
}
