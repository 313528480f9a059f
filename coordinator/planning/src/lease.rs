//! An agent's time-limited right to run one trial, proven by a token.
//!
//! Tokens are drawn by the caller; this module only compares them.

use std::time::Duration;

use assay_measure::ids::{AgentName, LeaseToken};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    token: LeaseToken,
    agent: AgentName,
    expires_at: Timestamp,
}

impl Lease {
    /// Grants a lease for `term` from `now`.
    #[must_use]
    pub fn grant(agent: AgentName, token: LeaseToken, now: Timestamp, term: Duration) -> Self {
        Self { token, agent, expires_at: after(now, term) }
    }

    /// The same lease, for `term` from `now`; it never becomes shorter.
    #[must_use]
    pub fn renewed(self, now: Timestamp, term: Duration) -> Self {
        let expires_at = self.expires_at.max(after(now, term));
        Self { expires_at, ..self }
    }

    #[must_use]
    pub fn is_proven_by(&self, token: &LeaseToken) -> bool {
        self.token == *token
    }

    /// Whether it has run out.
    #[must_use]
    pub fn has_expired(&self, now: Timestamp) -> bool {
        now >= self.expires_at
    }

    #[must_use]
    pub fn agent(&self) -> &AgentName {
        &self.agent
    }

    #[must_use]
    pub fn token(&self) -> &LeaseToken {
        &self.token
    }

    #[must_use]
    pub fn expires_at(&self) -> Timestamp {
        self.expires_at
    }
}

fn after(now: Timestamp, term: Duration) -> Timestamp {
    let term = SignedDuration::try_from(term).unwrap_or(SignedDuration::MAX);
    now.saturating_add(term).unwrap_or(Timestamp::MAX)
}
