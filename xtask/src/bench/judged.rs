//! Runs that judge themselves: what they say, and measuring those again that were disturbed.

use anyhow::{Context, Result};
use serde_json::Value;

/// A run that says of itself that it was disturbed is measured again, as the product does with a trial
/// that it calls invalid: so often in all.
pub(super) const ATTEMPTS: usize = 3;

#[derive(Debug, Clone)]
pub(super) struct Judgement {
    verdict: String,
    findings: String,
}

impl Judgement {
    /// Of anything with a `validity`.
    pub(super) fn read(judged: &Value) -> Result<Self> {
        let findings = judged.pointer("/validity/findings").and_then(Value::as_array);
        let findings = findings.into_iter().flatten().map(|finding| {
            let name = finding.pointer("/name").and_then(Value::as_str).unwrap_or("?");
            let value = finding.pointer("/value").and_then(Value::as_f64).unwrap_or(0.0);
            format!(", {name} {value:.3}")
        });
        let verdict = judged.pointer("/validity/verdict").and_then(Value::as_str);
        Ok(Self {
            verdict: verdict.context("no verdict")?.to_owned(),
            findings: findings.collect(),
        })
    }

    pub(super) fn is_valid(&self) -> bool {
        self.verdict == "valid"
    }

    /// The verdict and all findings.
    pub(super) fn in_words(&self) -> String {
        format!("{}{}", self.verdict, self.findings)
    }
}

/// All runs until one calls itself valid; the last is the one that counts.
pub(super) fn until_valid<T>(
    judgement: impl Fn(&T) -> &Judgement,
    mut run: impl FnMut() -> Result<T>,
) -> Result<Vec<T>> {
    let mut runs: Vec<T> = Vec::new();
    while runs.last().is_none_or(|last| !judgement(last).is_valid()) && runs.len() < ATTEMPTS {
        runs.push(run()?);
    }
    Ok(runs)
}

#[cfg(test)]
pub(super) mod tests {
    use serde_json::json;

    use super::*;

    pub(crate) fn judgement(verdict: &str) -> Judgement {
        Judgement { verdict: verdict.to_owned(), findings: String::new() }
    }

    #[test]
    fn a_run_is_repeated_until_it_is_valid_but_not_for_ever() {
        let runs = |verdicts: &[&str]| {
            let mut left = verdicts.iter();
            let found = until_valid(
                |found| found,
                || Ok(judgement(left.next().expect("not asked for more"))),
            );
            found.unwrap().len()
        };
        assert_eq!(runs(&["valid"]), 1);
        assert_eq!(runs(&["suspect", "valid"]), 2);
        assert_eq!(runs(&["suspect", "invalid", "suspect"]), ATTEMPTS);
    }

    #[test]
    fn findings_are_told_with_their_figures_and_a_verdict_must_be_there() {
        let judged = json!({"validity": {
            "verdict": "suspect", "findings": [{"name": "steal", "value": 1.25}]
        }});
        let found = Judgement::read(&judged).unwrap();
        assert!(!found.is_valid());
        assert_eq!(found.in_words(), "suspect, steal 1.250");
        assert!(Judgement::read(&json!({})).is_err());
    }
}
