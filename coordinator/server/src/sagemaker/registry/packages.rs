//! Model packages: versions in a group, or under a name of their own.
//!
//! A package is complete as soon as it is there: nothing validates it but the jobs that use it.

use assay_sagemaker::{
    arn::Resource as Named,
    error::ApiError,
    shapes::packages::{
        ApprovalStatus, CreateModelPackageRequest, CreateModelPackageResponse,
        DeleteModelPackageRequest, DescribeModelPackageRequest, DescribeModelPackageResponse,
        ListModelPackagesRequest, ListModelPackagesResponse, ModelPackageStatusDetails,
        ModelPackageSummary, PackageStatus, PackageType, UserContext,
    },
    timestamp::Timestamp,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::{conflict, document, groups, now, page};
use crate::{
    sagemaker::{Api, parsed},
    store::registry::{Added, Kind, NewName, NewResource, Once, Removed, Resource},
};

pub(crate) mod update;

/// A package as it is kept: what was asked, with what changed since.
#[derive(Serialize, Deserialize)]
struct Kept {
    #[serde(flatten)]
    request: CreateModelPackageRequest,
    #[serde(default)]
    approval_description: Option<String>,
    /// Its last change, so that the same request may come twice.
    #[serde(default)]
    last_update: Option<Update>,
}

#[derive(Serialize, Deserialize)]
struct Update {
    token: Option<String>,
    request_sha256: String,
}

/// `CreateModelPackage`.
pub(crate) async fn create(
    api: &Api,
    mut request: CreateModelPackageRequest,
) -> Result<CreateModelPackageResponse, ApiError> {
    let once = once(&mut request)?;
    let tags = request.tags.take().unwrap_or_default();
    let (name, approval) = match (&request.model_package_name, &request.model_package_group_name) {
        (Some(name), _) => (NewName::Given(name.clone()), request.model_approval_status),
        (None, group) => {
            let group = groups::name(api, group.as_deref().unwrap_or_default())?;
            let approval = request.model_approval_status;
            let approval = approval.unwrap_or(ApprovalStatus::PendingManualApproval);
            (NewName::VersionOf(group), Some(approval))
        }
    };
    let new = NewResource {
        kind: Kind::Package,
        name: name.clone(),
        created_at: now(api),
        approval,
        once,
        document: document(Kept { request, approval_description: None, last_update: None })?,
        tags,
    };
    match (api.store.add(new).await?, name) {
        (Added::New(name) | Added::Before(name), _) => {
            Ok(CreateModelPackageResponse { model_package_arn: arn(api, &name) })
        }
        (Added::NameTaken, NewName::Given(name) | NewName::VersionOf(name)) => {
            Err(conflict(format!("Model Package already exists: {}", arn(api, &name))))
        }
        (Added::NoGroup, NewName::Given(group) | NewName::VersionOf(group)) => {
            Err(groups::no_such_group(api, &group))
        }
        (Added::TokenReused, _) => Err(token_reused()),
    }
}

/// Clients that try again send the same token: boto3 makes one for every call.
fn once(request: &mut CreateModelPackageRequest) -> Result<Option<Once>, ApiError> {
    let Some(token) = request.client_token.take() else {
        return Ok(None);
    };
    let request_sha256 = checksum(&document(&*request)?);
    Ok(Some(Once { token, request_sha256 }))
}

fn checksum(document: &Value) -> String {
    hex::encode(Sha256::digest(document.to_string()))
}

fn token_reused() -> ApiError {
    conflict("The ClientToken was used before, for a request with other parameters.")
}

/// `DescribeModelPackage`.
pub(crate) async fn describe(
    api: &Api,
    request: &DescribeModelPackageRequest,
) -> Result<DescribeModelPackageResponse, ApiError> {
    let found = require(api, &request.model_package_name).await?;
    let kept: Kept = parsed(found.document.clone())?;
    let mut answer = described(api, &found, kept);
    if request.included_data.as_deref() == Some("MetadataOnly")
        && let Some(Value::Object(card)) = &mut answer.described.model_card
    {
        card.remove("ModelCardContent");
    }
    Ok(answer)
}

fn described(api: &Api, found: &Resource, kept: Kept) -> DescribeModelPackageResponse {
    let mut described = kept.request.described;
    described.certify_for_marketplace.get_or_insert(false);
    let version_of = found.version_of.as_ref();
    let is_changed = found.revision > 0;
    DescribeModelPackageResponse {
        model_package_name: found.label().to_owned(),
        model_package_arn: arn(api, &found.name),
        creation_time: Timestamp::new(found.created_at),
        model_package_status: PackageStatus::Completed,
        model_package_status_details: ModelPackageStatusDetails {
            validation_statuses: Vec::new(),
            image_scan_statuses: None,
        },
        described,
        model_package_group_name: version_of.map(|(group, _)| group.clone()),
        model_package_version: version_of.map(|(_, version)| shown(*version)),
        model_approval_status: found.approval,
        created_by: Some(UserContext::default()),
        last_modified_time: is_changed.then(|| Timestamp::new(found.modified_at)),
        last_modified_by: is_changed.then(UserContext::default),
        approval_description: kept.approval_description,
    }
}

/// `ListModelPackages`: versions of a group if one is named, otherwise packages outside groups; oldest
/// first unless asked otherwise.
pub(crate) async fn list(
    api: &Api,
    request: ListModelPackagesRequest,
) -> Result<ListModelPackagesResponse, ApiError> {
    let group = request.model_package_group_name.as_deref();
    let group = group.map(|group| groups::name(api, group)).transpose()?;
    let versioned = match request.model_package_type {
        Some(PackageType::Versioned) => Some(true),
        Some(PackageType::Unversioned) => Some(false),
        Some(PackageType::Both) => None,
        None => Some(group.is_some()),
    };
    let narrow = |query: &mut crate::store::registry::ResourceQuery| {
        query.approval = request.model_approval_status;
        query.group = group;
        query.versioned = versioned;
    };
    let (found, next_token) = page(api, Kind::Package, request.list, narrow).await?;
    let summaries = found.into_iter().map(|package| summary(api, package));
    Ok(ListModelPackagesResponse {
        model_package_summary_list: summaries.collect::<Result<_, _>>()?,
        next_token,
    })
}

fn summary(api: &Api, found: Resource) -> Result<ModelPackageSummary, ApiError> {
    let arn = arn(api, &found.name);
    let Kept { request, .. } = parsed(found.document)?;
    let is_version = found.version_of.is_some();
    let (group, version) = found.version_of.unzip();
    Ok(ModelPackageSummary {
        model_package_arn: arn,
        creation_time: Timestamp::new(found.created_at),
        model_package_status: PackageStatus::Completed,
        model_package_name: (!is_version).then_some(found.name),
        model_package_group_name: group,
        model_package_version: version.map(shown),
        model_package_description: request.described.model_package_description,
        model_approval_status: found.approval,
        model_life_cycle: request.described.model_life_cycle,
        model_package_registration_type: request.described.model_package_registration_type,
    })
}

/// `DeleteModelPackage`.
pub(crate) async fn delete(api: &Api, request: &DeleteModelPackageRequest) -> Result<(), ApiError> {
    let name = name(api, &request.model_package_name)?;
    match api.store.remove(Kind::Package, &name).await? {
        Removed::Gone => Ok(()),
        Removed::NotThere | Removed::NotEmpty => Err(no_such_package(&request.model_package_name)),
    }
}

/// The package that a name or an ARN means, which has to be there.
pub(crate) async fn require(api: &Api, name_or_arn: &str) -> Result<Resource, ApiError> {
    let name = name(api, name_or_arn)?;
    let found = api.store.resource(Kind::Package, &name).await?;
    found.ok_or_else(|| no_such_package(name_or_arn))
}

fn name(api: &Api, name_or_arn: &str) -> Result<String, ApiError> {
    match api.account.package(name_or_arn) {
        Ok(Named::ModelPackage(name)) => Ok(name),
        Ok(Named::ModelPackageVersion { group, version }) => Ok(format!("{group}/{version}")),
        Ok(
            Named::InferenceRecommendationsJob(_) | Named::Model(_) | Named::ModelPackageGroup(_),
        )
        | Err(_) => Err(no_such_package(name_or_arn)),
    }
}

fn no_such_package(name_or_arn: &str) -> ApiError {
    ApiError::validation(format!("ModelPackage {name_or_arn} does not exist."))
}

fn arn(api: &Api, name: &str) -> String {
    let named = match name.split_once('/').map(|(group, version)| (group, version.parse())) {
        Some((group, Ok(version))) => {
            Named::ModelPackageVersion { group: group.to_owned(), version }
        }
        Some((_, Err(_))) | None => Named::ModelPackage(name.to_owned()),
    };
    api.account.arn(&named)
}

fn shown(version: u32) -> i32 {
    i32::try_from(version).unwrap_or(i32::MAX)
}
