//! The instrument tests itself: a server of known capacity, and everything that watches the search on it.
//!
//! The search is the ordinary one, over HTTP, with the sending threads scheduled as in trials. What it
//! found is held against the truth in [`report`]; nothing here decides whether that is good.

use std::{io, time::Duration};

use assay_measure::{
    known_queue::KnownQueue,
    search::SearchPlan,
    validity::{Validity, judge},
};
use thiserror::Error;

use crate::{
    capacity::SearchRun,
    clock::Clock,
    hardware::{evidence, facts::Machine, sampler::Sampler},
    known_server::{KnownServer, Service},
    load::{Generator, GeneratorError, GeneratorOptions, pacing::Scheduling},
    target::{Address, Target},
};

pub mod report;

/// A known server, a load generator in front of it, and a sampler beside them.
#[derive(Debug)]
pub struct TestBench {
    machine: Machine,
    sampler: Sampler,
    clock: Clock,
    /// When the generator was started, on the sampler's clock.
    base_ns: u64,
    pub generator: Generator,
    server: KnownServer,
}

/// The test bench cannot be set up.
#[derive(Debug, Error)]
pub enum SetUpError {
    /// The system refuses a listener, a timer or a thread.
    #[error("cannot start {what}")]
    System { what: &'static str, source: io::Error },
    #[error(transparent)]
    Generator(#[from] GeneratorError),
}

/// What was seen beside the search.
#[derive(Clone, Debug, PartialEq)]
pub struct Watched {
    /// What speaks for and against the figures.
    pub validity: Validity,
    /// Processor time of the generator's threads, in per cent of one processor.
    pub generator_cpu_pct: f64,
    /// Processor time of the server's thread, in per cent of one processor.
    pub server_cpu_pct: f64,
}

impl TestBench {
    /// Starts server, sampler and generator.
    ///
    /// # Errors
    /// [`SetUpError`] when the system refuses a part of it.
    pub fn set_up(queue: KnownQueue) -> Result<Self, SetUpError> {
        let system = |what| move |source| SetUpError::System { what, source };
        let server = KnownServer::start(Service { queue, change: None })
            .map_err(system("the server of known capacity"))?;
        let machine = Machine::here();
        let clock = Clock::start();
        let sampler = Sampler::start(clock, machine.cpus.clone(), machine.memory)
            .map_err(system("the hardware sampler"))?;
        let address = server.address();
        let target = Target::Http {
            host: address.ip().to_string(),
            port: address.port(),
            path: Some("/invocations".to_owned()),
        };
        let options = GeneratorOptions {
            scheduling: Scheduling { realtime: true, cpus: Vec::new() },
            ..GeneratorOptions::default()
        };
        let base_ns = sampler.mark();
        let generator = Generator::start(&target, &Address::Tcp(address), None, &[], &options)?;
        Ok(Self { machine, sampler, clock, base_ns, generator, server })
    }

    /// Ends everything and judges what was seen while the search ran.
    #[must_use]
    pub fn take_down(self, plan: &SearchPlan, run: &SearchRun) -> Watched {
        self.sampler.mark();
        let elapsed_s = self.clock.now_ns().saturating_sub(self.base_ns) as f64 / 1e9;
        let share_pct = |time: Duration| time.as_secs_f64() / elapsed_s.max(1e-9) * 100.0;
        let (from, to) = span(run);
        let at = |since: Duration| {
            self.base_ns + u64::try_from(since.as_nanos()).unwrap_or(u64::MAX / 2)
        };
        let utilization = self.sampler.window(at(from), at(to));
        // The server sleeps while it serves, so even on few processors the generator finds room.
        let mut seen = run.evidence(plan, self.machine.vcpus() < 2);
        seen.machine = Some(evidence::of_window(&utilization, self.machine.memory));
        Watched {
            validity: judge(&seen),
            generator_cpu_pct: share_pct(run.totals().generator_cpu),
            server_cpu_pct: share_pct(self.server.cpu_time()),
        }
    }
}

/// From the first step of the answer to its last; of the whole search when it has no answer.
fn span(run: &SearchRun) -> (Duration, Duration) {
    let mut steps: Vec<_> = run.answer_steps().collect();
    if steps.is_empty() {
        steps = run.steps.iter().collect();
    }
    let from = steps.first().map_or(Duration::ZERO, |step| step.started);
    let to = steps.last().map_or(Duration::ZERO, |step| step.started + step.elapsed);
    (from, to)
}
