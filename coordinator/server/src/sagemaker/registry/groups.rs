//! Groups of model packages: what numbers their versions.

use assay_sagemaker::{
    arn::Resource as Named,
    error::ApiError,
    shapes::packages::{
        CreateModelPackageGroupRequest, CreateModelPackageGroupResponse,
        DeleteModelPackageGroupRequest, DescribeModelPackageGroupRequest,
        DescribeModelPackageGroupResponse, GroupStatus, ListModelPackageGroupsRequest,
        ListModelPackageGroupsResponse, ModelPackageGroupSummary, UserContext,
    },
    timestamp::Timestamp,
};

use super::{conflict, document, now, page};
use crate::{
    sagemaker::{Api, parsed},
    store::registry::{Added, Kind, NewResource, Removed, Resource},
};

/// `CreateModelPackageGroup`.
pub(crate) async fn create(
    api: &Api,
    mut request: CreateModelPackageGroupRequest,
) -> Result<CreateModelPackageGroupResponse, ApiError> {
    let tags = request.tags.take().unwrap_or_default();
    let name = request.model_package_group_name.clone();
    let model_package_group_arn = arn(api, &name);
    let new = NewResource::named(Kind::Group, name, now(api), document(request)?);
    match api.store.add(NewResource { tags, ..new }).await? {
        Added::New(_) => Ok(CreateModelPackageGroupResponse { model_package_group_arn }),
        Added::NameTaken | Added::Before(_) | Added::NoGroup | Added::TokenReused => {
            Err(ApiError::validation(format!(
                "Model Package Group already exists: {model_package_group_arn}"
            )))
        }
    }
}

/// `DescribeModelPackageGroup`.
pub(crate) async fn describe(
    api: &Api,
    request: &DescribeModelPackageGroupRequest,
) -> Result<DescribeModelPackageGroupResponse, ApiError> {
    let name = name(api, &request.model_package_group_name)?;
    let found = api.store.resource(Kind::Group, &name).await?;
    let found = found.ok_or_else(|| no_such_group(api, &name))?;
    let group: CreateModelPackageGroupRequest = parsed(found.document)?;
    Ok(DescribeModelPackageGroupResponse {
        model_package_group_name: group.model_package_group_name,
        model_package_group_arn: arn(api, &name),
        creation_time: Timestamp::new(found.created_at),
        created_by: UserContext::default(),
        model_package_group_status: GroupStatus::Completed,
        model_package_group_description: group.model_package_group_description,
        managed_configuration: group.managed_configuration,
    })
}

/// `ListModelPackageGroups`, oldest first unless asked otherwise.
pub(crate) async fn list(
    api: &Api,
    request: ListModelPackageGroupsRequest,
) -> Result<ListModelPackageGroupsResponse, ApiError> {
    let (found, next_token) = page(api, Kind::Group, request.list, |_| {}).await?;
    let summaries = found.into_iter().map(|group| summary(api, group));
    Ok(ListModelPackageGroupsResponse {
        model_package_group_summary_list: summaries.collect::<Result<_, _>>()?,
        next_token,
    })
}

fn summary(api: &Api, found: Resource) -> Result<ModelPackageGroupSummary, ApiError> {
    let group: CreateModelPackageGroupRequest = parsed(found.document)?;
    Ok(ModelPackageGroupSummary {
        model_package_group_arn: arn(api, &found.name),
        model_package_group_name: found.name,
        creation_time: Timestamp::new(found.created_at),
        model_package_group_status: GroupStatus::Completed,
        model_package_group_description: group.model_package_group_description,
        managed_configuration: group.managed_configuration,
    })
}

/// `DeleteModelPackageGroup`.
pub(crate) async fn delete(
    api: &Api,
    request: &DeleteModelPackageGroupRequest,
) -> Result<(), ApiError> {
    let name = name(api, &request.model_package_group_name)?;
    match api.store.remove(Kind::Group, &name).await? {
        Removed::Gone => Ok(()),
        Removed::NotThere => Err(no_such_group(api, &name)),
        Removed::NotEmpty => Err(conflict(format!(
            "Model Package Group {} cannot be deleted because it still contains Model Packages.",
            arn(api, &name)
        ))),
    }
}

/// The group that a name or an ARN means.
pub(super) fn name(api: &Api, name_or_arn: &str) -> Result<String, ApiError> {
    api.account.group(name_or_arn).map_err(|error| ApiError::validation(error.to_string()))
}

pub(super) fn no_such_group(api: &Api, name: &str) -> ApiError {
    ApiError::validation(format!("ModelPackageGroup {} does not exist.", arn(api, name)))
}

fn arn(api: &Api, name: &str) -> String {
    api.account.arn(&Named::ModelPackageGroup(name.to_owned()))
}
