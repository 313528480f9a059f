//! What a job can be exported as.

use std::{fmt, str::FromStr};

use assay_measure::configuration::UnknownWord;

/// The format of an exported file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExportFormat {
    /// The `assay.job/1` document.
    Json,
    Csv,
    Markdown,
    Parquet,
    /// One page that needs nothing else, and ranks again by any goals.
    Html,
    /// The answer of SageMaker's `DescribeInferenceRecommendationsJob`.
    AwsJson,
    /// HdrHistogram's interval logs, one of each trial.
    Hlog,
    /// All of a job that has ended, for another coordinator.
    Bundle,
}

impl ExportFormat {
    pub const ALL: &[Self] = &[
        Self::Json,
        Self::Csv,
        Self::Markdown,
        Self::Parquet,
        Self::Html,
        Self::AwsJson,
        Self::Hlog,
        Self::Bundle,
    ];

    /// The word used on command lines, in paths and on the wire.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Csv => "csv",
            Self::Markdown => "md",
            Self::Parquet => "parquet",
            Self::Html => "html",
            Self::AwsJson => "aws-json",
            Self::Hlog => "hlog",
            Self::Bundle => "bundle",
        }
    }
}

impl fmt::Display for ExportFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl FromStr for ExportFormat {
    type Err = UnknownWord;

    fn from_str(word: &str) -> Result<Self, UnknownWord> {
        let known = "json, csv, md, parquet, html, aws-json, hlog, bundle";
        let found = Self::ALL.iter().copied().find(|format| format.word() == word);
        found.ok_or_else(|| UnknownWord { kind: "format", word: word.to_owned(), known })
    }
}

/// What the rows of an exported table are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ExportTable {
    /// Candidates, with what their trials came to.
    #[default]
    Trials,
    /// Steps of load.
    Steps,
}

impl ExportTable {
    pub const ALL: &[Self] = &[Self::Trials, Self::Steps];

    /// The word used on command lines, in URLs and on the wire.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Trials => "trials",
            Self::Steps => "steps",
        }
    }
}

impl FromStr for ExportTable {
    type Err = UnknownWord;

    fn from_str(word: &str) -> Result<Self, UnknownWord> {
        let found = Self::ALL.iter().copied().find(|table| table.word() == word);
        let unknown =
            || UnknownWord { kind: "table", word: word.to_owned(), known: "trials, steps" };
        found.ok_or_else(unknown)
    }
}
