//! What holds between the members of a request, beyond the limits of the table.
//!
//! Members that are accepted and change nothing here (keys, networks, compiled models) are never passed over in
//! silence: [`notices`] says so, for the job's log. What needs the store or the fleet (does the model exist, does
//! anybody offer the instance type) is checked by the server.

use assay_measure::ids::InstanceTypeName;

use crate::{
    data_input_config, environment,
    error::ApiError,
    shapes::{
        jobs::{
            CreateInferenceRecommendationsJobRequest, EndpointInputConfiguration, EndpointType,
            InputConfig, RecommendationJobType,
        },
        models::{ContainerDefinition, CreateModelRequest},
        packages::{
            CreateModelPackageRequest, InferenceSpecification, PackageDescription,
            UpdateModelPackageRequest,
        },
        scaling::GetScalingConfigurationRecommendationRequest,
        tags::Tag,
    },
    traffic,
};

/// Checks a request for a job.
///
/// # Errors
/// `ValidationException` with the first rule that is broken.
pub fn job(request: &CreateInferenceRecommendationsJobRequest) -> Result<(), ApiError> {
    let input = &request.input_config;
    model_of(input)?;
    if let Some(container) = &input.container_config {
        if container.supported_endpoint_type == Some(EndpointType::Serverless) {
            return refuse(SERVERLESS);
        }
        for name in container.supported_instance_types.iter().flatten() {
            instance_type(name)?;
        }
        container.data_input_config.as_deref().map_or(Ok(()), input_shapes)?;
    }
    for endpoint in input.endpoint_configurations.iter().flatten() {
        endpoint_configuration(endpoint)?;
    }
    if let Some(pattern) = &input.traffic_pattern {
        if request.job_type == RecommendationJobType::Default {
            return refuse(
                "TrafficPattern can be specified for jobs of type Advanced only: a Default job finds its own.",
            );
        }
        traffic::parts(pattern, input.job_duration_in_seconds)?;
    }
    for threshold in request
        .stopping_conditions
        .iter()
        .flat_map(|conditions| conditions.model_latency_thresholds.iter().flatten())
    {
        if threshold.value_in_milliseconds.is_none() {
            return refuse("ModelLatencyThresholds: ValueInMilliseconds must be specified.");
        }
    }
    existing_endpoints(input)?;
    tags(request.tags.as_deref().unwrap_or_default())
}

const SERVERLESS: &str = "Serverless endpoints cannot be measured here, \
     because what a cloud does between calls is not on this machine; specify InstanceType instead.";

fn model_of(input: &InputConfig) -> Result<(), ApiError> {
    let has_container = input.container_config.is_some();
    match (&input.model_package_version_arn, &input.model_name) {
        (Some(_), Some(_)) => {
            refuse("InputConfig must have either ModelPackageVersionArn or ModelName, not both.")
        }
        (None, None) => refuse("InputConfig must have either ModelPackageVersionArn or ModelName."),
        (None, Some(_)) if !has_container => {
            refuse("InputConfig.ContainerConfig must be specified together with ModelName.")
        }
        (None, Some(_)) | (Some(_), None) => Ok(()),
    }
}

/// An existing endpoint is measured as it runs: there is nothing to configure.
fn existing_endpoints(input: &InputConfig) -> Result<(), ApiError> {
    let endpoints = input.endpoints.as_deref().unwrap_or_default();
    if endpoints.iter().any(|endpoint| endpoint.endpoint_name.is_none()) {
        return refuse("Endpoints: EndpointName must be specified.");
    }
    if !endpoints.is_empty() && input.endpoint_configurations.is_some() {
        return refuse(
            "InputConfig must have either Endpoints or EndpointConfigurations, not both.",
        );
    }
    Ok(())
}

fn endpoint_configuration(endpoint: &EndpointInputConfiguration) -> Result<(), ApiError> {
    match (&endpoint.instance_type, &endpoint.serverless_config) {
        (Some(_), Some(_)) => refuse(
            "EndpointConfigurations must have either InstanceType or ServerlessConfig, not both.",
        ),
        (None, None) => {
            refuse("EndpointConfigurations must have either InstanceType or ServerlessConfig.")
        }
        (None, Some(_)) => refuse(SERVERLESS),
        (Some(name), None) => {
            instance_type(name)?;
            environment::ranges(endpoint).map(|_| ())
        }
    }
}

/// Checks an instance type, also one of a model package.
///
/// # Errors
/// `ValidationException` for a burstable one, and for what is no name.
pub fn instance_type(name: &str) -> Result<(), ApiError> {
    match name.parse::<InstanceTypeName>() {
        // SageMaker's own names begin with it.
        Ok(known) if name.starts_with("ml.") && known.is_burstable() => {
            refuse(format!("Burstable instance type {name} is not allowed"))
        }
        Ok(_) => Ok(()),
        Err(_) => refuse(format!(
            "{:?} is not the name of an instance type.",
            name.chars().take(80).collect::<String>()
        )),
    }
}

