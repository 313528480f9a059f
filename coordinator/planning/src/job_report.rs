//! Assembles the `assay.job/1` document from what is stored of a job.

use std::collections::BTreeMap;

use assay_measure::{
    ids::{InstanceTypeName, TrialId},
    job::{Demand, Goals, JobSpec, JobStatus},
    outcome::{Failure, FailureKind, StepResult, TrialOutcome, TrialResult},
    search::Mode,
    slo::SloMetric,
    validity::Verdict,
};
use jiff::Timestamp;

use crate::{
    constraints, out_of_time,
    planner::{Candidate, Plan, PlannedTrial},
    prices::PriceQuote,
    ranking::{self, Contender, Place, RankedBy},
    report::{Entry, JobReport, Progress},
    trial_state::TrialEnd,
};

mod entry;
mod remarks;

/// Everything that a report is made of.
#[derive(Clone, Debug, PartialEq)]
pub struct JobFacts {
    pub spec: JobSpec,
    pub status: JobStatus,
    pub created_at: Timestamp,
    pub finished_at: Option<Timestamp>,
    pub plan: Plan,
    /// What came of the trials; those without an entry have not ended.
    pub trials: BTreeMap<TrialId, TrialFacts>,
    /// Prices as they were when the job was created.
    pub prices: BTreeMap<InstanceTypeName, PriceQuote>,
    /// What else people should know, such as why the job failed.
    pub warnings: Vec<String>,
}

impl JobFacts {
    /// Gives steps the histograms that were kept apart, by trial and the step's index.
    pub fn add_histograms(&mut self, mut histograms: BTreeMap<(TrialId, u32), Vec<u8>>) {
        for (id, trial) in &mut self.trials {
            for step in &mut trial.steps {
                let histogram = histograms.remove(&(id.clone(), step.index));
                step.histogram = histogram.unwrap_or_default();
            }
        }
    }

    /// How thoroughly the trial searches that a candidate's figures come from.
    fn mode_of(&self, candidate: &Candidate) -> Mode {
        let trial = self.plan.trial(&candidate.trial);
        trial.and_then(|trial| trial.search.as_ref()).map_or(self.spec.mode, |search| search.mode)
    }
}

/// What came of a trial.
#[derive(Clone, Debug, PartialEq)]
pub struct TrialFacts {
    /// How it ended; absent while it has not.
    pub end: Option<TrialEnd>,
    /// Its steps so far, in order.
    pub steps: Vec<StepResult>,
    /// How often it was measured again.
    pub repeats: u32,
}

/// What a reader may ask differently of the same measurements.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Overrides {
    pub goals: Option<Goals>,
    pub demand: Option<Demand>,
}

#[must_use]
pub fn build(facts: &JobFacts, overrides: Overrides) -> JobReport {
    let goals = overrides.goals.or(facts.spec.goals);
    let demand = overrides.demand.or(facts.spec.demand);
    let mut lists = sort_out(facts, demand);
    let (ranked_by, ranking) = ranked(facts, goals, &mut lists);
    let reason = remarks::no_recommendation(facts, &ranking, &lists);
    let warnings = remarks::of_job(facts, ranked_by, &ranking, &lists);
    JobReport {
        name: facts.spec.name.clone(),
        status: facts.status,
        created_at: facts.created_at,
        finished_at: facts.finished_at,
        model: facts.spec.model().cloned(),
        endpoint: facts.spec.endpoint().cloned(),
        ready_timeout: facts.spec.ready_timeout,
        goals,
        constraints: facts.spec.constraints.clone(),
        ranked_by,
        progress: progress(facts),
        no_recommendation_reason: reason,
        ranking,
        rejected: lists.rejected.into_iter().map(|(entry, _)| entry).collect(),
        failed: lists.failed.into_iter().map(|(entry, _)| entry).collect(),
        warnings,
    }
}

/// Candidates by what came of them, before they are ranked.
#[derive(Default)]
struct Lists {
    /// Measured, believable, within the constraints.
    contenders: Vec<(Entry, Contender)>,
    /// With how far off they are, where that is known.
    rejected: Vec<(Entry, Option<f64>)>,
    failed: Vec<(Entry, WhyFailed)>,
}

/// Why a candidate is in the list of failed ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum WhyFailed {
    Unbelievable,
    NotMeasured,
}

fn sort_out(facts: &JobFacts, demand: Option<Demand>) -> Lists {
    let mut lists = Lists::default();
    for rejection in &facts.plan.rejections {
        lists.rejected.push((entry::of_rejection(facts, rejection), None));
    }
    for candidate in &facts.plan.candidates {
        let Some((candidate, trial)) = counted(facts, candidate) else { continue };
        let candidate = &candidate;
        let Some(end) = &trial.end else { continue };
        match end {
            TrialEnd::Reported { outcome: TrialOutcome::Measured(measurement) } => {
                judge_measured(facts, candidate, trial, measurement, demand, &mut lists);
            }
            TrialEnd::Reported { outcome: TrialOutcome::Failed(failure) } => {
                judge_failed(facts, candidate, trial, failure, &mut lists);
            }
            TrialEnd::Reported { outcome: TrialOutcome::Cancelled { by } } => {
                lists.cancelled(facts, candidate, trial, by, &format!("cancelled by {by}"));
            }
            TrialEnd::Lost { losses, last_agent } => {
                let reason = format!("lost {losses} times, the last time with agent {last_agent}");
                lists.failed_because(facts, candidate, trial, reason);
            }
            TrialEnd::NotRun { by } => {
                let reason = format!("not measured: cancelled by {by}");
                lists.cancelled(facts, candidate, trial, by, &reason);
            }
        }
    }
    lists
}

