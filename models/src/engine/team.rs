//! The worker threads: started, made ready, joined.

use std::{
    num::NonZeroU32,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
        mpsc,
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use assay_measure::configuration::Device;

use super::{
    EngineError, EngineSettings,
    batch_log::BatchLog,
    queue::Queue,
    rehearsal::{Rehearsal, Rehearsed},
    worker::{BatchTrust, Request, Worker},
};
use crate::torch::{self, Module};

pub(super) struct Team {
    threads: Vec<JoinHandle<()>>,
    shared: Arc<Shared>,
    /// Disconnected when the last worker has ended.
    ended: mpsc::Receiver<()>,
}

/// What all workers share.
pub(super) struct Shared {
    module: Arc<Module>,
    queue: Arc<Queue<Request>>,
    trust: BatchTrust,
    batch_log: Option<BatchLog>,
    /// Greater than any real one until there was one.
    last_pass_us: AtomicU64,
    rehearsal: Rehearsal,
    /// There once the first worker is ready.
    rehearsed: OnceLock<Rehearsed>,
    settings: EngineSettings,
}

type Ready = Result<(), EngineError>;

impl Team {
    /// Starts the workers, one module between them: its weights are then in memory and in the cache once.
    /// The first compiles it; the others run it once each, at the same time.
    pub(super) fn start(
        module: Arc<Module>,
        queue: &Arc<Queue<Request>>,
        settings: &EngineSettings,
        rehearsal: Rehearsal,
        batch_log: Option<BatchLog>,
    ) -> Result<Self, EngineError> {
        let shared = Arc::new(Shared {
            module,
            queue: Arc::clone(queue),
            trust: BatchTrust::default(),
            batch_log,
            last_pass_us: AtomicU64::new(u64::MAX),
            rehearsal,
            rehearsed: OnceLock::new(),
            settings: settings.clone(),
        });
        let (alive, ended) = mpsc::channel();
        let (ready, readiness) = mpsc::channel();
        let mut team = Self { threads: Vec::new(), shared: Arc::clone(&shared), ended };
        let outcome = (|| {
            team.add(&shared, 0, &alive, &ready)?;
            wait(&readiness)?;
            for index in 1..settings.workers.get() {
                team.add(&shared, index, &alive, &ready)?;
            }
            (1..settings.workers.get()).try_for_each(|_| wait(&readiness))
        })();
        drop(alive);
        match outcome {
            Ok(()) => Ok(team),
            Err(error) => {
                queue.close();
                team.join(super::GRACE);
                Err(error)
            }
        }
    }

    /// What the workers share, for whoever works in a worker's place.
    pub(super) fn shared(&self) -> Arc<Shared> {
        Arc::clone(&self.shared)
    }

    fn add(
        &mut self,
        shared: &Arc<Shared>,
        index: u32,
        alive: &mpsc::Sender<()>,
        ready: &mpsc::Sender<Ready>,
    ) -> Result<(), EngineError> {
        let (shared, alive, ready) = (Arc::clone(shared), alive.clone(), ready.clone());
        let thread = thread::Builder::new().name(format!("worker-{index}")).spawn(move || {
            let outcome = catch_unwind(AssertUnwindSafe(|| prepare(&shared, index)));
            let outcome =
                outcome.unwrap_or_else(|_| Err(EngineError::Thread("it panicked".to_owned())));
            let failed = outcome.is_err();
            // Nobody listens only when another worker failed to start, and then the queue is closed.
            if ready.send(outcome).is_ok() && !failed {
                shared.worker().run(&shared.queue);
            }
            drop(alive);
        });
        self.threads.push(thread.map_err(|error| EngineError::Thread(error.to_string()))?);
        Ok(())
    }

    /// Joins workers that end within `grace`; one that is stuck inside the model is left behind.
    pub(super) fn join(self, grace: Duration) {
        if self.ended.recv_timeout(grace) == Err(mpsc::RecvTimeoutError::Timeout) {
            tracing::warn!("a worker is still inside the model and is left behind");
            return;
        }
        for thread in self.threads {
            if thread.join().is_err() {
                tracing::error!("a worker had panicked");
            }
        }
    }
}

impl Shared {
    pub(super) fn worker(&self) -> Worker<'_> {
        Worker {
            module: &self.module,
            trust: &self.trust,
            batch_log: self.batch_log.as_ref(),
            last_pass_us: &self.last_pass_us,
            most: usize::try_from(self.batch_limit().get()).unwrap_or(usize::MAX),
            delay: self.settings.max_batch_delay,
        }
    }

    /// The first worker's findings; nobody else works before they are there.
    pub(super) fn rehearsed(&self) -> Option<&Rehearsed> {
        self.rehearsed.get()
    }

    fn batch_limit(&self) -> NonZeroU32 {
        self.rehearsed().map_or(self.settings.max_batch, |rehearsed| rehearsed.batch_limit)
    }

    pub(super) fn last_pass(&self) -> Duration {
        Duration::from_micros(self.last_pass_us.load(Ordering::Relaxed))
    }
}

fn wait(readiness: &mpsc::Receiver<Ready>) -> Ready {
    readiness
        .recv()
        .unwrap_or_else(|_| Err(EngineError::Thread("it ended before it was ready".to_owned())))
}

/// Sets up the calling thread and warms it.
fn prepare(shared: &Shared, index: u32) -> Ready {
    torch::set_intra_op_threads(shared.settings.intra_op_threads.get());
    if let Device::Cuda(device) = shared.settings.device {
        torch::use_own_stream(device).map_err(|error| EngineError::Device {
            device: shared.settings.device,
            message: error.to_string(),
        })?;
    }
    if index == 0 {
        let max_batch = shared.settings.max_batch;
        let rehearsed = shared.rehearsal.first_worker(&shared.module, max_batch)?;
        shared.rehearsed.get_or_init(|| rehearsed);
    } else {
        shared.rehearsal.again(&shared.module);
    }
    Ok(())
}
