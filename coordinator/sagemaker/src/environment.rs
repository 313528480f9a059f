//! Environment variables: those of a request that are to be tried, and those of a result that say how the
//! model was served.

use std::collections::{BTreeMap, BTreeSet};

use assay_measure::{
    configuration::Configuration,
    environment::{MODEL_SERVER_WORKERS, TORCHSERVE_WORKERS},
};
use assay_planning::snippet;

use crate::{
    error::ApiError,
    shapes::jobs::{CategoricalParameter, EndpointInputConfiguration, EnvironmentParameter},
};

/// An answer lists at most this many.
const MOST_PARAMETERS: usize = 10;

/// The variables to try on an endpoint, with their values; empty when none are given.
///
/// # Errors
/// `ValidationException` when a variable or a value stands there twice.
pub fn ranges(
    endpoint: &EndpointInputConfiguration,
) -> Result<BTreeMap<String, Vec<String>>, ApiError> {
    let given = endpoint
        .environment_parameter_ranges
        .as_ref()
        .and_then(|ranges| ranges.categorical_parameter_ranges.as_deref())
        .unwrap_or_default();
    let mut ranges = BTreeMap::new();
    for CategoricalParameter { name, value } in given {
        if let Some(twice) = value.iter().enumerate().find(|(at, one)| value[..*at].contains(one)) {
            return Err(ApiError::validation(format!(
                "EnvironmentParameterRanges: {name} has the value {:?} twice.",
                twice.1
            )));
        }
        if ranges.insert(name.clone(), value.clone()).is_some() {
            return Err(ApiError::validation(format!(
                "EnvironmentParameterRanges: {name} is given twice."
            )));
        }
    }
    Ok(ranges)
}

/// How a model was served, as environment variables: first those that were asked for, then what the
/// configuration adds. What the model brings along and nothing varies is not repeated; only a setting of the
/// host is, under the name that the model knows it by. Variables beyond the tenth are left out; none that
/// drives our host is among them unless a request asked for more than five of its own.
#[must_use]
pub fn parameters(
    configuration: &Configuration,
    brought_along: &BTreeSet<String>,
) -> Vec<EnvironmentParameter> {
    let asked = &configuration.environment;
    let own_name = |name: &'static str| {
        let others = name == MODEL_SERVER_WORKERS && brought_along.contains(TORCHSERVE_WORKERS);
        if others { TORCHSERVE_WORKERS } else { name }
    };
    let settings =
        snippet::variables(configuration).into_iter().map(|(name, value)| (own_name(name), value));
    let is_said = |name: &str| {
        asked.contains_key(name)
            || (name == MODEL_SERVER_WORKERS && asked.contains_key(TORCHSERVE_WORKERS))
    };
    let added = settings.filter(|(name, _)| !is_said(name));
    let asked = asked
        .iter()
        .filter(|(name, _)| !brought_along.contains(*name))
        .map(|(name, value)| (name.as_str(), value.clone()));
    asked
        .chain(added)
        .take(MOST_PARAMETERS)
        .map(|(key, value)| EnvironmentParameter {
            key: key.to_owned(),
            value_type: "String".to_owned(),
            value,
        })
        .collect()
}

