//! The end of whatever load a trial has under way, and of what it would still begin.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::load::CancelHandle;

#[derive(Clone, Debug, Default)]
pub(super) struct Stops(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    stopped: bool,
    handles: Vec<CancelHandle>,
}

impl Stops {
    /// This generator ends with all others; at once, if they have ended already.
    pub(super) fn include(&self, handle: CancelHandle) {
        let mut state = self.lock();
        if state.stopped {
            handle.cancel();
        }
        state.handles.push(handle);
    }

    pub(super) fn stop(&self) {
        let mut state = self.lock();
        state.stopped = true;
        state.handles.iter().for_each(CancelHandle::cancel);
    }

    /// A panic elsewhere leaves handles that are still right.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
