//! Who may ask: AWS Signature Version 4, checked by signing the request again and comparing.
//!
//! Only headers that the signature names count, and those that decide what is asked have to be among them.
//! A request that cannot be signed again is refused, and so is what has no one meaning: a header that stands twice,
//! bytes that are no text. Nothing that fails here has a value that could equal something.
//! Temporary credentials (session tokens) are not known here. A signature is good for five minutes around
//! its date; within them the same request may come again, as with AWS.

use std::collections::HashSet;

use assay_sagemaker::{
    error::{ApiError, ErrorCode},
    service::Service,
};
use aws_credential_types::Credentials;
use aws_sigv4::{
    http_request::{SignableBody, SignableRequest, SigningSettings, sign},
    sign::v4::SigningParams,
};
use http::{HeaderName, header, request::Parts};
use jiff::{SignedDuration, Timestamp, civil::DateTime, tz::TimeZone};
use percent_encoding::percent_decode_str;
use subtle::ConstantTimeEq;

use crate::sagemaker::keys::{Key, Keys};

const ALGORITHM: &str = "AWS4-HMAC-SHA256";
const TERMINATOR: &str = "aws4_request";
const WINDOW: SignedDuration = SignedDuration::from_mins(5);
const DATE_FORMAT: &str = "%Y%m%dT%H%M%SZ";
const DATE: HeaderName = HeaderName::from_static("x-amz-date");
const TARGET: HeaderName = HeaderName::from_static("x-amz-target");
const SESSION_TOKEN: HeaderName = HeaderName::from_static("x-amz-security-token");
// Whom it is meant for, when, and what is asked: unsigned, anybody on the way could change them.
const MUST_BE_SIGNED: [HeaderName; 3] = [header::HOST, DATE, TARGET];

#[derive(Debug)]
pub(crate) enum Gate {
    /// Everybody who reaches the port, which listens on this machine only.
    Open,
    /// Nobody: the operator did not say who.
    Closed,
    /// Whoever signs with one of these keys, for this region.
    Signed { keys: Keys, region: String },
}

/// What the headers of a request claim; its body decides whether that is true.
#[derive(Debug)]
pub(crate) struct Claim<'a>(Option<Signed<'a>>);

#[derive(Debug)]
struct Signed<'a> {
    authorization: Authorization<'a>,
    key: &'a Key,
    at: Timestamp,
}

/// The header `Authorization: AWS4-HMAC-SHA256 Credential=…, SignedHeaders=…, Signature=…`.
#[derive(Debug, PartialEq)]
struct Authorization<'a> {
    access_key_id: &'a str,
    date: &'a str,
    region: &'a str,
    service: &'a str,
    signed_headers: Vec<&'a str>,
    signature: Signature,
}

/// An HMAC-SHA256, which is written as 64 lower-case hexadecimal digits and in no other way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Signature([u8; 64]);

impl Signature {
    fn parse(text: &str) -> Option<Self> {
        let digits: [u8; 64] = text.as_bytes().try_into().ok()?;
        let is_digit = |byte: &u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        digits.iter().all(is_digit).then_some(Self(digits))
    }

    /// In a time that does not tell how far they agree.
    fn equals(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Gate {
    /// Looks at the headers; nothing of the body is read for somebody who is unknown.
    pub(crate) fn claim<'a>(
        &'a self,
        parts: &'a Parts,
        now: Timestamp,
    ) -> Result<Claim<'a>, ApiError> {
        match self {
            Self::Open => Ok(Claim(None)),
            Self::Closed => Err(ApiError::new(
                ErrorCode::AccessDeniedException,
                "this coordinator does not answer the SageMaker API; \
                 start it with --aws-auth sigv4 and --aws-keys FILE",
            )),
            Self::Signed { keys, region } => {
                signed(keys, region, parts, now).map(|signed| Claim(Some(signed)))
            }
        }
    }
}

impl Claim<'_> {
    /// Whether the whole request is what the owner of the key signed.
    pub(crate) fn verify(&self, parts: &Parts, body: &[u8]) -> Result<(), ApiError> {
        let Some(signed) = &self.0 else {
            return Ok(());
        };
        let right = signed.again(parts, body)?;
        if !right.equals(&signed.authorization.signature) {
            return Err(does_not_match());
        }
        tracing::debug!(key = signed.key.name, "signed");
        Ok(())
    }
}

