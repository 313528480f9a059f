//! A host on its way: what it inherits, and with which means of keeping it in it comes to run.

use std::{ffi::OsString, fs::File, io, os::fd::AsRawFd, path::PathBuf, sync::Arc};

use assay_measure::hardware::LimitInForce;
use rustix::process::getpid;
use thiserror::Error;
use tokio::process::{Child, Command};

use super::{BatchLog, Serving, Surroundings, launch};
use crate::confinement::{
    Confinement, Needs, NotConfined, Step, means::Means, private_folder::PrivateFolder,
};

/// A host could not be started.
#[derive(Debug, Error)]
pub enum StartError {
    /// The system refuses what every host needs: a folder, a socket, a pipe.
    #[error("cannot make {what} for the model host")]
    System { what: &'static str, source: io::Error },
    #[error("cannot grant {} its files", program.display())]
    Files { program: PathBuf, source: io::Error },
    #[error("cannot start {}", program.display())]
    NotConfined { program: PathBuf, source: NotConfined },
}

/// What a host inherits: descriptors that no other child of the agent has.
pub(super) struct Inherited {
    pub(super) status: Arc<File>,
    pub(super) listener: Option<Arc<File>>,
    pub(super) batch_log: Option<BatchLog>,
}

impl Inherited {
    pub(super) fn arguments(&self) -> Vec<OsString> {
        let mut arguments: Vec<OsString> =
            vec!["--status-fd".into(), self.status.as_raw_fd().to_string().into()];
        if let Some(listener) = &self.listener {
            arguments.extend(["--listen".into(), format!("fd:{}", listener.as_raw_fd()).into()]);
        }
        if let Some(log) = &self.batch_log {
            arguments.extend(["--batch-log".into(), log.path().into()]);
        }
        arguments
    }

    fn give_to(&self, command: &mut std::process::Command) {
        launch::inheriting(command, Arc::clone(&self.status));
        if let Some(listener) = &self.listener {
            launch::inheriting(command, Arc::clone(listener));
        }
        if let Some(log) = &self.batch_log {
            log.give_to(command);
        }
    }
}

/// A host that is about to be started.
pub(super) struct Launch<'a> {
    pub(super) around: &'a Surroundings<'a>,
    pub(super) serving: &'a Serving<'a>,
    pub(super) program: PathBuf,
    pub(super) arguments: Vec<OsString>,
    pub(super) inherited: Inherited,
}

impl Launch<'_> {
    /// Starts it with these means of keeping it in.
    fn attempt(
        &self,
        means: &Means,
        folder: &PrivateFolder,
    ) -> Result<(Child, Vec<LimitInForce>), StartError> {
        let needs = Needs {
            program: &self.program,
            files: &[self.serving.model],
            operator_libraries: self.around.operator_libraries,
            device: self.serving.configuration.device,
            held_by_affinity: self.around.sandbox.holds_by_affinity(),
            largest_file_bytes: self.serving.largest_file().count(),
        };
        let no_files = |source| StartError::Files { program: self.program.clone(), source };
        let confinement = Confinement::plan(means, &needs, folder).map_err(no_files)?;
        let in_force = confinement.in_force().to_vec();
        let no_memory = |source| StartError::System { what: "a way in", source };
        let (entry, watch) = confinement.entry().map_err(no_memory)?;
        let limits = self.around.sandbox.entry().map_err(no_memory)?;
        let mut command = self.serving.command(&self.program, &self.arguments, folder.scratch());
        launch::inside(&mut command, limits, Some(entry), Some(getpid()));
        self.inherited.give_to(&mut command);
        let child = Command::from(command).kill_on_drop(true).spawn().map_err(|source| {
            let source = watch.failed_at(source);
            StartError::NotConfined { program: self.program.clone(), source }
        })?;
        Ok((child, in_force))
    }

    /// Starts it, as the agent's own user if one of its own cannot get at the files.
    pub(super) fn start(
        &self,
        folder: &mut PrivateFolder,
    ) -> Result<(Child, Vec<LimitInForce>), StartError> {
        match self.attempt(&self.around.means, folder) {
            Err(StartError::NotConfined { program, source })
                if source.step == Some(Step::Reach) =>
            {
                tracing::warn!(program = %program.display(), error = %source, "the model host runs as the agent's user, since no other gets at its files");
                folder
                    .keep_for_the_agents_user()
                    .map_err(|source| StartError::System { what: "a folder", source })?;
                self.attempt(&Means { user: None, ..self.around.means }, folder)
            }
            other => other,
        }
    }
}
