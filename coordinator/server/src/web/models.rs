//! Pages about models: what the SageMaker API has registered, and jobs made of it as that API makes them.

use assay_measure::{bounded_text, ids::JobName};
use assay_pages::{
    frame::Section,
    models::{Asked, Group, GroupRow, Models, Version, VersionJob, VersionRow, group_path},
    results::job_path,
};
use assay_sagemaker::{
    arn::Resource as Named,
    error::{ApiError, ErrorCode},
    operation::Operation,
    request::Request,
    shapes::{
        jobs::JobSortKey,
        lists::{SortKey, SortOrder},
        packages::{
            ApprovalStatus, CreateModelPackageGroupRequest, DescribeModelPackageRequest,
            DescribeModelPackageResponse, PackageDescription,
        },
    },
};
use axum::{
    extract::State,
    response::{Html, IntoResponse, Redirect, Response},
};
use http::StatusCode;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    Web,
    asked::{Form, Path, Query},
    html,
    refusal::Refusal,
    visitors::Visitor,
};
use crate::{
    sagemaker::{self, Caller, parsed, registry::packages},
    store::{
        job_list::JobListQuery,
        registry::{Kind, Resource, ResourceQuery},
    },
};

const MOST: usize = 200;
const LONGEST_DESCRIPTION: usize = 300;
/// Stands where a group would, for packages that are in none: no group is called so.
const NO_GROUP: &str = "-";

#[derive(Deserialize)]
pub(super) struct ModelsQuery {
    #[serde(default)]
    q: String,
}

pub(super) async fn list(
    State(web): State<Web>,
    visitor: Visitor,
    Query(ModelsQuery { q }): Query<ModelsQuery>,
) -> Result<Html<String>, Refusal> {
    let name_contains = Some(q.trim().to_owned()).filter(|text| !text.is_empty());
    let named = |kind| ResourceQuery {
        name_contains: name_contains.clone(),
        sort_by: SortKey::Name,
        limit: MOST + 1,
        ..ResourceQuery::all(kind)
    };
    let store = &web.shared.store;
    let mut groups = store.resources(&named(Kind::Group)).await?;
    let unversioned = ResourceQuery { versioned: Some(false), ..named(Kind::Package) };
    let mut packages = store.resources(&unversioned).await?;
    let more = groups.len() > MOST || packages.len() > MOST;
    groups.truncate(MOST);
    packages.truncate(MOST);
    let versions = store.versions_of_groups().await?;
    let row = |group: Resource| -> Result<GroupRow, ApiError> {
        let (count, latest) = versions.get(&group.name).copied().unzip();
        let described: CreateModelPackageGroupRequest = parsed(group.document)?;
        Ok(GroupRow {
            description: shortened(described.model_package_group_description),
            created_at: group.created_at,
            versions: count.unwrap_or_default(),
            latest,
            name: group.name,
        })
    };
    html(&Models {
        frame: visitor.frame(Some(Section::Models)),
        groups: groups.into_iter().map(row).collect::<Result<_, ApiError>>()?,
        packages: packages.into_iter().map(version_row).collect::<Result<_, ApiError>>()?,
        more,
        name_contains: q,
        endpoint_url: web.url(),
    })
}

fn shortened(description: Option<String>) -> String {
    bounded_text::beginning(description.unwrap_or_default(), LONGEST_DESCRIPTION)
}

fn version_row(package: Resource) -> Result<VersionRow, ApiError> {
    let described: PackageDescription = parsed(package.document)?;
    let (label, path) = match package.version_of {
        Some((group, version)) => {
            (format!("version {version}"), format!("{}/{version}", group_path(&group)))
        }
        None => (package.name.clone(), format!("{}/{}", group_path(NO_GROUP), package.name)),
    };
    Ok(VersionRow {
        label,
        path,
        description: shortened(described.model_package_description),
        approval: package.approval.map(ApprovalStatus::word),
        created_at: package.created_at,
    })
}

