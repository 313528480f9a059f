//! Errors as a person reads them: what happened, why, and one thing to do next; and the exit code.

use std::{error::Error, fmt};

use assay_measure::failure_text;

/// Exit codes, as `assay help exit-codes` explains them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum ExitCode {
    /// A ranking exists, or what was asked is done.
    Done = 0,
    /// Input, output, server, or a failed job.
    Failed = 1,
    Usage = 2,
    Denied = 4,
    Stopped = 5,
    /// The job completed, but no candidate meets the constraints.
    NothingMeets = 6,
    /// There is no such thing.
    NotFound = 7,
    /// A change is worse than `compare --fail-on` allows.
    GateFailed = 99,
    Interrupted = 130,
}

impl ExitCode {
    /// The word that stands for it in JSON errors.
    const fn word(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Usage => "usage",
            Self::Denied => "denied",
            Self::Stopped => "stopped",
            Self::NothingMeets => "nothing_meets",
            Self::NotFound => "not_found",
            Self::GateFailed => "gate_failed",
            Self::Interrupted => "interrupted",
        }
    }
}

/// Text of `assay help exit-codes`.
pub(crate) const EXIT_CODES: &str = "\
Exit codes:
    0  done; a ranking exists
    1  failed: input, output, server, or the job FAILED
    2  usage or configuration error
    4  authentication or authorization
    5  the job was stopped by somebody (jobs stop, the page, the API)
    6  the job completed, but no candidate meets the constraints
    7  not found
   99  a gate failed (compare --fail-on)
  130  interrupted by Ctrl-C (recommend prints what it has first)";

#[derive(Debug)]
pub(crate) struct Failure {
    what: String,
    causes: Vec<String>,
    hint: Option<String>,
    code: ExitCode,
}

impl Failure {
    pub(crate) fn new(code: ExitCode, what: impl fmt::Display) -> Self {
        Self { what: what.to_string(), causes: Vec::new(), hint: None, code }
    }

    pub(crate) fn failed(what: impl fmt::Display) -> Self {
        Self::new(ExitCode::Failed, what)
    }

    pub(crate) fn usage(what: impl fmt::Display) -> Self {
        Self::new(ExitCode::Usage, what)
    }

    /// Adds an error and everything below it as causes.
    pub(crate) fn because(mut self, error: &(dyn Error + 'static)) -> Self {
        let mut next = Some(error);
        while let Some(error) = next {
            let text = error.to_string();
            if self.causes.last() != Some(&text) {
                self.causes.push(text);
            }
            next = error.source();
        }
        self
    }

    pub(crate) fn cause(mut self, cause: impl fmt::Display) -> Self {
        self.causes.push(cause.to_string());
        self
    }

    pub(crate) fn hint(mut self, hint: impl fmt::Display) -> Self {
        self.hint = Some(hint.to_string());
        self
    }

    pub(crate) const fn code(&self) -> ExitCode {
        self.code
    }

    /// The failure as one JSON object.
    pub(crate) fn to_json(&self) -> serde_json::Value {
        let hint = self.hint.as_deref();
        let mut told = failure_text::json(self.code.word(), &self.what, &self.causes, hint);
        // Always there, so that programs may rely on it.
        told["error"]["hint"] = hint.into();
        told
    }
}

/// Errors of others, told as the causes of a failure.
pub(crate) trait OrFail<T> {
    /// What failed.
    fn or_failed(self, what: impl fmt::Display) -> Result<T, Failure>;
    /// What in the user's request was wrong.
    fn or_usage(self, what: impl fmt::Display) -> Result<T, Failure>;
}

impl<T, E: Error + 'static> OrFail<T> for Result<T, E> {
    fn or_failed(self, what: impl fmt::Display) -> Result<T, Failure> {
        self.map_err(|error| Failure::failed(what).because(&error))
    }

    fn or_usage(self, what: impl fmt::Display) -> Result<T, Failure> {
        self.map_err(|error| Failure::usage(what).because(&error))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let causes = self.causes.iter().flat_map(|cause| cause.lines());
        failure_text::text(f, &self.what, causes, self.hint.as_deref())
    }
}

/// Turns a gRPC refusal into a failure. The server's message may end in a line `hint: …`.
impl From<tonic::Status> for Failure {
    fn from(status: tonic::Status) -> Self {
        use tonic::Code;
        let code = match status.code() {
            Code::NotFound => ExitCode::NotFound,
            Code::Unauthenticated | Code::PermissionDenied => ExitCode::Denied,
            Code::InvalidArgument | Code::AlreadyExists => ExitCode::Usage,
            Code::Ok
            | Code::Cancelled
            | Code::Unknown
            | Code::DeadlineExceeded
            | Code::ResourceExhausted
            | Code::FailedPrecondition
            | Code::Aborted
            | Code::OutOfRange
            | Code::Unimplemented
            | Code::Internal
            | Code::Unavailable
            | Code::DataLoss => ExitCode::Failed,
        };
        let mut failure = Self::new(code, "");
        for line in status.message().lines() {
            match (line.strip_prefix("hint: "), line.trim_start().strip_prefix("cause: ")) {
                (Some(hint), _) => failure.hint = Some(hint.to_owned()),
                (None, Some(cause)) => failure.causes.push(cause.to_owned()),
                (None, None) if failure.what.is_empty() => line.clone_into(&mut failure.what),
                (None, None) => failure.causes.push(line.to_owned()),
            }
        }
        if failure.what.is_empty() {
            failure.what = format!("the server answered {:?}", status.code());
        }
        if code == ExitCode::Denied && failure.hint.is_none() {
            failure.hint = Some("give a token with --token-file or ASSAY_TOKEN_FILE".to_owned());
        }
        failure
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_of_the_server_keeps_its_hint_and_gets_a_fitting_code() {
        let status =
            tonic::Status::not_found("no job \"x\"\n  cause: deleted\nhint: assay jobs list");
        let failure = Failure::from(status);
        assert_eq!(failure.code(), ExitCode::NotFound);
        assert_eq!(
            failure.to_string(),
            "error: no job \"x\"\n  cause: deleted\nhint: assay jobs list"
        );
        assert_eq!(failure.to_json()["error"]["code"], "not_found");
        let bare = Failure::failed("no job").cause("one\ntwo");
        assert_eq!(bare.to_string(), "error: no job\n  cause: one\n  cause: two");
        assert_eq!(
            bare.to_json().to_string(),
            r#"{"error":{"causes":["one\ntwo"],"code":"failed","hint":null,"message":"no job"}}"#
        );
        let denied = Failure::from(tonic::Status::unauthenticated("no token"));
        assert_eq!(denied.code(), ExitCode::Denied);
        assert!(denied.to_string().contains("--token-file"));
    }
}
