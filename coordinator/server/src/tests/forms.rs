//! Jobs by form, with their files, and out of the registry.

use assay_proto::v1;

use super::{
    http::{Answer, address_of, ask, get},
    support::{Coordinator, FakeAgent, job_spec},
};

const BOUNDARY: &str = "----a-boundary";

/// A form with files as browsers send it: name, file name if it is one, content.
fn form(fields: &[(&str, Option<&str>, &str)]) -> String {
    let mut body = String::new();
    for (name, file, content) in fields {
        let file = file
            .map(|file| format!("; filename=\"{file}\"\r\ncontent-type: application/octet-stream"));
        let file = file.unwrap_or_default();
        body += &format!(
            "--{BOUNDARY}\r\ncontent-disposition: form-data; name=\"{name}\"{file}\r\n\r\n{content}\r\n"
        );
    }
    body + &format!("--{BOUNDARY}--\r\n")
}

async fn send(coordinator: &Coordinator, cookie: &str, head: &str, body: &str) -> Answer {
    let head = format!(
        "cookie: {cookie}\r\ncontent-type: multipart/form-data; boundary={BOUNDARY}\r\n{head}"
    );
    ask(address_of(coordinator), "POST", "/jobs/new", &head, body).await
}

#[tokio::test]
async fn a_job_by_form_has_the_files_that_came_with_it() {
    let coordinator = Coordinator::start().await;
    let mut agent = FakeAgent::attach(&coordinator, "a").await;
    let page = get(address_of(&coordinator), "/jobs/new").await;
    assert!(page.body.contains("ml.c5.large"), "{}", page.body);
    let (cookie, csrf) = (page.cookie(), page.csrf().to_owned());
    let fields = [
        ("csrf", None, &*csrf),
        ("name", None, "by-form"),
        ("model_file", Some("model.pt"), "a model"),
        ("payload_file", Some("body.json"), "[1, 2]"),
        ("type", None, "ml.c5.large"),
        ("constraints", None, "p95<=50ms\r\n"),
        ("cost", None, "high"),
        ("demand", None, "100/min"),
        ("headroom", None, "50"),
        ("max_duration", None, "10m"),
        ("mode", None, "quick"),
    ];
    let created = send(&coordinator, &cookie, "", &form(&fields)).await;
    assert_eq!(
        (created.status, created.header("location")),
        (303, Some("/jobs/by-form")),
        "{}",
        created.body
    );
    let job = coordinator.get("by-form").await;
    let spec = job.spec.unwrap();
    assert_eq!(spec.model.as_ref().unwrap().name, "model.pt");
    assert_eq!(spec.payload.unwrap().content_type, "application/json");
    assert_eq!(spec.constraints, ["p95<=50ms"]);
    assert_eq!(spec.mode, "quick");
    assert_eq!(spec.demand.unwrap().headroom_pct, 50);
    assert_eq!(spec.goals.unwrap().throughput, "lowest");
    agent.expect_start().await;

    // The model is known now, and htmx is sent on by a header.
    let page = get(address_of(&coordinator), "/jobs/new").await;
    let known = spec.model.unwrap().sha256;
    assert!(page.body.contains(&known), "{}", page.body);
    let fields = [
        ("csrf", None, page.csrf()),
        ("known_model", None, &*known),
        ("model_file", Some(""), ""),
        ("inputs", None, "float32[1,4]"),
        ("max_duration", None, "10m"),
    ];
    let plan: Vec<_> = fields.into_iter().chain([("plan", None, "1")]).collect();
    let shown = send(&coordinator, &page.cookie(), "", &form(&plan)).await;
    assert_eq!(shown.status, 200, "{}", shown.body);
    for part in ["The plan", "Nothing has been started.", "assay recommend", "max-duration"] {
        assert!(shown.body.contains(part), "{part}: {}", shown.body);
    }
    let created = send(&coordinator, &page.cookie(), "hx-request: true\r\n", &form(&fields)).await;
    assert_eq!(created.status, 204, "{}", created.body);
    assert!(created.header("hx-redirect").unwrap().starts_with("/jobs/model-"));
}

