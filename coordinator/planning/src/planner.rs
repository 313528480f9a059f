//! From what a user asks for to the list of trials: a plan that leaves no choices to those who carry it out.
//!
//! A candidate is an instance type × a configuration. A type that an agent offers is measured on it; any
//! other one is emulated (when the job allows it) on the largest machine that may emulate, the same one
//! for all of the job. Emulated types with the same number of processors share one trial per
//! configuration, held to the smallest memory among them; should that run out, the larger ones get
//! a trial of their own ([`Plan::after_outcome`]).

use std::time::Duration;

use assay_measure::{
    configuration::Configuration,
    hardware::Shape,
    ids::{HostFingerprint, InstanceTypeName, JobName, SpecificationName, TrialId},
    job::JobSpec,
    outcome::{Failure, FailureKind, TrialOutcome},
    search::{Mode, SearchPlan},
    stepped_load::{SteppedLoad, SteppedLoadError},
    trial::{TrialSpec, Work},
};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::{
    catalogue::{Catalogue, UnknownInstanceType},
    fleet::AgentView,
    sweep::{self, EnvironmentConflict, EnvironmentSweep},
};

mod limit;
mod race;
mod sites;
mod timing;

pub use race::Stage;
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
    /// What is run, in order; several candidates may share one.
    pub trials: Vec<PlannedTrial>,
    /// What was asked for and cannot be done.
    pub rejections: Vec<Rejection>,
    /// What people should know about the plan.
    pub warnings: Vec<String>,
}

/// One candidate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Candidate {
    /// The instance type.
    pub instance_type: InstanceTypeName,
    /// Its processors and memory.
    pub shape: Shape,
    /// It is measured on another machine, held to that shape.
    pub emulated: bool,
    /// How the model is served.
    pub configuration: Configuration,
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

/// One trial to run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PlannedTrial {
    /// What the agent is told.
    pub spec: TrialSpec,
    /// Where it may run.
    pub placement: Placement,
    /// Roughly how long it takes.
    pub expected: Duration,
}

/// Where a trial may run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Placement {
    /// On any machine of this type.
    Native(InstanceTypeName),
    /// On this machine, held to a smaller shape.
    Emulated(HostFingerprint),
}

impl Placement {
    /// Whether an agent's machine is such a place.
    #[must_use]
    pub fn allows(&self, agent: &AgentView) -> bool {
        match self {
            Self::Native(instance_type) => agent.instance_type == *instance_type,
            Self::Emulated(fingerprint) => agent.may_emulate && agent.fingerprint == *fingerprint,
        }
    }
}

/// A candidate that was asked for and cannot be measured.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rejection {
    /// The instance type.
    pub instance_type: InstanceTypeName,
    /// The configuration; absent when the type fails with every one.
    pub configuration: Option<Configuration>,
    /// Why, with the figures that matter.
    pub reason: String,
}

/// There is no plan.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum PlanError {
    /// An instance type that nobody knows.
    #[error(transparent)]
    UnknownInstanceType(#[from] UnknownInstanceType),
    /// No agent offers anything to measure on; try again when one has connected.
    #[error("no agent is connected, so there is nothing to measure on")]
    NoAgents,
    /// The environment of a candidate contradicts itself or the sweep.
    #[error("the environment of {instance_type} cannot be tried: {conflict}")]
    Environment {
        /// The candidate.
        instance_type: InstanceTypeName,
        /// What contradicts what.
        conflict: EnvironmentConflict,
    },
    /// The load with its stopping conditions cannot be held.
    #[error(transparent)]
    SteppedLoad(#[from] SteppedLoadError),
    /// The sweep multiplies out to too many.
    #[error("the sweep makes {count} candidates; at most {MOST_CANDIDATES} can be planned")]
    TooMany {
        /// How many.
        count: usize,
    },
}

impl PlanError {
    /// One thing to do next.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::UnknownInstanceType(unknown) => unknown.hint(),
            Self::NoAgents => {
                "start `assay-agent run --server URL` on a candidate machine".to_owned()
            }
            Self::Environment { .. } => {
                "give every setting once: by an environment variable or by the sweep".to_owned()
            }
            Self::SteppedLoad(_) => {
                "give phases of users with stopping conditions, or leave the conditions out"
                    .to_owned()
            }
            Self::TooMany { .. } => "sweep fewer settings at a time".to_owned(),
        }
    }
}

