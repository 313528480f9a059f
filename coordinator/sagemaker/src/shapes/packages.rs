//! Model packages and their groups.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::{
    shapes::{
        define::{shapes, words},
        lists::ListRequest,
        models::ModelDataSource,
        tags::Tag,
    },
    timestamp::Timestamp,
};

words! {
    PackageStatus {
        Pending = "Pending",
        InProgress = "InProgress",
        Completed = "Completed",
        Failed = "Failed",
        Deleting = "Deleting",
    }

    GroupStatus {
        Pending = "Pending",
        InProgress = "InProgress",
        Completed = "Completed",
        Failed = "Failed",
        Deleting = "Deleting",
        DeleteFailed = "DeleteFailed",
    }

    ApprovalStatus {
        Approved = "Approved",
        Rejected = "Rejected",
        PendingManualApproval = "PendingManualApproval",
    }

    /// Packages with a version, without, or both.
    PackageType {
        Versioned = "Versioned",
        Unversioned = "Unversioned",
        Both = "Both",
    }

    DetailedStatus {
        NotStarted = "NotStarted",
        InProgress = "InProgress",
        Completed = "Completed",
        Failed = "Failed",
    }
}

shapes! {
    "PascalCase";

    CreateModelPackageGroupRequest {
        model_package_group_name: String,
        ..
        model_package_group_description: String,
        tags: Vec<Tag>,
        managed_configuration: Value,
    }

    CreateModelPackageGroupResponse {
        model_package_group_arn: String,
    }

    DescribeModelPackageGroupRequest {
        model_package_group_name: String,
    }

    DescribeModelPackageGroupResponse {
        model_package_group_name: String,
        model_package_group_arn: String,
        creation_time: Timestamp,
        created_by: UserContext,
        model_package_group_status: GroupStatus,
        ..
        model_package_group_description: String,
        managed_configuration: Value,
    }

    #[derive(Default)]
    UserContext {
        ..
        user_profile_arn: String,
        user_profile_name: String,
        domain_id: String,
        iam_identity: Value,
    }

    ListModelPackageGroupsRequest {
        #[serde(flatten)] list: ListRequest,
        ..
        cross_account_filter_option: String,
    }

    ListModelPackageGroupsResponse {
        model_package_group_summary_list: Vec<ModelPackageGroupSummary>,
        ..
        next_token: String,
    }

    ModelPackageGroupSummary {
        model_package_group_name: String,
        model_package_group_arn: String,
        creation_time: Timestamp,
        model_package_group_status: GroupStatus,
        ..
        model_package_group_description: String,
        managed_configuration: Value,
    }

    DeleteModelPackageGroupRequest {
        model_package_group_name: String,
    }

    /// What stands in the request for a package and in every answer about it.
    #[derive(Default)]
    PackageDescription {
        ..
        model_package_description: String,
        model_package_registration_type: String,
        inference_specification: InferenceSpecification,
        validation_specification: Value,
        source_algorithm_specification: Value,
        certify_for_marketplace: bool,
        metadata_properties: Value,
        model_metrics: Value,
        domain: String,
        task: String,
        sample_payload_url: String,
        customer_metadata_properties: BTreeMap<String, String>,
        drift_check_baselines: Value,
        additional_inference_specifications: Vec<AdditionalInferenceSpecificationDefinition>,
        skip_model_validation: String,
        source_uri: String,
        security_config: Value,
        model_card: Value,
        model_life_cycle: Value,
        managed_storage_type: String,
    }

    #[derive(Default)]
    CreateModelPackageRequest {
        #[serde(flatten)] described: PackageDescription,
        ..
        model_package_name: String,
        model_package_group_name: String,
        tags: Vec<Tag>,
        model_approval_status: ApprovalStatus,
        client_token: String,
    }

    /// How a packaged model is served.
    InferenceSpecification {
        containers: Vec<ModelPackageContainerDefinition>,
        ..
        supported_transform_instance_types: Vec<String>,
        supported_realtime_inference_instance_types: Vec<String>,
        supported_content_types: Vec<String>,
        #[serde(rename = "SupportedResponseMIMETypes")] supported_response_mime_types: Vec<String>,
    }

    #[derive(Default)]
    ModelPackageContainerDefinition {
        ..
        container_hostname: String,
        image: String,
        image_digest: String,
        model_data_url: String,
        model_data_source: ModelDataSource,
        product_id: String,
        environment: BTreeMap<String, String>,
        model_input: ModelInput,
        framework: String,
        framework_version: String,
        nearest_model_name: String,
        additional_model_data_sources: Value,
        additional_s3_data_source: Value,
        #[serde(rename = "ModelDataETag")] model_data_etag: String,
        is_checkpoint: bool,
        base_model: Value,
    }

    /// Names and shapes of inputs.
    ModelInput {
        data_input_config: String,
    }

    /// Another way to serve a packaged model.
    AdditionalInferenceSpecificationDefinition {
        name: String,
        #[serde(flatten)] specification: InferenceSpecification,
        ..
        description: String,
    }

    CreateModelPackageResponse {
        model_package_arn: String,
    }

    DescribeModelPackageRequest {
        model_package_name: String,
        ..
        included_data: String,
    }

    DescribeModelPackageResponse {
        model_package_name: String,
        model_package_arn: String,
        creation_time: Timestamp,
        model_package_status: PackageStatus,
        model_package_status_details: ModelPackageStatusDetails,
        #[serde(flatten)] described: PackageDescription,
        ..
        model_package_group_name: String,
        model_package_version: i32,
        model_approval_status: ApprovalStatus,
        created_by: UserContext,
        last_modified_time: Timestamp,
        last_modified_by: UserContext,
        approval_description: String,
    }

    ModelPackageStatusDetails {
        validation_statuses: Vec<ModelPackageStatusItem>,
        ..
        image_scan_statuses: Vec<ModelPackageStatusItem>,
    }

    ModelPackageStatusItem {
        name: String,
        status: DetailedStatus,
        ..
        failure_reason: String,
    }

    ListModelPackagesRequest {
        #[serde(flatten)] list: ListRequest,
        ..
        model_approval_status: ApprovalStatus,
        model_package_group_name: String,
        model_package_type: PackageType,
    }

    ListModelPackagesResponse {
        model_package_summary_list: Vec<ModelPackageSummary>,
        ..
        next_token: String,
    }

    ModelPackageSummary {
        model_package_arn: String,
        creation_time: Timestamp,
        model_package_status: PackageStatus,
        ..
        model_package_name: String,
        model_package_group_name: String,
        model_package_version: i32,
        model_package_description: String,
        model_approval_status: ApprovalStatus,
        model_life_cycle: Value,
        model_package_registration_type: String,
    }

    UpdateModelPackageRequest {
        model_package_arn: String,
        ..
        model_approval_status: ApprovalStatus,
        model_package_registration_type: String,
        approval_description: String,
        customer_metadata_properties: BTreeMap<String, String>,
        customer_metadata_properties_to_remove: Vec<String>,
        additional_inference_specifications_to_add: Vec<AdditionalInferenceSpecificationDefinition>,
        inference_specification: InferenceSpecification,
        source_uri: String,
        model_card: Value,
        model_life_cycle: Value,
        client_token: String,
    }

    UpdateModelPackageResponse {
        model_package_arn: String,
    }

    DeleteModelPackageRequest {
        model_package_name: String,
    }
}
