//! The Open Inference Protocol v2 over gRPC: messages to tensors and back.

use std::{collections::HashMap, sync::Arc};

use assay_measure::input_spec::DType;
use assay_proto::inference::{
    InferParameter, InferTensorContents, ModelConfigRequest, ModelConfigResponse,
    ModelInferRequest, ModelInferResponse, ModelMetadataRequest, ModelMetadataResponse,
    ModelReadyRequest, ModelReadyResponse, ModelStatisticsRequest, ModelStatisticsResponse,
    ServerLiveRequest, ServerLiveResponse, ServerMetadataRequest, ServerMetadataResponse,
    ServerReadyRequest, ServerReadyResponse, grpc_inference_service_server::GrpcInferenceService,
    model_infer_request::InferInputTensor, model_infer_response::InferOutputTensor,
};
use assay_proto::refusal;
use bytes::Bytes;
use tonic::{Code, Request, Response, Status};

use crate::{
    engine::InferError,
    front_end::InferenceFrontEnd,
    oip::{self, OipError},
    statistics,
    tensor::WireTensor,
};

/// The gRPC service in front of a front_end.
#[derive(Clone)]
pub(crate) struct OipGrpc {
    front_end: Arc<InferenceFrontEnd>,
}

impl OipGrpc {
    /// Serves what is behind the front_end.
    pub(crate) const fn new(front_end: Arc<InferenceFrontEnd>) -> Self {
        Self { front_end }
    }

    async fn infer(
        &self,
        request: ModelInferRequest,
        counted: &mut statistics::Request<'_>,
    ) -> Result<ModelInferResponse, OipError> {
        let front_end = &self.front_end;
        oip::check_model(front_end, &request.model_name, &request.model_version)?;
        check_parameters("the request", &request.parameters)?;
        for output in &request.outputs {
            check_parameters(&format!("output {:?}", output.name), &output.parameters)?;
        }
        let raw = !request.raw_input_contents.is_empty();
        let inputs = read_inputs(request.inputs, request.raw_input_contents)?;
        counted.decoded();
        let inferred = front_end.infer(inputs).await?;
        counted.outputs_arrived(&inferred);
        let outputs = oip::select(
            &inferred.outputs,
            request.outputs.iter().map(|output| output.name.as_str()),
        )?;
        let mut response = ModelInferResponse {
            model_name: request.model_name,
            model_version: oip::VERSION.to_owned(),
            id: request.id,
            ..ModelInferResponse::default()
        };
        write_outputs(&outputs, raw, &mut response);
        Ok(response)
    }
}

#[tonic::async_trait]
impl GrpcInferenceService for OipGrpc {
    async fn server_live(
        &self,
        _: Request<ServerLiveRequest>,
    ) -> Result<Response<ServerLiveResponse>, Status> {
        Ok(Response::new(ServerLiveResponse { live: true }))
    }

    async fn server_ready(
        &self,
        _: Request<ServerReadyRequest>,
    ) -> Result<Response<ServerReadyResponse>, Status> {
        Ok(Response::new(ServerReadyResponse { ready: self.front_end.is_ready() }))
    }

    async fn model_ready(
        &self,
        request: Request<ModelReadyRequest>,
    ) -> Result<Response<ModelReadyResponse>, Status> {
        let ModelReadyRequest { name, version } = request.into_inner();
        oip::check_model(&self.front_end, &name, &version)?;
        Ok(Response::new(ModelReadyResponse { ready: self.front_end.is_ready() }))
    }

    async fn server_metadata(
        &self,
        _: Request<ServerMetadataRequest>,
    ) -> Result<Response<ServerMetadataResponse>, Status> {
        Ok(Response::new(oip::server_metadata()))
    }

    async fn model_metadata(
        &self,
        request: Request<ModelMetadataRequest>,
    ) -> Result<Response<ModelMetadataResponse>, Status> {
        let ModelMetadataRequest { name, version } = request.into_inner();
        oip::check_model(&self.front_end, &name, &version)?;
        Ok(Response::new(oip::model_metadata(&self.front_end)))
    }

