//! The model host: serves one TorchScript model with libtorch.
//!
//! # Map
//! - Files to a module: [`artifact`] (what may be loaded), [`torch`] (the few lines of C++ and unsafe code).
//! - Running it: [`engine`] (workers, threads, batches), [`allocator`] (memory settings of the process).
//! - The door: [`payload`] and [`response`] (bodies to tensors and back), [`http`], [`oip`],
//!   [`server`] (listen, shut down), [`statistics`].
//! - Tools: [`reference`] (built-in models), [`inspect`], [`doctor`], [`bench_loop`].
//! - What a person touches: [`cli`].
//!
//! No libtorch type leaves the files [`torch`], [`engine`], [`reference`], [`inspect`], [`doctor`]
//! and [`bench_loop`]; [`tensor`] is what the door sees of a tensor.

pub mod artifact;
pub mod clock;
pub mod door;
pub mod engine;
pub mod http;
mod oip;
pub mod oip_grpc;
mod oip_http;
pub mod payload;
pub mod reference;
mod refusal;
mod request_body;
pub mod response;
pub mod sample;
pub mod server;
pub mod statistics;
pub mod tensor;
pub mod torch;
