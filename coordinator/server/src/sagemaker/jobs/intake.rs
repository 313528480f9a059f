//! What a job was created with: the request as it came, kept for its echo, and where its files are.
//!
//! Model and package are looked up when the job is created: what happens to them later changes nothing.

use std::collections::BTreeMap;

use assay_sagemaker::{
    arn::Resource as Named,
    error::ApiError,
    shapes::{
        jobs::{
            ContainerConfig, CreateInferenceRecommendationsJobRequest, EndpointInputConfiguration,
            InputConfig,
        },
        models::{ContainerDefinition, ContainerMode, CreateModelRequest, ModelDataSource},
        packages::{
            AdditionalInferenceSpecificationDefinition, CreateModelPackageRequest,
            ModelPackageContainerDefinition,
        },
    },
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{
    sagemaker::{Api, parsed, registry::packages},
    store::registry::Kind,
};

/// A request for a job with all that it refers to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Intake {
    pub(crate) request: CreateInferenceRecommendationsJobRequest,
    pub(crate) subject: Subject,
}

/// What is measured, and with what; the request's own words win over the package's.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Subject {
    /// Where the model is; empty when none is served.
    pub(crate) model_url: String,
    /// Where the archive of payloads is.
    pub(crate) payload_url: String,
    /// The `Content-Type` of the payloads, unless their names say it.
    pub(crate) content_type: Option<String>,
    /// The shapes of the inputs, in SageMaker's notation.
    pub(crate) data_input_config: Option<String>,
    /// Instance types that the job is narrowed to; empty is no narrowing.
    pub(crate) instance_types: Vec<String>,
    /// The environment of the model's container, as it came.
    #[serde(default)]
    pub(crate) environment: BTreeMap<String, String>,
    /// The same of the additional inference specifications that the request names.
    #[serde(default)]
    pub(crate) specifications: BTreeMap<String, BTreeMap<String, String>>,
    /// Content types that were named after the first.
    #[serde(default)]
    pub(crate) other_content_types: Vec<String>,
    /// What was said of the model and changes nothing here, as `member of what`.
    #[serde(default)]
    pub(crate) without_effect: Vec<String>,
}

/// One model with what is known of it, from either kind of resource.
#[derive(Default)]
struct Found {
    model_url: Option<String>,
    payload_url: Option<String>,
    content_types: Vec<String>,
    data_input_config: Option<String>,
    instance_types: Vec<String>,
    environment: BTreeMap<String, String>,
    without_effect: Vec<String>,
    /// What the model says beside its package.
    own_environment: BTreeMap<String, String>,
    /// Other ways to serve the same package.
    additional: Vec<AdditionalInferenceSpecificationDefinition>,
}

impl Intake {
    /// Looks up what a request refers to.
    pub(crate) async fn of(
        api: &Api,
        request: CreateInferenceRecommendationsJobRequest,
    ) -> Result<Self, ApiError> {
        let input = &request.input_config;
        let found = found(api, input).await?;
        let given = input.container_config.clone().unwrap_or_default();
        let configurations = input.endpoint_configurations.as_deref().unwrap_or_default();
        let specifications = specifications(&found, configurations)?;
        let serves_model = !request.is_on_an_endpoint_alone();
        let subject = Subject { specifications, ..subject(found, given, serves_model)? };
        Ok(Self { request, subject })
    }
}

async fn found(api: &Api, input: &InputConfig) -> Result<Found, ApiError> {
    match (&input.model_package_version_arn, &input.model_name) {
        (Some(arn), _) => of_package(&package(api, arn).await?, None),
        (None, Some(name)) => of_model(api, name).await,
        (None, None) => Err(ApiError::validation("InputConfig names no model.")),
    }
}

