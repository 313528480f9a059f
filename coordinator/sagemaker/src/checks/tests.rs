use serde_json::{Value, json};

use super::*;
use crate::{operation::Operation, request::Request};

const ROLE: &str = "arn:aws:iam::123456789012:role/assay";
const PACKAGE: &str = "arn:aws:sagemaker:us-east-1:123456789012:model-package/resnet/1";

fn job_document() -> Value {
    json!({
        "JobName": "demo", "JobType": "Advanced", "RoleArn": ROLE,
        "InputConfig": {"ModelPackageVersionArn": PACKAGE},
    })
}

/// The job with these members of the input added; null removes one.
fn with_input(members: &Value) -> Value {
    let mut document = job_document();
    let input = document["InputConfig"].as_object_mut().unwrap();
    input.extend(members.as_object().unwrap().clone());
    document
}

fn read(operation: Operation, document: &Value) -> Result<Request, ApiError> {
    Request::read(operation, document.to_string().as_bytes())
}

fn told(operation: Operation, document: &Value) -> String {
    read(operation, document).map_or_else(|error| error.message, |_| "accepted".to_owned())
}

fn read_job(document: &Value) -> CreateInferenceRecommendationsJobRequest {
    match read(Operation::CreateInferenceRecommendationsJob, document) {
        Ok(Request::CreateInferenceRecommendationsJob(request)) => *request,
        other => panic!("{other:?}"),
    }
}

fn refusal(document: &Value) -> String {
    told(Operation::CreateInferenceRecommendationsJob, document)
}

#[test]
fn the_rules_between_members_of_a_job() {
    let container = json!({"PayloadConfig": {"SamplePayloadUrl": "s3://bucket/payload.tar.gz"}});
    let endpoints = |endpoints: Value| with_input(&json!({"EndpointConfigurations": endpoints}));
    let serverless = json!({"MemorySizeInMB": 2048, "MaxConcurrency": 1});
    for (document, expected) in [
        (job_document(), "accepted"),
        (with_input(&json!({"ModelName": "m"})), "not both"),
        (
            with_input(&json!({"ModelPackageVersionArn": null})),
            "ModelPackageVersionArn or ModelName.",
        ),
        (
            with_input(&json!({"ModelPackageVersionArn": null, "ModelName": "m"})),
            "ContainerConfig must be specified together with ModelName",
        ),
        (
            with_input(
                &json!({"ModelPackageVersionArn": null, "ModelName": "m", "ContainerConfig": container}),
            ),
            "accepted",
        ),
        (
            with_input(&json!({"ContainerConfig": {"SupportedEndpointType": "Serverless"}})),
            "Serverless endpoints cannot be measured here",
        ),
        (
            with_input(
                &json!({"ContainerConfig": {"SupportedInstanceTypes": ["ml.c5.large", "ml.t2.medium"]}}),
            ),
            "Burstable instance type ml.t2.medium is not allowed",
        ),
        (
            with_input(&json!({"ContainerConfig": {"SupportedInstanceTypes": ["../x"]}})),
            "\"../x\" is not the name of an instance type",
        ),
        (endpoints(json!([{"InstanceType": "onprem.h200"}])), "accepted"),
        (endpoints(json!([{}])), "either InstanceType or ServerlessConfig."),
        (
            endpoints(json!([{"InstanceType": "ml.c5.large", "ServerlessConfig": serverless}])),
            "either InstanceType or ServerlessConfig, not both",
        ),
        (endpoints(json!([{"ServerlessConfig": serverless}])), "specify InstanceType instead"),
        (
            endpoints(json!([{"InstanceType": "ml.t2.large"}])),
            "Burstable instance type ml.t2.large",
        ),
        (
            endpoints(json!([{"InstanceType": "ml.c5.large", "EnvironmentParameterRanges": {
                "CategoricalParameterRanges": [{"Name": "A", "Value": ["1", "1"]}]}}])),
            "A has the value \"1\" twice",
        ),
        (with_input(&json!({"Endpoints": [{}]})), "EndpointName must be specified"),
        (with_input(&json!({"Endpoints": [{"EndpointName": "mine"}]})), "accepted"),
        (
            with_input(&json!({"Endpoints": [{"EndpointName": "a"}, {"EndpointName": "b"}]})),
            "less than or equal to 1",
        ),
        (
            with_input(
                &json!({"Endpoints": [{"EndpointName": "mine"}], "EndpointConfigurations": [{"InstanceType": "ml.c5.large"}]}),
            ),
            "either Endpoints or EndpointConfigurations, not both",
        ),
    ] {
        let found = refusal(&document);
        assert!(found.contains(expected), "{document}: {found}");
    }
}

#[test]
fn traffic_thresholds_and_tags_of_a_job() {
    let traffic = json!({"TrafficPattern": {"TrafficType": "STAIRS"}});
    assert!(refusal(&with_input(&traffic)).contains("Stairs must be specified"));
    let mut default = with_input(&traffic);
    default["JobType"] = json!("Default");
    assert!(refusal(&default).contains("jobs of type Advanced only"));
    let mut threshold = job_document();
    threshold["StoppingConditions"] = json!({"ModelLatencyThresholds": [{"Percentile": "P95"}]});
    assert!(refusal(&threshold).contains("ValueInMilliseconds must be specified"));
    let mut tagged = job_document();
    tagged["Tags"] = json!([{"Key": "a", "Value": ""}, {"Key": "a", "Value": "b"}]);
    assert!(refusal(&tagged).contains("the key \"a\" is given twice"));
    let arn = "arn:aws:sagemaker:us-east-1:123456789012:model/m";
    let added = json!({"ResourceArn": arn, "Tags": tagged["Tags"]});
    assert!(told(Operation::AddTags, &added).contains("is given twice"));
    let group = json!({"ModelPackageGroupName": "g", "Tags": tagged["Tags"]});
    assert!(told(Operation::CreateModelPackageGroup, &group).contains("is given twice"));
}

