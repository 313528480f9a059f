//! Quantities with their unit in the type: rates and byte counts.
//!
//! Durations are [`std::time::Duration`] inside and integer microseconds (`_us`) on every wire.

use std::{fmt, str::FromStr, time::Duration};

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// A rate of invocations. Finite and not negative.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(try_from = "f64", into = "f64")]
pub struct Rate {
    per_second: f64,
}

/// A text or number is not a quantity of the expected kind.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum UnitError {
    /// The rate is negative, infinite or not a number.
    #[error("a rate must be finite and not negative, got {0}")]
    BadRate(String),
    /// The text is not of the form `NUMBER[/s|/min]`.
    #[error("{0:?} is not a rate; write it like 40000/min or 25/s")]
    NotARate(String),
    /// The text is not of the form `NUMBER[B|KiB|MiB|GiB|TiB|KB|MB|GB|TB]`.
    #[error("{0:?} is not a size; write it like 512MiB or 20GiB")]
    NotASize(String),
    /// The text is not of the form `NUMBER(us|ms|s|m|h)`.
    #[error("{0:?} is not a duration; write it like 50ms, 30s or 5m")]
    NotADuration(String),
}

impl Rate {
    /// No invocations at all.
    pub const ZERO: Self = Self { per_second: 0.0 };

    /// A rate in invocations per second.
    ///
    /// # Errors
    /// [`UnitError::BadRate`] when the number is negative, infinite or NaN.
    pub fn per_second(value: f64) -> Result<Self, UnitError> {
        if value.is_finite() && value >= 0.0 {
            Ok(Self { per_second: value })
        } else {
            Err(UnitError::BadRate(value.to_string()))
        }
    }

    /// A rate in invocations per minute.
    ///
    /// # Errors
    /// [`UnitError::BadRate`] when the number is negative, infinite or NaN.
    pub fn per_minute(value: f64) -> Result<Self, UnitError> {
        Self::per_second(value / 60.0)
    }

    /// Invocations per second.
    #[must_use]
    pub fn as_per_second(self) -> f64 {
        self.per_second
    }

    /// Invocations per minute.
    #[must_use]
    pub fn as_per_minute(self) -> f64 {
        self.per_second * 60.0
    }
}

impl TryFrom<f64> for Rate {
    type Error = UnitError;
    /// From invocations per second, as serialized.
    fn try_from(value: f64) -> Result<Self, UnitError> {
        Self::per_second(value)
    }
}

impl From<Rate> for f64 {
    fn from(rate: Rate) -> Self {
        rate.per_second
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/min", self.as_per_minute())
    }
}

impl FromStr for Rate {
    type Err = UnitError;
    fn from_str(text: &str) -> Result<Self, UnitError> {
        let bad = || UnitError::NotARate(text.to_owned());
        let (number, unit) = text.split_once('/').unwrap_or((text, "s"));
        let value: f64 = number.trim().parse().map_err(|_| bad())?;
        match unit.trim() {
            "s" | "sec" => Self::per_second(value),
            "min" | "m" => Self::per_minute(value),
            _ => Err(bad()),
        }
    }
}

/// A number of bytes.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Bytes(u64);

impl Bytes {
    /// From a plain count of bytes.
    #[must_use]
    pub const fn new(bytes: u64) -> Self {
        Self(bytes)
    }

    /// From mebibytes (2^20 bytes).
    #[must_use]
    pub const fn mib(mebibytes: u64) -> Self {
        Self(mebibytes << 20)
    }

    /// From gibibytes (2^30 bytes).
    #[must_use]
    pub const fn gib(gibibytes: u64) -> Self {
        Self(gibibytes << 30)
    }

    /// The plain count.
    #[must_use]
    pub const fn count(self) -> u64 {
        self.0
    }
}

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
        let mut value = self.0 as f64;
        let mut unit = 0;
        while value >= 1024.0 && unit + 1 < UNITS.len() {
            value /= 1024.0;
            unit += 1;
        }
        if unit == 0 || value.fract() == 0.0 {
            write!(f, "{value:.0} {}", UNITS[unit])
        } else {
            write!(f, "{value:.1} {}", UNITS[unit])
        }
    }
}