fn subject(found: Found, given: ContainerConfig, serves_model: bool) -> Result<Subject, ApiError> {
    let mut without_effect = found.without_effect;
    without_effect.extend(unused(&given, &USED_OF_CONFIG, "ContainerConfig"));
    let payload = given.payload_config.unwrap_or_default();
    let given_types = not_empty(payload.supported_content_types);
    let mut content_types =
        if given_types.is_empty() { found.content_types } else { given_types }.into_iter();
    let model_url = match found.model_url.filter(|_| serves_model) {
        Some(url) => url,
        None if serves_model => {
            return Err(ApiError::validation(
                "The model has no ModelDataUrl, so there is nothing to measure.",
            ));
        }
        None => String::new(),
    };
    let payload_url = payload.sample_payload_url.or(found.payload_url).ok_or_else(|| {
        ApiError::validation(
            "SamplePayloadUrl must be specified, in the model package or in \
             ContainerConfig.PayloadConfig.",
        )
    })?;
    Ok(Subject {
        model_url,
        payload_url,
        content_type: content_types.next(),
        other_content_types: content_types.collect(),
        without_effect,
        data_input_config: given.data_input_config.or(found.data_input_config),
        instance_types: given
            .supported_instance_types
            .filter(|types| !types.is_empty())
            .unwrap_or(found.instance_types),
        environment: found.environment,
        specifications: BTreeMap::new(),
    })
}

/// The environments of the additional inference specifications that are named. They serve the one model of
/// the job, so model data of their own cannot be measured with it.
fn specifications(
    found: &Found,
    configurations: &[EndpointInputConfiguration],
) -> Result<BTreeMap<String, BTreeMap<String, String>>, ApiError> {
    let names = configurations.iter().filter_map(|one| one.inference_specification_name.as_ref());
    let environment = |name: &String| {
        let container =
            only(additional(&found.additional, name)?.specification.containers, "specification")?;
        let url = data_url(container.model_data_url, container.model_data_source)?;
        if url.is_some() && url != found.model_url {
            return Err(ApiError::validation(format!(
                "InferenceSpecificationName: {name} has another ModelDataUrl than the model package. One job \
                 measures one model: create a model of it and a job of its own."
            )));
        }
        let mut environment = container.environment.unwrap_or_default();
        environment.extend(found.own_environment.clone());
        Ok((name.clone(), environment))
    };
    names.map(environment).collect()
}

fn additional(
    known: &[AdditionalInferenceSpecificationDefinition],
    name: &str,
) -> Result<AdditionalInferenceSpecificationDefinition, ApiError> {
    known.iter().find(|one| one.name == name).cloned().ok_or_else(|| {
        ApiError::validation(format!(
            "InferenceSpecificationName: the model package has no additional inference specification \"{name}\"."
        ))
    })
}

async fn of_model(api: &Api, name: &str) -> Result<Found, ApiError> {
    let arn = api.account.arn(&Named::Model(name.to_owned()));
    let model = api.store.resource(Kind::Model, name).await?;
    let model = model.ok_or_else(|| ApiError::no_such_model(&arn))?;
    from_model(api, parsed(model.document)?).await
}

/// Where a model's data is, as a job would find it.
pub(crate) async fn model_url(
    api: &Api,
    model: CreateModelRequest,
) -> Result<Option<String>, ApiError> {
    from_model(api, model).await.map(|found| found.model_url)
}

async fn from_model(api: &Api, model: CreateModelRequest) -> Result<Found, ApiError> {
    let mut without_effect = unused(&model, &USED_OF_MODEL, "the model");
    let container = match (model.primary_container, model.containers) {
        (Some(primary), _) => primary,
        (None, Some(containers)) => only(containers, "model")?,
        (None, None) => ContainerDefinition::default(),
    };
    if container.mode == Some(ContainerMode::MultiModel) {
        return Err(ApiError::validation(
            "A container of Mode MultiModel cannot be measured: one job measures one model.",
        ));
    }
    without_effect.extend(unused(&container, &USED_OF_CONTAINER, "the model's container"));
    let named = container.inference_specification_name.as_deref();
    let mut found = match &container.model_package_name {
        Some(package_name) => of_package(&package(api, package_name).await?, named)?,
        None => Found::default(),
    };
    found.without_effect.extend(without_effect);
    // What the model says for itself wins over its package.
    found.own_environment = container.environment.unwrap_or_default();
    found.environment.extend(found.own_environment.clone());
    let own = data_url(container.model_data_url, container.model_data_source)?;
    found.model_url = own.or(found.model_url);
    Ok(found)
}