    async fn model_infer(
        &self,
        request: Request<ModelInferRequest>,
    ) -> Result<Response<ModelInferResponse>, Status> {
        let mut counted = self.front_end.statistics.request_arrived();
        let outcome = self.infer(request.into_inner(), &mut counted).await;
        counted.ended(&outcome);
        Ok(Response::new(outcome?))
    }

    async fn model_config(
        &self,
        request: Request<ModelConfigRequest>,
    ) -> Result<Response<ModelConfigResponse>, Status> {
        let ModelConfigRequest { name, version } = request.into_inner();
        oip::check_model(&self.front_end, &name, &version)?;
        Ok(Response::new(ModelConfigResponse { config: Some(oip::model_config(&self.front_end)) }))
    }

    async fn model_statistics(
        &self,
        request: Request<ModelStatisticsRequest>,
    ) -> Result<Response<ModelStatisticsResponse>, Status> {
        let ModelStatisticsRequest { name, version } = request.into_inner();
        // Without a name it is a question about all models.
        if !name.is_empty() {
            oip::check_model(&self.front_end, &name, &version)?;
        }
        Ok(Response::new(ModelStatisticsResponse {
            model_stats: vec![oip::model_statistics(&self.front_end)],
        }))
    }
}

impl From<OipError> for Status {
    fn from(error: OipError) -> Self {
        let code = match &error {
            OipError::UnknownModel { .. } | OipError::UnknownVersion { .. } => Code::NotFound,
            OipError::Invalid(_) | OipError::Infer(InferError::Rejected { .. }) => {
                Code::InvalidArgument
            }
            OipError::Infer(InferError::ModelRaised { .. } | InferError::Unsendable { .. }) => {
                Code::Internal
            }
            OipError::Infer(InferError::Overloaded { .. } | InferError::Stopping) => {
                Code::Unavailable
            }
        };
        refusal(code, error.to_string())
    }
}

fn check_parameters(
    owner: &str,
    parameters: &HashMap<String, InferParameter>,
) -> Result<(), OipError> {
    parameters.keys().try_for_each(|name| oip::check_parameter(owner, name))
}

fn read_inputs(
    inputs: Vec<InferInputTensor>,
    raw: Vec<Bytes>,
) -> Result<Vec<WireTensor>, OipError> {
    if !raw.is_empty() && raw.len() != inputs.len() {
        let message = format!(
            "{} raw_input_contents for {} inputs: give one for each or none",
            raw.len(),
            inputs.len()
        );
        return Err(OipError::invalid(message));
    }
    let mut raw = raw.into_iter();
    inputs.into_iter().map(|input| read_input(input, raw.next())).collect()
}

fn read_input(input: InferInputTensor, raw: Option<Bytes>) -> Result<WireTensor, OipError> {
    let InferInputTensor { name, datatype, shape, parameters, contents } = input;
    check_parameters(&format!("input {name:?}"), &parameters)?;
    let dtype = oip::dtype_of(&name, &datatype)?;
    let data = match (raw, contents) {
        (Some(_), Some(contents)) if contents != InferTensorContents::default() => {
            return Err(OipError::invalid(format!(
                "input {name:?} has both contents and raw_input_contents"
            )));
        }
        (Some(raw), _) => raw,
        (None, contents) => read_typed(&name, dtype, contents.unwrap_or_default())?,
    };
    oip::checked(WireTensor { name, dtype, shape, data })
}

