//! Models.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::{
    shapes::{
        define::{shapes, words},
        jobs::VpcConfig,
        tags::Tag,
    },
    timestamp::Timestamp,
};

words! {
    /// How many models a container serves.
    ContainerMode {
        SingleModel = "SingleModel",
        MultiModel = "MultiModel",
    }

    /// Whether earlier measurements say anything.
    RecommendationStatus {
        InProgress = "IN_PROGRESS",
        Completed = "COMPLETED",
        Failed = "FAILED",
        NotApplicable = "NOT_APPLICABLE",
    }
}

shapes! {
    "PascalCase";

    CreateModelRequest {
        model_name: String,
        ..
        primary_container: ContainerDefinition,
        containers: Vec<ContainerDefinition>,
        inference_execution_config: Value,
        execution_role_arn: String,
        tags: Vec<Tag>,
        vpc_config: VpcConfig,
        enable_network_isolation: bool,
    }

    #[derive(Default)]
    ContainerDefinition {
        ..
        container_hostname: String,
        image: String,
        image_config: Value,
        mode: ContainerMode,
        model_data_url: String,
        model_data_source: ModelDataSource,
        additional_model_data_sources: Value,
        environment: BTreeMap<String, String>,
        model_package_name: String,
        inference_specification_name: String,
        multi_model_config: Value,
        container_metrics_config: Value,
    }

    #[derive(Default)]
    ModelDataSource {
        ..
        s3_data_source: S3ModelDataSource,
    }

    /// Where model data lies in S3.
    S3ModelDataSource {
        s3_uri: String,
        s3_data_type: String,
        compression_type: String,
        ..
        model_access_config: Value,
        hub_access_config: Value,
        manifest_s3_uri: String,
        #[serde(rename = "ETag")] etag: String,
        manifest_etag: String,
    }

    CreateModelResponse {
        model_arn: String,
    }

    DescribeModelRequest {
        model_name: String,
    }

    DescribeModelResponse {
        model_name: String,
        creation_time: Timestamp,
        model_arn: String,
        ..
        primary_container: ContainerDefinition,
        containers: Vec<ContainerDefinition>,
        inference_execution_config: Value,
        execution_role_arn: String,
        vpc_config: VpcConfig,
        enable_network_isolation: bool,
        deployment_recommendation: DeploymentRecommendation,
    }

    /// What earlier measurements say about a model.
    DeploymentRecommendation {
        recommendation_status: RecommendationStatus,
        ..
        real_time_inference_recommendations: Vec<RealTimeInferenceRecommendation>,
    }

    /// One instance type that earlier measurements favour.
    RealTimeInferenceRecommendation {
        recommendation_id: String,
        instance_type: String,
        ..
        environment: BTreeMap<String, String>,
    }

    ListModelsResponse {
        models: Vec<ModelSummary>,
        ..
        next_token: String,
    }

    ModelSummary {
        model_name: String,
        model_arn: String,
        creation_time: Timestamp,
    }

    DeleteModelRequest {
        model_name: String,
    }
}
