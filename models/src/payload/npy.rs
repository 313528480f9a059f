//! NumPy's `.npy` format, versions 1 to 3: one array with its element type and shape.
//!
//! Little-endian C-order arrays share the body's memory; big-endian and Fortran-order ones are
//! converted. Structured and object arrays are refused: a tensor has one element type.

use assay_measure::input_spec::DType;
use bytes::Bytes;

use super::{ContentType, ExpectedInput, PayloadError};
use crate::tensor::{WireTensor, byte_length};

const MAGIC: &[u8] = b"\x93NUMPY";
const MAX_DIMENSIONS: usize = 8;

/// The parsed header: what follows it is the data.
struct Header {
    descr: String,
    fortran_order: bool,
    shape: Vec<i64>,
    data_start: usize,
}

pub(super) fn decode(
    body: &Bytes,
    expected: Option<&ExpectedInput>,
) -> Result<WireTensor, PayloadError> {
    let header = read_header(body)?;
    let (dtype, big_endian) = element_type(&header.descr, expected.and_then(|input| input.dtype))?;
    let wanted = byte_length(dtype, &header.shape).ok_or_else(|| {
        in_header(format!("shape {:?} has a negative dimension or too many elements", header.shape))
    })?;
    let data = body.slice(header.data_start..);
    if data.len() != wanted {
        let shape = &header.shape;
        let reason =
            format!("{} bytes follow the header, but {dtype}{shape:?} takes {wanted}", data.len());
        return Err(PayloadError::malformed(ContentType::Npy, "after the header", reason));
    }
    let width = dtype.size_bytes();
    let data = if big_endian && width > 1 { swap_bytes(&data, width) } else { data };
    let data = if header.fortran_order { to_row_major(&data, &header.shape, width) } else { data };
    Ok(WireTensor { name: String::new(), dtype, shape: header.shape, data })
}

fn in_header(reason: impl Into<String>) -> PayloadError {
    PayloadError::malformed(ContentType::Npy, "in the header", reason)
}

fn read_header(body: &[u8]) -> Result<Header, PayloadError> {
    let rest = body.strip_prefix(MAGIC).ok_or_else(|| {
        PayloadError::malformed(ContentType::Npy, "at byte 0", "it does not start with \\x93NUMPY")
    })?;
    let truncated =
        || in_header(format!("the body ends after {} bytes, inside the header", body.len()));
    let (version, rest) = rest.split_first_chunk::<2>().ok_or_else(truncated)?;
    let (length, length_bytes) = match version[0] {
        1 => (usize::from(u16::from_le_bytes(*rest.first_chunk().ok_or_else(truncated)?)), 2),
        2 | 3 => {
            let length = u32::from_le_bytes(*rest.first_chunk().ok_or_else(truncated)?);
            (usize::try_from(length).map_err(|_| truncated())?, 4)
        }
        other => {
            return Err(in_header(format!("format version {other} is not known (1, 2 and 3 are)")));
        }
    };
    let text_start = MAGIC.len() + 2 + length_bytes;
    let data_start =
        text_start.checked_add(length).filter(|&end| end <= body.len()).ok_or_else(truncated)?;
    let text = std::str::from_utf8(&body[text_start..data_start])
        .map_err(|_| in_header("it is not text"))?;
    parse_header_text(text, data_start)
}

/// Parses `{'descr': '<f4', 'fortran_order': False, 'shape': (1, 3), }`, keys in any order.
fn parse_header_text(text: &str, data_start: usize) -> Result<Header, PayloadError> {
    let (mut descr, mut fortran_order, mut shape) = (None, None, None);
    let mut rest =
        text.trim().strip_prefix('{').ok_or_else(|| in_header("it is no dictionary"))?.trim_start();
    while !rest.starts_with('}') {
        let (key, after) = quoted(rest)?;
        let value = after
            .trim_start()
            .strip_prefix(':')
            .ok_or_else(|| in_header("a key has no value"))?
            .trim_start();
        rest = match key {
            "descr" if value.starts_with('[') => {
                return Err(in_header("structured arrays are not tensors"));
            }
            "descr" => {
                let (text, after) = quoted(value)?;
                descr = Some(text.to_owned());
                after
            }
            "fortran_order" => {
                let (word, after) = value.split_at(value.find([',', '}']).unwrap_or(value.len()));
                fortran_order = Some(match word.trim() {
                    "True" => true,
                    "False" => false,
                    other => return Err(in_header(format!("fortran_order is {other:?}"))),
                });
                after
            }
            "shape" => {
                let (dims, after) = value
                    .strip_prefix('(')
                    .and_then(|v| v.split_once(')'))
                    .ok_or_else(|| in_header("shape is no tuple"))?;
                shape = Some(parse_shape(dims)?);
                after
            }
            other => return Err(in_header(format!("key {other:?} is not known"))),
        };
        rest = rest.trim_start();
        rest = rest.strip_prefix(',').unwrap_or(rest).trim_start();
    }
    let missing = |key: &str| in_header(format!("{key:?} is missing"));
    Ok(Header {
        descr: descr.ok_or_else(|| missing("descr"))?,
        fortran_order: fortran_order.ok_or_else(|| missing("fortran_order"))?,
        shape: shape.ok_or_else(|| missing("shape"))?,
        data_start,
    })
}

