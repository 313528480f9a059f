//! The environment that a model's container brings along, and other ways to serve a packaged model.

use serde_json::{Value, json};

use crate::tests::{
    aws_jobs::Bench,
    support::{FakeAgent, held, measured},
};

const CREATE: &str = "CreateInferenceRecommendationsJob";

async fn create_model(bench: &Bench, name: &str, environment: Value) {
    let container = json!({
        "Image": "i", "ModelDataUrl": bench.file("model.pt"), "Environment": environment,
    });
    bench.ok("CreateModel", json!({"ModelName": name, "PrimaryContainer": container})).await;
}

/// A load test of `model` on one instance type.
fn load_test(bench: &Bench, name: &str, model: &str, configurations: Value) -> Value {
    let mut request = bench.request(name);
    request["JobType"] = json!("Advanced");
    request["InputConfig"]["ModelName"] = json!(model);
    request["InputConfig"]["EndpointConfigurations"] = configurations;
    request
}

fn parameters(found: &Value) -> Vec<String> {
    let parameters = found["ModelConfiguration"]["EnvironmentParameters"].as_array().unwrap();
    let text = |one: &Value| {
        format!("{}={}", one["Key"].as_str().unwrap(), one["Value"].as_str().unwrap())
    };
    parameters.iter().map(text).collect()
}

