//! Agents die, or the network between them and the coordinator does.

use assay_proto::v1::{acknowledge::What, coordinator_message, job_event::Event};
use assay_tests::{
    agent_stream::{step_finished, trial_finished},
    wait::until_async,
};

use crate::{
    coordinator::{Coordinator, PATIENCE, Terms},
    figures::{cancelled, job, measured, registration, step},
    fleet::Fleet,
    network::{Network, Way},
    record,
    scripted_agent::ScriptedAgent,
};

#[tokio::test]
async fn the_trial_of_a_dead_agent_is_measured_by_another_from_the_start() {
    let coordinator = Coordinator::start(Terms::BRIEF).await;
    let network = Network::to(coordinator.address()).await;
    let mut mortal = ScriptedAgent::attach(&network, "mortal").await;
    coordinator.create(job("orphan", 1)).await;
    let trial = mortal.expect_start().await;
    assert!(mortal.step(&trial, 1, 0).await);
    assert!(mortal.step(&trial, 1, 1).await);
    drop(mortal);

    let mut heir = ScriptedAgent::attach(&network, "heir").await;
    let again = heir.expect_start_in_time().await;
    assert_eq!(again.trial_id, trial.trial_id);
    assert!(heir.step(&again, 2, 0).await);
    assert!(heir.finish(&again, 2).await);

    let trials = record::of_ended_job(&coordinator, "orphan").await;
    let trial = &trials[&trial.trial_id];
    assert_eq!(trial.agents, ["mortal", "heir"]);
    assert_eq!((trial.returned, trial.measured), (1, Some(2)));
    // What the dead one measured stays on record and out of the report.
    assert_eq!(trial.steps.len(), 3);
    record::assert_report_has_steps(&coordinator.get("orphan").await, 1);
}

#[tokio::test]
async fn the_trial_of_an_agent_that_is_ended_is_measured_by_another_from_the_start() {
    let coordinator = Coordinator::start(Terms::PATIENT).await;
    let network = Network::to(coordinator.address()).await;
    let mut leaving = ScriptedAgent::attach(&network, "leaving").await;
    coordinator.create(job("handed-over", 1)).await;
    let trial = leaving.expect_start().await;
    assert!(leaving.step(&trial, 1, 0).await);
    leaving.say(trial_finished(&trial, cancelled("the agent was ended by SIGTERM")));
    assert!(!leaving.expect_acknowledge().await.stale);

    // Long before the lease would have ended.
    let mut heir = ScriptedAgent::attach(&network, "heir").await;
    let again = heir.expect_start_in_time().await;
    assert_eq!(again.trial_id, trial.trial_id);
    assert!(heir.finish(&again, 2).await);

    let trials = record::of_ended_job(&coordinator, "handed-over").await;
    let trial = &trials[&trial.trial_id];
    assert_eq!(trial.agents, ["leaving", "heir"]);
    assert_eq!((trial.returned, trial.measured), (1, Some(2)));
    record::assert_report_has_steps(&coordinator.get("handed-over").await, 0);
}

#[tokio::test]
async fn a_report_that_was_lost_on_its_way_is_sent_again_and_counts() {
    let coordinator = Coordinator::start(Terms::PATIENT).await;
    let network = Network::to(coordinator.address()).await;
    let mut agent = ScriptedAgent::attach(&network, "a").await;
    coordinator.create(job("lost", 1)).await;
    let trial = agent.expect_start().await;
    assert!(agent.step(&trial, 1, 0).await);

    lose(&network, Way::ToCoordinator, || agent.say(step_finished(&trial, step(1, 1)))).await;
    network.heal();
    let mut agent = ScriptedAgent::return_with(&network, "a", &trial).await;
    assert!(agent.registered.held_trial_stands);
    assert!(agent.step(&trial, 1, 1).await);

    lose(&network, Way::ToCoordinator, || agent.say(trial_finished(&trial, measured(1)))).await;
    network.heal();
    let mut agent = ScriptedAgent::return_with(&network, "a", &trial).await;
    assert!(agent.registered.held_trial_stands, "the outcome was lost, so the trial goes on");
    assert!(agent.finish(&trial, 1).await);

    let trials = record::of_ended_job(&coordinator, "lost").await;
    let trial = &trials[&trial.trial_id];
    assert_eq!(trial.steps.iter().copied().collect::<Vec<_>>(), [(1, 0), (1, 1)]);
    assert_eq!((trial.returned, trial.measured), (0, Some(1)));
}

