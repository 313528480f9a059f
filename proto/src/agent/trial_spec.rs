//! What an agent is asked to do.

use std::num::NonZeroU32;

use assay_measure::{
    configuration::Configuration,
    environment::check_name,
    hardware::Shape,
    load_profile::{LoadProfile, Recording},
    schedule::{Arrivals, Load, Phase},
    search::SearchPlan,
    stepped_load::{SteppedLoad, StoppingConditions},
    trial::{ArtifactRef, Payload, ServedModel, TrialSpec, TrialSubject, Work},
    units::{Bytes, Rate},
};

use super::{
    Malformed, all, duration, finite, micros, optional, parse, parse_all, required, texts,
};
use crate::v1;

impl From<TrialSpec> for v1::TrialSpec {
    fn from(spec: TrialSpec) -> Self {
        let (served, endpoint) = match spec.subject {
            TrialSubject::Served(served) => (Some(served), None),
            TrialSubject::Endpoint { endpoint } => (None, Some(endpoint.to_string())),
        };
        Self {
            id: spec.id.to_string(),
            instance_type: spec.instance_type.to_string(),
            emulated: served.as_ref().and_then(|served| served.emulated).map(Into::into),
            ready_within_us: served.as_ref().map_or(0, |served| micros(served.ready_within)),
            configuration: served.as_ref().map(|served| served.configuration.clone().into()),
            model: served.map(|served| served.model.into()),
            endpoint,
            payload: Some(spec.payload.into()),
            inputs: texts(&spec.inputs),
            work: Some(match spec.work {
                Work::Search(plan) => v1::trial_spec::Work::Search(plan.into()),
                Work::Load(LoadProfile::Phases(phases)) => {
                    v1::trial_spec::Work::Fixed(fixed_load(phases))
                }
                Work::Load(LoadProfile::Stepped(load)) => {
                    v1::trial_spec::Work::Stepped(load.into())
                }
                Work::Load(LoadProfile::Recorded(recording)) => {
                    v1::trial_spec::Work::Recorded(recording.into())
                }
            }),
            request_timeout_us: micros(spec.request_timeout),
        }
    }
}

impl TryFrom<v1::TrialSpec> for TrialSpec {
    type Error = Malformed;
    fn try_from(wire: v1::TrialSpec) -> Result<Self, Malformed> {
        let work = match wire.work.ok_or_else(|| Malformed::missing("work"))? {
            v1::trial_spec::Work::Search(plan) => Work::Search(plan.try_into()?),
            v1::trial_spec::Work::Fixed(load) => Work::Load(LoadProfile::Phases(phases(load)?)),
            v1::trial_spec::Work::Stepped(load) => {
                Work::Load(LoadProfile::Stepped(load.try_into()?))
            }
            v1::trial_spec::Work::Recorded(load) => {
                Work::Load(LoadProfile::Recorded(load.try_into()?))
            }
        };
        let subject = match &wire.endpoint {
            Some(name) => endpoint(name, &wire.model, &wire.configuration)?,
            None => TrialSubject::Served(ServedModel {
                emulated: optional("emulated", wire.emulated)?,
                configuration: required("configuration", wire.configuration)?,
                model: required("model", wire.model)?,
                ready_within: duration("ready_within_us", wire.ready_within_us)?,
            }),
        };
        Ok(Self {
            id: parse("id", &wire.id)?,
            instance_type: parse("instance_type", &wire.instance_type)?,
            subject,
            payload: required("payload", wire.payload)?,
            inputs: parse_all("inputs", &wire.inputs)?,
            work,
            request_timeout: duration("request_timeout_us", wire.request_timeout_us)?,
        })
    }
}

fn endpoint(
    name: &str,
    model: &Option<v1::ArtifactRef>,
    configuration: &Option<v1::Configuration>,
) -> Result<TrialSubject, Malformed> {
    if model.is_some() || configuration.is_some() {
        return Err(Malformed::new("endpoint", "cannot be measured together with a model"));
    }
    Ok(TrialSubject::Endpoint { endpoint: parse("endpoint", name)? })
}

pub(crate) fn fixed_load(phases: Vec<Phase>) -> v1::FixedLoad {
    v1::FixedLoad { phases: phases.into_iter().map(Into::into).collect() }
}

pub(crate) fn phases(load: v1::FixedLoad) -> Result<Vec<Phase>, Malformed> {
    if load.phases.is_empty() {
        return Err(Malformed::missing("phases"));
    }
    all("phases", load.phases)
}

impl From<Recording> for v1::RecordedLoad {
    fn from(recording: Recording) -> Self {
        Self {
            artifact: Some(recording.artifact.into()),
            arrivals: recording.arrivals,
            duration_us: micros(recording.duration),
        }
    }
}

impl TryFrom<v1::RecordedLoad> for Recording {
    type Error = Malformed;
    fn try_from(wire: v1::RecordedLoad) -> Result<Self, Malformed> {
        if wire.arrivals == 0 || wire.duration_us == 0 {
            return Err(Malformed::new("recorded_load", "holds no arrivals"));
        }
        Ok(Self {
            artifact: required("artifact", wire.artifact)?,
            arrivals: wire.arrivals,
            duration: duration("duration_us", wire.duration_us)?,
        })
    }
}

