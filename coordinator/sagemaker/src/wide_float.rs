//! Costs and utilizations as SageMaker prints them: a float32, widened to double.
//!
//! `0.204` is sent as `0.20399999618530273`. Printing the float32 itself would send `0.204`, and clients
//! that compare to the last bit would see another number.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A float32 that is written as the double of the same value.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub struct WideFloat(pub f32);

impl WideFloat {
    /// The nearest float32; `None` when there is no finite one, because JSON has no other.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "the nearest float32 is what is wanted")]
    pub fn nearest(value: f64) -> Option<Self> {
        Some(value as f32).filter(|value| value.is_finite()).map(Self)
    }

    /// The double of the same value.
    #[must_use]
    pub fn wide(self) -> f64 {
        f64::from(self.0)
    }
}

impl Serialize for WideFloat {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(self.wide())
    }
}

impl<'de> Deserialize<'de> for WideFloat {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = f64::deserialize(deserializer)?;
        Self::nearest(value).ok_or_else(|| serde::de::Error::custom("a float32 is expected"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_price_is_printed_like_on_the_page() {
        let price = WideFloat::nearest(0.204).unwrap();
        assert_eq!(serde_json::to_string(&price).unwrap(), "0.20399999618530273");
        assert_eq!(serde_json::from_str::<WideFloat>("0.204").unwrap(), price);
        assert_eq!(WideFloat::nearest(f64::NAN), None);
        assert_eq!(WideFloat::nearest(1e300), None);
    }
}
