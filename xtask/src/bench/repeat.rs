//! `bench repeat`: the same model on the same machine again and again. Do the figures agree, and do
//! their intervals say how far they do not?
//!
//! A rented machine can change its speed by a third from one minute to the next. What that does to a
//! network is true and no fault of the measurement, so a model that takes the same time at any speed is
//! measured too: what varies there is the instrument's own, and what is to be found is known.

use std::{iter, path::Path};

use anyhow::{Context, Result};
use serde_json::Value;

use super::{
    Bench,
    figures::{Figure, number_in, verdict},
    host::bare_loop,
    judged::{ATTEMPTS, Judgement, until_valid},
    known,
    model::Model,
    recommend,
    report::Section,
};
use crate::process::capture;

const USUAL: [Model; 2] = [Model::FixedTime, Model::Resnet18];
const INSTANCE_TYPE: &str = "ml.c5.large";
const WORKERS: u32 = 2;
const SWEEP: [&str; 3] = ["workers=2", "intra-op=1", "graph=plain"];
const VARIATION_LIMIT_PERCENT: f64 = 3.0;
/// Each of the bare loops beside a job.
const LOOP: &str = "10s";
/// Of the intervals, how many must hold the mean of all.
const COVERING_SHARE: f64 = 0.9;

/// What is measured again and again.
#[derive(Debug, Clone, Copy)]
struct Case {
    model: Model,
    constraint: Option<&'static str>,
}

/// What one job said of its only candidate.
#[derive(Debug, Clone)]
struct Trial {
    per_min: f64,
    low: f64,
    high: f64,
    judgement: Judgement,
    /// Forwards per minute of a bare loop over the same model, the mean of one before the job and one
    /// after it: what the machine itself did meanwhile.
    bare_loop: f64,
}

/// Every model without a constraint and, where asked for, with one.
pub(super) fn measure(bench: &Bench<'_>) -> Result<Section> {
    let mut text = String::from(
        "| model and constraint | exact, /min | mean, /min | variation | of the bare loop | of found ÷ bare loop | intervals that hold the mean | verdicts | measured again | goals |\n|---|---|---|---|---|---|---|---|---|---|\n",
    );
    let mut each = String::new();
    for model in bench.models_or(&USUAL) {
        let file = model.file(bench)?;
        let constrained = bench.arguments.constrained.then(|| constraint(model));
        for constraint in iter::once(None).chain(constrained.map(Some)) {
            let case = Case { model, constraint };
            let exact = case.exact_per_min()?;
            let (trials, repeated) = case.repeated(bench, &file)?;
            text.push_str(&row(&case.name(), exact, &trials, repeated));
            let values: Vec<String> =
                trials.iter().map(|trial| format!("{:.0}", trial.per_min)).collect();
            each.push_str(&format!("\n{}: {}.", case.name(), values.join(", ")));
        }
    }
    text.push_str(&format!(
        "\n`assay recommend MODEL.pt --instance-types {INSTANCE_TYPE}{}`, {WORKERS} workers of one thread, {} jobs each with a host, a coordinator and a seed of its own. `fixed-time` takes 10 ms by the clock at any speed of the machine, so what varies there is the measurement. Exact: what two servers of 10 ms carry, nothing lost in between. Variation: standard deviation ÷ mean. Bare loop: the mean of one before and one after each job; a machine on which it varies is not quiet. Measured again: jobs whose candidate did not call itself valid, replaced by another, at most {} for one job.\n{each}",
        if bench.arguments.quick { " --quick" } else { "" },
        bench.rounds(),
        ATTEMPTS - 1
    ));
    Ok(Section { name: "repeat", title: "The same trial again and again", body: text })
}

/// One that binds: some passes long.
fn constraint(model: Model) -> &'static str {
    if model == Model::FixedTime { "p95<=50ms" } else { "p95<=250ms" }
}

impl Case {
    fn name(self) -> String {
        format!("{}, {}", self.model.name(), self.constraint.unwrap_or("no constraint"))
    }

    /// The capacity, where it can be calculated.
    fn exact_per_min(self) -> Result<Option<f64>> {
        let exact_per_s = |service_time| known::exact_per_s(WORKERS, service_time, self.constraint);
        let exact = self.model.service_time().map(exact_per_s).transpose()?;
        Ok(exact.map(|per_s| 60.0 * per_s))
    }

