//! Recommendation jobs: create, describe, list, list steps, stop.

use crate::{
    shapes::{
        define::{shapes, words},
        lists::SortOrder,
        tags::Tag,
    },
    timestamp::Timestamp,
    wide_float::WideFloat,
};

words! {
    /// How thorough a job is, and who chooses its candidates.
    RecommendationJobType {
        Default = "Default",
        Advanced = "Advanced",
    }

    TrafficType {
        Phases = "PHASES",
        Stairs = "STAIRS",
    }

    /// What happens when more users bring no more invocations.
    FlatInvocations {
        Continue = "Continue",
        Stop = "Stop",
    }

    /// A percentile that can be a condition.
    LatencyPercentile {
        P95 = "P95",
        P99 = "P99",
    }

    EndpointType {
        RealTime = "RealTime",
        Serverless = "Serverless",
    }

    /// Where a job or a step stands.
    RecommendationJobStatus {
        Pending = "PENDING",
        InProgress = "IN_PROGRESS",
        Completed = "COMPLETED",
        Failed = "FAILED",
        Stopping = "STOPPING",
        Stopped = "STOPPED",
        Deleting = "DELETING",
        Deleted = "DELETED",
    }

    StepType {
        Benchmark = "BENCHMARK",
    }

    JobSortKey {
        Name = "Name",
        CreationTime = "CreationTime",
        Status = "Status",
    }
}

