//! From a payload to `ModelInfer` requests of the Open Inference Protocol v2, encoded once.
//!
//! A body is an `.npy` file (one tensor, whose type and shape it tells itself), an `.npz` file or JSON (several,
//! by name), or raw bytes of the tensors that were declared.

use assay_measure::input_spec::InputSpec;
use assay_proto::inference::{ModelInferRequest, model_infer_request::InferInputTensor};
use bytes::{BufMut, Bytes, BytesMut};
use prost::Message;
use thiserror::Error;

use crate::payload::Payload;

mod json;
mod npz;

/// Target, payload and declared inputs do not make a request.
#[derive(Debug, Error)]
pub enum RequestError {
    #[error(
        "a gRPC target needs a payload: an .npy or .npz file, JSON, or raw bytes and the inputs they hold"
    )]
    NoPayload,
    #[error(
        "a body of type {0} needs the inputs that it holds to be declared, like float32[1,3,224,224]"
    )]
    NoInputs(String),
    #[error("a body has {have} bytes, but the declared inputs take {need}")]
    Size { have: u64, need: u64 },
    #[error("the body is no usable {format}: {reason}")]
    Unreadable { format: &'static str, reason: String },
    /// Tensors of this format are made by the server, which takes it over HTTP only.
    #[error(
        "a body of type {0} cannot be sent over gRPC, which carries tensors: give .npy, .npz, JSON or raw bytes"
    )]
    NoTensors(String),
    #[error("a request of {0} bytes does not fit into a gRPC message")]
    TooLarge(usize),
}

impl RequestError {
    const fn unreadable(format: &'static str, reason: String) -> Self {
        Self::Unreadable { format, reason }
    }
}

/// What a content type says of a body's tensors.
enum Format {
    Npy,
    Npz,
    Json,
    Raw,
}

impl Format {
    fn of(content_type: &str, body: &Bytes) -> Result<Self, RequestError> {
        let essence = content_type.split(';').next().unwrap_or_default().trim();
        Ok(match essence.to_ascii_lowercase().as_str() {
            "application/x-npy" => Self::Npy,
            "application/x-npz" => Self::Npz,
            "application/json" => Self::Json,
            essence if essence.starts_with("image/") || NO_TENSORS.contains(&essence) => {
                return Err(RequestError::NoTensors(content_type.to_owned()));
            }
            _ if body.starts_with(NPY_MAGIC) => Self::Npy,
            _ => Self::Raw,
        })
    }
}

const NO_TENSORS: [&str; 3] = ["text/csv", "application/jsonlines", "application/x-image"];

/// One gRPC message (its five-byte prefix included) for each body.
pub(crate) fn encode(
    model: &str,
    payload: Option<&Payload>,
    inputs: &[InputSpec],
) -> Result<Vec<Bytes>, RequestError> {
    let payload = payload.ok_or(RequestError::NoPayload)?;
    let one = |body: &Bytes| {
        let tensors = match Format::of(&payload.content_type, body)? {
            Format::Npy => vec![npy(body, inputs.first())?],
            Format::Npz => npz::tensors(body, inputs)?,
            Format::Json => json::tensors(body, inputs)?,
            Format::Raw if inputs.is_empty() => {
                return Err(RequestError::NoInputs(payload.content_type.clone()));
            }
            Format::Raw => raw(body, inputs)?,
        };
        message(model, tensors)
    };
    payload.bodies.iter().map(one).collect()
}

struct Tensor {
    name: String,
    datatype: &'static str,
    shape: Vec<i64>,
    data: Bytes,
}

fn message(model: &str, tensors: Vec<Tensor>) -> Result<Bytes, RequestError> {
    let mut request =
        ModelInferRequest { model_name: model.to_owned(), ..ModelInferRequest::default() };
    for Tensor { name, datatype, shape, data } in tensors {
        let datatype = datatype.to_owned();
        request.inputs.push(InferInputTensor {
            name,
            datatype,
            shape,
            ..InferInputTensor::default()
        });
        request.raw_input_contents.push(data);
    }
    let length = request.encoded_len();
    let prefix = u32::try_from(length).map_err(|_| RequestError::TooLarge(length))?;
    let mut bytes = BytesMut::with_capacity(length + 5);
    bytes.put_u8(0);
    bytes.put_u32(prefix);
    // It has as much room as was asked of the message itself.
    request.encode(&mut bytes).expect("a buffer that grows takes any message");
    Ok(bytes.freeze())
}

