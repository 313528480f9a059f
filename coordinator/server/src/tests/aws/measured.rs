//! What earlier jobs tell about a model.

use std::{collections::BTreeSet, time::Duration};

use serde_json::{Value, json};

use crate::tests::{
    aws_jobs::Bench,
    support::{FakeAgent, held, measured},
};

/// A bench with one completed job on the model `m`.
async fn with_completed_job(change: impl FnOnce(&mut Value)) -> Bench {
    let bench = Bench::start().await;
    let mut agent = FakeAgent::attach(&bench.coordinator, "a").await;
    let mut request = bench.request("demo");
    change(&mut request);
    bench.ok("CreateInferenceRecommendationsJob", request).await;
    complete(&bench, &mut agent, "demo").await;
    bench
}

/// Measures whatever a job still tries.
async fn complete(bench: &Bench, agent: &mut FakeAgent, job: &str) {
    while bench.describe(job).await["Status"] != "COMPLETED" {
        let next = tokio::time::timeout(Duration::from_millis(200), agent.expect_start()).await;
        if let Ok(start) = next {
            agent.finish(&held(&start), measured()).await;
        }
    }
}

/// The ids of a job's recommendations without the job.
async fn words(bench: &Bench, job: &str) -> BTreeSet<String> {
    let described = bench.describe(job).await;
    let found = described["InferenceRecommendations"].as_array().unwrap();
    let word = |one: &Value| {
        let (owner, word) = one["RecommendationId"].as_str().unwrap().split_once('/').unwrap();
        assert_eq!(owner, job);
        word.to_owned()
    };
    found.iter().map(word).collect()
}

async fn recommended(bench: &Bench, model: &str) -> Value {
    let described = bench.ok("DescribeModel", json!({"ModelName": model})).await;
    described["DeploymentRecommendation"].clone()
}

#[tokio::test]
async fn a_model_with_the_data_of_a_measured_one_is_recommended_for_at_once() {
    let bench = with_completed_job(|_| {}).await;
    let model = |name: &str, url: String| json!({"ModelName": name, "PrimaryContainer": {"Image": "i", "ModelDataUrl": url}});
    bench.ok("CreateModel", model("same", bench.file("model.pt"))).await;
    bench.ok("CreateModel", model("other", bench.file("other.pt"))).await;
    let found = recommended(&bench, "same").await;
    assert_eq!(found["RecommendationStatus"], "COMPLETED");
    let all = found["RealTimeInferenceRecommendations"].as_array().unwrap();
    assert!((1..=3).contains(&all.len()), "{found}");
    assert_eq!(all[0]["InstanceType"], "ml.c5.large");
    assert!(all[0]["Environment"]["OMP_NUM_THREADS"].is_string(), "{found}");
    let job = bench.describe("demo").await;
    let id = job["InferenceRecommendations"][0]["RecommendationId"].as_str().unwrap().to_owned();
    assert_eq!(all[0]["RecommendationId"], json!(id.replace("demo/", "same/")));
    assert_eq!(
        recommended(&bench, "other").await,
        json!({"RecommendationStatus": "NOT_APPLICABLE"})
    );
}

#[tokio::test]
async fn measured_models_are_listed_as_their_requests_described_them() {
    let bench = with_completed_job(|request| {
        let container = &mut request["InputConfig"]["ContainerConfig"];
        container["Domain"] = json!("COMPUTER_VISION");
        container["NearestModelName"] = json!("resnet18");
    })
    .await;
    let listed = json!({
        "ModelMetadataSummaries": [{
            "Domain": "COMPUTER_VISION",
            "Framework": "PYTORCH",
            "FrameworkVersion": "2.11",
            "Model": "resnet18",
            "Task": "OTHER",
        }],
    });
    let filter = |name: &str, value: &str| json!({"SearchExpression": {"Filters": [{"Name": name, "Value": value}]}});
    for request in [json!({}), filter("Domain", "COMPUTER_VISION"), filter("Framework", "PYTORCH")]
    {
        assert_eq!(bench.ok("ListModelMetadata", request).await, listed);
    }
    let none = bench.ok("ListModelMetadata", filter("Task", "IMAGE_CLASSIFICATION")).await;
    assert_eq!(none, json!({"ModelMetadataSummaries": []}));
}

#[tokio::test]
async fn a_recommendation_keeps_its_id_while_a_full_trial_replaces_the_quick_one() {
    let bench = Bench::start().await;
    let mut agent = FakeAgent::attach(&bench.coordinator, "a").await;
    bench.ok("CreateInferenceRecommendationsJob", bench.request("quick")).await;
    complete(&bench, &mut agent, "quick").await;
    let quick = words(&bench, "quick").await;
    assert_eq!(quick.len(), 4, "two numbers of workers, the graph both ways");

    // Long enough for a race: four quick trials, then the full one of the leader.
    let mut request = bench.request("race");
    request["InputConfig"]["JobDurationInSeconds"] = json!(1200);
    bench.ok("CreateInferenceRecommendationsJob", request).await;
    for _ in 0..quick.len() {
        let quick_one = held(&agent.expect_start().await);
        agent.finish(&quick_one, measured()).await;
    }
    let full = agent.expect_start().await;
    assert_eq!(full.spec.as_ref().unwrap().id, "race/5");
    for word in &quick {
        // It is known by then; that nothing was reported step by step is another matter.
        let scaling = json!({
            "InferenceRecommendationsJobName": "race",
            "RecommendationId": format!("race/{word}"),
        });
        let operation = "GetScalingConfigurationRecommendation";
        assert_eq!(bench.refused(operation, scaling).await.0, "ValidationException", "{word}");
    }
    agent.finish(&held(&full), measured()).await;
    complete(&bench, &mut agent, "race").await;
    assert_eq!(words(&bench, "race").await, quick);
}
