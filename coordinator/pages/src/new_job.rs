//! A job to be put together: model, payload, candidates, constraints.

use std::time::Duration;

use askama::Template;
use assay_measure::{
    ids::Sha256,
    job::{Importance, JobSpec},
    units::Bytes,
};

use crate::{filters, frame::Frame, goals};

/// A model that the coordinator has already.
#[derive(Clone, Debug)]
pub struct KnownModel {
    pub sha256: Sha256,
    pub name: String,
    pub size: Bytes,
}

/// An instance type that connected agents offer.
#[derive(Clone, Debug)]
pub struct OfferedType {
    pub name: String,
    /// The agents, for people.
    pub agents: String,
    /// Dollars per hour, and as of when; absent without a price.
    pub price: Option<(f64, String)>,
    /// The price was true over a year ago.
    pub is_old: bool,
}

/// What was typed; empty is what was left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fields {
    pub name: String,
    /// The checksum of a model that the coordinator has.
    pub known_model: String,
    /// One declared input in each line.
    pub inputs: String,
    pub content_type: String,
    /// Of those that agents offer.
    pub types: Vec<String>,
    pub more_types: String,
    /// One constraint in each line.
    pub constraints: String,
    /// `quick` or `full`.
    pub mode: String,
    /// `cost=…,latency=…,throughput=…`; empty ranks by cost alone.
    pub goals: [String; 3],
    pub demand: String,
    pub headroom: String,
    pub max_duration: String,
}

impl Default for Fields {
    fn default() -> Self {
        Self {
            name: String::new(),
            known_model: String::new(),
            inputs: String::new(),
            content_type: String::new(),
            types: Vec::new(),
            more_types: String::new(),
            constraints: String::new(),
            mode: "full".to_owned(),
            goals: <_>::default(),
            demand: String::new(),
            headroom: "70".to_owned(),
            max_duration: "30m".to_owned(),
        }
    }
}

/// What would be measured.
#[derive(Clone, Debug)]
pub struct Preview {
    /// Instance types and configuration of each trial.
    pub trials: Vec<String>,
    /// Roughly how long all of it takes.
    pub expected: Duration,
    /// Roughly what the machines cost meanwhile, in dollars, where they are what they are measured as and have a price.
    pub usd: Option<f64>,
    pub warnings: Vec<String>,
    /// The job itself, to be shown for other clients.
    pub spec: Box<JobSpec>,
}

/// The form.
#[derive(Clone, Debug, Template)]
#[template(path = "new_job.html")]
pub struct NewJob {
    pub frame: Frame,
    pub fields: Fields,
    pub known: Vec<KnownModel>,
    pub types: Vec<OfferedType>,
    /// Why the job was not created, and what can be done about it; empty before anybody has tried.
    pub error: String,
    pub hint: String,
    pub preview: Option<Preview>,
}

impl NewJob {
    fn is_chosen(&self, offered: &OfferedType) -> bool {
        self.fields.types.contains(&offered.name)
    }

    /// Name, title and what was chosen of the three goals.
    fn goals(&self) -> [(&'static str, &'static str, &str); 3] {
        let [cost, latency, throughput] = goals::choices(None);
        let [chosen_cost, chosen_latency, chosen_throughput] = &self.fields.goals;
        [
            (cost.name, cost.title, chosen_cost),
            (latency.name, latency.title, chosen_latency),
            (throughput.name, throughput.title, chosen_throughput),
        ]
    }
}
