//! Environment variables as a part of a candidate's configuration: which are tried, and what they mean.
//!
//! A few well-known names set the host's own settings, so that a model that was tuned for another
//! serving stack is measured the way it runs there ([`settings_of`]). Others reach the host process where
//! a library inside it or the container contract documents them ([`reaches_host`]); what is left is
//! recorded with the configuration, and no more.

mod base;
mod reach;

use std::{
    collections::BTreeMap,
    num::{NonZeroU32, ParseIntError},
};

use serde::{Deserialize, Serialize};
use thiserror::Error;

pub use self::{
    base::{BaseEnvironment, LONGEST_BASE_VALUE, MOST_BYTES},
    reach::{can_be_varied, describe_left_out, reaches_host, split},
};

/// The most variables that one range may name.
pub const MOST_NAMES: usize = 5;
/// The most values of one variable.
pub const MOST_VALUES: usize = 3;
/// The longest name in a range, in characters.
pub const LONGEST_VARIED_NAME: usize = 64;
/// The longest value in a range, in characters.
pub const LONGEST_VALUE: usize = 128;
/// The longest name of any variable, in characters.
pub const LONGEST_NAME: usize = 1024;

/// OpenMP threads inside one forward pass.
pub const OMP_NUM_THREADS: &str = "OMP_NUM_THREADS";
/// Workers, as SageMaker's inference toolkit names them.
pub const MODEL_SERVER_WORKERS: &str = "SAGEMAKER_MODEL_SERVER_WORKERS";
/// Workers, as `TorchServe` names them.
pub const TORCHSERVE_WORKERS: &str = "TS_DEFAULT_WORKERS_PER_MODEL";
/// The largest batch of our host.
pub const MAX_BATCH: &str = "ASSAY_MAX_BATCH";
/// How long our host waits for a batch to fill, in microseconds.
pub const MAX_BATCH_DELAY_US: &str = "ASSAY_MAX_BATCH_DELAY_US";

/// The names that set the host's own settings.
pub const KNOWN_NAMES: [&str; 5] =
    [OMP_NUM_THREADS, MODEL_SERVER_WORKERS, TORCHSERVE_WORKERS, MAX_BATCH, MAX_BATCH_DELAY_US];

/// More workers or threads than this are a mistake.
const MOST_THREADS: u32 = 1024;
/// A larger batch than this is a mistake.
const LARGEST_BATCH: u32 = 65_536;
/// A longer wait for a batch than ten seconds is a mistake.
const LONGEST_DELAY_US: u64 = 10_000_000;

/// Variables and the values to try for each. Empty tries nothing and sets nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Recorded", into = "BTreeMap<String, Vec<String>>")]
pub struct EnvironmentRanges(BTreeMap<String, Vec<String>>);

/// Ranges as they were written down. What an earlier version let be varied can still be read, though it cannot be
/// asked for any more.
#[derive(Deserialize)]
#[serde(transparent)]
struct Recorded(BTreeMap<String, Vec<String>>);

/// What is wrong with an environment.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum EnvironmentError {
    /// Not a name.
    #[error(
        "{name:?} is not a name for an environment variable: letters, digits and underscores, no digit first, at most {most} characters"
    )]
    Name {
        /// The text.
        name: String,
        /// How long it may be.
        most: usize,
    },
    /// A name that makes no difference.
    #[error(
        "the environment variable {name} cannot be varied: nothing in the model host reads it, so every value would measure the same thing{}",
        instead_of(name)
    )]
    NoDifference {
        /// The name.
        name: String,
    },
    /// Too many names.
    #[error("{count} environment variables are given; at most {MOST_NAMES} can be varied")]
    TooManyNames {
        /// How many.
        count: usize,
    },
    /// No value, or too many.
    #[error("{name} has {count} values; 1 to {MOST_VALUES} can be tried")]
    ValueCount {
        /// The variable.
        name: String,
        /// How many.
        count: usize,
    },
    /// A text that cannot be a value.
    #[error("a value of {name} is longer than {most} characters or has control characters")]
    Text {
        /// The variable.
        name: String,
        /// How long it may be.
        most: usize,
    },
    /// More than a model may bring along.
    #[error(
        "the environment variables have {bytes} bytes in all; at most {MOST_BYTES} can be given to a model"
    )]
    TooManyBytes {
        /// How many.
        bytes: usize,
    },
    /// A value that a known name does not take.
    #[error("{value:?} is not a value for {name}: it must be {expected}")]
    Value {
        /// The variable.
        name: String,
        /// The value.
        value: String,
        /// What it must be.
        expected: String,
    },
    /// Two names for one setting that disagree.
    #[error("{first} and {second} both set the workers, to {first_value} and {second_value}")]
    Conflict {
        /// One name.
        first: &'static str,
        /// What it says.
        first_value: NonZeroU32,
        /// The other.
        second: &'static str,
        /// What that says.
        second_value: NonZeroU32,
    },
}

