//! What instance types cost, and how old that is.

use askama::Template;
use assay_planning::prices::PriceQuote;

use crate::{filters, frame::Frame};

/// One instance type.
#[derive(Clone, Debug)]
pub struct PriceRow {
    pub instance_type: String,
    /// The operator set it.
    pub own: bool,
    pub quote: Option<PriceQuote>,
    /// It was true over a year ago.
    pub is_old: bool,
}

/// The catalogue.
#[derive(Clone, Debug, Template)]
#[template(path = "prices.html")]
pub struct Prices {
    pub frame: Frame,
    pub rows: Vec<PriceRow>,
    pub region: String,
    pub name_contains: String,
}
