use serde_json::{Map, Value, json};

use crate::{
    operation::Operation,
    request::Request,
    schema::{Schema, Shape, ShapeId},
    shapes::{jobs, logs, metadata, models, packages, scaling, tags},
};

/// A document with every member that the table knows; texts are a word, numbers are whole.
fn full(schema: &Schema, shape: ShapeId) -> Value {
    match schema.shape(shape) {
        Shape::String { .. } => json!("x"),
        Shape::Enum(words) => json!(words[0]),
        Shape::Integer(_) | Shape::Long(_) => json!(3),
        Shape::Float | Shape::Timestamp => json!(1.5),
        Shape::Boolean => json!(true),
        Shape::List { member, .. } => json!([full(schema, *member)]),
        Shape::Map { value, .. } => json!({"key": full(schema, *value)}),
        Shape::Structure(structure) => {
            let members = structure.members.iter();
            let members = members.map(|one| (one.name.clone(), full(schema, one.shape)));
            Value::Object(members.collect::<Map<_, _>>())
        }
    }
}

#[test]
fn requests_keep_every_member() {
    let schema = Schema::get();
    for operation in Operation::ALL {
        let document = full(schema, schema.request(*operation));
        let request = Request::typed_for_tests(*operation, document.clone());
        assert_eq!(request.document(), document, "{operation}");
        assert_eq!(request.operation(), *operation);
    }
}

macro_rules! keeps {
    ($($operation:ident: $type:ty),+ $(,)?) => { $({
        let schema = Schema::get();
        let document = full(schema, schema.response(Operation::$operation).unwrap());
        let read: $type = serde_json::from_value(document.clone()).unwrap();
        assert_eq!(serde_json::to_value(&read).unwrap(), document, stringify!($operation));
        1
    } +)+ 0 };
}

#[test]
fn answers_keep_every_member() {
    let checked = keeps!(
        CreateInferenceRecommendationsJob: jobs::CreateInferenceRecommendationsJobResponse,
        DescribeInferenceRecommendationsJob: jobs::DescribeInferenceRecommendationsJobResponse,
        ListInferenceRecommendationsJobs: jobs::ListInferenceRecommendationsJobsResponse,
        ListInferenceRecommendationsJobSteps: jobs::ListInferenceRecommendationsJobStepsResponse,
        GetScalingConfigurationRecommendation: scaling::GetScalingConfigurationRecommendationResponse,
        CreateModel: models::CreateModelResponse,
        DescribeModel: models::DescribeModelResponse,
        ListModels: models::ListModelsResponse,
        CreateModelPackageGroup: packages::CreateModelPackageGroupResponse,
        DescribeModelPackageGroup: packages::DescribeModelPackageGroupResponse,
        ListModelPackageGroups: packages::ListModelPackageGroupsResponse,
        CreateModelPackage: packages::CreateModelPackageResponse,
        DescribeModelPackage: packages::DescribeModelPackageResponse,
        ListModelPackages: packages::ListModelPackagesResponse,
        UpdateModelPackage: packages::UpdateModelPackageResponse,
        ListModelMetadata: metadata::ListModelMetadataResponse,
        AddTags: tags::AddTagsResponse,
        ListTags: tags::ListTagsResponse,
        DeleteTags: tags::DeleteTagsResponse,
        GetLogEvents: logs::GetLogEventsResponse,
        DescribeLogStreams: logs::DescribeLogStreamsResponse,
    );
    let schema = Schema::get();
    let with_a_body = Operation::ALL.iter().filter(|one| schema.response(**one).is_some()).count();
    assert_eq!(checked, with_a_body);
}

#[test]
fn absent_members_are_not_written() {
    let metrics = jobs::RecommendationMetrics { max_invocations: Some(648), ..Default::default() };
    assert_eq!(serde_json::to_value(metrics).unwrap(), json!({"MaxInvocations": 648}));
}
