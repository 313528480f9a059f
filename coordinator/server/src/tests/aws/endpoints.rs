//! Jobs on endpoints that exist already: the agent that offers one loads it, and nobody gives it an address.

use assay_measure::{job::JobSubject, outcome::TrialOutcome};
use assay_proto::v1::{self, JobStatus, trial_spec::Work};
use serde_json::{Value, json};
use tonic::Code;

use crate::tests::{
    aws_jobs::Bench,
    support::{FakeAgent, held, job_spec, measured, registration},
};

const CREATE: &str = "CreateInferenceRecommendationsJob";

fn offering(name: &str, endpoints: &[&str]) -> v1::Register {
    let endpoints = endpoints.iter().map(|name| (*name).to_owned()).collect();
    v1::Register { endpoints, ..registration(name) }
}

async fn attach(bench: &Bench, name: &str, endpoints: &[&str]) -> FakeAgent {
    FakeAgent::attach_as(&bench.coordinator, offering(name, endpoints)).await.unwrap()
}

/// What an agent measures from outside.
fn measured_from_outside() -> TrialOutcome {
    let TrialOutcome::Measured(mut measurement) = measured() else { unreachable!() };
    measurement.configuration = None;
    TrialOutcome::Measured(measurement)
}

/// A load test of the endpoint alone. Its model has no data anywhere.
async fn load_test(bench: &Bench, name: &str) -> Value {
    let container = json!({"Image": "i", "ModelDataUrl": bench.file("nothing.pt")});
    bench.ok("CreateModel", json!({"ModelName": "gone", "PrimaryContainer": container})).await;
    let mut request = bench.request(name);
    request["JobType"] = json!("Advanced");
    request["InputConfig"]["ModelName"] = json!("gone");
    request["InputConfig"]["JobDurationInSeconds"] = json!(1000);
    request["InputConfig"]["Endpoints"] = json!([{"EndpointName": "mine"}]);
    request["InputConfig"]["TrafficPattern"] = json!({"TrafficType": "STAIRS",
        "Stairs": {"DurationInSeconds": 240, "NumberOfSteps": 2, "UsersPerStep": 2}});
    request
}

fn performance() -> Value {
    json!([{
        "Metrics": {"MaxInvocations": 2400, "ModelLatency": 27_000},
        "EndpointInfo": {"EndpointName": "mine"},
    }])
}

#[tokio::test]
async fn a_default_job_measures_the_endpoint_beside_the_model_and_both_lists_are_there() {
    let bench = Bench::start().await;
    let mut agent = attach(&bench, "a", &["other", "mine"]).await;
    let mut request = bench.request("demo");
    request["InputConfig"]["Endpoints"] = json!([{"EndpointName": "mine"}]);
    bench.ok(CREATE, request.clone()).await;
    let start = agent.expect_start().await;
    let spec = start.spec.as_ref().unwrap();
    assert_eq!(spec.endpoint.as_deref(), Some("mine"));
    assert!(spec.model.is_none() && spec.configuration.is_none() && spec.emulated.is_none());
    assert_eq!(spec.instance_type, "local", "the agent's own");
    assert!(spec.payload.as_ref().unwrap().is_archive);
    agent.step(&held(&start), 0).await;
    agent.finish(&held(&start), measured_from_outside()).await;
    // The configurations of the model follow.
    for _ in 0..4 {
        let start = agent.expect_start().await;
        assert!(start.spec.as_ref().unwrap().model.is_some());
        agent.finish(&held(&start), measured()).await;
    }
    let job = bench.reaches("demo", "COMPLETED").await;
    assert_eq!(job["EndpointPerformances"], performance());
    assert_eq!(job["InputConfig"], request["InputConfig"]);
    let found = job["InferenceRecommendations"].as_array().unwrap();
    assert_eq!(found.len(), 4, "the endpoint is no recommendation: {found:?}");
    assert!(found.iter().all(|one| one["EndpointConfiguration"]["EndpointName"] != "mine"));

    let steps = bench.ok("ListInferenceRecommendationsJobSteps", json!({"JobName": "demo"})).await;
    let benchmark = &steps["Steps"][0]["InferenceBenchmark"];
    assert_eq!(benchmark["EndpointConfiguration"]["EndpointName"], "mine");
    assert_eq!(benchmark["EndpointMetrics"], performance()[0]["Metrics"]);
    let stream = json!({
        "logGroupName": "/aws/sagemaker/InferenceRecommendationsJobs",
        "logStreamName": "demo/Endpoint/mine", "startFromHead": true,
    });
    let log = bench.ok("GetLogEvents", stream).await.to_string();
    assert!(log.contains("Load test of mine by agent a began") && log.contains("Step 0"), "{log}");
    assert!(!log.contains("created") && !log.contains("deleted"), "it was there before: {log}");
}

