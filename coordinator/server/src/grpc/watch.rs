//! Follows the record of one job: first what is stored, then what happens.
//!
//! Nothing is left out and nothing comes twice: the live channel is opened before the store is read,
//! and entries are taken by their sequence number. Whoever falls behind reads on from the store.

use std::{collections::VecDeque, sync::Arc};

use assay_measure::ids::JobName;
use tokio::sync::broadcast::{Receiver, error::RecvError};
use tonic::Status;

use super::Shared;
use crate::{
    dispatch::{Published, Stopping},
    job_event::{Happening, JobEvent},
};

const PAGE: u32 = 256;

pub(crate) struct Watch {
    shared: Shared,
    job: JobName,
    live: Receiver<Arc<Published>>,
    /// Read from the store and not handed on yet.
    waiting: VecDeque<JobEvent>,
    /// The last stored entry handed on or waiting.
    last: u64,
    /// More may lie in the store.
    behind: bool,
    over: bool,
}

impl Watch {
    pub(crate) fn new(shared: Shared, job: JobName, after: u64) -> Result<Self, Stopping> {
        let live = shared.dispatch.watch()?;
        Ok(Self {
            shared,
            job,
            live,
            waiting: VecDeque::new(),
            last: after,
            behind: true,
            over: false,
        })
    }

    /// The next entry; `None` once the job has ended and all is told.
    pub(crate) async fn next(&mut self) -> Result<Option<JobEvent>, Status> {
        loop {
            if let Some(event) = self.waiting.pop_front() {
                self.over = is_final(&event);
                return Ok(Some(event));
            }
            if self.over {
                return Ok(None);
            }
            if self.behind {
                self.read_on().await?;
                continue;
            }
            let stopping = self.shared.stopping.clone();
            tokio::select! {
                () = stopping.cancelled() => return Err(Stopping.into()),
                published = self.live.recv() => match published {
                    Ok(published) if published.job == self.job => self.take(&published.event),
                    Ok(_) => {}
                    Err(RecvError::Lagged(_)) => self.behind = true,
                    Err(RecvError::Closed) => return Err(Stopping.into()),
                },
            }
        }
    }

    fn take(&mut self, event: &JobEvent) {
        match event.sequence {
            0 => self.waiting.push_back(event.clone()),
            sequence if sequence == self.last + 1 => {
                self.last = sequence;
                self.waiting.push_back(event.clone());
            }
            // Entries were missed.
            sequence if sequence > self.last => self.behind = true,
            _ => {}
        }
    }

    async fn read_on(&mut self) -> Result<(), Status> {
        // Asked before the record is read: a job that has ended by now has its whole record there.
        let job = self.shared.store.job(&self.job).await?;
        let events = self.shared.store.events(&self.job, self.last, PAGE).await?;
        if let Some(last) = events.last() {
            self.last = last.sequence;
            self.waiting = events.into();
            return Ok(());
        }
        self.behind = false;
        self.over = job.is_none_or(|job| job.status.is_final());
        Ok(())
    }
}

fn is_final(event: &JobEvent) -> bool {
    match &event.what {
        Happening::StatusChanged { status, .. } => status.is_final(),
        Happening::TrialStarted { .. }
        | Happening::TrialProgressed { .. }
        | Happening::StepFinished { .. }
        | Happening::TrialEnded { .. }
        | Happening::TrialReturned { .. } => false,
    }
}

#[cfg(test)]
mod tests;
