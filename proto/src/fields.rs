//! How messages hold values of the domain, and conversions of whole messages that follow from it.
//!
//! A type that [`Field`] knows is checked whenever it is read: no conversion by [`same_fields`] forgets to.

use std::{
    collections::{BTreeMap, HashMap},
    num::NonZeroU32,
    time::Duration,
};

use assay_measure::{
    configuration::{Allocator, Device, Graph, Precision},
    hardware::LimitInForce,
    ids::Sha256,
    job::Importance,
    search::{Confirmation, Drift, LimitedBy, Mode, Purpose},
    slo::Slo,
    stepped_load::{FlatInvocations, StopCause},
    units::{Bytes, Rate},
    validity::{FindingName, Verdict},
};

use crate::agent::{Malformed, duration, finite, micros, parse};

/// A value of the domain that is a field of type `W` in a message.
pub(crate) trait Field<W>: Sized {
    fn write(self) -> W;

    /// Refuses what breaks a rule of the domain, naming the field.
    fn read(field: &'static str, wire: W) -> Result<Self, Malformed>;
}

impl<W, T: Field<W>> Field<Option<W>> for Option<T> {
    fn write(self) -> Option<W> {
        self.map(T::write)
    }

    fn read(field: &'static str, wire: Option<W>) -> Result<Self, Malformed> {
        wire.map(|wire| T::read(field, wire)).transpose()
    }
}

impl<W, T: Field<W>> Field<Vec<W>> for Vec<T> {
    fn write(self) -> Vec<W> {
        self.into_iter().map(T::write).collect()
    }

    fn read(field: &'static str, wire: Vec<W>) -> Result<Self, Malformed> {
        wire.into_iter().map(|wire| T::read(field, wire)).collect()
    }
}

/// Implements [`Field`]: the type and how a message holds it, how it is written, how it is read.
macro_rules! fields {
    ($($domain:ty as $wire:ty: $write:expr, $read:expr;)+) => { $(
        impl Field<$wire> for $domain {
            fn write(self) -> $wire {
                ($write)(self)
            }

            fn read(field: &'static str, wire: $wire) -> Result<Self, Malformed> {
                ($read)(field, wire)
            }
        }
    )+ };
    (as they are: $($domain:ty),+) => {
        fields! { $($domain as $domain: |value| value, |_, value| Ok(value);)+ }
    };
    (as texts: $($domain:ty),+) => {
        fields! { $(
            $domain as String:
                |value: Self| value.to_string(),
                |field, text: String| parse(field, &text);
        )+ }
    };
}

fields!(as they are: bool, u8, u32, u64, String);
fields!(as texts: Allocator, Device, FindingName, FlatInvocations, Graph, Importance, LimitedBy);
fields!(as texts: Mode, Precision, Purpose, Sha256, Slo, StopCause, Verdict);
fields! {
    f64 as f64: |figure| figure, finite;
    Drift as f64:
        |drift: Self| drift.relative_change,
        |field, change| Ok(Self { relative_change: finite(field, change)? });
    Rate as f64: Self::as_per_second, rate;
    Bytes as u64: Self::count, |_, count| Ok(Self::new(count));
    Duration as u64: micros, duration;
    NonZeroU32 as u32: Self::get, at_least_one;
    LimitInForce as String:
        |limit: Self| limit.word().to_owned(),
        |field, word: String| known(field, &word, &Self::ALL, Self::word);
    Confirmation as String:
        |confirmation| confirmation_word(confirmation).to_owned(),
        |field, word: String| known(field, &word, &CONFIRMATIONS, confirmation_word);
    BTreeMap<String, String> as HashMap<String, String>:
        |map: Self| map.into_iter().collect(),
        |_, map: HashMap<_, _>| Ok(map.into_iter().collect());
}

/// A rate per second.
pub(crate) fn rate(field: &'static str, per_second: f64) -> Result<Rate, Malformed> {
    Rate::per_second(finite(field, per_second)?).map_err(|error| Malformed::new(field, error))
}

pub(crate) fn at_least_one(field: &'static str, count: u32) -> Result<NonZeroU32, Malformed> {
    NonZeroU32::new(count).ok_or_else(|| Malformed::new(field, "must be at least 1"))
}

/// The member of a closed set that a word stands for.
pub(crate) fn known<T: Copy>(
    field: &'static str,
    word: &str,
    all: &[T],
    word_of: fn(T) -> &'static str,
) -> Result<T, Malformed> {
    let found = all.iter().copied().find(|member| word_of(*member) == word);
    found.ok_or_else(|| Malformed::new(field, format!("unknown word {word:?}")))
}

const CONFIRMATIONS: [Confirmation; 4] =
    [Confirmation::Held, Confirmation::Missed, Confirmation::NotRun, Confirmation::NotNeeded];

const fn confirmation_word(confirmation: Confirmation) -> &'static str {
    match confirmation {
        Confirmation::Held => "held",
        Confirmation::Missed => "missed",
        Confirmation::NotRun => "not_run",
        Confirmation::NotNeeded => "not_needed",
    }
}

/// Both conversions between a domain type and the message of its name, and what makes it a [`Field`].
///
/// Lists the fields that have one name, those that the message calls `otherwise`, and the `required` messages
/// without which this one is malformed. `check` looks at the message before anything is read.
macro_rules! same_fields {
    (
        $name:ident { $($same:ident),* $(,)? }
        $(otherwise { $($field:ident = $wire_field:ident),* $(,)? })?
        $(required { $($message:ident),* })?
        $(check $check:path)?
    ) => {
        impl From<$name> for $crate::v1::$name {
            fn from(value: $name) -> Self {
                Self {
                    $($same: $crate::fields::Field::write(value.$same),)*
                    $($($wire_field: $crate::fields::Field::write(value.$field),)*)?
                    $($($message: Some(value.$message.into()),)*)?
                }
            }
        }

        impl TryFrom<$crate::v1::$name> for $name {
            type Error = $crate::agent::Malformed;
            fn try_from(wire: $crate::v1::$name) -> Result<Self, Self::Error> {
                $($check(&wire)?;)?
                Ok(Self {
                    $($same: $crate::fields::Field::read(stringify!($same), wire.$same)?,)*
                    $($($field: $crate::fields::Field::read(stringify!($wire_field), wire.$wire_field)?,)*)?
                    $($($message: $crate::agent::required(stringify!($message), wire.$message)?,)*)?
                })
            }
        }

        impl $crate::fields::Field<$crate::v1::$name> for $name {
            fn write(self) -> $crate::v1::$name {
                self.into()
            }

            fn read(field: &'static str, wire: $crate::v1::$name) -> Result<Self, $crate::agent::Malformed> {
                wire.try_into().map_err(|error| $crate::agent::Malformed::new(field, error))
            }
        }
    };
}
pub(crate) use same_fields;