#[tokio::test]
async fn a_report_whose_acknowledgement_was_lost_is_sent_again_and_counts_once() {
    let coordinator = Coordinator::start(Terms::PATIENT).await;
    let network = Network::to(coordinator.address()).await;
    let mut agent = ScriptedAgent::attach(&network, "a").await;
    // The second trial keeps the job going, so that the first one is still known when it is reported
    // again.
    coordinator.create(job("twice", 2)).await;
    let first = agent.expect_start().await;

    network.lose(Way::ToAgents);
    agent.say(step_finished(&first, step(1, 0)));
    coordinator
        .records("twice", "the step", |event| matches!(event.event, Some(Event::StepFinished(_))))
        .await;
    network.heal();
    let mut agent = ScriptedAgent::return_with(&network, "a", &first).await;
    assert!(agent.registered.held_trial_stands);
    agent.say(step_finished(&first, step(1, 0)));
    let acknowledged = agent.expect_acknowledge().await;
    assert_eq!((acknowledged.what, acknowledged.stale), (Some(What::StepIndex(0)), false));

    network.lose(Way::ToAgents);
    agent.say(trial_finished(&first, measured(1)));
    coordinator
        .records("twice", "the outcome", |event| matches!(event.event, Some(Event::TrialEnded(_))))
        .await;
    network.heal();
    // It holds on to the outcome, and does not know of the trial that it was given meanwhile.
    let mut agent = ScriptedAgent::return_with(&network, "a", &first).await;
    assert!(!agent.registered.held_trial_stands);
    assert!(agent.finish(&first, 1).await, "the outcome counts, as it did the first time");
    let second = agent.expect_start().await;
    assert_ne!(second.trial_id, first.trial_id);
    assert!(agent.finish(&second, 2).await);

    let trials = record::of_ended_job(&coordinator, "twice").await;
    assert_eq!(trials[&first.trial_id].steps.len(), 1);
    assert_eq!(trials[&first.trial_id].measured, Some(1));
    assert_eq!(trials[&second.trial_id].measured, Some(2));
}

#[tokio::test]
async fn a_trial_whose_start_was_never_heard_is_given_out_again_long_before_its_lease_ends() {
    let coordinator = Coordinator::start(Terms::PATIENT).await;
    let network = Network::to(coordinator.address()).await;
    let deaf = ScriptedAgent::attach(&network, "a").await;
    network.lose(Way::ToAgents);
    coordinator.create(job("unheard", 1)).await;
    until_lost(&network, Way::ToAgents, 0).await;
    network.heal();
    drop(deaf);

    let mut agent = ScriptedAgent::attach(&network, "a").await;
    let trial = agent.expect_start_in_time().await;
    assert!(agent.finish(&trial, 1).await);
    let trials = record::of_ended_job(&coordinator, "unheard").await;
    assert_eq!((trials[&trial.trial_id].returned, trials[&trial.trial_id].measured), (1, Some(1)));
}

#[tokio::test]
async fn an_agent_back_from_the_dead_changes_nothing_about_what_another_measured() {
    let coordinator = Coordinator::start(Terms::BRIEF).await;
    let network = Network::to(coordinator.address()).await;
    let cut_off = Network::to(coordinator.address()).await;
    let mut ghost = ScriptedAgent::attach(&cut_off, "ghost").await;
    coordinator.create(job("haunted", 1)).await;
    let old = ghost.expect_start().await;
    assert!(ghost.step(&old, 1, 0).await);
    cut_off.part();
    let mut other = ScriptedAgent::attach(&network, "other").await;
    let new = other.expect_start_in_time().await;
    assert_eq!(new.trial_id, old.trial_id);
    assert_ne!(new.lease_token, old.lease_token);
    assert!(other.step(&new, 2, 0).await);

    // It believes that it still holds the trial, and that it has results.
    cut_off.heal();
    let mut ghost = ScriptedAgent::return_with(&cut_off, "ghost", &old).await;
    assert!(!ghost.registered.held_trial_stands);
    assert!(!ghost.lease_stands(&old).await);
    assert!(!ghost.step(&old, 1, 1).await);
    assert!(!ghost.finish(&old, 1).await);
    assert!(other.lease_stands(&new).await, "the ghost took the trial from its holder");
    assert!(other.finish(&new, 2).await);
    assert!(!ghost.finish(&old, 1).await);

    let trials = record::of_ended_job(&coordinator, "haunted").await;
    let trial = &trials[&old.trial_id];
    assert_eq!(trial.steps.iter().copied().collect::<Vec<_>>(), [(1, 0), (2, 0)]);
    assert_eq!(
        (&*trial.agents, trial.measured),
        (&["ghost".to_owned(), "other".to_owned()][..], Some(2))
    );
}

