//! The web pages of a coordinator: HTML of what is already decided, without I/O.
//!
//! A page is a struct with what it shows; [`Template::render`] writes it as HTML. Templates stand in `templates/` and are checked
//! when they are compiled; everything that they show is escaped. What browsers load besides is in [`assets`].

pub mod agents;
pub mod assets;
pub mod chart;
pub mod compare;
pub mod details;
mod drawings;
#[expect(unreachable_pub, reason = "what the macro makes of each filter is public")]
mod filters;
pub mod frame;
mod goals;
pub mod help;
pub mod jobs;
pub mod login;
pub mod models;
pub mod new_job;
pub mod prices;
pub mod problem;
pub mod report_file;
pub mod results;
mod runs;
pub mod trial;

pub use askama::Template;