/// What the request holds that changes nothing here, one line each for the job's log.
#[must_use]
pub fn notices(request: &CreateInferenceRecommendationsJobRequest) -> Vec<String> {
    let input = &request.input_config;
    let output = request.output_config.as_ref();
    let has_data_shape =
        input.container_config.as_ref().is_some_and(|one| one.data_input_config.is_some());
    let kms =
        input.volume_kms_key_id.is_some() || output.is_some_and(|one| one.kms_key_id.is_some());
    let flat =
        request.stopping_conditions.as_ref().is_some_and(|one| one.flat_invocations.is_some());
    let compiled = output.is_some_and(|one| one.compiled_output_config.is_some());
    let lines = [
        (
            kms,
            "KMS keys are kept and shown, and encrypt nothing: models stay on the machines of the fleet.",
        ),
        (
            input.vpc_config.is_some(),
            "VpcConfig is kept and shown, and changes nothing: agents measure over their own loopback.",
        ),
        (
            flat && input.traffic_pattern.is_none(),
            "FlatInvocations changes nothing without a TrafficPattern: a search finds the plateau by itself.",
        ),
        (
            compiled || has_data_shape,
            "compilation job skip reason: models are not compiled with Neo; every row is uncompiled.",
        ),
    ];
    lines.into_iter().filter(|(holds, _)| *holds).map(|(_, line)| line.to_owned()).collect()
}

/// Checks a request for a model.
///
/// # Errors
/// `ValidationException` with the first rule that is broken.
pub fn model(request: &CreateModelRequest) -> Result<(), ApiError> {
    match (&request.primary_container, request.containers.as_deref()) {
        (Some(_), Some([_, ..])) => {
            return refuse("A model must have either PrimaryContainer or Containers, not both.");
        }
        (Some(primary), Some([]) | None) => container(primary)?,
        (None, Some(containers @ [_, ..])) => containers.iter().try_for_each(container)?,
        (None, Some([]) | None) => {
            return refuse("A model must have PrimaryContainer or Containers.");
        }
    }
    tags(request.tags.as_deref().unwrap_or_default())
}

fn container(container: &ContainerDefinition) -> Result<(), ApiError> {
    if container.image.is_none() && container.model_package_name.is_none() {
        return refuse("A container must have Image or ModelPackageName.");
    }
    if container.model_data_url.is_some() && container.model_data_source.is_some() {
        return refuse("A container must have either ModelDataUrl or ModelDataSource, not both.");
    }
    Ok(())
}

/// Checks a request for a model package.
///
/// # Errors
/// `ValidationException` with the first rule that is broken.
pub fn model_package(request: &CreateModelPackageRequest) -> Result<(), ApiError> {
    if request.model_package_name.is_some() == request.model_package_group_name.is_some() {
        return refuse(
            "Exactly one of ModelPackageName and ModelPackageGroupName must be specified.",
        );
    }
    let PackageDescription { inference_specification, source_algorithm_specification, .. } =
        &request.described;
    if inference_specification.is_none() && source_algorithm_specification.is_none() {
        return refuse("InferenceSpecification must be specified.");
    }
    let additional = request.described.additional_inference_specifications.iter().flatten();
    let additional = additional.map(|one| &one.specification);
    packaged_containers(inference_specification.iter().chain(additional))?;
    tags(request.tags.as_deref().unwrap_or_default())
}

/// Checks what becomes of a model package.
///
/// # Errors
/// `ValidationException` with the first rule that is broken.
pub fn model_package_update(request: &UpdateModelPackageRequest) -> Result<(), ApiError> {
    let additional = request.additional_inference_specifications_to_add.iter().flatten();
    let additional = additional.map(|one| &one.specification);
    packaged_containers(request.inference_specification.iter().chain(additional))
}

fn packaged_containers<'a>(
    specifications: impl Iterator<Item = &'a InferenceSpecification>,
) -> Result<(), ApiError> {
    let containers = specifications.flat_map(|one| &one.containers);
    let mut inputs = containers.filter_map(|container| container.model_input.as_ref());
    inputs.try_for_each(|input| input_shapes(&input.data_input_config))
}

fn input_shapes(text: &str) -> Result<(), ApiError> {
    data_input_config::parse(text)
        .map(|_| ())
        .map_err(|error| ApiError::validation(error.to_string()))
}

/// Checks a request for a scaling recommendation.
///
/// # Errors
/// `ValidationException` with the first rule that is broken.
pub fn scaling(request: &GetScalingConfigurationRecommendationRequest) -> Result<(), ApiError> {
    if request.recommendation_id.is_some() == request.endpoint_name.is_some() {
        return refuse("Exactly one of RecommendationId and EndpointName must be specified.");
    }
    let objective = request.scaling_policy_objective.as_ref();
    let rates = objective
        .and_then(|one| one.min_invocations_per_minute.zip(one.max_invocations_per_minute));
    if rates.is_some_and(|(min, max)| min > max) {
        return refuse(
            "ScalingPolicyObjective: MinInvocationsPerMinute must not be greater than MaxInvocationsPerMinute.",
        );
    }
    Ok(())
}

/// Checks the tags of one request.
///
/// # Errors
/// `ValidationException` when a key stands there twice.
pub fn tags(tags: &[Tag]) -> Result<(), ApiError> {
    for (index, tag) in tags.iter().enumerate() {
        if tags[..index].iter().any(|known| known.key == tag.key) {
            return refuse(format!("Tags: the key {:?} is given twice.", tag.key));
        }
    }
    Ok(())
}

fn refuse(message: impl Into<String>) -> Result<(), ApiError> {
    Err(ApiError::validation(message))
}

#[cfg(test)]
mod tests;
