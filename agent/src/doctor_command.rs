//! `assay-agent doctor`: prints what was found on this machine.

use std::io::Write;

use assay_agent::doctor::{self, Status};
use assay_measure::printable;

use crate::{
    cli::{DoctorArguments, Format},
    failure::{ExitCode, Failure},
};

/// Looking is not measuring: the last line says how to know.
const ADVICE: &str =
    "next: `assay-agent calibrate` measures a server of known capacity on this machine\n";

/// Runs the command. Fails when the agent cannot do its work here.
pub(crate) fn run(arguments: &DoctorArguments, format: Format) -> Result<ExitCode, Failure> {
    let diagnosis = doctor::diagnose(arguments.host_binary.as_deref());
    let written = match format {
        Format::Table => {
            write!(anstream::stdout(), "{}{ADVICE}", printable::text(&diagnosis.in_lines()))
        }
        Format::Json => serde_json::to_string_pretty(&diagnosis)
            .map_err(std::io::Error::from)
            .and_then(|text| writeln!(anstream::stdout(), "{}", printable::json(&text))),
    };
    written.map_err(|error| {
        Failure::new(ExitCode::Failed, "cannot print the diagnosis").cause(error)
    })?;
    Ok(if diagnosis.status() == Status::Bad { ExitCode::Failed } else { ExitCode::Done })
}
