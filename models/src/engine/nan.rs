//! Looking into output values: NaNs counted, and near-equality. Pure.

use assay_measure::input_spec::DType;

use crate::tensor::WireTensor;

/// How many elements are NaN.
pub(crate) fn count(tensor: &WireTensor) -> u64 {
    let found = match tensor.dtype {
        DType::Float32 => {
            tensor.chunks().filter(|&bytes| f32::from_le_bytes(bytes).is_nan()).count()
        }
        DType::Float64 => {
            tensor.chunks().filter(|&bytes| f64::from_le_bytes(bytes).is_nan()).count()
        }
        DType::Float16 => {
            tensor.chunks().filter(|&bytes| half::f16::from_le_bytes(bytes).is_nan()).count()
        }
        DType::Bfloat16 => {
            tensor.chunks().filter(|&bytes| half::bf16::from_le_bytes(bytes).is_nan()).count()
        }
        DType::Int64 | DType::Int32 | DType::Int16 | DType::Int8 | DType::Uint8 | DType::Bool => 0,
    };
    found as u64
}

/// Whether two tensors have the same shape and, but for the rounding of a different order of additions,
/// the same values.
pub(super) fn nearly_equal(one: &WireTensor, other: &WireTensor) -> bool {
    if one.dtype != other.dtype || one.shape != other.shape || one.name != other.name {
        return false;
    }
    let tolerance = match one.dtype {
        DType::Float64 => 1e-6,
        DType::Float32 => 1e-3,
        DType::Float16 => 2e-2,
        DType::Bfloat16 => 1e-1,
        DType::Int64 | DType::Int32 | DType::Int16 | DType::Int8 | DType::Uint8 | DType::Bool => {
            0.0
        }
    };
    match one.floats().zip(other.floats()) {
        Some((values, others)) => near(values, others, tolerance),
        None => one.data == other.data,
    }
}

/// Differences are measured against the largest value: a logit of 0.001 beside one of 20 carries the
/// rounding of the 20.
fn near(one: impl Iterator<Item = f64>, other: impl Iterator<Item = f64>, tolerance: f64) -> bool {
    let (mut largest, mut widest) = (0.0f64, 0.0f64);
    for (a, b) in one.zip(other) {
        if a.is_nan() != b.is_nan() || a.is_infinite() != b.is_infinite() {
            return false;
        }
        if a.is_finite() && b.is_finite() {
            largest = largest.max(a.abs()).max(b.abs());
            widest = widest.max((a - b).abs());
        }
    }
    widest <= tolerance * largest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tensor(values: &[f32]) -> WireTensor {
        WireTensor {
            name: "output".to_owned(),
            dtype: DType::Float32,
            shape: vec![i64::try_from(values.len()).unwrap()],
            data: values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<_>>().into(),
        }
    }

    #[test]
    fn nans_are_counted_in_every_float_type_and_nowhere_else() {
        assert_eq!(count(&tensor(&[1.0, f32::NAN, f32::INFINITY, -f32::NAN])), 2);
        let all_ones = |dtype: DType| WireTensor {
            name: String::new(),
            dtype,
            shape: vec![2],
            data: vec![0xff; 2 * dtype.size_bytes()].into(),
        };
        for &dtype in DType::ALL {
            let float =
                matches!(dtype, DType::Float16 | DType::Bfloat16 | DType::Float32 | DType::Float64);
            assert_eq!(count(&all_ones(dtype)), if float { 2 } else { 0 }, "{dtype}");
        }
    }

    #[test]
    fn nearly_equal_forgives_rounding_only() {
        assert!(nearly_equal(&tensor(&[20.0, 0.001]), &tensor(&[20.0001, 0.0012])));
        assert!(!nearly_equal(&tensor(&[20.0, 0.001]), &tensor(&[20.0, 0.5])));
        assert!(nearly_equal(&tensor(&[f32::NAN, 1.0]), &tensor(&[f32::NAN, 1.0])));
        assert!(!nearly_equal(&tensor(&[f32::NAN]), &tensor(&[1.0])));
        assert!(!nearly_equal(&tensor(&[1.0]), &tensor(&[1.0, 1.0])));
        assert!(nearly_equal(&tensor(&[0.0]), &tensor(&[0.0])));
    }
}
