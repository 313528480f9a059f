//! The pure decisions of the coordinator: what to measure, where, what it costs, and what is best.
//!
//! Nothing in this crate reads a clock, opens a file or a socket, or draws randomness: `now` is an
//! argument (a [`jiff::Timestamp`]), lease tokens are passed in, and prices from files arrive as text.
//! The server performs what is decided here and stores it.
//!
//! # Map
//! - What is known: [`catalogue`] (instance types), [`prices`] (what they cost), [`price_file`] (an operator's own prices).
//! - Where it can run: [`fleet`]. What to run: [`planner`] over [`sweep`]; which trial next: [`dispatch`]; what a job
//!   waits for: [`waiting`].
//! - How it goes: [`job_state`], [`trial_state`], [`lease`].
//! - What it means: [`cost`], [`constraints`], [`ranking`], [`sizing`].
//! - What to do with it: [`fleet_mix`] (types together), [`snippet`] (ready to be used).
//! - What changed between two jobs: [`compare`].
//! - How it is told: [`report`] (the `assay.job/1` document, assembled by [`job_report`]), [`export`] (CSV, Markdown, JSON lines).

pub mod catalogue;
pub mod compare;
pub mod constraints;
pub mod cost;
pub mod dispatch;
pub mod export;
pub mod fleet;
pub mod fleet_mix;
pub mod goal_orders;
pub mod job_report;
pub mod job_state;
pub mod lease;
pub mod made_up_name;
pub mod out_of_time;
pub mod planner;
pub mod price_file;
pub mod prices;
mod quote;
pub mod ranking;
pub mod repeat;
pub mod report;
pub mod sizing;
pub mod snippet;
pub mod sweep;
pub mod trial_state;
pub mod waiting;

#[cfg(test)]
mod testing;