impl From<SteppedLoad> for v1::SteppedLoad {
    fn from(load: SteppedLoad) -> Self {
        Self {
            phases: load.phases().iter().cloned().map(Into::into).collect(),
            stopping: Some(load.stopping().clone().into()),
        }
    }
}

impl TryFrom<v1::SteppedLoad> for SteppedLoad {
    type Error = Malformed;
    fn try_from(wire: v1::SteppedLoad) -> Result<Self, Malformed> {
        let phases = all("phases", wire.phases)?;
        Self::new(phases, required("stopping", wire.stopping)?)
            .map_err(|error| Malformed::new("stepped", error))
    }
}

impl From<StoppingConditions> for v1::StoppingConditions {
    fn from(stopping: StoppingConditions) -> Self {
        Self {
            max_invocations_per_s: stopping.max_invocations.map(Rate::as_per_second),
            latency: texts(&stopping.latency),
            flat_invocations: stopping.flat_invocations.to_string(),
            max_error_share: stopping.max_error_share,
        }
    }
}

impl TryFrom<v1::StoppingConditions> for StoppingConditions {
    type Error = Malformed;
    fn try_from(wire: v1::StoppingConditions) -> Result<Self, Malformed> {
        let invocations = |per_second| rate("max_invocations_per_s", per_second);
        Ok(Self {
            max_invocations: wire.max_invocations_per_s.map(invocations).transpose()?,
            latency: parse_all("latency", &wire.latency)?,
            flat_invocations: parse("flat_invocations", &wire.flat_invocations)?,
            max_error_share: finite("max_error_share", wire.max_error_share)?,
        })
    }
}

impl From<SearchPlan> for v1::SearchPlan {
    fn from(plan: SearchPlan) -> Self {
        Self {
            constraints: texts(&plan.constraints),
            mode: plan.mode.to_string(),
            seed: plan.seed,
            max_duration_us: micros(plan.max_duration),
            soak_us: plan.soak.map(micros),
            skip_thermal_check: plan.skip_thermal_check,
            max_error_share: plan.max_error_share,
        }
    }
}

impl TryFrom<v1::SearchPlan> for SearchPlan {
    type Error = Malformed;
    fn try_from(wire: v1::SearchPlan) -> Result<Self, Malformed> {
        if !(0.0..=1.0).contains(&wire.max_error_share) {
            return Err(Malformed::new("max_error_share", "must lie between 0 and 1"));
        }
        Ok(Self {
            constraints: parse_all("constraints", &wire.constraints)?,
            mode: parse("mode", &wire.mode)?,
            seed: wire.seed,
            max_duration: duration("max_duration_us", wire.max_duration_us)?,
            soak: wire.soak_us.map(|us| duration("soak_us", us)).transpose()?,
            skip_thermal_check: wire.skip_thermal_check,
            max_error_share: wire.max_error_share,
        })
    }
}

impl From<Phase> for v1::Phase {
    fn from(phase: Phase) -> Self {
        Self { load: Some(phase.load.into()), duration_us: micros(phase.duration) }
    }
}

impl TryFrom<v1::Phase> for Phase {
    type Error = Malformed;
    fn try_from(wire: v1::Phase) -> Result<Self, Malformed> {
        Ok(Self {
            load: required("load", wire.load)?,
            duration: duration("duration_us", wire.duration_us)?,
        })
    }
}

impl From<Load> for v1::Load {
    fn from(load: Load) -> Self {
        let load = match load {
            Load::Closed { users } => v1::load::Load::Closed(v1::ClosedLoad { users }),
            Load::Open { rate, arrivals, seed } => v1::load::Load::Open(v1::OpenLoad {
                rate_per_s: rate.as_per_second(),
                arrivals: arrivals_word(arrivals).to_owned(),
                seed,
            }),
            Load::Replay { at_us } => v1::load::Load::Replay(v1::ReplayLoad { at_us }),
        };
        Self { load: Some(load) }
    }
}

impl TryFrom<v1::Load> for Load {
    type Error = Malformed;
    fn try_from(wire: v1::Load) -> Result<Self, Malformed> {
        match wire.load.ok_or_else(|| Malformed::missing("load"))? {
            v1::load::Load::Closed(v1::ClosedLoad { users: 0 }) => {
                Err(Malformed::new("users", "must be at least 1"))
            }
            v1::load::Load::Closed(v1::ClosedLoad { users }) => Ok(Self::Closed { users }),
            v1::load::Load::Open(open) => Ok(Self::Open {
                rate: rate("rate_per_s", open.rate_per_s)?,
                arrivals: match open.arrivals.as_str() {
                    "poisson" => Arrivals::Poisson,
                    "constant" => Arrivals::Constant,
                    other => {
                        return Err(Malformed::new("arrivals", format!("unknown word {other:?}")));
                    }
                },
                seed: open.seed,
            }),
            v1::load::Load::Replay(replay) if replay.at_us.is_sorted() => {
                Ok(Self::Replay { at_us: replay.at_us })
            }
            v1::load::Load::Replay(_) => Err(Malformed::new("at_us", "must ascend")),
        }
    }
}

