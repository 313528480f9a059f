//! The bodies of an inference request and its answer: JSON, with or without binary data behind it.

use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::{
    oip::{self, OipError},
    payload::NumberArray,
    response::{write_flat, write_json},
    tensor::WireTensor,
};

type Parameters = Map<String, Value>;

#[derive(Debug)]
pub(super) struct InferRequest {
    pub(super) id: Option<String>,
    pub(super) inputs: Vec<WireTensor>,
    pub(super) outputs: RequestedOutputs,
}

/// Which outputs are wanted, and how.
#[derive(Debug, Default)]
pub(super) struct RequestedOutputs {
    pub(super) names: Vec<String>,
    /// For each name whether as binary data.
    binary: Vec<bool>,
    /// Whether as binary data where no name says otherwise.
    all_binary: bool,
}

#[derive(Deserialize)]
struct JsonRequest {
    id: Option<String>,
    #[serde(default)]
    parameters: Parameters,
    inputs: Vec<JsonInput>,
    #[serde(default)]
    outputs: Vec<JsonOutput>,
}

#[derive(Deserialize)]
struct JsonInput {
    name: String,
    shape: Vec<i64>,
    datatype: String,
    #[serde(default)]
    parameters: Parameters,
    data: Option<NumberArray>,
}

#[derive(Deserialize)]
struct JsonOutput {
    name: String,
    #[serde(default)]
    parameters: Parameters,
}

/// Reads a request whose first `json_length` bytes are JSON; the whole body when there is no length.
pub(super) fn read(body: &Bytes, json_length: Option<usize>) -> Result<InferRequest, OipError> {
    let json_length = json_length.unwrap_or(body.len());
    if json_length > body.len() {
        let message = format!(
            "Inference-Header-Content-Length is {json_length}, but the body has {} bytes",
            body.len()
        );
        return Err(OipError::invalid(message));
    }
    let request: JsonRequest = serde_json::from_slice(&body[..json_length])
        .map_err(|error| OipError::invalid(error.to_string()))?;
    check_parameters("the request", &request.parameters)?;
    let mut binary = body.slice(json_length..);
    let inputs = request.inputs.into_iter().map(|input| read_input(input, &mut binary));
    let inputs: Vec<WireTensor> = inputs.collect::<Result<_, _>>()?;
    if !binary.is_empty() {
        let message = format!("{} bytes of binary data belong to no input", binary.len());
        return Err(OipError::invalid(message));
    }
    let all_binary = flag(&request.parameters, "binary_data_output").unwrap_or(false);
    let mut outputs = RequestedOutputs { all_binary, ..RequestedOutputs::default() };
    for output in request.outputs {
        check_parameters(&format!("output {:?}", output.name), &output.parameters)?;
        outputs.binary.push(flag(&output.parameters, "binary_data").unwrap_or(all_binary));
        outputs.names.push(output.name);
    }
    Ok(InferRequest { id: request.id, inputs, outputs })
}

fn flag(parameters: &Parameters, name: &str) -> Option<bool> {
    parameters.get(name).and_then(Value::as_bool)
}

fn check_parameters(owner: &str, parameters: &Parameters) -> Result<(), OipError> {
    parameters.keys().try_for_each(|name| oip::check_parameter(owner, name))
}

fn read_input(input: JsonInput, binary: &mut Bytes) -> Result<WireTensor, OipError> {
    let JsonInput { name, shape, datatype, parameters, data } = input;
    check_parameters(&format!("input {name:?}"), &parameters)?;
    let dtype = oip::dtype_of(&name, &datatype)?;
    let bytes = match (parameters.get("binary_data_size"), data) {
        (Some(_), Some(_)) => {
            return Err(OipError::invalid(format!(
                "input {name:?} has both data and binary_data_size"
            )));
        }
        (None, None) => {
            return Err(OipError::invalid(format!(
                "input {name:?} has neither data nor binary_data_size"
            )));
        }
        (Some(size), None) => {
            let size = size
                .as_u64()
                .and_then(|size| usize::try_from(size).ok())
                .filter(|&size| size <= binary.len());
            let size = size.ok_or_else(|| {
                let left = binary.len();
                OipError::invalid(format!(
                    "input {name:?}: binary_data_size does not fit the {left} bytes that follow"
                ))
            })?;
            binary.split_to(size)
        }
        (None, Some(array)) => {
            let read = array
                .into_tensor(Some(dtype))
                .map_err(|error| OipError::invalid(format!("input {name:?}: {error}")))?;
            read.data
        }
    };
    oip::checked(WireTensor { name, dtype, shape, data: bytes })
}

/// The answer's body, and how many of its bytes are JSON.
pub(super) fn write(
    model: &str,
    id: Option<&str>,
    outputs: &[&WireTensor],
    requested: &RequestedOutputs,
) -> (Vec<u8>, usize) {
    let as_binary =
        |index: usize| requested.binary.get(index).copied().unwrap_or(requested.all_binary);
    let mut body =
        Vec::with_capacity(256 + outputs.iter().map(|output| output.data.len() * 3).sum::<usize>());
    body.extend_from_slice(b"{\"model_name\":");
    write_json(&mut body, model);
    body.extend_from_slice(b",\"model_version\":");
    write_json(&mut body, oip::VERSION);
    if let Some(id) = id {
        body.extend_from_slice(b",\"id\":");
        write_json(&mut body, id);
    }
    body.extend_from_slice(b",\"outputs\":[");
    for (index, output) in outputs.iter().enumerate() {
        body.extend_from_slice(if index == 0 { b"{\"name\":" } else { b",{\"name\":" });
        write_json(&mut body, &output.name);
        body.extend_from_slice(b",\"datatype\":");
        write_json(&mut body, output.dtype.oip_name());
        body.extend_from_slice(b",\"shape\":");
        write_json(&mut body, &output.shape);
        if as_binary(index) {
            body.extend_from_slice(b",\"parameters\":{\"binary_data_size\":");
            write_json(&mut body, &output.data.len());
            body.push(b'}');
        } else {
            body.extend_from_slice(b",\"data\":");
            write_flat(&mut body, output);
        }
        body.push(b'}');
    }
    body.extend_from_slice(b"]}");
    let json_length = body.len();
    for (_, output) in outputs.iter().enumerate().filter(|(index, _)| as_binary(*index)) {
        body.extend_from_slice(&output.data);
    }
    (body, json_length)
}
