//! Model packages and their groups.

use serde_json::{Value, json};

use crate::tests::support::Coordinator;

const ARN: &str = "arn:aws:sagemaker:us-east-1:000000000000:model-package/";

fn specification() -> Value {
    json!({
        "Containers": [{
            "Image": "any",
            "ModelDataUrl": "s3://bucket/model.tar.gz",
            "Framework": "PYTORCH",
            "NearestModelName": "resnet18",
            "ModelInput": {"DataInputConfig": "[[1,3,224,224]]"},
        }],
        "SupportedContentTypes": ["application/x-npy"],
        "SupportedResponseMIMETypes": ["application/json"],
        "SupportedRealtimeInferenceInstanceTypes": ["ml.c5.xlarge", "onprem.h200"],
    })
}

fn version_of(group: &str) -> Value {
    json!({
        "ModelPackageGroupName": group,
        "InferenceSpecification": specification(),
        "Domain": "COMPUTER_VISION",
        "Task": "IMAGE_CLASSIFICATION",
        "SamplePayloadUrl": "s3://bucket/payload.tar.gz",
    })
}

async fn with_group(name: &str) -> Coordinator {
    let coordinator = Coordinator::start().await;
    let request = json!({"ModelPackageGroupName": name, "ModelPackageGroupDescription": "ours"});
    coordinator.aws_ok("CreateModelPackageGroup", &request).await;
    coordinator
}

async fn create(coordinator: &Coordinator, request: &Value) -> String {
    let created = coordinator.aws_ok("CreateModelPackage", request).await;
    created["ModelPackageArn"].as_str().unwrap().to_owned()
}

async fn arns(coordinator: &Coordinator, request: &Value) -> Vec<String> {
    let listed = coordinator.aws_ok("ListModelPackages", request).await;
    let packages = listed["ModelPackageSummaryList"].as_array().unwrap().clone();
    let arn = |package: &Value| package["ModelPackageArn"].as_str().unwrap().replace(ARN, "");
    packages.iter().map(arn).collect()
}

#[tokio::test]
async fn a_group_goes_by_its_name_or_its_arn() {
    let mut coordinator = with_group("vision").await;
    coordinator.restart().await;
    let arn = "arn:aws:sagemaker:us-east-1:000000000000:model-package-group/vision";
    for name in ["vision", arn] {
        let request = json!({"ModelPackageGroupName": name});
        let described = coordinator.aws_ok("DescribeModelPackageGroup", &request).await;
        assert_eq!(described["ModelPackageGroupName"], "vision");
        assert_eq!(described["ModelPackageGroupArn"], arn);
        assert_eq!(described["ModelPackageGroupDescription"], "ours");
        assert_eq!(described["ModelPackageGroupStatus"], "Completed");
        assert_eq!(described["CreatedBy"], json!({}));
        assert!(described["CreationTime"].is_f64());
    }
    let again = json!({"ModelPackageGroupName": "vision"});
    let message =
        coordinator.aws_refused("CreateModelPackageGroup", &again, "ValidationException").await;
    assert_eq!(message, format!("Model Package Group already exists: {arn}"));
    let listed =
        coordinator.aws_ok("ListModelPackageGroups", &json!({"NameContains": "vis"})).await;
    assert_eq!(listed["ModelPackageGroupSummaryList"].as_array().unwrap().len(), 1);
    let none = coordinator.aws_ok("ListModelPackageGroups", &json!({"NameContains": "x"})).await;
    assert_eq!(none, json!({"ModelPackageGroupSummaryList": []}));
}

#[tokio::test]
async fn versions_count_from_one_and_never_come_again() {
    let mut coordinator = with_group("g").await;
    assert_eq!(create(&coordinator, &version_of("g")).await, format!("{ARN}g/1"));
    let group_arn = "arn:aws:sagemaker:us-east-1:000000000000:model-package-group/g";
    assert_eq!(create(&coordinator, &version_of(group_arn)).await, format!("{ARN}g/2"));
    coordinator.aws_done("DeleteModelPackage", &json!({"ModelPackageName": "g/2"})).await;
    coordinator.restart().await;
    assert_eq!(create(&coordinator, &version_of("g")).await, format!("{ARN}g/3"));
    let message = coordinator
        .aws_refused("CreateModelPackage", &version_of("nothing"), "ValidationException")
        .await;
    assert!(message.contains("model-package-group/nothing does not exist"), "{message}");
}

#[tokio::test]
async fn versions_created_at_the_same_time_are_different_ones() {
    let coordinator = with_group("g").await;
    let create_one = async || create(&coordinator, &version_of("g")).await;
    let mut made = futures_util::future::join_all((0..12).map(|_| create_one())).await;
    made.sort_unstable();
    made.dedup();
    assert_eq!(made.len(), 12);
}

