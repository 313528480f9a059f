//! The Open Inference Protocol v2, as far as HTTP and gRPC share it: names of element types, what is
//! said about server and model, statistics, and the checks of a request.

use assay_measure::{input_spec::DType, units};
use assay_proto::inference::{
    DataType, InferBatchStatistics, InferStatistics, ModelConfig, ModelDynamicBatching, ModelInput,
    ModelMetadataResponse, ModelOutput, ModelStatistics, ServerMetadataResponse, StatisticDuration,
    model_metadata_response::TensorMetadata,
};
use thiserror::Error;

use crate::{
    engine::InferError,
    front_end::InferenceFrontEnd,
    payload::ExpectedInput,
    statistics::Duration,
    tensor::{WireTensor, byte_length},
};

/// A message of the Open Inference Protocol holds the tensors of a payload and says what they are: names, types
/// and shapes may take so much besides.
pub const ENVELOPE_BYTES: usize = 1024 * 1024;

/// The only version of the only model.
pub(crate) const VERSION: &str = "1";
const PLATFORM: &str = "pytorch_torchscript";

/// Why a request of the protocol has no answer.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(crate) enum OipError {
    #[error("model {asked:?} is not served here; the model is {served:?}")]
    UnknownModel { asked: String, served: String },
    #[error("model {model:?} has version \"1\" only, not {asked:?}")]
    UnknownVersion { model: String, asked: String },
    #[error("{0}")]
    Invalid(String),
    #[error(transparent)]
    Infer(#[from] InferError),
}

impl OipError {
    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::Invalid(message.into())
    }
}

const fn data_type(dtype: DType) -> DataType {
    match dtype {
        DType::Float32 => DataType::TypeFp32,
        DType::Float64 => DataType::TypeFp64,
        DType::Float16 => DataType::TypeFp16,
        DType::Bfloat16 => DataType::TypeBf16,
        DType::Int64 => DataType::TypeInt64,
        DType::Int32 => DataType::TypeInt32,
        DType::Int16 => DataType::TypeInt16,
        DType::Int8 => DataType::TypeInt8,
        DType::Uint8 => DataType::TypeUint8,
        DType::Bool => DataType::TypeBool,
    }
}

/// The element type of an input.
pub(crate) fn dtype_of(input: &str, word: &str) -> Result<DType, OipError> {
    DType::ALL.iter().copied().find(|&dtype| dtype.oip_name() == word).ok_or_else(|| {
        let known: Vec<&str> = DType::ALL.iter().map(|&dtype| dtype.oip_name()).collect();
        OipError::invalid(format!(
            "input {input:?} has datatype {word:?}; known are {}",
            known.join(", ")
        ))
    })
}

/// Whether the request is about the model that is served.
pub(crate) fn check_model(
    front_end: &InferenceFrontEnd,
    name: &str,
    version: &str,
) -> Result<(), OipError> {
    let served = &front_end.facts().name;
    if name != served {
        return Err(OipError::UnknownModel { asked: name.to_owned(), served: served.clone() });
    }
    if !version.is_empty() && version != VERSION {
        return Err(OipError::UnknownVersion { model: name.to_owned(), asked: version.to_owned() });
    }
    Ok(())
}

/// A tensor whose data has the size that its type and shape ask for.
pub(crate) fn checked(tensor: WireTensor) -> Result<WireTensor, OipError> {
    let WireTensor { name, dtype, shape, data } = &tensor;
    match byte_length(*dtype, shape) {
        Some(wanted) if wanted == data.len() => Ok(tensor),
        Some(wanted) => Err(OipError::invalid(format!(
            "input {name:?} has {} bytes, but {}{shape:?} takes {wanted}",
            data.len(),
            dtype.oip_name()
        ))),
        None => Err(OipError::invalid(format!(
            "input {name:?} has the shape {shape:?}, which no tensor can have"
        ))),
    }
}

/// The outputs that were asked for, in that order; all of them when none was named.
pub(crate) fn select<'a>(
    outputs: &'a [WireTensor],
    requested: impl ExactSizeIterator<Item = &'a str>,
) -> Result<Vec<&'a WireTensor>, OipError> {
    if requested.len() == 0 {
        return Ok(outputs.iter().collect());
    }
    let find = |name: &str| {
        outputs.iter().find(|output| output.name == name).ok_or_else(|| {
            let known: Vec<&str> = outputs.iter().map(|output| output.name.as_str()).collect();
            OipError::invalid(format!(
                "the model has no output {name:?}; it has {}",
                known.join(", ")
            ))
        })
    };
    requested.map(find).collect()
}

/// Parameters that would change what is read or written, and that the host does not have.
pub(crate) fn check_parameter(owner: &str, name: &str) -> Result<(), OipError> {
    if name == "classification" || name.starts_with("shared_memory") {
        return Err(OipError::invalid(format!(
            "{owner} has the parameter {name:?}, which is not supported"
        )));
    }
    Ok(())
}