    /// The trials that count, one for each round, and how many others they replaced.
    fn repeated(self, bench: &Bench<'_>, file: &Path) -> Result<(Vec<Trial>, usize)> {
        let alone = || bare_loop(bench, self.model, file, "tuned", LOOP);
        let (mut trials, mut repeated) = (Vec::new(), 0);
        let mut before = alone()?;
        for round in 1..=bench.rounds() {
            let mut recommend = recommend::command(bench, self.model, file);
            recommend.args(["--instance-types", INSTANCE_TYPE, "--seed", &round.to_string()]);
            recommend.args(SWEEP.iter().flat_map(|setting| ["--sweep", setting]));
            recommend.args(self.constraint.iter().flat_map(|constraint| ["--slo", constraint]));
            recommend.args(bench.arguments.quick.then_some("--quick"));
            let measured = until_valid(
                |found: &Trial| &found.judgement,
                || {
                    let job = capture(&mut recommend)?;
                    let after = alone()?;
                    let trial = Trial::read(&job, f64::midpoint(before, after))?;
                    bench.say(&format!(
                    "{} round {round}: {:.0}/min ({:.0} to {:.0}), {}; bare loop {before:.0} and {after:.0}/min",
                    self.name(),
                    trial.per_min,
                    trial.low,
                    trial.high,
                    trial.judgement.in_words()
                ));
                    before = after;
                    Ok(trial)
                },
            )?;
            repeated += measured.len() - 1;
            trials.extend(measured.into_iter().last());
        }
        Ok((trials, repeated))
    }
}

impl Trial {
    /// The figures of the job's only candidate; one that was called invalid three times has none.
    fn read(json: &str, bare_loop: f64) -> Result<Self> {
        let job: Value = serde_json::from_str(json).context("the job is not JSON")?;
        let entry = job.pointer("/ranking/0").with_context(|| format!("nothing ranked: {json}"))?;
        let number = |pointer: &str| number_in(entry, pointer);
        Ok(Self {
            per_min: number("/max_invocations_per_min")?,
            low: number("/max_invocations_ci95/0")?,
            high: number("/max_invocations_ci95/1")?,
            judgement: Judgement::read(entry)?,
            bare_loop,
        })
    }
}

fn row(name: &str, exact: Option<f64>, trials: &[Trial], repeated: usize) -> String {
    let found: Figure = trials.iter().map(|trial| trial.per_min).collect();
    let bare_loop: Figure = trials.iter().map(|trial| trial.bare_loop).collect();
    let (mean, variation) = (found.mean(), found.variation_percent());
    let covering = trials.iter().filter(|trial| (trial.low..=trial.high).contains(&mean)).count();
    let goal = (COVERING_SHARE * trials.len() as f64).ceil();
    let valid = trials.iter().filter(|trial| trial.judgement.is_valid()).count();
    let exact = exact.map_or("–".to_owned(), |exact| {
        format!("{exact:.0} ({:+.2} %)", (mean / exact - 1.0) * 100.0)
    });
    format!(
        "| {name} | {exact} | {mean:.0} | {variation:.2} % | {:.2} % | {:.2} % | {covering} of {} | {valid} valid, {} suspect | {repeated} | below {VARIATION_LIMIT_PERCENT} %: {}; {goal} hold it: {} |\n",
        bare_loop.variation_percent(),
        found.ratio_to(&bare_loop).variation_percent(),
        trials.len(),
        trials.len() - valid,
        verdict(variation < VARIATION_LIMIT_PERCENT),
        verdict(covering as f64 >= goal)
    )
}

#[cfg(test)]
mod tests {
    use super::{super::judged::tests::judgement, *};

    fn trials(values: [f64; 3], half_width: f64) -> Vec<Trial> {
        let trial = |per_min| Trial {
            per_min,
            low: per_min - half_width,
            high: per_min + half_width,
            judgement: judgement("valid"),
            bare_loop: per_min * 2.0,
        };
        values.map(trial).to_vec()
    }

    #[test]
    fn variation_and_coverage_are_those_of_the_trials() {
        let narrow = row("none", Some(101.0), &trials([98.0, 100.0, 102.0], 1.0), 2);
        assert!(
            narrow.contains("| 101 (-0.99 %) | 100 | 2.00 % | 2.00 % | 0.00 % | 1 of 3 |"),
            "{narrow}"
        );
        assert!(
            narrow.contains("3 valid, 0 suspect | 2 | below 3 %: met; 3 hold it: missed"),
            "{narrow}"
        );
        let wide = row("none", None, &trials([90.0, 100.0, 110.0], 10.0), 0);
        assert!(wide.contains("| – | 100 | 10.00 % | 10.00 % | 0.00 % | 3 of 3 |"), "{wide}");
        assert!(wide.contains("below 3 %: missed"), "{wide}");
    }

    #[test]
    fn a_job_without_a_ranking_is_an_error_that_shows_it() {
        let error = Trial::read("{\"ranking\": [], \"warnings\": [\"busy\"]}", 1.0)
            .unwrap_err()
            .to_string();
        assert!(error.contains("nothing ranked") && error.contains("busy"), "{error}");
    }
}
