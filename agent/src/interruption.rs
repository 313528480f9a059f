//! Ctrl-C and SIGTERM: the first asks a running load to end, the second ends the program.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use assay_agent::load::CancelHandle;
use tokio::signal::unix::{SignalKind, signal};

use crate::failure::ExitCode;

/// Whether somebody asked the program to end.
#[derive(Clone, Debug, Default)]
pub(crate) struct Interruption(Arc<AtomicBool>);

impl Interruption {
    /// Cancels the load at the first signal and ends the program at the second.
    pub(crate) fn cancels(handle: CancelHandle) -> io::Result<Self> {
        let interruption = Self::default();
        let flag = Arc::clone(&interruption.0);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
        let (mut interrupts, mut terminations) = {
            let _guard = runtime.enter();
            (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?)
        };
        thread::Builder::new().name("signals".to_owned()).spawn(move || {
            runtime.block_on(async {
                tokio::select! { _ = interrupts.recv() => {}, _ = terminations.recv() => {} }
                flag.store(true, Ordering::SeqCst);
                handle.cancel();
                tokio::select! { _ = interrupts.recv() => {}, _ = terminations.recv() => {} }
                end_now();
            });
        })?;
        Ok(interruption)
    }

    pub(crate) fn happened(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}

#[expect(clippy::exit, reason = "the user asked twice: nothing is worth waiting for")]
fn end_now() {
    std::process::exit(i32::from(ExitCode::Interrupted.number()));
}