#[tokio::test]
async fn a_load_test_of_an_endpoint_takes_its_traffic_and_no_file_of_a_model() {
    let bench = Bench::start().await;
    let mut agent = attach(&bench, "a", &["mine"]).await;
    let mut request = load_test(&bench, "demo").await;
    request["StoppingConditions"] = json!({
        "MaxInvocations": 500, "FlatInvocations": "Continue",
        "ModelLatencyThresholds": [{"Percentile": "P99", "ValueInMilliseconds": 100}],
    });
    bench.ok(CREATE, request).await;
    let start = agent.expect_start().await;
    let Some(Work::Stepped(load)) = &start.spec.as_ref().unwrap().work else { panic!("{start:?}") };
    assert_eq!(load.phases.len(), 2);
    let stopping = load.stopping.as_ref().unwrap();
    assert_eq!(
        (stopping.latency.as_slice(), &*stopping.flat_invocations),
        (&["p99<=100ms".to_owned()][..], "continue")
    );
    assert!(stopping.max_invocations_per_s.is_some());
    Bench::report_curve(&mut agent, &held(&start)).await;
    agent.finish(&held(&start), measured_from_outside()).await;
    let job = bench.reaches("demo", "COMPLETED").await;
    // The percentile of the threshold.
    assert_eq!(job["EndpointPerformances"][0]["Metrics"]["ModelLatency"], 28_000);
    assert!(job.get("InferenceRecommendations").is_none(), "{job}");
    assert_eq!(bench.coordinator.job("demo").await.endpoint.as_deref(), Some("mine"));
    let described = bench.ok("DescribeModel", json!({"ModelName": "gone"})).await;
    let instant = &described["DeploymentRecommendation"]["RecommendationStatus"];
    assert_eq!(instant, "NOT_APPLICABLE", "nothing was measured of the model");
    let scaling = |endpoint: &str| json!({"InferenceRecommendationsJobName": "demo", "EndpointName": endpoint, "TargetCpuUtilizationPerCore": 40});
    let operation = "GetScalingConfigurationRecommendation";
    let scaled = bench.ok(operation, scaling("mine")).await;
    assert_eq!(scaled["Metric"]["InvocationsPerInstance"], 1920);
    assert_eq!(bench.refused(operation, scaling("other")).await.0, "ResourceNotFound");
}

#[tokio::test]
async fn an_endpoint_that_nobody_offers_is_refused_in_awss_words() {
    let bench = Bench::start().await;
    let _agent = attach(&bench, "a", &["other"]).await;
    // Twice: what was refused leaves its name free.
    for _ in 0..2 {
        let mut request = bench.request("demo");
        request["InputConfig"]["Endpoints"] = json!([{"EndpointName": "mine"}]);
        let (code, message) = bench.refused(CREATE, request).await;
        assert_eq!(code, "ValidationException");
        assert_eq!(
            message,
            "Could not find endpoint \"mine\": no agent offers endpoint mine; offered are other."
        );
    }
    let mut spec = job_spec("direct", &["ml.c5.large"]);
    spec.subject = JobSubject::Endpoint { endpoint: "mine".parse().unwrap() };
    let refused = bench.coordinator.create(spec).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    assert!(refused.message().contains("--endpoint mine="), "{}", refused.message());
}