#[tokio::test]
async fn what_is_wrong_with_a_form_is_said_and_what_was_typed_stays() {
    let coordinator = Coordinator::start().await;
    let page = get(address_of(&coordinator), "/jobs/new").await;
    let (cookie, csrf) = (page.cookie(), page.csrf().to_owned());
    let model = ("model_file", Some("model.pt"), "a model");
    let input = ("inputs", None, "float32[1,4]");
    let time = ("max_duration", None, "10m");
    for (fields, part) in [
        (vec![input, time], "There is no model to measure."),
        (vec![model, time], "Nothing says what the model takes."),
        (vec![("model_file", Some("model.pt"), ""), time], "&#34;model.pt&#34; is empty."),
        (vec![model, ("inputs", None, "float99[1]"), time], "float99"),
        (vec![model, ("inputs", None, "float64[99999,99999]"), time], "256 MiB"),
        (vec![model, input, ("constraints", None, "fast"), time], "fast"),
        (vec![model, input, ("more_types", None, "own=0x1GiB"), time], "0x1GiB"),
        (vec![model, input, ("name", None, "no name"), time], "no name"),
        (vec![model, input, ("demand", None, "lots"), time], "lots"),
        (vec![model, input, ("demand", None, "1/s"), ("headroom", None, "101"), time], "101"),
        (vec![model, input, ("cost", None, "dear"), time], "dear"),
        (vec![model, input, ("max_duration", None, "soon")], "soon"),
        (vec![model, input, ("mode", None, "slow"), time], "slow"),
        (vec![model, input, ("plan", None, "1"), ("max_duration", None, "0s")], "no time at all"),
        (vec![model, input, ("name", None, "new"), time], "job name new is taken"),
        (vec![model, input, ("more_types", None, "own=1x1GiB,own=2x1GiB"), time], "given twice"),
        (vec![model, input, ("max_duration", None, "0s")], "no time at all"),
        (vec![model, ("payload_file", Some("body.xyz"), "x"), time], "body.xyz"),
        (vec![("known_model", None, "0123"), input, time], "not here any more"),
    ] {
        let fields: Vec<_> = [("csrf", None, &*csrf)].into_iter().chain(fields).collect();
        let body = form(&fields);
        let answer = send(&coordinator, &cookie, "", &body).await;
        assert_eq!(answer.status, 400, "{part}: {}", answer.body);
        assert!(answer.body.contains("The job was not created"), "{part}: {}", answer.body);
        let alert = answer.body.split("role=\"alert\"><h2>").nth(1).unwrap();
        assert!(alert.split("</section>").next().unwrap().contains(part), "{part}: {alert}");
        // htmx shows only what is no failure.
        let shown = send(&coordinator, &cookie, "hx-request: true\r\n", &body).await;
        assert_eq!(shown.status, 200, "{part}");
    }
    let broken = format!(
        "--{BOUNDARY}\r\ncontent-disposition: form-data; name=\"csrf\"\r\n\r\n{csrf}\r\n--{BOUNDARY}\r\ncontent-disposition: form-data; name=\"name\"\r\n\r\nhalf"
    );
    let answer = send(&coordinator, &cookie, "", &broken).await;
    assert!(answer.body.contains("The form broke off"), "{}", answer.body);
    let listed = coordinator.jobs().await.list_jobs(v1::ListJobsRequest::default()).await;
    assert_eq!(listed.unwrap().into_inner().jobs, []);
}

#[tokio::test]
async fn a_form_with_files_of_another_site_or_session_is_not_read() {
    let coordinator = Coordinator::start().await;
    let page = get(address_of(&coordinator), "/jobs/new").await;
    let (cookie, csrf) = (page.cookie(), page.csrf().to_owned());
    let token = ("csrf", None, &*csrf);
    let model = ("model_file", Some("model.pt"), "a model");
    let long = "0".repeat(1000);
    for fields in [
        vec![],
        vec![model],
        vec![model, token],
        vec![("csrf", None, "0"), model],
        vec![("csrf", None, &long), model],
    ] {
        let answer = send(&coordinator, &cookie, "", &form(&fields)).await;
        assert_eq!(answer.status, 403, "{fields:?}: {}", answer.body);
    }
    let form = form(&[token, model]);
    assert_eq!(send(&coordinator, "", "", &form).await.status, 403, "a token without its cookie");
    let cross = send(&coordinator, &cookie, "sec-fetch-site: cross-site\r\n", &form).await;
    assert_eq!(cross.status, 403);
    // No other path takes such a form.
    coordinator.create(job_spec("mine", &["ml.c5.large"])).await.unwrap();
    let head =
        format!("cookie: {cookie}\r\ncontent-type: multipart/form-data; boundary={BOUNDARY}\r\n");
    let stop = ask(address_of(&coordinator), "POST", "/jobs/mine/stop", &head, &form).await;
    assert_eq!(stop.status, 400, "{}", stop.body);
    assert_eq!(coordinator.job("mine").await.status(), v1::JobStatus::Pending);
}
