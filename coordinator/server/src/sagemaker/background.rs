//! Work that goes on after a request was answered: fetching models and payloads.
//!
//! One owner holds the tasks, so none outlives the coordinator; what was under way at a stop begins again
//! at the next start, which whoever gave the work takes care of.

use std::pin::Pin;

use tokio::{sync::mpsc, task::JoinSet};
use tokio_util::sync::CancellationToken;

type Work = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Where work is handed in; cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Background {
    work: mpsc::UnboundedSender<Work>,
}

pub(crate) struct Worker {
    work: mpsc::UnboundedReceiver<Work>,
}

impl Background {
    pub(crate) fn new() -> (Self, Worker) {
        let (sender, receiver) = mpsc::unbounded_channel();
        (Self { work: sender }, Worker { work: receiver })
    }

    /// Does this beside everything else. Nothing happens once the coordinator is stopping.
    pub(crate) fn run(&self, work: impl Future<Output = ()> + Send + 'static) {
        drop(self.work.send(Box::pin(work)));
    }
}

impl Worker {
    /// Works until `stop`; what is under way is then cut off.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        let mut tasks = JoinSet::new();
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                Some(work) = self.work.recv() => drop(tasks.spawn(work)),
                Some(ended) = tasks.join_next() => {
                    if let Err(error) = ended {
                        tracing::error!(%error, "background work ended abnormally");
                    }
                }
            }
        }
        tasks.shutdown().await;
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test]
    async fn work_is_done_beside_a_panic_and_cut_off_at_the_stop() {
        let (background, worker) = Background::new();
        let stop = CancellationToken::new();
        let (done, is_done) = oneshot::channel();
        let (held, is_dropped) = oneshot::channel::<()>();
        background.run(async { panic!("on purpose") });
        background.run(async move { done.send(7).unwrap() });
        background.run(async move {
            let _held = held;
            std::future::pending::<()>().await;
        });
        let ask = async {
            assert_eq!(is_done.await, Ok(7));
            stop.cancel();
        };
        tokio::join!(worker.run(stop.clone()), ask);
        assert!(is_dropped.await.is_err());
    }
}
