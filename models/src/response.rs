//! Answers of `/invocations`: which format a caller accepts, and tensors in it.
//!
//! JSON is the default: `{"outputs": …}` with nested arrays, or an object of them when the model has
//! several outputs. JSON has no NaN and no infinity: both are written as `null`, and the statistics count
//! NaN. The other formats keep every bit.

use std::io::{Cursor, Write as _};

use assay_measure::{input_spec::DType, npy};
use bytes::Bytes;
use half::{bf16, f16};
use thiserror::Error;
use zip::{CompressionMethod, ZipWriter, write::SimpleFileOptions};

use crate::tensor::{WireTensor, byte_length};

/// A format that answers can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ResponseFormat {
    Json,
    /// One array as NumPy saves it.
    Npy,
    /// Named arrays as `numpy.savez` saves them.
    Npz,
    /// The bare elements, one output after another; a header names their types and shapes.
    OctetStream,
}

impl ResponseFormat {
    /// Every format, the preferred one first.
    pub(crate) const ALL: [Self; 4] = [Self::Json, Self::Npy, Self::Npz, Self::OctetStream];

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Npy => "application/x-npy",
            Self::Npz => "application/x-npz",
            Self::OctetStream => "application/octet-stream",
        }
    }

    /// Chooses a format for an `Accept` header: the highest weight wins, then the more exact wish.
    pub(crate) fn negotiate(accept: Option<&str>) -> Result<Self, NotAcceptable> {
        let Some(accept) = accept.filter(|accept| !accept.trim().is_empty()) else {
            return Ok(Self::Json);
        };
        let ranges: Vec<(&str, f32)> = accept.split(',').map(range_and_weight).collect();
        let mut best: Option<(Self, f32, u8)> = None;
        for format in Self::ALL {
            let wish = ranges
                .iter()
                .filter_map(|&(range, weight)| Some((weight, exactness(range, format)?)));
            let Some((weight, exact)) = wish.max_by_key(|&(_, exact)| exact) else { continue };
            if weight > 0.0 && best.is_none_or(|(_, w, e)| weight > w || (weight >= w && exact > e))
            {
                best = Some((format, weight, exact));
            }
        }
        best.map(|(format, _, _)| format).ok_or_else(|| NotAcceptable::Format(accept.to_owned()))
    }
}

/// How exactly a media range names the format; `None` when it does not.
fn exactness(range: &str, format: ResponseFormat) -> Option<u8> {
    match range {
        _ if range.eq_ignore_ascii_case(format.as_str()) => Some(2),
        "application/*" => Some(1),
        "*/*" | "*" => Some(0),
        _ => None,
    }
}

fn range_and_weight(part: &str) -> (&str, f32) {
    let mut fields = part.split(';').map(str::trim);
    let range = fields.next().unwrap_or_default();
    let weight = fields.find_map(|field| field.strip_prefix("q=").or(field.strip_prefix("Q=")));
    (range, weight.map_or(1.0, |text| text.trim().parse().unwrap_or(0.0)))
}

/// No format suits both the caller and the outputs.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(crate) enum NotAcceptable {
    #[error("nothing that {0:?} accepts can be sent; known are {list}", list = ResponseFormat::ALL.map(ResponseFormat::as_str).join(", "))]
    Format(String),
    #[error(
        "application/x-npy holds one array, and the model has {0} outputs; accept application/x-npz"
    )]
    SeveralOutputs(usize),
    /// A name cannot be that of a file in an archive.
    #[error("application/x-npz cannot hold an output called {name:?}: {reason}")]
    Name { name: String, reason: String },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Encoded {
    pub body: Bytes,
    /// For bare elements, what they are: `output=float32[1,10]`, comma-separated.
    pub layout: Option<String>,
}

/// Encodes the outputs of a model.
pub(crate) fn encode(
    format: ResponseFormat,
    outputs: &[WireTensor],
) -> Result<Encoded, NotAcceptable> {
    let plain = |body: Bytes| Encoded { body, layout: None };
    match (format, outputs) {
        (ResponseFormat::Json, _) => Ok(plain(to_json(outputs).into())),
        (ResponseFormat::Npy, [output]) => Ok(plain(to_npy(output).into())),
        (ResponseFormat::Npy, _) => Err(NotAcceptable::SeveralOutputs(outputs.len())),
        (ResponseFormat::Npz, _) => Ok(plain(to_npz(outputs)?.into())),
        (ResponseFormat::OctetStream, _) => {
            let body = match outputs {
                [output] => output.data.clone(),
                _ => outputs.iter().flat_map(|output| output.data.iter().copied()).collect(),
            };
            Ok(Encoded { body, layout: Some(layout(outputs)) })
        }
    }
}

