//! JSON: nested arrays of numbers, alone, under `inputs` or `instances`, or named in an object.
//!
//! The protocol wants an element type. A declared input says it; without one, whole numbers are int64, other
//! numbers float32, and true and false bool.

use assay_measure::input_spec::{DType, InputSpec};
use half::{bf16, f16};
use serde_json::Value;

use super::{RequestError, Tensor, positional_name};

const MAX_DIMENSIONS: usize = 8;
/// Keys under which other servers' clients send one array or an object of named ones.
const WRAPPERS: [&str; 2] = ["inputs", "instances"];

pub(super) fn tensors(body: &[u8], inputs: &[InputSpec]) -> Result<Vec<Tensor>, RequestError> {
    let document: Value = serde_json::from_slice(body).map_err(|error| bad(error.to_string()))?;
    let only = document.as_object().filter(|keys| keys.len() == 1);
    let wrapped = WRAPPERS.iter().find_map(|key| {
        let is_an_input = inputs.iter().any(|input| input.name() == Some(*key));
        only?.get(*key).filter(|_| !is_an_input)
    });
    let arrays = wrapped.unwrap_or(&document);
    let Some(named) = arrays.as_object() else {
        let input = inputs.first();
        let name = positional_name(input, 0);
        return Ok(vec![tensor(name, arrays, input.map(InputSpec::dtype))?]);
    };
    if named.is_empty() {
        return Err(bad("it names no array".to_owned()));
    }
    named
        .iter()
        .map(|(name, value)| {
            let input = inputs.iter().find(|input| input.name() == Some(name));
            tensor(name.clone(), value, input.map(InputSpec::dtype))
        })
        .collect()
}

fn bad(reason: String) -> RequestError {
    RequestError::unreadable("JSON", reason)
}

fn tensor(name: String, value: &Value, declared: Option<DType>) -> Result<Tensor, RequestError> {
    let (mut shape, mut numbers) = (Vec::new(), Vec::new());
    flatten(value, 0, &mut shape, &mut numbers)
        .map_err(|what| bad(format!("in {name:?}: {what}")))?;
    let dtype = declared.unwrap_or_else(|| natural_type(&numbers));
    let mut data = Vec::with_capacity(numbers.len() * dtype.size_bytes());
    for number in numbers {
        append(&mut data, number, dtype)
            .ok_or_else(|| bad(format!("in {name:?}: {number} cannot be {dtype}")))?;
    }
    let shape = shape.into_iter().map(|length| i64::try_from(length).unwrap_or(i64::MAX)).collect();
    Ok(Tensor { name, datatype: dtype.oip_name(), shape, data: data.into() })
}

/// All numbers in order, and how many there are at each depth.
fn flatten<'a>(
    value: &'a Value,
    depth: usize,
    shape: &mut Vec<usize>,
    numbers: &mut Vec<&'a Value>,
) -> Result<(), String> {
    let Value::Array(items) = value else {
        if !(value.is_number() || value.is_boolean()) {
            return Err(format!("{value:.20} is neither a number nor an array"));
        }
        if depth != shape.len() {
            return Err("its arrays are ragged".to_owned());
        }
        numbers.push(value);
        return Ok(());
    };
    if depth == MAX_DIMENSIONS {
        return Err(format!("arrays are nested more than {MAX_DIMENSIONS} deep"));
    }
    if shape.len() == depth {
        // A number was met at this depth before: then no array may stand here.
        if !numbers.is_empty() {
            return Err("its arrays are ragged".to_owned());
        }
        shape.push(items.len());
    } else if shape[depth] != items.len() {
        return Err("its arrays are ragged".to_owned());
    }
    items.iter().try_for_each(|item| flatten(item, depth + 1, shape, numbers))
}

fn natural_type(numbers: &[&Value]) -> DType {
    if numbers.is_empty() {
        DType::Float32
    } else if numbers.iter().all(|number| number.is_boolean()) {
        DType::Bool
    } else if numbers.iter().all(|number| number.is_i64()) {
        DType::Int64
    } else {
        DType::Float32
    }
}

/// `None` when the type cannot hold the number.
fn append(data: &mut Vec<u8>, number: &Value, dtype: DType) -> Option<()> {
    match dtype {
        DType::Float64 => data.extend(number.as_f64()?.to_le_bytes()),
        #[expect(
            clippy::cast_possible_truncation,
            reason = "rounding to the nearest float is what is asked; overflow is checked"
        )]
        DType::Float32 => {
            let value = Some(number.as_f64()? as f32).filter(|value| value.is_finite())?;
            data.extend(value.to_le_bytes());
        }
        DType::Float16 => {
            let value = Some(f16::from_f64(number.as_f64()?)).filter(|value| value.is_finite())?;
            data.extend(value.to_le_bytes());
        }
        DType::Bfloat16 => {
            let value = Some(bf16::from_f64(number.as_f64()?)).filter(|value| value.is_finite())?;
            data.extend(value.to_le_bytes());
        }
        DType::Int64 => data.extend(number.as_i64()?.to_le_bytes()),
        DType::Int32 => data.extend(i32::try_from(number.as_i64()?).ok()?.to_le_bytes()),
        DType::Int16 => data.extend(i16::try_from(number.as_i64()?).ok()?.to_le_bytes()),
        DType::Int8 => data.extend(i8::try_from(number.as_i64()?).ok()?.to_le_bytes()),
        DType::Uint8 => data.push(u8::try_from(number.as_i64()?).ok()?),
        DType::Bool => data.push(match (number.as_bool(), number.as_i64()) {
            (Some(value), _) => u8::from(value),
            (None, Some(0)) => 0,
            (None, Some(1)) => 1,
            (None, _) => return None,
        }),
    }
    Some(())
}
