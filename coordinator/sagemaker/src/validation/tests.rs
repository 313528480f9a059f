use serde_json::json;

use super::*;

const ROLE: &str = "arn:aws:iam::123456789012:role/assay";
const PACKAGE: &str = "arn:aws:sagemaker:us-east-1:123456789012:model-package/resnet/1";

fn job() -> Value {
    json!({
        "JobName": "demo", "JobType": "Default", "RoleArn": ROLE,
        "InputConfig": {"ModelPackageVersionArn": PACKAGE},
    })
}

/// The job with the value at a path of members and indices; what is missing on the way is made.
fn job_with(path: &str, value: Value) -> Value {
    let mut document = job();
    let mut place = &mut document;
    for part in path.split('.') {
        place = match part.parse::<usize>() {
            Ok(index) => {
                if place.is_null() {
                    *place = json!([]);
                }
                let items = place.as_array_mut().unwrap();
                items.resize(items.len().max(index + 1), Value::Null);
                &mut items[index]
            }
            Err(_) => &mut place[part],
        };
    }
    *place = value;
    document
}

fn told(operation: Operation, document: &Value) -> String {
    check(operation, document).map_or_else(|error| error.message, |()| "accepted".to_owned())
}

fn told_of_job(path: &str, value: Value) -> String {
    told(Operation::CreateInferenceRecommendationsJob, &job_with(path, value))
}

#[test]
fn all_violations_are_told_at_once_in_awss_words() {
    let mut document = job();
    document["JobName"] = json!("a_b");
    document.as_object_mut().unwrap().remove("RoleArn");
    assert_eq!(
        told(Operation::CreateInferenceRecommendationsJob, &document),
        "2 validation errors detected: Value 'a_b' at 'jobName' failed to satisfy constraint: \
         Member must satisfy regular expression pattern: [a-zA-Z0-9](-*[a-zA-Z0-9]){0,63}; \
         Value null at 'roleArn' failed to satisfy constraint: Member must not be null"
    );
}

#[test]
fn a_deep_member_is_named_by_its_path() {
    assert_eq!(
        told_of_job("InputConfig.TrafficPattern.Phases.0.SpawnRate", json!(4)),
        "1 validation error detected: Value '4' at 'inputConfig.trafficPattern.phases.1.member.spawnRate' \
         failed to satisfy constraint: Member must have value less than or equal to 3"
    );
}