/// The host's own settings that variables ask for; absent is left open.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// Worker threads.
    pub workers: Option<NonZeroU32>,
    /// OpenMP threads inside one forward pass.
    pub intra_op_threads: Option<NonZeroU32>,
    /// The largest batch.
    pub max_batch: Option<NonZeroU32>,
    /// How long a batch waits to fill, in microseconds.
    pub max_batch_delay_us: Option<u64>,
}

impl EnvironmentRanges {
    /// Ranges that can be tried.
    ///
    /// # Errors
    /// [`EnvironmentError`] names the variable and what is wrong with it, also when only some
    /// combination of values contradicts itself.
    pub fn new(ranges: BTreeMap<String, Vec<String>>) -> Result<Self, EnvironmentError> {
        let ranges = Self::well_formed(ranges)?;
        match ranges.0.keys().find(|name| !can_be_varied(name)) {
            Some(name) => Err(EnvironmentError::NoDifference { name: name.clone() }),
            None => Ok(ranges),
        }
    }

    fn well_formed(ranges: BTreeMap<String, Vec<String>>) -> Result<Self, EnvironmentError> {
        if ranges.len() > MOST_NAMES {
            return Err(EnvironmentError::TooManyNames { count: ranges.len() });
        }
        for (name, values) in &ranges {
            check_name(name)?;
            if name.len() > LONGEST_VARIED_NAME {
                return Err(bad_name(name, LONGEST_VARIED_NAME));
            }
            if !(1..=MOST_VALUES).contains(&values.len()) {
                let count = values.len();
                return Err(EnvironmentError::ValueCount { name: name.clone(), count });
            }
            for value in values {
                check_value(name, value, LONGEST_VALUE)?;
            }
        }
        let ranges = Self(ranges);
        for variables in ranges.combinations() {
            settings_of(&variables)?;
        }
        Ok(ranges)
    }

    /// Nothing is varied or set.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The variables with their values.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[String])> {
        self.0.iter().map(|(name, values)| (name.as_str(), values.as_slice()))
    }

    /// Every combination of values, each once; the last name varies fastest. One empty
    /// combination when nothing is varied.
    #[must_use]
    pub fn combinations(&self) -> Vec<BTreeMap<String, String>> {
        let mut all = vec![BTreeMap::new()];
        for (name, values) in &self.0 {
            let mut longer: Vec<BTreeMap<String, String>> = Vec::new();
            for variables in &all {
                for value in values {
                    let mut variables: BTreeMap<String, String> = variables.clone();
                    variables.insert(name.clone(), value.clone());
                    if !longer.contains(&variables) {
                        longer.push(variables);
                    }
                }
            }
            all = longer;
        }
        all
    }
}

impl TryFrom<BTreeMap<String, Vec<String>>> for EnvironmentRanges {
    type Error = EnvironmentError;
    fn try_from(ranges: BTreeMap<String, Vec<String>>) -> Result<Self, EnvironmentError> {
        Self::new(ranges)
    }
}

impl TryFrom<Recorded> for EnvironmentRanges {
    type Error = EnvironmentError;
    fn try_from(Recorded(ranges): Recorded) -> Result<Self, EnvironmentError> {
        Self::well_formed(ranges)
    }
}

impl From<EnvironmentRanges> for BTreeMap<String, Vec<String>> {
    fn from(ranges: EnvironmentRanges) -> Self {
        ranges.0
    }
}

/// Whether this name sets one of the host's own settings.
#[must_use]
pub fn is_known(name: &str) -> bool {
    KNOWN_NAMES.contains(&name)
}

/// Refuses what is no name.
///
/// # Errors
/// [`EnvironmentError::Name`].
pub fn check_name(name: &str) -> Result<(), EnvironmentError> {
    let letter = |byte: u8| byte.is_ascii_alphabetic() || byte == b'_';
    let well_formed = name.len() <= LONGEST_NAME
        && name.bytes().next().is_some_and(letter)
        && name.bytes().all(|byte| letter(byte) || byte.is_ascii_digit());
    if well_formed { Ok(()) } else { Err(bad_name(name, LONGEST_NAME)) }
}

fn bad_name(name: &str, most: usize) -> EnvironmentError {
    EnvironmentError::Name { name: name.chars().take(most).collect(), most }
}

