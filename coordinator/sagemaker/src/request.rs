//! A request as it is acted on: read, checked against the table, and typed.
//!
//! Nesting is limited by serde_json (128 levels), so neither reading nor dropping a hostile document can
//! exhaust the stack; its size is limited by the server before it arrives here.

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::{
    checks,
    error::{ApiError, ErrorCode},
    operation::Operation,
    service::Service,
    shapes::{jobs, lists, logs, metadata, models, packages, scaling, tags},
    validation,
};

macro_rules! requests {
    ($($name:ident($type:ty)),+ $(,)?) => {
        /// What is asked, of any operation.
        #[derive(Clone, Debug, PartialEq)]
        pub enum Request {
            $($name(Box<$type>)),+
        }

        impl Request {
            #[must_use]
            pub const fn operation(&self) -> Operation {
                match self { $(Self::$name(_) => Operation::$name),+ }
            }

            fn typed(operation: Operation, document: Value) -> Result<Self, ApiError> {
                Ok(match operation { $(Operation::$name => Self::$name(typed(document)?)),+ })
            }

            #[cfg(test)]
            pub(crate) fn typed_for_tests(operation: Operation, document: Value) -> Self {
                Self::typed(operation, document).unwrap()
            }

            /// The request as a document again.
            #[cfg(test)]
            pub(crate) fn document(&self) -> Value {
                match self { $(Self::$name(request) => serde_json::to_value(request).unwrap()),+ }
            }
        }
    };
}

requests! {
    CreateInferenceRecommendationsJob(jobs::CreateInferenceRecommendationsJobRequest),
    DescribeInferenceRecommendationsJob(jobs::DescribeInferenceRecommendationsJobRequest),
    ListInferenceRecommendationsJobs(jobs::ListInferenceRecommendationsJobsRequest),
    ListInferenceRecommendationsJobSteps(jobs::ListInferenceRecommendationsJobStepsRequest),
    StopInferenceRecommendationsJob(jobs::StopInferenceRecommendationsJobRequest),
    GetScalingConfigurationRecommendation(scaling::GetScalingConfigurationRecommendationRequest),
    CreateModel(models::CreateModelRequest),
    DescribeModel(models::DescribeModelRequest),
    ListModels(lists::ListRequest),
    DeleteModel(models::DeleteModelRequest),
    CreateModelPackageGroup(packages::CreateModelPackageGroupRequest),
    DescribeModelPackageGroup(packages::DescribeModelPackageGroupRequest),
    ListModelPackageGroups(packages::ListModelPackageGroupsRequest),
    DeleteModelPackageGroup(packages::DeleteModelPackageGroupRequest),
    CreateModelPackage(packages::CreateModelPackageRequest),
    DescribeModelPackage(packages::DescribeModelPackageRequest),
    ListModelPackages(packages::ListModelPackagesRequest),
    UpdateModelPackage(packages::UpdateModelPackageRequest),
    DeleteModelPackage(packages::DeleteModelPackageRequest),
    ListModelMetadata(metadata::ListModelMetadataRequest),
    AddTags(tags::AddTagsRequest),
    ListTags(tags::ListTagsRequest),
    DeleteTags(tags::DeleteTagsRequest),
    GetLogEvents(logs::GetLogEventsRequest),
    DescribeLogStreams(logs::DescribeLogStreamsRequest),
}

impl Request {
    /// Reads a request body; an empty one is an empty document.
    ///
    /// It is held against the table of limits, and then against what [`checks`] says of its members together.
    ///
    /// # Errors
    /// `SerializationException` for what is not a JSON object or has members of other types;
    /// `ValidationException` (for CloudWatch Logs `InvalidParameterException`) with every limit that is broken,
    /// or the first rule between members.
    pub fn read(operation: Operation, body: &[u8]) -> Result<Self, ApiError> {
        let document = document(body)?;
        validation::check(operation, &document).map_err(|error| spelled(operation, error))?;
        let request = Self::typed(operation, document)?;
        check(&request)?;
        Ok(request)
    }
}

/// What holds between its members.
fn check(request: &Request) -> Result<(), ApiError> {
    match request {
        Request::CreateInferenceRecommendationsJob(request) => checks::job(request),
        Request::GetScalingConfigurationRecommendation(request) => checks::scaling(request),
        Request::CreateModel(request) => checks::model(request),
        Request::CreateModelPackage(request) => checks::model_package(request),
        Request::UpdateModelPackage(request) => checks::model_package_update(request),
        Request::CreateModelPackageGroup(request) => {
            checks::tags(request.tags.as_deref().unwrap_or_default())
        }
        Request::AddTags(request) => checks::tags(&request.tags),
        Request::DescribeInferenceRecommendationsJob(_)
        | Request::ListInferenceRecommendationsJobs(_)
        | Request::ListInferenceRecommendationsJobSteps(_)
        | Request::StopInferenceRecommendationsJob(_)
        | Request::DescribeModel(_)
        | Request::ListModels(_)
        | Request::DeleteModel(_)
        | Request::DescribeModelPackageGroup(_)
        | Request::ListModelPackageGroups(_)
        | Request::DeleteModelPackageGroup(_)
        | Request::DescribeModelPackage(_)
        | Request::ListModelPackages(_)
        | Request::DeleteModelPackage(_)
        | Request::ListModelMetadata(_)
        | Request::ListTags(_)
        | Request::DeleteTags(_)
        | Request::GetLogEvents(_)
        | Request::DescribeLogStreams(_) => Ok(()),
    }
}

fn document(body: &[u8]) -> Result<Value, ApiError> {
    if body.trim_ascii().is_empty() {
        return Ok(Value::Object(Map::new()));
    }
    let document: Value = serde_json::from_slice(body)
        .map_err(|error| ApiError::serialization(format!("the body is not JSON: {error}")))?;
    if document.is_object() {
        Ok(document)
    } else {
        Err(ApiError::serialization("the body is not a JSON object"))
    }
}

fn typed<T: DeserializeOwned>(document: Value) -> Result<Box<T>, ApiError> {
    serde_json::from_value(document)
        .map(Box::new)
        .map_err(|error| ApiError::serialization(error.to_string()))
}

/// CloudWatch Logs has a code of its own for what SageMaker calls a validation error.
fn spelled(operation: Operation, error: ApiError) -> ApiError {
    let is_logs = operation.service() == Service::Logs;
    if is_logs && error.code == ErrorCode::ValidationException {
        return ApiError::new(ErrorCode::InvalidParameterException, error.message);
    }
    error
}

#[cfg(test)]
mod tests;
