//! How far a configuration's outputs are from those of plain float32, over the same payload bodies.
//!
//! The model is loaded twice, one after the other, so that no more memory is needed than for serving
//! it: plain in float32 first, then as configured, on the same device. What is compared, and by which
//! formula, is in [`deviation`].

pub(crate) mod deviation;

use std::num::NonZeroU32;

use assay_measure::{
    configuration::{Device, Graph, Precision},
    input_spec::InputSpec,
};
use bytes::Bytes;
use clap::Args;
use serde::Serialize;
use thiserror::Error;

use self::deviation::{Incomparable, Tally};
use crate::{
    artifact::Artifact,
    engine::{EngineError, InferError, bare::BareModel},
    payload::{self, ContentType, DecodeSettings, Decoded, NumberTypes, PayloadError},
    tensor::WireTensor,
};

/// More bodies than these are not run: a deviation shows in a few, and trials wait for it.
pub(crate) const MOST_BODIES: usize = 8;

/// The first runs of a module profile and compile it; the later ones, which serve, are compared.
const RUNS_BEFORE: u32 = 2;

/// How the model is run the second time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Args)]
pub(crate) struct Configured {
    /// OpenMP threads inside one forward pass
    #[arg(long, default_value_t = NonZeroU32::MIN)]
    pub intra_op_threads: NonZeroU32,
    /// Where the model runs: cpu or cuda:N
    #[arg(long, default_value_t = Device::Cpu)]
    pub device: Device,
    /// The precision to compare with float32: bfloat16 or float16
    #[arg(long, default_value_t = Precision::Float32)]
    pub dtype: Precision,
    /// The graph to compare with plain: optimized
    #[arg(long, default_value_t = Graph::Plain)]
    pub graph: Graph,
}

/// How far outputs are from those of plain float32.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Comparison {
    pub max: f64,
    /// The mean over all elements.
    pub mean: f64,
    pub elements: u64,
    pub bodies: usize,
}

/// Why there is no comparison.
#[derive(Debug, Error)]
pub(crate) enum CompareError {
    /// The payload cannot be read as its content type says.
    #[error("body {number} is not a payload for this model")]
    Payload { number: usize, source: PayloadError },
    #[error("the model does not take body {number}")]
    Refused { number: usize, source: InferError },
    #[error("the model cannot be loaded plain in float32")]
    PlainLoad(#[source] EngineError),
    #[error("the model, plain in float32, fails on body {number}")]
    PlainRun { number: usize, source: InferError },
    #[error(transparent)]
    Load(EngineError),
    #[error("the model, as configured, fails on body {number}")]
    Run { number: usize, source: InferError },
    /// The outputs differ by more than a figure can tell.
    #[error("the outputs for body {number} differ in kind")]
    Incomparable { number: usize, source: Incomparable },
}

/// Runs the model over `bodies`, plain and as configured.
pub(crate) fn compare(
    artifact: &Artifact,
    declared: &[InputSpec],
    configured: Configured,
    content_type: ContentType,
    bodies: &[Bytes],
) -> Result<Comparison, CompareError> {
    let bodies = bodies.get(..MOST_BODIES).unwrap_or(bodies);
    let load = |dtype, graph| {
        let how = (configured.device, dtype, graph);
        BareModel::load(artifact, declared, how, configured.intra_op_threads)
    };
    let plain = load(Precision::Float32, Graph::Plain).map_err(CompareError::PlainLoad)?;
    let inputs = decoded(&plain, content_type, bodies)?;
    let mut expected = Vec::with_capacity(inputs.len());
    for (tensors, number) in inputs.iter().zip(1..) {
        expected.push(plain.call(tensors.clone()).map_err(|source| {
            if matches!(source, InferError::Rejected { .. }) {
                CompareError::Refused { number, source }
            } else {
                CompareError::PlainRun { number, source }
            }
        })?);
    }
    drop(plain);
    let configured = load(configured.dtype, configured.graph).map_err(CompareError::Load)?;
    let run = |tensors: &Vec<WireTensor>, number| {
        configured.call(tensors.clone()).map_err(|source| CompareError::Run { number, source })
    };
    if let Some(first) = inputs.first() {
        (0..RUNS_BEFORE).try_for_each(|_| run(first, 1).map(drop))?;
    }
    let mut tally = Tally::default();
    for ((tensors, expected), number) in inputs.iter().zip(&expected).zip(1..) {
        tally
            .add(expected, &run(tensors, number)?)
            .map_err(|source| CompareError::Incomparable { number, source })?;
    }
    Ok(Comparison {
        max: tally.max,
        mean: tally.mean(),
        elements: tally.elements,
        bodies: inputs.len(),
    })
}

fn decoded(
    model: &BareModel,
    content_type: ContentType,
    bodies: &[Bytes],
) -> Result<Vec<Vec<WireTensor>>, CompareError> {
    let settings = DecodeSettings::default();
    let Some(first) = bodies.first() else { return Ok(Vec::new()) };
    let types = NumberTypes::default();
    learn_types(&types, model, content_type, first, &settings)
        .map_err(|source| CompareError::Payload { number: 1, source })?;
    let decode = |(body, number)| {
        let decoded = types.decode(content_type, body, model.expected(), &settings);
        decoded
            .map(|decoded| decoded.tensors)
            .map_err(|source| CompareError::Payload { number, source })
    };
    bodies.iter().zip(1..).map(decode).collect()
}

/// Finds out which types the plain model takes numbers as, as serving would.
fn learn_types(
    types: &NumberTypes,
    model: &BareModel,
    content_type: ContentType,
    body: &Bytes,
    settings: &DecodeSettings,
) -> Result<(), PayloadError> {
    let Decoded { tensors, open } = types.decode(content_type, body, model.expected(), settings)?;
    let Some(open) = open else { return Ok(()) };
    if model.call(tensors).is_ok() {
        return Ok(());
    }
    let taken = open.others().into_iter().find(|dtypes| {
        let expected = open.expecting(dtypes, model.expected());
        payload::decode(content_type, body, &expected, settings)
            .is_ok_and(|tensors| model.call(tensors).is_ok())
    });
    if let Some(dtypes) = taken {
        types.wants(open, dtypes);
    }
    Ok(())
}

#[cfg(test)]
mod tests;
