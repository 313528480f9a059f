//! An operator's own prices: the file behind `--prices`, in CSV or TOML.
//!
//! CSV has the columns `instance_type,region,usd_per_hour,source,as_of`; TOML has the same names in
//! `[[price]]` tables. Reading the file from disk is the caller's part.

use assay_measure::{ids::InstanceTypeName, money::PricePerHour};
use jiff::civil::Date;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::catalogue::Catalogue;

/// One price as an operator states it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PriceRow {
    /// The instance type; it need not be in the catalogue.
    pub instance_type: InstanceTypeName,
    /// The region, or `*` for every region.
    pub region: String,
    /// The price.
    pub usd_per_hour: PricePerHour,
    /// Where it comes from.
    pub source: String,
    /// When it was true: a date such as `2026-09-28`, or anything else when unsure.
    pub as_of: String,
}

/// An operator's prices in the order given.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PriceTable {
    rows: Vec<PriceRow>,
}

/// The form of a price file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PriceFileFormat {
    /// Comma-separated values with a header line.
    Csv,
    /// `[[price]]` tables.
    Toml,
}

impl PriceFileFormat {
    /// TOML for names that end in `.toml`, CSV otherwise.
    #[must_use]
    pub fn of_file_name(name: &str) -> Self {
        if name.to_ascii_lowercase().ends_with(".toml") { Self::Toml } else { Self::Csv }
    }
}

/// A price file cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("line {line}: {reason}")]
pub struct PriceFileError {
    /// The line, counted from 1.
    pub line: u64,
    /// What is wrong with it.
    pub reason: String,
}

/// Something in a price table that deserves a look.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PriceFinding {
    /// The instance type.
    pub instance_type: InstanceTypeName,
    /// The region.
    pub region: String,
    /// What was found.
    pub problem: PriceProblem,
}

/// What can be wrong with a price.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PriceProblem {
    /// It is older than [`STALE_AFTER_DAYS`].
    Stale {
        /// Its age in days.
        days: i32,
    },
    /// Its date cannot be read.
    Undated {
        /// The date as given.
        as_of: String,
    },
    /// The same type and region has a later row, which wins.
    Duplicate,
    /// It is zero, so everything on it would be free.
    Zero,
    /// The catalogue does not know the type; fine for own machines.
    UnknownInstanceType {
        /// What was perhaps meant.
        suggestion: Option<InstanceTypeName>,
    },
}

/// A price older than this many days is worth checking again.
pub const STALE_AFTER_DAYS: i32 = 365;

impl PriceTable {
    /// Reads a price file.
    ///
    /// # Errors
    /// [`PriceFileError`] names the line and what is wrong with it.
    pub fn parse(text: &str, format: PriceFileFormat) -> Result<Self, PriceFileError> {
        todo!("{text}{format:?}")
    }

    /// A table of these rows.
    #[must_use]
    pub fn from_rows(rows: Vec<PriceRow>) -> Self {
        Self { rows }
    }

    /// The rows.
    #[must_use]
    pub fn rows(&self) -> &[PriceRow] {
        &self.rows
    }

    /// States a price, in place of an earlier one for the same type and region.
    pub fn set(&mut self, row: PriceRow) {
        self.rows
            .retain(|old| (&old.instance_type, &old.region) != (&row.instance_type, &row.region));
        self.rows.push(row);
    }

    /// The price for a type in a region: a row for exactly the region before one for every region,
    /// the last of several.
    #[must_use]
    pub fn find(&self, name: &InstanceTypeName, region: &str) -> Option<&PriceRow> {
        let of = |wanted: &str| {
            self.rows.iter().rev().find(|row| row.instance_type == *name && row.region == wanted)
        };
        of(region).or_else(|| of("*"))
    }

    /// The table as CSV, as [`PriceTable::parse`] reads it.
    ///
    /// # Errors
    /// When the CSV writer fails, which memory does not.
    pub fn to_csv(&self) -> Result<String, csv::Error> {
        todo!()
    }

    /// What deserves a look: stale, undated, duplicate and zero prices, and unknown types.
    #[must_use]
    pub fn check(&self, catalogue: &Catalogue, today: Date) -> Vec<PriceFinding> {
        todo!("{catalogue:?}{today}")
    }
}