shapes! {
    "PascalCase";

    CreateInferenceRecommendationsJobRequest {
        job_name: String,
        job_type: RecommendationJobType,
        role_arn: String,
        input_config: InputConfig,
        ..
        job_description: String,
        stopping_conditions: StoppingConditions,
        output_config: OutputConfig,
        tags: Vec<Tag>,
    }

    #[derive(Default)]
    InputConfig {
        ..
        model_package_version_arn: String,
        model_name: String,
        job_duration_in_seconds: i32,
        traffic_pattern: TrafficPattern,
        resource_limit: ResourceLimit,
        endpoint_configurations: Vec<EndpointInputConfiguration>,
        volume_kms_key_id: String,
        container_config: ContainerConfig,
        endpoints: Vec<EndpointInfo>,
        vpc_config: VpcConfig,
    }

    /// How many users send, over time.
    #[derive(Default)]
    TrafficPattern {
        ..
        traffic_type: TrafficType,
        phases: Vec<Phase>,
        stairs: Stairs,
    }

    /// Users who become more at a steady pace.
    #[derive(Default)]
    Phase {
        ..
        initial_number_of_users: i32,
        spawn_rate: i32,
        duration_in_seconds: i32,
    }

    /// Users who become more in jumps.
    #[derive(Default)]
    Stairs {
        ..
        duration_in_seconds: i32,
        number_of_steps: i32,
        users_per_step: i32,
    }

    /// How many tests, at most.
    #[derive(Default)]
    ResourceLimit {
        ..
        max_number_of_tests: i32,
        max_parallel_of_tests: i32,
    }

    #[derive(Default)]
    EndpointInputConfiguration {
        ..
        instance_type: String,
        serverless_config: ServerlessConfig,
        inference_specification_name: String,
        environment_parameter_ranges: EnvironmentParameterRanges,
    }

    ServerlessConfig {
        #[serde(rename = "MemorySizeInMB")] memory_size_in_mb: i32,
        max_concurrency: i32,
        ..
        provisioned_concurrency: i32,
    }

    /// Variables to try values of.
    #[derive(Default)]
    EnvironmentParameterRanges {
        ..
        categorical_parameter_ranges: Vec<CategoricalParameter>,
    }

    /// A variable and the values to try.
    CategoricalParameter {
        name: String,
        value: Vec<String>,
    }

    /// What the server must know of the container; it wins over the model package.
    #[derive(Default)]
    ContainerConfig {
        ..
        domain: String,
        task: String,
        framework: String,
        framework_version: String,
        payload_config: PayloadConfig,
        nearest_model_name: String,
        supported_instance_types: Vec<String>,
        supported_endpoint_type: EndpointType,
        data_input_config: String,
        #[serde(rename = "SupportedResponseMIMETypes")] supported_response_mime_types: Vec<String>,
    }

    /// What is sent to the model.
    #[derive(Default)]
    PayloadConfig {
        ..
        sample_payload_url: String,
        supported_content_types: Vec<String>,
    }

    /// An endpoint that exists already.
    #[derive(Default)]
    EndpointInfo {
        ..
        endpoint_name: String,
    }

    VpcConfig {
        security_group_ids: Vec<String>,
        subnets: Vec<String>,
    }

    /// When a test ends before its traffic does.
    #[derive(Default)]
    StoppingConditions {
        ..
        max_invocations: i32,
        model_latency_thresholds: Vec<ModelLatencyThreshold>,
        flat_invocations: FlatInvocations,
    }

    /// A test ends when this percentile is slower than this.
    #[derive(Default)]
    ModelLatencyThreshold {
        ..
        percentile: LatencyPercentile,
        value_in_milliseconds: i32,
    }

    /// Where compiled models would go, and their key.
    #[derive(Default)]
    OutputConfig {
        ..
        kms_key_id: String,
        compiled_output_config: CompiledOutputConfig,
    }

    /// Where compiled models would go.
    #[derive(Default)]
    CompiledOutputConfig {
        ..
        s3_output_uri: String,
    }

    CreateInferenceRecommendationsJobResponse {
        job_arn: String,
    }

    DescribeInferenceRecommendationsJobRequest {
        job_name: String,
    }

    DescribeInferenceRecommendationsJobResponse {
        job_name: String,
        job_type: RecommendationJobType,
        job_arn: String,
        role_arn: String,
        status: RecommendationJobStatus,
        creation_time: Timestamp,
        last_modified_time: Timestamp,
        input_config: InputConfig,
        ..
        job_description: String,
        completion_time: Timestamp,
        failure_reason: String,
        stopping_conditions: StoppingConditions,
        inference_recommendations: Vec<InferenceRecommendation>,
        endpoint_performances: Vec<EndpointPerformance>,
    }

    InferenceRecommendation {
        endpoint_configuration: EndpointOutputConfiguration,
        model_configuration: ModelConfiguration,
        ..
        recommendation_id: String,
        metrics: RecommendationMetrics,
        invocation_end_time: Timestamp,
        invocation_start_time: Timestamp,
    }

    #[derive(Default)]
    RecommendationMetrics {
        ..
        cost_per_hour: WideFloat,
        cost_per_inference: WideFloat,
        max_invocations: i32,
        model_latency: i32,
        cpu_utilization: WideFloat,
        memory_utilization: WideFloat,
        model_setup_time: i32,
        /// Beside the model: the spelling of the documentation's sample.
        maximum_invocations: i32,
    }

    EndpointOutputConfiguration {
        endpoint_name: String,
        variant_name: String,
        ..
        instance_type: String,
        initial_instance_count: i32,
        serverless_config: ServerlessConfig,
    }

    #[derive(Default)]
    ModelConfiguration {
        ..
        inference_specification_name: String,
        environment_parameters: Vec<EnvironmentParameter>,
        compilation_job_name: String,
        /// Beside the model: from the documentation's sample.
        compiled: bool,
    }

    /// A variable and its value.
    EnvironmentParameter {
        key: String,
        value_type: String,
        value: String,
    }

    /// What an existing endpoint carries.
    EndpointPerformance {
        metrics: InferenceMetrics,
        endpoint_info: EndpointInfo,
    }

    InferenceMetrics {
        max_invocations: i32,
        model_latency: i32,
    }

    #[derive(Default)]
    ListInferenceRecommendationsJobsRequest {
        ..
        creation_time_after: Timestamp,
        creation_time_before: Timestamp,
        last_modified_time_after: Timestamp,
        last_modified_time_before: Timestamp,
        name_contains: String,
        status_equals: RecommendationJobStatus,
        sort_by: JobSortKey,
        sort_order: SortOrder,
        next_token: String,
        max_results: i32,
        model_name_equals: String,
        model_package_version_arn_equals: String,
    }

    ListInferenceRecommendationsJobsResponse {
        inference_recommendations_jobs: Vec<JobSummary>,
        ..
        next_token: String,
    }

    JobSummary {
        job_name: String,
        job_description: String,
        job_type: RecommendationJobType,
        job_arn: String,
        status: RecommendationJobStatus,
        creation_time: Timestamp,
        role_arn: String,
        last_modified_time: Timestamp,
        ..
        completion_time: Timestamp,
        failure_reason: String,
        model_name: String,
        sample_payload_url: String,
        model_package_version_arn: String,
    }

    ListInferenceRecommendationsJobStepsRequest {
        job_name: String,
        ..
        status: RecommendationJobStatus,
        step_type: StepType,
        max_results: i32,
        next_token: String,
    }

    #[derive(Default)]
    ListInferenceRecommendationsJobStepsResponse {
        ..
        steps: Vec<JobStep>,
        next_token: String,
    }

    JobStep {
        step_type: StepType,
        job_name: String,
        status: RecommendationJobStatus,
        ..
        inference_benchmark: InferenceBenchmark,
    }

    InferenceBenchmark {
        model_configuration: ModelConfiguration,
        ..
        metrics: RecommendationMetrics,
        endpoint_metrics: InferenceMetrics,
        endpoint_configuration: EndpointOutputConfiguration,
        failure_reason: String,
        invocation_end_time: Timestamp,
        invocation_start_time: Timestamp,
    }

    StopInferenceRecommendationsJobRequest {
        job_name: String,
    }
}

impl CreateInferenceRecommendationsJobRequest {
    /// A load test of an endpoint that exists serves no model; a Default job measures both.
    #[must_use]
    pub fn is_on_an_endpoint_alone(&self) -> bool {
        let has_endpoint = self.input_config.endpoints.iter().flatten().next().is_some();
        has_endpoint && self.job_type == RecommendationJobType::Advanced
    }
}
