//! TLS for the one port: certificate chain and key from PEM files, HTTP/2 and HTTP/1.1 by ALPN.

use std::{path::PathBuf, sync::Arc};

use rustls::ServerConfig;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject};
use thiserror::Error;
use tokio_rustls::TlsAcceptor;

/// Where certificate chain and private key lie.
#[derive(Clone, Debug)]
pub struct TlsFiles {
    /// The certificate chain, PEM, the server's own first.
    pub cert: PathBuf,
    pub key: PathBuf,
}

/// Certificate or key cannot be used.
#[derive(Debug, Error)]
pub enum TlsFileError {
    #[error("cannot read {path} as a PEM file")]
    Unreadable { path: PathBuf, source: rustls_pki_types::pem::Error },
    #[error("{path} holds no certificate")]
    NoCertificate { path: PathBuf },
    /// Certificate and key do not belong together, or are of an unsupported kind.
    #[error("certificate {cert} and key {key} cannot be used together")]
    Unusable { cert: PathBuf, key: PathBuf, source: rustls::Error },
}

/// The names in a certificate.
#[derive(Clone, Debug)]
pub(crate) struct Names(CertificateDer<'static>);

impl Names {
    /// Whether a client that knows the server by this name would take the certificate for it.
    pub(crate) fn include(&self, host: &str) -> bool {
        let Ok(name) = ServerName::try_from(host) else { return false };
        let certificate = webpki::EndEntityCert::try_from(&self.0);
        certificate
            .is_ok_and(|certificate| certificate.verify_is_valid_for_subject_name(&name).is_ok())
    }
}

/// Reads both files and prepares for handshakes.
pub(crate) fn acceptor(files: &TlsFiles) -> Result<(TlsAcceptor, Names), TlsFileError> {
    let unreadable = |path: &PathBuf| {
        let path = path.clone();
        move |source| TlsFileError::Unreadable { path, source }
    };
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_file_iter(&files.cert)
        .map_err(unreadable(&files.cert))?
        .collect::<Result<_, _>>()
        .map_err(unreadable(&files.cert))?;
    let Some(own) = chain.first() else {
        return Err(TlsFileError::NoCertificate { path: files.cert.clone() });
    };
    let names = Names(own.clone());
    let key = PrivateKeyDer::from_pem_file(&files.key).map_err(unreadable(&files.key))?;
    let unusable = |source| TlsFileError::Unusable {
        cert: files.cert.clone(),
        key: files.key.clone(),
        source,
    };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(unusable)?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(unusable)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok((TlsAcceptor::from(Arc::new(config)), names))
}
