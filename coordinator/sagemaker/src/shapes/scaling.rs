//! The scaling recommendation.

use crate::shapes::define::{shapes, words};

words! {
    /// How a metric is summed up.
    Statistic {
        Average = "Average",
        Minimum = "Minimum",
        Maximum = "Maximum",
        SampleCount = "SampleCount",
        Sum = "Sum",
    }
}

shapes! {
    "PascalCase";

    GetScalingConfigurationRecommendationRequest {
        inference_recommendations_job_name: String,
        ..
        recommendation_id: String,
        endpoint_name: String,
        target_cpu_utilization_per_core: i32,
        scaling_policy_objective: ScalingPolicyObjective,
    }

    /// The load that the endpoint must follow.
    #[derive(Default)]
    ScalingPolicyObjective {
        ..
        min_invocations_per_minute: i32,
        max_invocations_per_minute: i32,
    }

    #[derive(Default)]
    GetScalingConfigurationRecommendationResponse {
        ..
        inference_recommendations_job_name: String,
        recommendation_id: String,
        endpoint_name: String,
        target_cpu_utilization_per_core: i32,
        scaling_policy_objective: ScalingPolicyObjective,
        metric: ScalingPolicyMetric,
        dynamic_scaling_configuration: DynamicScalingConfiguration,
    }

    /// What one instance does at the target.
    #[derive(Default)]
    ScalingPolicyMetric {
        ..
        invocations_per_instance: i32,
        model_latency: i32,
    }

    #[derive(Default)]
    DynamicScalingConfiguration {
        ..
        min_capacity: i32,
        max_capacity: i32,
        scale_in_cooldown: i32,
        scale_out_cooldown: i32,
        scaling_policies: Vec<ScalingPolicy>,
    }

    /// A policy; exactly one member is set.
    #[derive(Default)]
    ScalingPolicy {
        ..
        target_tracking: TargetTrackingScalingPolicyConfiguration,
    }

    /// Keeps a metric at a value.
    #[derive(Default)]
    TargetTrackingScalingPolicyConfiguration {
        ..
        metric_specification: MetricSpecification,
        target_value: f64,
    }

    /// The metric; exactly one member is set.
    #[derive(Default)]
    MetricSpecification {
        ..
        predefined: PredefinedMetricSpecification,
        customized: CustomizedMetricSpecification,
    }

    /// A metric that autoscaling knows.
    #[derive(Default)]
    PredefinedMetricSpecification {
        ..
        predefined_metric_type: String,
    }

    #[derive(Default)]
    CustomizedMetricSpecification {
        ..
        metric_name: String,
        namespace: String,
        statistic: Statistic,
    }
}
