//! The reference models that benchmarks measure with.

use std::time::Duration;

use clap::ValueEnum;

/// One of those that `assay-host reference` writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
pub(crate) enum Model {
    /// 10 ms by the clock, on any machine.
    #[value(name = "fixed-time")]
    FixedTime,
    /// 11.7 M parameters.
    Resnet18,
    /// 25.6 M parameters.
    Resnet50,
    /// 3.5 M parameters.
    MobilenetV2,
}

impl Model {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::FixedTime => "fixed-time",
            Self::Resnet18 => "resnet18",
            Self::Resnet50 => "resnet50",
            Self::MobilenetV2 => "mobilenet_v2",
        }
    }

    /// Its only input, as `--input` takes it.
    pub(super) fn input(self) -> &'static str {
        match self {
            Self::FixedTime => "float32[1,4]",
            Self::Resnet18 | Self::Resnet50 | Self::MobilenetV2 => "float32[1,3,224,224]",
        }
    }

    /// The shape of that input.
    pub(super) fn shape(self) -> &'static [usize] {
        match self {
            Self::FixedTime => &[1, 4],
            Self::Resnet18 | Self::Resnet50 | Self::MobilenetV2 => &[1, 3, 224, 224],
        }
    }

    /// How long a pass takes, where that is the same everywhere.
    pub(super) fn service_time(self) -> Option<Duration> {
        (self == Self::FixedTime).then_some(Duration::from_millis(10))
    }
}
