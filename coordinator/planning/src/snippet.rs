//! A recommendation as text that is ready to be used: calls of boto3, a Deployment for Kubernetes, a command line.
//!
//! Each serves the model the way it was measured, with the same settings of `assay-host`. Names are of the user's
//! choice and may hold anything; [`quote`] keeps them what they are in each language.

use assay_measure::{
    configuration::{Allocator, Configuration, Device, Graph, Precision},
    environment::{MAX_BATCH, MAX_BATCH_DELAY_US, MODEL_SERVER_WORKERS, OMP_NUM_THREADS},
    hardware::Shape,
    ids::{EndpointName, InstanceTypeName},
    input_spec::InputSpec,
};
use thiserror::Error;

pub use self::{boto3::boto3, command_line::command_line, kubernetes::kubernetes};
use crate::{catalogue::Catalogue, quote, report::Entry, sizing::Sizing};

mod boto3;
mod command_line;
mod kubernetes;

/// The port that `assay-host serve` listens on without other instructions, and that SageMaker calls.
const PORT: u16 = 8080;

/// A candidate that is to be used, and the model that it serves.
#[derive(Clone, Copy, Debug)]
pub struct Recommended<'a> {
    pub entry: &'a Entry,
    /// The model's file: a path for [`command_line()`], of which the others take the last part.
    pub model: &'a str,
    /// The inputs that the job declared; may be empty.
    pub inputs: &'a [InputSpec],
    /// Instances for a demand; without it there is one.
    pub sizing: Option<&'a Sizing>,
}

/// Why there is no such text.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum NoSnippet {
    /// It was a running server, of which nothing is known but how it answers.
    #[error("endpoint {name} runs already: there is nothing to set up")]
    Endpoint { name: EndpointName },
    /// The type fails with every configuration.
    #[error("{instance_type} was not measured with any configuration")]
    NoConfiguration { instance_type: InstanceTypeName },
    /// Its name does not begin with `ml.`.
    #[error("SageMaker has no instance type {instance_type}")]
    NotOnSageMaker { instance_type: InstanceTypeName },
}

impl<'a> Recommended<'a> {
    fn configuration(self) -> Result<&'a Configuration, NoSnippet> {
        if let Some(name) = &self.entry.endpoint {
            return Err(NoSnippet::Endpoint { name: name.clone() });
        }
        let instance_type = &self.entry.instance_type;
        let missing = || NoSnippet::NoConfiguration { instance_type: instance_type.clone() };
        self.entry.configuration.as_ref().ok_or_else(missing)
    }

    /// Instances for the demand, at least one.
    fn instance_count(self) -> u64 {
        self.sizing.map_or(1, |sizing| sizing.instance_count.max(1))
    }

    /// Processors and memory of the type: of the catalogue, or of the machine itself where it was measured there.
    fn shape(self) -> Option<Shape> {
        let known = Catalogue::builtin().get(&self.entry.instance_type);
        let own = || {
            let host = self.entry.host().filter(|_| !self.entry.emulated)?;
            Some(Shape { vcpus: host.vcpus, memory_bytes: host.memory_bytes })
        };
        let shape = known.map_or_else(own, |known| known.shape)?;
        (shape.vcpus > 0 && shape.memory_bytes.count() > 0).then_some(shape)
    }

    /// The EC2 instance type behind it; none behind a type of one's own.
    fn ec2_type(self) -> Option<&'a str> {
        let name = &self.entry.instance_type;
        let known = Catalogue::builtin().get(name).map(|known| known.ec2_type.as_str());
        known.or_else(|| name.as_str().strip_prefix("ml."))
    }
}

/// A configuration's settings under the names of environment variables: workers and threads always, the rest where
/// it is not the default. `assay-host` takes them as flags; these are the names under which the SageMaker API
/// tells of them.
#[must_use]
pub fn variables(configuration: &Configuration) -> Vec<(&'static str, String)> {
    let Configuration {
        workers,
        intra_op_threads,
        max_batch,
        max_batch_delay_us,
        device,
        dtype,
        graph,
        allocator,
        environment: _,
    } = configuration;
    let unless = |is_default: bool, name: &'static str, value: String| {
        (!is_default).then_some((name, value))
    };
    [
        Some((MODEL_SERVER_WORKERS, workers.to_string())),
        Some((OMP_NUM_THREADS, intra_op_threads.to_string())),
        unless(max_batch.get() == 1, MAX_BATCH, max_batch.to_string()),
        unless(*max_batch_delay_us == 0, MAX_BATCH_DELAY_US, max_batch_delay_us.to_string()),
        unless(*device == Device::Cpu, "ASSAY_DEVICE", device.to_string()),
        unless(*dtype == Precision::Float32, "ASSAY_DTYPE", dtype.to_string()),
        unless(*graph == Graph::Plain, "ASSAY_GRAPH", graph.to_string()),
        unless(*allocator == Allocator::Tuned, "ASSAY_ALLOCATOR", allocator.to_string()),
    ]
    .into_iter()
    .flatten()
    .collect()
}

#[cfg(test)]
mod tests;
