//! What must hold of the record of every job that has ended, whatever went wrong on the way.

use std::collections::{BTreeMap, BTreeSet};

use assay_proto::v1::{self, JobStatus, job_event::Event};

use crate::{
    coordinator::Coordinator,
    figures::{mark_of_outcome, mark_of_step},
    ledger::{Ledger, Mark},
};

/// What a record says of one trial.
#[derive(Default)]
pub(crate) struct TrialRecord {
    /// Which agents began it, in order.
    pub(crate) agents: Vec<String>,
    /// How often it went back to the queue.
    pub(crate) returned: usize,
    /// Marks and indices of all steps, also of runs that do not count.
    pub(crate) steps: BTreeSet<(Mark, u32)>,
    /// Whose figures stand, if it was measured.
    pub(crate) measured: Option<Mark>,
    pub(crate) ended: bool,
    runs: bool,
    /// The marks in the run since it last began.
    marks_of_run: BTreeSet<Mark>,
}

impl TrialRecord {
    fn add(&mut self, event: Event, job_stops: bool) {
        assert!(!self.ended, "something happened to a trial that has ended: {event:?}");
        match event {
            Event::TrialStarted(started) => {
                assert!(!self.runs, "began on {} while it ran", started.agent);
                self.runs = true;
                self.marks_of_run.clear();
                self.agents.push(started.agent);
            }
            Event::StepFinished(finished) => {
                // Cancelled between its start and its first sign of life, it never counts as begun.
                assert!(self.runs || job_stops, "a step of a trial that does not run");
                let step = finished.step.unwrap();
                let mark = mark_of_step(&step);
                assert!(self.steps.insert((mark, step.index)), "step {} counts twice", step.index);
                self.marks_of_run.insert(mark);
            }
            Event::TrialReturned(_) => {
                self.returned += 1;
                self.runs = false;
            }
            Event::TrialEnded(ended) => {
                self.ended = true;
                self.measured = mark_of_outcome(&ended.outcome.unwrap());
                self.marks_of_run.extend(self.measured);
            }
            Event::StatusChanged(_) | Event::TrialProgressed(_) => {}
        }
        assert!(self.marks_of_run.len() <= 1, "figures of several runs in one");
    }
}

fn trial_of(event: &Event) -> Option<String> {
    match event {
        Event::TrialStarted(started) => Some(started.trial.as_ref().unwrap().trial_id.clone()),
        Event::StepFinished(finished) => Some(finished.trial_id.clone()),
        Event::TrialReturned(returned) => Some(returned.trial_id.clone()),
        Event::TrialEnded(ended) => Some(ended.trial_id.clone()),
        Event::TrialProgressed(progressed) => Some(progressed.trial_id.clone()),
        Event::StatusChanged(_) => None,
    }
}

/// Waits for the end of a job, and checks that its record ascends without gaps, ends with the job, and
/// tells exactly one end of every trial.
pub(crate) async fn of_ended_job(
    coordinator: &Coordinator,
    name: &str,
) -> BTreeMap<String, TrialRecord> {
    let job = coordinator.ended(name).await;
    let events = coordinator.record(name).await;
    let mut trials: BTreeMap<String, TrialRecord> = BTreeMap::new();
    let (mut stops, mut final_states) = (false, 0);
    for (expected, event) in (1..).zip(events) {
        assert_eq!(event.sequence, expected, "the record of {name} has a gap");
        assert_eq!(final_states, 0, "{name} goes on after its end");
        let event = event.event.unwrap();
        if let Event::StatusChanged(changed) = &event {
            stops |= changed.status() == JobStatus::Stopping;
            final_states += u32::from(is_final(changed.status()));
        }
        if let Some(trial) = trial_of(&event) {
            trials.entry(trial).or_default().add(event, stops);
        }
    }
    assert_eq!(final_states, 1, "{name} has not ended once");
    for (id, trial) in &trials {
        assert!(trial.ended, "{id} has no end");
    }
    let ended = u32::try_from(trials.len()).unwrap();
    assert_eq!((job.trials_total, job.trials_ended), (ended, ended), "trials of {name}");
    trials
}

fn is_final(status: JobStatus) -> bool {
    match status {
        JobStatus::Completed | JobStatus::Failed | JobStatus::Stopped => true,
        JobStatus::Unspecified | JobStatus::Pending | JobStatus::Running | JobStatus::Stopping => {
            false
        }
    }
}

/// Waits for the end of these jobs and holds their records against what agents saw: nothing that was
/// acknowledged is lost, nothing counts twice, and no two leases stood at once.
pub(crate) async fn assert_agree(
    coordinator: &Coordinator,
    jobs: impl IntoIterator<Item = &str>,
    ledger: &Ledger,
) {
    let mut trials = BTreeMap::new();
    for name in jobs {
        trials.extend(of_ended_job(coordinator, name).await);
    }
    ledger.assert_leases_never_overlap();
    for (mark, run) in ledger.by_mark() {
        let trial = &trials[&run.trial];
        for step in &run.steps {
            assert!(trial.steps.contains(&(mark, *step)), "step {step} was lost: {run:?}");
        }
        if run.outcome_counts
            && let Some(measured) = trial.measured
        {
            assert_eq!(measured, mark, "another measurement stands than was accepted: {run:?}");
        }
    }
    for (id, trial) in &trials {
        let by_mark = ledger.by_mark();
        for mark in trial.steps.iter().map(|(mark, _)| mark).chain(&trial.measured) {
            assert_eq!(by_mark[mark].trial, *id, "figures of another trial");
        }
    }
}

/// The steps that a job's report shows for each trial, by whose they are.
pub(crate) fn assert_report_has_steps(report: &v1::GetJobResponse, steps: usize) {
    for candidate in &report.report.as_ref().unwrap().ranking {
        assert_eq!(candidate.steps.len(), steps);
    }
}
