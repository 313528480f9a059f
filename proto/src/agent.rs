//! `agent.proto` to and from the domain: trial specifications, step reports, outcomes, machines.
//!
//! Every conversion from the wire validates: what comes out of it obeys the domain's own rules. What
//! does not is [`Malformed`], with the field and the problem.

pub(crate) mod hardware;
mod outcome;
pub(crate) mod trial_spec;

use std::{fmt::Display, str::FromStr, time::Duration};

use assay_measure::units::as_micros;
use thiserror::Error;

/// A message breaks a rule of the domain.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("malformed message: {field}: {problem}")]
pub struct Malformed {
    field: &'static str,
    problem: String,
}

impl Malformed {
    /// What is wrong with a field.
    pub fn new(field: &'static str, problem: impl Display) -> Self {
        Self { field, problem: problem.to_string() }
    }

    /// A field that must be there is not.
    #[must_use]
    pub fn missing(field: &'static str) -> Self {
        Self::new(field, "is missing")
    }
}

impl From<Malformed> for tonic::Status {
    fn from(malformed: Malformed) -> Self {
        crate::refusal(tonic::Code::InvalidArgument, malformed.to_string())
    }
}

/// Reads a text of the domain's grammar.
///
/// # Errors
/// When it is not of that grammar.
pub fn parse<T>(field: &'static str, text: &str) -> Result<T, Malformed>
where
    T: FromStr,
    T::Err: Display,
{
    text.parse().map_err(|error: T::Err| Malformed::new(field, error))
}

/// The same of several texts.
///
/// # Errors
/// For the first that is not of that grammar.
pub fn parse_all<T>(field: &'static str, texts: &[String]) -> Result<Vec<T>, Malformed>
where
    T: FromStr,
    T::Err: Display,
{
    texts.iter().map(|text| parse(field, text)).collect()
}

/// The opposite of [`parse_all`].
pub fn texts<T: Display>(values: &[T]) -> Vec<String> {
    values.iter().map(ToString::to_string).collect()
}

/// Takes a message field that proto3 makes optional and the domain does not.
///
/// # Errors
/// When it is absent, or breaks a rule of the domain.
pub fn required<W, T>(field: &'static str, value: Option<W>) -> Result<T, Malformed>
where
    T: TryFrom<W>,
    T::Error: Display,
{
    value
        .ok_or_else(|| Malformed::missing(field))?
        .try_into()
        .map_err(|error| Malformed::new(field, error))
}

/// Takes a message field that may be absent.
///
/// # Errors
/// When it breaks a rule of the domain.
pub fn optional<W, T>(field: &'static str, value: Option<W>) -> Result<Option<T>, Malformed>
where
    T: TryFrom<W>,
    T::Error: Display,
{
    value.map(|value| value.try_into().map_err(|error| Malformed::new(field, error))).transpose()
}

/// Takes a repeated field.
///
/// # Errors
/// For the first element that breaks a rule of the domain.
pub fn all<W, T>(field: &'static str, values: Vec<W>) -> Result<Vec<T>, Malformed>
where
    T: TryFrom<W>,
    T::Error: Display,
{
    values
        .into_iter()
        .map(|value| value.try_into().map_err(|error| Malformed::new(field, error)))
        .collect()
}

/// Takes a figure that may be absent.
///
/// # Errors
/// When it is not a finite number.
pub fn figure(field: &'static str, value: Option<f64>) -> Result<Option<f64>, Malformed> {
    value.map(|value| finite(field, value)).transpose()
}

/// Takes a figure.
///
/// # Errors
/// When it is not a finite number.
pub fn finite(field: &'static str, value: f64) -> Result<f64, Malformed> {
    if value.is_finite() { Ok(value) } else { Err(Malformed::new(field, "is not a finite number")) }
}

/// Takes a duration; a day is the longest that any message may ask for.
///
/// # Errors
/// When it is longer.
pub fn duration(field: &'static str, micros: u64) -> Result<Duration, Malformed> {
    const LONGEST: Duration = Duration::from_secs(86_400);
    let duration = Duration::from_micros(micros);
    if duration <= LONGEST {
        Ok(duration)
    } else {
        Err(Malformed::new(field, "is longer than a day"))
    }
}

/// A duration as messages hold it.
#[must_use]
pub fn micros(duration: Duration) -> u64 {
    as_micros(duration)
}

#[cfg(test)]
mod tests;
