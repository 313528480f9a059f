//! Models: a container and where its data lies, under a name.

use assay_sagemaker::{
    arn::Resource as Named,
    error::ApiError,
    shapes::{
        lists::{ListRequest, SortOrder},
        models::{
            ContainerDefinition, CreateModelRequest, CreateModelResponse, DeleteModelRequest,
            DescribeModelRequest, DescribeModelResponse, ListModelsResponse, ModelSummary,
        },
    },
    timestamp::Timestamp,
};

use super::{document, now, packages, page};
use crate::{
    sagemaker::{Api, instant, parsed},
    store::registry::{Added, Kind, NewResource, Removed},
};

/// `CreateModel`.
pub(crate) async fn create(
    api: &Api,
    mut request: CreateModelRequest,
) -> Result<CreateModelResponse, ApiError> {
    for container in containers(&request) {
        if let Some(package) = &container.model_package_name {
            packages::require(api, package).await?;
        }
    }
    let name = request.model_name.clone();
    let model_arn = api.account.arn(&Named::Model(name.clone()));
    let tags = request.tags.take().unwrap_or_default();
    let new = NewResource::named(Kind::Model, name, now(api), document(request)?);
    match api.store.add(NewResource { tags, ..new }).await? {
        Added::New(_) => Ok(CreateModelResponse { model_arn }),
        Added::NameTaken | Added::Before(_) | Added::NoGroup | Added::TokenReused => {
            Err(ApiError::model_exists(&model_arn))
        }
    }
}

fn containers(request: &CreateModelRequest) -> impl Iterator<Item = &ContainerDefinition> {
    request.primary_container.iter().chain(request.containers.iter().flatten())
}

/// `DescribeModel`.
pub(crate) async fn describe(
    api: &Api,
    request: &DescribeModelRequest,
) -> Result<DescribeModelResponse, ApiError> {
    let model_arn = api.account.arn(&Named::Model(request.model_name.clone()));
    let found = api.store.resource(Kind::Model, &request.model_name).await;
    let found = found?.ok_or_else(|| ApiError::no_such_model(&model_arn))?;
    let model: CreateModelRequest = parsed(found.document)?;
    let deployment_recommendation = instant::recommendation(api, &model).await?;
    Ok(DescribeModelResponse {
        model_name: model.model_name,
        creation_time: Timestamp::new(found.created_at),
        model_arn,
        primary_container: model.primary_container,
        containers: model.containers,
        inference_execution_config: model.inference_execution_config,
        execution_role_arn: model.execution_role_arn,
        vpc_config: model.vpc_config,
        enable_network_isolation: Some(model.enable_network_isolation.unwrap_or(false)),
        deployment_recommendation: Some(deployment_recommendation),
    })
}

/// `ListModels`, newest first unless asked otherwise.
pub(crate) async fn list(
    api: &Api,
    mut request: ListRequest,
) -> Result<ListModelsResponse, ApiError> {
    request.sort_order.get_or_insert(SortOrder::Descending);
    let (found, next_token) = page(api, Kind::Model, request, |_| {}).await?;
    let summary = |model: crate::store::registry::Resource| ModelSummary {
        model_arn: api.account.arn(&Named::Model(model.name.clone())),
        creation_time: Timestamp::new(model.created_at),
        model_name: model.name,
    };
    Ok(ListModelsResponse { models: found.into_iter().map(summary).collect(), next_token })
}

/// `DeleteModel`.
pub(crate) async fn delete(api: &Api, request: &DeleteModelRequest) -> Result<(), ApiError> {
    match api.store.remove(Kind::Model, &request.model_name).await? {
        Removed::Gone => Ok(()),
        Removed::NotThere | Removed::NotEmpty => Err(ApiError::no_such_model(
            &api.account.arn(&Named::Model(request.model_name.clone())),
        )),
    }
}
