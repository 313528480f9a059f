//! Built-in models: known networks to measure with, and faulty ones to test the system with.
//!
//! The networks are written with tch, given weights from a seed and traced, so that nothing is
//! downloaded and the file is the same every time. They have never been trained: their speed is real
//! and their answers are noise.

mod faulty;
mod networks;

use std::{
    fmt, io,
    path::{Path, PathBuf},
};

use serde::Serialize;
use thiserror::Error;

use crate::torch::{Module, TorchError};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Reference {
    /// What it is called on the command line.
    pub name: &'static str,
    /// Its inputs, as `--input` takes them.
    pub inputs: &'static [&'static str],
    pub description: &'static str,
    #[serde(skip)]
    kind: Kind,
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "  {:<14} {:<24} {}", self.name, self.inputs.join(" "), self.description)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Network(networks::Network),
    /// TorchScript source, with the number of the first call that fails where none is given.
    Source(&'static str, i64),
}

/// Why a built-in model was not written.
#[derive(Debug, Error)]
pub enum ReferenceError {
    #[error("unknown reference model {name:?}; known: {known}")]
    Unknown { name: String, known: String },
    #[error("cannot build {name}")]
    Build { name: String, source: TorchError },
    #[error("cannot write {}", path.display())]
    Write { path: PathBuf, source: io::Error },
}

pub const PUBLIC: &[Reference] = &[
    Reference {
        name: "resnet18",
        description: "ResNet-18, 11.7 M parameters, 1.8 GFLOP: the usual yardstick",
        inputs: &["float32[1,3,224,224]"],
        kind: Kind::Network(networks::Network::Resnet18),
    },
    Reference {
        name: "resnet50",
        description: "ResNet-50, 25.6 M parameters, 4.1 GFLOP",
        inputs: &["float32[1,3,224,224]"],
        kind: Kind::Network(networks::Network::Resnet50),
    },
    Reference {
        name: "mobilenet_v2",
        description: "MobileNetV2, 3.5 M parameters, 0.3 GFLOP: bound by memory rather than arithmetic",
        inputs: &["float32[1,3,224,224]"],
        kind: Kind::Network(networks::Network::MobilenetV2),
    },
    Reference {
        name: "mlp",
        description: "two linear layers, a few microseconds: shows what serving itself costs",
        inputs: &["float32[1,64]"],
        kind: Kind::Network(networks::Network::Mlp),
    },
    Reference {
        name: "pool",
        description: "averages each channel of an image: shows what a body of 600 KB costs",
        inputs: &["float32[1,3,224,224]"],
        kind: Kind::Source(POOL, 1),
    },
    Reference {
        name: "fixed-time",
        description: "takes 10 ms by the clock on any machine: 100/s per worker, to check the rest against",
        inputs: &["float32[1,4]"],
        kind: Kind::Source(FIXED_TIME, 1),
    },
    Reference {
        name: "transformer",
        description: "a transformer encoder of 4 layers over 128 tokens, integers in",
        inputs: &["tokens=int64[1,128]"],
        kind: Kind::Network(networks::Network::Transformer),
    },
];

const POOL: &str = "
def forward(self, image: Tensor) -> Tensor:
  return image.mean([2, 3])
";

// Spins, as a computation would: the processor is as busy, but how fast it is plays no part.
const FIXED_TIME: &str = "
def forward(self, x: Tensor) -> Tensor:
  end = prim.TimePoint() + 10000000
  while prim.TimePoint() < end:
    pass
  return x * 1
";

/// The built-in model of a name, hidden ones included.
///
/// # Errors
/// [`ReferenceError::Unknown`] lists the public ones.
pub fn find(name: &str) -> Result<Reference, ReferenceError> {
    let (bare, _) = name_and_call(name);
    PUBLIC
        .iter()
        .chain(faulty::HIDDEN)
        .find(|reference| reference.name == bare)
        .copied()
        .ok_or_else(|| {
            let known: Vec<&str> = PUBLIC.iter().map(|reference| reference.name).collect();
            ReferenceError::Unknown { name: name.to_owned(), known: known.join(", ") }
        })
}

/// Builds a model. Hidden ones take the number of the first call that fails: `faulty-hang@1`.
pub(crate) fn build(name: &str) -> Result<Module, ReferenceError> {
    let reference = find(name)?;
    let module = match reference.kind {
        Kind::Network(network) => network.traced(reference.name),
        Kind::Source(source, default_call) => {
            let first_failure = name_and_call(name).1.unwrap_or(default_call);
            let class = reference.name.replace('-', "_");
            Module::define(&class, source, &[("calls", 0), ("first_failure", first_failure)])
        }
    };
    module.map_err(|source| ReferenceError::Build { name: name.to_owned(), source })
}

/// Builds a model and writes it, whole or not at all.
///
/// # Errors
/// [`ReferenceError`] when it cannot be built or written.
pub fn write(name: &str, out: &Path) -> Result<(), ReferenceError> {
    let module = build(name)?;
    let failed = |source| ReferenceError::Write { path: out.to_owned(), source };
    let folder = out.parent().filter(|parent| !parent.as_os_str().is_empty());
    // In a folder of its own, under a fixed name: libtorch writes the file's name into the file.
    let workshop = tempfile::Builder::new()
        .prefix(".assay-reference-")
        .tempdir_in(folder.unwrap_or(Path::new(".")))
        .map_err(failed)?;
    let unfinished = workshop.path().join("model.pt");
    module
        .save(&unfinished)
        .map_err(|source| ReferenceError::Build { name: name.to_owned(), source })?;
    std::fs::rename(&unfinished, out).map_err(failed)
}

/// `faulty-hang@3` is the model `faulty-hang` and call number 3.
fn name_and_call(name: &str) -> (&str, Option<i64>) {
    let split = name.split_once('@');
    let parsed = split.and_then(|(bare, call)| Some((bare, Some(call.parse().ok()?))));
    parsed.unwrap_or((name, None))
}

#[cfg(test)]
mod tests;
