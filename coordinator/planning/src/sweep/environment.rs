//! What environment variables make of a sweep.
//!
//! A candidate with variables to try is one configuration per combination of their values: the variables
//! that name a setting decide it, every other setting takes its default. A model's own variables come last:
//! they fill what neither the sweep nor a range decides, and where the planner looks for configurations by
//! itself, what they ask for is one of those that it tries, the first.

use std::collections::BTreeMap;

use assay_measure::{
    environment::{BaseEnvironment, EnvironmentError, EnvironmentRanges, Settings, settings_of},
    job::Sweep,
};
use thiserror::Error;

/// Environment variables and the sweep contradict each other, or a value is none.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum EnvironmentConflict {
    #[error(transparent)]
    Environment(#[from] EnvironmentError),
    #[error("an environment variable and the sweep both set {0}")]
    Sweep(&'static str),
}

/// The variables of a process, and the sweep with what is asked for by variables.
pub type EnvironmentSweep = (BTreeMap<String, String>, Sweep);

/// The sweeps that a sweep becomes on a model with variables of its own: one per combination of those to
/// try; without any, the sweep itself and before it what the model's own ask for.
///
/// # Errors
/// [`EnvironmentConflict`] when a setting is asked for twice, or a variable has a value that is none.
pub fn with_environment(
    sweep: &Sweep,
    base: &BaseEnvironment,
    ranges: &EnvironmentRanges,
) -> Result<Vec<EnvironmentSweep>, EnvironmentConflict> {
    let of_the_process = base.of_the_process();
    if ranges.is_empty() {
        let own = filled(sweep.clone(), base.settings());
        if own == *sweep || sweep.defaults_only {
            return Ok(vec![(of_the_process, own)]);
        }
        let own = Sweep { defaults_only: true, ..own };
        return Ok(vec![(of_the_process.clone(), own), (of_the_process, sweep.clone())]);
    }
    let with = |combination: BTreeMap<String, String>| {
        let settings = settings_of(&combination)?;
        let mut sweep = Sweep { defaults_only: true, ..sweep.clone() };
        decide(&mut sweep.workers, settings.workers, "workers")?;
        decide(&mut sweep.intra_op_threads, settings.intra_op_threads, "intra-op threads")?;
        decide(&mut sweep.max_batch, settings.max_batch, "max-batch")?;
        let delay = settings.max_batch_delay_us;
        decide(&mut sweep.max_batch_delay_us, delay, "max-batch-delay-us")?;
        let mut variables = of_the_process.clone();
        variables.extend(combination);
        Ok((variables, filled(sweep, base.settings())))
    };
    ranges.combinations().into_iter().map(with).collect()
}

fn decide<T>(
    swept: &mut Vec<T>,
    asked: Option<T>,
    setting: &'static str,
) -> Result<(), EnvironmentConflict> {
    let Some(asked) = asked else { return Ok(()) };
    if !swept.is_empty() {
        return Err(EnvironmentConflict::Sweep(setting));
    }
    swept.push(asked);
    Ok(())
}

/// The sweep with these settings where it is open.
fn filled(mut sweep: Sweep, settings: Settings) -> Sweep {
    fn fill<T>(swept: &mut Vec<T>, setting: Option<T>) {
        if swept.is_empty() {
            swept.extend(setting);
        }
    }
    fill(&mut sweep.workers, settings.workers);
    fill(&mut sweep.intra_op_threads, settings.intra_op_threads);
    fill(&mut sweep.max_batch, settings.max_batch);
    fill(&mut sweep.max_batch_delay_us, settings.max_batch_delay_us);
    sweep
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use assay_measure::configuration::{Configuration, Graph};

    use super::*;
    use crate::sweep::{Room, configurations, upper_bound};

    fn room(vcpus: u32) -> Room {
        Room { vcpus: NonZeroU32::new(vcpus).unwrap(), cuda_gpus: 0 }
    }

    fn sweep(texts: &[&str]) -> Sweep {
        let mut sweep = Sweep { graph: vec![Graph::Plain], ..Sweep::default() };
        texts.iter().for_each(|text| sweep.add(text).unwrap());
        sweep
    }

    fn shown(configurations: &[Configuration]) -> Vec<String> {
        configurations.iter().map(Configuration::to_string).collect()
    }

    fn no_base() -> BaseEnvironment {
        BaseEnvironment::default()
    }

    fn base(pairs: &[(&str, &str)]) -> BaseEnvironment {
        let pairs = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        BaseEnvironment::new(pairs.collect()).unwrap()
    }

    /// All configurations of these sweeps on four processors, each with its variables.
    fn tried(sweep: &Sweep, base: &BaseEnvironment, ranges: &EnvironmentRanges) -> Vec<String> {
        let with_variables = |(variables, sweep): EnvironmentSweep| {
            let mut swept = configurations(&sweep, room(4)).configurations;
            swept.iter_mut().for_each(|one| one.environment.clone_from(&variables));
            shown(&swept)
        };
        let swept = with_environment(sweep, base, ranges).unwrap();
        swept.into_iter().flat_map(with_variables).collect()
    }

    fn environment(pairs: &[(&str, &[&str])]) -> EnvironmentRanges {
        let values = |values: &[&str]| values.iter().map(|value| (*value).to_owned()).collect();
        let pairs = pairs.iter().map(|(name, list)| ((*name).to_owned(), values(list)));
        EnvironmentRanges::new(pairs.collect()).unwrap()
    }

    #[test]
    fn every_combination_of_variables_is_one_configuration() {
        let ranges = environment(&[("OMP_NUM_THREADS", &["1", "2"]), ("KMP_BLOCKTIME", &["0"])]);
        let swept = with_environment(&Sweep::default(), &no_base(), &ranges).unwrap();
        let shown: Vec<String> = swept
            .iter()
            .flat_map(|(_, sweep)| shown(&configurations(sweep, room(4)).configurations))
            .collect();
        assert_eq!(shown, ["workers=4 intra-op=1", "workers=2 intra-op=2"]);
        assert_eq!(swept[0].0["OMP_NUM_THREADS"], "1");
        assert!(swept.iter().all(|(variables, sweep)| {
            variables["KMP_BLOCKTIME"] == "0" && upper_bound(sweep) == 1
        }));
        let batch = environment(&[
            ("ASSAY_MAX_BATCH", &["8"]),
            ("ASSAY_MAX_BATCH_DELAY_US", &["500"]),
            ("SAGEMAKER_MODEL_SERVER_WORKERS", &["2"]),
        ]);
        let swept = with_environment(&Sweep::default(), &no_base(), &batch).unwrap();
        assert_eq!(
            self::shown(&configurations(&swept[0].1, room(2)).configurations),
            ["workers=2 intra-op=1 max-batch=8 delay=500us"]
        );
    }

    #[test]
    fn a_setting_asked_for_by_variable_and_by_sweep_is_refused() {
        let ranges = environment(&[("SAGEMAKER_MODEL_SERVER_WORKERS", &["2"])]);
        let conflict = with_environment(&sweep(&["workers=1"]), &no_base(), &ranges).unwrap_err();
        assert_eq!(conflict.to_string(), "an environment variable and the sweep both set workers");
        assert!(with_environment(&sweep(&["intra-op=1"]), &no_base(), &ranges).is_ok());
    }

    const NO_RANGES: fn() -> EnvironmentRanges = EnvironmentRanges::default;

    #[test]
    fn where_nothing_is_looked_for_a_models_own_variables_decide() {
        let load_test = Sweep { defaults_only: true, ..Sweep::default() };
        let own = base(&[("SAGEMAKER_MODEL_SERVER_WORKERS", "2"), ("LABELS", "cat")]);
        let found = tried(&load_test, &own, &NO_RANGES());
        assert_eq!(found, ["workers=2 intra-op=2 LABELS=cat"]);
    }

    #[test]
    fn where_configurations_are_looked_for_what_a_model_asks_for_is_the_first_of_them() {
        let own = base(&[("SAGEMAKER_MODEL_SERVER_WORKERS", "3"), ("LABELS", "cat")]);
        assert_eq!(
            tried(&sweep(&[]), &own, &NO_RANGES()),
            [
                "workers=3 intra-op=1 LABELS=cat",
                "workers=1 intra-op=4 LABELS=cat",
                "workers=2 intra-op=2 LABELS=cat",
                "workers=4 intra-op=1 LABELS=cat"
            ]
        );
        // A sweep says otherwise, and that is that.
        let found = tried(&sweep(&["workers=1"]), &own, &NO_RANGES());
        assert_eq!(found, ["workers=1 intra-op=4 LABELS=cat"]);
    }

    #[test]
    fn a_range_says_otherwise_than_the_model_under_either_name_of_a_setting() {
        let own = base(&[
            ("SAGEMAKER_MODEL_SERVER_WORKERS", "2"),
            ("OMP_NUM_THREADS", "2"),
            ("KMP_BLOCKTIME", "200"),
        ]);
        let ranges = environment(&[
            ("TS_DEFAULT_WORKERS_PER_MODEL", &["1", "4"]),
            ("KMP_BLOCKTIME", &["0"]),
        ]);
        let found = with_environment(&Sweep::default(), &own, &ranges).unwrap();
        let (variables, one) = &found[1];
        assert_eq!((one.workers[0].get(), one.intra_op_threads[0].get()), (4, 2));
        let expected = [("KMP_BLOCKTIME", "0"), ("TS_DEFAULT_WORKERS_PER_MODEL", "4")];
        let variables: Vec<_> = variables.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        assert_eq!(variables, expected, "what the model asked for is no variable any more");
    }
}
