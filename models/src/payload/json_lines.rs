//! `application/jsonlines`: a JSON document on each line, as `application/json` would have it, for one item of
//! the batch.
//!
//! The arrays of all lines are stacked along a new first dimension, or joined along the first where an array
//! has as many dimensions as the input was declared with (each line is a batch of its own then). Empty lines
//! do not count.

use bytes::Bytes;

use super::{
    ContentType, ExpectedInput, PayloadError, expected_for,
    json::{self, NumberArray},
};
use crate::tensor::WireTensor;

pub(super) fn decode(
    body: &Bytes,
    expected: &[ExpectedInput],
    limit_bytes: usize,
) -> Result<Vec<WireTensor>, PayloadError> {
    let mut left = NumberArray::most(limit_bytes);
    let mut joined: Vec<NumberArray> = Vec::new();
    let lines = body.split(|&byte| byte == b'\n').zip(1..);
    for (line, number) in lines.filter(|(line, _)| !line.trim_ascii().is_empty()) {
        let arrays = json::read(ContentType::JsonLines, line, expected, left)
            .map_err(|error| in_line(number, error))?;
        left = left.saturating_sub(arrays.iter().map(NumberArray::numbers).sum());
        let arrays = with_rows(arrays, expected);
        if joined.is_empty() {
            joined = arrays;
        } else {
            join(&mut joined, arrays).map_err(|reason| malformed(number, reason))?;
        }
    }
    if joined.is_empty() {
        return Err(PayloadError::malformed(
            ContentType::JsonLines,
            "at the start",
            "it has no lines",
        ));
    }
    json::into_tensors(joined, expected)
}

fn malformed(line: usize, reason: impl Into<String>) -> PayloadError {
    PayloadError::malformed(ContentType::JsonLines, format!("in line {line}"), reason)
}

/// A document counts its own lines, and has but one.
fn in_line(line: usize, error: PayloadError) -> PayloadError {
    let PayloadError::Malformed { reason, .. } = error else { return error };
    malformed(line, reason)
}

/// Gives every array a first dimension to grow in.
fn with_rows(mut arrays: Vec<NumberArray>, expected: &[ExpectedInput]) -> Vec<NumberArray> {
    for (index, array) in arrays.iter_mut().enumerate() {
        let input = expected_for(&array.name, index, expected);
        let declared = input.and_then(|input| input.shape.as_ref()).map(Vec::len);
        if array.shape.is_empty() || declared != Some(array.shape.len()) {
            array.stack();
        }
    }
    arrays
}

fn join(joined: &mut [NumberArray], arrays: Vec<NumberArray>) -> Result<(), String> {
    if arrays.len() != joined.len() {
        let (has, had) = (arrays.len(), joined.len());
        return Err(format!("it has {has} arrays, the lines before it have {had}"));
    }
    for array in arrays {
        let Some(known) = joined.iter_mut().find(|known| known.name == array.name) else {
            return Err(format!("the lines before it have no array {:?}", array.name));
        };
        let (item, known_item) = (array.shape.get(1..), known.shape.get(1..));
        if item != known_item {
            return Err(format!(
                "its array has the shape {:?}, those before it {:?}",
                item.unwrap_or_default(),
                known_item.unwrap_or_default()
            ));
        }
        known.append(array);
    }
    Ok(())
}
