//! From what a user asks for to the list of trials: a plan that leaves no choices to those who carry it out.
//!
//! A candidate is an instance type × a configuration. A type that an agent offers is measured on it; any
//! other one is emulated (when the job allows it) on the largest machine that may emulate, the same one
//! for all of the job. Emulated types with the same number of processors share one trial per
//! configuration, held to the smallest memory among them; should that run out, the larger ones get
//! a trial of their own ([`Plan::after_outcome`]).
//!
//! A running endpoint is one more candidate, on the machine of an agent that offers it. It has no
//! configuration to vary, and no rivals: it is measured once, before all others.

use std::{collections::BTreeMap, time::Duration};

use assay_measure::{
    configuration::Configuration,
    hardware::Shape,
    ids::{EndpointName, HostFingerprint, InstanceTypeName, JobName, SpecificationName, TrialId},
    job::{CandidateType, JobSpec},
    load_profile::LoadProfile,
    outcome::{Failure, FailureKind, TrialOutcome},
    search::{Mode, SearchPlan},
    trial::{ArtifactRef, ServedModel, TrialSpec, TrialSubject, Work},
};
use serde::{Deserialize, Serialize};

use crate::{
    catalogue::{Catalogue, UnknownInstanceType},
    fleet::AgentView,
    sweep::{self, EnvironmentSweep},
};

mod endpoint;
mod error;
mod limit;
mod race;
mod sites;
mod timing;

pub use endpoint::Serving;
pub use error::PlanError;
pub use race::{EndedTrial, Stage};
use sites::{Site, Sites};

/// More candidates than this are a mistake in the sweep.
pub const MOST_CANDIDATES: usize = 1000;

/// The largest share of calls that may fail.
const MOST_ERRORS: f64 = 0.01;

/// What to do for a job.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// Instance type × configuration, in the order asked for.
    pub candidates: Vec<Candidate>,
    /// What is run, in order; several candidates may share one. Each is kept by itself.
    #[serde(skip)]
    pub trials: Vec<PlannedTrial>,
    /// What was asked for and cannot be done.
    pub rejections: Vec<Rejection>,
    /// What people should know about the plan.
    pub warnings: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Candidate {
    pub instance_type: InstanceTypeName,
    pub shape: Shape,
    /// It is measured on another machine, held to that shape.
    pub emulated: bool,
    #[serde(flatten)]
    pub serving: Serving,
    /// The description of the model that the configuration begins with, if it is not the job's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub specification: Option<SpecificationName>,
    /// The trial that measures it; the last one decides.
    pub trial: TrialId,
    /// Whether it is measured once, or quickly first.
    #[serde(default)]
    pub stage: Stage,
    /// The instruction set of the type is another than that of the emulating machine.
    pub foreign_architecture: bool,
}

/// One trial to run. What all trials of a job have in common stands in the job: payload, inputs, load.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PlannedTrial {
    pub id: TrialId,
    /// The instance type measured (the first, when several of the same shape share the trial).
    pub instance_type: InstanceTypeName,
    /// What is put under load.
    #[serde(flatten)]
    pub subject: TrialSubject,
    /// How its capacity is searched for; absent where the job's own load is held.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub search: Option<SearchPlan>,
    pub placement: Placement,
    /// Roughly how long it takes.
    pub expected: Duration,
}

impl PlannedTrial {
    /// What the agent is told. `job` is the job that it was planned for.
    #[must_use]
    pub fn spec(&self, job: &JobSpec) -> TrialSpec {
        let load = || job.load.clone().unwrap_or_else(|| LoadProfile::Phases(Vec::new()));
        TrialSpec {
            id: self.id.clone(),
            instance_type: self.instance_type.clone(),
            subject: self.subject.clone(),
            payload: job.payload.clone(),
            inputs: job.inputs.clone(),
            work: match &self.search {
                Some(search) => Work::Search(search.clone()),
                None => Work::Load(load().within(&job.constraints)),
            },
            request_timeout: timing::request_timeout(&job.constraints),
        }
    }
}

/// Where a trial may run.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Placement {
    /// On any machine of this type.
    Native(InstanceTypeName),
    /// On this machine, held to a smaller shape.
    Emulated(HostFingerprint),
    /// On any machine of this type whose agent offers the endpoint.
    Endpoint {
        endpoint: EndpointName,
        /// The type that it was planned, and is priced, on.
        instance_type: InstanceTypeName,
    },
}