#[test]
fn nothing_is_passed_over_in_silence() {
    let mut document = with_input(&json!({
        "VolumeKmsKeyId": "key",
        "VpcConfig": {"SecurityGroupIds": ["sg-1"], "Subnets": ["subnet-1"]},
    }));
    document["OutputConfig"] = json!({"CompiledOutputConfig": {"S3OutputUri": "s3://bucket/out"}});
    document["StoppingConditions"] = json!({"FlatInvocations": "Stop"});
    let told = notices(&read_job(&document)).join("\n");
    for word in ["KMS", "VpcConfig", "compilation job skip reason", "FlatInvocations"] {
        assert!(told.contains(word), "{word}: {told}");
    }
    assert!(notices(&read_job(&job_document())).is_empty());
}

#[test]
fn the_rules_between_members_of_a_model() {
    let image = json!({"Image": "image"});
    for (members, expected) in [
        (json!({"PrimaryContainer": image}), "accepted"),
        (json!({"PrimaryContainer": image, "Containers": []}), "accepted"),
        (json!({"Containers": [image]}), "accepted"),
        (json!({"PrimaryContainer": image, "Containers": [image]}), "not both"),
        (json!({}), "PrimaryContainer or Containers."),
        (json!({"PrimaryContainer": {}}), "Image or ModelPackageName"),
        (
            json!({"PrimaryContainer": {"Image": "i", "ModelDataUrl": "s3://b/k", "ModelDataSource": {}}}),
            "either ModelDataUrl or ModelDataSource",
        ),
    ] {
        let mut document = json!({"ModelName": "m"});
        document.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
        let found = told(Operation::CreateModel, &document);
        assert!(found.contains(expected), "{members}: {found}");
    }
}

#[test]
fn the_rules_between_members_of_a_package_and_of_a_scaling_request() {
    let specification = json!({"Containers": [{"Image": "i"}]});
    for (document, expected) in [
        (
            json!({"ModelPackageGroupName": "g", "InferenceSpecification": specification}),
            "accepted",
        ),
        (json!({"InferenceSpecification": specification}), "Exactly one of ModelPackageName"),
        (
            json!({"ModelPackageGroupName": "g", "ModelPackageName": "p"}),
            "Exactly one of ModelPackageName",
        ),
        (json!({"ModelPackageName": "p"}), "InferenceSpecification must be specified"),
    ] {
        let found = told(Operation::CreateModelPackage, &document);
        assert!(found.contains(expected), "{document}: {found}");
    }
    let objective = |min: i32, max: i32| json!({"MinInvocationsPerMinute": min, "MaxInvocationsPerMinute": max});
    for (members, expected) in [
        (json!({"RecommendationId": "j/abcdefgh"}), "accepted"),
        (json!({}), "Exactly one of RecommendationId"),
        (json!({"RecommendationId": "j/abcdefgh", "EndpointName": "e"}), "Exactly one of"),
        (
            json!({"EndpointName": "e", "ScalingPolicyObjective": objective(2, 1)}),
            "must not be greater than MaxInvocationsPerMinute",
        ),
    ] {
        let mut document = json!({"InferenceRecommendationsJobName": "j"});
        document.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
        let found = told(Operation::GetScalingConfigurationRecommendation, &document);
        assert!(found.contains(expected), "{members}: {found}");
    }
}

#[test]
fn input_shapes_that_are_not_understood_are_refused_wherever_they_come_in() {
    let refused = |operation, document: Value| {
        let found = told(operation, &document);
        assert!(found.starts_with("DataInputConfig \"1x4\" is not understood"), "{found}");
        let understood = document.to_string().replace("1x4", "{'input0': [1,4]}");
        let understood = serde_json::from_str(&understood).unwrap();
        assert_eq!(told(operation, &understood), "accepted");
    };
    let container = json!({"Image": "i", "ModelInput": {"DataInputConfig": "1x4"}});
    let bad = json!({"Name": "small", "Containers": [container]});
    let own = json!({"Containers": [container]});
    let plain = json!({"Containers": [{"Image": "i"}]});
    refused(
        Operation::CreateModelPackage,
        json!({"ModelPackageName": "p", "InferenceSpecification": own}),
    );
    refused(
        Operation::CreateModelPackage,
        json!({
            "ModelPackageName": "p", "InferenceSpecification": plain,
            "AdditionalInferenceSpecifications": [bad],
        }),
    );
    refused(
        Operation::UpdateModelPackage,
        json!({"ModelPackageArn": PACKAGE, "InferenceSpecification": own}),
    );
    refused(
        Operation::UpdateModelPackage,
        json!({"ModelPackageArn": PACKAGE, "AdditionalInferenceSpecificationsToAdd": [bad]}),
    );
    refused(
        Operation::CreateInferenceRecommendationsJob,
        with_input(&json!({"ContainerConfig": {"DataInputConfig": "1x4"}})),
    );
}