/// What was probably meant by a name that cannot be varied.
fn instead_of(name: &str) -> &'static str {
    match name {
        "MKL_NUM_THREADS" => "; OMP_NUM_THREADS sets the threads of MKL as well",
        "SAGEMAKER_TS_BATCH_SIZE" => "; ASSAY_MAX_BATCH sets the largest batch",
        "SAGEMAKER_TS_MAX_BATCH_DELAY" => {
            "; ASSAY_MAX_BATCH_DELAY_US sets how long a batch waits to fill"
        }
        "SAGEMAKER_TS_MIN_WORKERS" | "SAGEMAKER_TS_MAX_WORKERS" => {
            "; SAGEMAKER_MODEL_SERVER_WORKERS sets the workers"
        }
        _ => "",
    }
}

fn check_value(name: &str, value: &str, most: usize) -> Result<(), EnvironmentError> {
    if value.chars().count() > most || value.chars().any(char::is_control) {
        return Err(EnvironmentError::Text { name: name.to_owned(), most });
    }
    Ok(())
}

/// What the known names among these variables ask of the host. All others are none of its business.
///
/// # Errors
/// [`EnvironmentError::Value`] for a value that is no number in range, [`EnvironmentError::Conflict`] when
/// the two names for the number of workers disagree.
pub fn settings_of(variables: &BTreeMap<String, String>) -> Result<Settings, EnvironmentError> {
    let count = |name: &'static str, most: u32| {
        let within = |count: &NonZeroU32| count.get() <= most;
        read(variables, name, || format!("a whole number from 1 to {most}"), within)
    };
    let by_toolkit = count(MODEL_SERVER_WORKERS, MOST_THREADS)?;
    let by_torchserve = count(TORCHSERVE_WORKERS, MOST_THREADS)?;
    if let (Some(first_value), Some(second_value)) = (by_toolkit, by_torchserve)
        && first_value != second_value
    {
        return Err(EnvironmentError::Conflict {
            first: MODEL_SERVER_WORKERS,
            first_value,
            second: TORCHSERVE_WORKERS,
            second_value,
        });
    }
    Ok(Settings {
        workers: by_toolkit.or(by_torchserve),
        intra_op_threads: count(OMP_NUM_THREADS, MOST_THREADS)?,
        max_batch: count(MAX_BATCH, LARGEST_BATCH)?,
        max_batch_delay_us: read(
            variables,
            MAX_BATCH_DELAY_US,
            || format!("whole microseconds from 0 to {LONGEST_DELAY_US}"),
            |delay| *delay <= LONGEST_DELAY_US,
        )?,
    })
}

