//! Errors as a person reads them: what, why, and one thing to do next; or the same as JSON.

use std::{error::Error, fmt};

use assay_measure::{failure_text, host_status::HostStatus, printable};

/// The command failed (I/O, the model, the port).
pub(crate) const EXIT_FAILED: u8 = 1;
/// The command line is wrong.
pub(crate) const EXIT_USAGE: u8 = 2;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    pub exit_code: u8,
    /// A stable word for programs.
    pub code: &'static str,
    pub message: String,
    pub causes: Vec<String>,
    /// One thing to do next.
    pub hint: Option<String>,
}

impl Failure {
    pub(crate) fn new(code: &'static str, error: &dyn Error) -> Self {
        let mut causes = Vec::new();
        let mut next = error.source();
        while let Some(cause) = next {
            causes.push(cause.to_string());
            next = cause.source();
        }
        Self { exit_code: EXIT_FAILED, code, message: error.to_string(), causes, hint: None }
    }

    /// With a wrong command line as the reason.
    #[must_use]
    pub(crate) fn usage(mut self) -> Self {
        self.exit_code = EXIT_USAGE;
        self
    }

    /// With one thing to do next.
    #[must_use]
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// For whoever started this process.
    pub(crate) fn status(&self) -> HostStatus {
        HostStatus::Failed {
            code: self.code.to_owned(),
            message: self.message.clone(),
            causes: self.causes.clone(),
        }
    }

    /// `{"error":{"code","message","hint","causes":[]}}` on one line.
    pub(crate) fn json(&self) -> String {
        let hint = self.hint.as_deref();
        let told = failure_text::json(self.code, &self.message, &self.causes, hint).to_string();
        printable::json(&told).into_owned()
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // libtorch's causes have many lines.
        let causes = self.causes.iter().map(|cause| cause.replace('\n', "\n         "));
        failure_text::text(f, &self.message, causes, self.hint.as_deref())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_reads_as_error_cause_and_hint() {
        let source = std::io::Error::other("the disk is full");
        let error = crate::reference::ReferenceError::Write { path: "a.pt".into(), source };
        let failure = Failure::new("write", &error).hint("free some space");
        assert_eq!(
            failure.to_string(),
            "error: cannot write a.pt\n  cause: the disk is full\nhint: free some space"
        );
        let json: serde_json::Value = serde_json::from_str(&failure.json()).unwrap();
        assert_eq!(json["error"]["code"], "write");
        assert_eq!(json["error"]["causes"][0], "the disk is full");
        let long = Failure { causes: vec!["one\ntwo".to_owned()], hint: None, ..failure.clone() };
        assert_eq!(long.to_string(), "error: cannot write a.pt\n  cause: one\n         two");
        assert_eq!(failure.usage().exit_code, EXIT_USAGE);
    }
}
