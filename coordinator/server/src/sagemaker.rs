//! The SageMaker API: what `assay-sagemaker` decides, performed.
//!
//! [`offer`] is what the operator chose. A request enters by [`front`], which authenticates it by
//! [`signature`]; [`dispatch`] is the one place where an operation meets its handler. What only this API
//! knows (models, packages, tags, the requests behind jobs) is kept by [`crate::store::registry`]; jobs themselves are
//! ordinary ones and belong to the loop.

pub(crate) mod background;
pub(crate) mod fetch;
pub(crate) mod front;
mod instant;
pub(crate) mod jobs;
pub(crate) mod keys;
mod logs;
pub(crate) mod offer;
pub(crate) mod paging;
pub(crate) mod registry;
mod scaling;
pub(crate) mod signature;
mod steps;

use std::sync::Arc;

use assay_sagemaker::{
    arn::Account,
    error::{ApiError, ErrorCode},
    request::Request,
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use crate::{
    artifacts::Artifacts,
    clock::Clock,
    dispatch::DispatchLink,
    sagemaker::{
        background::Background,
        fetch::Sources,
        registry::{groups, metadata, models, packages, tags},
    },
    settings::AwsSettings,
    store::{Store, StoreError},
};

pub(crate) struct Api {
    pub(crate) dispatch: DispatchLink,
    pub(crate) store: Arc<Store>,
    pub(crate) artifacts: Artifacts,
    pub(crate) clock: Clock,
    pub(crate) settings: AwsSettings,
    /// Whose resources these are: what ARNs are made of.
    pub(crate) account: Account,
    /// Where models and payloads come from.
    pub(crate) sources: Sources,
    /// For work that goes on after the answer.
    pub(crate) background: Background,
}

#[derive(Clone, Debug)]
pub(crate) struct Caller {
    /// What the client says it is; decides on the order of recommendations.
    pub(crate) user_agent: String,
}

/// Does what a request asks. `None` is an answer without a body.
pub(crate) async fn dispatch(
    api: &Arc<Api>,
    request: Request,
    caller: &Caller,
) -> Result<Option<Value>, ApiError> {
    match request {
        Request::CreateInferenceRecommendationsJob(request) => {
            body(jobs::create(api, *request).await?)
        }
        Request::DescribeInferenceRecommendationsJob(request) => {
            body(jobs::describe(api, &request, caller).await?)
        }
        Request::ListInferenceRecommendationsJobs(request) => {
            body(jobs::list(api, *request).await?)
        }
        Request::ListInferenceRecommendationsJobSteps(request) => {
            body(steps::list(api, &request).await?)
        }
        Request::StopInferenceRecommendationsJob(request) => empty(jobs::stop(api, &request).await),
        Request::GetScalingConfigurationRecommendation(request) => {
            body(scaling::recommend(api, &request).await?)
        }
        Request::GetLogEvents(request) => body(logs::get(api, &request).await?),
        Request::DescribeLogStreams(request) => body(logs::streams(api, &request).await?),
        Request::CreateModel(request) => body(models::create(api, *request).await?),
        Request::DescribeModel(request) => body(models::describe(api, &request).await?),
        Request::ListModels(request) => body(models::list(api, *request).await?),
        Request::DeleteModel(request) => empty(models::delete(api, &request).await),
        Request::CreateModelPackageGroup(request) => body(groups::create(api, *request).await?),
        Request::DescribeModelPackageGroup(request) => body(groups::describe(api, &request).await?),
        Request::ListModelPackageGroups(request) => body(groups::list(api, *request).await?),
        Request::DeleteModelPackageGroup(request) => empty(groups::delete(api, &request).await),
        Request::CreateModelPackage(request) => body(packages::create(api, *request).await?),
        Request::DescribeModelPackage(request) => body(packages::describe(api, &request).await?),
        Request::ListModelPackages(request) => body(packages::list(api, *request).await?),
        Request::UpdateModelPackage(request) => {
            body(packages::update::update(api, *request).await?)
        }
        Request::DeleteModelPackage(request) => empty(packages::delete(api, &request).await),
        Request::ListModelMetadata(request) => body(metadata::list(api, *request).await?),
        Request::AddTags(request) => body(tags::add(api, &request).await?),
        Request::ListTags(request) => body(tags::list(api, &request).await?),
        Request::DeleteTags(request) => body(tags::delete(api, &request).await?),
    }
}

fn empty(done: Result<(), ApiError>) -> Result<Option<Value>, ApiError> {
    done.map(|()| None)
}

fn body(answer: impl Serialize) -> Result<Option<Value>, ApiError> {
    serde_json::to_value(answer).map(Some).map_err(|error| {
        tracing::error!(%error, "an answer cannot be written as JSON");
        ApiError::new(ErrorCode::InternalFailure, "the answer cannot be written")
    })
}

/// The one reason for a 5xx: what is kept cannot be read or written. Clients may try again.
impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        let cause = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
        tracing::error!(%error, cause, "the store failed a request");
        Self::new(ErrorCode::InternalFailure, "the store cannot be used at the moment")
    }
}

/// A document that this API wrote itself.
pub(crate) fn parsed<T: DeserializeOwned>(document: Value) -> Result<T, ApiError> {
    let what = "a resource of the SageMaker API".to_owned();
    let damaged = |error| StoreError::Damaged { what, source: Box::new(error) };
    Ok(serde_json::from_value(document).map_err(damaged)?)
}