#[tokio::test]
async fn an_endpoint_that_cannot_be_measured_fails_its_job_with_the_reason() {
    let bench = Bench::start().await;
    let mut agent = attach(&bench, "a", &["mine"]).await;
    bench.ok(CREATE, load_test(&bench, "demo").await).await;
    let start = agent.expect_start().await;
    let failure = assay_measure::outcome::Failure::new(
        assay_measure::outcome::FailureKind::EndpointUnavailable,
        "cannot connect to 127.0.0.1:8080".to_owned(),
        String::new(),
    );
    agent.finish(&held(&start), TrialOutcome::Failed(failure)).await;
    let job = bench.reaches("demo", "FAILED").await;
    assert!(job["FailureReason"].as_str().unwrap().contains("cannot connect to 127.0.0.1:8080"));
    assert!(job.get("EndpointPerformances").is_none(), "{job}");
    let steps = bench.ok("ListInferenceRecommendationsJobSteps", json!({"JobName": "demo"})).await;
    let reason = &steps["Steps"][0]["InferenceBenchmark"]["FailureReason"];
    assert!(reason.as_str().unwrap().contains("cannot connect"), "{steps}");
}

#[tokio::test]
async fn a_job_waits_for_whoever_offers_its_endpoint_again() {
    let mut bench = Bench::start().await;
    let agent = attach(&bench, "a", &["mine"]).await;
    let drain = v1::DrainAgentRequest { name: "a".to_owned(), draining: true };
    bench.coordinator.fleet().await.drain_agent(drain).await.unwrap();
    bench.ok(CREATE, load_test(&bench, "demo").await).await;
    while bench.coordinator.job("demo").await.trials_total == 0 {
        tokio::task::yield_now().await;
    }
    drop(agent);
    bench.coordinator.restart().await;
    // It comes back under another name for its endpoint.
    let _renamed = attach(&bench, "a", &["renamed"]).await;
    let job = bench.coordinator.job("demo").await;
    assert_eq!(job.status(), JobStatus::Pending);
    assert_eq!(job.reason, "no agent can measure endpoint mine on local");
    let mut other = attach(&bench, "b", &["mine"]).await;
    let start = other.expect_start().await;
    assert_eq!(start.spec.unwrap().endpoint.as_deref(), Some("mine"));
}

#[tokio::test]
async fn the_trial_of_an_agent_that_is_lost_goes_to_another_that_offers_the_endpoint() {
    let bench = Bench::start().await;
    let mut first = attach(&bench, "a", &["mine"]).await;
    bench.ok(CREATE, load_test(&bench, "demo").await).await;
    let start = first.expect_start().await;
    // It comes back without the trial, and without the endpoint.
    drop(first);
    let mut second = attach(&bench, "b", &["mine"]).await;
    let back = loop {
        match FakeAgent::attach_as(&bench.coordinator, offering("a", &[])).await {
            Ok(back) => break back,
            Err(status) => assert_eq!(status.code(), Code::AlreadyExists),
        }
        tokio::task::yield_now().await;
    };
    back.say(v1::agent_message::Message::TrialDeclined(v1::TrialDeclined {
        trial_id: start.spec.as_ref().unwrap().id.clone(),
        lease_token: start.lease_token.clone(),
        reason: "started anew".to_owned(),
    }))
    .await;
    let again = second.expect_start().await;
    assert_eq!(again.spec.as_ref().unwrap().id, "demo/1");
    assert_ne!(again.lease_token, start.lease_token);
    second.finish(&held(&again), measured_from_outside()).await;
    assert_eq!(
        bench.reaches("demo", "COMPLETED").await["EndpointPerformances"][0]["EndpointInfo"]["EndpointName"],
        "mine"
    );
}

#[tokio::test]
async fn what_an_agent_offers_is_listed_and_what_is_no_name_is_refused() {
    let mut bench = Bench::start().await;
    let many: Vec<String> = (0..33).map(|number| format!("e{number}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    for (endpoints, part) in [
        (&["http://10.0.0.1/"][..], "not a valid endpoint name"),
        (&["-a"], "not a valid endpoint name"),
        (&many, "at most 32"),
    ] {
        let register = offering("a", endpoints);
        let refused = FakeAgent::attach_as(&bench.coordinator, register).await.err().unwrap();
        assert_eq!(refused.code(), Code::InvalidArgument);
        assert!(refused.message().contains(part), "{}", refused.message());
    }
    drop(attach(&bench, "a", &["two", "one"]).await);
    // It is remembered with the agent.
    bench.coordinator.restart().await;
    let mut fleet = bench.coordinator.fleet().await;
    let listed = fleet.list_agents(v1::ListAgentsRequest {}).await.unwrap().into_inner();
    assert_eq!(listed.agents[0].endpoints, ["one", "two"]);
}