pub(super) async fn group(
    State(web): State<Web>,
    visitor: Visitor,
    Path(name): Path<String>,
) -> Result<Html<String>, Refusal> {
    let store = &web.shared.store;
    let group = store.resource(Kind::Group, &name).await?;
    let group = group.ok_or_else(|| Refusal::not_found(format!("There is no group {name}.")))?;
    let described: CreateModelPackageGroupRequest = parsed(group.document)?;
    let query = ResourceQuery {
        group: Some(name.clone()),
        order: SortOrder::Descending,
        limit: MOST + 1,
        ..ResourceQuery::all(Kind::Package)
    };
    let mut versions = store.resources(&query).await?;
    let more = versions.len() > MOST;
    versions.truncate(MOST);
    html(&Group {
        frame: visitor.frame(Some(Section::Models)),
        name,
        description: described.model_package_group_description.unwrap_or_default(),
        versions: versions.into_iter().map(version_row).collect::<Result<_, ApiError>>()?,
        more,
    })
}

pub(super) async fn version(
    State(web): State<Web>,
    visitor: Visitor,
    Path((group, version)): Path<(String, String)>,
) -> Result<Html<String>, Refusal> {
    let found = web.package(&group, &version).await?;
    let stem = if group == NO_GROUP { version.clone() } else { format!("{group}-{version}") };
    let stem = bounded_text::beginning(stem, 40);
    let now = web.shared.clock.now();
    let asked = Asked {
        job_name: format!("{}-{}", stem.trim_end_matches('-'), now.strftime("%Y%m%d-%H%M%S")),
        ..Asked::default()
    };
    html(&web.version_page(&visitor, (&group, &version), found, asked).await?)
}

#[derive(Deserialize)]
pub(super) struct Wish {
    #[serde(default)]
    job_name: String,
    #[serde(default)]
    payload_url: String,
    #[serde(default)]
    content_type: String,
    #[serde(default)]
    instance_types: String,
}

/// *Get recommendations*: a Default job of the SageMaker API.
pub(super) async fn recommend(
    State(web): State<Web>,
    visitor: Visitor,
    Path((group, version)): Path<(String, String)>,
    Form(wish): Form<Wish>,
) -> Result<Response, Refusal> {
    let found = web.package(&group, &version).await?;
    let document = wish.request(&found.model_package_arn, web.shared.aws.account.id());
    let created = async {
        let operation = Operation::CreateInferenceRecommendationsJob;
        let request = Request::read(operation, document.to_string().as_bytes())?;
        let caller = Caller { user_agent: String::new() };
        sagemaker::dispatch(&web.shared.aws, request, &caller).await
    };
    let error = match created.await {
        // The name was checked on the way.
        Ok(_) => {
            return Ok(Redirect::to(&format!("/jobs/{}", wish.job_name.trim())).into_response());
        }
        Err(error) if error.code == ErrorCode::InternalFailure => return Err(error.into()),
        Err(error) => error.message,
    };
    let Wish { job_name, payload_url, content_type, instance_types } = wish;
    let asked = Asked { job_name, payload_url, content_type, instance_types, error };
    let page = web.version_page(&visitor, (&group, &version), found, asked).await?;
    Ok((StatusCode::BAD_REQUEST, html(&page)?).into_response())
}

impl Wish {
    fn request(&self, arn: &str, account: &str) -> Value {
        let given = |text: &str| Some(text.trim().to_owned()).filter(|text| !text.is_empty());
        let types: Vec<String> = self.instance_types.split(',').filter_map(given).collect();
        let mut payload = json!({});
        if let Some(url) = given(&self.payload_url) {
            payload["SamplePayloadUrl"] = url.into();
        }
        if let Some(content_type) = given(&self.content_type) {
            payload["SupportedContentTypes"] = json!([content_type]);
        }
        let mut container = json!({ "PayloadConfig": payload });
        if !types.is_empty() {
            container["SupportedInstanceTypes"] = json!(types);
        }
        json!({
            "JobName": self.job_name.trim(),
            "JobType": "Default",
            "RoleArn": format!("arn:aws:iam::{account}:role/assay"),
            "InputConfig": { "ModelPackageVersionArn": arn, "ContainerConfig": container },
        })
    }
}

