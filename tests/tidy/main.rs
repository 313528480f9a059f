//! The tidy suite: promises about the shape of this repository, checked over its files and over
//! `cargo metadata`.
//!
//! Each module is one kind of promise. A check is a plain function from what it looks at to a list
//! of complaints, so each is also tested against input that breaks the promise.

mod edges;
mod files;
mod invariants;
mod purity;
mod repository;
mod rust_source;

/// Fails with every complaint at once.
#[track_caller]
fn assert_none(complaints: &[String]) {
    assert!(complaints.is_empty(), "\n{}", complaints.join("\n"));
}
