//! How lists are sorted.

use crate::shapes::define::words;

words! {
    SortOrder {
        Ascending = "Ascending",
        Descending = "Descending",
    }
}

words! {
    /// What models, groups and packages are sorted by.
    SortKey {
        Name = "Name",
        CreationTime = "CreationTime",
    }
}
