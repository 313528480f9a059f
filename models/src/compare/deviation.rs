//! The relative deviation of outputs from expected ones. Pure.
//!
//! For element *i* of a floating-point output, with *a* the expected tensor and *b* the other:
//!
//! ```text
//! dᵢ = |aᵢ − bᵢ| / max(|aᵢ|, s)        s = √( Σ aⱼ² / n ), over the finite aⱼ
//! ```
//!
//! The scale *s*, the root mean square of the expected tensor, keeps elements near zero from exploding:
//! a logit of 0.001 beside ones of 20 carries the rounding of the 20. Elements of integer and boolean
//! outputs deviate by 0 or 1; since one class index of a thousand that moved is no deviation of 100 %,
//! such a tensor enters the maximum with the share of its elements that differ.
//!
//! A NaN or an infinity where there was a number, outputs of other shapes, or anything where all was
//! zero is [`Incomparable`]: infinitely far, and told in words.

use thiserror::Error;

use crate::tensor::WireTensor;

/// Outputs whose difference no figure can tell.
#[derive(Clone, Debug, PartialEq, Error)]
pub(crate) enum Incomparable {
    #[error("{configured} outputs as configured, {plain} in plain float32")]
    Count { plain: usize, configured: usize },
    #[error("an output is {configured} as configured, {plain} in plain float32")]
    Structure { plain: String, configured: String },
    #[error(
        "element {element} of output {output:?} is {configured} as configured, {plain} in plain float32"
    )]
    NotFinite { output: String, element: u64, plain: f64, configured: f64 },
    #[error(
        "output {output:?} is all zero in plain float32, and element {element} is {configured} as configured"
    )]
    AllZero { output: String, element: u64, configured: f64 },
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Tally {
    pub(super) max: f64,
    total: f64,
    pub(super) elements: u64,
}

impl Tally {
    /// The mean over all elements so far; 0 without any.
    pub(crate) fn mean(&self) -> f64 {
        if self.elements == 0 { 0.0 } else { self.total / self.elements as f64 }
    }

    /// Adds the outputs of one call; after an error the tally is of no use.
    pub(crate) fn add(
        &mut self,
        plain: &[WireTensor],
        configured: &[WireTensor],
    ) -> Result<(), Incomparable> {
        if plain.len() != configured.len() {
            let (plain, configured) = (plain.len(), configured.len());
            return Err(Incomparable::Count { plain, configured });
        }
        plain.iter().zip(configured).try_for_each(|(plain, other)| self.add_tensor(plain, other))
    }

    #[expect(clippy::float_cmp, reason = "equal infinities agree, and have no difference")]
    fn add_tensor(&mut self, plain: &WireTensor, other: &WireTensor) -> Result<(), Incomparable> {
        let same = plain.name == other.name
            && plain.dtype == other.dtype
            && plain.shape == other.shape
            && plain.data.len() == other.data.len();
        if !same {
            let (plain, configured) = (notation(plain), notation(other));
            return Err(Incomparable::Structure { plain, configured });
        }
        let Some((expected, found)) = plain.floats().zip(other.floats()) else {
            self.add_exact(plain, other);
            return Ok(());
        };
        let scale = root_mean_square(plain.floats().into_iter().flatten());
        for ((a, b), element) in expected.zip(found).zip(0..) {
            // Two NaNs agree, as do two infinities of one sign.
            let deviation = if a == b || (a.is_nan() && b.is_nan()) {
                0.0
            } else if !a.is_finite() || !b.is_finite() {
                let output = plain.name.clone();
                return Err(Incomparable::NotFinite { output, element, plain: a, configured: b });
            } else if scale == 0.0 {
                let output = plain.name.clone();
                return Err(Incomparable::AllZero { output, element, configured: b });
            } else {
                (a - b).abs() / a.abs().max(scale)
            };
            self.max = self.max.max(deviation);
            self.total += deviation;
            self.elements += 1;
        }
        Ok(())
    }

    /// Integers and truth values: equal or not.
    fn add_exact(&mut self, plain: &WireTensor, other: &WireTensor) {
        let size = plain.dtype.size_bytes();
        let pairs = || plain.data.chunks_exact(size).zip(other.data.chunks_exact(size));
        let elements = pairs().count();
        let differing = pairs().filter(|(a, b)| a != b).count();
        if elements > 0 {
            self.max = self.max.max(differing as f64 / elements as f64);
            self.total += differing as f64;
            self.elements += elements as u64;
        }
    }
}

fn root_mean_square(values: impl Iterator<Item = f64>) -> f64 {
    let (sum, count) = values
        .filter(|value| value.is_finite())
        .fold((0.0, 0u64), |(sum, count), value| (value.mul_add(value, sum), count + 1));
    if count == 0 { 0.0 } else { (sum / count as f64).sqrt() }
}

