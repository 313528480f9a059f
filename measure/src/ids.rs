//! Names and identifiers, validated where they enter the system.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// A text cannot be used as an identifier.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{value:?} is not a valid {kind}: {rule}")]
pub struct BadId {
    kind: &'static str,
    value: String,
    rule: &'static str,
}

macro_rules! name_type {
    ($(#[$doc:meta])* $name:ident, $kind:literal, $max:literal, $rule:literal, $valid:expr) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// Checks and takes a text.
            ///
            /// # Errors
            /// [`BadId`] names the rule that the text breaks.
            pub fn new(value: impl Into<String>) -> Result<Self, BadId> {
                let value = value.into();
                let valid: fn(&str) -> bool = $valid;
                if value.is_empty() || value.len() > $max || !valid(&value) {
                    return Err(BadId { kind: $kind, value, rule: $rule });
                }
                Ok(Self(value))
            }

            /// The text itself.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl FromStr for $name {
            type Err = BadId;
            fn from_str(text: &str) -> Result<Self, BadId> {
                Self::new(text)
            }
        }

        impl TryFrom<String> for $name {
            type Error = BadId;
            fn try_from(text: String) -> Result<Self, BadId> {
                Self::new(text)
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.0
            }
        }
    };
}

name_type!(
    /// The name of a job, unique for ever on one coordinator.
    JobName, "job name", 64, "1 to 64 letters, digits and inner hyphens",
    |s| is_hyphenated(s)
);
name_type!(
    /// The name of a trial: `<job>/<number>`.
    TrialId, "trial id", 96, "a job name, a slash and a number",
    |s| s.rsplit_once('/').is_some_and(|(job, n)| JobName::new(job).is_ok() && n.parse::<u32>().is_ok())
);
name_type!(
    /// The name of an agent, unique among those connected.
    AgentName, "agent name", 64, "1 to 64 letters, digits, dots, underscores and hyphens",
    |s| s.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
);
name_type!(
    /// The name of an instance type, such as `ml.c5.large` or `onprem.h200`.
    InstanceTypeName, "instance type", 64, "1 to 64 lower-case letters, digits, dots, underscores and hyphens",
    |s| s.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._-".contains(&b))
);
impl InstanceTypeName {
    /// The family: `c5` in `ml.c5.large`, also without the `ml.`.
    #[must_use]
    pub fn family(&self) -> &str {
        let bare = self.as_str().strip_prefix("ml.").unwrap_or(self.as_str());
        bare.split('.').next().unwrap_or(bare)
    }

    /// Whether its speed depends on saved-up credits, of which a short trial says nothing.
    #[must_use]
    pub fn is_burstable(&self) -> bool {
        matches!(self.family(), "t2" | "t3" | "t3a" | "t4g")
    }
}

name_type!(
    /// Proof of the right to run and report one trial; a new one for every lease.
    LeaseToken, "lease token", 64, "1 to 64 hexadecimal digits",
    |s| s.bytes().all(|b| b.is_ascii_hexdigit())
);
name_type!(
    /// A SHA-256 checksum in 64 lower-case hexadecimal digits.
    Sha256, "SHA-256 checksum", 64, "64 lower-case hexadecimal digits",
    |s| s.len() == 64 && s.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
);
name_type!(
    /// Identifies a physical host; two agents with the same fingerprint share one machine.
    HostFingerprint, "host fingerprint", 128, "1 to 128 printable characters without spaces",
    |s| s.bytes().all(|b| b.is_ascii_graphic())
);

name_type!(
    /// The name of a server that runs already, as its operator made it known.
    EndpointName, "endpoint name", 63, "1 to 63 letters, digits and inner hyphens",
    |s| is_hyphenated(s)
);
name_type!(
    /// The name of one of several ways to serve a model that its package describes.
    SpecificationName, "inference specification name", 63, "1 to 63 letters, digits and inner hyphens",
    |s| is_hyphenated(s)
);

fn is_hyphenated(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
        && !text.starts_with('-')
        && !text.ends_with('-')
}

impl TrialId {
    /// The trial number `index` of a job.
    #[must_use]
    pub fn of(job: &JobName, index: u32) -> Self {
        Self(format!("{job}/{index}"))
    }

    /// The job this trial belongs to.
    #[must_use]
    pub fn job(&self) -> JobName {
        let job = self.0.rsplit_once('/').map_or(self.0.as_str(), |(job, _)| job);
        JobName(job.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_refuse_what_would_break_paths_and_tables() {
        assert!(JobName::new("resnet18-2026-11-22").is_ok());
        for bad in ["", "-a", "a-", "a b", "a/b", "../x", "é", &"x".repeat(65)] {
            assert!(JobName::new(bad).is_err(), "{bad:?} was accepted");
        }
        assert!(InstanceTypeName::new("ml.c5.large").is_ok());
        assert!(InstanceTypeName::new("ML.C5").is_err());
        assert!(Sha256::new("0".repeat(64)).is_ok());
        assert!(Sha256::new("0".repeat(63)).is_err());
    }

    #[test]
    fn burstable_families_are_known_by_their_name_with_and_without_the_prefix() {
        for (name, burstable) in [
            ("ml.t2.medium", true),
            ("t3a.large", true),
            ("ml.t4g.small", true),
            ("ml.trn1.2xlarge", false),
            ("ml.c5.large", false),
            ("local", false),
        ] {
            assert_eq!(InstanceTypeName::new(name).unwrap().is_burstable(), burstable, "{name}");
        }
    }

    #[test]
    fn a_trial_knows_its_job() {
        let job = JobName::new("demo").unwrap();
        assert_eq!(TrialId::of(&job, 3).job(), job);
        assert!(TrialId::new("demo").is_err());
    }
}
