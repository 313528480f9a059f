//! Warm-up: the first runs of a TorchScript module profile and compile it, and the first run on a thread
//! makes its OpenMP threads. They are had before the first request, with made-up inputs of the declared
//! shapes.

use std::{iter, num::NonZeroU32, time::Duration};

use assay_measure::{host_status::HostStatus, input_spec::InputSpec, units};

use super::{
    EngineError, InferError, OutputFacts,
    batch::{self, Inputs},
    batch_limit,
    fit::Signature,
};
use crate::{
    clock,
    sample::random_inputs,
    status::StatusPipe,
    tensor::WireTensor,
    torch::{CallError, Module},
};

/// The profiling executor records types in the first run, compiles in the second, and is at speed in the third.
const FIRST_WORKER_RUNS: usize = 3;
const TWO: NonZeroU32 = NonZeroU32::MIN.saturating_add(1);

pub(super) struct WarmUp {
    inputs: Option<Inputs>,
    /// Who wants to know of every pass.
    status: Option<StatusPipe>,
}

/// What warming up tells of the model.
pub(super) struct WarmedUp {
    pub(super) outputs: Vec<OutputFacts>,
    /// How many requests to join, at most.
    pub(super) batch_limit: NonZeroU32,
}

impl WarmedUp {
    /// Without batches there is nothing more to learn.
    pub(super) fn one_by_one(outputs: Vec<WireTensor>) -> Self {
        Self::new(outputs, false, NonZeroU32::MIN)
    }

    fn new(outputs: Vec<WireTensor>, free_first: bool, batch_limit: NonZeroU32) -> Self {
        let outputs = outputs.into_iter().map(|output| facts(output, free_first)).collect();
        Self { outputs, batch_limit }
    }
}

impl WarmUp {
    pub(super) fn new(
        signature: &Signature,
        declared: &[InputSpec],
        status: Option<StatusPipe>,
    ) -> Result<Self, EngineError> {
        if declared.is_empty() {
            return Ok(Self { inputs: None, status });
        }
        match signature.fit(random_inputs(declared)) {
            Ok(inputs) => Ok(Self { inputs: Some(inputs), status }),
            Err(message) => Err(EngineError::WarmUp { source: InferError::Rejected { message } }),
        }
    }

    /// The first worker's runs: fails if the model cannot run at all, and tells what it returns.
    pub(super) fn first_worker(&self, module: &Module) -> Result<Vec<WireTensor>, EngineError> {
        let Some(inputs) = &self.inputs else { return Ok(Vec::new()) };
        let outputs = self
            .pass(module, inputs)
            .map_err(|error| EngineError::WarmUp { source: error.into() })?;
        for _ in 1..FIRST_WORKER_RUNS {
            self.again(module);
        }
        Ok(outputs)
    }

    /// Whether requests can be joined, and how many are worth it; `outputs` are those of one.
    pub(super) fn batches(
        &self,
        module: &Module,
        outputs: Vec<WireTensor>,
        max_batch: NonZeroU32,
    ) -> WarmedUp {
        let inputs = self.inputs.as_ref();
        match inputs.filter(|inputs| first_is_free(module, inputs, &outputs)) {
            Some(inputs) => {
                let together = |size| run_together(module, inputs, size);
                WarmedUp::new(outputs, true, batch_limit::find(max_batch, together))
            }
            // The first batch of requests will show whether they can be joined.
            None => WarmedUp::new(outputs, false, max_batch),
        }
    }

    /// A further run. A model that ran once and raises now may be served: its requests will say so.
    pub(super) fn again(&self, module: &Module) {
        if let Some(inputs) = &self.inputs
            && let Err(error) = self.pass(module, inputs)
        {
            tracing::warn!(%error, "the model ran once with the declared inputs and raised when run again");
        }
    }

    fn pass(&self, module: &Module, inputs: &Inputs) -> Result<Vec<WireTensor>, CallError> {
        let started = clock::now();
        let outputs = run(module, inputs)?;
        if let Some(status) = &self.status {
            let pass_us = units::as_micros(started.elapsed());
            status.tell(&HostStatus::WarmedUp { pass_us });
        }
        Ok(outputs)
    }
}

/// Whether twice the rows give outputs with twice the rows; compiles that shape too.
fn first_is_free(module: &Module, inputs: &Inputs, outputs: &[WireTensor]) -> bool {
    let follows = |rows| batch::split(outputs, &[rows]).is_some();
    batch::rows(inputs).is_some_and(follows) && run_together(module, inputs, TWO).is_some()
}

/// How long so many requests take that share a forward pass, as a worker serves them.
fn run_together(module: &Module, inputs: &Inputs, size: NonZeroU32) -> Option<Duration> {
    let size = usize::try_from(size.get()).ok()?;
    let rows = batch::rows(inputs)?;
    let started = clock::now();
    if size == 1 {
        run(module, inputs).ok()?;
    } else {
        let requests: Vec<&Inputs> = iter::repeat_n(inputs, size).collect();
        let outputs = run(module, &batch::joined(&requests)).ok()?;
        batch::split(&outputs, &vec![rows; size])?;
    }
    Some(started.elapsed())
}

fn run(module: &Module, inputs: &Inputs) -> Result<Vec<WireTensor>, CallError> {
    module.call(&batch::borrowed(inputs))
}

fn facts(output: WireTensor, free_first: bool) -> OutputFacts {
    let mut shape = output.shape;
    if free_first && let Some(first) = shape.first_mut() {
        *first = -1;
    }
    OutputFacts { name: output.name, dtype: output.dtype, shape }
}