/// One bad value per rule, and what is said of it.
#[test]
fn every_rule_refuses_a_bad_value_of_a_job() {
    let long = |length: usize| json!("a".repeat(length));
    let list = |length: usize| json!(vec!["x"; length]);
    let input = "InputConfig";
    let endpoint = "InputConfig.EndpointConfigurations.0";
    let container = "InputConfig.ContainerConfig";
    let least = |value: i64| format!("greater than or equal to {value}");
    let most = |value: i64| format!("less than or equal to {value}");
    for (path, value, expected) in [
        ("JobName".to_owned(), long(65), most(64)),
        ("JobName".to_owned(), json!(""), least(1)),
        ("JobName".to_owned(), json!("-a"), "regular expression pattern".to_owned()),
        ("JobName".to_owned(), json!("a\n"), "regular expression pattern".to_owned()),
        ("JobType".to_owned(), json!("ADVANCED"), "enum value set: [Default, Advanced]".to_owned()),
        ("JobDescription".to_owned(), long(129), most(128)),
        (
            "RoleArn".to_owned(),
            json!("arn:aws:iam::1:role/x"),
            "pattern: arn:aws[a-z\\-]*:iam".to_owned(),
        ),
        ("Tags".to_owned(), json!(vec![json!({"Key": "k", "Value": "v"}); 51]), most(50)),
        ("Tags.0".to_owned(), json!({"Key": "", "Value": ""}), least(1)),
        ("Tags.0".to_owned(), json!({"Key": "k"}), "tags.1.member.value' failed".to_owned()),
        ("Tags.0".to_owned(), json!({"Key": "a|b", "Value": ""}), "\\p{L}\\p{Z}\\p{N}".to_owned()),
        ("OutputConfig.KmsKeyId".to_owned(), json!("a b"), "[a-zA-Z0-9:/_-]*".to_owned()),
        ("StoppingConditions.MaxInvocations".to_owned(), json!(0), least(1)),
        ("StoppingConditions.MaxInvocations".to_owned(), json!(30_001), most(30_000)),
        (
            "StoppingConditions.FlatInvocations".to_owned(),
            json!("stop"),
            "[Continue, Stop]".to_owned(),
        ),
        ("StoppingConditions.ModelLatencyThresholds".to_owned(), json!([]), least(1)),
        (
            "StoppingConditions.ModelLatencyThresholds.0.Percentile".to_owned(),
            json!("P50"),
            "[P95, P99]".to_owned(),
        ),
        (
            "StoppingConditions.ModelLatencyThresholds.0.ValueInMilliseconds".to_owned(),
            json!(0),
            least(1),
        ),
        (
            format!("{input}.ModelPackageVersionArn"),
            json!("x"),
            "model-package/[\\S]{1,2048}".to_owned(),
        ),
        (format!("{input}.ModelName"), json!("a-"), "regular expression pattern".to_owned()),
        (format!("{input}.JobDurationInSeconds"), json!(0), least(1)),
        (format!("{input}.JobDurationInSeconds"), json!(18_001), most(18_000)),
        (
            format!("{input}.TrafficPattern.TrafficType"),
            json!("RAMP"),
            "[PHASES, STAIRS]".to_owned(),
        ),
        (format!("{input}.TrafficPattern.Phases"), json!([{}, {}, {}, {}]), most(3)),
        (format!("{input}.TrafficPattern.Phases"), json!([]), least(1)),
        (format!("{input}.TrafficPattern.Phases.0.InitialNumberOfUsers"), json!(0), least(1)),
        (format!("{input}.TrafficPattern.Phases.0.SpawnRate"), json!(-1), least(0)),
        (format!("{input}.TrafficPattern.Phases.0.DurationInSeconds"), json!(119), least(120)),
        (format!("{input}.TrafficPattern.Stairs.DurationInSeconds"), json!(3601), most(3600)),
        (format!("{input}.TrafficPattern.Stairs.NumberOfSteps"), json!(0), least(1)),
        (format!("{input}.TrafficPattern.Stairs.UsersPerStep"), json!(4), most(3)),
        (format!("{input}.ResourceLimit.MaxNumberOfTests"), json!(101), most(100)),
        (format!("{input}.ResourceLimit.MaxParallelOfTests"), json!(11), most(10)),
        (format!("{input}.EndpointConfigurations"), json!(vec![json!({}); 11]), most(10)),
        (
            format!("{input}.EndpointConfigurations"),
            json!([null]),
            "1.member' failed to satisfy constraint: Member must not be null".to_owned(),
        ),
        (format!("{endpoint}.InstanceType"), json!("ml c5"), "[a-z0-9._-]+".to_owned()),
        (format!("{endpoint}.InferenceSpecificationName"), long(64), most(63)),
        (
            format!("{endpoint}.ServerlessConfig"),
            json!({"MemorySizeInMB": 1, "MaxConcurrency": 1}),
            least(1024),
        ),
        (
            format!("{endpoint}.ServerlessConfig"),
            json!({"MemorySizeInMB": 1024}),
            "maxConcurrency' failed".to_owned(),
        ),
        (
            format!("{endpoint}.EnvironmentParameterRanges.CategoricalParameterRanges"),
            json!([]),
            least(1),
        ),
        (
            format!("{endpoint}.EnvironmentParameterRanges.CategoricalParameterRanges.0"),
            json!({"Name": "A", "Value": list(4)}),
            most(3),
        ),
        (
            format!("{endpoint}.EnvironmentParameterRanges.CategoricalParameterRanges.0"),
            json!({"Name": long(65), "Value": list(1)}),
            most(64),
        ),
        (format!("{container}.FrameworkVersion"), json!("1."), least(3)),
        (
            format!("{container}.FrameworkVersion"),
            json!("one.two"),
            "[0-9]\\.[A-Za-z0-9.-]+".to_owned(),
        ),
        (
            format!("{container}.PayloadConfig.SamplePayloadUrl"),
            json!("ftp://x"),
            "(https?|s3|file)".to_owned(),
        ),
        (
            format!("{container}.PayloadConfig.SupportedContentTypes"),
            json!(["a".repeat(257)]),
            most(256),
        ),
        (
            format!("{container}.SupportedEndpointType"),
            json!("Batch"),
            "[RealTime, Serverless]".to_owned(),
        ),
        (format!("{container}.DataInputConfig"), json!(""), least(1)),
        (
            format!("{container}.SupportedResponseMIMETypes"),
            json!(["json"]),
            "[-\\w]+\\/.+".to_owned(),
        ),
        (format!("{input}.Endpoints"), json!([{}, {}]), most(1)),
        (format!("{input}.VpcConfig"), json!({"SecurityGroupIds": [], "Subnets": ["s"]}), least(1)),
        (
            format!("{input}.VpcConfig"),
            json!({"SecurityGroupIds": ["s"]}),
            "vpcConfig.subnets' failed".to_owned(),
        ),
    ] {
        let found = told_of_job(&path, value);
        assert!(found.contains(&expected), "{path}: {found}");
    }
}