impl Placement {
    /// Whether an agent's machine is such a place.
    #[must_use]
    pub fn allows(&self, agent: &AgentView) -> bool {
        match self {
            Self::Native(instance_type) => agent.instance_type == *instance_type,
            Self::Emulated(fingerprint) => agent.may_emulate && agent.fingerprint == *fingerprint,
            Self::Endpoint { endpoint, instance_type } => {
                agent.instance_type == *instance_type && agent.endpoints.contains(endpoint)
            }
        }
    }
}

/// A candidate that was asked for and cannot be measured.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rejection {
    pub instance_type: InstanceTypeName,
    /// The configuration; absent when the type fails with every one.
    pub configuration: Option<Configuration>,
    /// Why, with the figures that matter.
    pub reason: String,
}

/// Plans a job over the agents that are connected now.
///
/// # Errors
/// [`PlanError`] when a type is unknown, there is nothing to measure on yet, or the sweep is too large.
/// A type that is known but cannot be measured is a rejection in the plan instead.
pub fn plan(job: &JobSpec, catalogue: &Catalogue, fleet: &[AgentView]) -> Result<Plan, PlanError> {
    check_instance_types(job, catalogue, fleet)?;
    check_shapes(job)?;
    let sites = Sites::new(job, catalogue, fleet);
    let mut plan = Plan::default();
    if let Some(endpoint) = job.endpoint() {
        plan.add_endpoint(job, endpoint, sites.offering(endpoint)?);
    }
    if let Some(model) = job.model() {
        plan.add_model(job, model, &sites)?;
    }
    plan.keep_to_limit(job);
    plan.begin_race(job);
    plan.share_out_time(job, fleet);
    Ok(plan)
}

/// A type may be listed again with other environments, and is the same machine then.
fn check_shapes(job: &JobSpec) -> Result<(), PlanError> {
    for (index, one) in job.instance_types.iter().enumerate() {
        let is_other = |before: &&CandidateType| {
            before.name == one.name && (before.shape != one.shape || before.price != one.price)
        };
        if job.instance_types[..index].iter().any(|before| is_other(&before)) {
            return Err(PlanError::TwoShapes { instance_type: one.name.clone() });
        }
    }
    Ok(())
}

/// What to try on a type: its environments with the sweep that each makes.
fn sweeps(
    job: &JobSpec,
    wanted: &[CandidateType],
) -> Result<Vec<Vec<EnvironmentSweep>>, PlanError> {
    let mut count: usize = 0;
    let mut sweeps = Vec::new();
    for candidate_type in wanted {
        let swept = sweep::with_environment(
            &job.sweep,
            candidate_type.specification.as_ref().map_or(&job.environment, |one| &one.environment),
            &candidate_type.environment,
        )
        .map_err(|conflict| PlanError::Environment {
            instance_type: candidate_type.name.clone(),
            conflict,
        })?;
        let bounds = swept.iter().map(|(_, sweep)| sweep::upper_bound(sweep));
        count = bounds.fold(count, usize::saturating_add);
        sweeps.push(swept);
    }
    if count > MOST_CANDIDATES {
        return Err(PlanError::TooMany { count });
    }
    Ok(sweeps)
}

/// Refuses instance types that neither the catalogue nor the fleet knows and that come without a shape.
/// Job creation asks this before anything is stored.
///
/// # Errors
/// [`UnknownInstanceType`] with the closest known name.
pub fn check_instance_types(
    job: &JobSpec,
    catalogue: &Catalogue,
    fleet: &[AgentView],
) -> Result<(), UnknownInstanceType> {
    for wanted in &job.instance_types {
        let offered = fleet.iter().any(|agent| agent.instance_type == wanted.name);
        if wanted.shape.is_none() && !offered {
            catalogue.require(wanted.name.as_str())?;
        }
    }
    Ok(())
}

impl Plan {
    /// The plan but for its trials, which are kept one by one.
    #[must_use]
    pub fn without_trials(&self) -> Self {
        Self {
            candidates: self.candidates.clone(),
            trials: Vec::new(),
            rejections: self.rejections.clone(),
            warnings: self.warnings.clone(),
        }
    }