#[tokio::test]
async fn a_version_is_described_as_it_was_created() {
    let coordinator = with_group("g").await;
    let arn = create(&coordinator, &version_of("g")).await;
    for name in [arn.as_str(), "g/1"] {
        let request = json!({"ModelPackageName": name});
        let described = coordinator.aws_ok("DescribeModelPackage", &request).await;
        for member in ["InferenceSpecification", "Domain", "Task", "SamplePayloadUrl"] {
            assert_eq!(described[member], version_of("g")[member]);
        }
        assert_eq!(described["ModelPackageArn"], json!(arn));
        assert_eq!(described["ModelPackageGroupName"], "g");
        assert_eq!(described["ModelPackageVersion"], 1);
        assert_eq!(described["ModelPackageStatus"], "Completed");
        assert_eq!(described["ModelPackageStatusDetails"], json!({"ValidationStatuses": []}));
        assert_eq!(described["ModelApprovalStatus"], "PendingManualApproval");
        assert!(described.get("LastModifiedTime").is_none());
        assert!(described.get("ClientToken").is_none());
    }
    for nothing in ["g/2", "g/0", "g", "arn:aws:sagemaker:us-east-1:999999999999:model-package/g/1"]
    {
        let request = json!({"ModelPackageName": nothing});
        coordinator.aws_refused("DescribeModelPackage", &request, "ValidationException").await;
        coordinator.aws_refused("DeleteModelPackage", &request, "ValidationException").await;
    }
}

#[tokio::test]
async fn the_same_request_with_its_token_makes_one_package() {
    let mut coordinator = with_group("g").await;
    let mut request = version_of("g");
    request["ClientToken"] = json!("4f6e3f10-0000-0000-0000-000000000001");
    let first = create(&coordinator, &request).await;
    assert_eq!(create(&coordinator, &request).await, first);
    coordinator.restart().await;
    assert_eq!(create(&coordinator, &request).await, first);
    request["Domain"] = json!("OTHER");
    let message =
        coordinator.aws_refused("CreateModelPackage", &request, "ConflictException").await;
    assert!(message.contains("other parameters"), "{message}");
    request["ClientToken"] = json!("4f6e3f10-0000-0000-0000-000000000002");
    // Nothing was used up by the repetitions.
    assert_eq!(create(&coordinator, &request).await, format!("{ARN}g/2"));
}

#[tokio::test]
async fn a_group_with_packages_cannot_be_deleted() {
    let coordinator = with_group("g").await;
    create(&coordinator, &version_of("g")).await;
    let group = json!({"ModelPackageGroupName": "g"});
    let message =
        coordinator.aws_refused("DeleteModelPackageGroup", &group, "ConflictException").await;
    assert!(message.contains("still contains Model Packages"), "{message}");
    coordinator.aws_done("DeleteModelPackage", &json!({"ModelPackageName": "g/1"})).await;
    coordinator.aws_done("DeleteModelPackageGroup", &group).await;
    coordinator.aws_refused("DeleteModelPackageGroup", &group, "ValidationException").await;
    coordinator.aws_refused("DescribeModelPackageGroup", &group, "ValidationException").await;
}

#[tokio::test]
async fn lists_keep_versions_and_other_packages_apart() {
    let coordinator = with_group("g").await;
    for _ in 0..11 {
        create(&coordinator, &version_of("g")).await;
    }
    let alone =
        |name: &str| json!({"ModelPackageName": name, "InferenceSpecification": specification()});
    assert_eq!(create(&coordinator, &alone("alone")).await, format!("{ARN}alone"));
    let message =
        coordinator.aws_refused("CreateModelPackage", &alone("alone"), "ConflictException").await;
    assert!(message.contains("already exists"), "{message}");

    assert_eq!(arns(&coordinator, &json!({})).await, ["alone"]);
    let of_group = json!({"ModelPackageGroupName": "g", "SortBy": "Name", "MaxResults": 3});
    assert_eq!(arns(&coordinator, &of_group).await, ["g/1", "g/2", "g/3"]);
    let newest = json!({"ModelPackageGroupName": "g", "SortOrder": "Descending", "MaxResults": 2});
    assert_eq!(arns(&coordinator, &newest).await, ["g/11", "g/10"]);
    assert_eq!(arns(&coordinator, &json!({"ModelPackageType": "Both"})).await.len(), 12);
    assert_eq!(arns(&coordinator, &json!({"ModelPackageType": "Versioned"})).await.len(), 11);

    let approve =
        json!({"ModelPackageArn": format!("{ARN}g/4"), "ModelApprovalStatus": "Approved"});
    coordinator.aws_ok("UpdateModelPackage", &approve).await;
    let approved = json!({"ModelPackageGroupName": "g", "ModelApprovalStatus": "Approved"});
    assert_eq!(arns(&coordinator, &approved).await, ["g/4"]);
}