impl Web {
    async fn package(
        &self,
        group: &str,
        version: &str,
    ) -> Result<DescribeModelPackageResponse, Refusal> {
        let missing = || Refusal::not_found(format!("The registry has no {group}/{version}."));
        let named = if group == NO_GROUP {
            Named::ModelPackage(version.to_owned())
        } else {
            let version = version.parse().map_err(|_| missing())?;
            Named::ModelPackageVersion { group: group.to_owned(), version }
        };
        let api = &self.shared.aws;
        let request = DescribeModelPackageRequest {
            model_package_name: api.account.arn(&named),
            included_data: None,
        };
        packages::describe(api, &request).await.map_err(|error| {
            if error.code == ErrorCode::InternalFailure { error.into() } else { missing() }
        })
    }

    async fn version_page(
        &self,
        visitor: &Visitor,
        (group, version): (&str, &str),
        found: DescribeModelPackageResponse,
        asked: Asked,
    ) -> Result<Version, Refusal> {
        let query = JobListQuery {
            package_arn: Some(found.model_package_arn.clone()),
            sort_by: JobSortKey::CreationTime,
            order: SortOrder::Descending,
            limit: MOST,
            ..JobListQuery::all()
        };
        let jobs = self.shared.store.job_list(&query).await?;
        let job = |line: crate::store::job_list::JobLine| {
            let name: JobName = line.name.parse().ok()?;
            Some(VersionJob {
                path: job_path(&name),
                name: line.name,
                status: line.state.status(),
                created_at: line.created_at,
            })
        };
        let is_alone = group == NO_GROUP;
        Ok(Version {
            frame: visitor.frame(Some(Section::Models)),
            group: (!is_alone).then(|| group.to_owned()),
            label: if is_alone { version.to_owned() } else { format!("version {version}") },
            path: format!("{}/{version}", group_path(group)),
            facts: facts(&found),
            has_payload: found.described.sample_payload_url.is_some(),
            arn: found.model_package_arn,
            asked,
            jobs: jobs.into_iter().filter_map(job).collect(),
        })
    }
}

fn facts(found: &DescribeModelPackageResponse) -> Vec<(&'static str, String)> {
    let described = &found.described;
    let specification = described.inference_specification.as_ref();
    let container = specification.and_then(|one| one.containers.first());
    let of_container = |of: fn(
        &assay_sagemaker::shapes::packages::ModelPackageContainerDefinition,
    ) -> Option<String>| { container.and_then(of) };
    let list = |types: Option<&Vec<String>>| types.map(|types| types.join(", "));
    let created: Timestamp = found.creation_time.time();
    let facts = [
        ("Description", described.model_package_description.clone()),
        ("Approval", found.model_approval_status.map(|status| status.word().to_owned())),
        ("Created", Some(created.strftime("%Y-%m-%d %H:%M UTC").to_string())),
        ("Domain", described.domain.clone()),
        ("Task", described.task.clone()),
        ("Framework", of_container(|one| one.framework.clone())),
        ("Model data", of_container(|one| one.model_data_url.clone())),
        ("Inputs", of_container(|one| Some(one.model_input.as_ref()?.data_input_config.clone()))),
        ("Content types", list(specification.and_then(|one| one.supported_content_types.as_ref()))),
        (
            "Instance types",
            list(
                specification
                    .and_then(|one| one.supported_realtime_inference_instance_types.as_ref()),
            ),
        ),
        ("Sample payload", described.sample_payload_url.clone()),
    ];
    let said = facts.into_iter().filter_map(|(name, value)| Some((name, value?)));
    said.filter(|(_, value)| !value.is_empty()).collect()
}

impl From<ApiError> for Refusal {
    fn from(error: ApiError) -> Self {
        if error.code == ErrorCode::InternalFailure {
            return Self::fault(&error);
        }
        Self::bad_request(error.message, "")
    }
}
