//! What lists are asked for, and how they are sorted.

use crate::{
    shapes::define::{shapes, words},
    timestamp::Timestamp,
};

words! {
    SortOrder {
        Ascending = "Ascending",
        Descending = "Descending",
    }

    /// What models, groups and packages are sorted by.
    SortKey {
        Name = "Name",
        CreationTime = "CreationTime",
    }
}

shapes! {
    "PascalCase";

    /// What a list of models, groups or packages is asked for.
    #[derive(Default)]
    ListRequest {
        ..
        creation_time_after: Timestamp,
        creation_time_before: Timestamp,
        max_results: i32,
        name_contains: String,
        next_token: String,
        sort_by: SortKey,
        sort_order: SortOrder,
    }
}
