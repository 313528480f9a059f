//! Recommendation jobs through the SageMaker API, with an agent that does only what the test says.

use std::{fs, time::Duration};

use assay_measure::{
    outcome::{Failure, FailureKind, TrialOutcome},
    units::Rate,
};
use assay_proto::v1::{self, JobStatus, agent_message};
use flate2::{Compression, write::GzEncoder};
use serde_json::{Value, json};

use super::support::{Coordinator, FakeAgent, held, job_spec, measured, step, within};

const ROLE: &str = "arn:aws:iam::123456789012:role/recommender";

/// A coordinator with a model and a payload below its one allowed directory.
pub(super) struct Bench {
    pub(super) coordinator: Coordinator,
}

impl Bench {
    pub(super) async fn start() -> Self {
        let coordinator = Coordinator::start().await;
        let folder = coordinator.files();
        fs::write(folder.join("model.pt"), b"PK\x03\x04a model").unwrap();
        let mut archive = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
        let mut header = tar::Header::new_ustar();
        header.set_size(3);
        header.set_mode(0o644);
        archive.append_data(&mut header, "a.npy", b"abc".as_slice()).unwrap();
        let archive = archive.into_inner().unwrap().finish().unwrap();
        fs::write(folder.join("payload.tar.gz"), archive).unwrap();
        let bench = Self { coordinator };
        let container = json!({"Image": "host:latest", "ModelDataUrl": bench.file("model.pt")});
        bench.ok("CreateModel", json!({"ModelName": "m", "PrimaryContainer": container})).await;
        bench
    }

    pub(super) fn file(&self, name: &str) -> String {
        format!("file://{}", self.coordinator.files().join(name).display())
    }

    async fn call(&self, operation: &str, body: Value) -> (u16, Value) {
        let service = match operation {
            "GetLogEvents" | "DescribeLogStreams" => "Logs_20140328",
            _ => "SageMaker",
        };
        crate::sagemaker::fetch::name_cryptography();
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let sent = client
            .post(&self.coordinator.url)
            .header("content-type", "application/x-amz-json-1.1")
            .header("x-amz-target", format!("{service}.{operation}"))
            .body(body.to_string())
            .send();
        let answer = within("an answer", sent).await.unwrap();
        let status = answer.status().as_u16();
        let body = answer.bytes().await.unwrap();
        (status, serde_json::from_slice(&body).unwrap_or(Value::Null))
    }

    pub(super) async fn ok(&self, operation: &str, body: Value) -> Value {
        let (status, answer) = self.call(operation, body).await;
        assert_eq!(status, 200, "{operation}: {answer}");
        answer
    }

    pub(super) async fn refused(&self, operation: &str, body: Value) -> (String, String) {
        let (status, answer) = self.call(operation, body).await;
        assert_eq!(status, 400, "{operation}: {answer}");
        let text = |name: &str| answer[name].as_str().unwrap_or_default().to_owned();
        (text("__type"), text("Message") + &text("message"))
    }

    pub(super) fn request(&self, name: &str) -> Value {
        json!({
            "JobName": name, "JobType": "Default", "RoleArn": ROLE, "JobDescription": "a test",
            "InputConfig": {
                "ModelName": "m",
                "JobDurationInSeconds": 60,
                "ContainerConfig": {
                    "PayloadConfig": {"SamplePayloadUrl": self.file("payload.tar.gz")},
                    "SupportedInstanceTypes": ["ml.c5.large"],
                },
            },
            "Tags": [{"Key": "team", "Value": "vision"}],
        })
    }

    async fn create(&self, name: &str) {
        self.ok("CreateInferenceRecommendationsJob", self.request(name)).await;
    }

    pub(super) async fn describe(&self, name: &str) -> Value {
        self.ok("DescribeInferenceRecommendationsJob", json!({"JobName": name})).await
    }

