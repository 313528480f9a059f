//! How a model is served: the settings that a sweep varies.

use std::{collections::BTreeMap, fmt, num::NonZeroU32, str::FromStr, time::Duration};

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::environment::is_known;

/// One way of serving a model. Two trials with equal configurations on equal hosts are comparable.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Configuration {
    /// Worker threads, each with its own forward pass.
    pub workers: NonZeroU32,
    /// OpenMP threads inside one forward pass.
    pub intra_op_threads: NonZeroU32,
    /// The largest number of requests joined into one forward pass; 1 is no batching.
    pub max_batch: NonZeroU32,
    /// How long a worker waits for a batch to fill, in microseconds.
    pub max_batch_delay_us: u64,
    /// Where the model runs.
    pub device: Device,
    /// Numeric precision of weights and arithmetic.
    pub dtype: Precision,
    /// Whether the graph is rewritten before serving.
    pub graph: Graph,
    /// The memory allocator of the host process.
    pub allocator: Allocator,
    /// Environment variables given to the host process. Those that [`crate::environment`] knows agree with
    /// the settings above.
    pub environment: BTreeMap<String, String>,
}

impl Configuration {
    /// `workers` × `intra_op_threads` on the CPU, nothing else changed.
    #[must_use]
    pub fn cpu(workers: NonZeroU32, intra_op_threads: NonZeroU32) -> Self {
        Self {
            workers,
            intra_op_threads,
            max_batch: NonZeroU32::MIN,
            max_batch_delay_us: 0,
            device: Device::Cpu,
            dtype: Precision::Float32,
            graph: Graph::Plain,
            allocator: Allocator::Tuned,
            environment: BTreeMap::new(),
        }
    }

    /// How long a worker waits for a batch to fill.
    #[must_use]
    pub fn max_batch_delay(&self) -> Duration {
        Duration::from_micros(self.max_batch_delay_us)
    }
}

impl fmt::Display for Configuration {
    /// `workers=2 intra-op=1`, then every setting that is not the default.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "workers={} intra-op={}", self.workers, self.intra_op_threads)?;
        if self.max_batch != NonZeroU32::MIN {
            write!(f, " max-batch={}", self.max_batch)?;
        }
        if self.max_batch_delay_us != 0 {
            write!(f, " delay={}us", self.max_batch_delay_us)?;
        }
        if self.device != Device::Cpu {
            write!(f, " device={}", self.device)?;
        }
        if self.dtype != Precision::Float32 {
            write!(f, " dtype={}", self.dtype)?;
        }
        if self.graph != Graph::Plain {
            write!(f, " graph={}", self.graph)?;
        }
        if self.allocator != Allocator::Tuned {
            write!(f, " allocator={}", self.allocator)?;
        }
        // What the known names ask for stands above already.
        for (name, value) in self.environment.iter().filter(|(name, _)| !is_known(name)) {
            write!(f, " {name}={value}")?;
        }
        Ok(())
    }
}

/// A word is not one of a closed set.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("unknown {kind} {word:?}; known: {known}")]
pub struct UnknownWord {
    /// What was being read.
    pub kind: &'static str,
    /// The word as given.
    pub word: String,
    /// The words that are known, comma-separated.
    pub known: &'static str,
}

/// Where a model runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Device {
    /// The processor.
    Cpu,
    /// The CUDA device of this index.
    Cuda(u8),
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cpu => f.write_str("cpu"),
            Self::Cuda(index) => write!(f, "cuda:{index}"),
        }
    }
}

impl FromStr for Device {
    type Err = UnknownWord;
    fn from_str(word: &str) -> Result<Self, UnknownWord> {
        match word {
            "cpu" => Ok(Self::Cpu),
            "cuda" => Ok(Self::Cuda(0)),
            _ => word
                .strip_prefix("cuda:")
                .and_then(|index| index.parse().ok())
                .map(Self::Cuda)
                .ok_or_else(|| UnknownWord {
                    kind: "device",
                    word: word.to_owned(),
                    known: "cpu, cuda:N",
                }),
        }
    }
}

impl TryFrom<String> for Device {
    type Error = UnknownWord;
    fn try_from(word: String) -> Result<Self, UnknownWord> {
        word.parse()
    }
}

impl From<Device> for String {
    fn from(device: Device) -> Self {
        device.to_string()
    }
}

macro_rules! word_enum {
    ($(#[$doc:meta])* $name:ident, $kind:literal, $known:literal { $($(#[$vdoc:meta])* $variant:ident = $word:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
        pub enum $name {
            $($(#[$vdoc])* #[serde(rename = $word)] $variant),+
        }

        impl $name {
            /// Every member, in order.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// The word used on command lines, in JSON and on the wire.
            #[must_use]
            pub const fn word(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.word())
            }
        }

        impl std::str::FromStr for $name {
            type Err = crate::configuration::UnknownWord;
            fn from_str(word: &str) -> Result<Self, Self::Err> {
                match word {
                    $($word => Ok(Self::$variant),)+
                    _ => Err(crate::configuration::UnknownWord { kind: $kind, word: word.to_owned(), known: $known }),
                }
            }
        }
    };
}
pub(crate) use word_enum;

word_enum!(
    /// Numeric precision of weights and arithmetic.
    Precision, "dtype", "float32, bfloat16, float16" {
        /// 32-bit floats, as most models are saved.
        Float32 = "float32",
        /// 16-bit floats with the range of 32-bit ones.
        Bfloat16 = "bfloat16",
        /// IEEE half precision.
        Float16 = "float16",
    }
);
word_enum!(
    /// Whether the TorchScript graph is rewritten before serving.
    Graph, "graph", "plain, optimized" {
        /// As saved.
        Plain = "plain",
        /// Frozen and optimized for inference.
        Optimized = "optimized",
    }
);
word_enum!(
    /// The memory allocator of the host process, and its settings.
    Allocator, "allocator", "tuned, default" {
        /// glibc's malloc, told to keep freed memory (`M_TRIM_THRESHOLD`, `M_MMAP_THRESHOLD`, `M_TOP_PAD`).
        Tuned = "tuned",
        /// glibc's malloc as it comes.
        Default = "default",
    }
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configuration_shows_only_what_differs_from_the_default() {
        let two = NonZeroU32::new(2).unwrap();
        let mut configuration = Configuration::cpu(two, NonZeroU32::MIN);
        assert_eq!(configuration.to_string(), "workers=2 intra-op=1");
        configuration.max_batch = NonZeroU32::new(8).unwrap();
        configuration.device = Device::Cuda(1);
        configuration.environment.insert("OMP_NUM_THREADS".to_owned(), "1".to_owned());
        assert_eq!(configuration.to_string(), "workers=2 intra-op=1 max-batch=8 device=cuda:1");
        configuration.environment.insert("OMP_PROC_BIND".to_owned(), "true".to_owned());
        assert!(configuration.to_string().ends_with("device=cuda:1 OMP_PROC_BIND=true"));
    }

    #[test]
    fn unknown_words_are_refused_with_the_known_ones() {
        let error = "float8".parse::<Precision>().unwrap_err();
        assert_eq!(
            error.to_string(),
            r#"unknown dtype "float8"; known: float32, bfloat16, float16"#
        );
        assert!("cuda:x".parse::<Device>().is_err());
    }
}
