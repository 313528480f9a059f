//! Amazon SageMaker's Inference Recommender API, as far as it can be decided without doing anything:
//! shapes, validation, names, and what becomes of our results in its words.
//!
//! Nothing in this crate reads a clock, opens a file or a socket, or draws randomness. The server receives
//! and authenticates requests, performs what they ask and stores it.
//!
//! # Map
//! - A request: [`operation`] (which one), [`request`] (its typed content), [`shapes`] (every member).
//! - What is wrong with it: [`error`] (codes and bodies), [`schema`] (the table of limits),
//!   [`validation`] (a document against the table), [`checks`] (what holds between members),
//!   [`data_input_config`] (the one member that is a language of its own).
//! - What it asks for: [`traffic`] (users over time), [`environment`] (variables that drive our host).
//! - What it is called: [`arn`], [`naming`].
//! - What is answered: [`recommendations`], [`status`], [`scaling`]; with [`timestamp`] and [`wide_float`] on the wire.

pub mod arn;
pub mod checks;
pub mod data_input_config;
pub mod environment;
pub mod error;
pub mod naming;
pub mod operation;
pub mod recommendations;
pub mod request;
pub mod scaling;
pub mod schema;
pub mod service;
pub mod shapes;
pub mod status;
pub mod timestamp;
pub mod traffic;
pub mod validation;
pub mod wide_float;