    pub(super) async fn reaches(&self, name: &str, status: &str) -> Value {
        within("a status", async {
            loop {
                let job = self.describe(name).await;
                if job["Status"] == status {
                    return job;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        })
        .await
    }

    /// A job that completes, with steps that a scaling recommendation can be read from.
    pub(super) async fn measure(&self, name: &str) -> Value {
        let mut agent = FakeAgent::attach(&self.coordinator, "a").await;
        // One candidate, so that one trial ends the job.
        let mut request = self.request(name);
        request["JobType"] = json!("Advanced");
        let endpoint = json!({"InstanceType": "ml.c5.large"});
        request["InputConfig"]["EndpointConfigurations"] = json!([endpoint]);
        self.ok("CreateInferenceRecommendationsJob", request).await;
        let trial = held(&agent.expect_start().await);
        Self::report_curve(&mut agent, &trial).await;
        agent.finish(&trial, measured()).await;
        self.reaches(name, "COMPLETED").await
    }

    /// Two steps: 1 200 per minute at 25 % of the processors, and twice that.
    pub(super) async fn report_curve(agent: &mut FakeAgent, trial: &v1::HeldTrial) {
        for (index, per_second, cpu_pct) in [(0, 20.0, 25.0), (1, 40.0, 50.0)] {
            let mut report = step(index);
            report.achieved = Rate::per_second(per_second).unwrap();
            report.utilization.cpu_pct = Some(cpu_pct);
            let what = v1::StepFinished {
                trial_id: trial.trial_id.clone(),
                lease_token: trial.lease_token.clone(),
                step: Some(report.into()),
            };
            agent.say(agent_message::Message::StepFinished(what)).await;
            agent.expect_acknowledge().await;
        }
    }

    async fn names(&self, filters: Value) -> Vec<String> {
        let listed = self.ok("ListInferenceRecommendationsJobs", filters).await;
        let jobs = listed["InferenceRecommendationsJobs"].as_array().unwrap();
        jobs.iter().map(|job| job["JobName"].as_str().unwrap().to_owned()).collect()
    }
}

#[tokio::test]
async fn a_job_fetches_its_files_and_goes_from_pending_to_recommendations() {
    let bench = Bench::start().await;
    let mut agent = FakeAgent::attach(&bench.coordinator, "a").await;
    bench.create("demo").await;
    let start = agent.expect_start().await;
    let spec = start.spec.as_ref().unwrap();
    let payload = spec.payload.as_ref().unwrap();
    assert_eq!(spec.model.as_ref().unwrap().size_bytes, 11);
    assert!(payload.is_archive);
    assert_eq!(payload.content_type, "application/x-npy");
    let trial = held(&start);
    assert!(agent.heartbeat(Some(trial.clone())).await);
    let running = bench.reaches("demo", "IN_PROGRESS").await;
    assert!(running.get("InferenceRecommendations").is_none(), "{running}");
    let steps = bench.ok("ListInferenceRecommendationsJobSteps", json!({"JobName": "demo"})).await;
    assert_eq!(steps["Steps"][0]["Status"], "IN_PROGRESS");
    agent.finish(&trial, measured()).await;
    // Whatever else the job tries ends the same way.
    loop {
        let job = bench.describe("demo").await;
        if job["Status"] == "COMPLETED" {
            break;
        }
        let next = tokio::time::timeout(Duration::from_millis(300), agent.expect_start()).await;
        if let Ok(start) = next {
            agent.finish(&held(&start), measured()).await;
        }
    }
    let job = bench.describe("demo").await;
    let request = bench.request("demo");
    for member in ["JobType", "RoleArn", "JobDescription", "InputConfig"] {
        assert_eq!(job[member], request[member], "{member}");
    }
    let best = &job["InferenceRecommendations"][0];
    assert_eq!(best["Metrics"]["MaxInvocations"], 2400);
    assert_eq!(best["Metrics"]["MaximumInvocations"], 2400);
    assert_eq!(best["Metrics"]["ModelLatency"], 27_000);
    assert_eq!(best["EndpointConfiguration"]["InstanceType"], "ml.c5.large");
    assert_eq!(best["ModelConfiguration"]["Compiled"], false);
    assert_eq!(bench.describe("demo").await["InferenceRecommendations"][0], *best);

    let shown = bench.coordinator.job("demo").await;
    assert_eq!(shown.status(), JobStatus::Completed);
    let group = "/aws/sagemaker/InferenceRecommendationsJobs";
    let stream =
        json!({"logGroupName": group, "logStreamName": "demo/execution", "startFromHead": true});
    let log = bench.ok("GetLogEvents", stream).await.to_string();
    for word in ["was created", "fetching model.pt", "started on agent a", "The job completed"] {
        assert!(log.contains(word), "{word}: {log}");
    }
}

#[tokio::test]
async fn a_job_whose_files_cannot_be_had_fails_with_every_reason() {
    let bench = Bench::start().await;
    let container = json!({"Image": "host:latest", "ModelDataUrl": bench.file("nothing.pt")});
    bench.ok("CreateModel", json!({"ModelName": "gone", "PrimaryContainer": container})).await;
    let mut request = bench.request("no-files");
    request["InputConfig"]["ModelName"] = json!("gone");
    request["InputConfig"]["ContainerConfig"]["PayloadConfig"]["SamplePayloadUrl"] =
        json!(bench.file("model.pt"));
    bench.ok("CreateInferenceRecommendationsJob", request).await;
    let job = bench.reaches("no-files", "FAILED").await;
    let reason = job["FailureReason"].as_str().unwrap();
    for part in [
        "INVALID_INPUT : 1. ModelError",
        "nothing.pt does not exist",
        "2. PayloadError",
        "wrong file type",
    ] {
        assert!(reason.contains(part), "{part}: {reason}");
    }
    assert_eq!(bench.coordinator.job("no-files").await.status(), JobStatus::Failed);
}

#[tokio::test]
async fn a_job_that_waits_for_its_files_goes_on_after_a_crash() {
    let mut bench = Bench::start().await;
    bench.create("demo").await;
    bench.coordinator.restart().await;
    let mut agent = FakeAgent::attach(&bench.coordinator, "a").await;
    let start = agent.expect_start().await;
    assert_eq!(start.spec.unwrap().model.unwrap().name, "model.pt");
    assert_eq!(bench.describe("demo").await["JobDescription"], "a test");
}

#[tokio::test]
async fn names_are_never_used_twice_whoever_used_them() {
    let bench = Bench::start().await;
    bench.coordinator.create(job_spec("taken", &["ml.c5.large"])).await.unwrap();
    bench.create("demo").await;
    for name in ["taken", "demo"] {
        let request = bench.request(name);
        let (code, _) = bench.refused("CreateInferenceRecommendationsJob", request).await;
        assert_eq!(code, "ResourceInUse", "{name}");
    }
    let refused = bench.coordinator.create(job_spec("demo", &["ml.c5.large"])).await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::AlreadyExists);
    // What was refused left nothing behind.
    assert_eq!(
        bench.describe("taken").await["JobDescription"],
        "not created through the SageMaker API"
    );
}

#[tokio::test]
async fn jobs_are_stopped_from_either_side_and_a_stop_may_come_late() {
    let bench = Bench::start().await;
    bench.create("here").await;
    bench.create("there").await;
    bench.ok("StopInferenceRecommendationsJob", json!({"JobName": "here"})).await;
    bench.coordinator.stop("there").await.unwrap();
    for name in ["here", "there"] {
        bench.reaches(name, "STOPPED").await;
        bench.ok("StopInferenceRecommendationsJob", json!({"JobName": name})).await;
        assert_eq!(bench.describe(name).await["Status"], "STOPPED");
    }
    assert_eq!(bench.coordinator.job("here").await.status(), JobStatus::Stopped);
    for operation in [
        "StopInferenceRecommendationsJob",
        "DescribeInferenceRecommendationsJob",
        "ListInferenceRecommendationsJobSteps",
    ] {
        let (code, _) = bench.refused(operation, json!({"JobName": "nobody"})).await;
        assert_eq!(code, "ResourceNotFound", "{operation}");
    }
}

#[tokio::test]
async fn a_step_that_failed_says_why() {
    let bench = Bench::start().await;
    let mut agent = FakeAgent::attach(&bench.coordinator, "a").await;
    bench.create("demo").await;
    let failure = Failure::new(
        FailureKind::ModelRaised,
        "forward() raised: expected 3 channels".to_owned(),
        String::new(),
    );
    let steps = loop {
        let next = tokio::time::timeout(Duration::from_millis(300), agent.expect_start()).await;
        if let Ok(start) = next {
            agent.finish(&held(&start), TrialOutcome::Failed(failure.clone())).await;
            continue;
        }
        let job = bench.describe("demo").await;
        if job["Status"] == "FAILED" {
            assert!(job["FailureReason"].as_str().unwrap().contains("expected 3 channels"));
            let failed = json!({"JobName": "demo", "Status": "FAILED"});
            break bench.ok("ListInferenceRecommendationsJobSteps", failed).await;
        }
    };
    let reason = &steps["Steps"][0]["InferenceBenchmark"]["FailureReason"];
    assert!(reason.as_str().unwrap().contains("expected 3 channels"), "{steps}");
    let completed = json!({"JobName": "demo", "Status": "COMPLETED"});
    let none = bench.ok("ListInferenceRecommendationsJobSteps", completed).await;
    assert_eq!(none["Steps"], json!([]));
}

#[tokio::test]
async fn a_scaling_recommendation_reads_the_steps_of_the_trial_that_it_names() {
    let bench = Bench::start().await;
    let job = bench.measure("demo").await;
    let best = &job["InferenceRecommendations"][0];
    let by_id = |target: i32| {
        json!({
            "InferenceRecommendationsJobName": "demo",
            "RecommendationId": best["RecommendationId"],
            "TargetCpuUtilizationPerCore": target,
        })
    };
    let operation = "GetScalingConfigurationRecommendation";
    let scaled = bench.ok(operation, by_id(40)).await;
    // 1200 + (2400 − 1200) · (40 − 25) / (50 − 25)
    assert_eq!(scaled["Metric"]["InvocationsPerInstance"], 1920);
    let mut by_endpoint = by_id(40);
    by_endpoint["RecommendationId"] = Value::Null;
    by_endpoint["EndpointName"] = best["EndpointConfiguration"]["EndpointName"].clone();
    let again = bench.ok(operation, by_endpoint).await;
    assert_eq!(again["DynamicScalingConfiguration"], scaled["DynamicScalingConfiguration"]);
    let (code, message) = bench.refused(operation, by_id(60)).await;
    assert_eq!(code, "ValidationException");
    assert!(message.contains("outside of what was measured"), "{message}");
    let mut nobody = by_id(40);
    nobody["RecommendationId"] = json!("demo/00000000");
    assert_eq!(bench.refused(operation, nobody).await.0, "ResourceNotFound");
}

#[tokio::test]
async fn lists_are_filtered_sorted_and_paged() {
    let bench = Bench::start().await;
    bench.coordinator.create(job_spec("by-assay", &["ml.c5.large"])).await.unwrap();
    for name in ["b", "a", "c"] {
        bench.create(name).await;
    }
    bench.ok("StopInferenceRecommendationsJob", json!({"JobName": "a"})).await;
    bench.reaches("a", "STOPPED").await;
    assert_eq!(bench.names(json!({})).await, ["c", "a", "b", "by-assay"]);
    let by_name = json!({"SortBy": "Name", "SortOrder": "Ascending"});
    assert_eq!(bench.names(by_name).await, ["a", "b", "by-assay", "c"]);
    assert_eq!(bench.names(json!({"StatusEquals": "STOPPED"})).await, ["a"]);
    assert_eq!(bench.names(json!({"NameContains": "by-"})).await, ["by-assay"]);
    assert_eq!(bench.names(json!({"ModelNameEquals": "m"})).await, ["c", "a", "b"]);
    assert!(bench.names(json!({"ModelNameEquals": "other"})).await.is_empty());
    let created = bench.describe("b").await["CreationTime"].as_f64().unwrap();
    let before = json!({"CreationTimeBefore": created});
    assert_eq!(bench.names(before).await, ["by-assay"]);

    let (mut seen, mut token) = (Vec::new(), Value::Null);
    loop {
        let mut request = json!({"MaxResults": 1, "SortBy": "Status", "SortOrder": "Ascending"});
        if token.is_string() {
            request["NextToken"] = token;
        }
        let page = bench.ok("ListInferenceRecommendationsJobs", request).await;
        seen.push(page["InferenceRecommendationsJobs"][0]["JobName"].as_str().unwrap().to_owned());
        token = page["NextToken"].clone();
        if token.is_null() {
            break;
        }
    }
    assert_eq!(seen.len(), 4);
    assert_eq!(seen.last().unwrap(), "a", "STOPPED sorts behind PENDING");
}

#[tokio::test]
async fn an_empty_model_cannot_be_uploaded_as_one() {
    let bench = Bench::start().await;
    let mut spec = job_spec("empty", &["ml.c5.large"]);
    let model = assay_measure::trial::ArtifactRef::awaited("model.pt");
    spec.subject = assay_measure::job::JobSubject::Model { model };
    let refused = bench.coordinator.create(spec).await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::InvalidArgument);
    assert!(refused.message().contains("is empty"), "{}", refused.message());
}
