//! The pure core of Assay: what is measured, how it is measured, and when it can be believed.
//!
//! Nothing in this crate reads a clock, opens a file or a socket, or draws randomness that was not
//! passed in. The agent performs what is decided here; the coordinator stores and ranks it.
//!
//! # Map
//! - Vocabulary: [`units`], [`money`], [`ids`], [`configuration`], [`environment`], [`input_spec`], [`slo`].
//! - What is sent: [`payload_file`] (what it may be), [`stray_file`] (what is never taken), [`npy`]. What is told when
//!   something fails: [`failure_text`]; text from elsewhere, fit for people: [`printable`]; figures as people read them: [`figures`].
//! - One job: [`job`]. One trial: [`trial`] (what is asked), [`outcome`] (what came of it), [`hardware`] (where).
//! - Measuring: [`schedule`] (when to send), [`latency`] and [`statistics`] (what it took),
//!   [`search`] (which load next), [`load_profile`] and [`stepped_load`] (loads that the user fixes, and when one has shown enough), [`validity`] (can it be believed), [`batch_log`] (how a server tells its batches), [`host_status`] (how a model host tells its start), [`known_queue`] (what a
//!   search must find).

#![warn(missing_docs)]

pub mod artifact;
pub mod batch_log;
pub mod bounded_text;
pub mod configuration;
pub mod environment;
pub mod failure_text;
pub mod figures;
pub mod hardware;
pub mod host_status;
pub mod ids;
pub mod input_spec;
pub mod job;
pub mod known_queue;
pub mod latency;
pub mod load_profile;
pub mod money;
pub mod npy;
pub mod outcome;
pub mod payload_file;
pub mod printable;
pub mod schedule;
pub mod search;
pub mod slo;
pub mod statistics;
pub mod stepped_load;
pub mod stray_file;
pub mod trial;
pub mod units;
pub mod validity;
