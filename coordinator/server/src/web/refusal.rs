//! What cannot be shown, as a page of its own.

use std::error::Error;

use assay_pages::{Template, frame::Frame, problem::Problem};
use axum::response::{Html, IntoResponse, Response};
use http::{HeaderValue, StatusCode};
use tonic::{Code, Status};

use crate::{
    dispatch::{Refused, Stopping},
    random,
    store::StoreError,
};

/// Why a request gets no page.
#[derive(Clone, Debug)]
pub(super) struct Refusal {
    pub(super) status: StatusCode,
    pub(super) what: String,
    pub(super) hint: String,
}

impl Refusal {
    pub(super) fn new(
        status: StatusCode,
        what: impl Into<String>,
        hint: impl Into<String>,
    ) -> Self {
        Self { status, what: what.into(), hint: hint.into() }
    }

    pub(super) fn bad_request(what: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, what, hint)
    }

    pub(super) fn not_found(what: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, what, "")
    }

    /// Something of ours is broken. What exactly stands in the log, under the same request.
    pub(super) fn fault(error: &(dyn Error + 'static)) -> Self {
        tracing::error!(error, "a page cannot be made");
        let hint = "The coordinator's log says more.";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "Something in the coordinator failed.", hint)
    }

    /// The page that says so.
    pub(super) fn page(self, request_id: &str, frame: Frame) -> Response {
        let title = match self.status {
            StatusCode::BAD_REQUEST => "This cannot be understood",
            StatusCode::UNAUTHORIZED => "Sign in first",
            StatusCode::FORBIDDEN => "This is not allowed",
            StatusCode::NOT_FOUND => "Not found",
            StatusCode::REQUEST_TIMEOUT => "Too slow",
            StatusCode::CONFLICT => "Not possible now",
            StatusCode::MISDIRECTED_REQUEST => "This server has other names",
            StatusCode::PAYLOAD_TOO_LARGE => "Too large",
            StatusCode::SERVICE_UNAVAILABLE => "The coordinator is stopping",
            _ => "Something went wrong",
        };
        tracing::debug!(request_id, status = %self.status, what = self.what, "refused");
        let problem = Problem {
            frame,
            title,
            what: self.what,
            hint: self.hint,
            status: self.status.as_u16(),
            request_id: request_id.to_owned(),
        };
        let mut response = match problem.render() {
            Ok(page) => (self.status, Html(page)).into_response(),
            Err(_) => (self.status, title).into_response(),
        };
        if let Ok(id) = HeaderValue::from_str(request_id) {
            response.headers_mut().insert("x-request-id", id);
        }
        response
    }
}

/// The page is made where the visitor is known.
impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut response = self.status.into_response();
        response.extensions_mut().insert(self);
        response
    }
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        Self::fault(&error)
    }
}

impl From<Stopping> for Refusal {
    fn from(stopping: Stopping) -> Self {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            stopping.to_string(),
            "Try again when it is back.",
        )
    }
}

impl From<Refused> for Refusal {
    fn from(refused: Refused) -> Self {
        let status = match &refused {
            Refused::NoSuchJob(_) | Refused::NoSuchAgent(_) => StatusCode::NOT_FOUND,
            Refused::Plan(_) => StatusCode::BAD_REQUEST,
            Refused::NameTaken(_)
            | Refused::JobEnded(_)
            | Refused::JobActive(_)
            | Refused::AgentConnected(_)
            | Refused::AgentHoldsTrial { .. } => StatusCode::CONFLICT,
        };
        Self::new(status, refused.to_string(), "")
    }
}

/// Of what pages and gRPC have in common.
impl From<Status> for Refusal {
    fn from(status: Status) -> Self {
        let known = [
            (Code::InvalidArgument, StatusCode::BAD_REQUEST),
            (Code::NotFound, StatusCode::NOT_FOUND),
            (Code::AlreadyExists, StatusCode::CONFLICT),
            (Code::FailedPrecondition, StatusCode::CONFLICT),
            (Code::ResourceExhausted, StatusCode::PAYLOAD_TOO_LARGE),
            (Code::Unavailable, StatusCode::SERVICE_UNAVAILABLE),
        ];
        // Messages read like those of a terminal, with one hint at the end.
        let (what, hint) =
            status.message().split_once("\nhint: ").unwrap_or((status.message(), ""));
        match known.into_iter().find(|(code, _)| *code == status.code()) {
            Some((_, kind)) => Self::new(kind, what, hint),
            None => Self::fault(&status),
        }
    }
}

/// For whoever looks for a page where there is none.
pub(crate) fn page_not_found(path: &str) -> Response {
    let frame = Frame { shows_navigation: true, ..Frame::default() };
    let refusal = Refusal::not_found(format!("There is no page {path}."));
    super::secured(refusal.page(&random::uuid(), frame))
}
