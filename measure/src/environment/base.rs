//! The variables that a model brings along: what every configuration of it begins with.
//!
//! The known names among them set the host's own settings where nothing else does, and are no variables any
//! more after that; of the others those reach the host process that tune it, and all are recorded. They are not
//! varied, so there may be more of them, and longer ones, than in a range.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{EnvironmentError, Settings, check_name, check_value, is_known, settings_of};

/// The longest value, in characters.
pub const LONGEST_BASE_VALUE: usize = 1024;
/// The most bytes of all names and values together: every configuration of a plan carries them.
pub const MOST_BYTES: usize = 16 << 10;

/// Variables that a model is packed with, and what they ask of the host.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "BTreeMap<String, String>", into = "BTreeMap<String, String>")]
pub struct BaseEnvironment {
    variables: BTreeMap<String, String>,
    settings: Settings,
}

impl BaseEnvironment {
    /// Variables that every configuration can begin with.
    ///
    /// # Errors
    /// [`EnvironmentError`] names the variable and what is wrong with it.
    pub fn new(variables: BTreeMap<String, String>) -> Result<Self, EnvironmentError> {
        for (name, value) in &variables {
            check_name(name)?;
            check_value(name, value, LONGEST_BASE_VALUE)?;
        }
        let bytes = variables.iter().map(|(name, value)| name.len() + value.len()).sum();
        if bytes > MOST_BYTES {
            return Err(EnvironmentError::TooManyBytes { bytes });
        }
        let settings = settings_of(&variables)?;
        Ok(Self { variables, settings })
    }

    /// There are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.variables.is_empty()
    }

    /// All of them.
    #[must_use]
    pub fn variables(&self) -> &BTreeMap<String, String> {
        &self.variables
    }

    /// What the known names ask of the host.
    #[must_use]
    pub fn settings(&self) -> Settings {
        self.settings
    }

    /// Those that mean nothing to the host itself, whether they reach its process or not.
    #[must_use]
    pub fn of_the_process(&self) -> BTreeMap<String, String> {
        let others = self.variables.iter().filter(|(name, _)| !is_known(name));
        others.map(|(name, value)| (name.clone(), value.clone())).collect()
    }
}

impl TryFrom<BTreeMap<String, String>> for BaseEnvironment {
    type Error = EnvironmentError;
    fn try_from(variables: BTreeMap<String, String>) -> Result<Self, EnvironmentError> {
        Self::new(variables)
    }
}

impl From<BaseEnvironment> for BTreeMap<String, String> {
    fn from(environment: BaseEnvironment) -> Self {
        environment.variables
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn base(pairs: &[(&str, &str)]) -> Result<BaseEnvironment, EnvironmentError> {
        let pairs = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        BaseEnvironment::new(pairs.collect())
    }

    #[test]
    fn known_names_become_settings_and_all_others_stay_variables() {
        let base = base(&[("OMP_NUM_THREADS", "2"), ("MODEL_LABELS", "cat,dog")]).unwrap();
        assert_eq!(base.settings().intra_op_threads.unwrap().get(), 2);
        assert_eq!(base.of_the_process(), [("MODEL_LABELS".into(), "cat,dog".into())].into());
        assert_eq!(base.variables().len(), 2);
    }

    #[test]
    fn any_name_is_taken_whether_it_reaches_the_host_or_not() {
        let base = base(&[("LD_PRELOAD", "/tmp/x.so"), ("PATH", "/tmp"), ("LABELS", "a")]).unwrap();
        assert_eq!(base.of_the_process().len(), 3);
    }

    #[test]
    fn what_is_no_name_or_value_a_model_may_not_bring_along() {
        for (name, value, part) in [
            ("OMP_NUM_THREADS", "auto", "a whole number from 1 to 1024"),
            ("A B", "1", "is not a name"),
            ("A", "x\u{1b}[2J", "control characters"),
        ] {
            let said = base(&[(name, value)]).unwrap_err().to_string();
            assert!(said.contains(part), "{said}");
        }
        let both = [("SAGEMAKER_MODEL_SERVER_WORKERS", "2"), ("TS_DEFAULT_WORKERS_PER_MODEL", "3")];
        assert!(base(&both).unwrap_err().to_string().contains("both set the workers"));
    }

    #[test]
    fn more_and_longer_variables_than_in_a_range_are_taken_up_to_a_limit() {
        let url = format!("s3://bucket/{}", "x".repeat(500));
        let names: Vec<String> = (0..20).map(|n| format!("{}_{n}", "A".repeat(80))).collect();
        let many: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), &*url)).collect();
        assert_eq!(base(&many).unwrap().variables().len(), 20);
        let long = "x".repeat(LONGEST_BASE_VALUE + 1);
        assert!(base(&[("A", &long)]).unwrap_err().to_string().contains("longer than 1024"));
        let names: Vec<String> = (0..40).map(|n| format!("A_{n}")).collect();
        let most: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), &*url)).collect();
        assert!(base(&most).unwrap_err().to_string().contains("at most 16384"));
    }

    #[test]
    fn it_survives_json_and_is_checked_there() {
        let known = base(&[("OMP_NUM_THREADS", "2"), ("A", "b")]).unwrap();
        let json = serde_json::to_string(&known).unwrap();
        assert_eq!(json, r#"{"A":"b","OMP_NUM_THREADS":"2"}"#);
        assert_eq!(serde_json::from_str::<BaseEnvironment>(&json).unwrap(), known);
        assert!(serde_json::from_str::<BaseEnvironment>(r#"{"A B":"x"}"#).is_err());
    }
}
