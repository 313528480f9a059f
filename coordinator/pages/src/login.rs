//! Where a visitor shows an access token.

use askama::Template;

use crate::frame::Frame;

#[derive(Clone, Debug, Template)]
#[template(path = "login.html")]
pub struct Login {
    pub frame: Frame,
    /// The path to go on to.
    pub next: String,
    /// A token was shown that is none.
    pub failed: bool,
}
