//! Errors as a person reads them: what went wrong, why, and one thing to do next.

use std::{error::Error, fmt, io};

use assay_measure::failure_text;

/// An error message with a hint. Attached as context, so the cause below it is kept.
#[derive(Debug)]
pub(crate) struct Hinted {
    message: String,
    hint: String,
}

impl Hinted {
    /// `message` says what failed, `hint` what to do about it; both lower-case fragments.
    pub(crate) fn new(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { message: message.into(), hint: hint.into() }
    }
}

impl fmt::Display for Hinted {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.message)
    }
}

impl Error for Hinted {}

/// The whole chain, as lines of `error:`, `cause:` and `hint:`.
pub(crate) fn describe(error: &anyhow::Error) -> String {
    let causes: Vec<String> = error.chain().skip(1).map(ToString::to_string).collect();
    let hint = error
        .downcast_ref::<Hinted>()
        .map(|hinted| hinted.hint.clone())
        .or_else(|| usual_hint(error));
    let mut told = String::new();
    let lines = causes.iter().flat_map(|cause| cause.lines());
    failure_text::text(&mut told, &error.to_string(), lines, hint.as_deref())
        .expect("a string takes everything");
    told + "\n"
}

/// What helps against causes that can turn up anywhere.
fn usual_hint(error: &anyhow::Error) -> Option<String> {
    let io_error = error.chain().find_map(|cause| cause.downcast_ref::<io::Error>())?;
    (io_error.kind() == io::ErrorKind::StorageFull)
        .then(|| "free about 3 GiB on this disk (libtorch, its wheels, the build) and run the same command again".to_owned())
}

#[cfg(test)]
mod tests {
    use anyhow::{Context, anyhow};

    use super::*;

    #[test]
    fn the_chain_and_the_hint_are_printed_once_each() {
        let error = anyhow!("connection refused")
            .context(Hinted::new("cannot fetch torch", "check the network"))
            .context("no libtorch");
        assert_eq!(
            describe(&error),
            "error: no libtorch\n  cause: cannot fetch torch\n  cause: connection refused\nhint: check the network\n"
        );
    }

    #[test]
    fn a_full_disk_gets_a_hint_wherever_it_happens() {
        let error = Err::<(), _>(io::Error::from(io::ErrorKind::StorageFull))
            .context("cannot write a file")
            .unwrap_err();
        assert!(describe(&error).contains("hint: free about 3 GiB"), "{}", describe(&error));
    }
}