fn notation(tensor: &WireTensor) -> String {
    format!("{}={}", tensor.name, tensor.kind())
}

#[cfg(test)]
mod tests {
    use assay_measure::input_spec::DType;

    use super::*;

    fn tensor(dtype: DType, data: Vec<u8>) -> WireTensor {
        let elements = data.len() / dtype.size_bytes();
        WireTensor {
            name: "logits".to_owned(),
            dtype,
            shape: vec![i64::try_from(elements).unwrap()],
            data: data.into(),
        }
    }

    fn floats_of(values: &[f32]) -> WireTensor {
        tensor(DType::Float32, values.iter().flat_map(|value| value.to_le_bytes()).collect())
    }

    fn deviation(plain: &WireTensor, other: &WireTensor) -> Result<(f64, f64), Incomparable> {
        let mut tally = Tally::default();
        tally.add(std::slice::from_ref(plain), std::slice::from_ref(other))?;
        Ok((tally.max, tally.mean()))
    }

    #[test]
    fn elements_near_zero_are_measured_against_the_whole_tensor() {
        // s = √((9 + 16 + 0) / 3); the zero that became 0.1 deviates by 0.1 / s, the 4 by 0.4 / 4.
        let scale = (25.0f64 / 3.0).sqrt();
        let (max, mean) =
            deviation(&floats_of(&[3.0, 4.0, 0.0]), &floats_of(&[3.0, 4.4, 0.1])).unwrap();
        assert!((max - 0.1).abs() < 1e-6, "{max}");
        assert!((mean - (0.1 + 0.1 / scale) / 3.0).abs() < 1e-6, "{mean}");
    }

    #[test]
    fn equal_outputs_do_not_deviate_whatever_they_hold() {
        let odd = floats_of(&[f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 0.0, 1e-30]);
        assert_eq!(deviation(&odd, &odd).unwrap(), (0.0, 0.0));
        let zeros = floats_of(&[0.0, -0.0]);
        assert_eq!(deviation(&zeros, &floats_of(&[0.0, 0.0])).unwrap(), (0.0, 0.0));
        assert_eq!(deviation(&floats_of(&[]), &floats_of(&[])).unwrap(), (0.0, 0.0));
    }

    #[test]
    fn what_is_infinitely_far_is_named() {
        let message = |plain: &[f32], other: &[f32]| {
            deviation(&floats_of(plain), &floats_of(other)).unwrap_err().to_string()
        };
        assert_eq!(
            message(&[1.0, 2.0], &[1.0, f32::NAN]),
            "element 1 of output \"logits\" is NaN as configured, 2 in plain float32"
        );
        assert!(message(&[f32::INFINITY], &[f32::NEG_INFINITY]).contains("-inf as configured"));
        assert!(message(&[0.0, 0.0], &[0.0, 0.5]).contains("all zero in plain float32"));
        assert_eq!(
            message(&[1.0], &[1.0, 2.0]),
            "an output is logits=float32[2] as configured, logits=float32[1] in plain float32"
        );
        let one = floats_of(&[1.0]);
        let error = Tally::default().add(&[one.clone(), one.clone()], &[one]).unwrap_err();
        assert_eq!(error, Incomparable::Count { plain: 2, configured: 1 });
    }

    #[test]
    fn integers_count_with_the_share_that_differs() {
        let bytes = |values: [i64; 4]| {
            tensor(DType::Int64, values.iter().flat_map(|value| value.to_le_bytes()).collect())
        };
        let (max, mean) = deviation(&bytes([1, 2, 3, 4]), &bytes([1, 2, 3, 5])).unwrap();
        assert_eq!((max, mean), (0.25, 0.25));
        let truths = |values: [u8; 2]| tensor(DType::Bool, values.to_vec());
        assert_eq!(deviation(&truths([0, 1]), &truths([1, 1])).unwrap(), (0.5, 0.5));
    }

    #[test]
    fn every_float_type_is_read() {
        for (dtype, one, two) in [
            (DType::Float64, 1f64.to_le_bytes().to_vec(), 1.5f64.to_le_bytes().to_vec()),
            (
                DType::Float16,
                half::f16::from_f32(1.0).to_le_bytes().to_vec(),
                half::f16::from_f32(1.5).to_le_bytes().to_vec(),
            ),
            (
                DType::Bfloat16,
                half::bf16::from_f32(1.0).to_le_bytes().to_vec(),
                half::bf16::from_f32(1.5).to_le_bytes().to_vec(),
            ),
        ] {
            let found = deviation(&tensor(dtype, one), &tensor(dtype, two)).unwrap();
            assert_eq!(found, (0.5, 0.5), "{dtype}");
        }
    }
}
