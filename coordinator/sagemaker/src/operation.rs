//! Which operation a request asks for: the closed set behind the `X-Amz-Target` header.

use std::fmt;

use crate::{
    error::{ApiError, ErrorCode},
    service::Service,
};

macro_rules! operations {
    ($($service:ident { $($name:ident),+ $(,)? })+) => {
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Operation {
            $($($name),+),+
        }

        impl Operation {
            pub const ALL: &[Self] = &[$($(Self::$name),+),+];

            /// The name, without the service.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $($(Self::$name => stringify!($name)),+),+ }
            }

            #[must_use]
            pub const fn service(self) -> Service {
                match self { $($(Self::$name => Service::$service),+),+ }
            }
        }
    };
}

operations! {
    SageMaker {
        CreateInferenceRecommendationsJob,
        DescribeInferenceRecommendationsJob,
        ListInferenceRecommendationsJobs,
        ListInferenceRecommendationsJobSteps,
        StopInferenceRecommendationsJob,
        GetScalingConfigurationRecommendation,
        CreateModel,
        DescribeModel,
        ListModels,
        DeleteModel,
        CreateModelPackageGroup,
        DescribeModelPackageGroup,
        ListModelPackageGroups,
        DeleteModelPackageGroup,
        CreateModelPackage,
        DescribeModelPackage,
        ListModelPackages,
        UpdateModelPackage,
        DeleteModelPackage,
        ListModelMetadata,
        AddTags,
        ListTags,
        DeleteTags,
    }
    Logs {
        GetLogEvents,
        DescribeLogStreams,
    }
}

impl Operation {
    /// What clients send in `X-Amz-Target`.
    #[must_use]
    pub fn target(self) -> String {
        format!("{}.{}", self.service().target_prefix(), self.name())
    }

    /// The operation that a target header names.
    ///
    /// # Errors
    /// `UnknownOperationException`, which names what is supported. It is a 4xx: clients retry a 5xx.
    pub fn from_target(target: &str) -> Result<Self, ApiError> {
        let named = |operation: &&Self| {
            target
                .strip_prefix(operation.service().target_prefix())
                .and_then(|rest| rest.strip_prefix('.'))
                == Some(operation.name())
        };
        Self::ALL.iter().find(named).copied().ok_or_else(|| unknown(target))
    }
}

fn unknown(target: &str) -> ApiError {
    let supported: Vec<String> = Operation::ALL.iter().map(|one| one.target()).collect();
    let shown: String = target.chars().take(100).collect();
    ApiError::new(
        ErrorCode::UnknownOperationException,
        format!("operation {shown:?} is not supported; supported are: {}", supported.join(", ")),
    )
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_operation_is_found_by_its_own_target_only() {
        for operation in Operation::ALL {
            assert_eq!(Operation::from_target(&operation.target()).as_ref(), Ok(operation));
        }
        for wrong in
            ["", "CreateModel", "SageMaker.", "Logs_20140328.CreateModel", "SageMaker.createModel"]
        {
            let error = Operation::from_target(wrong).unwrap_err();
            assert_eq!(error.code, ErrorCode::UnknownOperationException, "{wrong}");
            assert!(error.message.contains("SageMaker.CreateModel,"), "{}", error.message);
        }
    }
}
