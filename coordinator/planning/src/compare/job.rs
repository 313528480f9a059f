//! A job as it is compared: what the comparison needs of an `assay.job/1` document, wherever that comes from.

use std::collections::BTreeSet;

use assay_measure::{configuration::Configuration, search::Purpose};
use serde::Deserialize;
use thiserror::Error;

use super::Difference;
use crate::report::{self, JobReport};

/// What the comparison needs of a job.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct ComparedJob {
    schema: String,
    pub name: String,
    model: Option<Model>,
    #[serde(default)]
    endpoint: Option<String>,
    constraints: Vec<String>,
    ranking: Vec<ComparedCandidate>,
    rejected: Vec<ComparedCandidate>,
    failed: Vec<ComparedCandidate>,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
struct Model {
    name: String,
    sha256: String,
}

/// A candidate of one of the jobs.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct ComparedCandidate {
    instance_type: String,
    #[serde(default)]
    emulated: bool,
    configuration: Option<Configuration>,
    endpoint: Option<String>,
    price: Option<Price>,
    host: Option<Host>,
    mode: String,
    pub(super) cost_per_inference_usd: Option<f64>,
    pub(super) cost_per_inference_ci95: Option<[f64; 2]>,
    pub(super) max_invocations_per_min: Option<f64>,
    pub(super) max_invocations_ci95: Option<[f64; 2]>,
    pub(super) plateau_invocations_per_min: Option<f64>,
    pub(super) latency_us: Option<Latency>,
    pub(super) reason: Option<String>,
    pub(super) steps: Vec<Step>,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
struct Price {
    usd_per_hour: f64,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
struct Host {
    cpu_model: String,
    vcpus: u32,
}

/// Percentiles in microseconds.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub(super) struct Latency {
    pub(super) p50: f64,
    pub(super) p95: f64,
    pub(super) p99: f64,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
pub(super) struct Step {
    pub(super) purpose: Purpose,
    /// In open loop.
    pub(super) offered_per_min: Option<f64>,
    pub(super) latency_us: Option<Latency>,
}

/// The text is no `assay.job/1` document.
#[derive(Debug, Error)]
pub enum NotAJob {
    #[error("it is no assay.job/1 document")]
    Unreadable(#[from] serde_json::Error),
    #[error("it is of the kind {0:?}, not assay.job/1")]
    OtherSchema(String),
}

impl ComparedJob {
    /// Reads what `assay export --format json` wrote.
    ///
    /// # Errors
    /// [`NotAJob`] for anything else.
    pub fn read(document: &str) -> Result<Self, NotAJob> {
        #[derive(Deserialize)]
        struct Kind {
            schema: Option<String>,
        }
        let kind: Kind = serde_json::from_str(document)?;
        match kind.schema.as_deref() {
            Some(report::SCHEMA) => Ok(serde_json::from_str(document)?),
            other => Err(NotAJob::OtherSchema(other.unwrap_or_default().to_owned())),
        }
    }

    /// The same of a report that was asked for.
    ///
    /// # Errors
    /// None that a report can cause.
    pub fn of(report: &JobReport) -> Result<Self, NotAJob> {
        Ok(serde_json::from_value(serde_json::to_value(report)?)?)
    }

    fn all(&self) -> impl Iterator<Item = &ComparedCandidate> {
        self.ranking.iter().chain(&self.rejected).chain(&self.failed)
    }

    /// Those with figures that can be believed.
    pub(super) fn measured(&self) -> impl Iterator<Item = &ComparedCandidate> {
        let ranked_or_rejected = self.ranking.iter().chain(&self.rejected);
        ranked_or_rejected.filter(|candidate| candidate.max_invocations_per_min.is_some())
    }

    /// The candidate of that key without such figures.
    pub(super) fn unmeasured(&self, key: &str) -> Option<&ComparedCandidate> {
        let measured = |one: &ComparedCandidate| self.measured().any(|two| two.key() == one.key());
        self.all().find(|one| one.key() == key && !measured(one))
    }
}

impl ComparedCandidate {
    /// What makes two candidates the same: type and configuration, or endpoint.
    pub(super) fn key(&self) -> String {
        let serving = match (&self.configuration, &self.endpoint) {
            (Some(configuration), _) => configuration.to_string(),
            (None, Some(endpoint)) => format!("endpoint {endpoint}"),
            (None, None) => return self.instance_type.clone(),
        };
        format!("{} {serving}", self.instance_type)
    }

    fn machine(&self) -> Option<String> {
        let host = self.host.as_ref()?;
        let emulated = if self.emulated { ", emulated" } else { "" };
        Some(format!("{}, {} vCPU{emulated}", host.cpu_model.trim(), host.vcpus))
    }
}

/// What is not the same in both, in the order in which it matters.
pub(super) fn differences(base: &ComparedJob, new: &ComparedJob) -> Vec<Difference> {
    let both = base
        .measured()
        .filter_map(|one| Some((one, new.measured().find(|other| other.key() == one.key())?)));
    let (of_base, of_new): (Vec<_>, Vec<_>) = both.unzip();
    let each = |of: &[&ComparedCandidate], say: &dyn Fn(&ComparedCandidate) -> Option<String>| {
        let said: BTreeSet<String> = of.iter().filter_map(|one| say(one)).collect();
        Vec::from_iter(said).join("; ")
    };
    let model = |job: &ComparedJob| {
        job.model.as_ref().map_or_else(String::new, |model| {
            format!("{} sha256:{}", model.name, model.sha256.get(..12).unwrap_or(&model.sha256))
        })
    };
    let load = |one: &ComparedCandidate| {
        let fixed = one.steps.iter().any(|step| step.purpose == Purpose::Fixed);
        Some(if fixed { "fixed" } else { "search" }.to_owned())
    };
    let price = |one: &ComparedCandidate| {
        let price = one.price.as_ref()?;
        Some(format!("{} ${}/h", one.instance_type, price.usd_per_hour))
    };
    let mut found = Vec::new();
    let mut note = |field, base: String, new: String| {
        let said = |text: String| if text.is_empty() { "none".to_owned() } else { text };
        if base != new {
            found.push(Difference { field, base: said(base), new: said(new) });
        }
    };
    note("model", model(base), model(new));
    let endpoint = |job: &ComparedJob| job.endpoint.clone().unwrap_or_default();
    note("endpoint", endpoint(base), endpoint(new));
    note("constraints", base.constraints.join(", "), new.constraints.join(", "));
    note("load", each(&of_base, &load), each(&of_new, &load));
    let machine = ComparedCandidate::machine;
    note("machine", each(&of_base, &machine), each(&of_new, &machine));
    let mode = |one: &ComparedCandidate| Some(one.mode.clone());
    note("mode", each(&of_base, &mode), each(&of_new, &mode));
    note("price", each(&of_base, &price), each(&of_new, &price));
    found
}
