//! One module called from the caller's own thread: no queue, no workers, no batches.

use std::num::NonZeroU32;

use assay_measure::{
    configuration::{Device, Graph, Precision},
    input_spec::InputSpec,
};

use super::{EngineError, InferError, batch, fit::Signature, load_callable};
use crate::{
    artifact::Artifact,
    payload::{self, ExpectedInput},
    tensor::WireTensor,
    torch::{self, Module},
};

/// A loaded and prepared module with what it expects.
pub(crate) struct BareModel {
    module: Module,
    signature: Signature,
    expected: Vec<ExpectedInput>,
}

impl BareModel {
    /// Loads the module; operators called from this thread then use `intra_op_threads`.
    pub(crate) fn load(
        artifact: &Artifact,
        declared: &[InputSpec],
        how: (Device, Precision, Graph),
        intra_op_threads: NonZeroU32,
    ) -> Result<Self, EngineError> {
        torch::use_one_interop_thread();
        torch::set_intra_op_threads(intra_op_threads.get());
        let (module, _, signature) = load_callable(artifact, declared, how)?;
        let expected = payload::expected(declared, signature.inputs());
        Ok(Self { module, signature, expected })
    }

    /// What payload decoders need to know.
    pub(crate) fn expected(&self) -> &[ExpectedInput] {
        &self.expected
    }

    pub(crate) fn call(&self, tensors: Vec<WireTensor>) -> Result<Vec<WireTensor>, InferError> {
        let inputs =
            self.signature.fit(tensors).map_err(|message| InferError::Rejected { message })?;
        Ok(self.module.call(&batch::borrowed(&inputs))?)
    }
}
