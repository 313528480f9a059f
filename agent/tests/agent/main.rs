//! The agent against a coordinator made for tests and a model host without a model.
//!
//! Both sides are real: gRPC over loopback, child processes, control groups where they can be had.
//! Only the model is missing, so that no libtorch is needed here.

#![expect(
    clippy::unwrap_used,
    reason = "the helpers of these tests fail by panicking, as the tests do"
)]

mod batches;
mod confinement;
mod daemon;
mod endpoints;
mod fetching;
mod leftovers;
mod program;
mod stepped;
mod support;
mod trials;
