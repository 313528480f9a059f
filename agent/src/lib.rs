//! The agent on a candidate machine: generates load, searches for capacity, samples hardware, runs trials.
//!
//! # Map
//! - Sending load: [`target`] (to whom), [`payload`] (what), [`load`] (when and how it went),
//!   [`capacity`] (which load next), [`report`] (what is printed).
//! - Running trials: [`daemon`] (the loop that owns the state), [`link`] (to the coordinator), [`runner`] (one trial), [`sandbox`] (how much the model gets), [`confinement`] (what it cannot do), [`model_host`], [`hardware`], [`artifact_cache`].
//! - This machine: [`identity`], [`doctor`]. The instrument's test of itself: [`calibrate`], [`known_server`].
//! - Time: [`clock`].

pub mod artifact_cache;
pub mod calibrate;
pub mod capacity;
pub mod clock;
pub mod confinement;
pub mod daemon;
pub mod doctor;
pub mod hardware;
pub mod identity;
pub mod known_server;
pub mod link;
pub mod load;
pub mod model_host;
mod owner;
pub mod payload;
pub mod report;
pub mod run;
pub mod runner;
pub mod sandbox;
pub mod target;
