//! The coordinator: keeps jobs, hands trials to agents, and tells everybody what came of them.
//!
//! What is decided is decided by `assay-planning`; this crate performs it: one loop owns the state,
//! a store makes it durable, gRPC carries it, and so does the SageMaker API on the same port.
//!
//! # Map
//! - Starting and stopping: [`server`], [`settings`], [`start_error`]; [`data_dir`], [`tls`], [`tokens`], `connections`.
//! - State: `dispatch` (the loop), [`store`] (what survives), `artifacts` (files), [`archives`] (what is in them), [`sample_payload`] (made up), `job_files` (who needs them), `clock`.
//! - Vocabulary: `agent_link` (what agents and coordinator say), `job_event` (what watchers see).
//! - The pages: `web`, of what `assay-pages` renders; `exports` are a job's results as files, `bundle` is a job on its way to another coordinator.
//! - The APIs: `grpc` (services and their conversions), `sagemaker` (the API that AWS's clients speak); [`report_wire`] is for clients in Rust.

mod agent_link;
pub mod archives;
mod artifacts;
mod bundle;
mod clock;
mod connections;
pub mod data_dir;
mod dispatch;
mod exports;
mod grpc;
mod job_event;
mod job_files;
mod random;
pub mod report_wire;
mod sagemaker;
pub mod sample_payload;
pub mod server;
pub mod settings;
pub mod start_error;
pub mod store;
pub mod tls;
pub mod tokens;
mod web;

#[cfg(test)]
mod tests;
