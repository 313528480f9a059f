//! The way from tensors to an answer, shared by every protocol that the host speaks.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use tokio::sync::oneshot;

use crate::{
    engine::{Engine, EngineSettings, InferError, Inferred, ModelFacts, Reply},
    payload::{self, DecodeSettings, ExpectedInput, NumberTypes},
    statistics::Statistics,
    tensor::WireTensor,
};

/// Something that runs a model: the engine, or a stand-in in tests.
pub trait Infer: Send + Sync + 'static {
    /// What is known about the model.
    fn facts(&self) -> &ModelFacts;
    fn settings(&self) -> &EngineSettings;
    /// Queues a request; does not wait for others, and calls `reply` once from any thread, this one included.
    fn submit(&self, inputs: Vec<WireTensor>, reply: Reply);
}

impl Infer for Engine {
    fn facts(&self) -> &ModelFacts {
        Self::facts(self)
    }
    fn settings(&self) -> &EngineSettings {
        Self::settings(self)
    }
    fn submit(&self, inputs: Vec<WireTensor>, reply: Reply) {
        Self::submit(self, inputs, reply);
    }
}

/// What all protocols share: the engine, its statistics, and how payloads are read.
pub struct InferenceFrontEnd {
    engine: Arc<dyn Infer>,
    statistics: Arc<Statistics>,
    expected: Vec<ExpectedInput>,
    decode: DecodeSettings,
    number_types: NumberTypes,
    max_payload_bytes: usize,
    stopping: AtomicBool,
}

impl InferenceFrontEnd {
    /// A front_end to a ready engine.
    #[must_use]
    pub fn new(engine: Arc<dyn Infer>, decode: DecodeSettings, max_payload_bytes: usize) -> Self {
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
    #[must_use]
    pub fn facts(&self) -> &ModelFacts {
        self.engine.facts()
    }

    /// How the model is run.
    #[must_use]
    pub fn settings(&self) -> &EngineSettings {
        self.engine.settings()
    }

    /// What was served so far.
    #[must_use]
    pub fn statistics(&self) -> &Statistics {
        &self.statistics
    }

    /// What is known about the inputs.
    #[must_use]
    pub fn expected(&self) -> &[ExpectedInput] {
        &self.expected
    }

    #[must_use]
    pub const fn decode_settings(&self) -> &DecodeSettings {
        &self.decode
    }

    /// What numbers without a declared type become.
    pub(crate) const fn number_types(&self) -> &NumberTypes {
        &self.number_types
    }

    /// The largest body that is read.
    #[must_use]
    pub const fn max_payload_bytes(&self) -> usize {
        self.max_payload_bytes
    }

    #[must_use]
    pub fn is_ready(&self) -> bool {
        !self.stopping.load(Ordering::Relaxed)
    }

    /// From now on the host says that it is not ready; requests that still arrive are served.
    pub fn stop_being_ready(&self) {
        self.stopping.store(true, Ordering::Relaxed);
    }

    /// Runs the model. Dropping the future does not cancel the forward pass, nor its being counted.
    ///
    /// # Errors
    /// Whatever the engine says; [`InferError::Stopping`] also when it ends without an answer.
    pub async fn infer(&self, inputs: Vec<WireTensor>) -> Result<Inferred, InferError> {
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