/// Plans a job over the agents that are connected now.
///
/// # Errors
/// [`PlanError`] when a type is unknown, there is nothing to measure on yet, or the sweep is too large.
/// A type that is known but cannot be measured is a rejection in the plan instead.
pub fn plan(job: &JobSpec, catalogue: &Catalogue, fleet: &[AgentView]) -> Result<Plan, PlanError> {
    check_instance_types(job, catalogue, fleet)?;
    let work = work(job)?;
    let sites = Sites::new(job, catalogue, fleet);
    let wanted = sites.wanted();
    if wanted.is_empty() || (job.emulate && sites.nobody_is_there()) {
        return Err(PlanError::NoAgents);
    }
    let mut count: usize = 0;
    let mut sweeps = Vec::new();
    for candidate_type in &wanted {
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
    let mut plan = Plan::default();
    for (candidate_type, sweeps) in wanted.iter().zip(&sweeps) {
        match sites.find(candidate_type) {
            Ok(site) => sweeps.iter().for_each(|swept| plan.add_site(job, &work, &site, swept)),
            Err(reason) => plan.reject(Rejection {
                instance_type: candidate_type.name.clone(),
                configuration: None,
                reason,
            }),
        }
    }
    plan.keep_to_limit(job);
    plan.begin_race(job);
    plan.share_out_time(job, fleet);
    Ok(plan)
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
    /// The trial of this name.
    #[must_use]
    pub fn trial(&self, id: &TrialId) -> Option<&PlannedTrial> {
        self.trials.iter().find(|trial| trial.spec.id == *id)
    }

    /// The candidates that a trial measures, or has measured quickly before.
    pub fn candidates_of<'a>(&'a self, id: &'a TrialId) -> impl Iterator<Item = &'a Candidate> {
        self.candidates
            .iter()
            .filter(move |candidate| candidate.trial == *id || candidate.stage.heat() == Some(id))
    }

    /// Roughly how long the whole plan takes, given that machines work side by side.
    #[must_use]
    pub fn expected(&self) -> Duration {
        let mut by_place: Vec<(&Placement, Duration)> = Vec::new();
        for trial in &self.trials {
            match by_place.iter_mut().find(|(place, _)| *place == &trial.placement) {
                Some((_, sum)) => *sum += trial.expected,
                None => by_place.push((&trial.placement, trial.expected)),
            }
        }
        by_place.into_iter().map(|(_, sum)| sum).max().unwrap_or_default()
    }

    /// Takes in how a trial ended: when a shared one ran out of memory, the candidates with more
    /// memory than it allowed get a new trial, which is added to the plan. Returns the names of new
    /// trials; empty in every other case, and when called twice for the same trial.
    pub fn after_outcome(&mut self, id: &TrialId, outcome: &TrialOutcome) -> Vec<TrialId> {
        let TrialOutcome::Failed(Failure { kind: FailureKind::OutOfMemory, .. }) = outcome else {
            return Vec::new();
        };
        let Some(exhausted) = self.trial(id).cloned() else { return Vec::new() };
        let Some(limit) = exhausted.spec.emulated else { return Vec::new() };
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
        again.spec.id = self.next_id(&id.job());
        again.spec.emulated = Some(Shape { memory_bytes, ..limit });
        again.spec.instance_type = next.instance_type.clone();
        for candidate in self.candidates.iter_mut().filter(|candidate| larger(candidate)) {
            candidate.trial = again.spec.id.clone();
        }
        let added = again.spec.id.clone();
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

    fn add_site(
        &mut self,
        job: &JobSpec,
        work: &Work,
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
                    && known.configuration == configuration
                    && known.specification == site.specification
            };
            if self.candidates.iter().any(is_same) {
                continue;
            }
            let trial = self.shared_trial(site, &configuration).unwrap_or_else(|| {
                let id = self.next_id(&job.name);
                let trial = planned_trial(job, work.clone(), site, configuration.clone());
                self.trials.push(trial.named(id.clone()));
                id
            });
            self.candidates.push(Candidate {
                instance_type: site.name.clone(),
                shape: site.shape,
                emulated: site.is_emulated(),
                configuration,
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
            is_described_alike(&trial.spec.id)
                && trial.placement == site.placement
                && trial.spec.configuration == *configuration
                && trial.spec.emulated.is_some_and(|shape| shape.vcpus == site.shape.vcpus)
        })?;
        if let Some(shape) = &mut shared.spec.emulated {
            shape.memory_bytes = shape.memory_bytes.min(site.shape.memory_bytes);
        }
        Some(shared.spec.id.clone())
    }

    fn share_out_time(&mut self, job: &JobSpec, fleet: &[AgentView]) {
        let races = self.candidates.iter().any(|candidate| candidate.stage == Stage::Heat);
        // The other half is for the full searches that follow.
        let time = job.working_time();
        let time = if races { time / 2 } else { time };
        let mode = if races { Mode::Quick } else { job.mode };
        let queue = timing::longest_queue(&self.trials, fleet);
        self.warnings.extend(timing::warning(job, mode, queue, time));
        for trial in &mut self.trials {
            timing::give(trial, queue, time);
        }
    }
}

/// What every trial of a job does with the model.
fn work(job: &JobSpec) -> Result<Work, SteppedLoadError> {
    let Some(phases) = job.fixed_load.clone() else {
        if job.stopping.is_some() {
            return Err(SteppedLoadError::Empty);
        }
        return Ok(Work::Search(SearchPlan {
            constraints: job.constraints.clone(),
            mode: job.mode,
            // The same arrivals for every candidate make their differences sharper than the single figures.
            seed: job.seed,
            max_duration: Duration::ZERO,
            soak: job.soak,
            max_error_share: MOST_ERRORS,
        }));
    };
    let Some(mut stopping) = job.stopping.clone() else { return Ok(Work::Fixed(phases)) };
    // Beyond a constraint nothing can be recommended, so there is no reason to go on.
    stopping.latency.extend(&job.constraints);
    SteppedLoad::new(phases, stopping).map(Work::Stepped)
}

fn planned_trial(
    job: &JobSpec,
    work: Work,
    site: &Site,
    configuration: Configuration,
) -> PlannedTrial {
    let spec = TrialSpec {
        id: TrialId::of(&job.name, 0),
        instance_type: site.name.clone(),
        emulated: site.is_emulated().then_some(site.shape),
        configuration,
        model: job.model.clone(),
        payload: job.payload.clone(),
        inputs: job.inputs.clone(),
        work,
        ready_within: timing::ready_within(&job.model),
        request_timeout: timing::request_timeout(&job.constraints),
    };
    PlannedTrial { spec, placement: site.placement.clone(), expected: Duration::ZERO }
}

impl PlannedTrial {
    fn named(mut self, id: TrialId) -> Self {
        self.spec.id = id;
        self
    }
}

#[cfg(test)]
mod tests;
