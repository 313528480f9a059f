//! Requests and responses, member by member, as clients send and read them.
//!
//! Closed sets are enums; what no decision here or in the server looks at (drift baselines, model cards and
//! the like) is kept as JSON and echoed. Unknown members are dropped on reading, as AWS does. That nothing
//! else is lost is tested against the table of [`crate::schema`].

pub mod jobs;
pub mod lists;
pub mod logs;
pub mod metadata;
pub mod models;
pub mod packages;
pub mod scaling;
pub mod tags;

mod define;

#[cfg(test)]
mod tests;
