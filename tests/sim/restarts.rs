//! The coordinator dies between any two of its steps, and another goes on with its data.

use assay_proto::v1::job_event::Event;
use assay_tests::agent_stream::{step_finished, trial_finished};

use crate::{
    coordinator::{Coordinator, Terms},
    figures::{job, measured, step},
    fleet::Fleet,
    network::{Network, Way},
    record,
    scripted_agent::ScriptedAgent,
};

async fn crash_and_restart(coordinator: &Coordinator, network: &Network) {
    coordinator.crash_and_restart().await;
    network.leads_to(coordinator.address());
    network.heal();
}

#[tokio::test]
async fn what_was_stored_and_never_acknowledged_counts_once_after_a_restart() {
    let coordinator = Coordinator::start(Terms::PATIENT).await;
    let network = Network::to(coordinator.address()).await;
    let mut agent = ScriptedAgent::attach(&network, "a").await;
    coordinator.create(job("kept", 2)).await;
    let first = agent.expect_start().await;

    network.lose(Way::ToAgents);
    agent.say(step_finished(&first, step(1, 0)));
    coordinator
        .records("kept", "the step", |event| matches!(event.event, Some(Event::StepFinished(_))))
        .await;
    crash_and_restart(&coordinator, &network).await;
    let mut agent = ScriptedAgent::return_with(&network, "a", &first).await;
    assert!(agent.registered.held_trial_stands);
    assert!(agent.step(&first, 1, 0).await);
    assert!(agent.step(&first, 1, 1).await);

    network.lose(Way::ToAgents);
    agent.say(trial_finished(&first, measured(1)));
    coordinator
        .records("kept", "the outcome", |event| matches!(event.event, Some(Event::TrialEnded(_))))
        .await;
    crash_and_restart(&coordinator, &network).await;
    let mut agent = ScriptedAgent::return_with(&network, "a", &first).await;
    assert!(!agent.registered.held_trial_stands);
    assert!(agent.finish(&first, 1).await);
    let second = agent.expect_start().await;
    assert!(agent.finish(&second, 2).await);

    let trials = record::of_ended_job(&coordinator, "kept").await;
    let steps = &trials[&first.trial_id].steps;
    assert_eq!(steps.iter().copied().collect::<Vec<_>>(), [(1, 0), (1, 1)]);
    assert_eq!(trials[&first.trial_id].measured, Some(1));
}

#[tokio::test]
async fn who_comes_back_after_a_restart_goes_on_and_inherits_from_who_does_not() {
    let coordinator = Coordinator::start(Terms::BRIEF).await;
    let network = Network::to(coordinator.address()).await;
    let mut loyal = ScriptedAgent::attach(&network, "loyal").await;
    let mut gone = ScriptedAgent::attach(&network, "gone").await;
    coordinator.create(job("split", 2)).await;
    let (kept, lost) = (loyal.expect_start().await, gone.expect_start().await);
    assert!(gone.step(&lost, 1, 0).await);
    assert!(loyal.step(&kept, 2, 0).await);
    drop(gone);

    crash_and_restart(&coordinator, &network).await;
    let mut loyal = ScriptedAgent::return_with(&network, "loyal", &kept).await;
    assert!(loyal.registered.held_trial_stands);
    assert!(loyal.step(&kept, 2, 1).await);
    assert!(loyal.finish(&kept, 2).await);
    let inherited = loyal.expect_start_in_time().await;
    assert_eq!(inherited.trial_id, lost.trial_id);
    assert!(loyal.finish(&inherited, 3).await);

    let trials = record::of_ended_job(&coordinator, "split").await;
    assert_eq!(trials[&kept.trial_id].agents, ["loyal"]);
    assert_eq!(trials[&lost.trial_id].agents, ["gone", "loyal"]);
    assert_eq!(trials[&lost.trial_id].measured, Some(3));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fleet_at_work_loses_nothing_to_restart_after_restart() {
    const JOBS: [&str; 4] = ["one", "two", "three", "four"];
    let agents = [("a", "host-a"), ("b", "host-b"), ("c", "host-c")];
    let fleet = Fleet::start(Terms::PATIENT, &agents).await;
    for name in JOBS {
        fleet.coordinator.create(job(name, 4)).await;
    }
    for ended in [1, 5, 9] {
        fleet.coordinator.until_trials_ended(&JOBS, ended).await;
        fleet.restart_coordinator().await;
    }
    record::assert_agree(&fleet.coordinator, JOBS, &fleet.ledger).await;
}