fn signed<'a>(
    keys: &'a Keys,
    region: &str,
    parts: &'a Parts,
    now: Timestamp,
) -> Result<Signed<'a>, ApiError> {
    let authorization = only(parts, &header::AUTHORIZATION)?.ok_or_else(|| {
        let code = ErrorCode::MissingAuthenticationTokenException;
        ApiError::new(code, "Missing Authentication Token")
    })?;
    let authorization = Authorization::parse(authorization)?;
    let date = only(parts, &DATE)?.ok_or_else(|| {
        incomplete("Authorization header requires existence of a 'X-Amz-Date' header.")
    })?;
    let at = parse_date(date)?;
    let known = keys.get(authorization.access_key_id);
    let key = known.filter(|_| !parts.headers.contains_key(&SESSION_TOKEN)).ok_or_else(|| {
        let code = ErrorCode::UnrecognizedClientException;
        ApiError::new(code, "The security token included in the request is invalid.")
    })?;
    let service = Service::of_target(only(parts, &TARGET)?.unwrap_or_default());
    authorization.scoped_to(date, region, service)?;
    if let Some(missing) = MUST_BE_SIGNED
        .iter()
        .find(|name| !authorization.signed_headers.iter().any(|signed| signed == name))
    {
        return Err(invalid(format!(
            "'{missing}' must be a 'SignedHeader' in the AWS Authorization."
        )));
    }
    within_window(at, now)?;
    Ok(Signed { authorization, key, at })
}

fn within_window(at: Timestamp, now: Timestamp) -> Result<(), ApiError> {
    let oldest = now.saturating_sub(WINDOW).unwrap_or(Timestamp::MIN);
    let newest = now.saturating_add(WINDOW).unwrap_or(Timestamp::MAX);
    if at < oldest {
        return Err(ApiError::signature_expired(at, oldest, now));
    }
    if at > newest {
        return Err(ApiError::signature_not_yet_current(at, newest, now));
    }
    Ok(())
}

/// `20261122T203600Z`, exactly.
fn parse_date(text: &str) -> Result<Timestamp, ApiError> {
    let read = DateTime::strptime(DATE_FORMAT, text).ok();
    read.filter(|date| date.strftime(DATE_FORMAT).to_string() == text)
        .and_then(|date| date.to_zoned(TimeZone::UTC).ok())
        .map(|date| date.timestamp())
        .ok_or_else(|| {
            let shown = shortened(text);
            incomplete(format!("Date must be in ISO-8601 'basic format'. Got '{shown}'."))
        })
}

impl<'a> Authorization<'a> {
    fn parse(header: &'a str) -> Result<Self, ApiError> {
        let (algorithm, rest) = header.split_once(' ').unwrap_or((header, ""));
        if algorithm != ALGORITHM {
            let shown = shortened(algorithm);
            return Err(incomplete(format!("Unsupported AWS 'algorithm': '{shown}'.")));
        }
        let (mut credential, mut signed_headers, mut signature) = (None, None, None);
        for part in rest.split(',') {
            let Some((name, value)) = part.trim().split_once('=') else { continue };
            let place = match name {
                "Credential" => &mut credential,
                "SignedHeaders" => &mut signed_headers,
                "Signature" => &mut signature,
                _ => continue,
            };
            if place.replace(value).is_some() {
                return Err(incomplete(format!(
                    "Authorization header has the '{name}' parameter more than once."
                )));
            }
        }
        let [credential, signed_headers, signature] = [credential, signed_headers, signature]
            .map(|value| value.filter(|value| !value.is_empty()));
        let parts = [
            ("Credential", credential),
            ("Signature", signature),
            ("SignedHeaders", signed_headers),
        ];
        let (Some(credential), Some(signature), Some(signed_headers)) =
            (credential, signature, signed_headers)
        else {
            let missing = parts.iter().filter(|(_, value)| value.is_none());
            let complaints: Vec<String> = missing
                .map(|(name, _)| format!("Authorization header requires '{name}' parameter."))
                .collect();
            return Err(incomplete(complaints.join(" ")));
        };
        let &[access_key_id, date, region, service, terminator] =
            credential.split('/').collect::<Vec<_>>().as_slice()
        else {
            return Err(incomplete(format!(
                "Credential must have exactly 5 slash-delimited elements, \
                 e.g. keyid/date/region/service/term, got '{}'.",
                shortened(credential)
            )));
        };
        if terminator != TERMINATOR {
            return Err(invalid(format!(
                "Credential should be scoped with a valid terminator: '{TERMINATOR}', not '{}'.",
                shortened(terminator)
            )));
        }
        let signed_headers: Vec<&str> = signed_headers.split(';').collect();
        if signed_headers.iter().collect::<HashSet<_>>().len() < signed_headers.len() {
            return Err(does_not_match());
        }
        let signature = Signature::parse(signature).ok_or_else(does_not_match)?;
        Ok(Self { access_key_id, date, region, service, signed_headers, signature })
    }

