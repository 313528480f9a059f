//! Who gets what, in which order.

use assay_measure::units::Bytes;

use super::*;
use crate::testing;

fn waiting(id: &str, placement: Placement, created: i64) -> WaitingTrial {
    let id: TrialId = id.parse().unwrap();
    let index = id.as_str().rsplit('/').next().unwrap().parse().unwrap();
    WaitingTrial {
        id,
        index,
        placement,
        job_created_at: Timestamp::from_second(created).unwrap(),
        job_may_begin: None,
    }
}

fn native(kind: &str) -> Placement {
    Placement::Native(kind.parse().unwrap())
}

fn agent(name: &str, kind: &str) -> AgentView {
    testing::agent(name, kind, 2, Bytes::gib(4))
}

fn shown(assignments: &[Assignment]) -> Vec<String> {
    assignments.iter().map(|given| format!("{} → {}", given.trial, given.agent)).collect()
}

#[test]
fn one_trial_at_a_time_per_physical_host_whatever_the_number_of_agents() {
    let mut twin = agent("b", "ml.c5.large");
    twin.fingerprint = agent("a", "ml.c5.large").fingerprint;
    let mut fleet = vec![agent("a", "ml.c5.large"), twin];
    let queue =
        [waiting("j/1", native("ml.c5.large"), 0), waiting("j/2", native("ml.c5.large"), 0)];
    assert_eq!(shown(&assign(&queue, &fleet)), ["j/1 → a"]);
    fleet[1].busy = true;
    assert!(assign(&queue, &fleet).is_empty());
}

#[test]
fn the_oldest_job_comes_first_and_a_blocked_one_does_not_hold_up_others() {
    let fleet = [agent("a", "ml.c5.large"), agent("b", "ml.m5.large")];
    let queue = [
        waiting("young/1", native("ml.c5.large"), 50),
        waiting("old/2", native("ml.c5.large"), 10),
        waiting("old/10", native("ml.c5.large"), 10),
        waiting("young/2", native("ml.m5.large"), 50),
        waiting("oldest/1", native("ml.p3.2xlarge"), 1),
    ];
    assert_eq!(shown(&assign(&queue, &fleet)), ["old/2 → a", "young/2 → b"]);
}

#[test]
fn draining_and_busy_agents_get_nothing() {
    let mut fleet = [agent("a", "ml.c5.large"), agent("b", "ml.c5.large")];
    fleet[0].draining = true;
    let queue = [waiting("j/1", native("ml.c5.large"), 0)];
    assert_eq!(shown(&assign(&queue, &fleet)), ["j/1 → b"]);
    fleet[1].busy = true;
    assert!(assign(&queue, &fleet).is_empty());
}

#[test]
fn an_emulated_trial_runs_only_on_its_machine_and_only_where_that_is_allowed() {
    let mut fleet = [agent("a", "local"), agent("b", "local")];
    let on_b = Placement::Emulated(fleet[1].fingerprint.clone());
    let queue = [waiting("j/1", on_b, 0)];
    assert_eq!(shown(&assign(&queue, &fleet)), ["j/1 → b"]);
    fleet[1].may_emulate = false;
    assert!(assign(&queue, &fleet).is_empty());
}

#[test]
fn several_agents_of_a_type_work_side_by_side() {
    let fleet = [agent("b", "ml.c5.large"), agent("a", "ml.c5.large")];
    let queue =
        [waiting("j/1", native("ml.c5.large"), 0), waiting("j/2", native("ml.c5.large"), 0)];
    assert_eq!(shown(&assign(&queue, &fleet)), ["j/1 → a", "j/2 → b"]);
}

#[test]
fn a_job_gets_no_more_at_once_than_it_may_and_others_get_the_rest() {
    let fleet = ["a", "b", "c"].map(|name| agent(name, "ml.c5.large"));
    let mut queue = ["j/1", "j/2", "j/3"].map(|id| waiting(id, native("ml.c5.large"), 0)).to_vec();
    for (may_begin, expected) in [(2, vec!["j/1 → a", "j/2 → b", "k/1 → c"]), (0, vec!["k/1 → a"])]
    {
        queue.iter_mut().for_each(|trial| trial.job_may_begin = Some(may_begin));
        let other = waiting("k/1", native("ml.c5.large"), 1);
        let all: Vec<WaitingTrial> = queue.iter().cloned().chain([other]).collect();
        assert_eq!(shown(&assign(&all, &fleet)), expected);
    }
}
