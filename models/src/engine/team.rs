//! The worker threads: started, made ready, joined.

use std::{
    num::NonZeroU32,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicU64, Ordering},
        mpsc,
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use super::{
    EngineError, EngineSettings,
    batch_log::BatchLog,
    devices,
    queue::Queue,
    warm_up::{WarmUp, WarmedUp},
    worker::{BatchTrust, Request, Worker},
};
use crate::{process, tensor::WireTensor, torch::Module};

pub(super) struct Team {
    threads: Vec<JoinHandle<()>>,
    shared: Arc<Shared>,
    /// Disconnected when the last worker has ended.
    ended: mpsc::Receiver<()>,
}

pub(super) struct Shared {
    pub(super) worker: Worker,
    queue: Arc<Queue<Request>>,
    warm_up: WarmUp,
    settings: EngineSettings,
}

type Ready = Result<Vec<WireTensor>, EngineError>;

impl Team {
    /// Starts the workers, one module between them: its weights are then in memory and in the cache once.
    /// The first compiles it; the others run it once each, at the same time. Then it is tried with batches.
    pub(super) fn start(
        module: Module,
        queue: &Arc<Queue<Request>>,
        settings: &EngineSettings,
        warm_up: WarmUp,
        batch_log: Option<BatchLog>,
    ) -> Result<(Self, WarmedUp), EngineError> {
        let shared = Arc::new(Shared {
            worker: Worker {
                module,
                trust: BatchTrust::default(),
                batch_log,
                last_pass_us: AtomicU64::new(u64::MAX),
                batch_limit: AtomicU32::new(settings.max_batch.get()),
                delay: settings.max_batch_delay,
            },
            queue: Arc::clone(queue),
            warm_up,
            settings: settings.clone(),
        });
        let (alive, ended) = mpsc::channel();
        let (ready, readiness) = mpsc::channel();
        let mut team = Self { threads: Vec::new(), shared: Arc::clone(&shared), ended };
        let outcome = (|| {
            team.add(&shared, 0, &alive, &ready)?;
            let outputs = wait(&readiness)?;
            for index in 1..settings.workers.get() {
                team.add(&shared, index, &alive, &ready)?;
            }
            (1..settings.workers.get()).try_for_each(|_| wait(&readiness).map(drop))?;
            shared.warm_up_batches(outputs)
        })();
        drop(alive);
        match outcome {
            Ok(warmed_up) => Ok((team, warmed_up)),
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
            let outcome = outcome.unwrap_or_else(|_| Err(thread_failure("it panicked")));
            let failed = outcome.is_err();
            // Nobody listens only when another worker failed to start, and then the queue is closed.
            if ready.send(outcome).is_ok() && !failed {
                shared.worker.run(&shared.queue);
            }
            drop(alive);
        });
        self.threads.push(thread.map_err(thread_failure)?);
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
    /// On a thread of its own, whose memory goes with it: what large batches leave behind in a worker's
    /// heap spreads the tensors of all later passes, and cost `MobileNetV2` a tenth of its rate.
    fn warm_up_batches(&self, outputs: Vec<WireTensor>) -> Result<WarmedUp, EngineError> {
        let max_batch = self.settings.max_batch;
        if max_batch == NonZeroU32::MIN {
            return Ok(WarmedUp::one_by_one(outputs));
        }
        let warm_up_in_batches = || {
            self.set_up_thread()?;
            Ok(self.warm_up.batches(&self.worker.module, outputs, max_batch))
        };
        let warmed_up = thread::scope(|scope| {
            let thread = thread::Builder::new().name("warm_up".to_owned());
            let thread = thread.spawn_scoped(scope, warm_up_in_batches).map_err(thread_failure)?;
            thread.join().unwrap_or_else(|_| Err(thread_failure("it panicked")))
        })?;
        self.worker.batch_limit.store(warmed_up.batch_limit.get(), Ordering::Relaxed);
        process::give_back_free_memory();
        Ok(warmed_up)
    }

    fn set_up_thread(&self) -> Result<(), EngineError> {
        let device = self.settings.device;
        devices::set_up_thread(device, self.settings.intra_op_threads)
            .map_err(|error| EngineError::Device { device, message: error.to_string() })
    }

    /// Whether the next pass is likely to take no longer than handing its request over.
    pub(super) fn last_pass_was_short(&self) -> bool {
        let took = Duration::from_micros(self.worker.last_pass_us.load(Ordering::Relaxed));
        took <= self.settings.longest_caller_pass
    }
}

fn wait(readiness: &mpsc::Receiver<Ready>) -> Ready {
    readiness.recv().unwrap_or_else(|_| Err(thread_failure("it ended before it was ready")))
}

fn thread_failure(what: impl ToString) -> EngineError {
    EngineError::Thread(what.to_string())
}

/// Sets up the calling thread and warms it.
fn prepare(shared: &Shared, index: u32) -> Ready {
    shared.set_up_thread()?;
    if index == 0 {
        return shared.warm_up.first_worker(&shared.worker.module);
    }
    shared.warm_up.again(&shared.worker.module);
    Ok(Vec::new())
}