async fn package(api: &Api, name_or_arn: &str) -> Result<CreateModelPackageRequest, ApiError> {
    parsed(packages::require(api, name_or_arn).await?.document)
}

/// A package as one of its specifications describes it: its own, or the additional one of this name.
fn of_package(package: &CreateModelPackageRequest, named: Option<&str>) -> Result<Found, ApiError> {
    let specification = match named {
        Some(name) => {
            let known = package
                .described
                .additional_inference_specifications
                .as_deref()
                .unwrap_or_default();
            additional(known, name)?.specification
        }
        None => package.described.inference_specification.clone().ok_or_else(|| {
            ApiError::validation("The model package has no InferenceSpecification.")
        })?,
    };
    let mut without_effect =
        unused(&specification, &USED_OF_SPECIFICATION, "the inference specification");
    let container: ModelPackageContainerDefinition =
        only(specification.containers, "model package")?;
    without_effect.extend(unused(&container, &USED_OF_CONTAINER, "the package's container"));
    Ok(Found {
        without_effect,
        model_url: data_url(container.model_data_url, container.model_data_source)?,
        payload_url: package.described.sample_payload_url.clone(),
        content_types: not_empty(specification.supported_content_types),
        data_input_config: container.model_input.map(|input| input.data_input_config),
        instance_types: specification
            .supported_realtime_inference_instance_types
            .unwrap_or_default(),
        environment: container.environment.unwrap_or_default(),
        own_environment: BTreeMap::new(),
        additional: package
            .described
            .additional_inference_specifications
            .clone()
            .unwrap_or_default(),
    })
}

fn data_url(
    url: Option<String>,
    source: Option<ModelDataSource>,
) -> Result<Option<String>, ApiError> {
    if url.is_some() {
        return Ok(url);
    }
    let Some(source) = source.and_then(|source| source.s3_data_source) else {
        return Ok(None);
    };
    if source.s3_data_type == "S3Prefix" {
        return Err(ApiError::validation(
            "ModelDataSource: a prefix of uncompressed files is not read; specify an S3Object, \
             a TorchScript file or a model.tar.gz with one.",
        ));
    }
    Ok(Some(source.s3_uri))
}

fn only<T>(containers: Vec<T>, whose: &str) -> Result<T, ApiError> {
    let mut containers = containers.into_iter();
    match (containers.next(), containers.next()) {
        (Some(container), None) => Ok(container),
        _ => Err(ApiError::validation(format!(
            "The {whose} must have exactly one container: pipelines of several are not measured."
        ))),
    }
}

fn not_empty(list: Option<Vec<String>>) -> Vec<String> {
    list.unwrap_or_default().into_iter().filter(|one| !one.is_empty()).collect()
}

/// The members that a job is made from; all others of these shapes are only kept and shown.
const USED_OF_CONFIG: [&str; 4] =
    ["PayloadConfig", "SupportedInstanceTypes", "SupportedEndpointType", "DataInputConfig"];
const USED_OF_SPECIFICATION: [&str; 3] =
    ["Containers", "SupportedContentTypes", "SupportedRealtimeInferenceInstanceTypes"];
const USED_OF_CONTAINER: [&str; 7] = [
    "ModelDataUrl",
    "ModelDataSource",
    "Environment",
    "ModelInput",
    "ModelPackageName",
    "InferenceSpecificationName",
    "Mode",
];
const USED_OF_MODEL: [&str; 4] = ["ModelName", "PrimaryContainer", "Containers", "Tags"];

