use serde_json::{Value, json};

use super::*;
use crate::sagemaker::jobs::intake::Subject;

fn intake(job_type: &str, input: Value, conditions: Value) -> Intake {
    let document = json!({
        "JobName": "demo", "JobType": job_type, "RoleArn": "arn:aws:iam::123456789012:role/x",
        "InputConfig": input, "StoppingConditions": conditions,
    });
    Intake {
        request: serde_json::from_value(document).unwrap(),
        subject: Subject {
            model_url: "s3://bucket/deep/model.tar.gz".to_owned(),
            payload_url: "s3://bucket/payload.tar.gz".to_owned(),
            content_type: Some("application/x-npy".to_owned()),
            ..Subject::default()
        },
    }
}

fn spec(intake: &Intake) -> JobSpec {
    job_spec(intake, "us-east-1").unwrap()
}

fn stepped(spec: &JobSpec) -> &SteppedLoad {
    let Some(LoadProfile::Stepped(load)) = &spec.load else { panic!("{:?}", spec.load) };
    load
}

#[test]
fn a_default_job_looks_for_configurations_on_whatever_the_fleet_offers() {
    let spec = spec(&intake("Default", json!({"ModelName": "m"}), json!({})));
    assert!(spec.awaits_files());
    assert_eq!(spec.model().unwrap().name, "model.tar.gz");
    assert_eq!(spec.payload.content_type, "application/x-npy");
    assert!(spec.payload.is_archive && spec.instance_types.is_empty());
    assert!(!spec.sweep.defaults_only && spec.load.is_none());
    assert_eq!((spec.mode, spec.limits.begin_within), (Mode::Full, Some(DEFAULT_DURATION)));
}

#[test]
fn a_default_job_is_narrowed_to_the_types_that_are_supported_and_refuses_burstable_ones() {
    let mut narrowed = intake("Default", json!({"ModelName": "m"}), json!({}));
    narrowed.subject.instance_types = vec!["ml.c5.large".to_owned(), "onprem.h200".to_owned()];
    let names: Vec<String> =
        spec(&narrowed).instance_types.iter().map(|one| one.name.to_string()).collect();
    assert_eq!(names, ["ml.c5.large", "onprem.h200"]);
    narrowed.subject.instance_types = vec!["ml.t2.medium".to_owned()];
    let refused = job_spec(&narrowed, "us-east-1").unwrap_err();
    assert_eq!(refused.message, "Burstable instance type ml.t2.medium is not allowed");
}

#[test]
fn a_load_test_measures_each_endpoint_configuration_with_its_own_variables_and_nothing_else() {
    let ranges =
        json!({"CategoricalParameterRanges": [{"Name": "OMP_NUM_THREADS", "Value": ["1", "2"]}]});
    let input = json!({
        "ModelName": "m",
        "JobDurationInSeconds": 1000,
        "EndpointConfigurations": [
            {"InstanceType": "ml.c5.large", "EnvironmentParameterRanges": ranges},
            {"InstanceType": "ml.m5.large"},
        ],
        "ResourceLimit": {"MaxNumberOfTests": 3, "MaxParallelOfTests": 2},
        "TrafficPattern": {"TrafficType": "STAIRS",
            "Stairs": {"DurationInSeconds": 240, "NumberOfSteps": 2, "UsersPerStep": 2}},
    });
    let conditions = json!({
        "MaxInvocations": 500, "FlatInvocations": "Continue",
        "ModelLatencyThresholds": [{"Percentile": "P99", "ValueInMilliseconds": 100}],
    });
    let spec = spec(&intake("Advanced", input, conditions));
    assert_eq!(spec.instance_types[0].environment.combinations().len(), 2);
    assert!(spec.instance_types[1].environment.is_empty());
    assert!(spec.sweep.defaults_only);
    let load = stepped(&spec);
    assert_eq!(load.phases().len(), 2);
    let stopping = load.stopping().clone();
    assert_eq!(stopping.flat_invocations, FlatInvocations::Continue);
    assert_eq!(stopping.latency, ["p99<=100ms".parse().unwrap()]);
    assert_eq!(stopping.max_invocations, Some(Rate::per_minute(500.0).unwrap()));
    // The threshold ends the load; it is not a constraint on what was carried before.
    assert!(spec.constraints.is_empty());
    assert_eq!(spec.limits.most_trials, NonZeroU32::new(3));
    assert_eq!(spec.limits.most_at_once, NonZeroU32::new(2));
    assert_eq!(spec.limits.begin_within, Some(Duration::from_secs(1000)));
    assert_eq!(spec.demand.unwrap().headroom_pct, 100);
    assert!(spec.max_duration > Duration::from_secs(1240));
}

