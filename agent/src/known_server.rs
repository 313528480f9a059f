//! An HTTP server whose capacity is known: workers of one service time, first come, first served.
//!
//! It is what the instrument measures to test itself. Its workers are book-keeping: a request is over
//! when it arrived, or when a worker was free, plus the service time, and these deadlines follow from
//! deadlines, so that the error of timers does not add up. One thread therefore does everything, and
//! costs next to no processor time. The answer is always the same few bytes, whatever was asked for.

use std::{
    io,
    net::{SocketAddr, TcpListener},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use assay_measure::known_queue::KnownQueue;
use rustix::{
    event::{EventfdFlags, eventfd},
    fd::OwnedFd,
};

use self::acceptor::Acceptor;
use crate::load::pacing::{self, Scheduling};

mod acceptor;
mod connection;
mod workers;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Service {
    pub queue: KnownQueue,
    /// It changes its pace later; only disturbances on purpose want that.
    pub change: Option<Change>,
}

/// Another service time from some moment on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    /// How long after the first request.
    pub after: Duration,
    /// The service time of requests that begin from then on.
    pub service_time: Duration,
}

/// A running server; dropping it ends it and closes every connection.
#[derive(Debug)]
pub struct KnownServer {
    address: SocketAddr,
    stop: OwnedFd,
    cpu_ns: Arc<AtomicU64>,
    thread: Option<JoinHandle<()>>,
}

impl KnownServer {
    /// Listens on a free port of 127.0.0.1.
    ///
    /// # Errors
    /// When the system refuses a listener, a timer or a thread.
    pub fn start(service: Service) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let stop = eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)?;
        let cpu_ns = Arc::new(AtomicU64::new(0));
        pacing::raise_file_limit();
        let acceptor = Acceptor::open(listener, service, &stop, Arc::clone(&cpu_ns))?;
        let thread =
            std::thread::Builder::new().name("known-server".to_owned()).spawn(move || {
                pacing::prepare_thread(&Scheduling { realtime: true, cpus: Vec::new() });
                if let Err(error) = acceptor.serve() {
                    tracing::error!(%error, "the known server ended badly");
                }
            })?;
        Ok(Self { address, stop, cpu_ns, thread: Some(thread) })
    }

    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Processor time it has used so far.
    #[must_use]
    pub fn cpu_time(&self) -> Duration {
        Duration::from_nanos(self.cpu_ns.load(Ordering::Relaxed))
    }
}

impl Drop for KnownServer {
    fn drop(&mut self) {
        // Fails only when the counter is full, and then the server was told already.
        let _ = rustix::io::write(&self.stop, &1u64.to_ne_bytes());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the known server panicked");
        }
    }
}

#[cfg(test)]
mod tests;
