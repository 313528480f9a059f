//! JSON numbers to the elements of a tensor, exactly or not at all: an integer input takes integers in
//! its range, a float input takes numbers that do not overflow it.

use assay_measure::input_spec::DType;
use half::{bf16, f16};

use super::{NumberArray, PayloadError};
use crate::tensor::WireTensor;

/// A number as JSON has it.
#[derive(Clone, Copy, Debug)]
pub(super) enum Scalar {
    /// Written without fraction and exponent.
    Int(i64),
    /// Any other number, and integers beyond 64 bits.
    Float(f64),
    /// `true` or `false`.
    Bool(bool),
}

impl Scalar {
    #[expect(clippy::cast_precision_loss, reason = "a float input takes the nearest float")]
    fn as_f64(self) -> Option<f64> {
        match self {
            Self::Int(value) => Some(value as f64),
            Self::Float(value) => Some(value),
            Self::Bool(_) => None,
        }
    }

    fn as_integer<T: TryFrom<i64>>(self) -> Result<T, &'static str> {
        match self {
            Self::Int(value) => T::try_from(value).map_err(|_| "it is out of range"),
            Self::Float(_) => Err("it is no integer (or too large for one)"),
            Self::Bool(_) => Err("it is no number"),
        }
    }

    fn as_bool(self) -> Result<u8, &'static str> {
        match self {
            Self::Bool(value) => Ok(u8::from(value)),
            Self::Int(0) => Ok(0),
            Self::Int(1) => Ok(1),
            Self::Int(_) | Self::Float(_) => Err("it is neither true, false, 0 nor 1"),
        }
    }

    fn shown(self) -> String {
        match self {
            Self::Int(value) => value.to_string(),
            Self::Float(value) => format!("{value:?}"),
            Self::Bool(value) => value.to_string(),
        }
    }
}

/// `inputs[0][3]`, or `the top` for the body itself.
pub(super) fn place(name: &str, path: &[usize]) -> String {
    let indices: String = path.iter().map(|index| format!("[{index}]")).collect();
    let place = format!("{name}{indices}");
    if place.is_empty() { "the top".to_owned() } else { place }
}

impl NumberArray {
    /// The numbers as elements of a type, or of the one that suits them when there is none.
    pub(crate) fn into_tensor(self, dtype: Option<DType>) -> Result<WireTensor, PayloadError> {
        let dtype = dtype.unwrap_or_else(|| natural_type(&self.values));
        let mut data = Vec::with_capacity(self.values.len() * dtype.size_bytes());
        for (index, &value) in self.values.iter().enumerate() {
            append(&mut data, value, dtype).map_err(|reason| PayloadError::WrongElement {
                value: value.shown(),
                place: format!("at {}", place(&self.name, &unravel(index, &self.shape))),
                dtype,
                reason: reason.to_owned(),
            })?;
        }
        let shape =
            self.shape.iter().map(|&length| i64::try_from(length).unwrap_or(i64::MAX)).collect();
        Ok(WireTensor { name: self.name, dtype, shape, data: data.into() })
    }
}

/// What `torch.tensor` would make of the numbers.
fn natural_type(values: &[Scalar]) -> DType {
    if !values.is_empty() && values.iter().all(|value| matches!(value, Scalar::Bool(_))) {
        DType::Bool
    } else if !values.is_empty() && values.iter().all(|value| matches!(value, Scalar::Int(_))) {
        DType::Int64
    } else {
        DType::Float32
    }
}

fn append(data: &mut Vec<u8>, value: Scalar, dtype: DType) -> Result<(), &'static str> {
    match dtype {
        DType::Float64 => data.extend(float(value)?.to_le_bytes()),
        #[expect(
            clippy::cast_possible_truncation,
            reason = "rounding to the nearest float is what is asked; overflow is checked"
        )]
        DType::Float32 => data.extend(finite(float(value)? as f32, f32::is_finite)?.to_le_bytes()),
        DType::Float16 => {
            data.extend(finite(f16::from_f64(float(value)?), |v| v.is_finite())?.to_le_bytes())
        }
        DType::Bfloat16 => {
            data.extend(finite(bf16::from_f64(float(value)?), |v| v.is_finite())?.to_le_bytes())
        }
        DType::Int64 => data.extend(value.as_integer::<i64>()?.to_le_bytes()),
        DType::Int32 => data.extend(value.as_integer::<i32>()?.to_le_bytes()),
        DType::Int16 => data.extend(value.as_integer::<i16>()?.to_le_bytes()),
        DType::Int8 => data.extend(value.as_integer::<i8>()?.to_le_bytes()),
        DType::Uint8 => data.push(value.as_integer::<u8>()?),
        DType::Bool => data.push(value.as_bool()?),
    }
    Ok(())
}

fn float(value: Scalar) -> Result<f64, &'static str> {
    value.as_f64().ok_or("it is no number")
}

fn finite<T: Copy>(value: T, is_finite: impl Fn(T) -> bool) -> Result<T, &'static str> {
    if is_finite(value) { Ok(value) } else { Err("it is out of range") }
}

/// The indices of the element at a flat position.
fn unravel(mut position: usize, shape: &[usize]) -> Vec<usize> {
    let mut path = vec![0; shape.len()];
    for (index, &length) in path.iter_mut().zip(shape).rev() {
        *index = position % length.max(1);
        position /= length.max(1);
    }
    path
}
