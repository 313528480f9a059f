//! A load that the user fixes, instead of a search for the capacity.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{artifact::ArtifactRef, schedule::Phase, slo::Slo, stepped_load::SteppedLoad};

/// The load that all trials of a job hold.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LoadProfile {
    /// One phase after another.
    Phases(Vec<Phase>),
    /// The same, until a condition says to stop; the answer is the start of the plateau.
    Stepped(SteppedLoad),
    /// Arrivals that were recorded, replayed.
    Recorded(Recording),
}

/// Recorded arrivals in a file of their own, as [`recorded::parse`](crate::schedule::recorded::parse) reads it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recording {
    /// The file.
    pub artifact: ArtifactRef,
    /// How many arrivals it holds.
    pub arrivals: u64,
    /// From the first arrival until just after the last.
    pub duration: Duration,
}

impl LoadProfile {
    /// How long it takes if nothing stops it.
    #[must_use]
    pub fn duration(&self) -> Duration {
        match self {
            Self::Phases(phases) => {
                phases.iter().fold(Duration::ZERO, |sum, phase| sum.saturating_add(phase.duration))
            }
            Self::Stepped(load) => load.duration(),
            Self::Recorded(recording) => recording.duration,
        }
    }

    /// The same, which ends where a constraint is missed if it can end early at all: beyond that nothing can
    /// be recommended.
    #[must_use]
    pub fn within(self, constraints: &[Slo]) -> Self {
        match self {
            Self::Stepped(load) => Self::Stepped(load.within(constraints)),
            Self::Phases(_) | Self::Recorded(_) => self,
        }
    }

    /// The file that it is read from, if it is.
    #[must_use]
    pub const fn artifact(&self) -> Option<&ArtifactRef> {
        match self {
            Self::Recorded(recording) => Some(&recording.artifact),
            Self::Phases(_) | Self::Stepped(_) => None,
        }
    }
}
