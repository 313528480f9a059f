//! The services whose protocols are spoken.

/// A service whose protocol is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Service {
    SageMaker,
    /// Amazon CloudWatch Logs, which the SageMaker SDK polls while it waits.
    Logs,
}

impl Service {
    /// The service that a target is of, whether or not it names an operation.
    #[must_use]
    pub fn of_target(target: &str) -> Self {
        if target.starts_with(Self::Logs.target_prefix()) { Self::Logs } else { Self::SageMaker }
    }

    /// What stands before the dot of the target header.
    #[must_use]
    pub const fn target_prefix(self) -> &'static str {
        match self {
            Self::SageMaker => "SageMaker",
            Self::Logs => "Logs_20140328",
        }
    }

    /// The name in the credential scope of a signature.
    #[must_use]
    pub const fn signing_name(self) -> &'static str {
        match self {
            Self::SageMaker => "sagemaker",
            Self::Logs => "logs",
        }
    }
}