#[test]
fn without_traffic_a_threshold_constrains_the_search() {
    let conditions = json!({"ModelLatencyThresholds": [{"ValueInMilliseconds": 50}]});
    let input = json!({"ModelName": "m", "JobDurationInSeconds": 60});
    let spec = spec(&intake("Default", input, conditions));
    assert_eq!(spec.constraints, ["p95<=50ms".parse().unwrap()]);
    assert_eq!(spec.mode, Mode::Quick);
}

#[test]
fn a_variable_that_changes_which_code_runs_is_refused_by_name() {
    let ranges =
        json!({"CategoricalParameterRanges": [{"Name": "LD_PRELOAD", "Value": ["/tmp/x.so"]}]});
    let configuration =
        json!({"InstanceType": "ml.c5.large", "EnvironmentParameterRanges": ranges});
    let input = json!({"ModelName": "m", "EndpointConfigurations": [configuration]});
    let refused = job_spec(&intake("Advanced", input, json!({})), "us-east-1").unwrap_err();
    assert!(refused.message.contains("LD_PRELOAD"), "{refused}");
}

#[test]
fn a_load_test_of_an_endpoint_measures_nothing_else_and_a_default_job_the_model_as_well() {
    let input = json!({
        "ModelName": "m", "Endpoints": [{"EndpointName": "mine"}],
        "TrafficPattern": {"TrafficType": "STAIRS",
            "Stairs": {"DurationInSeconds": 240, "NumberOfSteps": 2, "UsersPerStep": 2}},
    });
    let conditions = json!({"MaxInvocations": 500});
    let alone = spec(&intake("Advanced", input, conditions));
    assert_eq!(alone.subject, JobSubject::Endpoint { endpoint: "mine".parse().unwrap() });
    assert!(alone.awaits_files(), "its payload");
    assert_eq!(stepped(&alone).phases().len(), 2);
    assert!(stepped(&alone).stopping().max_invocations.is_some());
    let input = json!({"ModelName": "m", "Endpoints": [{"EndpointName": "mine"}]});
    let beside = spec(&intake("Default", input, json!({})));
    assert_eq!(beside.endpoint().unwrap().as_str(), "mine");
    assert_eq!(beside.model().unwrap().name, "model.tar.gz");
}

#[test]
fn input_shapes_are_declared_only_where_the_body_does_not_tell_them() {
    let mut picture = intake("Default", json!({"ModelName": "m"}), json!({}));
    picture.subject.data_input_config = Some("[[1,3,256,256]]".to_owned());
    assert!(spec(&picture).inputs.is_empty(), "an .npy knows its own shape and type");
    picture.subject.content_type = Some("image/jpeg".to_owned());
    assert_eq!(spec(&picture).inputs, ["float32[1,3,256,256]".parse().unwrap()]);
    picture.subject.content_type = Some("application/x-image".to_owned());
    picture.subject.data_input_config = Some("{'input0': [1,3,256,256]}".to_owned());
    assert_eq!(spec(&picture).inputs, ["input0=float32[1,3,256,256]".parse().unwrap()]);
}

#[test]
fn the_numbers_of_json_are_left_to_the_model_unless_the_client_gives_their_type() {
    for content_type in ["application/json", "application/jsonlines"] {
        let mut job = intake("Default", json!({"ModelName": "m"}), json!({}));
        job.subject.content_type = Some(content_type.to_owned());
        job.subject.data_input_config = Some("[[1,4]]".to_owned());
        assert!(spec(&job).inputs.is_empty());
        job.subject.data_input_config =
            Some(r#"{"ids": {"shape": [1,4], "dtype": "int64"}}"#.to_owned());
        assert_eq!(spec(&job).inputs, ["ids=int64[1,4]".parse().unwrap()]);
    }
}

#[test]
fn inputs_that_are_not_understood_are_refused_whatever_the_bodies_are() {
    for content_type in [None, Some("image/jpeg"), Some("application/x-npy")] {
        let mut job = intake("Default", json!({"ModelName": "m"}), json!({}));
        job.subject.content_type = content_type.map(str::to_owned);
        job.subject.data_input_config = Some("1x3x256x256".to_owned());
        let refused = job_spec(&job, "us-east-1").unwrap_err();
        assert_eq!(refused.code, assay_sagemaker::error::ErrorCode::ValidationException);
        assert!(refused.message.contains("\"1x3x256x256\" is not understood"), "{refused}");
    }
}
