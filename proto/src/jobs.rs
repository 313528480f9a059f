//! `jobs.proto` to and from the domain: what users ask for.

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use assay_measure::{
    environment::{BaseEnvironment, EnvironmentRanges},
    ids::EndpointName,
    job::{
        CandidateType, Demand, Goals, InferenceSpecification, JobSpec, JobStatus, JobSubject,
        ResourceLimits, Sweep,
    },
    load_profile::LoadProfile,
    money::PricePerHour,
    stepped_load::SteppedLoad,
};

use crate::{
    agent::{
        Malformed, all, duration, micros, optional, parse, parse_all, required, texts,
        trial_spec::{fixed_load, phases},
    },
    fields::{rate, same_fields},
    v1,
};

impl From<JobSpec> for v1::JobSpec {
    fn from(spec: JobSpec) -> Self {
        let (phases, stopping, recorded) = match spec.load.clone() {
            None => (None, None, None),
            Some(LoadProfile::Phases(phases)) => (Some(phases), None, None),
            Some(LoadProfile::Stepped(load)) => {
                (Some(load.phases().to_vec()), Some(load.stopping().clone()), None)
            }
            Some(LoadProfile::Recorded(recording)) => (None, None, Some(recording)),
        };
        Self {
            name: spec.name.to_string(),
            model: spec.model().cloned().map(Into::into),
            endpoint: spec.endpoint().map(ToString::to_string),
            payload: Some(spec.payload.into()),
            inputs: texts(&spec.inputs),
            environment: variables(spec.environment),
            instance_types: spec.instance_types.into_iter().map(Into::into).collect(),
            emulate: spec.emulate,
            sweep: Some(spec.sweep.into()),
            constraints: texts(&spec.constraints),
            goals: spec.goals.map(Into::into),
            mode: spec.mode.to_string(),
            seed: spec.seed,
            soak_us: spec.soak.map(micros),
            fixed_load: phases.map(fixed_load),
            stopping: stopping.map(Into::into),
            recorded_load: recorded.map(Into::into),
            limits: Some(spec.limits.into()),
            region: spec.region,
            demand: spec.demand.map(Into::into),
            max_duration_us: micros(spec.max_duration),
            ready_timeout_us: spec.ready_timeout.map(micros),
            price_overrides: spec
                .price_overrides
                .into_iter()
                .map(|(instance_type, price)| v1::PriceOverride {
                    instance_type: instance_type.to_string(),
                    pico_usd_per_hour: price.pico_usd(),
                })
                .collect(),
        }
    }
}

impl TryFrom<v1::JobSpec> for JobSpec {
    type Error = Malformed;
    fn try_from(wire: v1::JobSpec) -> Result<Self, Malformed> {
        let price_overrides = wire
            .price_overrides
            .iter()
            .map(|price| {
                let instance_type = parse("price_overrides", &price.instance_type)?;
                Ok((instance_type, PricePerHour::from_pico_usd(price.pico_usd_per_hour)))
            })
            .collect::<Result<_, Malformed>>()?;
        if wire.region.is_empty() || wire.region.len() > 64 {
            return Err(Malformed::new("region", "must have 1 to 64 characters"));
        }
        let ready_timeout = wire.ready_timeout_us.map(ready_timeout).transpose()?;
        let subject = subject(wire.model, wire.endpoint)?;
        if ready_timeout.is_some() && matches!(subject, JobSubject::Endpoint { .. }) {
            let reason = "is for a model that is served, and only an endpoint is measured";
            return Err(Malformed::new("ready_timeout_us", reason));
        }
        let load = load(wire.fixed_load, wire.stopping, wire.recorded_load)?;
        Ok(Self {
            name: parse("name", &wire.name)?,
            subject,
            payload: required("payload", wire.payload)?,
            inputs: parse_all("inputs", &wire.inputs)?,
            environment: base_environment(wire.environment)?,
            instance_types: all("instance_types", wire.instance_types)?,
            emulate: wire.emulate,
            sweep: wire.sweep.unwrap_or_default().try_into()?,
            constraints: parse_all("constraints", &wire.constraints)?,
            goals: optional("goals", wire.goals)?,
            mode: parse("mode", &wire.mode)?,
            seed: wire.seed,
            soak: wire.soak_us.map(|us| duration("soak_us", us)).transpose()?,
            load,
            limits: wire.limits.unwrap_or_default().try_into()?,
            region: wire.region,
            demand: optional("demand", wire.demand)?,
            max_duration: duration("max_duration_us", wire.max_duration_us)?,
            ready_timeout,
            price_overrides,
        })
    }
}

/// Phases alone, phases with conditions, a recording, or none of them.
fn load(
    fixed: Option<v1::FixedLoad>,
    stopping: Option<v1::StoppingConditions>,
    recorded: Option<v1::RecordedLoad>,
) -> Result<Option<LoadProfile>, Malformed> {
    if let Some(recorded) = recorded {
        if fixed.is_some() || stopping.is_some() {
            return Err(Malformed::new("recorded_load", "stands beside another load"));
        }
        return Ok(Some(LoadProfile::Recorded(recorded.try_into()?)));
    }
    let phases = fixed.map(phases).transpose()?;
    let Some(stopping) = stopping else { return Ok(phases.map(LoadProfile::Phases)) };
    let stepped = SteppedLoad::new(phases.unwrap_or_default(), stopping.try_into()?);
    stepped.map(LoadProfile::Stepped).map(Some).map_err(|error| Malformed::new("stopping", error))
}