/// The candidate with the trial whose figures count: the quick one of a race as long as the full one
/// has not come to an end of its own.
fn counted<'a>(facts: &'a JobFacts, candidate: &Candidate) -> Option<(Candidate, &'a TrialFacts)> {
    let of = |trial: &TrialId| {
        let found = facts.trials.get(trial)?;
        Some((Candidate { trial: trial.clone(), ..candidate.clone() }, found))
    };
    let Some(screening) = candidate.stage.screening() else { return of(&candidate.trial) };
    of(&candidate.trial)
        .filter(|(_, full)| {
            matches!(
                &full.end,
                Some(TrialEnd::Reported {
                    outcome: TrialOutcome::Measured(_) | TrialOutcome::Failed(_)
                })
            )
        })
        .or_else(|| of(screening))
}

fn judge_measured(
    facts: &JobFacts,
    candidate: &Candidate,
    trial: &TrialFacts,
    measurement: &TrialResult,
    demand: Option<Demand>,
    lists: &mut Lists,
) {
    let mut entry = entry::of_measurement(facts, candidate, trial, measurement, demand);
    if measurement.validity.verdict == Verdict::Invalid {
        entry.reason = Some(remarks::unbelievable(&measurement.validity, trial.repeats));
        lists.failed.push((entry, WhyFailed::Unbelievable));
        return;
    }
    let metric = facts.spec.constraints.first().map_or(SloMetric::P95, |slo| slo.metric());
    let contender = entry.contender(metric).filter(|one| one.capacity.value.count() > 0);
    let Some(contender) = contender else {
        entry.reason = Some("no call was answered".to_owned());
        lists.failed.push((entry, WhyFailed::NotMeasured));
        return;
    };
    if let Some(miss) = constraints::missed(&facts.spec.constraints, measurement) {
        entry.reason = Some(miss.reason);
        lists.rejected.push((entry, Some(miss.ratio)));
        return;
    }
    entry.meets = true;
    lists.contenders.push((entry, contender));
}

fn judge_failed(
    facts: &JobFacts,
    candidate: &Candidate,
    trial: &TrialFacts,
    failure: &Failure,
    lists: &mut Lists,
) {
    let mut entry = entry::without_figures(facts, candidate, trial);
    entry.reason = Some(out_of_time::why_failed(failure));
    entry.failure_kind = Some(failure.kind);
    entry.detail = Some(failure.detail.clone()).filter(|detail| !detail.is_empty());
    entry.validity = failure.validity.clone();
    if let Some(validity) = failure.validity.as_ref().filter(|v| v.verdict == Verdict::Invalid) {
        // What a disturbed minute says rejects nobody for good.
        let told = remarks::unbelievable(validity, trial.repeats);
        entry.reason = Some(format!("{told} ({})", failure.message));
        lists.failed.push((entry, WhyFailed::Unbelievable));
        return;
    }
    if failure.kind != FailureKind::TooSlow {
        lists.failed.push((entry, WhyFailed::NotMeasured));
        return;
    }
    let miss = constraints::missed_unloaded(&facts.spec.constraints, &trial.steps);
    let ratio = miss.as_ref().map(|miss| miss.ratio);
    entry.reason = miss.map(|miss| miss.reason).or(entry.reason);
    lists.rejected.push((entry, ratio));
}

impl Lists {
    /// Cancelled in the name of the job's time, or by somebody.
    fn cancelled(
        &mut self,
        facts: &JobFacts,
        candidate: &Candidate,
        trial: &TrialFacts,
        by: &str,
        reason: &str,
    ) {
        let late = out_of_time::why_cancelled(by, &facts.spec);
        let entry = Entry {
            failure_kind: late.is_some().then_some(FailureKind::OutOfTime),
            reason: Some(late.unwrap_or_else(|| reason.to_owned())),
            ..entry::without_figures(facts, candidate, trial)
        };
        self.failed.push((entry, WhyFailed::NotMeasured));
    }

    fn failed_because(
        &mut self,
        facts: &JobFacts,
        candidate: &Candidate,
        trial: &TrialFacts,
        reason: String,
    ) {
        let entry =
            Entry { reason: Some(reason), ..entry::without_figures(facts, candidate, trial) };
        self.failed.push((entry, WhyFailed::NotMeasured));
    }
}

/// Takes the contenders out of the lists and ranks them; those without a price go to the rejected.
fn ranked(facts: &JobFacts, goals: Option<Goals>, lists: &mut Lists) -> (RankedBy, Vec<Entry>) {
    let (entries, contenders): (Vec<Entry>, Vec<Contender>) =
        std::mem::take(&mut lists.contenders).into_iter().unzip();
    let ranking = ranking::rank(&contenders, goals);
    for &index in &ranking.unpriced {
        let mut entry = entries[index].clone();
        entry.reason = Some(remarks::unpriced(facts, entry.instance_type.as_str()));
        lists.rejected.push((entry, None));
    }
    let placed = |place: &Place| Entry {
        rank: Some(place.rank),
        score: Some(place.score),
        // What the capacity has no interval for has none either.
        score_ci95: entries[place.contender]
            .max_invocations_ci95
            .map(|_| [place.score_ci95.0, place.score_ci95.1]),
        tied_with: place.tied_with.clone(),
        ..entries[place.contender].clone()
    };
    (ranking.by, ranking.places.iter().map(placed).collect())
}

fn progress(facts: &JobFacts) -> Progress {
    let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    let has_ended = |trial: &&PlannedTrial| {
        facts.trials.get(&trial.id).is_some_and(|trial| trial.end.is_some())
    };
    let ended = facts.plan.trials.iter().filter(has_ended).count();
    Progress { trials: count(facts.plan.trials.len()), ended: count(ended) }
}

#[cfg(test)]
mod recorded;
#[cfg(test)]
pub(crate) mod samples;
#[cfg(test)]
mod tests;
