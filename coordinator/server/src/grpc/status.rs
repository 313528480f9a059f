//! Refusals as gRPC statuses. The message reads like one on a terminal: what, then `cause:` lines, then
//! one `hint:`.

use std::{error::Error, fmt::Write, str::FromStr};

use assay_measure::{bounded_text, ids::BadId, printable};
use assay_proto::{LONGEST_REFUSAL, refusal};
use tonic::{Code, Status};

use crate::{
    artifacts::ArtifactError,
    bundle::BadBundle,
    dispatch::{AttachDenied, Refused, Stopping},
    exports::ExportError,
    store::StoreError,
};

pub(super) fn refuse(code: Code, what: impl std::fmt::Display, hint: &str) -> Status {
    let (what, hint) = (printable::line(&what.to_string()), printable::line(hint));
    // The hint stays, however long the text before it is.
    let what = bounded_text::beginning(what, LONGEST_REFUSAL / 2);
    refusal(code, format!("{what}\nhint: {hint}"))
}

/// An id or a name of a request.
pub(super) fn id<T: FromStr<Err = BadId>>(text: &str) -> Result<T, Status> {
    text.parse().map_err(|error: BadId| refusal(Code::InvalidArgument, error.to_string()))
}

fn with_causes(code: Code, error: &dyn Error) -> Status {
    let mut message = printable::line(&error.to_string());
    let mut source = error.source();
    while let Some(cause) = source {
        // Writing to a string cannot fail.
        let _ = write!(message, "\ncause: {}", printable::line(&cause.to_string()));
        source = cause.source();
    }
    refusal(code, message)
}

impl From<Stopping> for Status {
    fn from(stopping: Stopping) -> Self {
        refuse(Code::Unavailable, stopping, "try again when it is back")
    }
}

impl From<Refused> for Status {
    fn from(refused: Refused) -> Self {
        let code = match &refused {
            Refused::NameTaken(_) => Code::AlreadyExists,
            Refused::Plan(_) => Code::InvalidArgument,
            Refused::NoSuchJob(_) | Refused::NoSuchAgent(_) => Code::NotFound,
            Refused::JobEnded(_)
            | Refused::JobActive(_)
            | Refused::AgentConnected(_)
            | Refused::AgentHoldsTrial { .. } => Code::FailedPrecondition,
        };
        refuse(code, &refused, &refused.hint())
    }
}

impl From<AttachDenied> for Status {
    fn from(denied: AttachDenied) -> Self {
        refuse(Code::AlreadyExists, &denied, &denied.hint())
    }
}

impl From<StoreError> for Status {
    fn from(error: StoreError) -> Self {
        tracing::error!(error = &error as &dyn Error, "the store failed");
        with_causes(Code::Internal, &error)
    }
}

impl From<ExportError> for Status {
    fn from(error: ExportError) -> Self {
        match error {
            ExportError::Refused(refused) => refused.into(),
            ExportError::Store(error) => error.into(),
            error @ ExportError::NoTable { .. } => refuse(
                Code::InvalidArgument,
                error,
                "csv and parquet are tables of trials or steps",
            ),
            error @ (ExportError::NothingAnswered | ExportError::NotEnded) => {
                refusal(Code::FailedPrecondition, error.to_string())
            }
            error @ ExportError::NotDescribed(_) => with_causes(Code::FailedPrecondition, &error),
            error @ ExportError::Unwritten(_) => {
                tracing::error!(error = &error as &dyn Error, "a job cannot be exported");
                with_causes(Code::Internal, &error)
            }
        }
    }
}

impl From<BadBundle> for Status {
    fn from(bad: BadBundle) -> Self {
        with_causes(Code::InvalidArgument, &bad)
    }
}

impl From<ArtifactError> for Status {
    fn from(error: ArtifactError) -> Self {
        let code = match &error {
            ArtifactError::TooLarge { .. } | ArtifactError::LargerThan { .. } => {
                Code::ResourceExhausted
            }
            ArtifactError::WrongSize { .. } | ArtifactError::WrongChecksum { .. } => {
                Code::InvalidArgument
            }
            ArtifactError::Io(_) | ArtifactError::Writer(_) => {
                tracing::error!(error = &error as &dyn Error, "a file cannot be stored");
                Code::Internal
            }
        };
        with_causes(code, &error)
    }
}
