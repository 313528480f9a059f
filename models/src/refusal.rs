//! What HTTP callers read when a request cannot be answered: a status and a small JSON object.

use axum::{
    body::Body,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;

use crate::{
    engine::InferError,
    payload::{PayloadError, UnknownContentType},
    response::NotAcceptable,
};

/// An error answer: `{"error": …, "cause": …, "hint": …}`, the last two left out when there is none.
#[derive(Debug, Serialize)]
pub(crate) struct Refusal {
    #[serde(skip)]
    status: StatusCode,
    error: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    cause: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<String>,
}

impl Refusal {
    pub(crate) fn new(status: StatusCode, error: impl Into<String>) -> Self {
        Self { status, error: error.into(), cause: None, hint: None }
    }

    pub(crate) fn because(mut self, cause: impl Into<String>) -> Self {
        self.cause = Some(cause.into());
        self
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    pub(crate) fn bad_request(error: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, error)
    }

    pub(crate) fn too_large(limit_bytes: usize, declared_bytes: Option<u64>) -> Self {
        let cause = match declared_bytes {
            Some(bytes) => format!("it has {bytes} bytes, the limit is {limit_bytes} bytes"),
            None => format!("it has more than the limit of {limit_bytes} bytes"),
        };
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "the payload is too large")
            .because(cause)
            .hint("start assay-host with a larger --max-payload")
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let body = serde_json::to_vec(&self).expect("text always has a JSON form");
        let mut response = Response::new(Body::from(body));
        *response.status_mut() = self.status;
        response
            .headers_mut()
            .insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        response
    }
}

impl From<InferError> for Refusal {
    fn from(error: InferError) -> Self {
        match error {
            InferError::Rejected { message } => Self::bad_request("the model rejects the payload")
                .because(message)
                .hint("`assay-host inspect MODEL` shows what forward() takes"),
            raised @ InferError::ModelRaised { .. } => {
                Self::new(StatusCode::INTERNAL_SERVER_ERROR, "the model failed on this payload")
                    .because(raised.to_string())
            }
            InferError::Unsendable { message } => Self::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                "what the model returns cannot be sent",
            )
            .because(message),
            full @ InferError::Overloaded { .. } => {
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "the model host is overloaded")
                    .because(full.to_string())
            }
            InferError::Stopping => {
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "the model host is stopping")
            }
        }
    }
}

impl From<PayloadError> for Refusal {
    fn from(error: PayloadError) -> Self {
        let status = match error {
            PayloadError::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            PayloadError::Malformed { .. }
            | PayloadError::WrongElement { .. }
            | PayloadError::WrongSize { .. }
            | PayloadError::Undeclared { .. } => StatusCode::BAD_REQUEST,
        };
        Self::new(status, "the payload cannot be read").because(error.to_string())
    }
}

impl From<UnknownContentType> for Refusal {
    fn from(error: UnknownContentType) -> Self {
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, error.to_string())
    }
}

impl From<NotAcceptable> for Refusal {
    fn from(error: NotAcceptable) -> Self {
        Self::new(StatusCode::NOT_ACCEPTABLE, error.to_string())
    }
}