fn read<T: std::str::FromStr<Err = ParseIntError>>(
    variables: &BTreeMap<String, String>,
    name: &str,
    expected: impl Fn() -> String,
    within: impl Fn(&T) -> bool,
) -> Result<Option<T>, EnvironmentError> {
    let Some(value) = variables.get(name) else { return Ok(None) };
    match value.trim().parse().ok().filter(within) {
        Some(number) => Ok(Some(number)),
        None => Err(EnvironmentError::Value {
            name: name.to_owned(),
            value: value.clone(),
            expected: expected(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KMP: &str = "KMP_BLOCKTIME";
    const OMP: &str = "OMP_PROC_BIND";

    fn ranges(pairs: &[(&str, &[&str])]) -> Result<EnvironmentRanges, EnvironmentError> {
        let values = |values: &[&str]| values.iter().map(|value| (*value).to_owned()).collect();
        EnvironmentRanges::new(
            pairs.iter().map(|(name, list)| ((*name).to_owned(), values(list))).collect(),
        )
    }

    fn said(pairs: &[(&str, &[&str])]) -> String {
        ranges(pairs).unwrap_err().to_string()
    }

    #[test]
    fn ranges_multiply_out_to_every_combination_once() {
        let both = ranges(&[(KMP, &["1", "2", "1"]), (OMP, &["x", "y"])]).unwrap();
        let shown: Vec<String> =
            both.combinations().iter().map(|each| format!("{}{}", each[KMP], each[OMP])).collect();
        assert_eq!(shown, ["1x", "1y", "2x", "2y"]);
        assert_eq!(EnvironmentRanges::default().combinations(), [BTreeMap::new()]);
    }

    #[test]
    fn the_known_names_set_the_hosts_own_settings() {
        let variables: BTreeMap<String, String> = [
            ("OMP_NUM_THREADS", "2"),
            ("SAGEMAKER_MODEL_SERVER_WORKERS", "3"),
            ("TS_DEFAULT_WORKERS_PER_MODEL", "3"),
            ("ASSAY_MAX_BATCH", "8"),
            ("ASSAY_MAX_BATCH_DELAY_US", "0"),
            ("ONEDNN_VERBOSE", "all"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into();
        let expected = Settings {
            workers: NonZeroU32::new(3),
            intra_op_threads: NonZeroU32::new(2),
            max_batch: NonZeroU32::new(8),
            max_batch_delay_us: Some(0),
        };
        assert_eq!(settings_of(&variables).unwrap(), expected);
        assert_eq!(settings_of(&BTreeMap::new()).unwrap(), Settings::default());
    }

    #[test]
    fn two_names_for_the_workers_must_agree_in_every_combination() {
        let (toolkit, torchserve) = (MODEL_SERVER_WORKERS, TORCHSERVE_WORKERS);
        assert!(ranges(&[(toolkit, &["2"]), (torchserve, &["2"])]).is_ok());
        assert_eq!(
            said(&[(toolkit, &["2"]), (torchserve, &["2", "4"])]),
            "SAGEMAKER_MODEL_SERVER_WORKERS and TS_DEFAULT_WORKERS_PER_MODEL both set the workers, to 2 and 4"
        );
    }

    #[test]
    fn a_value_that_a_known_name_does_not_take_is_told_with_what_it_takes() {
        for (name, value, expected) in [
            ("OMP_NUM_THREADS", "auto", "a whole number from 1 to 1024"),
            ("SAGEMAKER_MODEL_SERVER_WORKERS", "0", "a whole number from 1 to 1024"),
            ("TS_DEFAULT_WORKERS_PER_MODEL", "-1", "a whole number from 1 to 1024"),
            ("ASSAY_MAX_BATCH", "1e9", "a whole number from 1 to 65536"),
            ("ASSAY_MAX_BATCH_DELAY_US", "10000001", "whole microseconds from 0 to 10000000"),
        ] {
            assert_eq!(
                said(&[(name, &["1", value])]),
                format!("{value:?} is not a value for {name}: it must be {expected}")
            );
        }
    }

    #[test]
    fn what_makes_no_difference_is_not_varied() {
        assert_eq!(
            said(&[("LD_PRELOAD", &["/tmp/a.so"])]),
            "the environment variable LD_PRELOAD cannot be varied: nothing in the model host reads it, \
             so every value would measure the same thing"
        );
        for (name, instead) in [
            ("COLOUR", "the same thing"),
            ("MKL_NUM_THREADS", "OMP_NUM_THREADS sets"),
            ("SAGEMAKER_TS_BATCH_SIZE", "ASSAY_MAX_BATCH sets"),
        ] {
            let said = said(&[(KMP, &["0"]), (name, &["1", "2"])]);
            assert!(said.contains(name) && said.contains(instead), "{said}");
        }
    }

    #[test]
    fn what_is_no_name_is_refused() {
        for name in ["", "1A", "A=B", "A B", "Ä", &"A".repeat(1025)] {
            assert!(matches!(check_name(name), Err(EnvironmentError::Name { .. })), "{name:?}");
        }
        assert!(said(&[(&"A".repeat(65), &["x"])]).contains("at most 64 characters"));
    }

    #[test]
    fn more_names_or_values_than_can_be_tried_are_refused() {
        let names = ["A", "B", "C", "D", "E", "F"].map(|name| (name, ["1"].as_slice()));
        assert!(said(&names).starts_with("6 environment variables"));
        assert_eq!(said(&[(KMP, &[])]), "KMP_BLOCKTIME has 0 values; 1 to 3 can be tried");
        assert_eq!(
            said(&[(KMP, &["1", "2", "3", "4"])]),
            "KMP_BLOCKTIME has 4 values; 1 to 3 can be tried"
        );
        assert!(said(&[(KMP, &["a\nb"])]).contains("control characters"));
        assert!(said(&[(KMP, &["x".repeat(129).as_str()])]).contains("longer than"));
    }

    #[test]
    fn ranges_survive_json_and_are_checked_there() {
        let both = ranges(&[(KMP, &["1", "2"])]).unwrap();
        let json = serde_json::to_string(&both).unwrap();
        assert_eq!(serde_json::from_str::<EnvironmentRanges>(&json).unwrap(), both);
        assert!(serde_json::from_str::<EnvironmentRanges>(r#"{"A B":["x"]}"#).is_err());
    }

    #[test]
    fn what_an_earlier_version_varied_can_still_be_read() {
        let read = serde_json::from_str::<EnvironmentRanges>(r#"{"COLOUR":["red","blue"]}"#);
        assert_eq!(read.unwrap().combinations().len(), 2);
    }
}
