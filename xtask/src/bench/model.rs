//! The reference models that benchmarks measure with, a request body for each, and users who send it.

use std::{
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::Result;
use assay_measure::{input_spec::InputSpec, npy};
use clap::ValueEnum;

use super::{Bench, figures::number};
use crate::{demo, files, process::capture};

/// One of those that `assay-host reference` writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
pub(super) enum Model {
    /// 10 ms by the clock, on any machine.
    #[value(name = "fixed-time")]
    FixedTime,
    /// 11.7 M parameters.
    Resnet18,
    /// 25.6 M parameters.
    Resnet50,
    /// 3.5 M parameters.
    MobilenetV2,
    /// Next to no computing, so that system calls are most of what its host does.
    #[value(skip)]
    Mlp,
    /// Next to no computing on a body of 600 KB.
    #[value(skip)]
    Pool,
}

/// What the bodies are, for the server that decodes them.
pub(super) const CONTENT_TYPE: &str = "application/x-npy";

impl Model {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::FixedTime => "fixed-time",
            Self::Resnet18 => "resnet18",
            Self::Resnet50 => "resnet50",
            Self::MobilenetV2 => "mobilenet_v2",
            Self::Mlp => "mlp",
            Self::Pool => "pool",
        }
    }

    /// Its only input, as `--input` takes it.
    pub(super) fn input(self) -> &'static str {
        match self {
            Self::FixedTime => "float32[1,4]",
            Self::Mlp => "float32[1,64]",
            Self::Resnet18 | Self::Resnet50 | Self::MobilenetV2 | Self::Pool => {
                "float32[1,3,224,224]"
            }
        }
    }

    /// How long a pass takes, where that is the same everywhere.
    pub(super) fn service_time(self) -> Option<Duration> {
        (self == Self::FixedTime).then_some(Duration::from_millis(10))
    }

    pub(super) fn file(self, bench: &Bench<'_>) -> Result<PathBuf> {
        let host = bench.checkout.program("assay-host");
        demo::reference_model(bench.checkout, bench.console, host, self.name())
    }

    /// Its file, and beside it a request body.
    pub(super) fn file_and_body(self, bench: &Bench<'_>) -> Result<(PathBuf, PathBuf)> {
        let file = self.file(bench)?;
        let body = file.with_extension("npy");
        self.write_body(&body)?;
        Ok((file, body))
    }

    /// Writes a tensor for its input as `.npy`, with values in [0, 1), the same ones every time.
    pub(super) fn write_body(self, path: &Path) -> Result<()> {
        files::write(path, npy_of(&self.input().parse()?))
    }
}

fn npy_of(input: &InputSpec) -> Vec<u8> {
    let mut file = npy::header(input.dtype(), input.shape());
    // Knuth's MMIX generator: chance enough for pixels, and no dependency.
    let mut state: u64 = 1;
    for _ in 0..input.elements() {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let high = u16::try_from(state >> 48).expect("16 bits are left");
        file.extend((f32::from(high) / 65_536.0).to_le_bytes());
    }
    file
}

/// `assay-agent load` with so many users in a closed loop, each sending that body; prints JSON.
pub(super) fn closed_loop(
    bench: &Bench<'_>,
    target: &str,
    body: &Path,
    users: u32,
    duration: &str,
) -> Command {
    let mut load = bench.checkout.program("assay-agent");
    load.args(["load", "--target", target, "--content-type", CONTENT_TYPE, "--payload"]).arg(body);
    load.args(["--users", &users.to_string(), "--duration", duration, "-o", "json"]);
    load
}

/// How many invocations per second a host answers to such users.
pub(super) fn answered_per_s(
    bench: &Bench<'_>,
    url: &str,
    body: &Path,
    users: u32,
    duration: &str,
) -> Result<f64> {
    let mut load = closed_loop(bench, &format!("{url}/invocations"), body, users, duration);
    number(&capture(&mut load)?, "/achieved_per_s")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_holds_its_input_whole() {
        let input: InputSpec = "float32[1,3,4]".parse().unwrap();
        let header = npy::header(input.dtype(), input.shape());
        assert_eq!(npy_of(&input).len(), header.len() + 12 * 4);
    }
}
