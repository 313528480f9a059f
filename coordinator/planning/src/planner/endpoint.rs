//! A running server as a candidate: no configuration, no rivals, measured once and first.

use std::{fmt, time::Duration};

use assay_measure::{
    configuration::Configuration, hardware::Shape, ids::EndpointName, job::JobSpec,
    trial::TrialSubject,
};
use serde::{Deserialize, Serialize};

use super::{Candidate, Placement, Plan, PlannedTrial, Stage, search};
use crate::fleet::AgentView;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Serving {
    /// The model is served like this.
    #[serde(rename = "configuration")]
    Configured(Configuration),
    /// By itself: a server that runs already.
    #[serde(rename = "endpoint")]
    Endpoint(EndpointName),
}

impl Serving {
    /// How the model is served, if it is.
    #[must_use]
    pub const fn configuration(&self) -> Option<&Configuration> {
        match self {
            Self::Configured(configuration) => Some(configuration),
            Self::Endpoint(_) => None,
        }
    }

    /// The server that runs already, if it is one.
    #[must_use]
    pub const fn endpoint(&self) -> Option<&EndpointName> {
        match self {
            Self::Endpoint(endpoint) => Some(endpoint),
            Self::Configured(_) => None,
        }
    }
}

impl fmt::Display for Serving {
    /// The configuration, or `endpoint NAME`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Configured(configuration) => configuration.fmt(f),
            Self::Endpoint(endpoint) => write!(f, "endpoint {endpoint}"),
        }
    }
}

