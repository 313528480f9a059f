//! From the store back to a state that can go on.
//!
//! Trials that were running stay leased, for one full term from now: agents need time to come back.
//! Those that do go on; the others' trials return to the queue when the term is over.

use std::sync::Arc;

use assay_planning::{
    price_file::PriceTable,
    prices::Prices,
    trial_state::{Trial, TrialState},
};
use jiff::Timestamp;

use super::{
    job_run::JobRun,
    known_agent::KnownAgent,
    state::{State, TokenSource},
    terms::Terms,
    trial_run::TrialRun,
};
use crate::store::{Recovered, RecoveredJob};

impl State {
    /// The state that the store remembers. `file_prices` come below prices set later.
    pub(crate) fn recovered(
        recovered: Recovered,
        file_prices: PriceTable,
        terms: Terms,
        tokens: TokenSource,
        now: Timestamp,
    ) -> Self {
        let mut price_table = file_prices;
        for row in recovered.own_prices {
            price_table.set(row);
        }
        let agents = recovered.agents.into_iter().map(KnownAgent::remembered);
        let jobs: Vec<JobRun> =
            recovered.active.into_iter().map(|job| job_run(job, terms, now)).collect();
        let mut taken = recovered.deleted;
        taken.extend(recovered.ended.iter().cloned());
        taken.extend(jobs.iter().map(|job| job.name().clone()));
        Self {
            terms,
            tokens,
            jobs,
            taken,
            ended: recovered.ended,
            next_number: recovered.next_number,
            agents: agents.map(|agent| (agent.record.facts.name.clone(), agent)).collect(),
            prices: Arc::new(Prices::with_operator_table(price_table.clone())),
            price_table,
            fleet_grew: false,
            effects: Vec::new(),
        }
    }
}

fn job_run(recovered: RecoveredJob, terms: Terms, now: Timestamp) -> JobRun {
    let RecoveredJob { record, trials, last_sequence } = recovered;
    let trials = trials.into_iter().map(|(trial, steps)| TrialRun {
        trial: renewed(trial.trial, terms, now),
        run: trial.run,
        steps: steps.into_iter().map(|step| (step.index, step)).collect(),
        ..TrialRun::queued(trial.id)
    });
    JobRun { trials: trials.collect(), last_sequence, ..JobRun::of(record) }
}

fn renewed(trial: Trial, terms: Terms, now: Timestamp) -> Trial {
    let term = terms.lease_term;
    let state = match trial.state {
        TrialState::Leased { lease } => TrialState::Leased { lease: lease.renewed(now, term) },
        TrialState::Running { lease, began_at } => {
            TrialState::Running { lease: lease.renewed(now, term), began_at }
        }
        TrialState::Cancelling { lease, by } => {
            TrialState::Cancelling { lease: lease.renewed(now, term), by }
        }
        queued_or_ended @ (TrialState::Queued | TrialState::Ended { .. }) => queued_or_ended,
    };
    Trial { state, ..trial }
}