fn layout(outputs: &[WireTensor]) -> String {
    let described = outputs.iter().map(|output| format!("{}={}", output.name, output.kind()));
    described.collect::<Vec<_>>().join(", ")
}

/// The tensor as NumPy saves it.
pub(crate) fn to_npy(output: &WireTensor) -> Vec<u8> {
    let mut bytes = npy::header(output.dtype, &output.shape);
    bytes.extend_from_slice(&output.data);
    bytes
}

fn to_npz(outputs: &[WireTensor]) -> Result<Vec<u8>, NotAcceptable> {
    let size: usize = outputs.iter().map(|output| output.data.len() + 512).sum();
    let mut writer = ZipWriter::new(Cursor::new(Vec::with_capacity(size)));
    for output in outputs {
        let options = SimpleFileOptions::default()
            .compression_method(CompressionMethod::Stored)
            .large_file(u32::try_from(output.data.len() + 512).is_err());
        writer
            .start_file(format!("{}.npy", output.name), options)
            .and_then(|()| writer.write_all(&to_npy(output)).map_err(Into::into))
            .map_err(|error| NotAcceptable::Name {
                name: output.name.chars().take(100).collect(),
                reason: error.to_string(),
            })?;
    }
    Ok(writer.finish().expect("writing to memory does not fail").into_inner())
}

fn to_json(outputs: &[WireTensor]) -> Vec<u8> {
    let elements: usize =
        outputs.iter().map(|output| output.data.len() / output.dtype.size_bytes()).sum();
    let mut out = Vec::with_capacity(64 + elements * 12);
    out.extend_from_slice(b"{\"outputs\":");
    match outputs {
        [output] => write_nested(&mut out, output),
        _ => {
            out.push(b'{');
            for (index, output) in outputs.iter().enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                write_json(&mut out, &output.name);
                out.push(b':');
                write_nested(&mut out, output);
            }
            out.push(b'}');
        }
    }
    out.push(b'}');
    out
}

/// Appends the value's JSON form.
pub(crate) fn write_json<T: serde::Serialize + ?Sized>(out: &mut Vec<u8>, value: &T) {
    serde_json::to_writer(out, value).expect("numbers and text always have a JSON form");
}

/// Writes the tensor as nested arrays.
fn write_nested(out: &mut Vec<u8>, tensor: &WireTensor) {
    write_level(out, tensor.dtype, &tensor.shape, &tensor.data);
}

/// Writes the elements as one flat array, as the Open Inference Protocol has them.
pub(crate) fn write_flat(out: &mut Vec<u8>, tensor: &WireTensor) {
    let elements = i64::try_from(tensor.data.len() / tensor.dtype.size_bytes()).unwrap_or(0);
    write_level(out, tensor.dtype, &[elements], &tensor.data);
}

fn write_level(out: &mut Vec<u8>, dtype: DType, shape: &[i64], data: &[u8]) {
    let Some((_, item)) = shape.split_first() else {
        write_element(out, dtype, data);
        return;
    };
    out.push(b'[');
    let item_bytes = byte_length(dtype, item).unwrap_or(0);
    if item_bytes == 0 {
        // No elements below: the arrays are there all the same.
        for index in 0..shape[0].max(0) {
            if index > 0 {
                out.push(b',');
            }
            write_level(out, dtype, item, &[]);
        }
    } else {
        for (index, part) in data.chunks_exact(item_bytes).enumerate() {
            if index > 0 {
                out.push(b',');
            }
            write_level(out, dtype, item, part);
        }
    }
    out.push(b']');
}

fn write_element(out: &mut Vec<u8>, dtype: DType, data: &[u8]) {
    fn read<const N: usize>(data: &[u8]) -> [u8; N] {
        data.first_chunk().copied().unwrap_or([0; N])
    }
    match dtype {
        DType::Float32 => write_json(out, &f32::from_le_bytes(read(data))),
        DType::Float64 => write_json(out, &f64::from_le_bytes(read(data))),
        DType::Float16 => write_json(out, &f16::from_le_bytes(read(data)).to_f32()),
        DType::Bfloat16 => write_json(out, &bf16::from_le_bytes(read(data)).to_f32()),
        DType::Int64 => write_json(out, &i64::from_le_bytes(read(data))),
        DType::Int32 => write_json(out, &i32::from_le_bytes(read(data))),
        DType::Int16 => write_json(out, &i16::from_le_bytes(read(data))),
        DType::Int8 => write_json(out, &i8::from_le_bytes(read(data))),
        DType::Uint8 => write_json(out, &u8::from_le_bytes(read(data))),
        DType::Bool => write_json(out, &(data.first().is_some_and(|&byte| byte != 0))),
    }
}

#[cfg(test)]
mod tests;
