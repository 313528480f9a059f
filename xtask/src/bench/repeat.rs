//! `bench repeat`: the same model on the same machine again and again. Do the figures agree, and do
//! their intervals say how far they do not?

use anyhow::{Context, Result};
use serde_json::Value;

use super::{
    Arguments,
    figures::{Figure, verdict},
    host::bare_loop,
    judged::{ATTEMPTS, Judged, Judgement, until_valid},
    recommend::{self, MODEL},
    report::Section,
};
use crate::{checkout::Checkout, console::Console, demo, process::capture};

const INSTANCE_TYPE: &str = "ml.c5.large";
const SWEEP: [&str; 3] = ["workers=2", "intra-op=1", "graph=plain"];
const CONSTRAINT: &str = "p95<=250ms";
const VARIATION_LIMIT_PERCENT: f64 = 3.0;
/// Each of the bare loops beside a job.
const LOOP: &str = "10s";
/// Of the intervals, how many must hold the mean of all.
const COVERING_SHARE: f64 = 0.9;

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

impl Judged for Trial {
    fn judgement(&self) -> &Judgement {
        &self.judgement
    }
}

/// Without a constraint and, where asked for, with one.
pub(crate) fn measure(
    checkout: &Checkout,
    console: Console,
    arguments: &Arguments,
) -> Result<Section> {
    let file = demo::reference_model(checkout, console, MODEL)?;
    let mut text = String::from(
        "| constraint | mean, /min | variation | of the bare loop | of found ÷ bare loop | intervals that hold the mean | verdicts | measured again | goals |\n|---|---|---|---|---|---|---|---|---|\n",
    );
    let mut each = String::new();
    for constraint in
        [None, Some(CONSTRAINT)].into_iter().take(if arguments.constrained { 2 } else { 1 })
    {
        let (mut trials, mut repeated) = (Vec::new(), 0);
        for round in 1..=arguments.rounds.get() {
            let mut recommend = recommend::command(checkout, &file);
            recommend.args(["--instance-types", INSTANCE_TYPE, "--seed", &round.to_string()]);
            recommend.args(SWEEP.iter().flat_map(|setting| ["--sweep", setting]));
            recommend.args(constraint.iter().flat_map(|constraint| ["--slo", constraint]));
            recommend.args(arguments.quick.then_some("--quick"));
            let measured = until_valid(|| {
                let before = bare_loop(checkout, &file, "tuned", LOOP)?;
                let job = capture(&mut recommend)?;
                let after = bare_loop(checkout, &file, "tuned", LOOP)?;
                let trial = Trial::read(&job, f64::midpoint(before, after))?;
                console.say(&format!(
                    "round {round}: {:.0}/min ({:.0} to {:.0}), {}; bare loop {before:.0} and {after:.0}/min",
                    trial.per_min,
                    trial.low,
                    trial.high,
                    trial.judgement.in_words()
                ));
                Ok(trial)
            })?;
            repeated += measured.len() - 1;
            trials.extend(measured.into_iter().last());
        }
        let name = constraint.unwrap_or("none");
        text.push_str(&row(name, &trials, repeated));
        let values: Vec<String> =
            trials.iter().map(|trial| format!("{:.0}", trial.per_min)).collect();
        each.push_str(&format!("\n{name}: {}.", values.join(", ")));
    }
    text.push_str(&format!(
        "\n`assay recommend {MODEL}.pt --instance-types {INSTANCE_TYPE}{}`, two workers of one thread, {} jobs each with a host, a coordinator and a seed of its own. Variation: standard deviation ÷ mean. Bare loop: the mean of one before and one after each job; a machine on which it varies is not quiet. Measured again: jobs whose candidate did not call itself valid, replaced by another, at most {} for one job.\n{each}",
        if arguments.quick { " --quick" } else { "" },
        arguments.rounds,
        ATTEMPTS - 1
    ));
    Ok(Section { name: "repeat", title: "The same trial again and again", body: text })
}

impl Trial {
    /// The figures of the job's only candidate; one that was called invalid three times has none.
    fn read(json: &str, bare_loop: f64) -> Result<Self> {
        let job: Value = serde_json::from_str(json).context("the job is not JSON")?;
        let entry = job.pointer("/ranking/0").with_context(|| format!("nothing ranked: {json}"))?;
        let number = |pointer: &str| {
            let found = entry.pointer(pointer).and_then(Value::as_f64);
            found.with_context(|| format!("no number at {pointer} in {entry}"))
        };
        Ok(Self {
            per_min: number("/max_invocations_per_min")?,
            low: number("/max_invocations_ci95/0")?,
            high: number("/max_invocations_ci95/1")?,
            judgement: Judgement::read(entry)?,
            bare_loop,
        })
    }
}

fn row(name: &str, trials: &[Trial], repeated: usize) -> String {
    let found: Figure = trials.iter().map(|trial| trial.per_min).collect();
    let bare_loop: Figure = trials.iter().map(|trial| trial.bare_loop).collect();
    let (mean, variation) = (found.mean(), found.variation_percent());
    let covering = trials.iter().filter(|trial| (trial.low..=trial.high).contains(&mean)).count();
    let goal = (COVERING_SHARE * trials.len() as f64).ceil();
    let valid = trials.iter().filter(|trial| trial.judgement.is_valid()).count();
    format!(
        "| {name} | {mean:.0} | {variation:.2} % | {:.2} % | {:.2} % | {covering} of {} | {valid} valid, {} suspect | {repeated} | below {VARIATION_LIMIT_PERCENT} %: {}; {goal} hold it: {} |\n",
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
        let narrow = row("none", &trials([98.0, 100.0, 102.0], 1.0), 2);
        assert!(narrow.contains("| 100 | 2.00 % | 2.00 % | 0.00 % | 1 of 3 |"), "{narrow}");
        assert!(
            narrow.contains("3 valid, 0 suspect | 2 | below 3 %: met; 3 hold it: missed"),
            "{narrow}"
        );
        let wide = row("none", &trials([90.0, 100.0, 110.0], 10.0), 0);
        assert!(wide.contains("| 10.00 % | 10.00 % | 0.00 % | 3 of 3 |"), "{wide}");
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
