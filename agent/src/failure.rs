//! Errors as a person reads them, `error:`, `cause:`, `hint:`, or as one JSON object; and exit codes.

use std::{error::Error, fmt, iter};

use assay_measure::failure_text;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ExitCode {
    Done,
    /// Input, output, or the target failed.
    Failed,
    Usage,
    Denied,
    /// No load meets the constraints.
    NothingMeets,
    Interrupted,
}

impl ExitCode {
    /// The number that the process ends with.
    pub(crate) const fn number(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Denied => 4,
            Self::NothingMeets => 6,
            Self::Interrupted => 130,
        }
    }

    /// The word that stands for it in JSON errors.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Usage => "usage",
            Self::Denied => "denied",
            Self::NothingMeets => "nothing_meets",
            Self::Interrupted => "interrupted",
        }
    }
}

#[derive(Debug)]
pub(crate) struct Failure {
    code: ExitCode,
    what: String,
    causes: Vec<String>,
    hint: Option<String>,
}

impl Failure {
    /// A failure: what happened, with the value that was wrong.
    pub(crate) fn new(code: ExitCode, what: impl fmt::Display) -> Self {
        Self { code, what: what.to_string(), causes: Vec::new(), hint: None }
    }

    /// An error and everything below it.
    pub(crate) fn of(code: ExitCode, error: &(dyn Error + 'static)) -> Self {
        Self::new(code, error).because(error.source())
    }

    /// Adds an error and everything below it as causes.
    pub(crate) fn because(self, error: Option<&(dyn Error + 'static)>) -> Self {
        iter::successors(error, |&error| error.source()).fold(self, Self::cause)
    }

    /// Adds a cause; one that says nothing new is left out.
    pub(crate) fn cause(mut self, cause: impl fmt::Display) -> Self {
        let cause = cause.to_string();
        if self.what != cause && self.causes.last() != Some(&cause) {
            self.causes.push(cause);
        }
        self
    }

    /// One thing to do next.
    pub(crate) fn hint(mut self, hint: impl fmt::Display) -> Self {
        self.hint = Some(hint.to_string());
        self
    }

    pub(crate) const fn code(&self) -> ExitCode {
        self.code
    }

    /// The failure as one JSON object.
    pub(crate) fn to_json(&self) -> serde_json::Value {
        failure_text::json(self.code.word(), &self.what, &self.causes, self.hint.as_deref())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        failure_text::text(f, &self.what, &self.causes, self.hint.as_deref())
    }
}
