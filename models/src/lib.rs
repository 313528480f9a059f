//! The model host: serves one TorchScript model with libtorch.
//!
//! # Map
//! - Files to a module: [`artifact`] (what may be loaded), [`torch`] (the few lines of C++ and unsafe code).
//! - Running it: [`engine`] (workers, threads, batches), [`process`] (memory settings, leaving).
//! - The front_end: [`front_end`], [`payload`] and [`response`] (bodies to tensors and back), [`http`], [`oip_grpc`],
//!   [`server`] (listen, shut down), [`statistics`].
//! - Tools: [`reference`] (built-in models), [`inspect`], [`compare`] (precision and graph against plain
//!   float32), [`doctor`], [`bench_loop`], [`sample`] (made-up inputs).
//! - What a person touches: [`cli`], [`failure`].
//!
//! No libtorch type leaves the files [`torch`], [`engine`], [`reference`], [`inspect`], [`doctor`]
//! and [`bench_loop`]; [`tensor`] is what the front_end sees of a tensor.

mod oip;
mod oip_http;
mod refusal;
mod request_body;

pub mod artifact;
mod bench_loop;
pub mod cli;
mod clock;
mod compare;
mod doctor;
pub mod engine;
mod failure;
mod front_end;
mod http;
mod inspect;
mod oip_grpc;
mod payload;
pub mod process;
pub mod reference;
mod response;
mod sample;
pub mod server;
mod statistics;
mod status;
pub mod tensor;
pub mod torch;
