//! The yardstick: forward passes in a bare loop, with the threads and memory settings of the host but
//! without its queue, its server or any request. What the host serves is compared with this.

use std::{
    num::NonZeroU32,
    sync::{Arc, Barrier},
    thread,
    time::Duration,
};

use assay_measure::{
    configuration::{Allocator, Device, Graph, Precision},
    input_spec::{InputSpec, InputSpecError},
};
use serde::Serialize;
use thiserror::Error;

use crate::{
    artifact::Artifact,
    engine::{self, EngineError},
    sample::random_inputs,
    tensor::WireTensor,
    torch::{self, CallError, Module, TorchError},
};

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct BenchSettings {
    /// Threads that call the module.
    pub workers: NonZeroU32,
    /// OpenMP threads in each call.
    pub intra_op_threads: NonZeroU32,
    /// Rows in each call, times those declared.
    pub batch: NonZeroU32,
    /// The memory settings in force; reported.
    pub allocator: Allocator,
    pub device: Device,
    pub dtype: Precision,
    pub graph: Graph,
    #[serde(skip)]
    pub duration: Duration,
}

/// What came of it (`assay.bench-loop/1`).
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct BenchReport {
    /// The format of this report.
    pub schema: &'static str,
    /// Forward passes of all workers.
    pub forwards: u64,
    /// Their rate, the workers' rates added.
    pub forwards_per_min: f64,
    /// Rows per minute: the rate times the batch.
    pub rows_per_min: f64,
    /// The mean time of one forward pass.
    pub forward_us: f64,
    /// The longest of the workers' times.
    pub duration_s: f64,
    #[serde(flatten)]
    pub settings: BenchSettings,
}

#[derive(Debug, Error)]
pub(crate) enum BenchError {
    #[error(transparent)]
    Engine(#[from] EngineError),
    #[error(transparent)]
    Torch(#[from] TorchError),
    #[error("the model does not run with the declared inputs")]
    Call(#[from] CallError),
    #[error("the declared inputs cannot be repeated {0} times")]
    Batch(u32, #[source] InputSpecError),
    #[error("a worker failed")]
    Worker,
}

/// Warm-up runs of each worker: the first two profile and compile.
const WARM_UP_RUNS: u32 = 5;

pub(crate) fn run(
    artifact: &Artifact,
    declared: &[InputSpec],
    settings: &BenchSettings,
) -> Result<BenchReport, BenchError> {
    torch::use_one_interop_thread();
    let (module, _) =
        engine::load_module(artifact, settings.device, settings.dtype, settings.graph)?;
    let module = Arc::new(module);
    let inputs: Arc<Vec<WireTensor>> = Arc::new(sample_batch(declared, settings.batch)?);
    let start =
        Arc::new(Barrier::new(usize::try_from(settings.workers.get()).unwrap_or(usize::MAX)));
    let workers: Vec<_> = (0..settings.workers.get())
        .map(|_| {
            let (module, inputs, start, settings) =
                (Arc::clone(&module), Arc::clone(&inputs), Arc::clone(&start), settings.clone());
            thread::spawn(move || work(&module, &inputs, &start, &settings))
        })
        .collect();
    let mut counts = Vec::new();
    for worker in workers {
        counts.push(worker.join().map_err(|_| BenchError::Worker)??);
    }
    Ok(report(&counts, settings))
}

fn sample_batch(declared: &[InputSpec], batch: NonZeroU32) -> Result<Vec<WireTensor>, BenchError> {
    let batched: Result<Vec<InputSpec>, BenchError> = declared
        .iter()
        .map(|spec| {
            let mut shape = spec.shape().to_vec();
            if let Some(first) = shape.first_mut() {
                *first = first.saturating_mul(u64::from(batch.get()));
            }
            InputSpec::new(spec.name().map(str::to_owned), spec.dtype(), shape)
                .map_err(|error| BenchError::Batch(batch.get(), error))
        })
        .collect();
    Ok(random_inputs(&batched?))
}

fn work(
    module: &Module,
    inputs: &[WireTensor],
    start: &Barrier,
    settings: &BenchSettings,
) -> Result<(u64, Duration), BenchError> {
    engine::set_up_thread(settings.device, settings.intra_op_threads)?;
    let inputs: Vec<Option<&WireTensor>> = inputs.iter().map(Some).collect();
    let warmed = module.run_in_a_loop(&inputs, WARM_UP_RUNS, Duration::ZERO);
    // Before the error is looked at: the others wait for this worker.
    start.wait();
    warmed?;
    Ok(module.run_in_a_loop(&inputs, 0, settings.duration)?)
}

fn report(counts: &[(u64, Duration)], settings: &BenchSettings) -> BenchReport {
    let forwards: u64 = counts.iter().map(|(forwards, _)| forwards).sum();
    let busy: f64 = counts.iter().map(|(_, elapsed)| elapsed.as_secs_f64()).sum();
    let per_second: f64 =
        counts.iter().map(|&(forwards, elapsed)| forwards as f64 / elapsed.as_secs_f64()).sum();
    BenchReport {
        schema: "assay.bench-loop/1",
        forwards,
        forwards_per_min: per_second * 60.0,
        rows_per_min: per_second * 60.0 * f64::from(settings.batch.get()),
        forward_us: busy / forwards.max(1) as f64 * 1e6,
        duration_s: counts.iter().map(|(_, elapsed)| elapsed.as_secs_f64()).fold(0.0, f64::max),
        settings: settings.clone(),
    }
}

#[cfg(test)]
mod tests {
    use assay_measure::units;

    use super::*;

    #[test]
    fn the_loop_counts_forward_passes_of_all_workers() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("mlp.pt");
        crate::reference::write("mlp", &path).unwrap();
        let artifact = Artifact::open(&path, units::Bytes::gib(1)).unwrap();
        let settings = BenchSettings {
            workers: NonZeroU32::new(2).unwrap(),
            intra_op_threads: NonZeroU32::MIN,
            batch: NonZeroU32::new(3).unwrap(),
            duration: Duration::from_millis(20),
            device: Device::Cpu,
            dtype: Precision::Float32,
            graph: Graph::Plain,
            allocator: Allocator::Default,
        };
        let report = run(&artifact, &["float32[1,64]".parse().unwrap()], &settings).unwrap();
        assert!(report.forwards >= 2 && report.duration_s >= 0.02, "{report:?}");
        let error = run(&artifact, &["float32[1,63]".parse().unwrap()], &settings).unwrap_err();
        assert!(matches!(error, BenchError::Call(_)), "{error}");
    }

    #[test]
    fn rates_of_workers_add_up() {
        let settings = BenchSettings {
            workers: NonZeroU32::new(2).unwrap(),
            intra_op_threads: NonZeroU32::MIN,
            batch: NonZeroU32::new(4).unwrap(),
            duration: Duration::from_secs(1),
            device: Device::Cpu,
            dtype: Precision::Float32,
            graph: Graph::Plain,
            allocator: Allocator::Tuned,
        };
        let report =
            report(&[(10, Duration::from_secs(1)), (30, Duration::from_secs(2))], &settings);
        assert!((report.forwards_per_min - 1500.0).abs() < 1e-9);
        assert!((report.rows_per_min - 6000.0).abs() < 1e-9);
        assert!((report.forward_us - 75_000.0).abs() < 1e-6);
    }
}
