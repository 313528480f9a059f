//! Models that were measured before.

use crate::shapes::define::{shapes, words};

words! {
    FilterName {
        Domain = "Domain",
        Framework = "Framework",
        Task = "Task",
        FrameworkVersion = "FrameworkVersion",
    }
}

shapes! {
    "PascalCase";

    #[derive(Default)]
    ListModelMetadataRequest {
        ..
        search_expression: ModelMetadataSearchExpression,
        next_token: String,
        max_results: i32,
    }

    #[derive(Default)]
    ModelMetadataSearchExpression {
        ..
        filters: Vec<ModelMetadataFilter>,
    }

    ModelMetadataFilter {
        name: FilterName,
        value: String,
    }

    ListModelMetadataResponse {
        model_metadata_summaries: Vec<ModelMetadataSummary>,
        ..
        next_token: String,
    }

    ModelMetadataSummary {
        domain: String,
        framework: String,
        task: String,
        model: String,
        framework_version: String,
    }
}
