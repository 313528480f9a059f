//! The command line of what is done with results that exist.

use std::path::PathBuf;

use assay_planning::compare::Gate;
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
    pub(crate) format: ExportFormat,
    /// Where to; - is standard output. Of several interval logs it is the directory, made when missing
    #[arg(short = 'O', long = "out", value_name = "PATH", default_value = "-")]
    pub(crate) out: PathBuf,
}

/// What `assay export` writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ExportFormat {
    /// The assay.job/1 document
    Json,
    /// One row per candidate
    Csv,
    /// Markdown
    Md,
    /// HdrHistogram's interval logs, one of each trial: a directory of files
    Hlog,
}
