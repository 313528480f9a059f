//! An operator's own prices: the file behind `--prices`, in CSV or TOML.
//!
//! CSV has the columns `instance_type,region,usd_per_hour,source,as_of`; TOML has the same names in
//! `[[price]]` tables. Reading the file from disk is the caller's part.

use std::fmt;

use assay_measure::{
    ids::{BadId, InstanceTypeName},
    money::{NotAPrice, PricePerHour},
};
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
    pub usd_per_hour: PricePerHour,
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
    pub reason: String,
}

/// Something in a price table that deserves a look.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PriceFinding {
    pub instance_type: InstanceTypeName,
    pub region: String,
    pub problem: PriceProblem,
}

/// What can be wrong with a price.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PriceProblem {
    /// It is older than [`STALE_AFTER_DAYS`].
    Stale { days: i32 },
    /// Its date cannot be read.
    Undated { as_of: String },
    /// The same type and region has a later row, which wins.
    Duplicate,
    /// It is zero, so everything on it would be free.
    Zero,
    /// The catalogue does not know the type; fine for own machines.
    UnknownInstanceType { suggestion: Option<InstanceTypeName> },
}

/// A price older than this many days is worth checking again.
pub const STALE_AFTER_DAYS: i32 = 365;

impl PriceTable {
    /// Reads a price file.
    ///
    /// # Errors
    /// [`PriceFileError`] names the line and what is wrong with it.
    pub fn parse(text: &str, format: PriceFileFormat) -> Result<Self, PriceFileError> {
        let rows = match format {
            PriceFileFormat::Csv => csv_rows(text),
            PriceFileFormat::Toml => toml_rows(text),
        };
        Ok(Self { rows: rows? })
    }

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

    /// What deserves a look: stale, undated, duplicate and zero prices, and unknown types.
    #[must_use]
    pub fn check(&self, catalogue: &Catalogue, today: Date) -> Vec<PriceFinding> {
        let mut findings = Vec::new();
        for (index, row) in self.rows.iter().enumerate() {
            let later = &self.rows[index + 1..];
            let repeated = later.iter().any(|other| {
                other.instance_type == row.instance_type && other.region == row.region
            });
            let problems = [
                age_problem(&row.as_of, today),
                repeated.then_some(PriceProblem::Duplicate),
                (row.usd_per_hour.pico_usd() == 0).then_some(PriceProblem::Zero),
                catalogue.require(row.instance_type.as_str()).err().map(|unknown| {
                    PriceProblem::UnknownInstanceType { suggestion: unknown.suggestion }
                }),
            ];
            findings.extend(problems.into_iter().flatten().map(|problem| PriceFinding {
                instance_type: row.instance_type.clone(),
                region: row.region.clone(),
                problem,
            }));
        }
        findings
    }
}

impl fmt::Display for PriceFinding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} in {}: ", self.instance_type, self.region)?;
        match &self.problem {
            PriceProblem::Stale { days } => write!(f, "the price is {days} days old"),
            PriceProblem::Undated { as_of } => write!(f, "{as_of:?} is not a date like 2026-09-28"),
            PriceProblem::Duplicate => {
                write!(f, "a later line states another price, which is used")
            }
            PriceProblem::Zero => write!(f, "the price is zero, so it is not ranked by cost"),
            PriceProblem::UnknownInstanceType { suggestion: Some(known) } => {
                write!(f, "not in the catalogue; perhaps {known} is meant")
            }
            PriceProblem::UnknownInstanceType { suggestion: None } => {
                write!(f, "not in the catalogue, which is fine for own machines")
            }
        }
    }
}

const COLUMNS: [&str; 5] = ["instance_type", "region", "usd_per_hour", "source", "as_of"];

/// A row before its texts are checked.
struct Texts<'a> {
    instance_type: &'a str,
    region: &'a str,
    usd_per_hour: &'a str,
    source: &'a str,
    as_of: &'a str,
}

