//! Errors as clients parse them: an HTTP status and a small JSON body with a code and a message.
//!
//! Clients retry 5xx answers and dropped connections, so everything that a caller can cause is a 4xx.

use std::fmt;

use assay_measure::printable;
use jiff::{Timestamp, tz::TimeZone};
use serde_json::{Value, json};
use thiserror::Error;

use crate::service::Service;

macro_rules! error_codes {
    ($($(#[$doc:meta])* $name:ident = $status:literal),+ $(,)?) => {
        /// A code that clients map to an exception of theirs.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum ErrorCode {
            $($(#[$doc])* $name),+
        }

        impl ErrorCode {
            pub const ALL: &[Self] = &[$(Self::$name),+];

            /// The code on the wire.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => stringify!($name)),+ }
            }

            #[must_use]
            pub const fn http_status(self) -> u16 {
                match self { $(Self::$name => $status),+ }
            }
        }
    };
}

error_codes! {
    /// A member breaks a rule.
    ValidationException = 400,
    /// The same, in CloudWatch Logs' words.
    InvalidParameterException = 400,
    /// There is no such job or resource (SageMaker's spelling).
    ResourceNotFound = 400,
    /// There is no such log group or stream (CloudWatch Logs' spelling).
    ResourceNotFoundException = 400,
    ResourceInUse = 400,
    /// There is too much of it already.
    ResourceLimitExceeded = 400,
    /// The resource's state does not allow it.
    ConflictException = 400,
    /// Too many requests; clients try again later.
    ThrottlingException = 400,
    /// Who asks may not do this.
    AccessDeniedException = 400,
    /// The target names nothing that is answered.
    UnknownOperationException = 404,
    /// The body is not JSON, or a member has another type.
    SerializationException = 400,
    /// The signature is not what the secret gives, or too old.
    InvalidSignatureException = 403,
    MissingAuthenticationTokenException = 403,
    /// The access key id is unknown.
    UnrecognizedClientException = 403,
    /// The request's date is too far from the server's.
    RequestExpired = 400,
    /// The authorization header lacks a part.
    IncompleteSignatureException = 403,
    /// The server failed; clients may try again.
    InternalFailure = 500,
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A request that is refused.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{code}: {message}")]
pub struct ApiError {
    pub code: ErrorCode,
    pub message: String,
}

impl ApiError {
    #[must_use]
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }

    /// A member or a combination of members breaks a rule.
    #[must_use]
    pub fn validation(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::ValidationException, message)
    }

    /// The document cannot be read.
    #[must_use]
    pub fn serialization(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::SerializationException, message)
    }

    /// The text that the SageMaker SDK looks for, and then goes on.
    #[must_use]
    pub fn model_exists(arn: &str) -> Self {
        Self::validation(format!("Cannot create already existing model \"{arn}\"."))
    }

    /// No such model; SageMaker has no code of its own for it.
    #[must_use]
    pub fn no_such_model(arn: &str) -> Self {
        Self::validation(format!("Could not find model \"{arn}\"."))
    }

    /// The signature's date lies before the window that is accepted.
    #[must_use]
    pub fn signature_expired(signed_at: Timestamp, oldest: Timestamp, now: Timestamp) -> Self {
        let message = format!(
            "Signature expired: {} is now earlier than {} ({} - {} min.)",
            basic(signed_at),
            basic(oldest),
            basic(now),
            now.as_second().saturating_sub(oldest.as_second()) / 60,
        );
        Self::new(ErrorCode::InvalidSignatureException, message)
    }

    /// The signature's date lies after the window that is accepted.
    #[must_use]
    pub fn signature_not_yet_current(
        signed_at: Timestamp,
        newest: Timestamp,
        now: Timestamp,
    ) -> Self {
        let message = format!(
            "Signature not yet current: {} is still later than {} ({} + {} min.)",
            basic(signed_at),
            basic(newest),
            basic(now),
            newest.as_second().saturating_sub(now.as_second()) / 60,
        );
        Self::new(ErrorCode::InvalidSignatureException, message)
    }

    #[must_use]
    pub const fn http_status(&self) -> u16 {
        self.code.http_status()
    }

    /// The body: `{"__type": …, "Message": …}`, with a small letter for CloudWatch Logs.
    #[must_use]
    pub fn body(&self, service: Service) -> Value {
        // Command-line clients print it as it is.
        let message = printable::text(&self.message);
        match service {
            Service::SageMaker => json!({"__type": self.code.name(), "Message": message}),
            Service::Logs => json!({"__type": self.code.name(), "message": message}),
        }
    }
}

/// The date as signatures write it: `20261122T203600Z`.
fn basic(time: Timestamp) -> String {
    time.to_zoned(TimeZone::UTC).strftime("%Y%m%dT%H%M%SZ").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_caller_can_cause_is_never_retried() {
        for code in ErrorCode::ALL {
            let is_ours = *code == ErrorCode::InternalFailure;
            assert_eq!(code.http_status() >= 500, is_ours, "{code}");
        }
    }

    #[test]
    fn the_body_spells_the_message_as_its_service_does() {
        let error = ApiError::new(ErrorCode::ResourceNotFound, "no such job");
        assert_eq!(
            error.body(Service::SageMaker),
            json!({"__type": "ResourceNotFound", "Message": "no such job"})
        );
        assert_eq!(error.body(Service::Logs)["message"], "no such job");
    }

    #[test]
    fn an_expired_signature_says_by_how_much() {
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let now = at("2026-11-22T20:36:00Z");
        let error = ApiError::signature_expired(
            at("2026-11-22T20:00:00Z"),
            at("2026-11-22T20:21:00Z"),
            now,
        );
        assert_eq!(error.code, ErrorCode::InvalidSignatureException);
        assert_eq!(
            error.message,
            "Signature expired: 20261122T200000Z is now earlier than 20261122T202100Z (20261122T203600Z - 15 min.)"
        );
    }
}
