//! What a job waits for that has not begun, and how long it may.
//!
//! A job has two clocks. Its `max_duration` runs from its first trial; before that it runs only while no agent is
//! connected that would take one. Waiting behind other jobs does not count.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use assay_measure::{ids::AgentName, job::JobSpec};

use crate::{
    fleet::AgentView,
    out_of_time::MORE_TIME,
    planner::{Candidate, Placement, Serving},
};

/// In whose name the trials are cancelled of a job that nobody would take.
pub const NOBODY_CAME: &str = "the job's wait for an agent";

/// A trial that has not ended, as far as it matters here.
#[derive(Clone, Copy, Debug)]
pub struct OpenTrial<'a> {
    /// Where it may run; absent when the plan does not know it.
    pub placement: Option<&'a Placement>,
    pub has_begun: bool,
    /// The agents that were offered it and declined, and why.
    pub declined: &'a BTreeMap<AgentName, String>,
}

/// What stands between a job and its next trial.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wait {
    /// A trial runs, or an agent is connected that may take one, now or after other work.
    None,
    /// No agent is connected that may measure any of it.
    NoAgent,
    /// Every such agent declined: each with what it said last.
    Declined(BTreeMap<AgentName, String>),
}

/// Looks through the open trials of a job.
#[must_use]
pub fn wait<'a>(trials: impl IntoIterator<Item = OpenTrial<'a>>, fleet: &[AgentView]) -> Wait {
    let mut said: BTreeMap<AgentName, String> = BTreeMap::new();
    for trial in trials {
        if trial.has_begun {
            return Wait::None;
        }
        let Some(placement) = trial.placement else { continue };
        let suitable = fleet.iter().filter(|agent| !agent.draining && placement.allows(agent));
        for agent in suitable {
            let Some(reason) = trial.declined.get(&agent.name) else { return Wait::None };
            said.insert(agent.name.clone(), reason.clone());
        }
    }
    if said.is_empty() { Wait::NoAgent } else { Wait::Declined(said) }
}

impl Wait {
    /// In words for people, such as `no agent can measure ml.c5.large`; empty when nothing stands between.
    #[must_use]
    pub fn describe<'a>(&self, candidates: impl IntoIterator<Item = &'a Candidate>) -> String {
        match self {
            Self::None => String::new(),
            Self::NoAgent => format!("no agent can measure {}", names(candidates)),
            Self::Declined(said) => {
                let each: Vec<String> =
                    said.iter().map(|(agent, reason)| format!("{agent}: {reason}")).collect();
                let names = names(candidates);
                format!("every agent that can measure {names} declined ({})", each.join("; "))
            }
        }
    }
}

fn names<'a>(candidates: impl IntoIterator<Item = &'a Candidate>) -> String {
    let named = |candidate: &Candidate| match &candidate.serving {
        Serving::Endpoint(name) => format!("endpoint {name} on {}", candidate.instance_type),
        Serving::Configured(_) => candidate.instance_type.to_string(),
    };
    let names: BTreeSet<String> = candidates.into_iter().map(named).collect();
    Vec::from_iter(names).join(", ")
}

/// What a job asks for that has no plan, because nobody is there to plan it for.
#[must_use]
pub fn wanted(spec: &JobSpec) -> String {
    let endpoint = spec.endpoint().map(|name| format!("endpoint {name}"));
    let types = spec.instance_types.iter().map(|wanted| wanted.name.to_string());
    let names: BTreeSet<String> = types.chain(endpoint).collect();
    if names.is_empty() {
        return "an agent of any instance type".to_owned();
    }
    format!("an agent that can measure {}", Vec::from_iter(names).join(", "))
}

/// Why a job failed whose wait was longer than it may take in all.
#[must_use]
pub fn describe_at_the_end(reason: &str, waited: Duration) -> String {
    format!(
        "nothing was measured within {waited:?}: {reason}; connect such an agent, or {MORE_TIME}"
    )
}

#[cfg(test)]
mod tests {
    use assay_measure::units::Bytes;

    use super::*;
    use crate::testing;

    fn agent(name: &str, kind: &str) -> AgentView {
        testing::agent(name, kind, 2, Bytes::gib(4))
    }

    fn name(text: &str) -> AgentName {
        text.parse().unwrap()
    }

    fn fleet() -> Vec<AgentView> {
        let mut busy = agent("a", "ml.c5.large");
        busy.busy = true;
        vec![busy, agent("b", "ml.c5.large"), agent("c", "ml.m5.large")]
    }

    fn native(instance_type: &str) -> Placement {
        Placement::Native(instance_type.parse().unwrap())
    }

    fn open<'a>(
        placement: &'a Placement,
        declined: &'a BTreeMap<AgentName, String>,
    ) -> OpenTrial<'a> {
        OpenTrial { placement: Some(placement), has_begun: false, declined }
    }

    #[test]
    fn an_agent_that_is_busy_is_waited_for_and_one_that_is_draining_is_not() {
        let (large, nobody) = (native("ml.c5.large"), BTreeMap::new());
        let mut fleet = fleet();
        assert_eq!(wait([open(&large, &nobody)], &fleet[..1]), Wait::None);
        assert_eq!(wait([open(&large, &nobody)], &fleet[2..]), Wait::NoAgent);
        assert_eq!(wait([open(&large, &nobody)], &[]), Wait::NoAgent);
        fleet[0].draining = true;
        assert_eq!(wait([open(&large, &nobody)], &fleet[..1]), Wait::NoAgent);
    }

    #[test]
    fn a_job_waits_for_nobody_while_any_of_its_trials_may_run_or_does() {
        let (large, other, nobody) = (native("ml.c5.large"), native("ml.x.large"), BTreeMap::new());
        let fleet = fleet();
        assert_eq!(wait([open(&other, &nobody), open(&large, &nobody)], &fleet), Wait::None);
        let begun = OpenTrial { has_begun: true, ..open(&other, &nobody) };
        assert_eq!(wait([begun], &[]), Wait::None);
    }

    #[test]
    fn only_when_every_suitable_agent_declined_the_job_says_what_they_said() {
        let large = native("ml.c5.large");
        let mut declined = BTreeMap::from([(name("a"), "no space left".to_owned())]);
        assert_eq!(wait([open(&large, &declined)], &fleet()), Wait::None);
        declined.insert(name("b"), "draining".to_owned());
        // What an agent said that has left, or that could not measure it, counts for nothing.
        declined.insert(name("gone"), "busy".to_owned());
        let said = BTreeMap::from([
            (name("a"), "no space left".to_owned()),
            (name("b"), "draining".to_owned()),
        ]);
        assert_eq!(wait([open(&large, &declined)], &fleet()), Wait::Declined(said));
    }
}
