//! `application/octet-stream`: the bare elements of one tensor, row-major and little-endian.
//!
//! Nothing in the body says what it is, so the input's type and shape must be declared. A body that
//! holds the declared tensor several times over is a larger batch: the first dimension grows.

use assay_measure::input_spec::DType;
use bytes::Bytes;

use super::{ContentType, ExpectedInput, PayloadError};
use crate::tensor::{WireTensor, byte_length, notation};

pub(super) fn decode(body: &Bytes, expected: &[ExpectedInput]) -> Result<WireTensor, PayloadError> {
    let undeclared = |what| PayloadError::Undeclared { format: ContentType::OctetStream, what };
    let input = match expected {
        [input] => input,
        [] => return Err(undeclared("the declared type and shape of the input")),
        // Optional arguments of forward() are not declared: they do not count.
        many => {
            let mut declared = many.iter().filter(|input| input.dtype.is_some());
            match (declared.next(), declared.next()) {
                (Some(input), None) => input,
                _ => {
                    return Err(undeclared(
                        "a model with exactly one declared input (use application/x-npz)",
                    ));
                }
            }
        }
    };
    let (Some(dtype), Some(declared)) = (input.dtype, input.shape.as_ref()) else {
        return Err(undeclared("the declared type and shape of the input"));
    };
    let shape = fit(dtype, declared, body.len()).map_err(|reason| PayloadError::WrongSize {
        format: ContentType::OctetStream,
        declared: notation(dtype, declared, "?"),
        reason,
    })?;
    Ok(WireTensor {
        name: input.name.clone().unwrap_or_default(),
        dtype,
        shape,
        data: body.clone(),
    })
}

/// The shape of a body of `size` bytes, or why there is none.
fn fit(dtype: DType, declared: &[i64], size: usize) -> Result<Vec<i64>, String> {
    let mut shape = declared.to_vec();
    let free = shape.iter().filter(|&&dim| dim < 0).count();
    if free > 1 {
        return Err(format!(
            "{free} of its dimensions are free, so its shape cannot be told from its size"
        ));
    }
    let growing = shape.iter().position(|&dim| dim < 0).unwrap_or(0);
    if free == 1 {
        shape[growing] = 1;
    }
    let unit = byte_length(dtype, &shape).ok_or("the declared tensor is too large")?;
    if size == 0 || unit == 0 || !size.is_multiple_of(unit) || (shape.is_empty() && size != unit) {
        return Err(format!("it has {size} bytes, which is no multiple of {unit}"));
    }
    if let Some(dim) = shape.get_mut(growing) {
        *dim *= i64::try_from(size / unit).map_err(|_| "it is too large")?;
    }
    Ok(shape)
}
