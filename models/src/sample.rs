//! Made-up inputs of a declared shape, for warming up and for trying a model. The same every time.

use assay_measure::input_spec::{DType, InputSpec};
use bytes::Bytes;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::tensor::WireTensor;

/// One for each declared input.
pub(crate) fn random_inputs(specs: &[InputSpec]) -> Vec<WireTensor> {
    specs.iter().zip(0..).map(|(spec, seed)| random_input(spec, seed)).collect()
}

/// A tensor of the declared type and shape: floats uniform in [0, 1), integers and booleans 0 or 1 (so
/// that they are valid indices into any table).
pub(crate) fn random_input(spec: &InputSpec, seed: u64) -> WireTensor {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let elements = usize::try_from(spec.elements()).unwrap_or(usize::MAX);
    let mut data = Vec::with_capacity(elements.saturating_mul(spec.dtype().size_bytes()));
    for _ in 0..elements {
        push_element(&mut data, spec.dtype(), &mut rng);
    }
    WireTensor {
        name: spec.name().unwrap_or_default().to_owned(),
        dtype: spec.dtype(),
        shape: spec.shape().iter().map(|&dim| i64::try_from(dim).unwrap_or(i64::MAX)).collect(),
        data: Bytes::from(data),
    }
}

fn push_element(data: &mut Vec<u8>, dtype: DType, rng: &mut ChaCha8Rng) {
    let bit = u8::from(rng.random::<bool>());
    match dtype {
        DType::Float32 => data.extend_from_slice(&rng.random::<f32>().to_le_bytes()),
        DType::Float64 => data.extend_from_slice(&rng.random::<f64>().to_le_bytes()),
        DType::Float16 => {
            data.extend_from_slice(&half::f16::from_f32(rng.random::<f32>()).to_le_bytes())
        }
        DType::Bfloat16 => {
            data.extend_from_slice(&half::bf16::from_f32(rng.random::<f32>()).to_le_bytes())
        }
        DType::Int64 => data.extend_from_slice(&i64::from(bit).to_le_bytes()),
        DType::Int32 => data.extend_from_slice(&i32::from(bit).to_le_bytes()),
        DType::Int16 => data.extend_from_slice(&i16::from(bit).to_le_bytes()),
        DType::Int8 | DType::Uint8 | DType::Bool => data.push(bit),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_fill_their_shape_and_repeat() {
        for &dtype in DType::ALL {
            let spec = InputSpec::new(None, dtype, vec![2, 3]).unwrap();
            let sample = random_input(&spec, 7);
            assert_eq!(sample.data.len(), 6 * dtype.size_bytes(), "{dtype}");
            assert_eq!(sample, random_input(&spec, 7));
        }
    }
}