pub(crate) fn server_metadata() -> ServerMetadataResponse {
    ServerMetadataResponse {
        name: "assay-host".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        extensions: ["binary_tensor_data", "model_configuration", "statistics"]
            .map(str::to_owned)
            .to_vec(),
    }
}

/// Inputs and outputs of the model; what was not declared has no datatype and one free dimension.
pub(crate) fn model_metadata(front_end: &InferenceFrontEnd) -> ModelMetadataResponse {
    let facts = front_end.facts();
    let input = |(index, input): (usize, &ExpectedInput)| TensorMetadata {
        name: input_name(input.name.as_deref(), index),
        datatype: input.dtype.map(DType::oip_name).unwrap_or_default().to_owned(),
        shape: input.shape.clone().unwrap_or_else(|| vec![-1]),
    };
    let output = |output: &crate::engine::OutputFacts| TensorMetadata {
        name: output.name.clone(),
        datatype: output.dtype.oip_name().to_owned(),
        shape: output.shape.clone(),
    };
    ModelMetadataResponse {
        name: facts.name.clone(),
        versions: vec![VERSION.to_owned()],
        platform: PLATFORM.to_owned(),
        inputs: front_end.expected.iter().enumerate().map(input).collect(),
        outputs: facts.outputs.iter().map(output).collect(),
    }
}

fn input_name(name: Option<&str>, index: usize) -> String {
    name.map_or_else(|| format!("input_{index}"), str::to_owned)
}

/// The configuration in Triton's terms: where the first dimension of every input is free, it is the
/// batch, which is not part of `dims` but allowed by `max_batch_size`.
pub(crate) fn model_config(front_end: &InferenceFrontEnd) -> ModelConfig {
    let (facts, settings) = (front_end.facts(), front_end.settings());
    let free_first = |input: &ExpectedInput| {
        input.shape.as_ref().is_some_and(|shape| shape.first() == Some(&-1))
    };
    let batches = !front_end.expected.is_empty() && front_end.expected.iter().all(free_first);
    let dims = |shape: &[i64]| {
        if batches { shape.get(1..).unwrap_or_default().to_vec() } else { shape.to_vec() }
    };
    let input = |(index, input): (usize, &ExpectedInput)| ModelInput {
        name: input_name(input.name.as_deref(), index),
        data_type: input.dtype.map_or(DataType::TypeInvalid, data_type).into(),
        dims: input.shape.as_deref().map_or_else(|| vec![-1], dims),
    };
    let output = |output: &crate::engine::OutputFacts| ModelOutput {
        name: output.name.clone(),
        data_type: data_type(output.dtype).into(),
        dims: dims(&output.shape),
    };
    ModelConfig {
        name: facts.name.clone(),
        platform: PLATFORM.to_owned(),
        max_batch_size: if batches {
            i32::try_from(settings.max_batch.get()).unwrap_or(i32::MAX)
        } else {
            0
        },
        input: front_end.expected.iter().enumerate().map(input).collect(),
        output: facts.outputs.iter().map(output).collect(),
        dynamic_batching: (settings.max_batch.get() > 1).then(|| ModelDynamicBatching {
            preferred_batch_size: vec![i32::try_from(facts.batch_limit.get()).unwrap_or(i32::MAX)],
            max_queue_delay_microseconds: units::as_micros(settings.max_batch_delay),
        }),
        backend: "pytorch".to_owned(),
    }
}

/// Cumulative statistics in Triton's terms.
pub(crate) fn model_statistics(front_end: &InferenceFrontEnd) -> ModelStatistics {
    let snapshot = front_end.statistics.snapshot();
    let duration = |Duration { count, ns }: Duration| Some(StatisticDuration { count, ns });
    let batch_stats = snapshot.batches.iter().map(|batches| InferBatchStatistics {
        batch_size: batches.size,
        compute_input: None,
        compute_infer: duration(batches.passes),
        compute_output: None,
    });
    ModelStatistics {
        name: front_end.facts().name.clone(),
        version: VERSION.to_owned(),
        last_inference: snapshot.last_inference_ms,
        inference_count: snapshot.compute_infer.count,
        execution_count: snapshot.batch_count(),
        inference_stats: Some(InferStatistics {
            success: duration(snapshot.success),
            fail: duration(snapshot.fail),
            queue: duration(snapshot.queue),
            compute_input: duration(snapshot.compute_input),
            compute_infer: duration(snapshot.compute_infer),
            compute_output: duration(snapshot.compute_output),
            cache_hit: duration(Duration::default()),
            cache_miss: duration(Duration::default()),
        }),
        batch_stats: batch_stats.collect(),
    }
}
