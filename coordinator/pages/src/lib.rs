//! The web pages of a coordinator: HTML of what is already decided, without I/O.
//!
//! A page is a struct with what it shows; [`Page::html`] renders it. Templates stand in `templates/` and are checked
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
pub mod help;
pub mod jobs;
pub mod login;
pub mod prices;
pub mod problem;
pub mod results;
pub mod trial;

use askama::Template;

/// What can be rendered as HTML.
pub trait Page {
    /// The page, or a part of one, as HTML.
    ///
    /// # Errors
    /// When a value of it cannot be written.
    fn html(&self) -> Result<String, askama::Error>;
}

impl<T: Template> Page for T {
    fn html(&self) -> Result<String, askama::Error> {
        self.render()
    }
}