fn quoted(text: &str) -> Result<(&str, &str), PayloadError> {
    let none = || in_header("a quoted word was expected");
    let quote = text.chars().next().filter(|c| "'\"".contains(*c)).ok_or_else(none)?;
    text[1..].split_once(quote).ok_or_else(none)
}

fn parse_shape(dims: &str) -> Result<Vec<i64>, PayloadError> {
    let mut parts: Vec<&str> = dims.split(',').map(str::trim).collect();
    if parts.last().is_some_and(|last| last.is_empty()) {
        parts.pop();
    }
    if parts.len() > MAX_DIMENSIONS {
        return Err(in_header(format!(
            "{} dimensions, at most {MAX_DIMENSIONS} are allowed",
            parts.len()
        )));
    }
    // Python 2 wrote long integers with an L.
    parts
        .into_iter()
        .map(|part| {
            let number = part.strip_suffix('L').unwrap_or(part);
            number
                .parse()
                .ok()
                .filter(|&dim: &i64| dim >= 0)
                .ok_or_else(|| in_header(format!("shape has {part:?}")))
        })
        .collect()
}

/// The element type, and whether it is stored big-endian.
fn element_type(descr: &str, declared: Option<DType>) -> Result<(DType, bool), PayloadError> {
    let (order, code) = match descr.as_bytes().first() {
        Some(b'<' | b'>' | b'|' | b'=') => descr.split_at(1),
        _ => ("=", descr),
    };
    let dtype = match code {
        "f4" => DType::Float32,
        "f8" => DType::Float64,
        "f2" => DType::Float16,
        "i8" => DType::Int64,
        "i4" => DType::Int32,
        "i2" => DType::Int16,
        "i1" => DType::Int8,
        "u1" => DType::Uint8,
        "b1" | "?" => DType::Bool,
        // NumPy has no bfloat16: packages save it as two raw bytes, people as the bits.
        "V2" => DType::Bfloat16,
        "u2" if declared == Some(DType::Bfloat16) => DType::Bfloat16,
        _ => return Err(in_header(refusal(descr, code))),
    };
    Ok((dtype, order == ">"))
}

fn refusal(descr: &str, code: &str) -> String {
    match code.as_bytes().first() {
        Some(b'O') => "object arrays hold Python objects, not numbers".to_owned(),
        Some(b'c') => format!("complex elements ({descr}) are not supported"),
        Some(b'S' | b'U') => format!("text elements ({descr}) are not supported"),
        Some(b'u') => {
            format!(
                "{descr} is not supported: of the unsigned types only uint8 is, cast it to int64"
            )
        }
        _ => format!("element type {descr:?} is not supported"),
    }
}

fn swap_bytes(data: &[u8], width: usize) -> Bytes {
    data.chunks_exact(width).flat_map(|element| element.iter().rev().copied()).collect()
}

/// Rearranges column-major elements (first index fastest) to row-major.
fn to_row_major(data: &Bytes, shape: &[i64], width: usize) -> Bytes {
    let dims: Vec<usize> = shape.iter().map(|&dim| usize::try_from(dim).unwrap_or(0)).collect();
    if dims.iter().filter(|&&dim| dim != 1).count() < 2 {
        return data.clone();
    }
    let strides: Vec<usize> = dims
        .iter()
        .scan(width, |stride, &dim| Some(std::mem::replace(stride, *stride * dim)))
        .collect();
    let mut out = Vec::with_capacity(data.len());
    let mut index = vec![0usize; dims.len()];
    let mut offset = 0;
    while out.len() < data.len() {
        out.extend_from_slice(&data[offset..offset + width]);
        for axis in (0..dims.len()).rev() {
            index[axis] += 1;
            offset += strides[axis];
            if index[axis] < dims[axis] {
                break;
            }
            offset -= strides[axis] * dims[axis];
            index[axis] = 0;
        }
    }
    out.into()
}
