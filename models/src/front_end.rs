//! The way from tensors to an answer, shared by every protocol that the host speaks.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use tokio::sync::oneshot;

use crate::{
    engine::{EngineSettings, Infer, InferError, Inferred, ModelFacts},
    payload::{self, DecodeSettings, ExpectedInput, NumberTypes},
    statistics::Statistics,
    tensor::WireTensor,
};

/// What all protocols share: the engine, its statistics, and how payloads are read.
pub(crate) struct InferenceFrontEnd {
    engine: Arc<dyn Infer>,
    /// What was served so far.
    pub(crate) statistics: Arc<Statistics>,
    /// What is known about the inputs.
    pub(crate) expected: Vec<ExpectedInput>,
    pub(crate) decode: DecodeSettings,
    /// What numbers without a declared type become.
    pub(crate) number_types: NumberTypes,
    /// The largest body that is read.
    pub(crate) max_payload_bytes: usize,
    stopping: AtomicBool,
}

impl InferenceFrontEnd {
    /// A front_end to a ready engine.
    pub(crate) fn new(
        engine: Arc<dyn Infer>,
        decode: DecodeSettings,
        max_payload_bytes: usize,
    ) -> Self {
        let statistics = Arc::new(Statistics::new(engine.settings().max_batch.get()));
        let facts = engine.facts();
        let expected = payload::expected(&facts.declared, &facts.inputs);
        Self {
            engine,
            statistics,
            expected,
            decode,
            number_types: NumberTypes::default(),
            max_payload_bytes,
            stopping: AtomicBool::new(false),
        }
    }

    /// What is known about the model.
    pub(crate) fn facts(&self) -> &ModelFacts {
        self.engine.facts()
    }

    /// How the model is run.
    pub(crate) fn settings(&self) -> &EngineSettings {
        self.engine.settings()
    }

    pub(crate) fn is_ready(&self) -> bool {
        !self.stopping.load(Ordering::Relaxed)
    }

    /// From now on the host says that it is not ready; requests that still arrive are served.
    pub(crate) fn stop_being_ready(&self) {
        self.stopping.store(true, Ordering::Relaxed);
    }

    /// Runs the model. Dropping the future does not cancel the forward pass, nor its being counted.
    /// [`InferError::Stopping`] also when the engine ends without an answer.
    pub(crate) async fn infer(&self, inputs: Vec<WireTensor>) -> Result<Inferred, InferError> {
        let (sender, receiver) = oneshot::channel();
        let statistics = Arc::clone(&self.statistics);
        self.engine.submit(
            inputs,
            Box::new(move |answer| {
                if let Ok(inferred) = &answer {
                    statistics.inferred(inferred);
                }
                // The caller may have gone away: then nobody wants the answer.
                drop(sender.send(answer));
            }),
        );
        receiver.await.unwrap_or(Err(InferError::Stopping))
    }
}