/// Elements from the field of `contents` that belongs to the datatype.
fn read_typed(name: &str, dtype: DType, contents: InferTensorContents) -> Result<Bytes, OipError> {
    fn bytes<T, const N: usize>(values: &[T], to_bytes: impl Fn(&T) -> [u8; N]) -> Bytes {
        values.iter().flat_map(to_bytes).collect()
    }
    fn narrow<T: Copy + std::fmt::Display, U: TryFrom<T>>(
        name: &str,
        values: &[T],
    ) -> Result<Vec<U>, OipError> {
        let narrowed = |&value: &T| {
            U::try_from(value).map_err(|_| {
                OipError::invalid(format!("input {name:?} has {value}, which is out of range"))
            })
        };
        values.iter().map(narrowed).collect()
    }
    Ok(match dtype {
        DType::Float32 => bytes(&contents.fp32_contents, |v| v.to_le_bytes()),
        DType::Float64 => bytes(&contents.fp64_contents, |v| v.to_le_bytes()),
        DType::Int64 => bytes(&contents.int64_contents, |v| v.to_le_bytes()),
        DType::Int32 => bytes(&contents.int_contents, |v| v.to_le_bytes()),
        DType::Int16 => {
            bytes(&narrow::<_, i16>(name, &contents.int_contents)?, |v| v.to_le_bytes())
        }
        DType::Int8 => bytes(&narrow::<_, i8>(name, &contents.int_contents)?, |v| v.to_le_bytes()),
        DType::Uint8 => narrow::<_, u8>(name, &contents.uint_contents)?.into(),
        DType::Bool => bytes(&contents.bool_contents, |&v| [u8::from(v)]),
        DType::Float16 | DType::Bfloat16 => {
            let message = format!(
                "input {name:?}: {} has no typed contents, send raw_input_contents",
                dtype.oip_name()
            );
            return Err(OipError::invalid(message));
        }
    })
}

/// Puts the outputs into the response: raw when the request was, or when a type has no typed field.
fn write_outputs(outputs: &[&WireTensor], raw: bool, response: &mut ModelInferResponse) {
    let typed: Option<Vec<InferTensorContents>> =
        if raw { None } else { outputs.iter().map(|output| write_typed(output)).collect() };
    let mut typed = typed.map(Vec::into_iter);
    for output in outputs {
        response.outputs.push(InferOutputTensor {
            name: output.name.clone(),
            datatype: output.dtype.oip_name().to_owned(),
            shape: output.shape.clone(),
            parameters: HashMap::new(),
            contents: typed.as_mut().and_then(Iterator::next),
        });
        if typed.is_none() {
            response.raw_output_contents.push(output.data.clone());
        }
    }
}

/// `None` when the type has no field.
fn write_typed(output: &WireTensor) -> Option<InferTensorContents> {
    fn values<T, const N: usize>(data: &[u8], from_bytes: impl Fn([u8; N]) -> T) -> Vec<T> {
        data.as_chunks().0.iter().map(|&bytes| from_bytes(bytes)).collect()
    }
    let data = &output.data;
    let mut contents = InferTensorContents::default();
    match output.dtype {
        DType::Float32 => contents.fp32_contents = values(data, f32::from_le_bytes),
        DType::Float64 => contents.fp64_contents = values(data, f64::from_le_bytes),
        DType::Int64 => contents.int64_contents = values(data, i64::from_le_bytes),
        DType::Int32 => contents.int_contents = values(data, i32::from_le_bytes),
        DType::Int16 => {
            contents.int_contents = values(data, |bytes| i16::from_le_bytes(bytes).into())
        }
        DType::Int8 => {
            contents.int_contents = values(data, |bytes| i8::from_le_bytes(bytes).into())
        }
        DType::Uint8 => contents.uint_contents = data.iter().map(|&byte| byte.into()).collect(),
        DType::Bool => contents.bool_contents = data.iter().map(|&byte| byte != 0).collect(),
        DType::Float16 | DType::Bfloat16 => return None,
    }
    Some(contents)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A header that is too long arrives as a broken connection.
    #[test]
    fn what_a_client_or_a_model_says_at_length_is_told_from_its_beginning() {
        let long = "x".repeat(1 << 20);
        let asked = OipError::UnknownModel { asked: long.clone(), served: "mlp".to_owned() };
        for error in [asked, OipError::Invalid(long)] {
            let status = Status::from(error);
            assert!(status.message().len() <= assay_proto::LONGEST_REFUSAL);
            assert!(status.message().ends_with("bytes in all)"), "{}", status.message());
        }
    }
}
