//! A job's results as files: what `ExportJob` streams and the pages offer for download.

mod interval_log;
mod parquet;

use std::{error::Error, sync::Arc};

use assay_measure::{bounded_text, ids::JobName, printable};
use assay_pages::{Template, report_file::ReportFile};
use assay_planning::{
    export::{
        self, ExportFormat, ExportTable,
        table::{self, Table},
    },
    job_report::{self, Overrides},
    report::JobReport,
};
use assay_sagemaker::{
    error::ApiError, request::Request as Asked,
    shapes::jobs::DescribeInferenceRecommendationsJobRequest,
};
use thiserror::Error;

use self::{interval_log::LogError, parquet::ParquetError};
use crate::{
    dispatch::Refused,
    grpc::Shared,
    sagemaker::{self, Caller},
    store::{JobSummary, StoreError},
};

/// A whole file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ExportedFile {
    /// Without a directory.
    pub(crate) name: String,
    pub(crate) content_type: &'static str,
    pub(crate) content: Vec<u8>,
}

/// What is wanted of a job.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted {
    pub(crate) format: ExportFormat,
    /// For tables; every other format has one content.
    pub(crate) table: ExportTable,
    pub(crate) overrides: Overrides,
}

/// A job cannot be exported.
#[derive(Debug, Error)]
pub(crate) enum ExportError {
    #[error(transparent)]
    Refused(#[from] Refused),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("{format} is no table, so it has no table of {table}")]
    NoTable { format: ExportFormat, table: &'static str },
    #[error("no call of this job has been answered, so there is no histogram")]
    NothingAnswered,
    #[error("the job has not ended, so it cannot be taken elsewhere")]
    NotEnded,
    #[error("the SageMaker API does not describe this job")]
    NotDescribed(#[source] ApiError),
    /// Of ours.
    #[error("the export cannot be written")]
    Unwritten(#[source] Box<dyn Error + Send + Sync>),
}

impl ExportError {
    fn unwritten(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Unwritten(error.into())
    }
}

impl From<LogError> for ExportError {
    fn from(error: LogError) -> Self {
        match error {
            LogError::NothingAnswered => Self::NothingAnswered,
            other @ LogError::Unwritten { .. } => Self::unwritten(other),
        }
    }
}

impl From<ParquetError> for ExportError {
    fn from(error: ParquetError) -> Self {
        Self::unwritten(error)
    }
}

/// The files of an export: one, but for interval logs, of which every trial has its own.
pub(crate) async fn files(
    shared: &Shared,
    name: &JobName,
    wanted: Wanted,
) -> Result<Vec<ExportedFile>, ExportError> {
    let Wanted { format, table, overrides } = wanted;
    let is_table = matches!(format, ExportFormat::Csv | ExportFormat::Parquet);
    if table != ExportTable::default() && !is_table {
        return Err(ExportError::NoTable { format, table: table.word() });
    }
    let job = shared.store.job(name).await?;
    let job = job.ok_or_else(|| Refused::NoSuchJob(name.clone()))?;
    if format == ExportFormat::AwsJson {
        let content = describe(shared, name).await?;
        return Ok(vec![file(name, format, table, content)]);
    }
    if format == ExportFormat::Bundle {
        if !job.status.is_final() {
            return Err(ExportError::NotEnded);
        }
        let bundle = shared.store.bundle(name).await?;
        let bundle = bundle.ok_or_else(|| Refused::NoSuchJob(name.clone()))?;
        let content = bundle.written().map_err(ExportError::unwritten)?;
        return Ok(vec![file(name, format, table, content)]);
    }
    let facts = shared.store.job_facts(name).await?;
    let mut facts = facts.ok_or_else(|| Refused::NoSuchJob(name.clone()))?;
    if format == ExportFormat::Hlog {
        facts.add_histograms(shared.store.histograms(name, None).await?);
    }
    let report = job_report::build(&facts, overrides);
    if format == ExportFormat::Hlog {
        let logs = interval_log::of_trials(&report)?;
        let log = |(name, log): (String, String)| ExportedFile {
            name,
            content_type: content_type(format),
            content: log.into_bytes(),
        };
        return Ok(logs.into_iter().map(log).collect());
    }
    let content = written(&report, &job, wanted)?;
    Ok(vec![file(name, format, table, content)])
}

fn written(report: &JobReport, job: &JobSummary, wanted: Wanted) -> Result<Vec<u8>, ExportError> {
    let demand = wanted.overrides.demand.or(job.spec.demand);
    Ok(match wanted.format {
        ExportFormat::Json => json(report)?,
        ExportFormat::Csv => export::csv(&rows(report, wanted.table))
            .map(String::into_bytes)
            .map_err(ExportError::unwritten)?,
        ExportFormat::Markdown => export::markdown(report).into_bytes(),
        ExportFormat::Parquet => {
            parquet::written(wanted.table.word(), &rows(report, wanted.table))?
        }
        ExportFormat::Html => ReportFile::new(report, (&job.spec, demand))
            .render()
            .map(String::into_bytes)
            .map_err(ExportError::unwritten)?,
        ExportFormat::AwsJson | ExportFormat::Hlog | ExportFormat::Bundle => {
            unreachable!("written elsewhere")
        }
    })
}

fn rows(report: &JobReport, wanted: ExportTable) -> Table {
    match wanted {
        ExportTable::Trials => table::of_trials(report),
        ExportTable::Steps => table::of_steps(report),
    }
}

fn json(document: &impl serde::Serialize) -> Result<Vec<u8>, ExportError> {
    let text = serde_json::to_string_pretty(document).map_err(ExportError::unwritten)?;
    Ok(format!("{}\n", printable::json(&text)).into_bytes())
}

/// As boto3 and the AWS CLI get it on the wire: times are seconds since 1970.
async fn describe(shared: &Shared, name: &JobName) -> Result<Vec<u8>, ExportError> {
    let request = DescribeInferenceRecommendationsJobRequest { job_name: name.to_string() };
    let asked = Asked::DescribeInferenceRecommendationsJob(Box::new(request));
    let caller = Caller { user_agent: String::new() };
    let aws = Arc::clone(&shared.aws);
    let described = sagemaker::dispatch(&aws, asked, &caller).await;
    json(&described.map_err(ExportError::NotDescribed)?)
}

fn file(
    name: &JobName,
    format: ExportFormat,
    table: ExportTable,
    content: Vec<u8>,
) -> ExportedFile {
    let table = match table {
        ExportTable::Trials => "",
        ExportTable::Steps => "-steps",
    };
    let extension = match format {
        ExportFormat::AwsJson => "aws.json",
        ExportFormat::Bundle => "assay.gz",
        ExportFormat::Json
        | ExportFormat::Csv
        | ExportFormat::Markdown
        | ExportFormat::Parquet
        | ExportFormat::Html
        | ExportFormat::Hlog => format.word(),
    };
    ExportedFile {
        name: format!("{}{table}.{extension}", bounded_text::beginning(name.to_string(), 100)),
        content_type: content_type(format),
        content,
    }
}

const fn content_type(format: ExportFormat) -> &'static str {
    match format {
        ExportFormat::Json | ExportFormat::AwsJson => "application/json",
        ExportFormat::Csv => "text/csv; charset=utf-8",
        ExportFormat::Markdown => "text/markdown; charset=utf-8",
        ExportFormat::Parquet => "application/vnd.apache.parquet",
        ExportFormat::Html => "text/html; charset=utf-8",
        ExportFormat::Hlog => "text/plain; charset=utf-8",
        ExportFormat::Bundle => "application/gzip",
    }
}
