//! What earlier jobs tell about a model.

use std::time::Duration;

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
    while bench.describe("demo").await["Status"] != "COMPLETED" {
        let next = tokio::time::timeout(Duration::from_millis(200), agent.expect_start()).await;
        if let Ok(start) = next {
            agent.finish(&held(&start), measured()).await;
        }
    }
    bench
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
