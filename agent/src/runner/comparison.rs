//! Before a configuration is measured: whether its outputs are still those of plain float32.
//!
//! The comparison runs in a host of its own, within the limits of the trial, and is over before the
//! measured host is started. It ends the trial only where serving could not go on either.

use std::{io, sync::Arc};

use assay_measure::{
    configuration::Precision,
    outcome::{FailureKind, OutputDeviation, Stage},
    trial::ServedModel,
};

use super::{
    Trial,
    failure::{self, Stop, failed},
    over_limit,
};
use crate::{
    artifact_cache::CachedArtifact,
    confinement::{means::Means, private_folder::PrivateFolder},
    model_host::{
        self, ModelHost, Serving, Surroundings,
        comparison::{self, Bodies, Compared, MOST_BODIES},
    },
    payload::Payload,
    sandbox::{Allotment, Sandbox},
};

/// A NaN, an infinity or another shape where there was a number: no figure tells how far off that is,
/// so it counts as an element that is off by itself.
const INCOMPARABLE: f64 = 1.0;

/// What a trial says about its outputs.
#[derive(Clone, Debug, Default)]
pub(super) struct Outputs {
    pub(super) deviation: Option<OutputDeviation>,
    /// Why there is no deviation although one was due.
    pub(super) failure: Option<String>,
    /// What only rewriting the graph did to them.
    pub(super) by_graph: Option<f64>,
}

impl Trial {
    /// Compares where outputs may differ.
    pub(super) async fn compare_outputs(
        &mut self,
        served: &ServedModel,
        model: &CachedArtifact,
        payload: &Payload,
        allotment: &Allotment,
    ) -> Result<Outputs, Stop> {
        if !comparison::is_due(&served.configuration) {
            return Ok(Outputs::default());
        }
        self.progress(
            Stage::Starting,
            format!("comparing outputs with plain float32: {}", served.configuration),
            0.01,
        );
        let compared = self.compared(served, model, payload, allotment).await;
        if let Some(mut host) = self.host.take() {
            host.kill().await;
        }
        // What it may have used up or been killed for is not the measured host's.
        self.sandbox = None;
        self.oom_kills_before = failure::machine_oom_kills();
        let graph_alone = served.configuration.dtype == Precision::Float32;
        Ok(match compared? {
            Compared::Deviation(deviation) => Outputs {
                deviation: Some(deviation),
                failure: None,
                by_graph: graph_alone.then_some(deviation.max),
            },
            Compared::Incomparable(why) => Outputs {
                deviation: None,
                failure: Some(why),
                by_graph: graph_alone.then_some(INCOMPARABLE),
            },
            Compared::Failed(why) => {
                tracing::warn!(%why, "outputs are not compared");
                Outputs { failure: Some(why), ..Outputs::default() }
            }
            Compared::Rejected(why) => {
                return Err(Stop::of_comparison(FailureKind::ModelRejected, why));
            }
            Compared::Raised(why) => {
                return Err(Stop::of_comparison(FailureKind::ModelRaised, why));
            }
        })
    }

    async fn compared(
        &mut self,
        served: &ServedModel,
        model: &CachedArtifact,
        payload: &Payload,
        allotment: &Allotment,
    ) -> Result<Compared, Stop> {
        let program = model_host::find_program(self.runner.host_program.as_deref())
            .map_err(|error| failed(FailureKind::HostStartFailed, &error))?;
        let (folder, bodies) = match written(payload, self.runner.means).await {
            Ok(written) => written,
            Err(error) => return Ok(Compared::Failed(format!("cannot write payloads: {error}"))),
        };
        for (number, file) in (1..).zip(&bodies.files) {
            self.file_names.add(file, format!("body {number} of the payload"));
        }
        let sandbox = self.sandbox.insert(Sandbox::set_up(allotment, &self.runner.hierarchies));
        let spec = Arc::clone(&self.spec);
        let serving = Serving {
            model: &model.path,
            configuration: &served.configuration,
            inputs: &spec.inputs,
        };
        let around = Surroundings {
            program: &program,
            sandbox,
            means: self.runner.means,
            operator_libraries: &self.runner.operator_libraries,
        };
        let host = ModelHost::start_comparing(&around, &serving, &bodies, folder)
            .map_err(|error| failed(FailureKind::HostStartFailed, &error))?;
        let host = self.host.insert(host);
        let (process_id, limit) = (host.process_id(), sandbox.watched_memory());
        let compared = tokio::select! {
            compared = tokio::time::timeout(served.ready_within, host.compared()) => compared,
            used = over_limit(process_id, limit) => {
                return Ok(Compared::Failed(format!("comparing needed {used} of memory")));
            }
        };
        Ok(compared.unwrap_or_else(|_| {
            let limit_s = served.ready_within.as_secs_f64();
            Compared::Failed(format!("comparing was not done within {limit_s:.1} s"))
        }))
    }
}

/// The first bodies as files in the folder of the host that is to read them.
async fn written(payload: &Payload, means: Means) -> io::Result<(PrivateFolder, Bodies)> {
    let (content_type, bodies) = (payload.content_type.clone(), payload.bodies.clone());
    let write = move || {
        let folder = ModelHost::folder(means).map_err(io::Error::other)?;
        let numbered = bodies.iter().take(MOST_BODIES).enumerate();
        let files = numbered
            .map(|(number, body)| folder.add_file(&format!("body-{number}"), body))
            .collect::<io::Result<_>>()?;
        Ok((folder, Bodies { files, content_type }))
    };
    tokio::task::spawn_blocking(write).await.map_err(io::Error::other)?
}