fn raw(body: &Bytes, inputs: &[InputSpec]) -> Result<Vec<Tensor>, RequestError> {
    let need: u64 = inputs.iter().map(InputSpec::size_bytes).sum();
    if need != body.len() as u64 {
        return Err(RequestError::Size { have: body.len() as u64, need });
    }
    let mut at = 0;
    let one = |(index, input): (usize, &InputSpec)| {
        let end = at + usize::try_from(input.size_bytes()).unwrap_or(usize::MAX);
        let data = body.slice(at..end);
        at = end;
        let shape =
            input.shape().iter().map(|&size| i64::try_from(size).unwrap_or(i64::MAX)).collect();
        Tensor {
            name: positional_name(Some(input), index),
            datatype: input.dtype().oip_name(),
            shape,
            data,
        }
    };
    Ok(inputs.iter().enumerate().map(one).collect())
}

/// `assay-host` calls an input without a name so.
fn positional_name(input: Option<&InputSpec>, index: usize) -> String {
    input.and_then(InputSpec::name).map_or_else(|| format!("input_{index}"), str::to_owned)
}

const NPY_MAGIC: &[u8] = b"\x93NUMPY";

/// Reads NumPy's format (versions 1 to 3): magic, version, header length, a Python dictionary, data.
fn npy(body: &Bytes, declared: Option<&InputSpec>) -> Result<Tensor, RequestError> {
    let bad = |what: &str| RequestError::unreadable(".npy file", what.to_owned());
    let rest = body.strip_prefix(NPY_MAGIC).ok_or_else(|| bad("it does not begin like one"))?;
    let (header_at, length) = match rest {
        [1, _, a, b, ..] => (10, usize::from(u16::from_le_bytes([*a, *b]))),
        [2 | 3, _, a, b, c, d, ..] => (12, u32::from_le_bytes([*a, *b, *c, *d]) as usize),
        _ => return Err(bad("its version is unknown")),
    };
    let data_at = header_at + length;
    let header = body.get(header_at..data_at).ok_or_else(|| bad("its header is cut off"))?;
    let header = std::str::from_utf8(header).map_err(|_| bad("its header is no text"))?;
    let after =
        |key: &str| header.split_once(key).map(|(_, value)| value.trim_start_matches([':', ' ']));
    if !after("'fortran_order'").is_some_and(|value| value.starts_with("False")) {
        return Err(bad("its elements are not in C order"));
    }
    let descriptor =
        after("'descr'").and_then(|value| value.split('\'').nth(1)).unwrap_or_default();
    let (datatype, size) = npy_type(descriptor)
        .ok_or_else(|| bad(&format!("its element type {descriptor:?} cannot be sent")))?;
    let shape = after("'shape'")
        .and_then(|value| value.strip_prefix('('))
        .and_then(|value| value.split(')').next());
    let shape = shape.ok_or_else(|| bad("it has no shape"))?;
    let shape: Vec<i64> = shape
        .split(',')
        .map(str::trim)
        .filter(|size| !size.is_empty())
        .map(|size| size.parse().ok().filter(|&size| size >= 0))
        .collect::<Option<_>>()
        .ok_or_else(|| bad("its shape cannot be read"))?;
    let elements = shape.iter().try_fold(size, |all: i64, &size| all.checked_mul(size));
    let data = body.slice(data_at..);
    if elements != i64::try_from(data.len()).ok() {
        return Err(bad("its data and its shape differ"));
    }
    Ok(Tensor { name: positional_name(declared, 0), datatype, shape, data })
}

/// The protocol's name and the size of a NumPy element type.
fn npy_type(descriptor: &str) -> Option<(&'static str, i64)> {
    Some(match descriptor {
        "<f2" => ("FP16", 2),
        "<f4" => ("FP32", 4),
        "<f8" => ("FP64", 8),
        "|i1" => ("INT8", 1),
        "<i2" => ("INT16", 2),
        "<i4" => ("INT32", 4),
        "<i8" => ("INT64", 8),
        "|u1" => ("UINT8", 1),
        "<u2" => ("UINT16", 2),
        "<u4" => ("UINT32", 4),
        "<u8" => ("UINT64", 8),
        "|b1" => ("BOOL", 1),
        _ => return None,
    })
}

#[cfg(test)]
mod tests;
