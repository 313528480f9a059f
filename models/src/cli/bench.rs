//! `assay-host bench-loop`: hidden, for comparing the host with libtorch itself.

use std::{num::NonZeroU32, time::Duration};

use assay_measure::{configuration::Allocator, units};
use clap::Args;

use super::{EngineArguments, ModelArguments};
use crate::{
    artifact::DEFAULT_UNPACKED_LIMIT,
    bench_loop::{self, BenchError, BenchReport, BenchSettings},
    failure::Failure,
};

#[derive(Debug, Args)]
pub(super) struct BenchArguments {
    #[command(flatten)]
    model: ModelArguments,
    #[command(flatten)]
    engine: EngineArguments,
    /// How long to measure
    #[arg(long, default_value = "10s", value_parser = units::parse_duration)]
    duration: Duration,
    /// Rows in each call, times those declared
    #[arg(long, default_value_t = NonZeroU32::MIN)]
    batch: NonZeroU32,
}

pub(super) fn run(
    arguments: &BenchArguments,
    allocator: Allocator,
) -> Result<BenchReport, Failure> {
    let artifact = super::open(&arguments.model, DEFAULT_UNPACKED_LIMIT)?;
    let settings = BenchSettings {
        workers: arguments.engine.workers,
        intra_op_threads: arguments.engine.intra_op_threads,
        batch: arguments.batch,
        duration: arguments.duration,
        device: arguments.engine.device,
        dtype: arguments.engine.dtype,
        graph: arguments.engine.graph,
        allocator,
    };
    bench_loop::run(&artifact, &arguments.model.inputs, &settings).map_err(|error| {
        let hint = arguments.model.inspect_hint();
        let failure = Failure::new("bench-loop", &error);
        match &error {
            BenchError::Engine(engine) => super::serve::with_hint(failure, engine, &hint),
            BenchError::Call(call) => super::call_hint(failure, call, &hint),
            BenchError::Torch(_) | BenchError::Batch(..) | BenchError::Worker => failure.hint(hint),
        }
    })
}

pub(super) fn text(report: &BenchReport) -> String {
    format!(
        "{:.0} forwards/min ({} forwards in {:.1} s, {:.1} us each), allocator {}",
        report.forwards_per_min,
        report.forwards,
        report.duration_s,
        report.forward_us,
        report.settings.allocator
    )
}
