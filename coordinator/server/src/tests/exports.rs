//! A job's results as files, and a job that moves to another coordinator.

use assay_proto::v1::{self, export_job_response::Part};
use tonic::{Code, Status};

use super::{
    http::{address_of, get},
    support::{Coordinator, FakeAgent, held, job_spec, measured, within},
};

/// A coordinator with a job that was measured.
async fn with_job(name: &str) -> Coordinator {
    let coordinator = Coordinator::start().await;
    let mut agent = FakeAgent::attach(&coordinator, "a").await;
    coordinator.create(job_spec(name, &["ml.c5.large"])).await.unwrap();
    let trial = held(&agent.expect_start().await);
    agent.step(&trial, 0).await;
    agent.step(&trial, 1).await;
    agent.finish(&trial, measured()).await;
    coordinator.reaches(name, v1::JobStatus::Completed).await;
    coordinator
}

/// The files of an export: names and contents.
async fn export(
    coordinator: &Coordinator,
    name: &str,
    format: &str,
    table: &str,
) -> Result<Vec<(String, Vec<u8>)>, Status> {
    let request = v1::ExportJobRequest {
        name: name.to_owned(),
        format: format.to_owned(),
        table: table.to_owned(),
        ..v1::ExportJobRequest::default()
    };
    let mut jobs = coordinator.jobs().await;
    let mut parts = within("an export", jobs.export_job(request)).await?.into_inner();
    let mut files: Vec<(String, Vec<u8>)> = Vec::new();
    let mut sizes = Vec::new();
    while let Some(message) = within("a part", parts.message()).await? {
        match message.part.unwrap() {
            Part::File(file) => {
                sizes.push(file.size_bytes);
                files.push((file.name, Vec::new()));
            }
            Part::Data(data) => files.last_mut().unwrap().1.extend_from_slice(&data),
        }
    }
    let received: Vec<u64> = files.iter().map(|(_, content)| content.len() as u64).collect();
    assert_eq!(received, sizes);
    Ok(files)
}

async fn import(coordinator: &Coordinator, content: &[u8]) -> Result<v1::Job, Status> {
    let pieces: Vec<v1::ImportJobRequest> = content
        .chunks(1000)
        .map(|piece| v1::ImportJobRequest { data: piece.to_vec().into() })
        .collect();
    let mut jobs = coordinator.jobs().await;
    let imported = within("an import", jobs.import_job(tokio_stream::iter(pieces))).await?;
    Ok(imported.into_inner().job.unwrap())
}

#[tokio::test]
async fn every_format_is_a_file_of_its_own_over_grpc_and_from_the_page() {
    let coordinator = with_job("seen").await;
    let address = address_of(&coordinator);
    for (format, table, name, begins) in [
        ("json", "", "seen.json", "{\n  \"schema\": \"assay.job/1\""),
        ("csv", "", "seen.csv", "job,list,rank,score,instance_type"),
        ("csv", "steps", "seen-steps.csv", "job,list,instance_type,configuration,trial,step"),
        ("md", "", "seen.md", "# seen"),
        ("parquet", "trials", "seen.parquet", "PAR1"),
        ("html", "", "seen.html", "<!DOCTYPE html>"),
        ("aws-json", "", "seen.aws.json", "{\n  \"CompletionTime\""),
        ("bundle", "", "seen.assay.gz", ""),
    ] {
        let files = export(&coordinator, "seen", format, table).await.unwrap();
        let [(exported, content)] = &*files else { panic!("{format}: {} files", files.len()) };
        assert_eq!(exported, name);
        let text = String::from_utf8_lossy(content);
        assert!(text.starts_with(begins), "{format}: {}", &text[..100.min(text.len())]);
        let page = get(address, &format!("/jobs/seen/export/{format}?table={table}")).await;
        assert_eq!(page.status, 200, "{format}: {}", page.body);
        let disposition = format!("attachment; filename=\"{name}\"");
        assert_eq!(page.header("content-disposition"), Some(&*disposition));
        assert_eq!(page.body, text, "{format}");
    }
}

#[tokio::test]
async fn a_report_lets_its_own_script_run_and_nothing_else() {
    let coordinator = with_job("seen").await;
    let answer = get(address_of(&coordinator), "/jobs/seen/report.html?cost=low").await;
    let policy = answer.header("content-security-policy").unwrap();
    assert!(policy.starts_with("default-src 'none'; script-src 'sha256-"), "{policy}");
    let inner = policy.trim_end_matches("; frame-ancestors 'none'");
    assert!(answer.body.contains(&format!("content=\"{inner}\"")), "{policy}");
    for part in ["src=", "href=", "url(", "@import", "style="] {
        assert!(!answer.body.contains(part), "{part}");
    }
}

