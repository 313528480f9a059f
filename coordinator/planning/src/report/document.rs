//! The `assay.job/1` document. A measurement that is missing is absent, never zero, null or NaN. Additions are
//! allowed, renames are not; `schema/assay.job.1.schema.json` is the contract.

use assay_measure::{
    hardware::{GpuFacts, GpuUtilization, Utilization},
    outcome::TrialResult,
    units::Bytes,
};
use serde::{Serialize, Serializer, ser::SerializeMap};

use super::{Entry, JobReport};
use crate::prices::PriceQuote;

/// The name and version of the document.
pub const SCHEMA: &str = "assay.job/1";

impl Serialize for JobReport {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut job = Members(serializer.serialize_map(None)?);
        job.put("schema", SCHEMA)?;
        job.put("name", &self.name)?;
        job.put("status", &self.status)?;
        job.put("created_at", &self.created_at)?;
        job.put_some("finished_at", self.finished_at.as_ref())?;
        job.put_some("model", self.model.as_ref())?;
        job.put_some("endpoint", self.endpoint.as_ref())?;
        job.put_some("ready_timeout_s", self.ready_timeout.map(|within| within.as_secs_f64()))?;
        job.put_some("goals", self.goals.as_ref())?;
        job.put("constraints", &self.constraints)?;
        job.put("ranked_by", &self.ranked_by)?;
        job.put("progress", &self.progress)?;
        job.put("ranking", &self.ranking)?;
        job.put("rejected", &self.rejected)?;
        job.put("failed", &self.failed)?;
        job.put("recommendation", &self.recommendation())?;
        job.put_some("no_recommendation_reason", self.no_recommendation_reason.as_ref())?;
        job.put("warnings", &self.warnings)?;
        job.end()
    }
}

impl Serialize for Entry {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut entry = Members(serializer.serialize_map(None)?);
        entry.put_some("rank", self.rank)?;
        entry.put_some("score", self.score)?;
        entry.put_some("score_ci95", self.score_ci95)?;
        entry.put("tied_with", &self.tied_with)?;
        entry.put("instance_type", &self.instance_type)?;
        entry.put_some("trial", self.trial.as_ref())?;
        entry.put("emulated", &self.emulated)?;
        entry.put("shared_trial_with", &self.shared_trial_with)?;
        entry.put("instance_count", &self.instance_count)?;
        entry.put_some("configuration", self.configuration.as_ref())?;
        entry.put_some("endpoint", self.endpoint.as_ref())?;
        entry.put_some("price", self.price.as_ref().map(Price::from))?;
        entry.put_some("cost_per_hour_usd", self.cost_per_hour_usd)?;
        entry.put_some("cost_per_inference_usd", self.cost_per_inference_usd)?;
        entry.put_some("cost_per_inference_ci95", self.cost_per_inference_ci95)?;
        entry.put_some("cost_per_million_usd", self.cost_per_million_usd)?;
        entry.put_some("max_invocations_per_min", self.max_invocations_per_min)?;
        entry.put_some("max_invocations_ci95", self.max_invocations_ci95)?;
        entry.put_some("memory_utilization_pct", self.memory_utilization_pct)?;
        entry.put_some("sizing", self.sizing.as_ref())?;
        entry.put("mode", &self.mode)?;
        entry.put("seed", &self.seed)?;
        entry.put("meets", &self.meets)?;
        entry.put_some("reason", self.reason.as_ref())?;
        entry.put_some("detail", self.detail.as_ref())?;
        entry.put_some("failure_kind", self.failure_kind)?;
        entry.put("steps", &self.steps)?;
        entry.put_some("validity", self.validity.as_ref())?;
        entry.put("warnings", &self.warnings)?;
        match self.result.as_deref() {
            Some(result) => measured(&mut entry, self, result)?,
            None => entry.put("limits_in_force", &[(); 0])?,
        }
        entry.end()
    }
}

/// What was measured stands beside what follows from it.
fn measured<M: SerializeMap>(
    entry: &mut Members<M>,
    of: &Entry,
    result: &TrialResult,
) -> Result<(), M::Error> {
    let answer = result.answer.as_ref();
    entry.put("host", &result.host)?;
    entry.put("limits_in_force", &result.limits_in_force)?;
    entry.put_some("plateau_invocations_per_min", of.plateau_invocations_per_min())?;
    entry.put_some("limited_by", answer.map(|answer| answer.limited_by))?;
    entry.put_some("stopped_by", result.stopped_by)?;
    entry.put_some("latency_us", of.latency())?;
    entry.put_some("cpu_utilization_pct", of.cpu_utilization_pct())?;
    entry.put_some("machine", machine(&result.utilization))?;
    let gpus: Vec<Gpu<'_>> =
        result.utilization.gpus.iter().map(|gpu| Gpu::of(gpu, &result.host.gpus)).collect();
    entry.put_some("gpu", Some(gpus).filter(|gpus| !gpus.is_empty()))?;
    entry.put_some("energy_j_per_inference", result.energy_j_per_inference)?;
    entry.put_some("output_deviation", result.output_deviation.as_ref())?;
    entry.put("harness", &result.harness)
}

/// The counters of a machine that was sampled; its shares and GPUs stand beside them.
fn machine(sampled: &Utilization) -> Option<Utilization> {
    (sampled.samples > 0).then(|| Utilization {
        cpu_pct: None,
        memory_pct: None,
        gpus: Vec::new(),
        ..sampled.clone()
    })
}

#[derive(Serialize)]
struct Price<'a> {
    usd_per_hour: f64,
    region: &'a str,
    source: &'a str,
    as_of: &'a str,
    estimate: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<&'a str>,
}

impl<'a> From<&'a PriceQuote> for Price<'a> {
    fn from(quote: &'a PriceQuote) -> Self {
        Self {
            usd_per_hour: quote.usd_per_hour.as_usd(),
            region: &quote.region,
            source: &quote.source,
            as_of: &quote.as_of,
            estimate: quote.estimate,
            note: quote.note.as_deref(),
        }
    }
}

/// How busy a GPU was, with what is known of it.
#[derive(Serialize)]
struct Gpu<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    /// Memory in use, as a share of all.
    #[serde(skip_serializing_if = "Option::is_none")]
    memory_utilization_pct: Option<f64>,
    #[serde(flatten)]
    busy: &'a GpuUtilization,
}

impl<'a> Gpu<'a> {
    fn of(busy: &'a GpuUtilization, known: &'a [GpuFacts]) -> Self {
        let facts = known.iter().find(|gpu| gpu.index == busy.index);
        let memory = facts.map(|gpu| gpu.memory_bytes.count()).filter(|bytes| *bytes > 0);
        let used = busy.memory_used_bytes.map(Bytes::count);
        let share = |(used, all): (u64, u64)| 100.0 * used as f64 / all as f64;
        Self {
            name: facts.map(|gpu| gpu.name.as_str()),
            memory_utilization_pct: used.zip(memory).map(share),
            busy,
        }
    }
}

/// The members of an object.
struct Members<M>(M);

impl<M: SerializeMap> Members<M> {
    fn put<T: Serialize + ?Sized>(
        &mut self,
        name: &'static str,
        value: &T,
    ) -> Result<(), M::Error> {
        self.0.serialize_entry(name, value)
    }

    /// What is absent has no member.
    fn put_some<T: Serialize>(
        &mut self,
        name: &'static str,
        value: Option<T>,
    ) -> Result<(), M::Error> {
        value.map_or(Ok(()), |value| self.put(name, &value))
    }

    fn end(self) -> Result<M::Ok, M::Error> {
        self.0.end()
    }
}
