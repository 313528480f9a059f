//! Access tokens: who may call. One token per line of a file; blank lines and `#` comments are skipped.
//!
//! Agents and clients present one as `authorization: Bearer …`. Roles are not told apart here.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use axum::{
    extract::{Request, State},
    middleware::Next,
    response::{IntoResponse, Response},
};
use http::{HeaderValue, StatusCode, header};
use sha2::{Digest, Sha256};
use subtle::{Choice, ConstantTimeEq};
use thiserror::Error;

/// The tokens that open this coordinator. Only their checksums are kept.
#[derive(Clone, Debug)]
pub(crate) struct Tokens {
    digests: Arc<[[u8; 32]]>,
}

/// The token file cannot be used.
#[derive(Debug, Error)]
pub enum TokenFileError {
    #[error("cannot read the token file {path}")]
    Unreadable { path: PathBuf, source: io::Error },
    #[error("the token file {path} holds no token")]
    Empty { path: PathBuf },
}

impl Tokens {
    pub(crate) fn read(path: &Path) -> Result<Self, TokenFileError> {
        let text = fs::read_to_string(path)
            .map_err(|source| TokenFileError::Unreadable { path: path.to_owned(), source })?;
        let digests: Arc<[[u8; 32]]> = text
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty() && !line.starts_with('#'))
            .map(|token| Sha256::digest(token.as_bytes()).into())
            .collect();
        if digests.is_empty() {
            return Err(TokenFileError::Empty { path: path.to_owned() });
        }
        Ok(Self { digests })
    }

    /// Whether a presented token is one of them. The time it takes says nothing about the tokens:
    /// checksums are compared, every one of them, every byte.
    pub(crate) fn accepts(&self, presented: &[u8]) -> bool {
        let presented: [u8; 32] = Sha256::digest(presented).into();
        let is_same = self.digests.iter().map(|digest| digest.ct_eq(&presented));
        is_same.fold(Choice::from(0), |accepted, same| accepted | same).into()
    }

    fn admits(&self, request: &Request) -> bool {
        is_open(request.uri().path())
            || request
                .headers()
                .get(header::AUTHORIZATION)
                .and_then(|value| value.as_bytes().strip_prefix(b"Bearer "))
                .is_some_and(|token| self.accepts(token))
    }
}

/// Health is visible to load balancers and supervisors, which hold no token.
fn is_open(path: &str) -> bool {
    matches!(path, "/healthz" | "/readyz") || path.starts_with("/grpc.health.v1.Health/")
}

/// Lets a request through only with a valid token.
pub(crate) async fn require_token(
    State(tokens): State<Tokens>,
    request: Request,
    next: Next,
) -> Response {
    if tokens.admits(&request) {
        return next.run(request).await;
    }
    if is_grpc(&request) {
        let status = assay_proto::refusal(
            tonic::Code::Unauthenticated,
            "no valid access token\nhint: give --token-file with a token of this coordinator",
        );
        return status.into_http::<axum::body::Body>().into_response();
    }
    let mut refusal = (StatusCode::UNAUTHORIZED, "no valid access token\n").into_response();
    refusal
        .headers_mut()
        .insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"assay\""));
    refusal
}

/// Whether a request expects its refusal as a gRPC status.
pub(crate) fn is_grpc(request: &Request) -> bool {
    let content_type = request.headers().get(header::CONTENT_TYPE);
    content_type.is_some_and(|value| value.as_bytes().starts_with(b"application/grpc"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(text: &str) -> Result<Tokens, TokenFileError> {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("tokens");
        fs::write(&path, text).unwrap();
        Tokens::read(&path)
    }

    #[test]
    fn every_listed_token_opens_and_nothing_else_does() {
        let tokens = tokens("# operators\nalpha\n\n  beta  \n").unwrap();
        assert!(tokens.accepts(b"alpha"));
        assert!(tokens.accepts(b"beta"));
        for wrong in [b"".as_slice(), b"alph", b"alphaa", b"# operators", b"ALPHA"] {
            assert!(!tokens.accepts(wrong), "{wrong:?} was accepted");
        }
    }

    #[test]
    fn a_missing_or_empty_token_file_is_refused() {
        assert!(matches!(tokens("# nothing\n\n"), Err(TokenFileError::Empty { .. })));
        assert!(matches!(
            Tokens::read(Path::new("/nonexistent/tokens")),
            Err(TokenFileError::Unreadable { .. })
        ));
    }
}