#[tokio::test]
async fn an_update_changes_what_it_names_and_may_come_twice() {
    let coordinator = with_group("g").await;
    let mut request = version_of("g");
    request["CustomerMetadataProperties"] = json!({"a": "1", "b": "2"});
    let arn = create(&coordinator, &request).await;
    let further = json!({
        "Name": "small",
        "Containers": [{"Image": "any", "ModelDataUrl": "s3://bucket/small.tar.gz"}],
    });
    let update = json!({
        "ModelPackageArn": arn,
        "ClientToken": "4f6e3f10-0000-0000-0000-000000000003",
        "ModelApprovalStatus": "Approved",
        "ApprovalDescription": "measured",
        "CustomerMetadataProperties": {"b": "3", "c": "4"},
        "CustomerMetadataPropertiesToRemove": ["a"],
        "AdditionalInferenceSpecificationsToAdd": [further],
    });
    for _ in 0..2 {
        let answer = coordinator.aws_ok("UpdateModelPackage", &update).await;
        assert_eq!(answer, json!({"ModelPackageArn": arn}));
    }
    let described =
        coordinator.aws_ok("DescribeModelPackage", &json!({"ModelPackageName": arn})).await;
    assert_eq!(described["ModelApprovalStatus"], "Approved");
    assert_eq!(described["ApprovalDescription"], "measured");
    assert_eq!(described["CustomerMetadataProperties"], json!({"b": "3", "c": "4"}));
    assert_eq!(described["AdditionalInferenceSpecifications"], json!([further]));
    assert_eq!(described["InferenceSpecification"], specification());
    assert!(described["LastModifiedTime"].as_f64() >= described["CreationTime"].as_f64());

    let mut other = update.clone();
    other["ModelApprovalStatus"] = json!("Rejected");
    coordinator.aws_refused("UpdateModelPackage", &other, "ConflictException").await;
    other["ClientToken"] = json!("4f6e3f10-0000-0000-0000-000000000004");
    let message = coordinator.aws_refused("UpdateModelPackage", &other, "ConflictException").await;
    assert!(message.contains("\"small\" exists already"), "{message}");
    let nothing = json!({"ModelPackageArn": format!("{ARN}g/7")});
    coordinator.aws_refused("UpdateModelPackage", &nothing, "ValidationException").await;
}

#[tokio::test]
async fn metadata_only_leaves_the_content_of_the_model_card_out() {
    let coordinator = with_group("g").await;
    let mut request = version_of("g");
    request["ModelCard"] = json!({"ModelCardContent": "{}", "ModelCardStatus": "Draft"});
    create(&coordinator, &request).await;
    let whole = json!({"ModelPackageName": "g/1", "IncludedData": "AllData"});
    let described = coordinator.aws_ok("DescribeModelPackage", &whole).await;
    assert_eq!(described["ModelCard"], request["ModelCard"]);
    let part = json!({"ModelPackageName": "g/1", "IncludedData": "MetadataOnly"});
    let described = coordinator.aws_ok("DescribeModelPackage", &part).await;
    assert_eq!(described["ModelCard"], json!({"ModelCardStatus": "Draft"}));
}

#[tokio::test]
async fn a_package_needs_one_name_and_a_specification() {
    let coordinator = with_group("g").await;
    let mut both = version_of("g");
    both["ModelPackageName"] = json!("alone");
    for (request, expected) in [
        (both, "Exactly one of ModelPackageName and ModelPackageGroupName"),
        (json!({"InferenceSpecification": specification()}), "Exactly one of"),
        (json!({"ModelPackageGroupName": "g"}), "InferenceSpecification must be specified"),
        (
            json!({"ModelPackageGroupName": "g", "InferenceSpecification": {}}),
            "'inferenceSpecification.containers'",
        ),
    ] {
        let message =
            coordinator.aws_refused("CreateModelPackage", &request, "ValidationException").await;
        assert!(message.contains(expected), "{message}");
    }
}

#[tokio::test]
async fn a_model_may_be_made_from_a_package() {
    let coordinator = with_group("g").await;
    let arn = create(&coordinator, &version_of("g")).await;
    let model = json!({"ModelName": "m", "Containers": [{"ModelPackageName": arn}]});
    coordinator.aws_ok("CreateModel", &model).await;
    let described = coordinator.aws_ok("DescribeModel", &json!({"ModelName": "m"})).await;
    assert_eq!(described["Containers"], json!([{"ModelPackageName": arn}]));
    // Its package gone, the model is still told of.
    coordinator.aws_done("DeleteModelPackage", &json!({"ModelPackageName": arn})).await;
    let described = coordinator.aws_ok("DescribeModel", &json!({"ModelName": "m"})).await;
    assert_eq!(described["DeploymentRecommendation"]["RecommendationStatus"], "NOT_APPLICABLE");
}
