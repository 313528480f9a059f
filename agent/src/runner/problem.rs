//! Why there are no figures, as the measuring thread sees it.

use std::time::Duration;

use assay_measure::{search::SearchFailure, stepped_load::NoLevelHeld};

use crate::load::figures::FirstFailure;

/// Why there are no figures.
#[derive(Debug)]
pub(super) enum Problem {
    /// An endpoint did not answer one of the bodies that were tried before any load.
    BodyRefused {
        /// Which, from 0.
        number: usize,
        failure: Box<FirstFailure>,
    },
    /// The model fails calls altogether.
    Failing {
        step: String,
        failure: Box<FirstFailure>,
    },
    Hangs {
        step: String,
        silent_for: Duration,
    },
    /// Nobody accepts connections any more.
    TargetLost {
        reason: String,
    },
    /// The search found that there is no capacity.
    Search {
        failure: SearchFailure,
        first_failure: Option<Box<FirstFailure>>,
    },
    /// Not one level of a load with stopping conditions held.
    NoLevelHeld {
        why: NoLevelHeld,
        first_failure: Option<Box<FirstFailure>>,
    },
    Generator(String),
}

impl Problem {
    pub(super) fn of_generator(error: impl std::error::Error) -> Self {
        Self::Generator(error_chain(&error))
    }

    /// Whether it says something about the target that a disturbed machine may have caused.
    pub(super) const fn may_be_disturbed(&self) -> bool {
        match self {
            Self::Search { .. } | Self::NoLevelHeld { .. } | Self::Hangs { .. } => true,
            Self::BodyRefused { .. }
            | Self::Failing { .. }
            | Self::TargetLost { .. }
            | Self::Generator(_) => false,
        }
    }
}

/// An error and its causes in one line.
pub(super) fn error_chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
