//! `ListModelMetadata`: the models that completed jobs measured, as their requests described them.

use std::collections::BTreeSet;

use assay_sagemaker::{
    error::ApiError,
    shapes::{
        jobs::RecommendationJobStatus,
        metadata::{
            FilterName, ListModelMetadataRequest, ListModelMetadataResponse, ModelMetadataFilter,
            ModelMetadataSummary,
        },
        packages::CreateModelPackageRequest,
    },
};
use serde::{Deserialize, Serialize};

use crate::{
    sagemaker::{
        Api,
        jobs::intake::Intake,
        paging::{self, page_size, position},
        parsed,
    },
    store::{job_list::JobListQuery, registry::Kind},
};

// What requests say when they do not know; and every model here is TorchScript.
const DOMAIN: &str = "MACHINE_LEARNING";
const TASK: &str = "OTHER";
const FRAMEWORK: &str = "PYTORCH";
const FRAMEWORK_VERSION: &str = "2.11";

/// What tells models apart; sorted by name first.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
struct Described {
    model: String,
    domain: String,
    framework: String,
    framework_version: String,
    task: String,
}

pub(crate) async fn list(
    api: &Api,
    request: ListModelMetadataRequest,
) -> Result<ListModelMetadataResponse, ApiError> {
    let filters = request.search_expression.and_then(|one| one.filters).unwrap_or_default();
    let after = position::<Described>(&filters, request.next_token.as_deref())?;
    let limit = page_size(request.max_results);
    let mut found: Vec<Described> = measured(api)
        .await?
        .into_iter()
        .filter(|one| filters.iter().all(|filter| one.meets(filter)))
        .filter(|one| after.as_ref().is_none_or(|after| one > after))
        .collect();
    let next_token = paging::cut(&mut found, limit, &filters, Described::clone);
    let model_metadata_summaries = found.into_iter().map(Described::summary).collect();
    Ok(ListModelMetadataResponse { model_metadata_summaries, next_token })
}

async fn measured(api: &Api) -> Result<BTreeSet<Described>, ApiError> {
    let completed =
        JobListQuery { status: Some(RecommendationJobStatus::Completed), ..JobListQuery::all() };
    let mut all = BTreeSet::new();
    for job in api.store.job_list(&completed).await? {
        let Some(intake) = job.intake.map(parsed::<Intake>).transpose()? else {
            continue;
        };
        all.extend(described(api, intake).await?);
    }
    Ok(all)
}

/// What a request says wins over what its package says; `None` when neither names the model.
async fn described(api: &Api, intake: Intake) -> Result<Option<Described>, ApiError> {
    let input = intake.request.input_config;
    let given = input.container_config.unwrap_or_default();
    let package = match input.model_package_version_arn {
        Some(arn) => package(api, &arn).await?,
        None => CreateModelPackageRequest::default(),
    };
    let containers = package.described.inference_specification.map(|one| one.containers);
    let container = containers.unwrap_or_default().into_iter().next().unwrap_or_default();
    let name = given
        .nearest_model_name
        .or(container.nearest_model_name)
        .or(input.model_name)
        .or(package.model_package_group_name)
        .or(package.model_package_name);
    let or = |one: Option<String>, other: Option<String>, otherwise: &str| {
        one.or(other).unwrap_or_else(|| otherwise.to_owned())
    };
    Ok(name.map(|model| Described {
        model,
        domain: or(given.domain, package.described.domain, DOMAIN),
        framework: or(given.framework, container.framework, FRAMEWORK),
        framework_version: or(
            given.framework_version,
            container.framework_version,
            FRAMEWORK_VERSION,
        ),
        task: or(given.task, package.described.task, TASK),
    }))
}

/// A package; an empty one when it is gone since.
async fn package(api: &Api, arn: &str) -> Result<CreateModelPackageRequest, ApiError> {
    let Ok(named) = api.account.package(arn) else {
        return Ok(CreateModelPackageRequest::default());
    };
    let path = named.to_string();
    let name = path.split_once('/').map_or(path.as_str(), |(_, name)| name);
    let found = api.store.resource(Kind::Package, name).await?;
    found.map_or_else(|| Ok(CreateModelPackageRequest::default()), |found| parsed(found.document))
}

impl Described {
    fn meets(&self, filter: &ModelMetadataFilter) -> bool {
        let member = match filter.name {
            FilterName::Domain => &self.domain,
            FilterName::Framework => &self.framework,
            FilterName::Task => &self.task,
            FilterName::FrameworkVersion => &self.framework_version,
        };
        *member == filter.value
    }

    fn summary(self) -> ModelMetadataSummary {
        ModelMetadataSummary {
            domain: self.domain,
            framework: self.framework,
            task: self.task,
            model: self.model,
            framework_version: self.framework_version,
        }
    }
}
