//! The agent against a coordinator made for tests and a model host without a model.
//!
//! Both sides are real: gRPC over loopback, child processes, control groups where they can be had.
//! Only the model is missing, so that no libtorch is needed here.

mod daemon;
mod program;
mod support;
mod trials;
