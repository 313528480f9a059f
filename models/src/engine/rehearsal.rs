//! Warm-up: the first runs of a TorchScript module profile and compile it, and the first run on a thread
//! makes its OpenMP threads. They are had before the first request, with made-up inputs of the declared
//! shapes.

use assay_measure::input_spec::InputSpec;

use super::{
    EngineError, InferError, OutputFacts,
    batch::{self, Inputs},
    fit::Signature,
};
use crate::{
    sample::random_input,
    tensor::WireTensor,
    torch::{CallError, Module},
};

/// The profiling executor records types in the first run, compiles in the second, and is at speed in the third.
const FIRST_WORKER_RUNS: usize = 3;

pub(super) struct Rehearsal {
    inputs: Option<Inputs>,
}

impl Rehearsal {
    pub(super) fn new(signature: &Signature, declared: &[InputSpec]) -> Result<Self, EngineError> {
        if declared.is_empty() {
            return Ok(Self { inputs: None });
        }
        let samples =
            declared.iter().zip(0..).map(|(spec, seed)| random_input(spec, seed)).collect();
        match signature.fit(samples) {
            Ok(inputs) => Ok(Self { inputs: Some(inputs) }),
            Err(message) => Err(EngineError::WarmUp { source: InferError::Rejected { message } }),
        }
    }

    /// The first worker's runs: fails if the model cannot run at all, and tells what it returns.
    pub(super) fn first_worker(
        &self,
        module: &Module,
        batching: bool,
    ) -> Result<Vec<OutputFacts>, EngineError> {
        let Some(inputs) = &self.inputs else { return Ok(Vec::new()) };
        let outputs = run(module, inputs).map_err(|error| EngineError::WarmUp {
            source: match error {
                CallError::Refused(message) => InferError::Rejected { message },
                CallError::Raised(message) => InferError::ModelRaised { message },
            },
        })?;
        for _ in 1..FIRST_WORKER_RUNS {
            self.again(module);
        }
        let free_first = batching && self.first_is_free(module, inputs, &outputs);
        Ok(outputs.into_iter().map(|output| facts(output, free_first)).collect())
    }

    /// A further run. A model that ran once and raises now may be served: its requests will say so.
    pub(super) fn again(&self, module: &Module) {
        if let Some(inputs) = &self.inputs
            && let Err(error) = run(module, inputs)
        {
            tracing::warn!(%error, "the model ran once with the declared inputs and raised when run again");
        }
    }

    /// Whether twice the rows give outputs with twice the rows; compiles that shape too.
    fn first_is_free(&self, module: &Module, inputs: &Inputs, outputs: &[WireTensor]) -> bool {
        let Some(rows) = batch::rows(inputs) else { return false };
        let doubled = batch::joined(&[inputs, inputs]);
        run(module, &doubled).ok().and_then(|double| batch::split(&double, &[rows, rows])).is_some()
            && batch::split(outputs, &[rows]).is_some()
    }
}

fn run(module: &Module, inputs: &Inputs) -> Result<Vec<WireTensor>, CallError> {
    module.call(&inputs.iter().map(Option::as_ref).collect::<Vec<_>>())
}

fn facts(output: WireTensor, free_first: bool) -> OutputFacts {
    let mut shape = output.shape;
    if free_first && let Some(first) = shape.first_mut() {
        *first = -1;
    }
    OutputFacts { name: output.name, dtype: output.dtype, shape }
}
