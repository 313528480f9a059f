//! The fleet.

use askama::Template;
use assay_measure::hardware::HostFacts;
use jiff::Timestamp;

use crate::{filters, frame::Frame};

/// One agent.
#[derive(Clone, Debug)]
pub struct AgentRow {
    pub name: String,
    pub connected: bool,
    /// It takes nothing new.
    pub draining: bool,
    pub instance_type: String,
    /// Other instance types may be emulated on it.
    pub emulates: bool,
    pub host: HostFacts,
    /// The path and the name of the trial that it runs.
    pub running: Option<(String, String)>,
    pub last_seen_at: Timestamp,
    pub version: String,
}

impl AgentRow {
    const fn state(&self) -> &'static str {
        match (self.connected, self.draining, self.running.is_some()) {
            (false, _, _) => "lost",
            (true, true, _) => "draining",
            (true, false, true) => "busy",
            (true, false, false) => "idle",
        }
    }

    const fn class(&self) -> &'static str {
        match (self.connected, self.draining) {
            (false, _) => "bad",
            (true, true) => "warn",
            (true, false) => "good",
        }
    }
}

/// All agents.
#[derive(Clone, Debug, Template)]
#[template(path = "agents.html")]
pub struct Agents {
    pub frame: Frame,
    pub rows: Vec<AgentRow>,
    /// The flags with which agents and clients reach this coordinator.
    pub reached_by: String,
}
