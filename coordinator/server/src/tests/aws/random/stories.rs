//! Requests that follow on each other: something is created, looked at, listed, changed, and removed.

use assay_sagemaker::operation::Operation;
use serde_json::{Value, json};

use super::{ARN, GROUP, dice::Dice};

pub(super) type Step = (Operation, Value);

const ROLE: &str = "arn:aws:iam::123456789012:role/r";

/// Lists, with the member that holds the entries.
pub(super) const LISTS: [(Operation, &str); 6] = [
    (Operation::ListInferenceRecommendationsJobs, "InferenceRecommendationsJobs"),
    (Operation::ListModels, "Models"),
    (Operation::ListModelPackageGroups, "ModelPackageGroupSummaryList"),
    (Operation::ListModelPackages, "ModelPackageSummaryList"),
    (Operation::ListInferenceRecommendationsJobSteps, "Steps"),
    (Operation::ListModelMetadata, "ModelMetadataSummaries"),
];

/// What is there before every story.
pub(super) struct World {
    /// The archive that a job can be measured with.
    pub(super) payload_url: String,
    /// The model `m`.
    pub(super) model: Value,
    /// A request for a scaling recommendation of the job `demo`, which has completed.
    pub(super) scaling: Value,
}

/// What has to be answered with 200, step for step, whatever came before.
pub(super) fn draw(name: &str, world: &World, dice: &mut Dice) -> Vec<Step> {
    match dice.below(4) {
        0 => of_a_model(name),
        1 => of_packages(name, dice),
        2 => of_a_job(name, &world.payload_url, dice),
        _ => of_the_measured_job(&world.scaling, dice),
    }
}

fn of_a_model(name: &str) -> Vec<Step> {
    let named = json!({"ModelName": name});
    let arn = format!("{ARN}model/{name}");
    let container = json!({"Image": "i", "ModelDataUrl": "http://127.0.0.1:1/model.pt"});
    vec![
        (
            Operation::CreateModel,
            json!({"ModelName": name, "ExecutionRoleArn": ROLE, "PrimaryContainer": container}),
        ),
        (Operation::DescribeModel, named.clone()),
        (
            Operation::AddTags,
            json!({"ResourceArn": arn, "Tags": [{"Key": "k", "Value": "\u{e9}"}]}),
        ),
        (Operation::ListTags, json!({"ResourceArn": arn})),
        (Operation::DeleteTags, json!({"ResourceArn": arn, "TagKeys": ["k", "never"]})),
        (Operation::ListModels, json!({"NameContains": name})),
        (Operation::DeleteModel, named),
    ]
}

fn of_packages(name: &str, dice: &mut Dice) -> Vec<Step> {
    let group = json!({"ModelPackageGroupName": name});
    let version = json!({
        "ModelPackageGroupName": name,
        "InferenceSpecification": {
            "Containers": [{"Image": "i", "ModelDataUrl": "s3://b/m.pt"}],
            "SupportedContentTypes": ["application/x-npy"],
            "SupportedResponseMIMETypes": ["application/json"],
        },
        "Domain": "COMPUTER_VISION", "Task": "OTHER", "SamplePayloadUrl": "s3://b/p.tar.gz",
    });
    let first = format!("{ARN}model-package/{name}/1");
    let approval = dice.of(&["Approved", "Rejected", "PendingManualApproval"]);
    let mut steps = vec![
        (Operation::CreateModelPackageGroup, group.clone()),
        (Operation::CreateModelPackage, version.clone()),
        (Operation::CreateModelPackage, version),
        (Operation::DescribeModelPackageGroup, group.clone()),
        (Operation::DescribeModelPackage, json!({"ModelPackageName": first})),
        (
            Operation::UpdateModelPackage,
            json!({"ModelPackageArn": first, "ModelApprovalStatus": approval}),
        ),
        (Operation::ListModelPackages, group.clone()),
        (Operation::ListModelPackageGroups, json!({"NameContains": name})),
    ];
    for number in [1, 2] {
        let version = json!({"ModelPackageName": format!("{name}/{number}")});
        steps.push((Operation::DeleteModelPackage, version));
    }
    steps.push((Operation::DeleteModelPackageGroup, group));
    steps
}

/// Whether there is a payload, chance decides.
fn of_a_job(name: &str, payload_url: &str, dice: &mut Dice) -> Vec<Step> {
    let payload = dice.of(&[payload_url, "http://127.0.0.1:1/p.tar.gz", "s3://b/p", "file:///x"]);
    let named = json!({"JobName": name});
    let request = json!({
        "JobName": name, "JobType": "Default", "RoleArn": ROLE, "JobDescription": "\u{e9}",
        "InputConfig": {
            "ModelName": "m",
            "ContainerConfig": {
                "PayloadConfig": {"SamplePayloadUrl": payload},
                "SupportedInstanceTypes": ["ml.c5.large"],
            },
        },
        "Tags": [{"Key": "k", "Value": "v"}],
    });
    let arn = format!("{ARN}inference-recommendations-job/{name}");
    vec![
        (Operation::CreateInferenceRecommendationsJob, request),
        (Operation::DescribeInferenceRecommendationsJob, named.clone()),
        (Operation::ListInferenceRecommendationsJobs, json!({"NameContains": name})),
        (Operation::ListInferenceRecommendationsJobSteps, named.clone()),
        (
            Operation::GetLogEvents,
            json!({
                "logGroupName": GROUP, "logStreamName": format!("{name}/execution"),
                "startFromHead": dice.percent(50), "limit": 1 + dice.below(3),
            }),
        ),
        (Operation::ListTags, json!({"ResourceArn": arn})),
        (Operation::StopInferenceRecommendationsJob, named.clone()),
        (Operation::StopInferenceRecommendationsJob, named.clone()),
        (Operation::DescribeInferenceRecommendationsJob, named),
    ]
}

fn of_the_measured_job(scaling: &Value, dice: &mut Dice) -> Vec<Step> {
    let demo = json!({"JobName": "demo"});
    vec![
        (Operation::DescribeInferenceRecommendationsJob, demo.clone()),
        (Operation::ListInferenceRecommendationsJobSteps, demo),
        (Operation::DescribeModel, json!({"ModelName": "m"})),
        (Operation::ListModelMetadata, json!({})),
        (Operation::GetScalingConfigurationRecommendation, scaling.clone()),
        (
            Operation::DescribeLogStreams,
            json!({"logGroupName": GROUP, "logStreamNamePrefix": "demo/"}),
        ),
        (
            Operation::GetLogEvents,
            json!({
                "logGroupName": GROUP, "logStreamName": "demo/execution",
                "limit": dice.of(&[1, 2, 10_000]),
            }),
        ),
    ]
}
