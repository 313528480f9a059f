//! Tags of anything that has an ARN here.

use assay_measure::ids::JobName;
use assay_sagemaker::{
    arn::Resource as Named,
    error::{ApiError, ErrorCode},
    shapes::tags::{
        AddTagsRequest, AddTagsResponse, DeleteTagsRequest, DeleteTagsResponse, ListTagsRequest,
        ListTagsResponse,
    },
};

use super::MOST_TAGS;
use crate::{sagemaker::Api, store::registry::Kind};

/// `AddTags`; answers with all of them.
pub(crate) async fn add(api: &Api, request: &AddTagsRequest) -> Result<AddTagsResponse, ApiError> {
    let resource = resource(api, &request.resource_arn).await?;
    let all = api.store.put_tags(&resource, &request.tags, MOST_TAGS).await;
    match all? {
        Some(tags) => Ok(AddTagsResponse { tags: Some(tags) }),
        None => Err(ApiError::new(
            ErrorCode::ResourceLimitExceeded,
            format!("A resource has at most {MOST_TAGS} tags."),
        )),
    }
}

/// `ListTags`, by key: all of them, since the smallest page that can be asked for is the most there are.
pub(crate) async fn list(
    api: &Api,
    request: &ListTagsRequest,
) -> Result<ListTagsResponse, ApiError> {
    let resource = resource(api, &request.resource_arn).await?;
    if request.next_token.is_some() {
        return Err(ApiError::validation("The NextToken is not one that this server gave out."));
    }
    let tags = api.store.tags(&resource).await?;
    Ok(ListTagsResponse { tags: Some(tags), next_token: None })
}

/// `DeleteTags`.
pub(crate) async fn delete(
    api: &Api,
    request: &DeleteTagsRequest,
) -> Result<DeleteTagsResponse, ApiError> {
    let resource = resource(api, &request.resource_arn).await?;
    api.store.remove_tags(&resource, &request.tag_keys).await?;
    Ok(DeleteTagsResponse::default())
}

/// `<kind>/<name>` of what an ARN names, which has to be there.
async fn resource(api: &Api, arn: &str) -> Result<String, ApiError> {
    let missing = || ApiError::validation(format!("Could not find resource {arn:?}."));
    let named = api.account.parse(arn).map_err(|_| missing())?;
    let path = named.to_string();
    let (kind, name) = match named {
        Named::InferenceRecommendationsJob(name) => (Kind::Job, name),
        Named::Model(name) => (Kind::Model, name),
        Named::ModelPackageGroup(name) => (Kind::Group, name),
        Named::ModelPackage(name) => (Kind::Package, name),
        Named::ModelPackageVersion { group, version } => {
            (Kind::Package, format!("{group}/{version}"))
        }
    };
    let is_there = match kind {
        // Jobs of `assay` have no request of this API behind them.
        Kind::Job => match JobName::new(name) {
            Ok(name) => api.store.job(&name).await?.is_some(),
            Err(_) => false,
        },
        Kind::Model | Kind::Group | Kind::Package => {
            api.store.resource(kind, &name).await?.is_some()
        }
    };
    if is_there { Ok(path) } else { Err(missing()) }
}