#[test]
fn every_end_of_a_range_is_inside() {
    for (path, value) in [
        ("JobName", json!("a".repeat(64))),
        ("InputConfig.JobDurationInSeconds", json!(18_000)),
        ("InputConfig.TrafficPattern.Phases.0.SpawnRate", json!(0)),
        ("InputConfig.TrafficPattern.Phases.0.DurationInSeconds", json!(120)),
        ("InputConfig.TrafficPattern.Stairs.DurationInSeconds", json!(3600)),
        ("InputConfig.EndpointConfigurations.0.InstanceType", json!("onprem.h200")),
        (
            "InputConfig.ContainerConfig.PayloadConfig.SamplePayloadUrl",
            json!("file:///srv/payload.tar.gz"),
        ),
        (
            "InputConfig.ContainerConfig.PayloadConfig.SamplePayloadUrl",
            json!("http://127.0.0.1:9000/p"),
        ),
        ("Tags", json!([{"Key": "ClientType", "Value": "PythonSDK-RightSize"}])),
        ("Tags", json!([{"Key": "Größe", "Value": ""}])),
        ("StoppingConditions.MaxInvocations", json!(30_000)),
    ] {
        assert_eq!(told_of_job(path, value), "accepted", "{path}");
    }
}

#[test]
fn every_rule_of_the_other_operations_refuses_a_bad_value() {
    for (operation, document, expected) in [
        (Operation::CreateModel, json!({"ModelName": "a".repeat(64)}), "less than or equal to 63"),
        (
            Operation::CreateModel,
            json!({"ModelName": "m", "Containers": vec![json!({}); 16]}),
            "less than or equal to 15",
        ),
        (
            Operation::CreateModel,
            json!({"ModelName": "m", "PrimaryContainer": {"Image": "a b"}}),
            "[\\S]+",
        ),
        (
            Operation::CreateModel,
            json!({"ModelName": "m", "PrimaryContainer": {"Environment": {"1A": "x"}}}),
            "at 'primaryContainer.environment.key'",
        ),
        (
            Operation::CreateModel,
            json!({"ModelName": "m", "PrimaryContainer": {"Environment": {"A": "x".repeat(1025)}}}),
            "primaryContainer.environment.A.value' failed",
        ),
        (
            Operation::CreateModel,
            json!({"ModelName": "m", "PrimaryContainer": {"Environment": {"A": null}}}),
            "Member must not be null",
        ),
        (
            Operation::CreateModel,
            json!({"ModelName": "m", "PrimaryContainer": {"ModelPackageName": "a-"}}),
            "(?<!-)",
        ),
        (
            Operation::CreateModel,
            json!({"ModelName": "m", "PrimaryContainer": {"ContainerMetricsConfig": {"MetricsEndpoints": [{"MetricsEndpointPath": "/a/../b"}]}}}),
            "(?!.*\\.\\.)",
        ),
        (Operation::ListModels, json!({"MaxResults": 101}), "less than or equal to 100"),
        (Operation::ListModels, json!({"SortBy": "Status"}), "[Name, CreationTime]"),
        (
            Operation::DescribeModelPackageGroup,
            json!({"ModelPackageGroupName": "a_b"}),
            "regular expression",
        ),
        (
            Operation::CreateModelPackage,
            json!({"InferenceSpecification": {}}),
            "inferenceSpecification.containers' failed",
        ),
        (
            Operation::CreateModelPackage,
            json!({"ClientToken": "a".repeat(37)}),
            "less than or equal to 36",
        ),
        (
            Operation::CreateModelPackage,
            json!({"CustomerMetadataProperties": {"a|b": "c"}}),
            "customerMetadataProperties.key",
        ),
        (Operation::CreateModelPackage, json!({"SourceUri": "a\u{0}b"}), "{0,1024}"),
        (
            Operation::CreateModelPackage,
            json!({"ModelCard": {"ModelCardStatus": "draft"}}),
            "[Draft, PendingReview, Approved, Archived]",
        ),
        (
            Operation::UpdateModelPackage,
            json!({"ModelPackageArn": "arn:aws:sagemaker:x:1:model-package/a"}),
            "regular expression",
        ),
        (
            Operation::DescribeModelPackage,
            json!({"ModelPackageName": "g/1/2"}),
            "regular expression",
        ),
        (
            Operation::ListModelMetadata,
            json!({"SearchExpression": {"Filters": [{"Name": "Size", "Value": "1"}]}}),
            "[Domain, Framework, Task, FrameworkVersion]",
        ),
        (
            Operation::ListTags,
            json!({"ResourceArn": "arn:aws:sagemaker:us-east-1:123456789012:model/m", "MaxResults": 1}),
            "greater than or equal to 50",
        ),
        (Operation::AddTags, json!({"ResourceArn": "m", "Tags": []}), "at 'resourceArn'"),
        (
            Operation::DeleteTags,
            json!({"ResourceArn": "arn:aws:sagemaker:us-east-1:123456789012:model/m", "TagKeys": []}),
            "greater than or equal to 1",
        ),
        (
            Operation::GetScalingConfigurationRecommendation,
            json!({"InferenceRecommendationsJobName": "j", "TargetCpuUtilizationPerCore": 101}),
            "less than or equal to 100",
        ),
        (Operation::GetLogEvents, json!({"logStreamName": "a:b"}), "[^:*]*"),
        (
            Operation::GetLogEvents,
            json!({"logStreamName": "a", "limit": 0}),
            "greater than or equal to 1",
        ),
        (Operation::DescribeLogStreams, json!({"limit": 51}), "less than or equal to 50"),
    ] {
        let found = told(operation, &document);
        assert!(found.contains(expected), "{operation} {document}: {found}");
    }
}

#[test]
fn matchers_accept_what_their_documented_patterns_do() {
    for name in [
        "g",
        "resnet-18",
        "arn:aws:sagemaker:us-east-1:123456789012:model-package-group/g",
        &"a".repeat(63),
    ] {
        let document = json!({"ModelPackageGroupName": name});
        assert_eq!(told(Operation::DescribeModelPackageGroup, &document), "accepted", "{name}");
    }
    for name in ["g/1", PACKAGE, "p"] {
        let document = json!({"ModelPackageName": name});
        assert_eq!(told(Operation::DescribeModelPackage, &document), "accepted", "{name}");
    }
}

#[test]
fn hostile_requests_do_not_get_long_answers() {
    let tags: Vec<Value> = (0..10_000).map(|_| json!({"Key": "|".repeat(500)})).collect();
    let mut document = job();
    document["Tags"] = json!(tags);
    let found = told(Operation::CreateInferenceRecommendationsJob, &document);
    assert!(found.starts_with("30001 validation errors detected: "), "{}", &found[..60]);
    assert!(found.len() < 10_000, "{}", found.len());
}
