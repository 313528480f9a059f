//! The command line of what is done with results that exist.

use std::path::PathBuf;

use assay_planning::{
    compare::Gate,
    export::{ExportFormat, ExportTable},
};
use clap::{Args, ValueEnum};

/// `assay compare`.
#[derive(Clone, Debug, Args)]
pub(crate) struct CompareArgs {
    /// The job to compare with, or a file of `assay export --format json`
    pub(crate) base: String,
    /// The job that is judged, or such a file
    pub(crate) new: String,
    /// Exit with 99 when a change is worse than this, and for certain worse than half of it: cost>+5%,
    /// p95>+10% (p50, p99), throughput<-5%; repeatable
    #[arg(long = "fail-on", value_name = "GATE")]
    pub(crate) gates: Vec<Gate>,
    /// Compare although this differs: constraints, load, machine, endpoint or mode; repeatable
    #[arg(long = "allow-mismatch", value_name = "FIELD")]
    pub(crate) allowed: Vec<String>,
    /// Markdown, as for a pull request's comment; the same as -o md
    #[arg(long)]
    pub(crate) md: bool,
    /// Write a JUnit report, too
    #[arg(long, value_name = "FILE")]
    pub(crate) junit: Option<PathBuf>,
}

/// `assay export`.
#[derive(Clone, Debug, Args)]
pub(crate) struct ExportArgs {
    /// The job
    pub(crate) job: String,
    /// Format of the file
    #[arg(long, value_name = "FORMAT", default_value = "json")]
    pub(crate) format: Format,
    /// What the rows of csv and parquet are
    #[arg(long, value_name = "TABLE", default_value = "trials")]
    pub(crate) table: Table,
    /// Where to; - is standard output. Of several interval logs it is the directory, made when missing
    #[arg(short = 'O', long = "out", value_name = "PATH", default_value = "-")]
    pub(crate) out: PathBuf,
}

/// What `assay export` writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// The assay.job/1 document
    Json,
    /// The answer of SageMaker's DescribeInferenceRecommendationsJob
    AwsJson,
    /// A table
    Csv,
    /// A table for pandas, DuckDB and the like
    Parquet,
    /// A page that needs nothing else, with charts, and ranks again by any goals
    Html,
    /// Markdown
    Md,
    /// HdrHistogram's interval logs, one of each trial: a directory of files
    Hlog,
    /// All of a job that has ended, for `assay import` on another coordinator
    Bundle,
}

impl From<Format> for ExportFormat {
    fn from(format: Format) -> Self {
        match format {
            Format::Json => Self::Json,
            Format::AwsJson => Self::AwsJson,
            Format::Csv => Self::Csv,
            Format::Parquet => Self::Parquet,
            Format::Html => Self::Html,
            Format::Md => Self::Markdown,
            Format::Hlog => Self::Hlog,
            Format::Bundle => Self::Bundle,
        }
    }
}

/// What the rows of an exported table are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Table {
    /// Candidates
    Trials,
    /// Steps of load
    Steps,
}

impl From<Table> for ExportTable {
    fn from(table: Table) -> Self {
        match table {
            Table::Trials => Self::Trials,
            Table::Steps => Self::Steps,
        }
    }
}
