//! A tensor outside libtorch: what payload decoders produce and response encoders consume.
//!
//! No libtorch type appears here, so decoders and servers can be tested without it; the engine alone
//! turns these into libtorch tensors and back.

use assay_measure::input_spec::DType;
use bytes::Bytes;

/// The size of a tensor's data; `None` when a dimension is negative or the product overflows.
pub(crate) fn byte_length(dtype: DType, shape: &[i64]) -> Option<usize> {
    shape
        .iter()
        .try_fold(dtype.size_bytes(), |bytes, &dim| bytes.checked_mul(usize::try_from(dim).ok()?))
}

/// `float32[1,3,224,224]`, a free dimension shown as `free`.
pub(crate) fn notation(dtype: DType, shape: &[i64], free: &str) -> String {
    let dim = |&dim: &i64| if dim < 0 { free.to_owned() } else { dim.to_string() };
    format!("{dtype}[{}]", shape.iter().map(dim).collect::<Vec<_>>().join(","))
}

/// A named, typed, contiguous (row-major, little-endian) tensor.
#[derive(Clone, Debug, PartialEq)]
pub struct WireTensor {
    /// The name given by the payload or the model; empty when it has none.
    pub name: String,
    pub dtype: DType,
    /// The dimensions; empty for a scalar.
    pub shape: Vec<i64>,
    /// `product(shape) × dtype.size_bytes()` bytes, shared with the request body where possible.
    pub data: Bytes,
}

impl WireTensor {
    /// Whether the data has the size that type and shape ask for.
    pub(crate) fn is_whole(&self) -> bool {
        byte_length(self.dtype, &self.shape) == Some(self.data.len())
    }

    /// `float32[1,4,224,224]`
    pub(crate) fn kind(&self) -> String {
        notation(self.dtype, &self.shape, "-1")
    }

    /// The bytes of each element, `N` being the size of its type.
    pub(crate) fn chunks<const N: usize>(&self) -> impl Iterator<Item = [u8; N]> + '_ {
        self.data.as_chunks::<N>().0.iter().copied()
    }

    /// The values of a floating-point tensor; `None` for integers and truth values.
    pub(crate) fn floats(&self) -> Option<Box<dyn Iterator<Item = f64> + '_>> {
        Some(match self.dtype {
            DType::Float32 => {
                Box::new(self.chunks().map(|bytes| f64::from(f32::from_le_bytes(bytes))))
            }
            DType::Float64 => Box::new(self.chunks().map(f64::from_le_bytes)),
            DType::Float16 => {
                Box::new(self.chunks().map(|bytes| half::f16::from_le_bytes(bytes).to_f64()))
            }
            DType::Bfloat16 => {
                Box::new(self.chunks().map(|bytes| half::bf16::from_le_bytes(bytes).to_f64()))
            }
            DType::Int64
            | DType::Int32
            | DType::Int16
            | DType::Int8
            | DType::Uint8
            | DType::Bool => return None,
        })
    }
}