impl Plan {
    /// A server that runs already, on an agent that offers it.
    pub(super) fn add_endpoint(
        &mut self,
        job: &JobSpec,
        endpoint: &EndpointName,
        agent: &AgentView,
    ) {
        let id = self.next_id(&job.name);
        let instance_type = agent.instance_type.clone();
        self.candidates.push(Candidate {
            instance_type: instance_type.clone(),
            shape: Shape { vcpus: agent.host.vcpus, memory_bytes: agent.host.memory_bytes },
            emulated: false,
            serving: Serving::Endpoint(endpoint.clone()),
            specification: None,
            trial: id.clone(),
            stage: Stage::Single,
            foreign_architecture: false,
        });
        let subject = TrialSubject::Endpoint { endpoint: endpoint.clone() };
        let placement = Placement::Endpoint {
            endpoint: endpoint.clone(),
            instance_type: instance_type.clone(),
        };
        self.trials.push(PlannedTrial {
            id,
            instance_type,
            subject,
            search: search(job),
            placement,
            expected: Duration::ZERO,
        });
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use assay_measure::{job::JobSubject, search::Mode, units::Bytes};

    use super::{super::EndedTrial, *};
    use crate::{
        catalogue::Catalogue,
        planner::{PlanError, plan},
        testing::{self, local},
    };

    fn offering(name: &str, endpoints: &[&str]) -> AgentView {
        AgentView {
            endpoints: endpoints.iter().map(|name| name.parse().unwrap()).collect(),
            ..testing::agent(name, "onprem.small", 4, Bytes::gib(8))
        }
    }

    fn alone() -> JobSpec {
        let subject = JobSubject::Endpoint { endpoint: "mine".parse().unwrap() };
        JobSpec { subject, ..testing::job(&[]) }
    }

    fn beside(types: &[&str]) -> JobSpec {
        let job = testing::job(types);
        let model = job.model().unwrap().clone();
        let subject = JobSubject::ModelAndEndpoint { model, endpoint: "mine".parse().unwrap() };
        JobSpec { subject, ..job }
    }

    fn planned(job: &JobSpec, fleet: &[AgentView]) -> Plan {
        plan(job, Catalogue::builtin(), fleet).unwrap()
    }

    fn shown(plan: &Plan) -> Vec<String> {
        let candidates = plan.candidates.iter();
        candidates.map(|one| format!("{} {}", one.instance_type, one.serving)).collect()
    }

    #[test]
    fn an_endpoint_alone_is_one_candidate_on_an_agent_that_offers_it_and_starts_no_model() {
        let fleet = [offering("a", &["other"]), offering("b", &["mine", "other"]), local()];
        let plan = planned(&alone(), &fleet);
        assert_eq!(shown(&plan), ["onprem.small endpoint mine"]);
        let [trial] = plan.trials.as_slice() else { panic!("{plan:?}") };
        assert!(trial.subject.served().is_none());
        assert!(trial.search.is_some());
        let allowed: Vec<bool> = fleet.iter().map(|agent| trial.placement.allows(agent)).collect();
        assert_eq!(allowed, [false, true, false]);
        // The price is that of the type: an agent on another machine may not take its place.
        let elsewhere =
            AgentView { instance_type: "onprem.large".parse().unwrap(), ..fleet[1].clone() };
        assert!(!trial.placement.allows(&elsewhere));
    }

    #[test]
    fn an_endpoint_beside_a_model_is_measured_first_and_whatever_the_limit() {
        let mut job = beside(&["ml.c5.large", "own.a=1x1GiB"]);
        let fleet = [offering("a", &["mine"]), local()];
        let plan = planned(&job, &fleet);
        assert_eq!(shown(&plan)[0], "onprem.small endpoint mine");
        assert!(plan.candidates.len() > 2);
        job.limits.most_trials = Some(NonZeroU32::MIN);
        assert_eq!(shown(&planned(&job, &fleet)), ["onprem.small endpoint mine"]);
    }

    #[test]
    fn an_endpoint_is_no_rival_of_the_models_configurations_on_its_type() {
        let mut job = beside(&["onprem.small"]);
        job.mode = Mode::Full;
        let plan = planned(&job, &[offering("a", &["mine"])]);
        let stages: Vec<&Stage> = plan.candidates.iter().map(|one| &one.stage).collect();
        assert_eq!(stages[0], &Stage::Single);
        assert!(stages[1..].iter().all(|stage| **stage == Stage::Screening), "{stages:?}");
        let search = plan.trials[0].search.as_ref().unwrap();
        assert_eq!(search.mode, Mode::Full, "its figures are wanted in full");
    }

    #[test]
    fn a_race_is_decided_without_the_endpoint() {
        let mut job = beside(&["onprem.small"]);
        job.mode = Mode::Full;
        let fleet = [offering("a", &["mine"])];
        let mut plan = planned(&job, &fleet);
        let endpoint = plan.candidates[0].trial.clone();
        let ended = |trial: &assay_measure::ids::TrialId| {
            let outcome = testing::measured(testing::measurement(600.0, 5.0));
            (*trial != endpoint).then_some(EndedTrial { outcome, repeats: 0 })
        };
        let added = plan.advance_race(&job, &fleet, ended, Duration::from_secs(600));
        assert_eq!(added.map(|added| added.len()), Some(1), "though the endpoint still runs");
        assert_eq!(plan.candidates[0].stage, Stage::Single);
    }

    #[test]
    fn an_endpoint_that_nobody_offers_is_told_with_those_that_are() {
        let fleet = [offering("a", &["one"]), offering("b", &["two"])];
        for job in [alone(), beside(&["ml.c5.large"])] {
            let error = plan(&job, Catalogue::builtin(), &fleet).unwrap_err();
            assert_eq!(error.to_string(), "no agent offers endpoint mine; offered are one, two");
            assert!(error.hint().contains("--endpoint mine="));
            let error = plan(&job, Catalogue::builtin(), &[]).unwrap_err();
            assert!(matches!(error, PlanError::NoSuchEndpoint { .. }), "{error}");
        }
    }

    #[test]
    fn an_agent_that_takes_no_trials_is_the_last_choice_and_still_one() {
        let draining = AgentView { draining: true, ..offering("a", &["mine"]) };
        let other = AgentView {
            instance_type: "onprem.large".parse().unwrap(),
            ..offering("b", &["mine"])
        };
        let plan = planned(&alone(), &[draining.clone(), other]);
        assert_eq!(shown(&plan), ["onprem.large endpoint mine"]);
        assert_eq!(shown(&planned(&alone(), &[draining])), ["onprem.small endpoint mine"]);
    }

    #[test]
    fn a_plan_with_an_endpoint_survives_being_stored() {
        let plan = planned(&beside(&["ml.c5.large"]), &[offering("a", &["mine"])]);
        assert_eq!(testing::stored(&plan), plan);
        let candidate = serde_json::to_value(&plan.candidates[1]).unwrap();
        assert!(candidate["configuration"]["workers"].is_u64(), "as it was stored before");
    }
}
