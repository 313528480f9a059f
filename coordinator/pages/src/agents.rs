//! The fleet.

use askama::Template;
use assay_measure::hardware::HostFacts;
use assay_planning::prices::PriceQuote;
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

/// Of an agent's page. Names hold nothing that a URL would read otherwise.
#[must_use]
pub fn agent_path(name: &str) -> String {
    format!("/agents/{name}")
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

/// One agent.
#[derive(Clone, Debug, Template)]
#[template(path = "agent.html")]
pub struct Agent {
    pub frame: Frame,
    pub row: AgentRow,
    /// Where the instance type is known from.
    pub type_source: String,
    pub labels: Vec<(String, String)>,
    /// Running servers that it may load.
    pub endpoints: Vec<String>,
    /// What its instance type costs, where that is known.
    pub quote: Option<PriceQuote>,
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
