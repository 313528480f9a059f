//! Tags of anything that has an ARN.

use crate::shapes::define::shapes;

shapes! {
    "PascalCase";

    /// The request of `AddTags`.
    AddTagsRequest {
        resource_arn: String,
        tags: Vec<Tag>,
        ..
    }

    Tag {
        key: String,
        value: String,
        ..
    }

    /// The answer to `AddTags`.
    #[derive(Default)]
    AddTagsResponse {
        ..
        tags: Vec<Tag>,
    }

    /// The request of `ListTags`.
    ListTagsRequest {
        resource_arn: String,
        ..
        next_token: String,
        max_results: i32,
    }

    /// The answer to `ListTags`.
    #[derive(Default)]
    ListTagsResponse {
        ..
        tags: Vec<Tag>,
        next_token: String,
    }

    /// The request of `DeleteTags`.
    DeleteTagsRequest {
        resource_arn: String,
        tag_keys: Vec<String>,
        ..
    }

    /// The answer to `DeleteTags`.
    #[derive(Default)]
    DeleteTagsResponse {
        ..
    }
}
