//! Tags of anything that has an ARN.

use crate::shapes::define::shapes;

shapes! {
    "PascalCase";

    AddTagsRequest {
        resource_arn: String,
        tags: Vec<Tag>,
    }

    Tag {
        key: String,
        value: String,
    }

    #[derive(Default)]
    AddTagsResponse {
        ..
        tags: Vec<Tag>,
    }

    ListTagsRequest {
        resource_arn: String,
        ..
        next_token: String,
        max_results: i32,
    }

    #[derive(Default)]
    ListTagsResponse {
        ..
        tags: Vec<Tag>,
        next_token: String,
    }

    DeleteTagsRequest {
        resource_arn: String,
        tag_keys: Vec<String>,
    }

    #[derive(Default)]
    DeleteTagsResponse {
    }
}
