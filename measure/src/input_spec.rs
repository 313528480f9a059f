//! The declared input of a model, in the grammar `[NAME=]DTYPE[SHAPE]`, such as `float32[1,3,224,224]`.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::configuration::word_enum;

word_enum!(
    /// The element type of a tensor that can cross the wire.
    DType, "dtype", "float32, float64, float16, bfloat16, int64, int32, int16, int8, uint8, bool" {
        /// 32-bit float.
        Float32 = "float32",
        /// 64-bit float.
        Float64 = "float64",
        /// IEEE half precision.
        Float16 = "float16",
        /// 16-bit float with 8 exponent bits.
        Bfloat16 = "bfloat16",
        /// 64-bit signed integer.
        Int64 = "int64",
        /// 32-bit signed integer.
        Int32 = "int32",
        /// 16-bit signed integer.
        Int16 = "int16",
        /// 8-bit signed integer.
        Int8 = "int8",
        /// 8-bit unsigned integer.
        Uint8 = "uint8",
        /// One byte, 0 or 1.
        Bool = "bool",
    }
);

impl DType {
    /// Bytes per element.
    #[must_use]
    pub const fn size_bytes(self) -> usize {
        match self {
            Self::Float64 | Self::Int64 => 8,
            Self::Float32 | Self::Int32 => 4,
            Self::Float16 | Self::Bfloat16 | Self::Int16 => 2,
            Self::Int8 | Self::Uint8 | Self::Bool => 1,
        }
    }

    /// What the header of a little-endian `.npy` calls it. NumPy has no bfloat16: it travels as raw
    /// 16-bit words, as the `ml_dtypes` package saves it.
    #[must_use]
    pub const fn npy_name(self) -> &'static str {
        match self {
            Self::Float64 => "<f8",
            Self::Float32 => "<f4",
            Self::Float16 => "<f2",
            Self::Bfloat16 => "<V2",
            Self::Int64 => "<i8",
            Self::Int32 => "<i4",
            Self::Int16 => "<i2",
            Self::Int8 => "|i1",
            Self::Uint8 => "|u1",
            Self::Bool => "|b1",
        }
    }

    /// What the Open Inference Protocol v2 calls it.
    #[must_use]
    pub const fn oip_name(self) -> &'static str {
        match self {
            Self::Float64 => "FP64",
            Self::Float32 => "FP32",
            Self::Float16 => "FP16",
            Self::Bfloat16 => "BF16",
            Self::Int64 => "INT64",
            Self::Int32 => "INT32",
            Self::Int16 => "INT16",
            Self::Int8 => "INT8",
            Self::Uint8 => "UINT8",
            Self::Bool => "BOOL",
        }
    }
}

/// One input tensor: optional name, element type and shape. At most 8 dimensions and 2^40 elements.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct InputSpec {
    name: Option<String>,
    dtype: DType,
    shape: Vec<u64>,
}

/// A text is not the declaration of an input.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum InputSpecError {
    /// Not of the form `[NAME=]DTYPE[SHAPE]`.
    #[error("{0:?} is not an input; write it like float32[1,3,224,224] or tokens=int64[1,128]")]
    Grammar(String),
    /// The element type is unknown.
    #[error(transparent)]
    DType(#[from] crate::configuration::UnknownWord),
    /// A dimension is zero, there are more than eight, or the tensor would be absurdly large.
    #[error(
        "the shape of {0:?} needs 0 to 8 dimensions of at least 1 and at most 2^40 elements in all"
    )]
    Shape(String),
}

impl InputSpec {
    /// Declares an input.
    ///
    /// # Errors
    /// [`InputSpecError::Shape`] when the shape is out of range, [`InputSpecError::Grammar`] when the
    /// name has characters other than letters, digits, `_`, `.` and `-`.
    pub fn new(
        name: Option<String>,
        dtype: DType,
        shape: Vec<u64>,
    ) -> Result<Self, InputSpecError> {
        let spec = Self { name, dtype, shape };
        let elements = spec.shape.iter().try_fold(1u64, |all, &d| all.checked_mul(d));
        if spec.shape.len() > 8 || spec.shape.contains(&0) || elements.is_none_or(|n| n > 1 << 40) {
            return Err(InputSpecError::Shape(spec.to_string()));
        }
        let valid_name = |name: &String| {
            !name.is_empty()
                && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(&b))
        };
        if !spec.name.as_ref().is_none_or(valid_name) {
            return Err(InputSpecError::Grammar(spec.to_string()));
        }
        Ok(spec)
    }

    /// The name, if one was declared.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// The element type.
    #[must_use]
    pub const fn dtype(&self) -> DType {
        self.dtype
    }

    /// The dimensions; empty for a scalar.
    #[must_use]
    pub fn shape(&self) -> &[u64] {
        &self.shape
    }

    /// The number of elements.
    #[must_use]
    pub fn elements(&self) -> u64 {
        self.shape.iter().product()
    }

    /// The size of the tensor's data in bytes.
    #[must_use]
    pub fn size_bytes(&self) -> u64 {
        self.elements() * self.dtype.size_bytes() as u64
    }
}

impl fmt::Display for InputSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(name) = &self.name {
            write!(f, "{name}=")?;
        }
        let dims: Vec<String> = self.shape.iter().map(u64::to_string).collect();
        write!(f, "{}[{}]", self.dtype, dims.join(","))
    }
}

impl FromStr for InputSpec {
    type Err = InputSpecError;
    fn from_str(text: &str) -> Result<Self, InputSpecError> {
        let bad = || InputSpecError::Grammar(text.to_owned());
        let (name, rest) = match text.split_once('=') {
            Some((name, rest)) => (Some(name.trim().to_owned()), rest),
            None => (None, text),
        };
        let (dtype, dims) =
            rest.trim().strip_suffix(']').and_then(|r| r.split_once('[')).ok_or_else(bad)?;
        let shape = if dims.trim().is_empty() {
            Vec::new()
        } else {
            dims.split(',')
                .map(|d| d.trim().parse().map_err(|_| bad()))
                .collect::<Result<_, _>>()?
        };
        Self::new(name, dtype.trim().parse()?, shape)
    }
}

impl TryFrom<String> for InputSpec {
    type Error = InputSpecError;
    fn try_from(text: String) -> Result<Self, InputSpecError> {
        text.parse()
    }
}

impl From<InputSpec> for String {
    fn from(spec: InputSpec) -> Self {
        spec.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inputs_survive_their_own_text() {
        for text in ["float32[1,3,224,224]", "tokens=int64[1,128]", "bool[]"] {
            assert_eq!(text.parse::<InputSpec>().unwrap().to_string(), text);
        }
        assert_eq!("float32[1,3,224,224]".parse::<InputSpec>().unwrap().size_bytes(), 602_112);
    }

    #[test]
    fn bad_inputs_are_refused() {
        for bad in [
            "",
            "float32",
            "float32[",
            "float32[a]",
            "float32[1,-1]",
            "float32[0]",
            "float8[1]",
            "=float32[1]",
            "a b=float32[1]",
            "float32[9999999,9999999,9999999]",
            "float32[1,1,1,1,1,1,1,1,1]",
        ] {
            assert!(bad.parse::<InputSpec>().is_err(), "{bad:?} was accepted");
        }
    }
}
