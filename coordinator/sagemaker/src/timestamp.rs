//! Time on the wire: epoch seconds as a JSON number with a fraction of milliseconds (CloudWatch Logs
//! counts whole milliseconds instead, as plain integers).

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

/// A moment, to the millisecond.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(jiff::Timestamp);

impl Timestamp {
    /// Cut to the millisecond, so that what was sent compares equal with what was kept.
    #[must_use]
    pub fn new(time: jiff::Timestamp) -> Self {
        Self(jiff::Timestamp::from_millisecond(time.as_millisecond()).unwrap_or(time))
    }

    /// The moment that a number of epoch seconds names; `None` beyond the years that exist.
    #[must_use]
    pub fn from_epoch_seconds(seconds: f64) -> Option<Self> {
        let milliseconds = (seconds * 1000.0).round();
        if !milliseconds.is_finite() {
            return None;
        }
        #[expect(clippy::cast_possible_truncation, reason = "saturates beyond what jiff takes")]
        let whole = milliseconds as i64;
        jiff::Timestamp::from_millisecond(whole).ok().map(Self)
    }

    #[must_use]
    pub const fn time(self) -> jiff::Timestamp {
        self.0
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(self.0.as_millisecond() as f64 / 1000.0)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let seconds = f64::deserialize(deserializer)?;
        Self::from_epoch_seconds(seconds).ok_or_else(|| {
            D::Error::custom("epoch seconds within the years that exist are expected")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_epoch_seconds_with_milliseconds() {
        let moment = Timestamp::new("2022-10-04T22:35:19.2006Z".parse().unwrap());
        assert_eq!(serde_json::to_string(&moment).unwrap(), "1664922919.2");
        assert_eq!(serde_json::from_str::<Timestamp>("1664922919.2").unwrap(), moment);
    }

    #[test]
    fn a_year_that_does_not_exist_is_refused() {
        for text in ["1e300", "-1e17", "\"2022\""] {
            assert!(serde_json::from_str::<Timestamp>(text).is_err(), "{text}");
        }
    }
}
