//! Models and tags.

use serde_json::{Value, json};

use crate::tests::support::Coordinator;

const ROLE: &str = "arn:aws:iam::123456789012:role/r";
const ARN: &str = "arn:aws:sagemaker:us-east-1:000000000000:model/";

fn model(name: &str) -> Value {
    json!({
        "ModelName": name,
        "ExecutionRoleArn": ROLE,
        "PrimaryContainer": {
            "Image": "any",
            "ModelDataUrl": "s3://bucket/model.tar.gz",
            "Environment": {"OMP_NUM_THREADS": "2"},
        },
    })
}

async fn names(coordinator: &Coordinator, request: &Value) -> Vec<String> {
    let listed = coordinator.aws_ok("ListModels", request).await;
    let models = listed["Models"].as_array().unwrap().clone();
    models.iter().map(|model| model["ModelName"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn a_model_is_described_as_it_was_created_also_after_a_restart() {
    let mut coordinator = Coordinator::start().await;
    let created = coordinator.aws_ok("CreateModel", &model("resnet18")).await;
    assert_eq!(created, json!({"ModelArn": format!("{ARN}resnet18")}));
    let described = coordinator.aws_ok("DescribeModel", &json!({"ModelName": "resnet18"})).await;
    let sent = model("resnet18");
    for member in ["ModelName", "ExecutionRoleArn", "PrimaryContainer"] {
        assert_eq!(described[member], sent[member]);
    }
    assert_eq!(described["ModelArn"], created["ModelArn"]);
    assert_eq!(described["EnableNetworkIsolation"], json!(false));
    let age =
        jiff::Timestamp::now().as_second() as f64 - described["CreationTime"].as_f64().unwrap();
    assert!((-2.0..60.0).contains(&age), "{age}");
    assert_eq!(
        described["DeploymentRecommendation"],
        json!({"RecommendationStatus": "NOT_APPLICABLE"})
    );

    coordinator.restart().await;
    let again = coordinator.aws_ok("DescribeModel", &json!({"ModelName": "resnet18"})).await;
    assert_eq!(again, described);
}

#[tokio::test]
async fn a_name_is_taken_until_its_model_is_deleted() {
    let coordinator = Coordinator::start().await;
    coordinator.aws_ok("CreateModel", &model("m")).await;
    let message = coordinator.aws_refused("CreateModel", &model("m"), "ValidationException").await;
    // The SageMaker SDK looks for exactly this, and goes on.
    assert!(message.contains("Cannot create already existing model"), "{message}");
    coordinator.aws_done("DeleteModel", &json!({"ModelName": "m"})).await;
    for operation in ["DeleteModel", "DescribeModel"] {
        let message = coordinator
            .aws_refused(operation, &json!({"ModelName": "m"}), "ValidationException")
            .await;
        assert_eq!(message, format!("Could not find model \"{ARN}m\"."));
    }
    coordinator.aws_ok("CreateModel", &model("m")).await;
}

#[tokio::test]
async fn a_model_without_a_container_or_of_a_package_that_is_not_there_is_refused() {
    let coordinator = Coordinator::start().await;
    let of_package = json!({"ModelName": "m", "Containers": [{"ModelPackageName": "nothing"}]});
    for (request, expected) in [
        (json!({"ModelName": "m"}), "must have PrimaryContainer or Containers"),
        (json!({"ModelName": "m", "PrimaryContainer": {}}), "must have Image or ModelPackageName"),
        (of_package, "ModelPackage nothing does not exist"),
        (json!({"ModelName": "-m", "PrimaryContainer": {"Image": "a"}}), "'modelName'"),
        (json!({"PrimaryContainer": {"Image": "a"}}), "Value null at 'modelName'"),
    ] {
        let message = coordinator.aws_refused("CreateModel", &request, "ValidationException").await;
        assert!(message.contains(expected), "{message}");
    }
    assert_eq!(names(&coordinator, &json!({})).await, [""; 0]);
}

#[tokio::test]
async fn lists_are_filtered_sorted_and_paged_and_tokens_outlive_a_restart() {
    let mut coordinator = Coordinator::start().await;
    for name in ["b-1", "a-2", "c-1", "a-1", "b-2"] {
        coordinator.aws_ok("CreateModel", &model(name)).await;
    }
    assert_eq!(names(&coordinator, &json!({})).await, ["b-2", "a-1", "c-1", "a-2", "b-1"]);
    let by_name = json!({"SortBy": "Name", "SortOrder": "Ascending"});
    assert_eq!(names(&coordinator, &by_name).await, ["a-1", "a-2", "b-1", "b-2", "c-1"]);
    assert_eq!(
        names(&coordinator, &json!({"NameContains": "-1", "SortOrder": "Ascending"})).await,
        ["b-1", "c-1", "a-1"]
    );
    for order in ["Ascending", "Descending"] {
        for key in ["Name", "CreationTime"] {
            let mut request = json!({"SortBy": key, "SortOrder": order});
            let whole = names(&coordinator, &request).await;
            request["MaxResults"] = json!(2);
            let mut paged = Vec::new();
            loop {
                let page = coordinator.aws_ok("ListModels", &request).await;
                let models = page["Models"].as_array().unwrap();
                paged
                    .extend(models.iter().map(|one| one["ModelName"].as_str().unwrap().to_owned()));
                let Some(token) = page.get("NextToken") else { break };
                assert_eq!(models.len(), 2);
                request["NextToken"] = token.clone();
                coordinator.restart().await;
            }
            assert_eq!(paged, whole);
        }
    }
}

#[tokio::test]
async fn a_time_that_was_shown_separates_what_came_before_and_after() {
    let coordinator = Coordinator::start().await;
    let mut shown = Vec::new();
    for name in ["first", "second", "third"] {
        coordinator.aws_ok("CreateModel", &model(name)).await;
        let described = coordinator.aws_ok("DescribeModel", &json!({"ModelName": name})).await;
        shown.push(described["CreationTime"].clone());
        // Times are shown to the millisecond.
        tokio::time::sleep(std::time::Duration::from_millis(3)).await;
    }
    let after = json!({"CreationTimeAfter": shown[1]});
    assert_eq!(names(&coordinator, &after).await, ["third"]);
    let before = json!({"CreationTimeBefore": shown[1]});
    assert_eq!(names(&coordinator, &before).await, ["first"]);
}

#[tokio::test]
async fn a_token_that_was_not_given_out_for_this_list_is_refused() {
    let coordinator = Coordinator::start().await;
    for name in ["a", "b"] {
        coordinator.aws_ok("CreateModel", &model(name)).await;
    }
    let page = coordinator.aws_ok("ListModels", &json!({"MaxResults": 1})).await;
    let other = json!({"NextToken": page["NextToken"], "SortBy": "Name"});
    let message = coordinator.aws_refused("ListModels", &other, "ValidationException").await;
    assert!(message.contains("other filters"), "{message}");
    let elsewhere = json!({"NextToken": page["NextToken"]});
    coordinator.aws_refused("ListModelPackages", &elsewhere, "ValidationException").await;
    let forged = json!({"NextToken": "AAAA"});
    let message = coordinator.aws_refused("ListModels", &forged, "ValidationException").await;
    assert!(message.contains("not one that this server gave out"), "{message}");
}

#[tokio::test]
async fn tags_come_with_the_resource_change_and_go_with_it() {
    let coordinator = Coordinator::start().await;
    let mut request = model("m");
    request["Tags"] = json!([{"Key": "b", "Value": "1"}, {"Key": "a", "Value": ""}]);
    let arn = coordinator.aws_ok("CreateModel", &request).await["ModelArn"].clone();
    let listed = coordinator.aws_ok("ListTags", &json!({"ResourceArn": arn})).await;
    let ab = json!({"Tags": [{"Key": "a", "Value": ""}, {"Key": "b", "Value": "1"}]});
    assert_eq!(listed, ab);

    let more = json!({"ResourceArn": arn, "Tags": [{"Key": "b", "Value": "2"}, {"Key": "c", "Value": "3"}]});
    let all = coordinator.aws_ok("AddTags", &more).await;
    assert_eq!(all["Tags"].as_array().unwrap().len(), 3);
    assert_eq!(all["Tags"][1], json!({"Key": "b", "Value": "2"}));
    let fewer = json!({"ResourceArn": arn, "TagKeys": ["a", "b", "not there"]});
    assert_eq!(coordinator.aws_ok("DeleteTags", &fewer).await, json!({}));
    let listed = coordinator.aws_ok("ListTags", &json!({"ResourceArn": arn})).await;
    assert_eq!(listed, json!({"Tags": [{"Key": "c", "Value": "3"}]}));

    coordinator.aws_done("DeleteModel", &json!({"ModelName": "m"})).await;
    let gone = json!({"ResourceArn": arn});
    coordinator.aws_refused("ListTags", &gone, "ValidationException").await;
    coordinator.aws_ok("CreateModel", &model("m")).await;
    assert_eq!(coordinator.aws_ok("ListTags", &gone).await, json!({"Tags": []}));
}

#[tokio::test]
async fn a_resource_has_fifty_tags_and_no_more() {
    let coordinator = Coordinator::start().await;
    let arn = coordinator.aws_ok("CreateModel", &model("m")).await["ModelArn"].clone();
    let tags = |from: usize, to: usize| -> Vec<Value> {
        (from..to).map(|n| json!({"Key": format!("k{n:02}"), "Value": "v"})).collect()
    };
    coordinator.aws_ok("AddTags", &json!({"ResourceArn": arn, "Tags": tags(0, 30)})).await;
    let too_many = json!({"ResourceArn": arn, "Tags": tags(20, 51)});
    coordinator.aws_refused("AddTags", &too_many, "ResourceLimitExceeded").await;
    let listed = coordinator.aws_ok("ListTags", &json!({"ResourceArn": arn})).await;
    assert_eq!(listed["Tags"].as_array().unwrap().len(), 30);
    coordinator.aws_ok("AddTags", &json!({"ResourceArn": arn, "Tags": tags(20, 50)})).await;
    let request = json!({"ResourceArn": arn, "MaxResults": 50});
    let listed = coordinator.aws_ok("ListTags", &request).await;
    assert_eq!(listed, json!({"Tags": tags(0, 50)}));
    let forged = json!({"ResourceArn": arn, "NextToken": "AAAA"});
    coordinator.aws_refused("ListTags", &forged, "ValidationException").await;
}

#[tokio::test]
async fn tags_of_what_is_not_there_or_of_others_are_refused() {
    let coordinator = Coordinator::start().await;
    coordinator.aws_ok("CreateModel", &model("m")).await;
    for arn in [
        "arn:aws:sagemaker:us-east-1:000000000000:model/other",
        "arn:aws:sagemaker:us-east-1:000000000000:endpoint/m",
        "arn:aws:sagemaker:us-east-1:999999999999:model/m",
        "arn:aws:sagemaker:eu-west-1:000000000000:model/m",
        "arn:aws:sagemaker:us-east-1:000000000000:model-package/g/1",
        "arn:aws:sagemaker:us-east-1:000000000000:inference-recommendations-job/j",
    ] {
        let add = json!({"ResourceArn": arn, "Tags": [{"Key": "a", "Value": "b"}]});
        let message = coordinator.aws_refused("AddTags", &add, "ValidationException").await;
        assert!(message.contains("Could not find resource"), "{message}");
    }
    let arn = format!("{ARN}m");
    let twice = json!({"ResourceArn": arn, "Tags": [{"Key": "a", "Value": "1"}, {"Key": "a", "Value": "2"}]});
    let message = coordinator.aws_refused("AddTags", &twice, "ValidationException").await;
    assert!(message.contains("given twice"), "{message}");
}