impl FromStr for Bytes {
    type Err = UnitError;
    fn from_str(text: &str) -> Result<Self, UnitError> {
        let bad = || UnitError::NotASize(text.to_owned());
        let text_trimmed = text.trim();
        let split =
            text_trimmed.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text_trimmed.len());
        let value: f64 = text_trimmed[..split].trim().parse().map_err(|_| bad())?;
        let factor: f64 = match text_trimmed[split..].to_ascii_lowercase().as_str() {
            "" | "b" => 1.0,
            "kib" | "k" => 1024.0,
            "mib" | "m" => 1024.0 * 1024.0,
            "gib" | "g" => 1024.0 * 1024.0 * 1024.0,
            "tib" | "t" => 1024.0 * 1024.0 * 1024.0 * 1024.0,
            "kb" => 1e3,
            "mb" => 1e6,
            "gb" => 1e9,
            "tb" => 1e12,
            _ => return Err(bad()),
        };
        let bytes = value * factor;
        if !bytes.is_finite() || !(0.0..9.0e18).contains(&bytes) {
            return Err(bad());
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "range checked above"
        )]
        Ok(Self(bytes.round() as u64))
    }
}

/// Reads a duration such as `50ms`, `1.5s`, `5m` or `1h`.
///
/// # Errors
/// [`UnitError::NotADuration`] for a missing unit, an unknown one, a negative number or NaN.
pub fn parse_duration(text: &str) -> Result<Duration, UnitError> {
    let bad = || UnitError::NotADuration(text.to_owned());
    let trimmed = text.trim();
    let split = trimmed.find(|c: char| c.is_alphabetic()).ok_or_else(bad)?;
    let value: f64 = trimmed[..split].trim().parse().map_err(|_| bad())?;
    let seconds = match &trimmed[split..] {
        "us" | "µs" => value / 1e6,
        "ms" => value / 1e3,
        "s" => value,
        "m" | "min" => value * 60.0,
        "h" => value * 3600.0,
        _ => return Err(bad()),
    };
    Duration::try_from_secs_f64(seconds).map_err(|_| bad())
}

/// Whole microseconds of a duration; saturates after half a million years.
#[must_use]
pub fn as_micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_read_their_unit_and_refuse_nonsense() {
        assert_eq!("40000/min".parse::<Rate>().unwrap(), Rate::per_minute(40_000.0).unwrap());
        assert_eq!("25/s".parse::<Rate>().unwrap(), Rate::per_second(25.0).unwrap());
        for bad in ["", "x/s", "5/year", "-1/s", "NaN/s", "inf/s"] {
            assert!(bad.parse::<Rate>().is_err(), "{bad:?} was accepted");
        }
    }

    #[test]
    fn sizes_read_binary_and_decimal_units() {
        assert_eq!("512MiB".parse::<Bytes>().unwrap(), Bytes::mib(512));
        assert_eq!("20GiB".parse::<Bytes>().unwrap(), Bytes::gib(20));
        assert_eq!("1kB".parse::<Bytes>().unwrap().count(), 1000);
        assert_eq!(Bytes::mib(512).to_string(), "512 MiB");
        for bad in ["", "MiB", "5 apples", "-1GiB", "1e30TiB"] {
            assert!(bad.parse::<Bytes>().is_err(), "{bad:?} was accepted");
        }
    }

    #[test]
    fn durations_need_a_unit() {
        assert_eq!(parse_duration("50ms").unwrap(), Duration::from_millis(50));
        assert_eq!(parse_duration("5m").unwrap(), Duration::from_secs(300));
        for bad in ["", "50", "ms", "-5s", "5 fortnights", "NaNs"] {
            assert!(parse_duration(bad).is_err(), "{bad:?} was accepted");
        }
    }
}
