//! The coordinator as agents and clients see it: over gRPC, in one process, on a free port.

mod agents;
mod artifacts;
pub(crate) mod aws;
mod aws_jobs;
mod exports;
mod forms;
mod http;
mod jobs;
mod limits;
mod pages;
mod restart;
mod starting;
mod store_lost;
pub(crate) mod support;
mod waiting;
mod watching;