#[tokio::test]
async fn the_environment_of_the_container_reaches_the_host_and_a_range_wins_over_it() {
    let bench = Bench::start().await;
    let mut agent = FakeAgent::attach(&bench.coordinator, "a").await;
    let own = json!({
        "LABELS": "cat,dog", "KMP_BLOCKTIME": "0", "TS_DEFAULT_WORKERS_PER_MODEL": "2",
        "LD_PRELOAD": "/tmp/x.so",
    });
    create_model(&bench, "labelled", own).await;
    let ranges = json!({"CategoricalParameterRanges": [{"Name": "KMP_BLOCKTIME", "Value": ["1"]}]});
    let configurations = json!([
        {"InstanceType": "ml.c5.large"},
        {"InstanceType": "ml.c5.large", "EnvironmentParameterRanges": ranges},
    ]);
    bench.ok(CREATE, load_test(&bench, "demo", "labelled", configurations)).await;
    for blocktime in ["0", "1"] {
        let start = agent.expect_start().await;
        let configuration = start.spec.as_ref().unwrap().configuration.as_ref().unwrap();
        assert_eq!(configuration.workers, 2, "the model says so");
        let mut variables: Vec<_> = configuration.environment.clone().into_iter().collect();
        variables.sort();
        let expected =
            [("KMP_BLOCKTIME", blocktime), ("LABELS", "cat,dog"), ("LD_PRELOAD", "/tmp/x.so")];
        assert_eq!(variables, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
        agent.finish(&held(&start), measured()).await;
    }
    let job = bench.reaches("demo", "COMPLETED").await;
    let found = job["InferenceRecommendations"].as_array().unwrap();
    assert_eq!(found.len(), 2);
    let log = json!({
        "logGroupName": "/aws/sagemaker/InferenceRecommendationsJobs",
        "logStreamName": "demo/execution", "startFromHead": true,
    });
    let log = bench.ok("GetLogEvents", log).await.to_string();
    assert!(log.contains("KMP_BLOCKTIME reach the model host"), "{log}");
    assert!(
        log.contains("LABELS, LD_PRELOAD are recorded and not set for the model host"),
        "{log}"
    );
    assert!(log.contains("TS_DEFAULT_WORKERS_PER_MODEL set it where"), "{log}");
}

#[tokio::test]
async fn what_the_model_brings_along_is_not_repeated_as_something_to_set() {
    let bench = Bench::start().await;
    let mut agent = FakeAgent::attach(&bench.coordinator, "a").await;
    create_model(&bench, "labelled", json!({"LABELS": "cat", "TS_DEFAULT_WORKERS_PER_MODEL": "2"}))
        .await;
    let configurations = json!([{"InstanceType": "ml.c5.large"}]);
    bench.ok(CREATE, load_test(&bench, "demo", "labelled", configurations)).await;
    let start = agent.expect_start().await;
    let steps = bench.ok("ListInferenceRecommendationsJobSteps", json!({"JobName": "demo"})).await;
    assert_eq!(
        parameters(&steps["Steps"][0]["InferenceBenchmark"]),
        ["TS_DEFAULT_WORKERS_PER_MODEL=2", "OMP_NUM_THREADS=1"]
    );
    agent.finish(&held(&start), measured()).await;
    bench.reaches("demo", "COMPLETED").await;
}

#[tokio::test]
async fn an_environment_with_a_value_that_is_none_is_refused_with_its_name() {
    let bench = Bench::start().await;
    let configurations = json!([{"InstanceType": "ml.c5.large"}]);
    for (name, value, part) in [
        ("TS_DEFAULT_WORKERS_PER_MODEL", "0", "a whole number from 1 to 1024"),
        ("OMP_NUM_THREADS", "auto", "a whole number from 1 to 1024"),
    ] {
        let model = name.replace('_', "-");
        create_model(&bench, &model, json!({name: value})).await;
        let request = load_test(&bench, "demo", &model, configurations.clone());
        let (code, message) = bench.refused(CREATE, request).await;
        assert_eq!(code, "ValidationException");
        let told = message.contains("Environment of the model's container");
        assert!(told && message.contains(name) && message.contains(part), "{message}");
    }
}

#[tokio::test]
async fn a_range_over_a_variable_that_makes_no_difference_is_refused_with_its_name() {
    let bench = Bench::start().await;
    create_model(&bench, "bare", json!({"COLOUR": "red"})).await;
    for name in ["COLOUR", "LD_PRELOAD"] {
        let ranges =
            json!({"CategoricalParameterRanges": [{"Name": name, "Value": ["blue", "green"]}]});
        let configurations =
            json!([{"InstanceType": "ml.c5.large", "EnvironmentParameterRanges": ranges}]);
        let (code, message) =
            bench.refused(CREATE, load_test(&bench, "demo", "bare", configurations)).await;
        assert_eq!(code, "ValidationException");
        assert!(message.contains(&format!("{name} cannot be varied")), "{message}");
    }
}

/// A package with a specification of its own, one with other variables, and one with another model.
async fn create_package(bench: &Bench) -> Value {
    let container = |model: Value, environment: Value| json!([{"Image": "i", "ModelDataUrl": model, "Environment": environment}]);
    let file = json!(bench.file("model.pt"));
    let other = json!(bench.file("other.pt"));
    let additional = json!([
        {"Name": "two-workers", "Containers":
            container(file.clone(), json!({"SAGEMAKER_MODEL_SERVER_WORKERS": "2"}))},
        {"Name": "bare", "Containers": [{"Image": "i"}]},
        {"Name": "other-model", "Containers": container(other, json!({}))},
    ]);
    let package = json!({
        "ModelPackageName": "p",
        "SamplePayloadUrl": bench.file("payload.tar.gz"),
        "InferenceSpecification": {"Containers": container(file, json!({"LABELS": "cat"}))},
        "AdditionalInferenceSpecifications": additional,
    });
    bench.ok("CreateModelPackage", package).await["ModelPackageArn"].clone()
}

fn of_package(bench: &Bench, name: &str, arn: &Value, configurations: Value) -> Value {
    let mut request = bench.request(name);
    request["JobType"] = json!("Advanced");
    request["InputConfig"] =
        json!({"ModelPackageVersionArn": arn, "EndpointConfigurations": configurations});
    // Too short for a race of quick trials before the full ones.
    request["InputConfig"]["JobDurationInSeconds"] = json!(60);
    request
}

#[tokio::test]
async fn a_configuration_is_measured_by_the_inference_specification_that_it_names() {
    let bench = Bench::start().await;
    let mut agent = FakeAgent::attach(&bench.coordinator, "a").await;
    let arn = create_package(&bench).await;
    let by =
        |name: &str| json!({"InstanceType": "ml.c5.large", "InferenceSpecificationName": name});
    let configurations = json!([by("two-workers"), {"InstanceType": "ml.c5.large"}, by("bare")]);
    bench.ok(CREATE, of_package(&bench, "demo", &arn, configurations)).await;
    let expected: [(u32, &[&str]); 3] = [(2, &[]), (1, &["LABELS"]), (1, &[])];
    for (workers, variables) in expected {
        let start = agent.expect_start().await;
        let configuration = start.spec.as_ref().unwrap().configuration.as_ref().unwrap();
        assert_eq!(configuration.workers, workers);
        assert_eq!(configuration.environment.keys().collect::<Vec<_>>(), variables);
        agent.finish(&held(&start), measured()).await;
    }
    let job = bench.reaches("demo", "COMPLETED").await;
    let found = job["InferenceRecommendations"].as_array().unwrap();
    let mut names: Vec<&str> = found
        .iter()
        .map(|one| one["ModelConfiguration"]["InferenceSpecificationName"].as_str().unwrap_or("-"))
        .collect();
    names.sort_unstable();
    assert_eq!(names, ["-", "bare", "two-workers"]);
    let mut ids: Vec<_> = found.iter().map(|one| one["RecommendationId"].to_string()).collect();
    ids.dedup();
    assert_eq!(ids.len(), 3, "each has an id of its own: {ids:?}");
}

#[tokio::test]
async fn a_specification_that_is_not_there_or_is_of_another_model_is_refused() {
    let bench = Bench::start().await;
    let arn = create_package(&bench).await;
    for (name, part) in [
        ("nobody", "has no additional inference specification \"nobody\""),
        ("other-model", "other-model has another ModelDataUrl than the model package"),
    ] {
        let configurations =
            json!([{"InstanceType": "ml.c5.large", "InferenceSpecificationName": name}]);
        let request = of_package(&bench, "demo", &arn, configurations);
        let (code, message) = bench.refused(CREATE, request).await;
        assert_eq!(code, "ValidationException");
        assert!(message.contains(part), "{message}");
    }
}