const fn arrivals_word(arrivals: Arrivals) -> &'static str {
    match arrivals {
        Arrivals::Poisson => "poisson",
        Arrivals::Constant => "constant",
    }
}

pub(crate) fn rate(field: &'static str, per_second: f64) -> Result<Rate, Malformed> {
    Rate::per_second(finite(field, per_second)?).map_err(|error| Malformed::new(field, error))
}

impl From<Shape> for v1::Shape {
    fn from(shape: Shape) -> Self {
        Self { vcpus: shape.vcpus, memory_bytes: shape.memory_bytes.count() }
    }
}

impl TryFrom<v1::Shape> for Shape {
    type Error = Malformed;
    fn try_from(wire: v1::Shape) -> Result<Self, Malformed> {
        if wire.vcpus == 0 || wire.memory_bytes == 0 {
            return Err(Malformed::new("shape", "needs at least one vCPU and some memory"));
        }
        Ok(Self { vcpus: wire.vcpus, memory_bytes: Bytes::new(wire.memory_bytes) })
    }
}

impl From<ArtifactRef> for v1::ArtifactRef {
    fn from(artifact: ArtifactRef) -> Self {
        Self {
            name: artifact.name,
            sha256: artifact.sha256.to_string(),
            size_bytes: artifact.size_bytes.count(),
        }
    }
}

impl TryFrom<v1::ArtifactRef> for ArtifactRef {
    type Error = Malformed;
    fn try_from(wire: v1::ArtifactRef) -> Result<Self, Malformed> {
        let hostile = |c: char| c == '/' || c == '\\' || c.is_control();
        if wire.name.is_empty() || wire.name.len() > 255 || wire.name.contains(hostile) {
            return Err(Malformed::new("name", "must be a plain file name of 1 to 255 bytes"));
        }
        Ok(Self {
            name: wire.name,
            sha256: parse("sha256", &wire.sha256)?,
            size_bytes: Bytes::new(wire.size_bytes),
        })
    }
}

impl From<Payload> for v1::Payload {
    fn from(payload: Payload) -> Self {
        Self {
            artifact: Some(payload.artifact.into()),
            is_archive: payload.is_archive,
            content_type: payload.content_type,
        }
    }
}

impl TryFrom<v1::Payload> for Payload {
    type Error = Malformed;
    fn try_from(wire: v1::Payload) -> Result<Self, Malformed> {
        let printable = |c: char| (' '..='~').contains(&c);
        let content_type = wire.content_type;
        if content_type.is_empty()
            || content_type.len() > 255
            || !content_type.chars().all(printable)
        {
            return Err(Malformed::new(
                "content_type",
                "must be 1 to 255 printable ASCII characters",
            ));
        }
        Ok(Self {
            artifact: required("artifact", wire.artifact)?,
            is_archive: wire.is_archive,
            content_type,
        })
    }
}

impl From<Configuration> for v1::Configuration {
    fn from(configuration: Configuration) -> Self {
        Self {
            workers: configuration.workers.get(),
            intra_op_threads: configuration.intra_op_threads.get(),
            max_batch: configuration.max_batch.get(),
            max_batch_delay_us: configuration.max_batch_delay_us,
            device: configuration.device.to_string(),
            dtype: configuration.dtype.to_string(),
            graph: configuration.graph.to_string(),
            allocator: configuration.allocator.to_string(),
            environment: configuration.environment.into_iter().collect(),
        }
    }
}

impl TryFrom<v1::Configuration> for Configuration {
    type Error = Malformed;
    fn try_from(wire: v1::Configuration) -> Result<Self, Malformed> {
        for (name, value) in &wire.environment {
            check_name(name).map_err(|error| Malformed::new("environment", error))?;
            if value.contains('\0') {
                return Err(Malformed::new(
                    "environment",
                    format!("the value of {name} ends early"),
                ));
            }
        }
        Ok(Self {
            workers: at_least_one("workers", wire.workers)?,
            intra_op_threads: at_least_one("intra_op_threads", wire.intra_op_threads)?,
            max_batch: at_least_one("max_batch", wire.max_batch)?,
            max_batch_delay_us: wire.max_batch_delay_us,
            device: parse("device", &wire.device)?,
            dtype: parse("dtype", &wire.dtype)?,
            graph: parse("graph", &wire.graph)?,
            allocator: parse("allocator", &wire.allocator)?,
            environment: wire.environment.into_iter().collect(),
        })
    }
}

pub(crate) fn at_least_one(field: &'static str, count: u32) -> Result<NonZeroU32, Malformed> {
    NonZeroU32::new(count).ok_or_else(|| Malformed::new(field, "must be at least 1"))
}
