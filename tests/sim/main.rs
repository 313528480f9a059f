//! The coordinator among agents, over real gRPC, on a network that loses, swallows and cuts.
//!
//! Agents are scripted: they say what the protocol allows and measure nothing. Model hosts and real
//! processes belong to the `e2e` suite. Time is real and terms are short, so tests wait for levels
//! and never for time to pass.

#![expect(clippy::unwrap_used, reason = "what helps tests may panic as tests do")]

mod agents_lost;
mod coordinator;
mod crowd;
mod figures;
mod fleet;
mod honest_agent;
mod ledger;
mod network;
mod random;
mod record;
mod restarts;
mod scripted_agent;
