//! `assay-agent run` as a command: the library does it, this tells what went wrong.

use assay_agent::run::{self, RunArguments};

use crate::failure::{ExitCode, Failure};

/// Runs the daemon until it is asked to end.
pub(crate) fn run(arguments: &RunArguments) -> Result<ExitCode, Failure> {
    run::run(arguments)
        .map(|asked_once| if asked_once { ExitCode::Done } else { ExitCode::Interrupted })
        .map_err(|error| {
            let code = match error.exit_code() {
                2 => ExitCode::Usage,
                4 => ExitCode::Denied,
                _ => ExitCode::Failed,
            };
            let failure = Failure::of(code, &error);
            match error.hint() {
                Some(hint) => failure.hint(hint),
                None => failure,
            }
        })
}