    #[must_use]
    pub fn trial(&self, id: &TrialId) -> Option<&PlannedTrial> {
        self.trials.iter().find(|trial| trial.id == *id)
    }

    /// The candidates that a trial measures, or has measured quickly before.
    pub fn candidates_of<'a>(&'a self, id: &'a TrialId) -> impl Iterator<Item = &'a Candidate> {
        self.candidates.iter().filter(move |candidate| {
            candidate.trial == *id || candidate.stage.screening() == Some(id)
        })
    }

    /// Roughly how long the whole plan takes, given that machines work side by side and that one
    /// configuration of each racing instance type is measured in full.
    #[must_use]
    pub fn expected(&self, job: &JobSpec) -> Duration {
        let finals =
            self.screening_of_each_type().map(|screening| (screening, timing::usual_final(job)));
        let all = self.trials.iter().map(|trial| (trial, trial.expected)).chain(finals);
        let mut by_place: BTreeMap<&Placement, Duration> = BTreeMap::new();
        for (trial, expected) in all {
            *by_place.entry(&trial.placement).or_default() += expected;
        }
        let longest = by_place.into_values().max().unwrap_or_default();
        longest.min(job.max_duration)
    }

    /// Takes in how a trial ended: when a shared one ran out of memory, the candidates with more
    /// memory than it allowed get a new trial, which is added to the plan. Returns the names of new
    /// trials; empty in every other case, and when called twice for the same trial.
    pub fn after_outcome(&mut self, id: &TrialId, outcome: &TrialOutcome) -> Vec<TrialId> {
        let TrialOutcome::Failed(Failure { kind: FailureKind::OutOfMemory, .. }) = outcome else {
            return Vec::new();
        };
        let Some(exhausted) = self.trial(id).cloned() else { return Vec::new() };
        let Some(limit) = exhausted.subject.emulated() else { return Vec::new() };
        let larger = |candidate: &Candidate| {
            candidate.trial == *id && candidate.shape.memory_bytes > limit.memory_bytes
        };
        let Some(next) =
            self.candidates.iter().filter(|c| larger(c)).min_by_key(|c| c.shape.memory_bytes)
        else {
            return Vec::new();
        };
        let memory_bytes = next.shape.memory_bytes;
        let mut again = exhausted;
        again.id = self.next_id(&id.job());
        if let Some(served) = again.subject.served_mut() {
            served.emulated = Some(Shape { memory_bytes, ..limit });
        }
        again.instance_type = next.instance_type.clone();
        for candidate in self.candidates.iter_mut().filter(|candidate| larger(candidate)) {
            candidate.trial = again.id.clone();
        }
        let added = again.id.clone();
        self.trials.push(again);
        vec![added]
    }

    fn reject(&mut self, rejection: Rejection) {
        if !self.rejections.contains(&rejection) {
            self.rejections.push(rejection);
        }
    }

    fn next_id(&self, job: &JobName) -> TrialId {
        TrialId::of(job, u32::try_from(self.trials.len()).unwrap_or(u32::MAX).saturating_add(1))
    }

    /// A model on every type that is wanted.
    fn add_model(
        &mut self,
        job: &JobSpec,
        model: &ArtifactRef,
        sites: &Sites<'_>,
    ) -> Result<(), PlanError> {
        let wanted = sites.wanted();
        if wanted.is_empty() || (job.emulate && sites.nobody_is_there()) {
            return Err(PlanError::NoAgents);
        }
        for (candidate_type, sweeps) in wanted.iter().zip(sweeps(job, &wanted)?) {
            match sites.find(candidate_type) {
                Ok(site) => {
                    sweeps.iter().for_each(|swept| self.add_site(job, model, &site, swept));
                }
                Err(reason) => self.reject(Rejection {
                    instance_type: candidate_type.name.clone(),
                    configuration: None,
                    reason,
                }),
            }
        }
        Ok(())
    }