#[tokio::test]
async fn an_agent_that_is_cut_off_keeps_its_host_to_itself_until_its_lease_ends() {
    let coordinator = Coordinator::start(Terms::BRIEF).await;
    let network = Network::to(coordinator.address()).await;
    let cut_off = Network::to(coordinator.address()).await;
    let on_one_host = |name| registration(name, "one-host");
    let mut silent = ScriptedAgent::attach_as(&cut_off, on_one_host("silent")).await;
    coordinator.create(job("shared", 2)).await;
    let first = silent.expect_start().await;
    assert!(silent.step(&first, 1, 0).await);
    cut_off.part();

    // There is a second trial, but nothing for the neighbour while the silent one may still measure.
    let mut neighbour = ScriptedAgent::attach_as(&network, on_one_host("neighbour")).await;
    let next = neighbour.expect_start_in_time().await;
    let silent = coordinator.agent("silent").await.unwrap();
    assert_eq!(silent.running_trial_id, None, "the host was given away while the lease stood");
    assert!(neighbour.finish(&next, 2).await);
    let last = neighbour.expect_start().await;
    assert!(neighbour.finish(&last, 3).await);
    let trials = record::of_ended_job(&coordinator, "shared").await;
    assert_eq!(trials[&first.trial_id].agents, ["silent", "neighbour"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn agents_of_one_host_take_turns_whatever_breaks() {
    const JOBS: [&str; 4] = ["one", "two", "three", "four"];
    let agents = [("left", "one-host"), ("right", "one-host")];
    let fleet = Fleet::start(Terms::BRIEF, &agents).await;
    for name in JOBS {
        fleet.coordinator.create(job(name, 4)).await;
    }
    for cut_off in ["left", "right", "left"] {
        fleet.network(cut_off).part();
        // One may have been on its way; the next one is the other's.
        let ended = fleet.coordinator.trials_ended(&JOBS).await;
        fleet.coordinator.until_trials_ended(&JOBS, (ended + 2).min(16)).await;
        fleet.network(cut_off).heal();
    }
    record::assert_agree(&fleet.coordinator, JOBS, &fleet.ledger).await;
    let runs = fleet.ledger.by_mark();
    for (name, _) in agents {
        assert!(runs.values().any(|run| run.agent == name), "{name} never measured");
    }
}

#[tokio::test]
async fn a_drained_agent_stays_drained_through_reconnection_and_restart() {
    let coordinator = Coordinator::start(Terms::PATIENT).await;
    let network = Network::to(coordinator.address()).await;
    let mut drained = ScriptedAgent::attach(&network, "drained").await;
    coordinator.create(job("two", 2)).await;
    let first = drained.expect_start().await;
    coordinator.drain("drained", true).await;

    coordinator.crash_and_restart().await;
    network.leads_to(coordinator.address());
    network.cut();
    let mut drained = ScriptedAgent::return_with(&network, "drained", &first).await;
    assert!(drained.registered.held_trial_stands);
    let Some(coordinator_message::Message::Drain(drain)) = drained.hear().await else {
        panic!("the agent was not told again that it is drained");
    };
    assert!(drain.draining);
    assert!(drained.finish(&first, 1).await);
    // Its reports are handled in order: were there a trial for it, it would come before this answer.
    assert!(!drained.lease_stands(&first).await);
    assert_eq!(coordinator.agent("drained").await.unwrap().running_trial_id, None);

    let mut fresh = ScriptedAgent::attach(&network, "fresh").await;
    let second = fresh.expect_start().await;
    assert!(fresh.finish(&second, 2).await);
    let trials = record::of_ended_job(&coordinator, "two").await;
    assert_eq!(trials[&first.trial_id].agents, ["drained"]);
    assert_eq!(trials[&second.trial_id].agents, ["fresh"]);
}

/// Does something and waits until the network has swallowed what came of it.
async fn lose(network: &Network, way: Way, act: impl FnOnce()) {
    let before = network.lost(way);
    network.lose(way);
    act();
    until_lost(network, way, before).await;
}

async fn until_lost(network: &Network, way: Way, before: u64) {
    until_async("something to be lost", PATIENCE, async || {
        (network.lost(way) > before).then_some(())
    })
    .await;
}
