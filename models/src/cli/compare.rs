//! `assay-host compare`: from the command line to a deviation.

use std::{fs, io::Read, path::PathBuf};

use bytes::Bytes;
use clap::Args;

use super::ModelArguments;
use crate::{
    artifact::DEFAULT_UNPACKED_LIMIT,
    compare::{self, CompareError, Comparison, Configured, MOST_BODIES},
    failure::Failure,
    payload::{ContentType, DecodeSettings},
};

#[derive(Debug, Args)]
pub(super) struct CompareArguments {
    #[command(flatten)]
    model: ModelArguments,
    /// A request body; the first eight are run
    #[arg(long = "payload", value_name = "FILE", required = true, num_args = 1..)]
    payloads: Vec<PathBuf>,
    /// What the bodies are, such as application/x-npy
    #[arg(long, value_name = "TYPE")]
    content_type: String,
    #[command(flatten)]
    configured: Configured,
}

pub(super) fn run(arguments: &CompareArguments) -> Result<Comparison, Failure> {
    let content_type = ContentType::parse(&arguments.content_type)
        .map_err(|error| Failure::new("usage", &error).usage())?;
    if arguments.payloads.len() > MOST_BODIES {
        tracing::info!(
            "the first {MOST_BODIES} of {} bodies are compared",
            arguments.payloads.len()
        );
    }
    let bodies = arguments
        .payloads
        .iter()
        .take(MOST_BODIES)
        .map(body)
        .collect::<Result<Vec<_>, Failure>>()?;
    let artifact = super::open(&arguments.model, DEFAULT_UNPACKED_LIMIT)?;
    let (declared, configured) = (&arguments.model.inputs, arguments.configured);
    compare::compare(&artifact, declared, configured, content_type, &bodies)
        .map_err(|error| compare_failure(&error, arguments.model.inspect_hint()))
}

fn body(path: &PathBuf) -> Result<Bytes, Failure> {
    let limit = DecodeSettings::default().limit_bytes;
    let mut bytes = Vec::new();
    let failed = |error: &dyn std::error::Error| Failure {
        message: format!("cannot read payload {}", path.display()),
        causes: vec![error.to_string()],
        ..Failure::new("payload", error)
    };
    let file = fs::File::open(path)
        .map_err(|error| failed(&error).hint("give a file with one request body"))?;
    let read =
        file.take(limit as u64 + 1).read_to_end(&mut bytes).map_err(|error| failed(&error))?;
    if read > limit {
        let error = std::io::Error::other(format!("it is larger than {limit} bytes"));
        return Err(failed(&error));
    }
    Ok(Bytes::from(bytes))
}

/// The code tells a program whether the configuration itself is to blame (`engine`, `model`), or
/// whether its outputs are beyond comparing (`outputs`), or whether there was nothing to compare with.
fn compare_failure(error: &CompareError, inspect: String) -> Failure {
    let same_as_saved = "--dtype float32 --graph plain serves the model as saved";
    match error {
        CompareError::Load(source) => {
            super::serve::with_hint(Failure::new("engine", source), source, &inspect)
        }
        CompareError::PlainLoad(source) => {
            super::serve::with_hint(Failure::new("plain", error), source, &inspect)
        }
        CompareError::Payload { .. } | CompareError::Refused { .. } => {
            Failure::new("payload", error).hint(inspect)
        }
        CompareError::PlainRun { .. } => Failure::new("plain", error).hint(inspect),
        CompareError::Run { .. } => Failure::new("model", error).hint(same_as_saved),
        CompareError::Incomparable { .. } => Failure::new("outputs", error).hint(same_as_saved),
    }
}

pub(super) fn text(comparison: &Comparison) -> String {
    format!(
        "outputs differ from plain float32 by up to {:.3e} (mean {:.3e}), relative; {} elements, {} bodies",
        comparison.max, comparison.mean, comparison.elements, comparison.bodies
    )
}