    fn add_site(
        &mut self,
        job: &JobSpec,
        model: &ArtifactRef,
        site: &Site,
        (variables, sweep): &EnvironmentSweep,
    ) {
        let mut swept = sweep::configurations(sweep, site.room());
        let all = swept.configurations.iter_mut().chain(&mut swept.oversubscribed);
        for configuration in all.chain(swept.misfits.iter_mut().map(|(misfit, _)| misfit)) {
            configuration.environment.clone_from(variables);
        }
        let known = |warning: &String| self.warnings.contains(warning);
        let warning = site.warning.clone().filter(|warning| !known(warning));
        self.warnings.extend(warning);
        for configuration in swept.oversubscribed {
            self.warnings.push(format!(
                "{} {configuration}: more threads than the {} vCPU, as asked",
                site.name, site.shape.vcpus
            ));
        }
        for (configuration, reason) in swept.misfits {
            let instance_type = site.name.clone();
            self.reject(Rejection { instance_type, configuration: Some(configuration), reason });
        }
        for configuration in swept.configurations {
            // A type that is listed again may repeat a combination of variables.
            let is_same = |known: &Candidate| {
                known.instance_type == site.name
                    && known.serving.configuration() == Some(&configuration)
                    && known.specification == site.specification
            };
            if self.candidates.iter().any(is_same) {
                continue;
            }
            let trial = self.shared_trial(site, &configuration).unwrap_or_else(|| {
                let id = self.next_id(&job.name);
                let served = ServedModel {
                    emulated: site.is_emulated().then_some(site.shape),
                    configuration: configuration.clone(),
                    model: model.clone(),
                    ready_within: job.ready_timeout.unwrap_or_else(|| timing::ready_within(model)),
                };
                self.trials.push(PlannedTrial {
                    id: id.clone(),
                    instance_type: site.name.clone(),
                    subject: TrialSubject::Served(served),
                    search: search(job),
                    placement: site.placement.clone(),
                    expected: Duration::ZERO,
                });
                id
            });
            self.candidates.push(Candidate {
                instance_type: site.name.clone(),
                shape: site.shape,
                emulated: site.is_emulated(),
                serving: Serving::Configured(configuration),
                specification: site.specification.clone(),
                trial,
                stage: Stage::Single,
                foreign_architecture: site.foreign_architecture,
            });
        }
    }

    /// The trial that already measures this shape and configuration by emulation, now held to the
    /// smaller memory of the two.
    fn shared_trial(&mut self, site: &Site, configuration: &Configuration) -> Option<TrialId> {
        if !site.may_share_trials() {
            return None;
        }
        let candidates = &self.candidates;
        let is_described_alike = |trial: &TrialId| {
            let mut of_trial = candidates.iter().filter(|candidate| candidate.trial == *trial);
            of_trial.all(|candidate| candidate.specification == site.specification)
        };
        let shared = self.trials.iter_mut().find(|trial| {
            is_described_alike(&trial.id)
                && trial.placement == site.placement
                && trial
                    .subject
                    .served()
                    .is_some_and(|served| served.configuration == *configuration)
                && trial.subject.emulated().is_some_and(|shape| shape.vcpus == site.shape.vcpus)
        })?;
        if let Some(shape) = shared.subject.served_mut().and_then(|served| served.emulated.as_mut())
        {
            shape.memory_bytes = shape.memory_bytes.min(site.shape.memory_bytes);
        }
        Some(shared.id.clone())
    }

    fn share_out_time(&mut self, job: &JobSpec, fleet: &[AgentView]) {
        let races = self.candidates.iter().any(|candidate| candidate.stage == Stage::Screening);
        // The other half is for the full searches that follow.
        let time = job.working_time();
        let time = if races { time / 2 } else { time };
        let mode = if races { Mode::Quick } else { job.mode };
        let queue = timing::longest_queue(&self.trials, fleet);
        self.warnings.extend(timing::warning(job, mode, queue, time));
        for trial in &mut self.trials {
            timing::give(trial, job, queue, time, Duration::ZERO);
        }
    }
}

/// How the capacity is searched for, unless the job fixes its load.
fn search(job: &JobSpec) -> Option<SearchPlan> {
    job.load.is_none().then(|| SearchPlan {
        constraints: job.constraints.clone(),
        mode: job.mode,
        // The same arrivals for every candidate make their differences sharper than the single figures.
        seed: job.seed,
        max_duration: Duration::ZERO,
        soak: job.soak,
        skip_thermal_check: false,
        max_error_share: MOST_ERRORS,
    })
}

#[cfg(test)]
mod tests;
