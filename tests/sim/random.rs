//! Random operations on a fleet at work. A seed decides which; how they fall together with what runs
//! is up to the machine, so that every run tries other moments.

use std::time::Duration;

use assay_proto::v1;
use assay_tests::wait::until_async;
use rand::{RngExt, SeedableRng, seq::IndexedRandom};
use rand_chacha::ChaCha8Rng;
use tonic::Code;

use crate::{
    coordinator::{PATIENCE, Terms, answered},
    figures::job,
    fleet::Fleet,
    network::Way,
    record,
};

/// Two of them share a host.
const AGENTS: [(&str, &str); 3] = [("a", "host-1"), ("b", "host-1"), ("c", "host-2")];
const SEEDS: u64 = 6;
const OPERATIONS: usize = 40;

#[derive(Clone, Copy, Debug)]
enum Operation {
    CreateJob { trials: u32 },
    StopJob { number: usize },
    Cut { agent: &'static str },
    Lose { agent: &'static str, way: Way },
    Part { agent: &'static str },
    Heal { agent: &'static str },
    ReplaceAgent { agent: &'static str },
    Drain { agent: &'static str, draining: bool },
    RestartCoordinator,
    Pass { time: Duration },
}

impl Operation {
    fn draw(chance: &mut ChaCha8Rng) -> Self {
        let (agent, _) = *AGENTS.choose(chance).unwrap();
        match chance.random_range(0..24) {
            0..=3 => Self::CreateJob { trials: chance.random_range(1..=4) },
            4 => Self::StopJob { number: chance.random_range(0..8) },
            5..=6 => Self::Cut { agent },
            7 => Self::Lose { agent, way: Way::ToCoordinator },
            8 => Self::Lose { agent, way: Way::ToAgents },
            9 => Self::Part { agent },
            10..=13 => Self::Heal { agent },
            14 => Self::ReplaceAgent { agent },
            15 => Self::Drain { agent, draining: true },
            16 => Self::Drain { agent, draining: false },
            17 => Self::RestartCoordinator,
            _ => Self::Pass { time: Duration::from_millis(chance.random_range(1..60)) },
        }
    }
}

struct World {
    fleet: Fleet,
    jobs: Vec<String>,
}

impl World {
    async fn carry_out(&mut self, operation: Operation) {
        match operation {
            Operation::CreateJob { trials } => {
                let name = format!("job-{}", self.jobs.len());
                self.fleet.coordinator.create(job(&name, trials)).await;
                self.jobs.push(name);
            }
            Operation::StopJob { number } => self.stop(number).await,
            Operation::Cut { agent } => self.fleet.network(agent).cut(),
            Operation::Lose { agent, way } => self.fleet.network(agent).lose(way),
            Operation::Part { agent } => self.fleet.network(agent).part(),
            Operation::Heal { agent } => self.fleet.network(agent).heal(),
            Operation::ReplaceAgent { agent } => self.fleet.replace(agent).await,
            Operation::Drain { agent, draining } => {
                self.fleet.coordinator.drain(agent, draining).await
            }
            Operation::RestartCoordinator => self.fleet.restart_coordinator().await,
            Operation::Pass { time } => tokio::time::sleep(time).await,
        }
    }

    async fn stop(&self, number: usize) {
        let Some(name) = self.jobs.get(number) else { return };
        until_async("a job to be stopped", PATIENCE, async || {
            let request = v1::StopJobRequest { name: name.clone(), by: "ada".to_owned() };
            match answered(self.fleet.coordinator.jobs().stop_job(request).await) {
                Some(Ok(_)) => Some(()),
                Some(Err(refused)) if refused.code() == Code::FailedPrecondition => Some(()),
                Some(Err(refused)) => panic!("cannot stop {name}: {refused}"),
                None => None,
            }
        })
        .await;
    }

    /// Everything works again, so every job comes to its end.
    async fn wind_up(&self) {
        for (agent, _) in AGENTS {
            self.fleet.network(agent).heal();
            self.fleet.coordinator.drain(agent, false).await;
        }
        let jobs = self.jobs.iter().map(String::as_str);
        record::assert_agree(&self.fleet.coordinator, jobs, &self.fleet.ledger).await;
    }
}

async fn try_seed(seed: u64) {
    let mut chance = ChaCha8Rng::seed_from_u64(seed);
    let operations: Vec<_> = (0..OPERATIONS).map(|_| Operation::draw(&mut chance)).collect();
    let mut world = World { fleet: Fleet::start(Terms::BRIEF, &AGENTS).await, jobs: Vec::new() };
    for operation in operations {
        world.carry_out(operation).await;
    }
    world.wind_up().await;
}

#[test]
fn whatever_happens_every_trial_ends_once_and_no_two_leases_stand_at_once() {
    let runtime = || {
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
    };
    let worlds = (0..SEEDS).map(|seed| {
        let name = format!("seed {seed}");
        let world = move || runtime().block_on(try_seed(seed));
        (seed, std::thread::Builder::new().name(name).spawn(world).unwrap())
    });
    // All begin before the first is waited for.
    let worlds: Vec<_> = worlds.collect();
    let failed =
        worlds.into_iter().filter_map(|(seed, world)| world.join().is_err().then_some(seed));
    let failed: Vec<u64> = failed.collect();
    assert!(failed.is_empty(), "seeds {failed:?} failed, as their threads said above");
}