/// The members that are there and not used, so that none is passed over in silence.
fn unused<T: Serialize>(shape: &T, used: &[&str], whose: &str) -> Vec<String> {
    let Ok(Value::Object(members)) = serde_json::to_value(shape) else { return Vec::new() };
    let says_nothing = |value: &Value| *value == Value::Null || *value == json!([]);
    let names = members.into_iter().filter(|(_, value)| !says_nothing(value)).map(|(name, _)| name);
    names
        .filter(|name| !used.contains(&name.as_str()))
        .map(|name| format!("{name} of {whose}"))
        .collect()
}

#[cfg(test)]
mod tests {
    use assay_sagemaker::shapes::jobs::PayloadConfig;

    use super::*;

    fn package() -> Found {
        let document = serde_json::json!({
            "SamplePayloadUrl": "s3://bucket/of-the-package.tar.gz",
            "InferenceSpecification": {
                "Containers": [{
                    "Image": "host:latest", "ModelDataUrl": "s3://bucket/model.tar.gz",
                    "ModelInput": {"DataInputConfig": "[[1,3,224,224]]"},
                }],
                "SupportedContentTypes": ["image/png"],
                "SupportedRealtimeInferenceInstanceTypes": ["ml.c5.large"],
            },
        });
        of_package(&serde_json::from_value(document).unwrap(), None).unwrap()
    }

    #[test]
    fn what_the_container_config_says_wins_over_the_package() {
        let of_package = subject(package(), ContainerConfig::default(), true).unwrap();
        assert_eq!(of_package.payload_url, "s3://bucket/of-the-package.tar.gz");
        assert_eq!(of_package.content_type.as_deref(), Some("image/png"));
        assert_eq!(of_package.instance_types, ["ml.c5.large"]);
        let given = ContainerConfig {
            payload_config: Some(PayloadConfig {
                sample_payload_url: Some("s3://bucket/given.tar.gz".to_owned()),
                supported_content_types: Some(vec!["image/jpeg".to_owned()]),
            }),
            data_input_config: Some("[[1,3,256,256]]".to_owned()),
            supported_instance_types: Some(vec!["onprem.h200".to_owned()]),
            ..ContainerConfig::default()
        };
        let subject = subject(package(), given, true).unwrap();
        assert_eq!(subject.model_url, "s3://bucket/model.tar.gz");
        assert_eq!(subject.payload_url, "s3://bucket/given.tar.gz");
        assert_eq!(subject.content_type.as_deref(), Some("image/jpeg"));
        assert_eq!(subject.data_input_config.as_deref(), Some("[[1,3,256,256]]"));
        assert_eq!(subject.instance_types, ["onprem.h200"]);
    }

    #[test]
    fn what_changes_nothing_is_named_and_nothing_else() {
        let given = ContainerConfig {
            payload_config: Some(PayloadConfig {
                supported_content_types: Some(vec!["image/jpeg".into(), "text/csv".into()]),
                ..PayloadConfig::default()
            }),
            supported_response_mime_types: Some(vec!["application/json".to_owned()]),
            ..ContainerConfig::default()
        };
        let subject = subject(package(), given, true).unwrap();
        let expected =
            ["Image of the package's container", "SupportedResponseMIMETypes of ContainerConfig"];
        assert_eq!(subject.without_effect, expected);
        assert_eq!(subject.content_type.as_deref(), Some("image/jpeg"));
        assert_eq!(subject.other_content_types, ["text/csv"]);
    }

    #[test]
    fn a_model_or_payload_that_nobody_named_is_asked_for() {
        let without = |found| subject(found, ContainerConfig::default(), true).unwrap_err().message;
        assert!(without(Found::default()).contains("ModelDataUrl"));
        let found = Found { payload_url: None, ..package() };
        assert!(without(found).contains("SamplePayloadUrl must be specified"));
        // An endpoint has its model already: no file of it is wanted, whether there is one or not.
        for found in [package(), Found { model_url: None, ..package() }] {
            let subject = subject(found, ContainerConfig::default(), false).unwrap();
            assert_eq!(subject.model_url, "");
        }
    }
}