fn ready_timeout(us: u64) -> Result<Duration, Malformed> {
    let within = duration("ready_timeout_us", us)?;
    if within.is_zero() {
        return Err(Malformed::new("ready_timeout_us", "leaves no time to load the model"));
    }
    Ok(within)
}

fn subject(
    model: Option<v1::ArtifactRef>,
    endpoint: Option<String>,
) -> Result<JobSubject, Malformed> {
    let endpoint: Option<EndpointName> =
        endpoint.map(|name| parse("endpoint", &name)).transpose()?;
    match (optional("model", model)?, endpoint) {
        (Some(model), Some(endpoint)) => Ok(JobSubject::ModelAndEndpoint { model, endpoint }),
        (Some(model), None) => Ok(JobSubject::Model { model }),
        (None, Some(endpoint)) => Ok(JobSubject::Endpoint { endpoint }),
        (None, None) => Err(Malformed::missing("model")),
    }
}

same_fields!(
    ResourceLimits { most_trials, most_at_once }
    otherwise { begin_within = begin_within_us }
    check leave_time
);

fn leave_time(wire: &v1::ResourceLimits) -> Result<(), Malformed> {
    if wire.begin_within_us == Some(0) {
        return Err(Malformed::new("begin_within_us", "leaves no time for any trial"));
    }
    Ok(())
}

impl From<CandidateType> for v1::CandidateType {
    fn from(candidate: CandidateType) -> Self {
        Self {
            name: candidate.name.to_string(),
            shape: candidate.shape.map(Into::into),
            price_pico_usd_per_hour: candidate.price.map(PricePerHour::pico_usd),
            environment: candidate
                .environment
                .iter()
                .map(|(name, values)| v1::EnvironmentRange {
                    name: name.to_owned(),
                    values: values.to_vec(),
                })
                .collect(),
            specification: candidate.specification.map(|one| v1::InferenceSpecification {
                name: one.name.to_string(),
                environment: variables(one.environment),
            }),
        }
    }
}

impl TryFrom<v1::CandidateType> for CandidateType {
    type Error = Malformed;
    fn try_from(wire: v1::CandidateType) -> Result<Self, Malformed> {
        Ok(Self {
            name: parse("instance_types", &wire.name)?,
            shape: optional("shape", wire.shape)?,
            price: wire.price_pico_usd_per_hour.map(PricePerHour::from_pico_usd),
            environment: environment(wire.environment)?,
            specification: wire.specification.map(specification).transpose()?,
        })
    }
}

fn specification(wire: v1::InferenceSpecification) -> Result<InferenceSpecification, Malformed> {
    Ok(InferenceSpecification {
        name: parse("specification", &wire.name)?,
        environment: base_environment(wire.environment)?,
    })
}

fn variables(environment: BaseEnvironment) -> HashMap<String, String> {
    BTreeMap::from(environment).into_iter().collect()
}

fn base_environment(wire: HashMap<String, String>) -> Result<BaseEnvironment, Malformed> {
    BaseEnvironment::new(wire.into_iter().collect())
        .map_err(|error| Malformed::new("environment", error))
}

fn environment(wire: Vec<v1::EnvironmentRange>) -> Result<EnvironmentRanges, Malformed> {
    let mut ranges = BTreeMap::new();
    for v1::EnvironmentRange { name, values } in wire {
        if ranges.contains_key(&name) {
            return Err(Malformed::new("environment", format!("{name} is given twice")));
        }
        ranges.insert(name, values);
    }
    EnvironmentRanges::new(ranges).map_err(|error| Malformed::new("environment", error))
}

same_fields!(Sweep {
    workers,
    intra_op_threads,
    max_batch,
    max_batch_delay_us,
    device,
    dtype,
    graph,
    allocator,
    defaults_only,
});

same_fields!(Goals { cost, latency, throughput });

impl From<Demand> for v1::Demand {
    fn from(demand: Demand) -> Self {
        Self { rate_per_s: demand.rate.as_per_second(), headroom_pct: demand.headroom_pct.into() }
    }
}

impl TryFrom<v1::Demand> for Demand {
    type Error = Malformed;
    fn try_from(wire: v1::Demand) -> Result<Self, Malformed> {
        let headroom_pct = u8::try_from(wire.headroom_pct)
            .ok()
            .filter(|pct| (1..=100).contains(pct))
            .ok_or_else(|| Malformed::new("headroom_pct", "must lie between 1 and 100"))?;
        Ok(Self { rate: rate("rate_per_s", wire.rate_per_s)?, headroom_pct })
    }
}

impl From<JobStatus> for v1::JobStatus {
    fn from(status: JobStatus) -> Self {
        match status {
            JobStatus::Pending => Self::Pending,
            JobStatus::Running => Self::Running,
            JobStatus::Stopping => Self::Stopping,
            JobStatus::Completed => Self::Completed,
            JobStatus::Failed => Self::Failed,
            JobStatus::Stopped => Self::Stopped,
        }
    }
}

impl TryFrom<v1::JobStatus> for JobStatus {
    type Error = Malformed;
    fn try_from(wire: v1::JobStatus) -> Result<Self, Malformed> {
        match wire {
            v1::JobStatus::Unspecified => Err(Malformed::missing("status")),
            v1::JobStatus::Pending => Ok(Self::Pending),
            v1::JobStatus::Running => Ok(Self::Running),
            v1::JobStatus::Stopping => Ok(Self::Stopping),
            v1::JobStatus::Completed => Ok(Self::Completed),
            v1::JobStatus::Failed => Ok(Self::Failed),
            v1::JobStatus::Stopped => Ok(Self::Stopped),
        }
    }
}
