//! Telling whoever started this process how far it has come, where nothing that a model prints can get.

use std::{
    fs::File,
    io::{self, Write},
    sync::{Arc, Mutex, PoisonError},
};

use assay_measure::host_status::HostStatus;

use crate::process;

/// The end of a pipe that was inherited; clones share it.
#[derive(Clone, Debug)]
pub(crate) struct StatusPipe(Arc<Mutex<File>>);

impl StatusPipe {
    /// The one under this number. It may be taken once.
    pub(crate) fn inherited(number: i32) -> io::Result<Self> {
        Ok(Self(Arc::new(Mutex::new(File::from(process::inherited(number)?)))))
    }

    /// Tells one thing. Nobody may listen any more, which changes nothing here.
    pub(crate) fn tell(&self, status: &HostStatus) {
        let mut pipe = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = pipe.write_all(status.line().as_bytes()) {
            tracing::debug!(%error, "nobody listens to the status");
        }
    }
}
