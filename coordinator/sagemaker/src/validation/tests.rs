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

/// The document with the value at a path of members and indices; what is missing on the way is made.
fn with(mut document: Value, path: &str, value: Value) -> Value {
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
    told(Operation::CreateInferenceRecommendationsJob, &with(job(), path, value))
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

/// The values of the table of refusals, with its abbreviations written out.
fn expanded(value: Value) -> Value {
    let count = |value: &Value| value.as_str()?.strip_prefix('@')?.parse::<usize>().ok();
    if let Some(length) = count(&value) {
        return json!("a".repeat(length));
    }
    match value {
        Value::Array(mut items) if items.len() == 2 && count(&items[0]).is_some() => {
            let times = count(&items[0]).unwrap();
            json!(vec![expanded(items.remove(1)); times])
        }
        Value::Array(items) => items.into_iter().map(expanded).collect(),
        Value::Object(members) => {
            members.into_iter().map(|(name, value)| (name, expanded(value))).collect()
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value,
    }
}

#[test]
fn every_rule_refuses_a_bad_value() {
    let table = include_str!("refusals.txt");
    let lines = table.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let mut tried = Vec::new();
    for line in lines {
        let [operation, path, value, expected] =
            line.splitn(4, " | ").collect::<Vec<_>>().try_into().unwrap();
        let operation = *Operation::ALL.iter().find(|one| one.name() == operation).unwrap();
        let base = if operation == Operation::CreateInferenceRecommendationsJob {
            job()
        } else {
            json!({})
        };
        let document = with(base, path, expanded(serde_json::from_str(value).unwrap()));
        let found = told(operation, &document);
        assert!(found.contains(expected), "{line}\n{found}");
        tried.push(operation);
    }
    for operation in Operation::ALL {
        assert!(tried.contains(operation), "no rule of {operation} is tried");
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
