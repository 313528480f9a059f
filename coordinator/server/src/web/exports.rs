//! Files to take away: the same as `assay export` writes.

use assay_pages::report_file;
use assay_planning::{
    export::{ExportFormat, ExportTable},
    job_report::Overrides,
};
use axum::{
    extract::State,
    response::{IntoResponse, Response},
};
use http::{HeaderValue, StatusCode, header};
use serde::Deserialize;

use super::{
    Web,
    asked::{Path, Query},
    jobs::{RankQuery, job_name},
    refusal::Refusal,
};
use crate::exports::{self, ExportError, ExportedFile, Wanted};

/// The report as a page of its own, to be read and to be saved.
pub(super) async fn report(
    State(web): State<Web>,
    Path(name): Path<String>,
    Query(query): Query<RankQuery>,
) -> Result<Response, Refusal> {
    let overrides = query.overrides()?;
    let table = ExportTable::default();
    let file = web.exported(&name, ExportFormat::Html, table, overrides).await?;
    let mut response = ([(header::CONTENT_TYPE, file.content_type)], file.content).into_response();
    let policy = HeaderValue::from_str(&report_file::header_policy())
        .map_err(|error| Refusal::fault(&error))?;
    response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, policy);
    Ok(response)
}

#[derive(Deserialize)]
pub(super) struct TableQuery {
    #[serde(default)]
    table: String,
}

pub(super) async fn export(
    State(web): State<Web>,
    Path((name, format)): Path<(String, String)>,
    Query(TableQuery { table }): Query<TableQuery>,
    Query(query): Query<RankQuery>,
) -> Result<Response, Refusal> {
    let overrides = query.overrides()?;
    let format = format.parse().map_err(|error| Refusal::not_found(format!("{error}.")))?;
    let table = match table.trim() {
        "" => ExportTable::default(),
        word => word.parse().map_err(|error| Refusal::bad_request(format!("{error}."), ""))?,
    };
    let file = web.exported(&name, format, table, overrides).await?;
    let disposition = format!("attachment; filename=\"{}\"", file.name);
    let headers = [
        (header::CONTENT_TYPE, file.content_type.to_owned()),
        (header::CONTENT_DISPOSITION, disposition),
    ];
    Ok((headers, file.content).into_response())
}

impl Web {
    async fn exported(
        &self,
        name: &str,
        format: ExportFormat,
        table: ExportTable,
        overrides: Overrides,
    ) -> Result<ExportedFile, Refusal> {
        let name = job_name(name)?;
        let wanted = Wanted { format, table, overrides };
        let mut files = exports::files(&self.shared, &name, wanted).await?;
        match files.pop() {
            Some(only) if files.is_empty() => Ok(only),
            Some(last) => {
                files.push(last);
                archive(&format!("{name}-{format}.tar"), &files)
                    .map_err(|error| Refusal::fault(&error))
            }
            None => Err(Refusal::not_found(format!("Job {name} gives no such file."))),
        }
    }
}

/// Several files as one.
fn archive(name: &str, files: &[ExportedFile]) -> std::io::Result<ExportedFile> {
    let mut archive = tar::Builder::new(Vec::new());
    for file in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(file.content.len() as u64);
        header.set_mode(0o644);
        archive.append_data(&mut header, &file.name, &*file.content)?;
    }
    let content = archive.into_inner()?;
    Ok(ExportedFile { name: name.to_owned(), content_type: "application/x-tar", content })
}

impl From<ExportError> for Refusal {
    fn from(error: ExportError) -> Self {
        let status = match error {
            ExportError::Refused(refused) => return refused.into(),
            ExportError::Store(error) => return error.into(),
            ExportError::Unwritten(_) => return Self::fault(&error),
            ExportError::NoTable { .. } => StatusCode::BAD_REQUEST,
            ExportError::NothingAnswered | ExportError::NotEnded | ExportError::NotDescribed(_) => {
                StatusCode::CONFLICT
            }
        };
        Self::new(status, format!("{error}."), "")
    }
}