    /// Whether the scope is that of this request. It goes into the key, so another one could never match;
    /// this only tells why.
    fn scoped_to(&self, date: &str, region: &str, service: Service) -> Result<(), ApiError> {
        let day = &date[..8];
        if self.date != day {
            let scope = shortened(self.date);
            return Err(invalid(format!(
                "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date \
                 from HTTP: '{scope}' != '{day}', from '{date}'."
            )));
        }
        if self.region != region {
            let scope = shortened(self.region);
            return Err(invalid(format!(
                "Credential should be scoped to a valid region, not '{scope}'; this is '{region}'."
            )));
        }
        let service = service.signing_name();
        if self.service != service {
            return Err(invalid(format!(
                "Credential should be scoped to correct service: '{service}'."
            )));
        }
        Ok(())
    }
}

impl Signed<'_> {
    /// The signature that the key gives this request; a refusal when it cannot be signed at all.
    fn again(&self, parts: &Parts, body: &[u8]) -> Result<Signature, ApiError> {
        let headers = self.signed_headers(parts)?;
        // Decoded, it has to have one meaning: what is no text would be replaced before it is signed.
        let query = parts.uri.query().unwrap_or_default();
        percent_decode_str(query)
            .decode_utf8()
            .map_err(|_| invalid("The query of the request is not UTF-8 and cannot be signed."))?;
        let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
        let request = SignableRequest::new(
            parts.method.as_str(),
            format!("https://coordinator{path}"),
            headers.into_iter(),
            SignableBody::Bytes(body),
        );
        let identity = Credentials::new(
            self.authorization.access_key_id,
            &*self.key.secret,
            None,
            None,
            "the keys file",
        )
        .into();
        let mut settings = SigningSettings::default();
        // The signer's own choice of what to leave out does not count here: the client's does.
        settings.excluded_headers = None;
        let terms = SigningParams::builder()
            .identity(&identity)
            .region(self.authorization.region)
            .name(self.authorization.service)
            .time(self.at.into())
            .settings(settings)
            .build()
            .map_err(cannot_be_signed)?
            .into();
        let request = request.map_err(cannot_be_signed)?;
        let (_, signature) = sign(request, &terms).map_err(cannot_be_signed)?.into_parts();
        Signature::parse(&signature).ok_or_else(does_not_match)
    }

    /// The headers that the signature names, each with every value that it has.
    fn signed_headers<'r>(&'r self, parts: &'r Parts) -> Result<Vec<(&'r str, &'r str)>, ApiError> {
        let mut headers = Vec::new();
        for name in &self.authorization.signed_headers {
            let before = headers.len();
            for value in parts.headers.get_all(*name) {
                let value = value.to_str().map_err(|_| not_ascii(name))?;
                headers.push((*name, value));
            }
            // HTTP/2 carries it in the URI.
            let host = parts.uri.authority().filter(|_| *name == header::HOST.as_str());
            if headers.len() == before {
                let authority = host.ok_or_else(|| {
                    let shown = shortened(name);
                    invalid(format!("The 'SignedHeader' '{shown}' is not in the request."))
                })?;
                headers.push((*name, authority.as_str()));
            }
        }
        Ok(headers)
    }
}

/// The one value of a header; `None` when the request does not have it.
fn only<'a>(parts: &'a Parts, name: &HeaderName) -> Result<Option<&'a str>, ApiError> {
    let mut values = parts.headers.get_all(name).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(incomplete(format!(
            "The header '{name}' stands more than once in the request."
        )));
    }
    value.to_str().map(Some).map_err(|_| not_ascii(name.as_str()))
}

fn not_ascii(name: &str) -> ApiError {
    incomplete(format!("The header '{name}' has bytes beyond ASCII and cannot be signed."))
}

/// The same words for whatever could not be checked: it was not shown to be right.
fn cannot_be_signed(error: impl std::error::Error) -> ApiError {
    tracing::debug!(%error, "a request cannot be signed again");
    does_not_match()
}

fn does_not_match() -> ApiError {
    invalid(
        "The request signature we calculated does not match the signature you provided. \
         Check your AWS Secret Access Key and signing method.",
    )
}

fn shortened(text: &str) -> String {
    text.chars().take(100).collect()
}

fn incomplete(message: impl Into<String>) -> ApiError {
    ApiError::new(ErrorCode::IncompleteSignatureException, message)
}

fn invalid(message: impl Into<String>) -> ApiError {
    ApiError::new(ErrorCode::InvalidSignatureException, message)
}

#[cfg(test)]
mod tests;