#[tokio::test]
async fn what_cannot_be_exported_is_said() {
    let coordinator = with_job("seen").await;
    coordinator.create(job_spec("waits", &["ml.m5.large"])).await.unwrap();
    for (name, format, table, code, part) in [
        ("nobody", "json", "", Code::NotFound, "there is no job nobody"),
        ("seen", "pdf", "", Code::InvalidArgument, "unknown format \"pdf\""),
        ("seen", "csv", "cells", Code::InvalidArgument, "unknown table \"cells\""),
        ("seen", "md", "steps", Code::InvalidArgument, "md is no table"),
        ("waits", "hlog", "", Code::FailedPrecondition, "no call of this job"),
        ("waits", "bundle", "", Code::FailedPrecondition, "has not ended"),
    ] {
        let error = export(&coordinator, name, format, table).await.unwrap_err();
        assert_eq!(error.code(), code, "{name} {format}: {error}");
        assert!(error.message().contains(part), "{error}");
    }
}

#[tokio::test]
async fn a_job_is_the_same_on_another_coordinator_and_after_its_restart() {
    let here = with_job("moved").await;
    let mut there = Coordinator::start().await;
    let files = export(&here, "moved", "bundle", "").await.unwrap();
    let imported = import(&there, &files[0].1).await.unwrap();
    assert_eq!((imported.name.as_str(), imported.status()), ("moved", v1::JobStatus::Completed));
    there.restart().await;
    let of = async |coordinator: &Coordinator| {
        let request = v1::GetJobRequest {
            name: "moved".to_owned(),
            with_histograms: true,
            ..v1::GetJobRequest::default()
        };
        let mut jobs = coordinator.jobs().await;
        within("the job", jobs.get_job(request)).await.unwrap().into_inner()
    };
    assert_eq!(of(&here).await, of(&there).await);
    assert_eq!(here.record("moved").await, there.record("moved").await);
    let again = import(&there, &files[0].1).await.unwrap_err();
    assert_eq!(again.code(), Code::AlreadyExists, "{again}");
    let back = export(&there, "moved", "bundle", "").await.unwrap();
    assert_eq!(back, files);
    // It is deleted like any other.
    let delete = v1::DeleteJobRequest { name: "moved".to_owned() };
    within("the end", there.jobs().await.delete_job(delete)).await.unwrap();
}

#[tokio::test]
async fn what_is_no_whole_job_is_refused_and_leaves_nothing() {
    let here = with_job("torn").await;
    let there = Coordinator::start().await;
    let whole = export(&here, "torn", "bundle", "").await.unwrap().remove(0).1;
    let mut text = String::new();
    std::io::Read::read_to_string(&mut flate2::read::GzDecoder::new(&*whole), &mut text).unwrap();
    let packed = |text: &str| {
        use std::io::Write;
        let mut file = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        file.write_all(text.as_bytes()).unwrap();
        file.finish().unwrap()
    };
    assert_eq!(text.matches("assay.bundle/1").count(), 1);
    for (what, content, part) in [
        ("nothing", Vec::new(), "no file of"),
        ("another file", b"a model".to_vec(), "no file of"),
        ("half of it", whole[..whole.len() / 2].to_vec(), "no file of"),
        (
            "another kind",
            packed(&text.replace("assay.bundle/1", "assay.bundle/9")),
            "assay.bundle/9",
        ),
        ("another name", packed(&text.replacen("torn", "worn", 1)), "do not belong together"),
        (
            "no trials",
            packed(&{
                let mut bundle: serde_json::Value = serde_json::from_str(&text).unwrap();
                bundle["trials"] = serde_json::json!([]);
                bundle.to_string()
            }),
            "do not belong together",
        ),
        (
            "remarks",
            packed(&{
                let mut bundle: serde_json::Value = serde_json::from_str(&text).unwrap();
                bundle["planned"]["plan"]["warnings"] = vec![""; 10_001].into();
                bundle.to_string()
            }),
            "remarks on its plan",
        ),
        (
            "no end",
            packed(&{
                let mut bundle: serde_json::Value = serde_json::from_str(&text).unwrap();
                bundle["state"] = serde_json::json!({ "status": "pending" });
                bundle.to_string()
            }),
            "has not ended",
        ),
        (
            "gaps",
            packed(&{
                let mut bundle: serde_json::Value = serde_json::from_str(&text).unwrap();
                bundle["record"].as_array_mut().unwrap().remove(0);
                bundle.to_string()
            }),
            "do not belong together",
        ),
    ] {
        let error = import(&there, &content).await.unwrap_err();
        assert_eq!(error.code(), Code::InvalidArgument, "{what}: {error}");
        assert!(error.message().contains(part), "{what}: {error}");
    }
    let listed = within("jobs", there.jobs().await.list_jobs(v1::ListJobsRequest::default())).await;
    assert_eq!(listed.unwrap().into_inner().jobs, []);
}
