use proptest::prelude::*;
use serde_json::json;

use super::*;

fn refusal(operation: Operation, body: &str) -> ApiError {
    Request::read(operation, body.as_bytes()).unwrap_err()
}

#[test]
fn an_empty_body_is_an_empty_document() {
    for body in ["", "  ", "{}"] {
        assert!(Request::read(Operation::ListModels, body.as_bytes()).is_ok(), "{body:?}");
    }
}

#[test]
fn what_is_not_a_json_object_is_refused() {
    for body in ["{", "[]", "null", "\"x\"", "{\"a\":1}x", "{\"JobName\": NaN}"] {
        let error = refusal(Operation::DescribeModel, body);
        assert_eq!(error.code, ErrorCode::SerializationException, "{body}");
    }
    for body in ["[]", "null", "\"x\""] {
        assert_eq!(refusal(Operation::ListModels, body).message, "the body is not a JSON object");
    }
    let error = Request::read(Operation::ListModels, b"\xff{}").unwrap_err();
    assert_eq!(error.code, ErrorCode::SerializationException);
}

#[test]
fn a_document_that_is_too_deep_is_refused_and_not_followed() {
    for depth in [127, 128, 100_000] {
        let body = format!("{{\"a\":{}{}}}", "[".repeat(depth), "]".repeat(depth));
        let error = Request::read(Operation::ListModels, body.as_bytes());
        assert_eq!(error.is_err(), depth >= 127, "{depth}");
    }
    let body = "{\"a\":".repeat(100_000);
    assert_eq!(refusal(Operation::ListModels, &body).code, ErrorCode::SerializationException);
}

#[test]
fn members_of_other_types_name_the_member() {
    for (operation, document, expected) in [
        (
            Operation::DescribeModel,
            json!({"ModelName": 1}),
            "NUMBER_VALUE can not be converted to a String at 'modelName'",
        ),
        (
            Operation::ListModels,
            json!({"MaxResults": "5"}),
            "STRING_VALUE can not be converted to an Integer at 'maxResults'",
        ),
        (
            Operation::ListModels,
            json!({"MaxResults": 5.0}),
            "DECIMAL_VALUE can not be converted to an Integer",
        ),
        (
            Operation::ListModels,
            json!({"MaxResults": 4_294_967_297_i64}),
            "NUMBER_VALUE can not be converted to an Integer",
        ),
        (
            Operation::ListModels,
            json!({"CreationTimeAfter": "x"}),
            "a Timestamp in epoch seconds at 'creationTimeAfter'",
        ),
        (
            Operation::ListModels,
            json!({"CreationTimeAfter": 1e30}),
            "DECIMAL_VALUE can not be converted to a Timestamp",
        ),
        (
            Operation::CreateModel,
            json!({"ModelName": "m", "PrimaryContainer": []}),
            "LIST_VALUE can not be converted to a structure",
        ),
        (
            Operation::CreateModel,
            json!({"ModelName": "m", "Containers": {}}),
            "STRUCTURE_VALUE can not be converted to a list",
        ),
        (
            Operation::CreateModel,
            json!({"ModelName": "m", "EnableNetworkIsolation": "yes"}),
            "converted to a Boolean",
        ),
        (
            Operation::CreateModel,
            json!({"ModelName": "m", "PrimaryContainer": {"Environment": [1]}}),
            "converted to a map at 'primaryContainer.environment'",
        ),
        (
            Operation::GetLogEvents,
            json!({"logStreamName": "s", "startTime": true}),
            "BOOLEAN_VALUE can not be converted to a Long at 'startTime'",
        ),
    ] {
        let error = refusal(operation, &document.to_string());
        assert_eq!(error.code, ErrorCode::SerializationException, "{document}");
        assert!(error.message.contains(expected), "{document}: {}", error.message);
    }
}

#[test]
fn unknown_members_and_nulls_are_left_out() {
    let body = r#"{"MaxResults": 5, "Future": {"a": 1}, "SortBy": null}"#;
    let request = Request::read(Operation::ListModels, body.as_bytes()).unwrap();
    assert_eq!(request.document(), json!({"MaxResults": 5}));
}

#[test]
fn logs_have_a_code_of_their_own() {
    let error = refusal(Operation::GetLogEvents, "{}");
    assert_eq!(error.code, ErrorCode::InvalidParameterException);
    assert!(
        error.message.starts_with("1 validation error detected: Value null at 'logStreamName'")
    );
}

/// JSON whose names are often those of real members, so that it gets past the first level.
fn document() -> impl Strategy<Value = Value> {
    let names = prop::sample::select(vec![
        "JobName",
        "JobType",
        "RoleArn",
        "InputConfig",
        "ModelName",
        "ContainerConfig",
        "TrafficPattern",
        "Phases",
        "SpawnRate",
        "EndpointConfigurations",
        "InstanceType",
        "Tags",
        "Key",
        "Value",
        "PrimaryContainer",
        "Environment",
        "Containers",
        "InferenceSpecification",
        "MaxResults",
        "CreationTimeAfter",
        "StoppingConditions",
        "ModelLatencyThresholds",
        "Percentile",
        "SearchExpression",
        "Filters",
        "Name",
        "ResourceArn",
        "TagKeys",
        "logStreamName",
        "limit",
        "ModelPackageName",
        "ModelPackageGroupName",
        "InferenceRecommendationsJobName",
        "ModelMetrics",
    ]);
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (0..200_i64).prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "[a-zA-Z0-9:/-]{0,70}".prop_map(Value::from),
        any::<String>().prop_map(Value::from),
        prop::sample::select(vec![
            "Default",
            "PHASES",
            "P95",
            "ml.c5.large",
            "s3://b/k",
            "PyTorch"
        ])
        .prop_map(Value::from),
    ];
    let names = prop_oneof![4 => names.prop_map(str::to_owned), 1 => any::<String>()];
    leaf.prop_recursive(6, 64, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::btree_map(names.clone(), inner, 0..6)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

proptest! {
    /// What passes the table is typed; what does not is the caller's error, in a bounded message.
    #[test]
    fn any_document_is_a_request_or_an_error_of_the_caller(document in document()) {
        let body = document.to_string();
        for operation in Operation::ALL {
            match Request::read(*operation, body.as_bytes()) {
                Ok(request) => prop_assert_eq!(request.operation(), *operation),
                Err(error) => {
                    prop_assert!(error.http_status() < 500);
                    prop_assert!(error.message.len() < 60_000, "{}", error.message.len());
                }
            }
        }
    }

    #[test]
    fn any_bytes_are_a_request_or_an_error_of_the_caller(body in prop::collection::vec(any::<u8>(), 0..200)) {
        for operation in Operation::ALL {
            if let Err(error) = Request::read(*operation, &body) {
                prop_assert!(error.http_status() < 500);
            }
        }
    }
}
