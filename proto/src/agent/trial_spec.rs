//! What an agent is asked to do.

use assay_measure::{
    configuration::Configuration,
    environment::check_name,
    hardware::Shape,
    load_profile::{LoadProfile, Recording},
    schedule::{Arrivals, Load, Phase},
    search::SearchPlan,
    stepped_load::{SteppedLoad, StoppingConditions},
    trial::{ArtifactRef, Payload, ServedModel, TrialSpec, TrialSubject, Work},
};

use super::{Malformed, all, duration, micros, optional, parse, parse_all, required, texts};
use crate::{
    fields::{known, rate, same_fields},
    v1,
};

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

same_fields!(
    StoppingConditions { latency, flat_invocations, max_error_share }
    otherwise { max_invocations = max_invocations_per_s }
);

same_fields!(
    SearchPlan { constraints, mode, seed, skip_thermal_check, max_error_share }
    otherwise { max_duration = max_duration_us, soak = soak_us }
    check allows_a_share_of_errors
);

fn allows_a_share_of_errors(wire: &v1::SearchPlan) -> Result<(), Malformed> {
    if !(0.0..=1.0).contains(&wire.max_error_share) {
        return Err(Malformed::new("max_error_share", "must lie between 0 and 1"));
    }
    Ok(())
}

same_fields!(Phase {} otherwise { duration = duration_us } required { load });

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
                arrivals: known("arrivals", &open.arrivals, &ARRIVALS, arrivals_word)?,
                seed: open.seed,
            }),
            v1::load::Load::Replay(replay) if replay.at_us.is_sorted() => {
                Ok(Self::Replay { at_us: replay.at_us })
            }
            v1::load::Load::Replay(_) => Err(Malformed::new("at_us", "must ascend")),
        }
    }
}

const ARRIVALS: [Arrivals; 2] = [Arrivals::Poisson, Arrivals::Constant];

const fn arrivals_word(arrivals: Arrivals) -> &'static str {
    match arrivals {
        Arrivals::Poisson => "poisson",
        Arrivals::Constant => "constant",
    }
}

same_fields!(Shape { vcpus, memory_bytes } check has_processors_and_memory);

fn has_processors_and_memory(wire: &v1::Shape) -> Result<(), Malformed> {
    if wire.vcpus == 0 || wire.memory_bytes == 0 {
        return Err(Malformed::new("shape", "needs at least one vCPU and some memory"));
    }
    Ok(())
}

same_fields!(ArtifactRef { name, sha256, size_bytes } check has_a_plain_name);

fn has_a_plain_name(wire: &v1::ArtifactRef) -> Result<(), Malformed> {
    let hostile = |c: char| c == '/' || c == '\\' || c.is_control();
    if wire.name.is_empty() || wire.name.len() > 255 || wire.name.contains(hostile) {
        return Err(Malformed::new("name", "must be a plain file name of 1 to 255 bytes"));
    }
    Ok(())
}

same_fields!(
    Payload { is_archive, content_type }
    required { artifact }
    check has_a_printable_type
);

fn has_a_printable_type(wire: &v1::Payload) -> Result<(), Malformed> {
    let printable = |c: char| (' '..='~').contains(&c);
    if !(1..=255).contains(&wire.content_type.len()) || !wire.content_type.chars().all(printable) {
        return Err(Malformed::new("content_type", "must be 1 to 255 printable ASCII characters"));
    }
    Ok(())
}

same_fields!(
    Configuration {
        workers, intra_op_threads, max_batch, max_batch_delay_us,
        device, dtype, graph, allocator, environment,
    }
    check names_variables
);

fn names_variables(wire: &v1::Configuration) -> Result<(), Malformed> {
    for (name, value) in &wire.environment {
        check_name(name).map_err(|error| Malformed::new("environment", error))?;
        if value.contains('\0') {
            return Err(Malformed::new("environment", format!("the value of {name} ends early")));
        }
    }
    Ok(())
}