/// What tells a configuration from every other one: its settings, then all of its variables.
#[must_use]
pub fn identity(configuration: &Configuration) -> Vec<String> {
    let settings = snippet::variables(configuration).into_iter();
    let variables =
        configuration.environment.iter().map(|(name, value)| (name.as_str(), value.clone()));
    settings.chain(variables).map(|(name, value)| format!("{name}={value}")).collect()
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use assay_measure::configuration::{Allocator, Device, Graph, Precision};

    use super::*;
    use crate::shapes::jobs::EnvironmentParameterRanges;

    fn shown(configuration: &Configuration) -> Vec<String> {
        told(configuration, &[])
    }

    fn told(configuration: &Configuration, brought_along: &[&str]) -> Vec<String> {
        let brought_along = brought_along.iter().map(|name| (*name).to_owned()).collect();
        let parameters = parameters(configuration, &brought_along);
        parameters.iter().map(|one| format!("{}={}", one.key, one.value)).collect()
    }

    fn cpu() -> Configuration {
        Configuration::cpu(NonZeroU32::new(4).unwrap(), NonZeroU32::new(2).unwrap())
    }

    #[test]
    fn a_configuration_is_told_as_variables() {
        assert_eq!(shown(&cpu()), ["SAGEMAKER_MODEL_SERVER_WORKERS=4", "OMP_NUM_THREADS=2"]);
        let mut batched = cpu();
        batched.max_batch = NonZeroU32::new(8).unwrap();
        batched.max_batch_delay_us = 500;
        batched.device = Device::Cuda(0);
        assert_eq!(
            shown(&batched)[2..],
            ["ASSAY_MAX_BATCH=8", "ASSAY_MAX_BATCH_DELAY_US=500", "ASSAY_DEVICE=cuda:0"]
        );
    }

    #[test]
    fn variables_come_back_under_the_name_they_were_asked_for() {
        let mut configuration = cpu();
        for (name, value) in [(TORCHSERVE_WORKERS, "4"), ("KMP_BLOCKTIME", "0")] {
            configuration.environment.insert(name.to_owned(), value.to_owned());
        }
        assert_eq!(
            shown(&configuration),
            ["KMP_BLOCKTIME=0", "TS_DEFAULT_WORKERS_PER_MODEL=4", "OMP_NUM_THREADS=2"]
        );
    }

    #[test]
    fn what_a_model_brings_along_is_not_repeated_but_a_setting_keeps_its_name() {
        let mut configuration = cpu();
        for (name, value) in [("LABELS", "cat,dog"), ("KMP_BLOCKTIME", "0")] {
            configuration.environment.insert(name.to_owned(), value.to_owned());
        }
        assert_eq!(
            told(&configuration, &["LABELS", "TS_DEFAULT_WORKERS_PER_MODEL", "OMP_NUM_THREADS"]),
            ["KMP_BLOCKTIME=0", "TS_DEFAULT_WORKERS_PER_MODEL=4", "OMP_NUM_THREADS=2"]
        );
    }

    #[test]
    fn whatever_differs_between_two_configurations_differs_in_their_identity() {
        let mut all = vec![identity(&cpu())];
        let mut differs = |change: fn(&mut Configuration)| {
            let mut changed = cpu();
            change(&mut changed);
            assert!(!all.contains(&identity(&changed)), "{changed:?}");
            all.push(identity(&changed));
        };
        differs(|one| one.workers = NonZeroU32::MIN);
        differs(|one| one.intra_op_threads = NonZeroU32::MIN);
        differs(|one| one.max_batch = NonZeroU32::new(8).unwrap());
        differs(|one| one.max_batch_delay_us = 5);
        differs(|one| one.device = Device::Cuda(0));
        differs(|one| one.dtype = Precision::Float16);
        differs(|one| one.graph = Graph::Optimized);
        differs(|one| one.allocator = Allocator::Default);
        differs(|one| drop(one.environment.insert(TORCHSERVE_WORKERS.into(), "4".into())));
        differs(|one| drop(one.environment.insert(MODEL_SERVER_WORKERS.into(), "4".into())));
    }

    #[test]
    fn a_variable_or_value_given_twice_is_refused() {
        let of = |ranges: &[(&str, &[&str])]| {
            let one = |(name, value): &(&str, &[&str])| CategoricalParameter {
                name: (*name).to_owned(),
                value: value.iter().map(|value| (*value).to_owned()).collect(),
            };
            let ranges = Some(ranges.iter().map(one).collect());
            super::ranges(&EndpointInputConfiguration {
                environment_parameter_ranges: Some(EnvironmentParameterRanges {
                    categorical_parameter_ranges: ranges,
                }),
                ..Default::default()
            })
        };
        assert_eq!(of(&[("A", &["1", "2"]), ("B", &["1"])]).unwrap().len(), 2);
        assert!(
            of(&[("A", &["1"]), ("A", &["2"])]).unwrap_err().message.contains("A is given twice")
        );
        assert!(of(&[("A", &["1", "1"])]).unwrap_err().message.contains("\"1\" twice"));
    }
}
