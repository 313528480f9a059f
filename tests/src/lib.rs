//! What the suites share: real binaries, child processes that never outlive a test, agents of known
//! figures, Python, waiting.
//!
//! Knows nothing about what is tested. Errors are panics with the whole story: this code runs in
//! tests only.
//!
//! # Map
//! - [`agent_stream`], [`known_agent`], [`known_figures`]: agents that measure nothing.
//! - [`binaries`]: where `assay`, `assay-agent` and `assay-host` are; builds them when nobody has.
//! - [`mod@browser`]: Chromium, and a Python that drives it.
//! - [`child`]: a started process, its output, its end.
//! - [`python`]: an interpreter with the packages that the conformance suite needs.
//! - [`wait`]: waiting for a level, with a limit.

pub mod agent_stream;
pub mod binaries;
pub mod browser;
pub mod child;
pub mod known_agent;
pub mod known_figures;
pub mod python;
pub mod wait;
mod workspace;