fn checked(texts: &Texts<'_>) -> Result<PriceRow, String> {
    let region = texts.region.trim();
    if region.is_empty() {
        return Err("the region is empty; write * for every region".to_owned());
    }
    Ok(PriceRow {
        instance_type: texts
            .instance_type
            .trim()
            .parse()
            .map_err(|error: BadId| error.to_string())?,
        region: region.to_owned(),
        usd_per_hour: texts.usd_per_hour.parse().map_err(|error: NotAPrice| error.to_string())?,
        source: texts.source.trim().to_owned(),
        as_of: texts.as_of.trim().to_owned(),
    })
}

fn csv_rows(text: &str) -> Result<Vec<PriceRow>, PriceFileError> {
    let unreadable = |error: csv::Error| {
        let line = error.position().map_or(1, csv::Position::line);
        PriceFileError { line, reason: csv_reason(&error) }
    };
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    let header: Vec<String> =
        reader.headers().map_err(unreadable)?.iter().map(|name| name.trim().to_owned()).collect();
    let mut places = [0; COLUMNS.len()];
    for (place, column) in places.iter_mut().zip(COLUMNS) {
        *place = header.iter().position(|name| name == column).ok_or_else(|| PriceFileError {
            line: 1,
            reason: format!(
                "the column {column} is missing; the header reads {}",
                COLUMNS.join(",")
            ),
        })?;
    }
    let mut rows = Vec::new();
    for record in reader.records() {
        let record = record.map_err(unreadable)?;
        let line = record.position().map_or(1, csv::Position::line);
        let field = |column: usize| record.get(places[column]).unwrap_or_default();
        let texts = Texts {
            instance_type: field(0),
            region: field(1),
            usd_per_hour: field(2),
            source: field(3),
            as_of: field(4),
        };
        rows.push(checked(&texts).map_err(|reason| PriceFileError { line, reason })?);
    }
    Ok(rows)
}

fn csv_reason(error: &csv::Error) -> String {
    if let csv::ErrorKind::UnequalLengths { expected_len, len, .. } = error.kind() {
        return format!("{len} fields instead of {expected_len}");
    }
    error.to_string()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TomlFile {
    #[serde(default)]
    price: Vec<toml::Spanned<TomlRow>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TomlRow {
    instance_type: toml::Spanned<String>,
    region: toml::Spanned<String>,
    usd_per_hour: toml::Spanned<toml::Value>,
    #[serde(default)]
    source: String,
    as_of: toml::Value,
}

fn toml_rows(text: &str) -> Result<Vec<PriceRow>, PriceFileError> {
    let line_of = |offset: usize| {
        let before = text.get(..offset).unwrap_or(text);
        1 + u64::try_from(before.matches('\n').count()).unwrap_or(u64::MAX)
    };
    let file: TomlFile = toml::from_str(text).map_err(|error| PriceFileError {
        line: line_of(error.span().map_or(0, |span| span.start)),
        reason: error.message().to_owned(),
    })?;
    let mut rows = Vec::new();
    for row in &file.price {
        let values = row.get_ref();
        let price = plain(values.usd_per_hour.get_ref());
        let as_of = plain(&values.as_of);
        let texts = Texts {
            instance_type: values.instance_type.get_ref(),
            region: values.region.get_ref(),
            usd_per_hour: &price,
            source: &values.source,
            as_of: &as_of,
        };
        rows.push(checked(&texts).map_err(|reason| {
            // The value at fault, as far as it can be told from the others being fine.
            let at = if values.region.get_ref().trim().is_empty() {
                values.region.span()
            } else if InstanceTypeName::new(values.instance_type.get_ref().trim()).is_err() {
                values.instance_type.span()
            } else {
                values.usd_per_hour.span()
            };
            PriceFileError { line: line_of(at.start), reason }
        })?);
    }
    Ok(rows)
}

/// A value as it stands in the file, strings without their quotes.
fn plain(value: &toml::Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn age_problem(as_of: &str, today: Date) -> Option<PriceProblem> {
    let Ok(date) = as_of.parse::<Date>() else {
        return Some(PriceProblem::Undated { as_of: as_of.to_owned() });
    };
    let days = today.since(date).map_or(0, |span| span.get_days());
    (days > STALE_AFTER_DAYS).then_some(PriceProblem::Stale { days })
}

#[cfg(test)]
mod tests;
