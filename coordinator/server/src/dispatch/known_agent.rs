//! An agent as the coordinator remembers it.

use jiff::Timestamp;

use super::{
    SessionId,
    terms::{Terms, later},
};
use crate::store::AgentRecord;

/// An agent that is or was connected.
#[derive(Clone, Debug)]
pub(super) struct KnownAgent {
    pub(super) record: AgentRecord,
    pub(super) session: Option<SessionId>,
    /// It declined a trial, so it gets none until then.
    pub(super) resting_until: Option<Timestamp>,
}

impl KnownAgent {
    /// An agent as the store remembers it: not connected.
    pub(super) fn remembered(record: AgentRecord) -> Self {
        Self { record, session: None, resting_until: None }
    }

    /// When it is lost, or has rested.
    pub(super) fn next_deadline(&self, terms: Terms) -> Option<Timestamp> {
        let lost_at = self.session.map(|_| later(self.record.last_seen_at, terms.lease_term));
        lost_at.into_iter().chain(self.resting_until).min()
    }
}
